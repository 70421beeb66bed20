"""`GoogleProvider` against a provider that refuses what Google refuses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import pytest

from pywry_auth_nb import AuthFlowManager, OAuthTokenSet, SessionManager, TokenError, TokenRefreshError
from pywry_auth_nb.providers import GoogleProvider
from tests.support.cases import case
from tests.support.clients import REDIRECT_URI, exchange
from tests.support.idp import CLIENT, Answer
from tests.support.lookalikes import WORDS, GoogleLookalike, Refused

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def kind() -> type[GoogleLookalike]:
    """The provider of this module's tests."""
    return GoogleLookalike


def refused(rp: GoogleProvider, op: GoogleLookalike) -> TokenError:
    """Sign in and be refused without a word of the provider."""
    with pytest.raises(TokenError) as caught:
        exchange(rp, op)
    assert not {word for word in ("CANARY", WORDS) if word in str(caught.value) + repr(caught.value)}
    return caught.value


def query(rp: GoogleProvider) -> dict[str, str]:
    """The parameters of an authorize URL."""
    return dict(parse_qsl(urlsplit(rp.build_authorize_url(REDIRECT_URI, "state")).query))


def test_the_addresses_are_known_beforehand() -> None:
    """A3: ``build_authorize_url`` needs no request, and the seed's attributes hold Google's endpoints."""
    rp = GoogleProvider(CLIENT)

    assert rp.build_authorize_url(REDIRECT_URI, "s").startswith("https://accounts.google.com/o/oauth2/v2/auth?")
    assert rp.token_url == "https://oauth2.googleapis.com/token"
    assert rp.userinfo_url == "https://openidconnect.googleapis.com/v1/userinfo"
    assert rp.revocation_url == "https://oauth2.googleapis.com/revoke"
    assert rp.issuer_url == "https://accounts.google.com"
    assert rp.scopes == ["openid", "email", "profile"]
    assert rp.label == "accounts.google.com"


def test_offline_access_and_consent_are_asked_for() -> None:
    """``build_authorize_url`` asks for what makes Google give a refresh token; a caller may choose another prompt."""
    rp = GoogleProvider(CLIENT)
    url = rp.build_authorize_url(REDIRECT_URI, "s", None, {"prompt": "select_account consent", "hd": "example.org"})

    assert query(rp).items() >= {"access_type": "offline", "prompt": "consent"}.items()
    assert dict(parse_qsl(urlsplit(url).query))["prompt"] == "select_account consent"


def test_a_whole_sign_in(client: Callable[..., GoogleProvider], op: GoogleLookalike) -> None:
    """Sign in, read the profile, refresh, sign out: with what Google leaves out of its answers."""
    rp = client()
    session = SessionManager(rp)
    flow = AuthFlowManager(rp, session_manager=session)

    async def go() -> None:
        request = await flow.begin(REDIRECT_URI)
        await flow.complete(op.authorize(str(request.url)))
        first = session._engine.state.tokens
        assert session.user["name"] == "Ada Lovelace"  # type: ignore[index]
        second = await session.refresh()
        assert first is not None
        assert second.access_token != first.access_token
        assert second.refresh_token == first.refresh_token, "Google sends none with a refresh: the old one stays"
        await session.logout()
        assert op._grants == {}

    asyncio.run(go())


def test_the_scope_offline_access_is_left_out(client: Callable[..., GoogleProvider], op: GoogleLookalike) -> None:
    """A7: Google refuses the scope that other providers want; the rest is sent as it is."""
    rp = client(scopes=["openid", "offline_access", "https://www.googleapis.com/auth/drive.readonly"])

    assert query(rp)["scope"] == "openid https://www.googleapis.com/auth/drive.readonly"
    assert exchange(rp, op).refresh_token
    with pytest.raises(Refused):
        op.authorize(f"{op.issuer}/a?scope=openid+offline_access&state=s")


def test_a_missing_secret_is_named(client: Callable[..., GoogleProvider], op: GoogleLookalike) -> None:
    """Google's "invalid_request" says only in its text that it wants a secret; we say what to do."""
    error = refused(client(client_secret=""), op)

    assert error.code == "client_secret_missing"
    assert "client_secret" in str(error)


def test_a_missing_secret_of_a_refresh_is_named(client: Callable[..., GoogleProvider]) -> None:
    """``refresh_tokens`` says it, too, as ``TokenRefreshError``."""
    with pytest.raises(TokenRefreshError) as caught:
        asyncio.run(client(client_secret="").refresh_tokens("CANARY-rt"))
    assert caught.value.code == "client_secret_missing"


def test_a_wrong_secret_is_invalid_client(client: Callable[..., GoogleProvider], op: GoogleLookalike) -> None:
    """It is not taken for a missing one."""
    assert refused(client(client_secret="CANARY-wrong"), op).code == "invalid_client"


def test_other_invalid_requests_stay_what_they_are(client: Callable[..., GoogleProvider], op: GoogleLookalike) -> None:
    """``client_secret_missing`` is said only where Google speaks of it, and none was sent."""
    op.answers["/token"] = Answer({"error": "invalid_request", "error_description": f"Bad Request {WORDS}"}, 400)
    assert refused(client(client_secret=""), op).code == "invalid_request"

    op.answers["/token"] = Answer({"error": "invalid_request", "error_description": f"client_secret {WORDS}"}, 400)
    assert refused(client(), op).code == "invalid_request"


def test_a_dead_refresh_token_is_invalid_grant(client: Callable[..., GoogleProvider]) -> None:
    """``refresh_tokens`` raises ``TokenRefreshError``, whose code says: sign in again."""
    with pytest.raises(TokenRefreshError) as caught:
        asyncio.run(client().refresh_tokens("CANARY-dead"))
    assert caught.value.code == "invalid_grant"


FORMS: dict[str, Callable[[str], str]] = {
    "url": lambda issuer: issuer,
    "host": lambda issuer: issuer.partition("://")[2],
}


def test_both_forms_of_the_issuer_are_accepted(client: Callable[..., GoogleProvider], op: GoogleLookalike) -> None:
    """H142: ``exchange_code`` and ``validate_id_token`` accept the issuer with and without ``https://``."""
    for name, form in FORMS.items():
        with case(name):
            op.claims = {"iss": form(op.issuer)}
            rp = client()

            assert rp.claims(exchange(rp, op))["iss"] == form(op.issuer)
            assert asyncio.run(rp.validate_id_token(op.id_token()))["sub"] == "ada"


def test_both_forms_name_one_user(client: Callable[..., GoogleProvider], op: GoogleLookalike) -> None:
    """H142, H240: a refreshed ID token with the other form is the same sign-in's."""
    rp = client()
    for old, new in ((FORMS["url"], FORMS["host"]), (FORMS["host"], FORMS["url"])):
        tokens = [OAuthTokenSet("CANARY-at", id_token=op.id_token(iss=form(op.issuer))) for form in (old, new)]

        assert rp.accept(*tokens).id_token == tokens[1].id_token


def test_other_issuers_are_not(client: Callable[..., GoogleProvider], op: GoogleLookalike) -> None:
    """B3, H142: neither another issuer nor a part of Google's is accepted."""
    for iss in ["accounts.google.com", "https://127.0.0.1", "//127.0.0.1", "", None]:
        with case(iss):
            op.be_honest()
            op.claims = {"iss": iss}

            assert refused(client(), op).code == "id_token_iss"


def test_the_short_form_is_for_id_tokens_alone(client: Callable[..., GoogleProvider], op: GoogleLookalike) -> None:
    """RFC 9207 §2.4: the ``iss`` of the response is compared as a string."""
    rp = client()
    asyncio.run(rp.prepare())

    rp.check_issuer(None)
    rp.check_issuer(op.issuer)
    with pytest.raises(TokenError) as caught:
        rp.check_issuer(op.issuer.partition("://")[2])
    assert caught.value.code == "issuer_mismatch"


def test_revoking_one_token_ends_both(client: Callable[..., GoogleProvider], op: GoogleLookalike) -> None:
    """B7: ``revoke_token`` sends the token alone; that the second one is then invalid is not a failure."""
    rp = client()
    tokens = exchange(rp, op)

    assert asyncio.run(rp.revoke_token(str(tokens.refresh_token), "refresh_token")) is True
    assert op.last("/revoke").form == {"token": str(tokens.refresh_token)}
    assert "authorization" not in op.last("/revoke").headers
    assert asyncio.run(rp.revoke_token(tokens.access_token)) is True
    assert op._grants == {}


NOT_REVOKED: dict[str, Answer] = {
    "other-error": Answer({"error": "invalid_request"}, 400),
    "other-status": Answer({"error": "invalid_token"}, 401),
    "html": Answer(b"<html>", 400, {"Content-Type": "text/html"}),
    "list": Answer([], 400),
    "down": Answer({}, 503),
}


def test_only_a_dead_token_counts_as_revoked(client: Callable[..., GoogleProvider], op: GoogleLookalike) -> None:
    """B7: another refusal of ``revoke_token`` is False."""
    for name, answer in NOT_REVOKED.items():
        with case(name):
            op.be_honest()
            op.answers["/revoke"] = answer

            assert asyncio.run(client().revoke_token("CANARY-t")) is False


def test_userinfo_and_close(client: Callable[..., GoogleProvider], op: GoogleLookalike) -> None:
    """``get_userinfo`` returns the profile, and raises ``TokenError``; after ``close`` the provider works on."""
    rp = client()
    tokens = exchange(rp, op)
    asyncio.run(rp.close())

    assert asyncio.run(rp.get_userinfo(tokens.access_token))["sub"] == "ada"
    with pytest.raises(TokenError) as caught:
        asyncio.run(rp.get_userinfo("CANARY"))
    assert caught.value.code == "userinfo_failed"
