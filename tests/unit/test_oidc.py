"""`GenericOIDCProvider` against a provider that does as it is told: discovery, keys, client, UserInfo, refresh, revoke.

Numbers C… are the OpenID Foundation's relying-party tests, H… our own catalogue of hostile providers.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import logging
import secrets
import threading
import time
from itertools import product
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote_plus, urlsplit

import pytest

from pywry_auth_nb import (
    AuthFlowManager,
    ConfigurationError,
    GenericOIDCProvider,
    OAuthTokenSet,
    PKCEChallenge,
    TokenError,
    TokenRefreshError,
)
from pywry_auth_nb._io.http import HttpClient
from pywry_auth_nb.providers.jwks import KeyCache
from tests.support.cases import case
from tests.support.clients import NONCE, REDIRECT_URI, exchange
from tests.support.idp import CLIENT, Answer, Idp, Request, compact, new_key
from tests.support.waiting import soon, until, within

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

DISCOVERY = "/.well-known/openid-configuration"
RFC_8414 = "/.well-known/oauth-authorization-server"
PKCE = ("code_challenge", "code_challenge_method")


def prepare(rp: GenericOIDCProvider) -> None:
    """Discover."""
    asyncio.run(rp.prepare())


def failure(work: Coroutine[Any, Any, Any]) -> TokenError:
    """Await something that must fail with a typed error, and check that the error leaks nothing."""
    with pytest.raises(TokenError) as caught:
        asyncio.run(_await(work))
    assert "CANARY" not in str(caught.value) + repr(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None
    return caught.value


async def _await(work: Coroutine[Any, Any, Any]) -> Any:
    return await work


def metadata_of(op: Idp) -> dict[str, Any]:
    """What the provider publishes of itself."""
    return op._metadata(Request("GET", DISCOVERY, {}, {}))[1]


def paths(op: Idp) -> list[str]:
    """Where requests arrived, in order."""
    return [request.path for request in op.requests]


# -- discovery ----------------------------------------------------------------------------------------------------


def test_the_metadata_is_read_and_used(rp: GenericOIDCProvider, op: Idp) -> None:
    """C15: every endpoint comes from the metadata, on whatever host it is (H050)."""
    op.metadata = {
        "authorization_endpoint": "https://login.example/a",
        "token_endpoint": "https://token.example/t",
        "userinfo_endpoint": "https://user.example/u",
        "revocation_endpoint": "https://revoke.example/r",
    }

    prepare(rp)

    assert rp.authorize_url == "https://login.example/a"
    assert rp.token_url == "https://token.example/t"
    assert rp.userinfo_url == "https://user.example/u"
    assert rp.revocation_url == "https://revoke.example/r"


def test_the_keys_come_from_where_the_metadata_says(rp: GenericOIDCProvider, op: Idp) -> None:
    """C16: ``jwks_uri`` is not guessed."""
    op.metadata = {"jwks_uri": f"{op.issuer}/keys-of-today"}
    op.answers["/keys-of-today"] = Answer({"keys": [op.jwk()]})

    exchange(rp, op)

    assert op.requests_to("/keys-of-today") == 1
    assert op.requests_to("/jwks") == 0


@pytest.mark.parametrize("path", ["", "/", "/realms/x", "/realms/x/", "/a//b"])
def test_an_issuer_is_taken_as_it_is_written(path: str) -> None:
    """A5, H036, H037: with a final slash (Auth0), with a path (Keycloak): the well-known path follows, ``iss`` fits."""
    with Idp(path) as op:
        rp = GenericOIDCProvider(CLIENT, issuer_url=op.issuer)
        tokens = exchange(rp, op)

        assert paths(op)[0] == path.removesuffix("/") + DISCOVERY
        assert rp.claims(tokens)["iss"] == op.issuer


@pytest.mark.parametrize("path", ["", "/", "/realms/x", "/realms/x/"])
def test_the_place_of_rfc_8414_is_asked_next(path: str) -> None:
    """A5: where OpenID Connect's place is empty, the well-known part goes between host and path (RFC 8414 §3.1)."""
    with Idp(path) as op:
        op.answers[DISCOVERY] = Answer({}, 404)
        op.answers[RFC_8414 + path.removesuffix("/")] = Answer(metadata_of(op))
        rp = GenericOIDCProvider(CLIENT, issuer_url=op.issuer)

        assert rp.claims(exchange(rp, op))["iss"] == op.issuer
        assert paths(op)[:2] == [path.removesuffix("/") + DISCOVERY, RFC_8414 + path.removesuffix("/")]


def test_another_issuer_at_the_place_of_rfc_8414_is_refused(rp: GenericOIDCProvider, op: Idp) -> None:
    """C17: the second place is believed no more than the first."""
    op.answers[DISCOVERY] = Answer({}, 404)
    op.answers[RFC_8414] = Answer(metadata_of(op) | {"issuer": "https://evil.example"})

    assert failure(rp.prepare()).code == "metadata_issuer"


WRONG_ISSUERS: dict[str, Callable[[str], Any]] = {
    "C17-other": lambda _: "https://idp.example",
    "H035-plus-1": lambda issuer: issuer + "1",
    "H036-final-slash": lambda issuer: issuer + "/",
    "H035-upper-case": str.upper,
    "H035-null": lambda _: None,
    "H035-missing": lambda _: ...,
    "H035-number": lambda _: 5,
    "H035-list": lambda issuer: [issuer],
    "H035-template": lambda _: "https://idp.example/{tenantid}",
}


def test_another_issuer_ends_it_before_authorize(fresh: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """C17, H035: there is no authorize URL to open, no sign-in is filed, and the provider is asked nothing more."""
    for name, wrong in WRONG_ISSUERS.items():
        with case(name):
            rp = fresh()
            op.metadata = {"issuer": wrong(op.issuer)}
            flow = AuthFlowManager(rp)

            assert failure(flow.begin(REDIRECT_URI)).code == "metadata_issuer"
            with pytest.raises(TokenError):
                rp.build_authorize_url(REDIRECT_URI, "state")
            assert rp.authorize_url == ""
            assert set(paths(op)) == {DISCOVERY}
            assert flow._sign_ins._pending == {}


def test_a_slash_that_the_provider_does_not_write_is_another_issuer(
    client: Callable[..., GenericOIDCProvider], op: Idp
) -> None:
    """H036: the comparison is by character, in both directions."""
    assert failure(client(issuer_url=op.issuer + "/").prepare()).code == "metadata_issuer"


def test_a_provider_without_s256_is_refused(fresh: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """H034: one that says that it has no S256 would make PKCE worthless."""
    for methods in [["plain"], "plain", ["s256"], ["plain", None, 5]]:
        with case(methods):
            rp = fresh()
            op.metadata = {"code_challenge_methods_supported": methods}

            assert failure(rp.prepare()).code == "pkce_unsupported"


def test_a_provider_with_s256_is_accepted(fresh: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """H034, H268: one that does not say, or says nothing that can be read, is sent S256 all the same."""
    unreadable = [[], {"S256": 1}, 5, False, [["S256"]], ""]
    for methods in [["S256"], ["plain", "S256"], ["S256", None, 5], "S256", "plain S256", None, ..., *unreadable]:
        with case(methods):
            rp = fresh()
            op.metadata = {"code_challenge_methods_supported": methods}

            prepare(rp)

            assert rp.authorize_url


NEEDED = ["authorization_endpoint", "token_endpoint", "jwks_uri"]
OPTIONAL = {
    "userinfo_endpoint": "userinfo_url",
    "revocation_endpoint": "revocation_url",
    "end_session_endpoint": "end_session_url",
}
BAD_ENDPOINTS = [
    "http://idp.example/x",
    "http://127.0.0.1.example/x",
    "file:///etc/passwd",
    "data:application/json,{}",
    "javascript:alert(1)",
    "/token",
    "token",
    "//idp.example/x",
    "https://",
    "https://ada:pw@idp.example/x",
    "https://idp.example/x#y",
    " ",
    5,
    True,
    ["https://idp.example/x"],
    {"https://idp.example/x": 1},
]


def test_a_bad_endpoint_is_refused(fresh: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """B16, H040: one that must not be given secrets, and is needed, refuses the metadata as a whole and is named."""
    for name, value in product(NEEDED, BAD_ENDPOINTS):
        with case(name, value):
            rp = fresh()
            op.metadata = {name: value}
            error = failure(rp.prepare())

            assert error.code == "insecure_url"
            assert f"The {name} in the provider's metadata" in str(error)
            assert rp.authorize_url == rp.token_url == ""


def test_a_bad_endpoint_that_is_not_needed_is_left_out(
    fresh: Callable[..., GenericOIDCProvider], op: Idp, caplog: pytest.LogCaptureFixture
) -> None:
    """H268, H040: a sign-in works without it, nothing is ever sent there, and the log names it and not its value."""
    for (name, ours), value in product(OPTIONAL.items(), BAD_ENDPOINTS):
        with case(name, value):
            rp = fresh()
            op.metadata = {name: value}
            caplog.clear()
            tokens = exchange(rp, op)

            assert getattr(rp, ours) == ""
            assert asyncio.run(rp.fetch_user(tokens))["name"].startswith("Ada")
            [said] = [record.getMessage() for record in caplog.records if record.name == "pywry_auth_nb"]
            assert name in said
            assert str(value).strip() not in said or value == " "


def test_a_bad_endpoint_of_the_user_is_refused(fresh: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """B16: one that was given here is refused, needed or not."""
    for name in ["authorize_url", "token_url", "jwks_url", *OPTIONAL.values()]:
        with case(name):
            assert failure(fresh(**{name: "http://idp.example/x"}).prepare()).code == "insecure_url"


def test_a_missing_endpoint_is_named(fresh: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """H044: metadata without a required endpoint are refused with its name."""
    for name, value in product(["authorization_endpoint", "token_endpoint", "jwks_uri"], [..., None, ""]):
        with case(name, value):
            rp = fresh()
            op.metadata = {name: value}
            error = failure(rp.prepare())

            assert error.code == "missing_metadata"
            assert name in str(error)


def test_other_endpoints_may_be_missing(fresh: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """A sign-in works without UserInfo and revocation endpoints."""
    for value in [..., None, ""]:
        with case(value):
            rp = fresh()
            op.metadata = {"userinfo_endpoint": value, "revocation_endpoint": value}
            tokens = exchange(rp, op)

            assert asyncio.run(rp.fetch_user(tokens))["name"] == "Ada"
            assert asyncio.run(rp.revoke_token(tokens.access_token)) is False


def test_keys_may_be_missing_where_nothing_is_validated(client: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """``require_id_token_validation=False`` needs no ``jwks_uri``."""
    op.metadata = {"jwks_uri": ...}

    assert exchange(client(require_id_token_validation=False), op).access_token


FAILING: dict[str, tuple[Answer, str]] = {
    **{
        f"H041-{status}": (Answer({}, status, {"Location": "https://idp.example/x"}), "redirect_refused")
        for status in (301, 302, 307, 308)
    },
    **{f"H042-{status}": (Answer({}, status), "discovery_failed") for status in (400, 401, 404, 500, 503)},
    "H065-201-empty": (Answer({}, 201), "metadata_issuer"),
    "H065-204": (Answer(b"", 204), "bad_response"),
    "H042-404-html": (Answer(b"<html>", 404, {"Content-Type": "text/html"}), "discovery_failed"),
    "H043-html": (Answer(b"<html>", headers={"Content-Type": "text/html"}), "bad_response"),
    "H043-no-json": (Answer(b"{"), "bad_response"),
    "H043-empty": (Answer(b""), "bad_response"),
    "H043-null": (Answer(b"null"), "bad_response"),
    "H043-array": (Answer([]), "discovery_failed"),
    "H043-string": (Answer(b'"x"'), "discovery_failed"),
    "H043-duplicate": (Answer(b'{"issuer": "a", "issuer": "b"}'), "bad_response"),
    "H043-deep": (Answer(b"[" * 200_000), "bad_response"),
    "H062-large": (Answer(b" " * 600_000), "too_large"),
    "H063-damaged-gzip": (Answer(gzip.compress(b"{}")[:-3], headers={"Content-Encoding": "gzip"}), "bad_response"),
    "H043-empty-object": (Answer(b"{}"), "metadata_issuer"),
}


#: Answers after which the other place is asked: they come from pages, gateways and proxies that know no metadata.
NO_METADATA = {
    *(f"H042-{status}" for status in (400, 401, 404)),
    *("H042-404-html", "H043-html", "H043-no-json", "H043-empty", "H043-null", "H043-array"),
    *("H043-string", "H043-duplicate", "H043-deep", "H063-damaged-gzip", "H065-204"),
}


def test_a_failed_discovery_is_an_error(fresh: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """A15, H041 to H043: it is raised, not swallowed; what is no metadata may be at the second place; and so again."""
    for name, (answer, code) in FAILING.items():
        with case(name):
            rp = fresh()
            op.answers[DISCOVERY] = answer
            assert failure(rp.prepare()).code == code
            assert paths(op) == ([DISCOVERY, RFC_8414] if name in NO_METADATA else [DISCOVERY])

            op.answers.clear()
            prepare(rp)
            assert rp.token_url


METHODS_THAT_ASK = ["exchange_code", "refresh_tokens", "validate_id_token", "get_userinfo", "revoke_token"]


def test_every_method_says_when_discovery_failed(fresh: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """A18, H042: nothing goes on with empty addresses: not ``get_userinfo``, not ``revoke_token``."""
    for method in METHODS_THAT_ASK:
        with case(method):
            rp = fresh()
            op.answers[DISCOVERY] = Answer({}, 500)
            arguments = ["x", REDIRECT_URI] if method == "exchange_code" else ["x"]

            assert failure(getattr(rp, method)(*arguments)).code == "discovery_failed"


def test_a_busy_provider_says_when_to_come_back(rp: GenericOIDCProvider, op: Idp) -> None:
    """H073: ``Retry-After`` of discovery reaches the caller."""
    op.answers[DISCOVERY] = Answer({}, 503, {"Retry-After": "17"})

    assert failure(rp.prepare()).retry_after == 17


def test_a_provider_that_hangs_is_a_timeout(client: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """H042: within the deadline of the HTTP client."""
    op.delay = 8

    with within(4):
        assert failure(client(http=HttpClient(deadline=0.2)).prepare()).code == "timeout"


BAD_ISSUERS = [
    "http://idp.example",
    "idp.example",
    "/",
    "https://",
    "file:///etc",
    "https://ada@idp.example",
    "https://idp.example?x=1",
    "https://idp.example/?",
    "https://idp.example#x",
    "https://idp.example/ /",
]


def test_a_bad_issuer_is_refused(client: Callable[..., GenericOIDCProvider]) -> None:
    """B16, H038, H039: no http beyond this machine, no query, no fragment, no user; and no provider is made."""
    for issuer in BAD_ISSUERS:
        with case(issuer), pytest.raises(ConfigurationError) as caught:
            client(issuer_url=issuer)
        assert caught.value.code == "insecure_url"


def test_twenty_callers_cause_one_request(rp: GenericOIDCProvider, op: Idp) -> None:
    """H047: concurrent calls share one discovery."""
    op.answers[DISCOVERY] = Answer(delay=0.1)

    async def go() -> None:
        await asyncio.gather(*(rp.prepare() for _ in range(20)))

    asyncio.run(go())

    assert op.requests_to(DISCOVERY) == 1


def test_threads_with_loops_of_their_own_cause_one_request(rp: GenericOIDCProvider, op: Idp) -> None:
    """H047, H174: it does not matter from which thread and loop they call."""
    op.answers[DISCOVERY] = Answer(delay=0.1)
    threads = [threading.Thread(target=prepare, args=(rp,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert op.requests_to(DISCOVERY) == 1
    assert rp.token_url


def test_twenty_callers_share_one_failure(rp: GenericOIDCProvider, op: Idp) -> None:
    """H047: twenty callers of a provider that is down cause one request."""
    gate = threading.Event()
    op.answers[DISCOVERY] = Answer({}, 500, gate=gate)

    async def go() -> list[Any]:
        asking = [asyncio.ensure_future(rp.prepare()) for _ in range(20)]
        await soon(lambda: op.requests_to(DISCOVERY))
        gate.set()
        return await asyncio.gather(*asking, return_exceptions=True)

    assert {getattr(result, "code", "fine") for result in asyncio.run(go())} == {"discovery_failed"}
    assert op.requests_to(DISCOVERY) == 1


def test_cancelling_one_caller_stops_no_other(rp: GenericOIDCProvider, op: Idp) -> None:
    """Cancelling one of two callers leaves the shared discovery running for the other."""
    gate = threading.Event()
    op.answers[DISCOVERY] = Answer(gate=gate)

    async def go() -> None:
        first, second = asyncio.ensure_future(rp.prepare()), asyncio.ensure_future(rp.prepare())
        await soon(lambda: op.requests_to(DISCOVERY))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        gate.set()
        await second

    asyncio.run(go())

    assert rp.token_url
    assert op.requests_to(DISCOVERY) == 1


def test_metadata_is_kept_for_an_hour(rp: GenericOIDCProvider, op: Idp) -> None:
    """H045: two sign-ins in a row read it once; after an hour it is read anew, and changes are taken over."""
    exchange(rp, op)
    exchange(rp, op)
    assert op.requests_to(DISCOVERY) == 1

    rp._metadata._kept_at -= 3601
    op.metadata = {"userinfo_endpoint": "https://new.example/u"}
    exchange(rp, op)
    assert op.requests_to(DISCOVERY) == 2
    assert rp.userinfo_url == "https://new.example/u"


def test_metadata_that_turns_bad_is_not_taken_over(rp: GenericOIDCProvider, op: Idp) -> None:
    """H045: the second reading is as strict as the first."""
    prepare(rp)
    rp._metadata._kept_at -= 3601
    op.metadata = {"issuer": "https://evil.example", "token_endpoint": "https://evil.example/t"}

    assert failure(rp.prepare()).code == "metadata_issuer"
    assert rp.token_url == f"{op.issuer}/token"


def test_configured_endpoints_win(client: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """H050: what the caller says is not overridden by discovery, neither at first nor an hour later."""
    rp = client(token_url="https://mine.example/t")
    op.metadata = {"token_endpoint": ...}
    prepare(rp)
    rp._metadata._kept_at -= 3601
    prepare(rp)

    assert rp.token_url == "https://mine.example/t"
    assert rp.authorize_url == f"{op.issuer}/authorize"


def test_unknown_metadata_is_ignored(rp: GenericOIDCProvider, op: Idp) -> None:
    """C37: mtls aliases, numbers, nonsense: metadata that we do not use stop no sign-in."""
    op.metadata = {"mtls_endpoint_aliases": {"token_endpoint": "https://mtls.example"}, "x": 5, "": None}

    assert exchange(rp, op).access_token


# -- keys ---------------------------------------------------------------------------------------------------------


def validate(rp: GenericOIDCProvider, token: str) -> str:
    """Validate an ID token and return the code of its refusal, or nothing."""
    try:
        asyncio.run(rp.validate_id_token(token))
    except TokenError as error:
        return error.code
    return ""


@pytest.fixture
def warm(rp: GenericOIDCProvider, op: Idp) -> GenericOIDCProvider:
    """A client that has seen the provider's keys."""
    return warmed(rp, op)


def warmed(rp: GenericOIDCProvider, op: Idp) -> GenericOIDCProvider:
    """Show a client the provider's keys."""
    assert validate(rp, op.id_token()) == ""
    return rp


def test_keys_are_fetched_once(warm: GenericOIDCProvider, op: Idp) -> None:
    """A second token of the same key causes no request."""
    assert validate(warm, op.id_token()) == ""
    assert op.requests_to("/jwks") == 1


def test_a_key_that_rotates_just_before_signing_is_fetched(warm: GenericOIDCProvider, op: Idp) -> None:
    """A9, C19, H161: a key id we have never seen causes exactly one more request."""
    op.rotate_key()

    assert validate(warm, op.id_token()) == ""
    assert op.requests_to("/jwks") == 2


def test_a_key_that_rotates_under_its_old_name_is_fetched(warm: GenericOIDCProvider, op: Idp) -> None:
    """C19: also where the new key has the old key's id, or the token names none."""
    op.rotate_key(kid=op.kid)
    assert validate(warm, op.id_token()) == ""
    assert op.requests_to("/jwks") == 2

    op.rotate_key()
    op.header = {"kid": ...}
    assert validate(warm, op.id_token()) == ""
    assert op.requests_to("/jwks") == 3


def test_keys_may_rotate_twice_in_a_row(warm: GenericOIDCProvider, op: Idp) -> None:
    """C20, H162: no cooldown gets in the way of a second rotation a moment later."""
    for _ in range(2):
        op.rotate_key()
        assert validate(warm, op.id_token()) == ""

    assert op.requests_to("/jwks") == 3


def test_an_unknown_key_id_is_looked_for_once(warm: GenericOIDCProvider, op: Idp) -> None:
    """H161: a token with an invented key id costs one request, not two."""
    op.header = {"kid": "invented"}

    assert validate(warm, op.id_token()) == "id_token_signature"
    assert op.requests_to("/jwks") == 2


def test_keys_of_this_moment_are_not_asked_for_again(rp: GenericOIDCProvider, op: Idp) -> None:
    """H161: the first token of all, with an invented key id, costs one request as well."""
    op.header = {"kid": "invented"}

    assert validate(rp, op.id_token()) == "id_token_signature"
    assert op.requests_to("/jwks") == 1


@pytest.mark.parametrize("kid", [None, "key-1"], ids=["H163-random-kids", "H163-bad-signatures"])
def test_a_flood_of_bad_tokens_causes_few_requests(warm: GenericOIDCProvider, op: Idp, kid: str | None) -> None:
    """H163: a hundred tokens that no key fits cause three requests (CVE-2026-48524); then ``jwks_failed``."""
    head, body, _ = op.id_token().split(".")
    said = []
    for _ in range(100):
        op.header = {"kid": kid or secrets.token_hex(4)}
        said.append(validate(warm, f"{head}.{body}.AAAA" if kid else op.id_token()))

    assert said == ["id_token_signature"] * 3 + ["jwks_failed"] * 97
    assert op.requests_to("/jwks") <= 4
    op.header = {}
    assert validate(warm, op.id_token()) == ""


def test_a_minute_later_a_rotation_is_found_again(warm: GenericOIDCProvider, op: Idp) -> None:
    """H162: a flood uses the requests up, but not for ever."""
    op.header = {"kid": "invented"}
    for _ in range(4):
        validate(warm, op.id_token())
    op.header = {}
    op.rotate_key()
    assert validate(warm, op.id_token()) == "jwks_failed"

    warm._keys._refilled_at -= 61
    assert validate(warm, op.id_token()) == ""


NO_KEYS: dict[str, Answer] = {
    "500": Answer({}, 500),
    "404": Answer({}, 404),
    "H171-redirect": Answer({}, 302, {"Location": "/other"}),
    "H171-html": Answer(b"<html>", headers={"Content-Type": "text/html"}),
    "H171-gzip": Answer(gzip.compress(b'{"keys": []}')[:-3], headers={"Content-Encoding": "gzip"}),
    "H171-large": Answer(b" " * 600_000),
    "H043-no-json": Answer(b"{"),
    "H169-array": Answer([]),
    "H169-no-keys": Answer({"key": []}),
    "H169-keys-null": Answer({"keys": None}),
    "H169-keys-object": Answer({"keys": {"0": {}}}),
    "H169-65-keys": Answer({"keys": [{}] * 65}),
    "H169-10000-keys": Answer({"keys": [{}] * 10_000}),
}
NO_KEYS_CODES = {"jwks_failed", "bad_response", "redirect_refused", "too_large"}


def test_a_failed_fetch_keeps_the_keys(fresh: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """H164: while the key endpoint is broken, tokens of known keys are still verified (CVE-2026-48524).

    Of an unknown key nothing is said: the provider may have published it just now.
    """
    for name, answer in NO_KEYS.items():
        with case(name):
            warm = warmed(fresh(), op)
            good = op.id_token()
            op.header = {"kid": "invented"}
            op.answers["/jwks"] = answer

            assert validate(warm, op.id_token()) in NO_KEYS_CODES
            assert validate(warm, good) == ""
            warm._keys._fetched_at -= 301
            assert validate(warm, good) == ""
            assert validate(warm, op.id_token()) in NO_KEYS_CODES


def test_keys_that_cannot_be_had_are_a_typed_error(fresh: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """A15, H169, H171: without any key a sign-in fails; when they are back, the next sign-in succeeds."""
    for name, answer in NO_KEYS.items():
        with case(name):
            rp = fresh()
            op.answers["/jwks"] = answer
            assert validate(rp, op.id_token()) in NO_KEYS_CODES
            assert op.requests_to("/jwks") == 1

            op.answers.clear()
            assert validate(rp, op.id_token()) == ""


def test_malformed_key_entries_are_skipped(rp: GenericOIDCProvider, op: Idp) -> None:
    """H168, H169: beside a good key anything may stand; 64 entries are allowed."""
    odd: list[Any] = [None, 5, "x", [], {}, {"kty": None}, {"kty": "oct", "k": "AAAA", "kid": op.kid}, {"kty": "RSA"}]
    op.answers["/jwks"] = Answer({"keys": [*odd, *[{}] * (63 - len(odd)), op.jwk()]})

    assert validate(rp, op.id_token()) == ""


def test_the_other_media_type_of_keys_is_accepted(rp: GenericOIDCProvider, op: Idp) -> None:
    """H171: ``application/jwk-set+json`` (RFC 7517 §8.5.2)."""
    op.answers["/jwks"] = Answer({"keys": [op.jwk()]}, headers={"Content-Type": "application/jwk-set+json"})

    assert validate(rp, op.id_token()) == ""


def test_concurrent_misses_cause_one_request(warm: GenericOIDCProvider, op: Idp) -> None:
    """H165: twenty tokens of a new key at once ask for it once."""
    op.rotate_key()
    token = op.id_token()

    async def go() -> None:
        await asyncio.gather(*(warm.validate_id_token(token) for _ in range(20)))

    asyncio.run(go())

    assert op.requests_to("/jwks") == 2


def test_a_withdrawn_key_is_out_of_use_after_five_minutes(warm: GenericOIDCProvider, op: Idp) -> None:
    """H172: what the provider no longer publishes verifies nothing."""
    stolen = op.id_token()
    op.rotate_key()
    assert validate(warm, stolen) == ""

    warm._keys._fetched_at -= 301
    assert validate(warm, stolen) == "id_token_signature"


def test_keys_belong_to_their_address(warm: GenericOIDCProvider, op: Idp) -> None:
    """H173: when ``jwks_uri`` changes, the old keys verify nothing more, also while the new address is down."""
    warm._metadata._kept_at -= 3601
    op.metadata = {"jwks_uri": f"{op.issuer}/keys2"}
    op.answers["/keys2"] = Answer({}, 500)

    assert validate(warm, op.id_token()) == "jwks_failed"

    op.answers["/keys2"] = Answer({"keys": []})
    assert validate(warm, op.id_token()) == "id_token_signature"


# -- who we are ---------------------------------------------------------------------------------------------------


def test_the_token_request_has_exactly_what_it_needs(rp: GenericOIDCProvider, op: Idp) -> None:
    """H051: one POST, the redirect URI byte for byte, the verifier, and a public client's name."""
    odd = "http://127.0.0.1:8888/user/a%40b/pywry-auth/callback?x=%20&y=+"
    exchange(rp, op, odd)

    request = op.last("/token")
    assert request.method == "POST"
    assert request.query == ""
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert "authorization" not in request.headers
    assert set(request.form) == {"grant_type", "code", "redirect_uri", "code_verifier", "client_id"}
    assert request.form["grant_type"] == "authorization_code"
    assert request.form["redirect_uri"] == odd
    assert request.form["client_id"] == CLIENT


def basic(op: Idp) -> tuple[str, str]:
    """The client id and secret of the last token request's Basic header, each form-decoded."""
    scheme, _, value = op.last("/token").headers["authorization"].partition(" ")
    assert scheme == "Basic"
    user, _, password = base64.b64decode(value, validate=True).decode("ascii").partition(":")
    return unquote_plus(user), unquote_plus(password)


def test_basic_authentication_encodes_id_and_secret(client: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """C14, H052: both are form-encoded before they are joined (RFC 6749 §2.3.1), and stand in the header alone."""
    for odd in ["plain", "a:b", "a%b", "a+b c", "é€", "&=?#/", "100%:", '"\\']:
        with case(odd):
            op.be_honest()
            op.claims = {"aud": f"id {odd}"}
            exchange(client(f"id {odd}", client_secret=f"CANARY {odd}"), op)

            assert basic(op) == (f"id {odd}", f"CANARY {odd}")
            assert not {"client_id", "client_secret"} & set(op.last("/token").form)


METHODS: dict[str, tuple[Any, str]] = {
    "missing": (..., "basic"),
    "basic": (["client_secret_basic"], "basic"),
    "both": (["client_secret_post", "client_secret_basic"], "basic"),
    "post": (["client_secret_post"], "post"),
    "post-and-others": (["none", "private_key_jwt", "client_secret_post"], "post"),
    "empty": ([], "basic"),
    "null": (None, "basic"),
    "number": (5, "basic"),
    "true": (True, "basic"),
    "string": ("client_secret_post", "post"),
    "odd-entries": ([None, 5, ["client_secret_post"], {}], "basic"),
}


def test_the_secret_is_sent_as_the_provider_wants_it(client: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """H049: Basic is the specification's default (OIDC Discovery §3); in the body only where just that is offered."""
    for name, (offered, chosen) in METHODS.items():
        with case(name):
            op.be_honest()
            op.metadata = {"token_endpoint_auth_methods_supported": offered}
            exchange(client(client_secret="CANARY-secret"), op)

            request = op.last("/token")
            assert ("authorization" in request.headers) == (chosen == "basic")
            assert request.form.get("client_secret") == ("CANARY-secret" if chosen == "post" else None)


@pytest.mark.parametrize("offered", [["private_key_jwt", "tls_client_auth"], ["none"]], ids=repr)
def test_a_secret_that_cannot_be_sent_is_reported_before_the_sign_in(
    client: Callable[..., GenericOIDCProvider], op: Idp, offered: Any
) -> None:
    """H049: a provider that wants keys or certificates, or no secret at all, is refused with the metadata."""
    op.metadata = {"token_endpoint_auth_methods_supported": offered}

    assert failure(client(client_secret="CANARY-secret").prepare()).code == "client_auth_unsupported"
    assert client().build_authorize_url(REDIRECT_URI, "s"), "a public client has nothing to send"


REVOCATION_METHODS: dict[str, tuple[Any, str]] = {
    "missing": (..., "basic"),
    "basic": (["client_secret_basic"], "basic"),
    "post": (["client_secret_post"], "post"),
    "both": (["client_secret_post", "client_secret_basic"], "basic"),
}


def test_revocation_has_a_method_of_its_own(client: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """B7: ``revoke_token`` authenticates as *its* endpoint wants; Basic when it does not say (RFC 8414 §2)."""
    for name, (offered, chosen) in REVOCATION_METHODS.items():
        with case(name):
            op.be_honest()
            op.metadata = {
                "token_endpoint_auth_methods_supported": ["client_secret_post"],
                "revocation_endpoint_auth_methods_supported": offered,
            }

            assert asyncio.run(client(client_secret="CANARY-secret").revoke_token("CANARY-t")) is True
            request = op.last("/revoke")
            assert ("authorization" in request.headers) == (chosen == "basic")
            assert request.form.get("client_secret") == ("CANARY-secret" if chosen == "post" else None)


def test_revocation_without_a_method_of_ours_is_an_error(client: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """B7: it raises, and the token is not sent."""
    op.metadata = {"revocation_endpoint_auth_methods_supported": ["private_key_jwt"]}
    rp = client(client_secret="CANARY-secret")

    assert failure(rp.revoke_token("CANARY-t")).code == "client_auth_unsupported"
    assert op.requests_to("/revoke") == 0
    assert asyncio.run(client().revoke_token("CANARY-t")) is True


def test_a_public_client_sends_its_name(fresh: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """H049: without a secret there is nothing to authenticate with, whatever is offered."""
    for offered in [["client_secret_basic"], ["none"], None, ...]:
        with case(offered):
            rp = fresh()
            op.metadata = {"token_endpoint_auth_methods_supported": offered}
            exchange(rp, op)

            assert "authorization" not in op.last("/token").headers
            assert op.last("/token").form["client_id"] == CLIENT


def test_a_provider_shows_no_secret(client: Callable[..., GenericOIDCProvider]) -> None:
    """Its repr names host and client."""
    rp = client(client_secret="CANARY-secret")

    assert repr(rp) == "<GenericOIDCProvider 127.0.0.1, client 'pywry'>"
    assert "CANARY" not in repr(vars(rp))


# -- the authorize URL --------------------------------------------------------------------------------------------


def begun(rp: GenericOIDCProvider) -> list[tuple[str, str]]:
    """Begin a sign-in and return the parameters of its authorize URL."""
    request = asyncio.run(AuthFlowManager(rp).begin(REDIRECT_URI))
    return parse_qsl(urlsplit(str(request.url)).query, keep_blank_values=True, strict_parsing=True)


def test_the_authorize_url_has_every_parameter_once(client: Callable[..., GenericOIDCProvider]) -> None:
    """H001, H008: code flow, PKCE with S256, state and nonce, each once; and no secret."""
    asked = begun(client(client_secret="CANARY-secret"))

    names = [name for name, _ in asked]
    assert len(names) == len(set(names))
    assert set(names) == {"response_type", "client_id", "redirect_uri", "scope", "state", "nonce", *PKCE}
    values = dict(asked)
    assert values["response_type"] == "code"
    assert values["client_id"] == CLIENT
    assert values["redirect_uri"] == REDIRECT_URI
    assert values["scope"] == "openid email profile"
    assert values["code_challenge_method"] == "S256"
    assert "CANARY" not in repr(asked)


def test_every_sign_in_has_secrets_of_its_own(rp: GenericOIDCProvider) -> None:
    """H003: state, nonce and challenge have 256 bits and never come twice, also not as one another."""
    seen = [value for _ in range(50) for name, value in begun(rp) if name in {"state", "nonce", "code_challenge"}]

    assert len(set(seen)) == 150
    assert min(map(len, seen)) >= 43


def test_an_existing_query_is_kept(rp: GenericOIDCProvider, op: Idp) -> None:
    """A18, H002: an authorization endpoint may have a query of its own (RFC 6749 §3.1)."""
    op.metadata = {"authorization_endpoint": f"{op.issuer}/authorize?p=b2c_1%20a&empty=&p=2"}
    asked = begun(rp)

    assert asked[:3] == [("p", "b2c_1 a"), ("empty", ""), ("p", "2")]
    assert dict(asked)["response_type"] == "code"


def test_an_existing_query_cannot_stand_beside_ours(fresh: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """H001, H006: the endpoint's query has no second value for what ties the answer to our request."""
    for name in ["state", "client_id", "redirect_uri", "response_type", "scope", "nonce", *PKCE]:
        with case(name):
            rp = fresh()
            op.metadata = {"authorization_endpoint": f"{op.issuer}/authorize?{name}=evil&keep=1"}
            asked = begun(rp)

            assert [value for key, value in asked if key == name] != ["evil"]
            assert len([value for key, value in asked if key == name]) == 1
            assert ("keep", "1") in asked


OURS = ["state", "redirect_uri", "client_id", "response_type", "response_mode", "request", "request_uri", *PKCE]


def test_extra_parameters_cannot_override_ours(rp: GenericOIDCProvider) -> None:
    """B16, H006, H010: what ties the answer to our request, and how it comes back, is not for the caller to set."""
    for name in [*OURS, "client_secret"]:
        with case(name), pytest.raises(ValueError, match=name):
            rp.build_authorize_url(REDIRECT_URI, "state", PKCEChallenge.generate(), {name: "evil"})


def test_extra_parameters_are_added(rp: GenericOIDCProvider) -> None:
    """Others are passed on, encoded once (H007)."""
    extra = {"login_hint": "ada & bob é#", "claims": '{"a":1}'}
    url = rp.build_authorize_url("https://h/c?a=b", "s&t=1\n", None, extra)

    asked = dict(parse_qsl(urlsplit(url).query))
    assert urlsplit(url).fragment == ""
    assert asked["redirect_uri"] == "https://h/c?a=b"
    assert asked["state"] == "s&t=1\n"
    assert extra.items() <= asked.items()
    assert not {"t", "code_challenge", "nonce"} & set(asked)


SCOPES = [["openid"], ["openid", "address", "phone"], ["openid", "a&b=c", "https://h/x y"]]


def test_scopes_are_asked_for(client: Callable[..., GenericOIDCProvider]) -> None:
    """C13, H007: joined by spaces, encoded once."""
    for scopes in SCOPES:
        with case(scopes):
            assert dict(begun(client(scopes=scopes)))["scope"] == " ".join(scopes)


def test_without_openid_there_is_no_nonce(client: Callable[..., GenericOIDCProvider]) -> None:
    """A nonce belongs to ID tokens."""
    assert "nonce" not in dict(begun(client(scopes=["email"])))


def test_offline_access_comes_with_consent_where_that_is_offered(
    client: Callable[..., GenericOIDCProvider], op: Idp
) -> None:
    """H260: ``prompt=consent`` makes a provider that lists it heed ``offline_access`` (OIDC Core §11)."""
    op.metadata = {"prompt_values_supported": ["none", "login", "consent"]}
    offline = client(scopes=["openid", "offline_access"])

    assert [value for name, value in begun(offline) if name == "prompt"] == ["consent"]
    assert "prompt" not in dict(begun(client()))
    url = offline.build_authorize_url(REDIRECT_URI, "s", None, {"prompt": "login consent"})
    assert dict(parse_qsl(urlsplit(url).query))["prompt"] == "login consent"


def test_the_url_of_an_endpoint_that_is_not_known_yet_is_discovered(rp: GenericOIDCProvider, op: Idp) -> None:
    """A3: ``build_authorize_url`` works by itself, from a plain thread."""
    assert rp.build_authorize_url(REDIRECT_URI, "s").startswith(f"{op.issuer}/authorize?")


def test_a_configured_authorize_url_is_checked(client: Callable[..., GenericOIDCProvider]) -> None:
    """H002: also the caller's own address must be one that may be given secrets."""
    for url in ["http://idp.example/a", "https://h/a#f", "javascript:alert(1)", "a"]:
        with case(url):
            with pytest.raises(TokenError) as caught:
                client(authorize_url=url).build_authorize_url(REDIRECT_URI, "s")

            assert caught.value.code == "insecure_url"


ISSUERS: dict[str, tuple[Callable[[str], str | None], bool, str]] = {
    "honest": (lambda issuer: issuer, True, ""),
    "H022-other": (lambda _: "https://evil.example", True, "issuer_mismatch"),
    "H025-final-slash": (lambda issuer: issuer + "/", True, "issuer_mismatch"),
    "H025-upper-case": (str.upper, True, "issuer_mismatch"),
    "H022-empty": (lambda _: "", True, "issuer_mismatch"),
    "H023-missing": (lambda _: None, True, "issuer_missing"),
    "H024-missing-not-promised": (lambda _: None, False, ""),
    "H024-other-not-promised": (lambda _: "https://evil.example", False, "issuer_mismatch"),
    "H024-honest-not-promised": (lambda issuer: issuer, False, ""),
}


def test_the_answer_comes_from_who_was_asked(fresh: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """H022 to H025: RFC 9207 §2.4, by simple string comparison, also where ``iss`` was not promised."""
    for name, (iss, promised, code) in ISSUERS.items():
        with case(name):
            rp = fresh()
            op.metadata = {"authorization_response_iss_parameter_supported": promised}
            prepare(rp)

            try:
                rp.check_issuer(iss(op.issuer))
                said = ""
            except TokenError as error:
                said = error.code

            assert said == code


# -- the token endpoint -------------------------------------------------------------------------------------------

REFUSALS: dict[str, tuple[Answer, str]] = {
    **{f"H053-{status}": (Answer({}, status, {"Location": "/x"}), "redirect_refused") for status in (301, 302, 303)},
    **{f"H056-{status}": (Answer({}, status, {"Location": "/x"}), "redirect_refused") for status in (307, 308)},
    "H065-201-error": (Answer({"error": "invalid_grant"}, 201), "invalid_grant"),
    "H065-204-empty": (Answer(b"", 204), "bad_response"),
    "H066-html": (Answer(b"<html>CANARY", headers={"Content-Type": "text/html"}), "bad_response"),
    "H068-invalid_grant": (Answer({"error": "invalid_grant", "error_description": "CANARY"}, 400), "invalid_grant"),
    "H068-invalid_grant-401": (Answer({"error": "invalid_grant"}, 401), "invalid_grant"),
    **{
        f"H069-{error}": (Answer({"error": error, "error_description": "CANARY"}, 400), error)
        for error in (
            "invalid_client",
            "unauthorized_client",
            "unsupported_grant_type",
            "invalid_scope",
            "invalid_request",
        )
    },
    "H070-401": (
        Answer({"error": "invalid_client"}, 401, {"WWW-Authenticate": 'Basic realm="x"'}),
        "invalid_client",
    ),
    "H071-400-html": (Answer(b"<html>", 400, {"Content-Type": "text/html"}), "token_refused"),
    "H071-400-empty": (Answer(b"", 400), "token_refused"),
    "H071-400-string": (Answer(b'"invalid_grant"', 400), "token_refused"),
    "H071-400-list": (Answer(["invalid_grant"], 400), "token_refused"),
    "H071-400-error-list": (Answer({"error": ["invalid_grant"]}, 400), "token_refused"),
    "H071-400-error-object": (Answer({"error": {"code": "CANARY"}}, 400), "token_refused"),
    "H071-400-error-null": (Answer({"error": None}, 400), "token_refused"),
    "H071-400-unknown-error": (Answer({"error": "CANARY"}, 400), "token_refused"),
    "H072-200-error": (Answer({"error": "invalid_grant", "access_token": "CANARY"}), "invalid_grant"),
    "H072-200-unknown-error": (Answer({"error": "CANARY", "access_token": "CANARY"}), "token_refused"),
    "H072-200-error-object": (Answer({"error": {"code": 1}}), "token_refused"),
    "H302-401-invalid_token": (Answer({"error": "invalid_token"}, 401), "token_refused"),
    "H302-403": (Answer({}, 403), "token_refused"),
    "H302-own-members": (Answer({"code": 1, "reason": "CANARY"}, 400), "token_refused"),
    **{
        f"H302-{error}": (Answer({"error": error}, 400), "token_refused")
        for error in ("interaction_required", "login_required", "consent_required")
    },
    **{
        f"H206-{status}-invalid_grant": (Answer({"error": "invalid_grant"}, status), "provider_unavailable")
        for status in (408, 429, 500, 503)
    },
    **{
        f"H206-{error}": (Answer({"error": error}, 400), "provider_unavailable")
        for error in ("temporarily_unavailable", "server_error")
    },
    "H073-429": (Answer({}, 429, {"Retry-After": "5"}), "provider_unavailable"),
    "H074-500": (Answer({}, 500), "provider_unavailable"),
    "H074-502-html": (Answer(b"<html>", 502, {"Content-Type": "text/html"}), "provider_unavailable"),
    "H075-408": (Answer({}, 408), "provider_unavailable"),
    "H079-no-token": (Answer({"token_type": "Bearer"}), "token_response"),
    "H082-mac": (Answer({"access_token": "CANARY", "token_type": "mac"}), "token_type"),
    "H094-empty": (Answer({}), "provider_unavailable"),
    "H094-array": (Answer([]), "provider_unavailable"),
    "H098-duplicate": (
        Answer(b'{"access_token": "CANARY", "access_token": "CANARY", "token_type": "Bearer"}'),
        "bad_response",
    ),
}


def test_a_refused_code_is_not_sent_again(fresh: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """A15, H053 to H098: a typed error; the code is sent once (H074), nothing is asked after that, or quoted."""
    for name, (answer, code) in REFUSALS.items():
        with case(name):
            rp = fresh()
            op.answers["/token"] = answer

            assert failure(rp.exchange_code("CANARY-code", REDIRECT_URI, "CANARY-verifier", NONCE)).code == code
            assert paths(op) == [DISCOVERY, "/token"]


def test_a_refused_refresh_is_a_refresh_error(fresh: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """H204, H206: the same answers to a refresh are ``TokenRefreshError`` with the same code, after one request.

    H302: except that ``invalid_request`` is then a refusal of the token, since the sign-in itself was understood.
    """
    for name, (answer, code) in REFUSALS.items():
        with case(name):
            rp = fresh()
            op.answers["/token"] = answer
            error = failure(rp.refresh_tokens("CANARY-rt"))

            assert isinstance(error, TokenRefreshError)
            assert error.code == ("token_refused" if code == "invalid_request" else code)
            assert paths(op) == [DISCOVERY, "/jwks", "/token"], "keys are at hand before a refresh token is spent"


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_token_endpoint_says_when_to_come_back(rp: GenericOIDCProvider, op: Idp, status: int) -> None:
    """H073: ``Retry-After`` reaches the caller of a sign-in and of a refresh, at most an hour."""
    op.answers["/token"] = Answer({}, status, {"Retry-After": "99999"})

    assert failure(rp.exchange_code("c", REDIRECT_URI)).retry_after == 3600
    assert failure(rp.refresh_tokens("CANARY-rt")).retry_after == 3600


def test_a_provider_that_is_gone_is_a_typed_error(rp: GenericOIDCProvider, op: Idp) -> None:
    """H076: no server listens at the token endpoint."""
    op.metadata = {"token_endpoint": "http://127.0.0.1:1/token"}

    assert failure(rp.exchange_code("c", REDIRECT_URI)).code == "connection_refused"
    error = failure(rp.refresh_tokens("CANARY-rt"))
    assert (type(error), error.code) == (TokenRefreshError, "connection_refused")


def test_times_count_from_when_the_request_left(client: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """H212: an answer that takes long does not make its tokens live longer."""
    rp = client()
    prepare(rp)
    gate, arrived = threading.Event(), list[float]()
    op.answers["/token"] = Answer(gate=gate)

    def answer() -> None:
        until(lambda: op.requests_to("/token"))
        arrived.append(time.time())
        time.sleep(0.05)
        gate.set()

    threading.Thread(target=answer).start()
    before = time.time()

    assert before <= exchange(rp, op).issued_at <= arrived[0]


# -- UserInfo -----------------------------------------------------------------------------------------------------


def test_userinfo_adds_to_the_id_token(rp: GenericOIDCProvider, op: Idp) -> None:
    """C01, C13: the profile is what both say; what is about the token and not the person is left out."""
    op.claims = {"email": "ada@example.org", "jti": "1", "sid": "2"}
    who = asyncio.run(rp.fetch_user(exchange(rp, op)))

    assert who == {"iss": op.issuer, "sub": "ada", "name": "Ada Lovelace", "email": "ada@example.org"}


def test_the_access_token_travels_in_the_header(rp: GenericOIDCProvider, op: Idp) -> None:
    """C27, H192: never in a query or a form."""
    tokens = exchange(rp, op)
    asyncio.run(rp.fetch_user(tokens))

    request = op.last("/userinfo")
    assert (request.method, request.query, request.form) == ("GET", "", {})
    assert request.headers["authorization"] == f"Bearer {tokens.access_token}"


def test_userinfo_about_another_user_is_refused(fresh: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """B2, C11, H186: ``sub`` must be the ID token's (OIDC Core §5.3.2); none of its claims are used."""
    for sub in ["eve", "ADA", "ada ", " ", 5, 0, ["ada"], {"ada": 1}, True, False, 5.0]:
        with case(sub):
            rp = fresh()
            tokens = exchange(rp, op)
            op.answers["/userinfo"] = Answer({"name": "CANARY", "sub": sub})

            assert failure(rp.fetch_user(tokens)).code == "userinfo_sub"


WITHOUT_SUBJECT: dict[str, Any] = {
    "missing": {"name": "CANARY"},
    "null": {"name": "CANARY", "sub": None},
    "empty": {"name": "CANARY", "sub": ""},
    "empty-object": {},
    "error-with-200": {"error": "insufficient_scope"},
}


def test_userinfo_without_a_subject_is_not_used(fresh: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """H244, H186: the sign-in goes on with the claims of the ID token (Azure AD, IdentityServer)."""
    for name, body in WITHOUT_SUBJECT.items():
        with case(name):
            rp = fresh()
            tokens = exchange(rp, op)
            op.answers["/userinfo"] = Answer(body)

            assert asyncio.run(rp.fetch_user(tokens)) == {"iss": op.issuer, "sub": "ada", "name": "Ada"}


@pytest.mark.parametrize(("told", "userinfo"), [("4711", 4711), (4711, "4711"), (4711, 4711), ("-5", -5)])
def test_a_numeric_subject_is_its_decimal_text(rp: GenericOIDCProvider, op: Idp, told: Any, userinfo: Any) -> None:
    """H244: as a number or as a text, it is the same user."""
    op.claims = {"sub": told}
    tokens = exchange(rp, op)
    op.answers["/userinfo"] = Answer({"sub": userinfo, "name": "Ada Lovelace"})

    assert asyncio.run(rp.fetch_user(tokens)) == {"iss": op.issuer, "sub": str(told), "name": "Ada Lovelace"}


JWT = {"Content-Type": "application/jwt"}


def signed(op: Idp, **claims: Any) -> Answer:
    """UserInfo as a signed token; ``...`` leaves a claim out."""
    said = {"iss": op.issuer, "aud": CLIENT, "sub": "ada", "name": "Ada Lovelace"} | claims
    kept = {name: value for name, value in said.items() if value is not ...}
    return Answer(compact({"alg": "RS256", "kid": op.kid}, kept, op.key).encode(), headers=JWT)


GOOD_SIGNED: dict[str, dict[str, Any]] = {
    "complete": {"iat": 5, "jti": "x"},
    "without-iss-and-aud": {"iss": ..., "aud": ...},
    "aud-list": {"aud": ["other", CLIENT]},
    "old": {"iat": 5},
    "unexpired": {"exp": time.time() + 300},
}


def test_signed_userinfo_is_verified_and_used(fresh: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """H244, H188: Authelia, ProConnect and Keycloak can sign it (OIDC Core §5.3.2)."""
    for name, claims in GOOD_SIGNED.items():
        with case(name):
            rp = fresh()
            tokens = exchange(rp, op)
            op.answers["/userinfo"] = signed(op, **claims)

            assert asyncio.run(rp.fetch_user(tokens)) == {"iss": op.issuer, "sub": "ada", "name": "Ada Lovelace"}


def test_signed_userinfo_about_another_user_is_refused(rp: GenericOIDCProvider, op: Idp) -> None:
    """H186, H188: a good signature does not make it the same user."""
    tokens = exchange(rp, op)
    op.answers["/userinfo"] = signed(op, sub="eve")

    assert failure(rp.fetch_user(tokens)).code == "userinfo_sub"


BAD_SIGNED: dict[str, dict[str, Any]] = {
    "iss": {"iss": "https://evil.example"},
    "iss-null": {"iss": None},
    "aud": {"aud": "stranger"},
    "aud-null": {"aud": None},
    "expired": {"exp": 5},
    "exp-text": {"exp": "never"},
}


def test_signed_userinfo_for_others_is_not_used(fresh: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """H188: of another issuer, for another client, or over: the ID token names the user, as when UserInfo is down."""
    for name, claims in BAD_SIGNED.items():
        with case(name):
            rp = fresh()
            tokens = exchange(rp, op)
            op.answers["/userinfo"] = signed(op, **claims)

            assert asyncio.run(rp.fetch_user(tokens)) == {"iss": op.issuer, "sub": "ada", "name": "Ada"}
            assert failure(rp.get_userinfo(tokens.access_token)).code == "userinfo_failed"


def test_userinfo_that_a_stranger_signed_is_not_used(rp: GenericOIDCProvider, op: Idp) -> None:
    """H188: whichever user it names."""
    tokens = exchange(rp, op)
    with Idp() as stranger:
        for sub in ("ada", "eve"):
            answer = signed(stranger, iss=op.issuer, sub=sub)
            op.answers["/userinfo"] = answer

            assert asyncio.run(rp.fetch_user(tokens))["name"] == "Ada"


def test_signed_userinfo_needs_an_issuer(client: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """H188: without keys to check it with, the error says what to set."""
    urls = {"authorize_url": f"{op.issuer}/authorize", "token_url": f"{op.issuer}/token"}
    rp = client(issuer_url="", userinfo_url=f"{op.issuer}/userinfo", **urls)
    op.answers["/userinfo"] = signed(op)
    error = failure(rp.get_userinfo("CANARY-at"))

    assert error.code == "userinfo_failed"
    assert "issuer_url" in error.message


USERINFO_DOWN: dict[str, Answer] = {
    "H187-401": Answer({"error": "invalid_token"}, 401),
    "H187-403": Answer({"error": "insufficient_scope"}, 403),
    "H191-500": Answer({}, 500),
    "H191-404": Answer(b"", 404, {"Content-Type": "text/html"}),
    "H189-redirect": Answer({}, 302, {"Location": "/x"}),
    "H189-html": Answer(b"<html>", headers={"Content-Type": "text/html"}),
    "H189-large": Answer(b" " * 600_000),
    "H189-list": Answer([{"sub": "ada", "name": "Eve"}]),
    "H189-null": Answer(b"null"),
    "H188-jwt": Answer(b"eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.", headers={"Content-Type": "application/jwt"}),
    "H188-jwt-as-json": Answer(b'"eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ."'),
    "H098-duplicate": Answer(b'{"sub": "ada", "sub": "ada"}'),
}


def test_userinfo_that_is_down_is_forgiven(fresh: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """H191, C38: the ID token names the user; a signed UserInfo answer is not parsed unverified."""
    for name, answer in USERINFO_DOWN.items():
        with case(name):
            rp = fresh()
            tokens = exchange(rp, op)
            op.answers["/userinfo"] = answer

            assert asyncio.run(rp.fetch_user(tokens)) == {"iss": op.issuer, "sub": "ada", "name": "Ada"}
            assert op.requests_to("/userinfo") == 1


def test_userinfo_asked_for_by_itself_is_an_error(fresh: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """``get_userinfo``, and a sign-in without ID token, raise when UserInfo fails."""
    for name, answer in USERINFO_DOWN.items():
        with case(name):
            rp = fresh()
            op.answers["/userinfo"] = answer

            codes = {"userinfo_failed", "bad_response", "redirect_refused", "too_large"}
            assert failure(rp.get_userinfo("CANARY-at")).code in codes
            assert failure(rp.fetch_user(OAuthTokenSet("CANARY-at"))).code in codes


def test_distributed_claims_of_userinfo_are_not_fetched(rp: GenericOIDCProvider, op: Idp) -> None:
    """C36, H190: an endpoint that UserInfo names is not asked."""
    sources = {"s": {"endpoint": f"{op.issuer}/elsewhere", "access_token": "CANARY"}}
    op.answers["/userinfo"] = Answer({"sub": "ada", "_claim_names": {"a": "s"}, "_claim_sources": sources})

    assert asyncio.run(rp.fetch_user(exchange(rp, op)))["sub"] == "ada"
    assert op.requests_to("/elsewhere") == 0


# -- refresh ------------------------------------------------------------------------------------------------------


def refresh(rp: GenericOIDCProvider, token: str | None) -> OAuthTokenSet:
    """Refresh."""
    assert token is not None
    return asyncio.run(rp.refresh_tokens(token))


def test_a_refresh_gives_tokens_that_work(rp: GenericOIDCProvider, op: Idp) -> None:
    """C21: new tokens that UserInfo accepts; the request carries the refresh token and the client's name alone."""
    old = exchange(rp, op)
    new = refresh(rp, old.refresh_token)

    assert op.last("/token").form == {
        "grant_type": "refresh_token",
        "refresh_token": str(old.refresh_token),
        "client_id": CLIENT,
    }
    assert new.access_token != old.access_token
    assert new.refresh_token not in {None, old.refresh_token}
    rp.check_continuity(old, new)
    asyncio.run(rp.fetch_user(new))
    assert op.last("/userinfo").headers["authorization"] == f"Bearer {new.access_token}"


def test_a_refresh_authenticates_the_client(client: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """H052: as the exchange did."""
    rp = client(client_secret="CANARY-secret")
    refresh(rp, exchange(rp, op).refresh_token)

    assert op.last("/token").form["grant_type"] == "refresh_token"
    assert basic(op) == (CLIENT, "CANARY-secret")


def test_a_refresh_may_leave_things_out(rp: GenericOIDCProvider, op: Idp) -> None:
    """H195, H197 to H199: refresh token, lifetime, scope and ID token are optional; None and "" mean unchanged."""
    old = exchange(rp, op)
    op.token_extra = dict.fromkeys(("refresh_token", "expires_in", "scope", "id_token"), ...)

    new = refresh(rp, old.refresh_token)

    assert (new.refresh_token, new.expires_in, new.scope, new.id_token) == (None, None, "", None)
    rp.check_continuity(old, new)


ODD_REFRESHED: dict[str, dict[str, Any]] = {
    "H202-aud": {"aud": "stranger"},
    "H202-aud-more": {"aud": [CLIENT, "account"]},
    "H202-azp": {"azp": "stranger"},
    "H240-exp": {"exp": 5},
    "H240-exp-missing": {"exp": ...},
    "H240-iat-20-min-ago": {"iat": int(time.time()) - 1200},
    "H240-iat-text": {"iat": "now"},
    "H240-at_hash": {"at_hash": "AAAA"},
    "H240-sub-missing": {"sub": ...},
    "H240-sub-null": {"sub": None},
    "H240-sub-list": {"sub": ["ada"]},
    "H240-iss-missing": {"iss": ...},
    "H240-nbf": {"nbf": int(time.time()) + 3000},
}


def unsigned(header: dict[str, Any], claims: dict[str, Any]) -> str:
    """A token without a signature."""
    return compact(header | {"alg": "none"}, claims, new_key()).rpartition(".")[0] + "."


MALFORMED_REFRESHED: dict[str, Callable[[dict[str, Any], dict[str, Any]], str]] = {
    "none": unsigned,
    "none-of-another-user": lambda header, claims: unsigned(header, claims | {"sub": "eve"}),
    "HS256": lambda header, claims: compact(header | {"alg": "HS256"}, claims, b"x" * 32, "HS256"),
    "no-token": lambda *_: "CANARY",
    "encrypted": lambda *_: "a.b.c.d.e",
    "type": lambda header, claims: compact(header | {"typ": "logout+jwt"}, claims, new_key()),
    "empty": lambda *_: "",
}


def odd_refreshes() -> Iterator[tuple[str, dict[str, Any], Callable[..., str] | None]]:
    """Every odd ID token of a refresh: its claims, and how it is made if not honestly."""
    yield from ((name, claims, None) for name, claims in ODD_REFRESHED.items())
    yield from ((name, {}, forge) for name, forge in MALFORMED_REFRESHED.items())


def test_a_refresh_keeps_its_tokens_whatever_its_id_token(
    fresh: Callable[..., GenericOIDCProvider], op: Idp, caplog: pytest.LogCaptureFixture
) -> None:
    """H240, H202: an odd ID token is left out with one warning, and the tokens beside it are good: none is revoked."""
    for name, claims, forge in odd_refreshes():
        with case(name):
            rp = fresh()
            old = exchange(rp, op)
            op.claims, op.forge = claims, forge
            caplog.clear()
            new = refresh(rp, old.refresh_token)

            assert new.access_token != old.access_token
            assert new.refresh_token not in {None, old.refresh_token}
            assert rp.accept(old, new).succeed(old).id_token == old.id_token
            assert op.requests_to("/revoke") == 0
            warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
            assert len(warnings) == (0 if name == "empty" else 1)
            assert "CANARY" not in str(warnings) + str(warnings).replace("eyJ", "CANARY")


def test_an_odd_id_token_still_says_whose_the_tokens_are(rp: GenericOIDCProvider, op: Idp) -> None:
    """H201, H240: one that is old as well as another user's proves that the tokens are another user's."""
    old = exchange(rp, op)
    op.claims = {"sub": "eve", "iat": 5, "aud": "stranger"}
    new = refresh(rp, old.refresh_token)

    assert new.id_token is None
    with pytest.raises(TokenRefreshError) as caught:
        rp.accept(old, new)
    assert caught.value.code == "identity_changed"


def test_the_tokens_of_another_issuer_are_revoked(rp: GenericOIDCProvider, op: Idp) -> None:
    """B2, C22, H200: a refreshed ID token of another issuer, well signed, is proof of another sign-in."""
    old = exchange(rp, op)
    op.claims = {"iss": "https://evil.example"}
    error = failure(rp.refresh_tokens(str(old.refresh_token)))

    assert (type(error), error.code) == (TokenRefreshError, "id_token_iss")
    assert op.requests_to("/revoke") == 2


def test_a_sign_in_that_is_not_accepted_is_revoked(rp: GenericOIDCProvider, op: Idp) -> None:
    """B7: the tokens beside a bad ID token are revoked: access token first."""
    op.claims = {"aud": "stranger"}

    with pytest.raises(TokenError):
        exchange(rp, op)
    first, second = (request.form for request in op.requests if request.path == "/revoke")
    assert first["token"].startswith("CANARY-at-")
    assert second["token_type_hint"] == "refresh_token"
    assert second["token"].startswith("CANARY-rt-")


def test_a_revocation_that_fails_changes_no_verdict(rp: GenericOIDCProvider, op: Idp) -> None:
    """B7: the person learns what was wrong with the sign-in; both tokens were tried."""
    op.claims = {"aud": "stranger"}
    op.answers["/revoke"] = Answer({}, 302, {"Location": "/x"})

    with pytest.raises(TokenError) as caught:
        exchange(rp, op)
    assert caught.value.code == "id_token_aud"
    assert op.requests_to("/revoke") == 2


@pytest.mark.parametrize("gone", ["jwks", "network"])
@pytest.mark.parametrize("age", [0, 301], ids=["keys-young", "keys-old"])
def test_keys_that_are_down_during_a_refresh_cost_no_session(
    rp: GenericOIDCProvider, op: Idp, gone: str, age: int
) -> None:
    """The provider rotates its key, and its keys cannot be had: the new tokens are kept, the ID token is not."""
    old = exchange(rp, op)
    op.rotate_key()
    rp._keys._fetched_at -= age
    if gone == "jwks":
        op.answers["/jwks"] = Answer({}, 503)
    else:
        rp._metadata.values["jwks_uri"] = rp._keys._uri = "http://127.0.0.1:1/jwks"

    new = refresh(rp, old.refresh_token)

    assert new.refresh_token not in {None, old.refresh_token}
    assert new.id_token is None
    rp.check_continuity(old, new)
    assert new.succeed(old).id_token == old.id_token
    assert op.requests_to("/revoke") == 0


def test_keys_that_are_down_during_a_sign_in_are_not_a_wrong_signature(rp: GenericOIDCProvider, op: Idp) -> None:
    """A sign-in whose ID token cannot be checked fails, and says that waiting may help."""
    exchange(rp, op)
    op.rotate_key()
    op.answers["/jwks"] = Answer({}, 503, {"Retry-After": "7"})

    with pytest.raises(TokenError) as caught:
        exchange(rp, op)
    assert (caught.value.code, caught.value.retry_after) == ("jwks_failed", 7)


def test_a_refresh_waits_for_its_first_keys(client: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """In a fresh kernel without keys nothing is spent: the refresh token is still good afterwards."""
    refresh_token = exchange(client(), op).refresh_token
    rp = client()
    op.answers["/jwks"] = Answer({}, 503)
    assert failure(rp.refresh_tokens(str(refresh_token))).code == "jwks_failed"

    op.answers.clear()
    assert refresh(rp, refresh_token).id_token


def test_a_refreshed_id_token_needs_a_signature(rp: GenericOIDCProvider, op: Idp) -> None:
    """C10: a token of a stranger's key does not renew a session; nothing proves another user, so none is revoked."""
    old = exchange(rp, op)
    with Idp() as stranger:
        op.forge = lambda _, claims: stranger.id_token(**claims)
        error = failure(rp.refresh_tokens(str(old.refresh_token)))

    assert (type(error), error.code) == (TokenRefreshError, "id_token_signature")
    assert op.requests_to("/revoke") == 0
    assert isinstance(error, TokenRefreshError)
    assert error.refused is not None
    assert error.refused.refresh_token not in {None, old.refresh_token}
    assert "CANARY" not in repr(vars(error))


NOW = int(time.time())
SAME: dict[str, tuple[dict[str, Any], bool]] = {
    "same": ({}, True),
    "H203-nonce-absent": ({"nonce": ...}, True),
    "new-name": ({"name": "Countess"}, True),
    "aud-as-array": ({"aud": [CLIENT]}, True),
    "auth_time-absent": ({"auth_time": ...}, True),
    "iat-20-s-before": ({"iat": NOW - 20}, True),
    "iat-later": ({"iat": NOW + 3600}, True),
    "aud-other": ({"aud": "other"}, False),
    "aud-more": ({"aud": [CLIENT, "other"]}, False),
    "auth_time-now": ({"auth_time": NOW}, False),
    "azp-appears": ({"azp": CLIENT}, False),
    "iat-before": ({"iat": NOW - 60}, False),
    "H203-nonce-other": ({"nonce": "other"}, False),
}
FIRST: dict[str, Any] = {"nonce": NONCE, "iat": NOW, "auth_time": NOW - 5000}


def test_an_id_token_of_the_same_user_is_taken_over_if_it_continues_the_first(rp: GenericOIDCProvider, op: Idp) -> None:
    """B2, H240, H202, H203: for whom, since when, and no older than what it replaces (OIDC Core §12.2).

    Otherwise the old one stays, beside the new tokens: Cognito and Keycloak change ``auth_time``.
    """
    for name, (changes, taken) in SAME.items():
        with case(name):
            old = OAuthTokenSet("CANARY-at", id_token=op.id_token(**FIRST))
            new = OAuthTokenSet("CANARY-at2", id_token=op.id_token(**FIRST | changes))
            accepted = rp.accept(old, new).succeed(old)

            assert accepted.access_token == "CANARY-at2"
            assert accepted.id_token == (new if taken else old).id_token


@pytest.mark.parametrize("changes", [{"sub": "eve"}, {"iss": "https://evil.example"}], ids=["C23-sub", "C22-iss"])
def test_another_user_continues_nothing(rp: GenericOIDCProvider, op: Idp, changes: dict[str, Any]) -> None:
    """B2, C22, C23, H200, H201: issuer and subject say who it is."""
    old = OAuthTokenSet("CANARY-at", id_token=op.id_token(**FIRST))
    with pytest.raises(TokenRefreshError) as caught:
        rp.accept(old, OAuthTokenSet("CANARY-at2", id_token=op.id_token(**FIRST | changes)))

    assert caught.value.code == "identity_changed"


def test_an_id_token_with_a_nonce_of_its_own_is_not_taken_over(rp: GenericOIDCProvider, op: Idp) -> None:
    """H203: the first ID token had none."""
    old = OAuthTokenSet("CANARY-at", id_token=op.id_token())

    assert rp.accept(old, OAuthTokenSet("CANARY-at2", id_token=op.id_token(nonce="x"))).id_token is None


# -- without an issuer --------------------------------------------------------------------------------------------


@pytest.fixture
def explicit(client: Callable[..., GenericOIDCProvider], op: Idp) -> GenericOIDCProvider:
    """A client that knows the addresses and not the issuer; scopes and all else are the defaults."""
    urls = {f"{name}_url": f"{op.issuer}/{path}" for name, path in (("authorize", "authorize"), ("token", "token"))}
    return client(issuer_url="", userinfo_url=f"{op.issuer}/userinfo", **urls)


def test_without_an_issuer_userinfo_says_who_it_is(explicit: GenericOIDCProvider, op: Idp) -> None:
    """A4: an ID token that cannot be checked does not make the sign-in fail; it is dropped, and UserInfo is asked."""
    op.claims = {"sub": "eve"}
    tokens = exchange(explicit, op)

    assert tokens.id_token is None
    assert explicit.claims(tokens) == {}
    assert asyncio.run(explicit.fetch_user(tokens)) == {"sub": "ada", "name": "Ada Lovelace"}
    assert explicit.claims(OAuthTokenSet("CANARY-at", id_token=op.id_token())) == {}
    assert op.requests_to(DISCOVERY) == op.requests_to("/jwks") == 0


def test_without_an_issuer_a_refresh_works(explicit: GenericOIDCProvider, op: Idp) -> None:
    """A4: an ID token that comes with the new tokens is dropped as the first one was."""
    old = exchange(explicit, op)
    new = refresh(explicit, old.refresh_token)

    assert new.access_token != old.access_token
    assert new.id_token is None
    explicit.check_continuity(old, new)


def test_with_an_issuer_validation_stays(client: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """A4: naming the addresses, too, switches nothing off."""
    rp = client(authorize_url=f"{op.issuer}/authorize", token_url=f"{op.issuer}/token")
    op.claims = {"aud": "stranger"}

    with pytest.raises(TokenError) as caught:
        exchange(rp, op)
    assert caught.value.code == "id_token_aud"


# -- after a fork -------------------------------------------------------------------------------------------------


def test_keys_are_fetched_although_the_old_loop_died_with_the_lock(op: Idp, http: HttpClient) -> None:
    """A fork in the middle of a fetch leaves the lock held for ever: another loop has a lock of its own."""
    keys, uri = KeyCache(HttpClient()), f"{op.issuer}/jwks"
    gate = threading.Event()
    op.answers["/jwks"] = Answer(gate=gate, times=1)
    dead = asyncio.new_event_loop()
    fetch = dead.create_task(keys.warm(uri))
    dead.run_until_complete(soon(lambda: op.requests_to("/jwks")))
    assert not fetch.done()

    keys._renew_lock()  # as a forked child does
    keys._http._forget_client()
    found = asyncio.run(asyncio.wait_for(keys.candidates(uri, alg="RS256", kid=op.kid), 30))

    assert [key["kid"] for key in found] == [op.kid]
    fetch.cancel()
    with pytest.raises(asyncio.CancelledError):
        dead.run_until_complete(fetch)
    dead.close()
    gate.set()


# -- revoke -------------------------------------------------------------------------------------------------------


def test_revoking_needs_the_revocation_endpoint_alone(op: Idp) -> None:
    """Where its address is given, no discovery and no other endpoint is needed, also while discovery is down."""
    alone = GenericOIDCProvider(CLIENT, revocation_url=f"{op.issuer}/revoke")
    beside_a_dead_issuer = GenericOIDCProvider(
        CLIENT, issuer_url="http://127.0.0.1:1", revocation_url=f"{op.issuer}/revoke"
    )

    for provider in (alone, beside_a_dead_issuer):
        assert asyncio.run(provider.revoke_token("CANARY-t")) is True
    assert op.requests_to("/revoke") == 2
    with pytest.raises(TokenError):
        asyncio.run(GenericOIDCProvider(CLIENT, issuer_url="http://127.0.0.1:1").revoke_token("CANARY-t"))


@pytest.mark.parametrize("hint", ["access_token", "refresh_token"])
def test_revoking_names_the_token_and_the_client(
    client: Callable[..., GenericOIDCProvider], op: Idp, hint: str
) -> None:
    """B7, H216: ``revoke_token`` follows RFC 7009 §2.1, for public clients and for clients with a secret."""
    assert asyncio.run(client().revoke_token("CANARY-t", hint)) is True
    assert op.last("/revoke").form == {"token": "CANARY-t", "token_type_hint": hint, "client_id": CLIENT}
    assert op.last("/revoke").method == "POST"

    assert asyncio.run(client(client_secret="CANARY-s").revoke_token("CANARY-t", hint)) is True
    assert op.last("/revoke").form == {"token": "CANARY-t", "token_type_hint": hint}
    assert op.last("/revoke").headers["authorization"].startswith("Basic ")


REVOCATIONS: dict[str, tuple[Answer, bool]] = {
    "H217-unknown-token": (Answer({}), True),
    "empty": (Answer(b"", headers={"Content-Type": "text/plain"}), True),
    "H230-204": (Answer(b"", 204), True),
    "H230-202": (Answer({}, 202), True),
    "H218-503": (Answer({}, 503, {"Retry-After": "1"}), False),
    "H219-400": (Answer({"error": "unsupported_token_type"}, 400), False),
    "H219-401": (Answer({"error": "invalid_client"}, 401), False),
    "H219-404": (Answer(b"<html>", 404, {"Content-Type": "text/html"}), False),
}


def test_revoking_says_whether_it_was_confirmed(fresh: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """H217 to H219, H230: only 2xx is a confirmation, with or without a body."""
    for name, (answer, expected) in REVOCATIONS.items():
        with case(name):
            rp = fresh()
            op.answers["/revoke"] = answer

            assert asyncio.run(rp.revoke_token("CANARY-t")) is expected
            assert op.requests_to("/revoke") == 1


def test_revoking_where_one_cannot_is_false(rp: GenericOIDCProvider, op: Idp) -> None:
    """H220: no endpoint, no request."""
    op.metadata = {"revocation_endpoint": ...}

    assert asyncio.run(rp.revoke_token("CANARY-t")) is False
    assert paths(op) == [DISCOVERY]


def test_a_closed_provider_can_be_used_again(rp: GenericOIDCProvider, op: Idp) -> None:
    """``close`` ends the connections, once or twice, and forgets nothing that was learned."""
    tokens = exchange(rp, op)
    asyncio.run(rp.close())
    asyncio.run(rp.close())

    assert asyncio.run(rp.get_userinfo(tokens.access_token))["sub"] == "ada"
    assert op.requests_to(DISCOVERY) == 1


def test_revoking_never_follows_a_redirect(rp: GenericOIDCProvider, op: Idp) -> None:
    """H057: a token is not carried elsewhere."""
    op.answers["/revoke"] = Answer({}, 307, {"Location": f"{op.issuer}/evil"})

    assert failure(rp.revoke_token("CANARY-t")).code == "redirect_refused"
    assert op.requests_to("/evil") == 0
