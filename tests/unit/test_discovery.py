"""Where metadata are found: elsewhere than the issuer says, after a redirect, at a second place, or not at all."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest

from pywry_auth_nb import AuthFlowManager, ConfigurationError, GenericOIDCProvider, SessionManager, TokenError
from tests.support.cases import case
from tests.support.clients import REDIRECT_URI, exchange
from tests.support.idp import CLIENT, Answer, Idp
from tests.unit.test_oidc import DISCOVERY, RFC_8414, failure, metadata_of, paths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ELSEWHERE = "/tenant/policy/v2.0/metadata"
ISSUER = "https://login.example/11111111/v2.0/"


@pytest.fixture
def moved(op: Idp) -> str:
    """Metadata that lie elsewhere than their issuer says; returns their address."""
    op.answers[ELSEWHERE] = Answer(metadata_of(op) | {"issuer": ISSUER})
    op.answers[DISCOVERY] = Answer({}, 404)
    op.claims = {"iss": ISSUER}
    return op.issuer + ELSEWHERE


def sign_in(rp: GenericOIDCProvider, op: Idp, iss: str | None) -> dict[str, Any]:
    """Sign in with an answer that names ``iss``, and return who did."""
    flow = AuthFlowManager(rp)

    async def go() -> dict[str, Any]:
        request = await flow.begin(REDIRECT_URI)
        result = await flow.complete(op.authorize(str(request.url), iss=iss))
        assert result.user_info is not None
        return result.user_info

    return asyncio.run(go())


# -- metadata_url -----------------------------------------------------------------------------------------------------


def test_metadata_may_lie_elsewhere(client: Callable[..., GenericOIDCProvider], op: Idp, moved: str) -> None:
    """H265: the issuer that they name is the one for ``iss`` in answers and ID tokens; with a query as well (B2C)."""
    for issuer_url in ("", ISSUER):
        for query in ("", "?p=b2c_1_susi"):
            with case(issuer_url, query):
                op.requests.clear()
                rp = client(issuer_url=issuer_url, metadata_url=moved + query)

                assert sign_in(rp, op, ISSUER)["sub"] == "ada"
                assert (paths(op)[0], op.requests[0].query) == (ELSEWHERE, query[1:])


def test_metadata_elsewhere_must_name_the_issuer_that_was_given(
    client: Callable[..., GenericOIDCProvider], op: Idp, moved: str
) -> None:
    """H265, C17: with both, the metadata are believed for that issuer only."""
    for issuer_url in ("https://other.example", ISSUER.rstrip("/"), op.issuer):
        with case(issuer_url):
            refused = failure(client(issuer_url=issuer_url, metadata_url=moved).prepare())

            assert refused.code == "metadata_issuer"
            assert ("Keycloak: KC_HOSTNAME" in str(refused)) is (issuer_url != ISSUER.rstrip("/"))


def test_an_answer_of_another_issuer_is_refused(
    client: Callable[..., GenericOIDCProvider], op: Idp, moved: str
) -> None:
    """H265, H022, H119: the place of the metadata is no issuer, and neither is anything else."""
    for iss in (op.issuer, moved, "https://evil.example", ISSUER.rstrip("/"), ""):
        with case(iss):
            with pytest.raises(TokenError) as caught:
                sign_in(client(issuer_url="", metadata_url=moved), op, iss)
            assert caught.value.code == "issuer_mismatch"

            op.claims = {"iss": iss}
            with pytest.raises(TokenError) as caught:
                exchange(client(issuer_url="", metadata_url=moved), op)
            assert caught.value.code == "id_token_iss"


def test_the_first_issuer_stays(client: Callable[..., GenericOIDCProvider], op: Idp, moved: str) -> None:
    """H265, H045: metadata that name another one an hour later are not taken over."""
    rp = client(issuer_url="", metadata_url=moved)
    asyncio.run(rp.prepare())
    rp._metadata._kept_at -= 3601
    op.answers[ELSEWHERE] = Answer(
        metadata_of(op) | {"issuer": "https://evil.example", "token_endpoint": "https://e.vil"}
    )

    assert failure(rp.prepare()).code == "metadata_issuer"
    assert rp.token_url == f"{op.issuer}/token"
    rp.check_issuer(ISSUER)


def test_metadata_need_an_issuer(client: Callable[..., GenericOIDCProvider], op: Idp, moved: str) -> None:
    """H265, H035: there is nothing to compare ID tokens with if they name none."""
    for issuer in (..., None, "", 5, ["x"], {}):
        with case(issuer):
            metadata = metadata_of(op) | {"issuer": issuer}
            op.answers[ELSEWHERE] = Answer({name: value for name, value in metadata.items() if value is not ...})

            assert failure(client(issuer_url="", metadata_url=moved).prepare()).code == "metadata_issuer"


def test_an_unsafe_place_of_metadata_is_refused(client: Callable[..., GenericOIDCProvider]) -> None:
    """H265, H038: as an unsafe issuer is."""
    for url in ("http://idp.example/m", "https://ada@idp.example/m", "file:///etc/passwd", "m"):
        with case(url):
            assert failure(client(issuer_url="", metadata_url=url).prepare()).code == "insecure_url"


def test_two_hosts_of_one_provider(client: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """H265: the browser goes to the public host, the kernel to the one in its network (Keycloak in a container)."""
    public = "http://localhost:1/realms/lab"
    op.metadata = {"issuer": public, "authorization_endpoint": f"{public}/auth"}
    op.claims = {"iss": public}
    rp = client(issuer_url=public, metadata_url=op.issuer + DISCOVERY)
    asyncio.run(rp.prepare())

    assert rp.authorize_url == f"{public}/auth"
    assert rp.claims(exchange(rp, op))["iss"] == public


def test_the_error_says_that_metadata_may_be_elsewhere(client: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """H265: the way out is named where there are none, and where they are another issuer's."""
    op.metadata = {"issuer": ISSUER}
    assert "metadata_url" in str(failure(client().prepare()))
    op.answers[DISCOVERY] = Answer({}, 404)
    assert "metadata_url" in str(failure(client().prepare()))


def test_sessions_of_two_policies_share_no_tokens() -> None:
    """H265: at B2C they have one issuer, and a refresh token of one is no good at the other."""
    urls = [f"https://idp.example/{policy}/metadata" for policy in ("a", "b")]
    sessions = [SessionManager(GenericOIDCProvider(CLIENT, issuer_url=ISSUER, metadata_url=url)) for url in ["", *urls]]

    assert len({session.store_key for session in sessions}) == 3
    assert GenericOIDCProvider(CLIENT, metadata_url=urls[0]).label == "idp.example"


def test_an_identity_does_not_change_with_discovery(client: Callable[..., GenericOIDCProvider], moved: str) -> None:
    """H265: what is stored is found again before and after the metadata are known."""
    rp = client(issuer_url="", metadata_url=moved)
    before = (rp.identity, rp.label)
    asyncio.run(rp.prepare())

    assert (rp.identity, rp.label) == before


# -- no discovery -----------------------------------------------------------------------------------------------------


def test_nothing_is_discovered_where_all_is_given(client: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """H265: ID tokens are checked with the given keys against the given issuer, which need not be reachable."""
    op.claims = {"iss": ISSUER}
    urls = {f"{name}_url": f"{op.issuer}/{name}" for name in ("authorize", "token", "jwks")}
    rp = client(issuer_url=ISSUER, **urls)
    tokens = exchange(rp, op)
    asyncio.run(rp.refresh_tokens(str(tokens.refresh_token)))

    assert rp.claims(tokens)["iss"] == ISSUER
    assert set(paths(op)) == {"/token", "/jwks"}
    op.claims = {"iss": "https://evil.example"}
    with pytest.raises(TokenError) as caught:
        exchange(rp, op)
    assert caught.value.code == "id_token_iss"


def test_given_keys_win_over_those_of_the_metadata(client: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """H265, H050: as every address that is given."""
    op.answers["/mine"] = Answer({"keys": [op.jwk()]})
    op.metadata = {"jwks_uri": "http://nowhere.example/jwks"}

    assert exchange(client(jwks_url=f"{op.issuer}/mine"), op).id_token
    assert op.requests_to("/mine") == 1


def test_keys_need_an_issuer() -> None:
    """H265: keys alone do not say whose ID tokens are right, so nothing would be checked with them."""
    with pytest.raises(ConfigurationError, match="issuer_url"):
        GenericOIDCProvider(CLIENT, jwks_url="https://idp.example/jwks")


# -- the whole address of the metadata as the issuer ------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "/", "/realms/x", "/realms/x/"])
@pytest.mark.parametrize("well_known", [DISCOVERY, RFC_8414])
@pytest.mark.parametrize("where", ["after", "between"])
def test_the_address_of_the_metadata_is_understood(path: str, well_known: str, where: str) -> None:
    """H265: whichever of the forms is copied from the browser, and whether or not the issuer ends in a slash."""
    with Idp(path) as op:
        bare = path.rstrip("/")
        address = op.issuer.removesuffix(path) + (bare + well_known if where == "after" else well_known + bare)
        rp = GenericOIDCProvider(CLIENT, issuer_url=address)

        assert sign_in(rp, op, op.issuer)["iss"] == op.issuer
        with pytest.raises(TokenError):
            rp.check_issuer(op.issuer[:-1] if op.issuer.endswith("/") else op.issuer + "/")


def test_the_address_of_another_issuers_metadata_is_refused(
    client: Callable[..., GenericOIDCProvider], op: Idp
) -> None:
    """H265, C17: only the final slash is left open."""
    for issuer in ("https://evil.example", op.issuer + "/x", op.issuer + "//", op.issuer + "1"):
        with case(issuer):
            op.metadata = {"issuer": issuer}

            assert failure(client(issuer_url=op.issuer + DISCOVERY).prepare()).code == "metadata_issuer"


# -- redirects --------------------------------------------------------------------------------------------------------


def redirect(to: str, status: int = 301) -> Answer:
    """An answer that leads elsewhere."""
    return Answer({}, status, {"Location": to})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_within_the_origin_is_followed(rp: GenericOIDCProvider, op: Idp, status: int) -> None:
    """H266, H041: absolute or not, up to three in a row (Nextcloud leads to ``/index.php``)."""
    op.answers |= {
        DISCOVERY: redirect("/one", status),
        "/one": redirect(f"{op.issuer}/two", status),
        "/two": redirect("three?x=1", status),
        "/three": Answer(metadata_of(op)),
    }

    assert exchange(rp, op).id_token
    assert paths(op)[:4] == [DISCOVERY, "/one", "/two", "/three"]


def test_a_fourth_redirect_is_refused(rp: GenericOIDCProvider, op: Idp) -> None:
    """H266: also a circle ends."""
    op.answers[DISCOVERY] = redirect(DISCOVERY)

    assert failure(rp.prepare()).code == "redirect_refused"
    assert paths(op) == [DISCOVERY] * 4


HOSTILE = [
    "https://evil.example/",
    "//evil.example/",
    "http://127.0.0.1:1/",
    "http://localhost/",
    "https://127.0.0.1/",
    "http://ada@127.0.0.1/",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "http://[::1",
    "http://[not an address]/",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1:port/",
    "/x y",
    "/x#fragment",
    "/" + "x" * 3000,
    "\\\\evil.example",
]


def test_any_other_redirect_is_refused(fresh: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """H266, H041: to another origin, or to what is no address; and nothing else is asked."""
    for target in [*HOSTILE, "{issuer}@evil.example/", "{issuer}.evil.example/"]:
        with case(target):
            rp = fresh()
            op.answers[DISCOVERY] = redirect(target.format(issuer=op.issuer) if "{" in target else target)

            assert failure(rp.prepare()).code == "redirect_refused"
            assert paths(op) == [DISCOVERY]


def test_a_redirect_to_nowhere_is_refused(fresh: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """H266: without a place, with an empty one, or of a kind that is none."""
    for answer in (Answer({}, 302), redirect(""), redirect("/x", 300), redirect("/x", 304), redirect("/x", 399)):
        with case(answer.status, answer.headers):
            rp = fresh()
            op.answers[DISCOVERY] = answer

            assert failure(rp.prepare()).code == "redirect_refused"


def test_a_redirect_is_followed_for_metadata_alone(rp: GenericOIDCProvider, op: Idp) -> None:
    """H266, H056: nothing that carries a secret, and no keys."""
    for path in ("/jwks", "/token"):
        with case(path):
            op.answers[path] = redirect("/honest", 307)
            with pytest.raises(TokenError) as caught:
                exchange(rp, op)

            assert caught.value.code == "redirect_refused"
    assert op.requests_to("/honest") == 0


# -- the second place -------------------------------------------------------------------------------------------------

ELSEWHERE_ANSWERS = [
    *(Answer({}, status) for status in (400, 401, 403, 404, 405, 406, 410, 451)),
    Answer(b"<!doctype html><div id=app>", headers={"Content-Type": "text/html"}),
    Answer(b"<!doctype html>", headers={"Content-Type": "application/json"}),
    Answer(b"Forbidden", 403, {"Content-Type": "text/plain"}),
    Answer(b"", 204),
    Answer([]),
]


def test_the_place_of_rfc_8414_is_asked_after_what_is_no_metadata(
    fresh: Callable[..., GenericOIDCProvider], op: Idp
) -> None:
    """H267: a page for every address, a gateway that wants a sign-in, a framework's refusal."""
    for answer in ELSEWHERE_ANSWERS:
        with case(answer.status, answer.body):
            rp = fresh()
            op.answers |= {DISCOVERY: answer, RFC_8414: Answer(metadata_of(op))}

            assert exchange(rp, op).id_token
            assert paths(op)[:2] == [DISCOVERY, RFC_8414]


def test_the_second_place_is_not_asked_while_the_first_is_down(
    fresh: Callable[..., GenericOIDCProvider], op: Idp
) -> None:
    """H267, H042: what passes is told as such, and tried again later."""
    for status in (408, 429, 500, 503):
        with case(status):
            rp = fresh()
            op.answers |= {DISCOVERY: Answer({}, status, {"Retry-After": "7"}), RFC_8414: Answer(metadata_of(op))}
            error = failure(rp.prepare())

            assert (error.code, error.retry_after) == ("discovery_failed", 7)
            assert paths(op) == [DISCOVERY]


def test_the_error_is_about_the_place_that_matters(rp: GenericOIDCProvider, op: Idp) -> None:
    """H267: the first if both have none; the second if that may have some later."""
    op.answers |= {DISCOVERY: Answer({}, 403), RFC_8414: Answer({}, 404)}
    assert "403" in str(failure(rp.prepare()))
    op.answers[RFC_8414] = Answer({}, 503, {"Retry-After": "7"})
    assert failure(rp.prepare()).retry_after == 7


# -- odd members ------------------------------------------------------------------------------------------------------

OPTIONAL_LISTS = [
    *("token_endpoint_auth_methods_supported", "revocation_endpoint_auth_methods_supported", "scopes_supported"),
    *("prompt_values_supported", "code_challenge_methods_supported", "response_types_supported"),
    "id_token_signing_alg_values_supported",
]


def test_odd_optional_members_stop_no_sign_in(fresh: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """H268: of the wrong type they are as good as absent, for clients with and without a secret."""
    for value in (None, 5, True, {"x": 1}, [None, 5, {}], [], "", {}):
        for secret in ("", "CANARY-secret"):
            with case(value, secret):
                rp = fresh(client_secret=secret, scopes=["openid", "offline_access"])
                op.metadata = dict.fromkeys(OPTIONAL_LISTS, value)
                op.metadata["authorization_response_iss_parameter_supported"] = value

                assert exchange(rp, op).id_token


# -- this machine -----------------------------------------------------------------------------------------------------


@pytest.fixture
def no_resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A resolver that knows no name below ``localhost``, and would ask others about it."""
    honest = socket.getaddrinfo

    def look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        assert not str(name).endswith(".localhost"), "others were asked"
        return honest(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return None


@pytest.mark.usefixtures("no_resolver")
def test_names_below_localhost_are_this_machine(op: Idp) -> None:
    """H269: ``http://keycloak.localhost`` may be used, and leads nowhere else, whatever resolvers say (RFC 6761)."""
    address = op.issuer.replace("127.0.0.1", "keycloak.localhost")
    op.metadata = {
        name: value.replace("127.0.0.1", "keycloak.localhost")
        for name, value in metadata_of(op).items()
        if isinstance(value, str)
    }
    op.claims = {"iss": address}
    rp = GenericOIDCProvider(CLIENT, issuer_url=address)

    assert exchange(rp, op).id_token
    assert {request.headers["host"] for request in op.requests} == {address.removeprefix("http://")}


def test_names_that_only_look_like_it_are_not(client: Callable[..., GenericOIDCProvider]) -> None:
    """H269, H038: the name must end there."""
    for host in ("localhost.example", "xlocalhost", "evil.example", "localhost.", "x.localhost."):
        with case(host), pytest.raises(ConfigurationError) as caught:
            client(issuer_url=f"http://{host}:8080")
        assert caught.value.code == "insecure_url"
