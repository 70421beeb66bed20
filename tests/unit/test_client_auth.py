"""How a client with a secret authenticates: as the metadata say, as one was told, or in the other way if refused."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from pywry_auth_nb import ConfigurationError, GenericOIDCProvider, TokenError, TokenRefreshError
from tests.support.cases import case
from tests.support.clients import exchange
from tests.support.idp import CLIENT, Answer, Idp

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.idp import Request

SECRET = "CANARY-secret"
BASIC, POST = "client_secret_basic", "client_secret_post"


class Choosy(Idp):
    """Recognizes a client in some ways only, and says so; it may burn what a client brings that it does not know."""

    def be_honest(self) -> None:
        """Forget what a test asked for."""
        super().be_honest()
        self.takes: set[str] = {"basic", "post", "none"}
        self.refusal: tuple[int, Any] = (401, {"error": "invalid_client"})
        self.burns = False

    def _token(self, request: Request) -> tuple[int, Any]:
        if way(request) in self.takes:
            return super()._token(request)
        if self.burns:
            self._codes.pop(request.form.get("code", ""), None)
        return self.refusal


def way(request: Request) -> str:
    """How a request names its client."""
    if "authorization" in request.headers:
        return "both" if "client_secret" in request.form else "basic"
    return "post" if "client_secret" in request.form else "none"


def ways(op: Idp, path: str = "/token") -> list[str]:
    """How the requests to one place named their client."""
    return [way(request) for request in op.requests if request.path == path]


@pytest.fixture(scope="module")
def kind() -> type[Choosy]:
    """The provider of this module's tests."""
    return Choosy


def plain(op: Idp, **options: Any) -> GenericOIDCProvider:
    """A client that knows addresses and no metadata."""
    urls = {f"{name}_url": f"{op.issuer}/{name}" for name in ("authorize", "token", "userinfo")}
    return GenericOIDCProvider(CLIENT, SECRET, **urls, **options)


# -- chosen -----------------------------------------------------------------------------------------------------------


def test_it_can_be_chosen(fresh: Callable[..., GenericOIDCProvider], op: Choosy) -> None:
    """H263: ``client_auth`` holds for codes, refreshes and revocation, whatever the metadata offer."""
    for chosen in ("basic", "post", "none"):
        for offered in ([BASIC, POST], [BASIC], [POST], ["private_key_jwt"], ...):
            with case(chosen, offered):
                rp = fresh(client_secret=SECRET, client_auth=chosen)
                op.metadata = {"token_endpoint_auth_methods_supported": offered}
                tokens = exchange(rp, op)
                asyncio.run(rp.refresh_tokens(str(tokens.refresh_token)))
                asyncio.run(rp.revoke_token("CANARY-t"))

                assert ways(op) == [chosen, chosen]
                assert ways(op, "/revoke") == [chosen]


def test_a_public_client_can_be_made_to_use_the_header(client: Callable[..., GenericOIDCProvider], op: Choosy) -> None:
    """H263: some providers want the header with an empty password from clients without a secret (Reddit)."""
    op.takes = {"basic"}
    exchange(client(client_auth="basic"), op)

    assert op.last("/token").headers["authorization"] == "Basic cHl3cnk6"  # pywry:


@pytest.mark.parametrize("wrong", ["client_secret_basic", "Basic", "CANARY", "private_key_jwt"])
def test_another_way_is_refused(wrong: Any) -> None:
    """H263: at construction, naming what there is."""
    with pytest.raises(ConfigurationError, match="basic, post, none") as caught:
        GenericOIDCProvider(CLIENT, SECRET, client_auth=wrong)
    assert "CANARY" not in str(caught.value)


ODD = ["a/b", "a+b", "a%b", "a=b", "a b", "ä", "a:b", "a&b"]


def test_a_secret_that_encoding_changes_travels_in_the_body(
    fresh: Callable[..., GenericOIDCProvider], op: Choosy
) -> None:
    """H263: where both are offered, since some providers do not decode the header (Glewlwyd); so does an ID."""
    for offered, chosen in (([BASIC, POST], "post"), ([BASIC], "basic"), (..., "basic")):
        for client_id, secret in [(CLIENT, f"CANARY{odd}") for odd in ODD] + [
            (f"{CLIENT}{odd}", SECRET) for odd in ODD
        ]:
            with case(offered, client_id, secret):
                rp = fresh(client_id, client_secret=secret)
                op.metadata = {"token_endpoint_auth_methods_supported": offered}
                op.claims = {"aud": client_id}
                exchange(rp, op)

                assert ways(op) == [chosen]
                if chosen == "post":
                    assert (op.last("/token").form["client_id"], op.last("/token").form["client_secret"]) == (
                        client_id, secret
                    )  # fmt: skip


# -- found out --------------------------------------------------------------------------------------------------------

OFFERS: dict[str, Any] = {"nothing": ..., "both": [POST, BASIC], "text": f"{BASIC} {POST}", "nonsense": {"a": 1}}


def test_a_refused_client_is_tried_in_the_other_way(fresh: Callable[..., GenericOIDCProvider], op: Choosy) -> None:
    """H263: once, and what worked is kept for refreshes and for revocation; the code is still good."""
    for offered in OFFERS.values():
        with case(offered):
            rp = fresh(client_secret=SECRET)
            op.metadata = {"token_endpoint_auth_methods_supported": offered}
            op.takes = {"post"}
            tokens = exchange(rp, op)
            exchange(rp, op)
            asyncio.run(rp.refresh_tokens(str(tokens.refresh_token)))
            asyncio.run(rp.revoke_token("CANARY-t"))

            assert ways(op) == ["basic", "post", "post", "post"]
            assert ways(op, "/revoke") == ["post"]


def test_a_refused_client_of_a_refresh_is_tried_in_the_other_way(
    client: Callable[..., GenericOIDCProvider], op: Choosy
) -> None:
    """H263: a new kernel has not learned it yet; the refresh token is still good."""
    refresh_token = exchange(client(), op).refresh_token
    op.takes = {"post"}
    rp = client(client_secret=SECRET)

    assert asyncio.run(rp.refresh_tokens(str(refresh_token))).access_token
    assert ways(op) == ["none", "basic", "post"]


def test_a_provider_without_metadata_is_tried_in_both_ways(op: Choosy) -> None:
    """H263: as JupyterHub, which takes the secret in the body only."""
    op.takes = {"post"}

    assert exchange(plain(op), op).access_token
    assert ways(op) == ["basic", "post"]


def test_the_header_is_tried_after_the_body(client: Callable[..., GenericOIDCProvider], op: Choosy) -> None:
    """H263: it goes both ways."""
    op.metadata = {"token_endpoint_auth_methods_supported": [POST, BASIC]}
    op.takes = {"basic"}
    exchange(client(client_secret="CANARY/s"), op)

    assert ways(op) == ["post", "basic"]


def test_a_refusal_without_a_word_is_one_as_well(client: Callable[..., GenericOIDCProvider], op: Choosy) -> None:
    """H263: 401 with an empty body is what frameworks answer before any OAuth is looked at."""
    for refusal in [(401, None), (401, {}), (401, []), (400, {"error": "invalid_client"})]:
        with case(refusal):
            op.be_honest()
            op.takes, op.refusal = {"post"}, refusal

            assert exchange(client(client_secret=SECRET), op).access_token
            assert ways(op) == ["basic", "post"]


ONCE: dict[str, tuple[dict[str, Any], Any]] = {
    "chosen": ({"client_secret": SECRET, "client_auth": "basic"}, [BASIC, POST]),
    "the other is not offered": ({"client_secret": SECRET}, [BASIC, "private_key_jwt"]),
    "a public client": ({}, [BASIC, POST]),
}


def test_a_refused_client_is_not_tried_where_nothing_else_is_offered(
    fresh: Callable[..., GenericOIDCProvider], op: Choosy
) -> None:
    """H263: not against what one was told, nor against what the metadata say, nor without a secret."""
    for name, (options, offered) in ONCE.items():
        with case(name):
            rp = fresh(**options)
            op.metadata = {"token_endpoint_auth_methods_supported": offered}
            op.takes = set()

            with pytest.raises(TokenError) as caught:
                exchange(rp, op)
            assert caught.value.code == "invalid_client"
            assert len(ways(op)) == 1


@pytest.mark.parametrize(
    "refusal", [(400, {"error": "invalid_grant"}), (401, {"error": "invalid_token"}), (503, {}), (400, {})], ids=repr
)
def test_another_refusal_is_no_reason_to_try_again(
    client: Callable[..., GenericOIDCProvider], op: Choosy, refusal: Any
) -> None:
    """H263, H068: a code or refresh token that the provider has looked at is sent once."""
    op.takes, op.refusal = set(), refusal
    rp = client(client_secret=SECRET)

    with pytest.raises(TokenError):
        exchange(rp, op)
    with pytest.raises(TokenRefreshError):
        asyncio.run(rp.refresh_tokens("CANARY-rt"))
    assert ways(op) == ["basic", "basic"]


def test_a_wrong_secret_is_refused_in_both_ways(client: Callable[..., GenericOIDCProvider], op: Choosy) -> None:
    """H263: two requests, the same error as ever, and nothing is learned."""
    op.takes = set()
    rp = client(client_secret=SECRET)

    for _ in range(2):
        with pytest.raises(TokenError) as caught:
            exchange(rp, op)
        assert caught.value.code == "invalid_client"
    assert ways(op) == ["basic", "post"] * 2


def test_a_code_that_was_burnt_costs_one_sign_in(client: Callable[..., GenericOIDCProvider], op: Choosy) -> None:
    """H263: against RFC 6749 a provider may end the code of a client it does not know: the next sign-in works."""
    op.takes, op.burns = {"post"}, True
    rp = client(client_secret=SECRET)

    with pytest.raises(TokenError) as caught:
        exchange(rp, op)
    assert caught.value.code == "invalid_grant"
    assert exchange(rp, op).access_token
    assert ways(op) == ["basic", "post", "post"]


def test_what_was_learned_is_no_promise_for_revocation(client: Callable[..., GenericOIDCProvider], op: Choosy) -> None:
    """H263: an endpoint that lists methods of its own is believed (RFC 8414 §2)."""
    op.metadata = {"revocation_endpoint_auth_methods_supported": [BASIC]}
    op.takes = {"post"}
    rp = client(client_secret=SECRET)
    exchange(rp, op)
    asyncio.run(rp.revoke_token("CANARY-t"))

    assert ways(op, "/revoke") == ["basic"]


@pytest.mark.parametrize("refused", [1, 2])
def test_a_refused_client_revokes_in_the_other_way(
    client: Callable[..., GenericOIDCProvider], op: Choosy, refused: int
) -> None:
    """H263: Glewlwyd reads the header without decoding it, lists nothing else for revocation, and takes the body."""
    op.metadata = {
        "token_endpoint_auth_methods_supported": [BASIC, POST],
        "revocation_endpoint_auth_methods_supported": [BASIC],
    }
    rp = client(client_secret=f"{SECRET}/+%")
    exchange(rp, op)
    op.answers["/revoke"] = Answer(b"", 401, times=refused)

    assert asyncio.run(rp.revoke_token("CANARY-t")) == (refused == 1)
    assert (ways(op), ways(op, "/revoke")) == (["post"], ["basic", "post"])
