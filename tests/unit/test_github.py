"""`GitHubProvider` against a server that answers and refuses as GitHub does."""

from __future__ import annotations

import asyncio
import logging
from itertools import product
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from pywry_auth_nb import AuthFlowManager, OAuthTokenSet, PKCEChallenge, SessionManager, TokenError, TokenRefreshError
from pywry_auth_nb.providers import GitHubProvider
from tests.support.cases import case
from tests.support.clients import REDIRECT_URI, exchange
from tests.support.idp import CLIENT, Answer
from tests.support.lookalikes import SECRET, WORDS, GitHubLookalike

if TYPE_CHECKING:
    from collections.abc import Callable


TOKEN = "/login/oauth/access_token"
EMAILS = "/api/v3/user/emails"


@pytest.fixture(scope="module")
def kind() -> type[GitHubLookalike]:
    """The provider of this module's tests."""
    return GitHubLookalike


def refused(work: Callable[..., Any], *arguments: Any) -> TokenError:
    """Be refused without a word of the provider."""
    with pytest.raises(TokenError) as caught:
        work(*arguments)
    assert not {word for word in ("CANARY", WORDS) if word in str(caught.value) + repr(caught.value)}
    return caught.value


def refresh(rp: GitHubProvider, token: Any) -> OAuthTokenSet:
    """Refresh."""
    return asyncio.run(rp.refresh_tokens(str(token)))


def whole_sign_in(rp: GitHubProvider, op: GitHubLookalike) -> SessionManager:
    """Sign in as the flow does it."""
    session = SessionManager(rp)
    flow = AuthFlowManager(rp, session_manager=session)

    async def go() -> None:
        request = await flow.begin(REDIRECT_URI)
        await flow.complete(op.authorize(str(request.url)))

    asyncio.run(go())
    return session


def test_the_addresses_are_github_s() -> None:
    """``build_authorize_url`` and the seed's attributes; A7: the scopes are GitHub's own."""
    rp = GitHubProvider(CLIENT)
    url = rp.build_authorize_url(REDIRECT_URI, "s", PKCEChallenge.generate())

    assert url.startswith("https://github.com/login/oauth/authorize?")
    assert dict(parse_qsl(urlsplit(url).query))["scope"] == "read:user user:email"
    assert rp.token_url == "https://github.com/login/oauth/access_token"
    assert rp.userinfo_url == "https://api.github.com/user"
    assert rp.revocation_url == f"https://api.github.com/applications/{CLIENT}/token"
    assert rp.label == "github.com"
    assert GitHubProvider(CLIENT, scopes=[]).scopes == []


def test_a_whole_sign_in(rp: GitHubProvider, op: GitHubLookalike) -> None:
    """Sign in, read the profile, sign out; no nonce and no expiry, since GitHub has neither."""
    session = whole_sign_in(rp, op)

    assert "nonce" not in rp.build_authorize_url(REDIRECT_URI, "s")
    assert session.display_name == "Ada Lovelace"
    assert session.user is not None
    assert session.user["email"] == "ada@example.org"
    assert session.expires_at is None
    asyncio.run(session.logout())
    assert op.alive == set()


def test_the_code_verifier_is_sent(rp: GitHubProvider, op: GitHubLookalike) -> None:
    """A8: ``exchange_code`` sends what GitHub insists on since it was sent a challenge."""
    pkce = PKCEChallenge.generate()
    codes = [op.authorize(rp.build_authorize_url(REDIRECT_URI, "s", pkce))["code"] for _ in range(2)]

    assert refused(lambda: asyncio.run(rp.exchange_code(codes[0], REDIRECT_URI))).code == "invalid_grant"
    assert asyncio.run(rp.exchange_code(codes[1], REDIRECT_URI, pkce.verifier)).access_token
    assert op.last(TOKEN).form == {
        "grant_type": "authorization_code",
        "code": codes[1],
        "redirect_uri": REDIRECT_URI,
        "code_verifier": str(pkce.verifier),
        "client_id": CLIENT,
        "client_secret": SECRET,
    }


def test_an_answer_is_read(fresh: Callable[..., GitHubProvider], op: GitHubLookalike) -> None:
    """JSON was asked for; a form is understood, too: scopes by spaces, and an end only where there is one."""
    for expiring, as_form in product([False, True], [False, True]):
        with case(expiring, as_form):
            rp = fresh()
            op.as_form, op.expiring = as_form, expiring
            tokens = exchange(rp, op)

            assert op.last(TOKEN).headers["accept"] == "application/json"
            assert tokens.access_token in op.alive
            assert tokens.token_type == "Bearer"
            assert tokens.scope == ("" if expiring else "read:user user:email")
            assert tokens.expires_in == (28800 if expiring else None)
            assert tokens.is_expired is False
            assert (tokens.refresh_token in op.refresh_tokens) == expiring


def test_scopes_that_a_person_took_away_are_not_claimed(rp: GitHubProvider, op: GitHubLookalike) -> None:
    """GitHub says what it granted; an empty scope is no scope, not the one that was asked for."""
    op.granted = ""
    assert exchange(rp, op).scope == ""

    op.granted = "read:user"
    assert exchange(rp, op).scope == "read:user"


ERRORS = {
    "bad_verification_code": "invalid_grant",
    "incorrect_client_credentials": "invalid_client",
    "bad_refresh_token": "invalid_grant",
    "redirect_uri_mismatch": "invalid_request",
    "unverified_user_email": "unverified_email",
    "application_suspended": "unauthorized_client",
    "Not Found": "invalid_client",
    "unsupported_grant_type": "unsupported_grant_type",
    "their_own": "token_refused",
}


def test_an_error_is_an_error_whatever_the_status(fresh: Callable[..., GitHubProvider], op: GitHubLookalike) -> None:
    """A15, H072: ``exchange_code`` and ``refresh_tokens`` translate GitHub's names into those of RFC 6749."""
    for status, (error, code) in product([200, 400], ERRORS.items()):
        with case(error, status):
            rp = fresh()
            op.answers[TOKEN] = Answer({"error": error, "error_description": WORDS}, status)

            said = refused(exchange, rp, op)
            assert (said.code, said.description, WORDS in said.message) == (code, WORDS, False)
            failure = refused(refresh, rp, "CANARY-rt")
            assert (type(failure), failure.code) == (TokenRefreshError, code)


def test_an_error_may_come_as_a_form(rp: GitHubProvider, op: GitHubLookalike) -> None:
    """A15: the same refusals in the other format."""
    for as_form in [False, True]:
        with case(as_form):
            op.as_form = as_form

            assert (
                refused(lambda: asyncio.run(rp.exchange_code("CANARY-code", REDIRECT_URI, "v"))).code == "invalid_grant"
            )


MALFORMED: dict[str, Answer] = {
    "html": Answer(b"<html>CANARY", headers={"Content-Type": "text/html"}),
    "no-token": Answer({"token_type": "bearer"}),
    "null-token": Answer({"access_token": None, "token_type": "bearer"}),
    "twice": Answer(b"access_token=a&access_token=b", headers={"Content-Type": "application/x-www-form-urlencoded"}),
    "502": Answer(b"Oops CANARY", 502, {"Content-Type": "text/plain"}),
}


def test_a_malformed_answer_is_a_typed_error(fresh: Callable[..., GitHubProvider], op: GitHubLookalike) -> None:
    """A15: nothing but ``TokenError`` comes out."""
    for name, answer in MALFORMED.items():
        with case(name):
            rp = fresh()
            op.answers[TOKEN] = answer

            assert refused(exchange, rp, op).code in {"bad_response", "token_response", "provider_unavailable"}


def test_a_missing_secret_is_named(client: Callable[..., GitHubProvider], op: GitHubLookalike) -> None:
    """GitHub calls it incorrect; with a wrong one it stays ``invalid_client``."""
    assert refused(exchange, client(client_secret=""), op).code == "client_secret_missing"
    assert refused(exchange, client(client_secret="CANARY-no"), op).code == "invalid_client"
    assert refused(exchange, client("stranger"), op).code == "invalid_client"


def test_another_redirect_uri_is_named(rp: GitHubProvider, op: GitHubLookalike) -> None:
    """GitHub compares with the app's callback URL."""
    code = op.authorize(rp.build_authorize_url(REDIRECT_URI, "state"))["code"]
    error = refused(lambda: asyncio.run(rp.exchange_code(code, "http://127.0.0.1:9999/other", "verifier")))

    assert error.code == "invalid_request"
    assert "callback URL" in str(error)


# -- refresh ------------------------------------------------------------------------------------------------------


def test_a_github_app_s_tokens_are_renewed(rp: GitHubProvider, op: GitHubLookalike) -> None:
    """``refresh_tokens``: both tokens are new, with the client's secret."""
    op.expiring = True
    old = exchange(rp, op)
    new = refresh(rp, old.refresh_token)

    assert op.last(TOKEN).form["client_secret"] == SECRET
    assert new.access_token != old.access_token
    assert new.refresh_token not in {None, old.refresh_token}
    assert op.alive == {str(new.access_token)}


def test_a_refresh_token_works_once(rp: GitHubProvider, op: GitHubLookalike) -> None:
    """A spent one is ``TokenRefreshError`` with the code that asks for a new sign-in."""
    op.expiring = True
    old = exchange(rp, op)
    refresh(rp, old.refresh_token)

    failure = refused(refresh, rp, old.refresh_token)
    assert (type(failure), failure.code) == (TokenRefreshError, "invalid_grant")


def test_a_server_that_is_down_is_not_the_end(rp: GitHubProvider, op: GitHubLookalike) -> None:
    """A15: waiting may help, and how long is passed on."""
    op.answers[TOKEN] = Answer({}, 503, {"Retry-After": "9"})

    failure = refused(refresh, rp, "CANARY-rt")
    assert (failure.code, failure.retry_after) == ("provider_unavailable", 9)


# -- who it is ----------------------------------------------------------------------------------------------------


def userinfo(rp: GitHubProvider, op: GitHubLookalike) -> dict[str, Any]:
    """Sign in and ask."""
    return asyncio.run(rp.get_userinfo(exchange(rp, op).access_token))


def test_the_api_gets_the_headers_it_wants(rp: GitHubProvider, op: GitHubLookalike) -> None:
    """``get_userinfo`` names itself, the version, and the format; the token stands in the header."""
    token = exchange(rp, op).access_token
    asyncio.run(rp.get_userinfo(token))

    for path in ("/api/v3/user", EMAILS):
        headers = op.last(path).headers
        assert headers["authorization"] == f"Bearer {token}"
        assert headers["accept"] == "application/vnd.github+json"
        assert headers["x-github-api-version"] == "2022-11-28"
        assert headers["user-agent"] == "pywry-auth-nb"


def test_a_public_address_is_enough(rp: GitHubProvider, op: GitHubLookalike) -> None:
    """The other addresses are not asked for."""
    op.profile["email"] = "public@example.org"

    assert userinfo(rp, op)["email"] == "public@example.org"
    assert op.requests_to(EMAILS) == 0


NO_EMAIL: dict[str, tuple[int, Any]] = {
    "none": (200, []),
    "unverified": (200, [{"email": "ada@example.org", "primary": True, "verified": False}]),
    "not-primary": (200, [{"email": "ada@example.org", "primary": False, "verified": True}]),
    "truthy": (200, [{"email": "ada@example.org", "primary": 1, "verified": "yes"}]),
    "malformed": (200, [None, 5, {"primary": True, "verified": True}, {"email": 5, "primary": True, "verified": True}]),
    "object": (200, {"email": "ada@example.org", "primary": True, "verified": True}),
    "403": (403, {"message": "Resource not accessible by integration"}),
    "404": (404, {"message": "Not Found"}),
    "404-empty": (404, None),
    "403-with-one": (403, [{"email": "ada@example.org", "primary": True, "verified": True}]),
    "500": (500, {}),
    "redirect": (302, {}),
}


def test_without_a_verified_primary_address_there_is_none(
    fresh: Callable[..., GitHubProvider], op: GitHubLookalike
) -> None:
    """B12: an address counts only when GitHub vouches for it; not being told is forgiven."""
    for name, answer in NO_EMAIL.items():
        with case(name):
            rp = fresh()
            op.emails = answer
            who = userinfo(rp, op)

            assert who["login"] == "ada"
            assert who["email"] is None
            assert op.requests_to(EMAILS) == 1


def test_a_token_that_is_refused_is_an_error(rp: GitHubProvider) -> None:
    """``get_userinfo`` and ``identify`` raise ``TokenError``."""
    assert refused(lambda: asyncio.run(rp.get_userinfo("CANARY"))).code == "userinfo_failed"
    assert refused(lambda: asyncio.run(rp.fetch_user(OAuthTokenSet("CANARY")))).code == "userinfo_failed"


ISSUERS: dict[str, tuple[Callable[[str], str | None], bool]] = {
    "login-oauth": (lambda web: f"{web}/login/oauth", True),
    "host": (lambda web: web, True),
    "missing": (lambda _: None, True),
    "slash": (lambda web: f"{web}/login/oauth/", False),
    "other": (lambda _: "https://evil.example", False),
    "empty": (lambda _: "", False),
}


def test_the_answer_comes_from_github(rp: GitHubProvider, op: GitHubLookalike) -> None:
    """B4: GitHub names itself in its answer (RFC 9207); older Enterprise Servers do not."""
    for name, (iss, accepted) in ISSUERS.items():
        with case(name):
            try:
                rp.check_issuer(iss(op.issuer))
                said = ""
            except TokenError as error:
                said = error.code

            assert said == ("" if accepted else "issuer_mismatch")


# -- revoke -------------------------------------------------------------------------------------------------------


def test_an_access_token_is_deleted(rp: GitHubProvider, op: GitHubLookalike) -> None:
    """B7: ``revoke_token`` is DELETE with Basic authentication and the token in JSON; 204 confirms it."""
    token = exchange(rp, op).access_token

    assert asyncio.run(rp.revoke_token(token)) is True
    request = op.last(f"/api/v3/applications/{CLIENT}/token")
    assert request.method == "DELETE"
    assert request.form == {"access_token": str(token)}
    assert request.headers["content-type"] == "application/json"
    assert op.alive == set()


def test_only_204_confirms_it(rp: GitHubProvider, op: GitHubLookalike) -> None:
    """A token that GitHub does not know (404), and any other answer, is False."""
    assert asyncio.run(rp.revoke_token("CANARY-dead")) is False

    for status in (200, 202, 422, 503):
        op.answers[f"/api/v3/applications/{CLIENT}/token"] = Answer({}, status)
        assert asyncio.run(rp.revoke_token("CANARY-t")) is False


def test_without_a_secret_it_says_so(
    client: Callable[..., GitHubProvider], op: GitHubLookalike, caplog: pytest.LogCaptureFixture
) -> None:
    """B7: False, a warning without the token, and no request."""
    with caplog.at_level(logging.WARNING, "pywry_auth_nb"):
        assert asyncio.run(client(client_secret="").revoke_token("CANARY-t")) is False

    assert "client_secret" in caplog.text
    assert op.requests == []


def test_a_refresh_token_cannot_be_revoked(rp: GitHubProvider, op: GitHubLookalike) -> None:
    """B7: GitHub has no way to do it, and False says so, without sending the token anywhere."""
    assert asyncio.run(rp.revoke_token("CANARY-rt", "refresh_token")) is False
    assert op.requests == []


def test_a_strange_client_id_stays_in_its_place(client: Callable[..., GitHubProvider]) -> None:
    """B16: it cannot lead the request to another path."""
    assert client("a/../b?c").revocation_url.endswith("/applications/a%2F..%2Fb%3Fc/token")


def test_close(rp: GitHubProvider, op: GitHubLookalike) -> None:
    """After ``close`` the provider works on."""
    asyncio.run(rp.close())

    assert userinfo(rp, op)["login"] == "ada"
