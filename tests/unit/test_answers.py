"""Answers of real providers at a session: what is odd in them costs no sign-in, and no job that runs at night."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pywry_auth_nb import (
    AuthFlowManager,
    FileTokenStore,
    GenericOIDCProvider,
    LogoutResult,
    MemoryTokenStore,
    SessionManager,
    TokenError,
    TokenExpiredError,
    TokenRefreshError,
)
from pywry_auth_nb import session as session_module
from pywry_auth_nb._io.http import HttpClient
from pywry_auth_nb._io.loop import run
from pywry_auth_nb._session import refresher
from pywry_auth_nb.providers import oidc
from pywry_auth_nb.providers.token_endpoint import EXCHANGE_DEADLINE, REFRESH_DEADLINE
from pywry_auth_nb.server import api, callback
from pywry_auth_nb.token_store import redis
from tests.conftest import sign_in
from tests.support.aging import expire
from tests.support.cases import case
from tests.support.clients import REDIRECT_URI
from tests.support.idp import CLIENT, Idp, compact, new_key
from tests.support.idp import Answer as Told
from tests.support.waiting import until, within

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def signed_in_at(idp: Idp, store: Any = None) -> SessionManager:
    """A session that has just signed in."""
    flow = AuthFlowManager(GenericOIDCProvider(CLIENT, issuer_url=idp.issuer), store or MemoryTokenStore())
    sign_in(flow, idp)
    return flow.session


def refresh(session: SessionManager) -> str:
    """Refresh, and return the code of the failure, or nothing."""
    try:
        asyncio.run(session.refresh())
    except TokenRefreshError as error:
        return error.code
    return ""


# -- refreshes ----------------------------------------------------------------------------------------------------

NOW = int(time.time())
ODD: dict[str, dict[str, Any]] = {
    "Cognito: auth_time moves": {"claims": {"auth_time": NOW}},
    "the old ID token again": {"claims": {"iat": NOW - 4000, "exp": NOW - 400}},
    "at_hash of another token": {"claims": {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}},
    "an audience more": {"claims": {"aud": [CLIENT, "account"]}},
    "azp appears": {"claims": {"azp": CLIENT}},
    "another nonce": {"claims": {"nonce": "x"}},
    "another authorized party": {"claims": {"azp": "another"}},
    "not for us": {"claims": {"aud": "another"}},
    "no subject": {"claims": {"sub": ...}},
    "no issuer": {"claims": {"iss": ...}},
    "unsigned": {"forge": lambda header, claims: compact(header | {"alg": "none"}, claims, new_key())},
    "scope as a list": {"token_extra": {"scope": ["openid", "api"]}},
    "empty members": {"token_extra": {"id_token": "", "expires_in": "", "scope": "", "token_type": ""}},
    "odd members": {"token_extra": {"id_token": 5, "expires_in": -1, "scope": 7, "token_type": None, "error": ""}},
    "malformed members": {"token_extra": {"id_token": "a\nb", "expires_in": 10**400, "scope": "\ud800"}},
    "BearerToken": {"token_extra": {"token_type": "BearerToken"}},
}


def test_a_job_at_night_goes_on_whatever_comes_with_its_tokens() -> None:
    """H240, H241: three refreshes in a row, each with a refresh token that is good once; nothing is revoked."""
    for name, oddity in ODD.items():
        with case(name), Idp() as idp:
            session = signed_in_at(idp)
            before = session.user
            for attribute, value in oddity.items():
                setattr(idp, attribute, value)
            tokens = {str(session.access_token)}
            for _ in range(3):
                assert refresh(session) == ""
                tokens.add(str(session.access_token))

            assert len(tokens) == 4
            assert (session.status, session.error, session.user) == ("signed_in", None, before)
            assert idp.requests_to("/revoke") == 0
            assert session.expires_at == pytest.approx(time.time() + 3600, abs=5), "the last known lifetime"


@pytest.mark.parametrize("value", ["", None, 0, [], "a\nb"])
def test_without_a_usable_new_refresh_token_the_old_one_stays(idp: Idp, value: Any) -> None:
    """H196, H241: many providers keep it, and some then send an empty one."""
    session = signed_in_at(idp)
    [good] = idp.refresh_tokens
    idp.token_extra = {"refresh_token": value}
    for _ in range(2):
        idp.refresh_tokens[good] = True
        assert refresh(session) == ""

    assert idp.last("/token").form["refresh_token"] == good


def publish_late(idp: Idp) -> None:
    """Sign with a new key, of which the keys that are published know nothing yet."""
    idp.answers["/jwks"] = Told({"keys": [idp.jwk()]})
    idp.rotate_key(kid=idp.kid)


def test_a_key_that_is_published_late_costs_no_sign_in(idp: Idp, tmp_path: Path) -> None:
    """H240: tokens with a wrong signature are refused, but nothing proves that they are another user's.

    The old access token stays while it lasts. The new refresh token has replaced the old one, so it is kept, also for a
    kernel that is started later.
    """
    session = signed_in_at(idp, FileTokenStore(tmp_path))
    old = session.access_token
    publish_late(idp)
    assert [refresh(session), refresh(session)] == ["id_token_signature"] * 2

    assert (session.access_token, session.status) == (old, "signed_in")
    assert idp.requests_to("/revoke") == 0
    idp.answers.clear()
    cold = SessionManager(GenericOIDCProvider(CLIENT, issuer_url=idp.issuer), FileTokenStore(tmp_path))
    assert refresh(cold) == ""
    assert refresh(session) == ""
    assert (session.status, session.error) == ("signed_in", None)
    assert session.access_token != old


def test_a_wrong_signature_stays_a_refusal(idp: Idp) -> None:
    """H240, H163: also when the keys may not be asked for again yet, whatever the name of the key."""
    for kid in ("key-1", "unknown"):
        with case(kid), Idp() as op:
            session = signed_in_at(op)
            old = session.access_token
            publish_late(op)
            op.kid = kid
            assert [refresh(session) for _ in range(6)] == ["id_token_signature"] * 6

            assert (session.access_token, session.status) == (old, "signed_in")
            op.answers.clear()
            session.provider._keys._fetched_at = float("-inf")
            assert refresh(session) == "", "the refresh token of each refused answer was kept"


def test_keys_that_do_not_come_hold_no_lease(idp: Idp, monkeypatch: pytest.MonkeyPatch) -> None:
    """H240, H245: other kernels wait for the lease, so an ID token that cannot be checked in time is left out."""
    monkeypatch.setattr(oidc, "_CHECK_DEADLINE", 0.2)
    session = signed_in_at(idp)
    idp.rotate_key()
    idp.answers["/jwks"] = Told(delay=8)
    with within(4):
        assert refresh(session) == ""

    assert idp.requests_to("/revoke") == 0


def test_an_old_id_token_that_cannot_be_read_costs_nothing(idp: Idp) -> None:
    """H240: it may have been stored when it needed no validation; there is nothing to compare then."""
    secret = compact({"alg": "HS256"}, {"sub": "ada"}, b"CANARY" * 6, "HS256")
    for unreadable in ("CANARY", secret):
        with case(unreadable):
            session = signed_in_at(idp)
            record = session._engine.state.record
            assert record.tokens is not None
            tokens = replace(record.tokens, id_token=unreadable)
            run(session.token_store.update(session.store_key, lambda there, tokens=tokens: there.renewed(tokens)), 10)
            assert [refresh(session), refresh(session)] == ["", ""]

            assert idp.requests_to("/revoke") == 0
            assert session.status == "signed_in"


def test_a_failed_sign_in_ends_no_other(idp: Idp, monkeypatch: pytest.MonkeyPatch) -> None:
    """H240: where revoking one token revokes all of the user's (Google), tokens that are refused are left to expire."""
    for revokes_consent, revoked in ((False, 2), (True, 0)):
        monkeypatch.setattr(GenericOIDCProvider, "revokes_consent", revokes_consent)
        for claims, userinfo in (({"iat": 5}, None), ({}, {"sub": "eve"})):
            with case(revokes_consent, claims):
                idp.be_honest()
                idp.claims = claims
                idp.answers = {"/userinfo": Told(userinfo)}
                with pytest.raises(TokenError):
                    signed_in_at(idp)

                assert idp.requests_to("/revoke") == revoked


def test_pauses_grow_while_signatures_are_wrong(idp: Idp, tmp_path: Path) -> None:
    """H240: a refresh token that is kept is no success: neither this kernel nor another one asks without a pause."""
    session = signed_in_at(idp, FileTokenStore(tmp_path))
    other = SessionManager(GenericOIDCProvider(CLIENT, issuer_url=idp.issuer), FileTokenStore(tmp_path))
    asyncio.run(other.initialize())
    publish_late(idp)
    for failures in (1, 2, 3):
        assert refresh(session) == "id_token_signature"
        assert session._engine.state.backoff.failures == failures
    assert refresh(other) == "id_token_signature"
    asyncio.run(session._engine.load())
    session._engine._sync.start()

    until(lambda: session._engine.state.record == other._engine.state.record)
    assert session._engine.state.backoff.failures == 3


def test_pauses_grow_where_refresh_tokens_are_not_rotated(idp: Idp) -> None:
    """H240: the same with a provider that sends no new refresh token, or the old one again."""
    session = signed_in_at(idp)
    [good] = idp.refresh_tokens
    publish_late(idp)
    for failures, sent in ((1, ...), (2, good), (3, "")):
        idp.token_extra = {"refresh_token": sent}
        idp.refresh_tokens[good] = True
        assert refresh(session) == "id_token_signature"
        assert session._engine.state.backoff.failures == failures


def test_the_end_of_a_wrong_signature_is_told_when_the_token_is_over(idp: Idp) -> None:
    """H240: not before; and the reason is the real one, not a refresh token that was used twice."""
    session = signed_in_at(idp)
    publish_late(idp)
    assert refresh(session) == "id_token_signature"
    assert session.error is None
    expire(session)

    with pytest.raises(TokenExpiredError) as caught:
        asyncio.run(session.get_access_token())
    assert caught.value.code == "id_token_signature"
    assert "CANARY" not in repr(vars(session._engine.state.backoff.failure))


def test_keys_that_are_down_cost_nothing(idp: Idp) -> None:
    """H171, H240: an outage proves nothing; the tokens are good, and the old ID token stays."""
    session = signed_in_at(idp)
    old = session._engine.state.tokens
    idp.rotate_key()
    idp.answers["/jwks"] = Told({}, status=503)
    assert refresh(session) == ""

    new = session._engine.state.tokens
    assert old is not None
    assert new is not None
    assert new.access_token != old.access_token
    assert new.id_token == old.id_token
    assert idp.requests_to("/revoke") == 0


ANOTHER: dict[str, tuple[dict[str, Any], str]] = {
    "C23-sub": ({"sub": "eve"}, "identity_changed"),
    "C23-sub-and-old": ({"sub": "eve", "iat": 5, "aud": "another", "auth_time": 7}, "identity_changed"),
    "C23-sub-without-iss": ({"sub": "eve", "iss": ...}, "identity_changed"),
    "C22-iss-without-sub": ({"iss": "https://evil.example", "sub": ...}, "id_token_iss"),
    "C22-iss": ({"iss": "https://evil.example"}, "id_token_iss"),
}


@pytest.mark.parametrize(("claims", "code"), ANOTHER.values(), ids=ANOTHER)
def test_the_tokens_of_another_user_end_the_sign_in(idp: Idp, claims: dict[str, Any], code: str) -> None:
    """C22, C23, H200, H201: they are revoked, and a new sign-in is needed."""
    session = signed_in_at(idp)
    idp.claims = claims

    assert refresh(session) == code
    assert session.status == "reauth_required"
    assert idp.requests_to("/revoke") == 2
    assert not any(idp.refresh_tokens.values())


# -- the wire -----------------------------------------------------------------------------------------------------


def relabelled(status: int = 200, body: Callable[[bytes], bytes] = bytes, **headers: str) -> Callable[..., Any]:
    """Give every answer of the token endpoint another status, encoding or label."""

    def relabel(answer: tuple[int, bytes, dict[str, str]]) -> tuple[int, bytes, dict[str, str]]:
        renamed = {name.replace("_", "-"): value for name, value in headers.items()}
        return status, body(answer[1]), answer[2] | renamed

    return relabel


WIRE: dict[str, Callable[..., Any]] = {
    "201": relabelled(201),
    "202-as-text": relabelled(202, Content_Type="text/plain"),
    "html": relabelled(Content_Type="text/html; charset=utf-8"),
    "BOM": relabelled(body=lambda data: b"\xef\xbb\xbf" + data),
    "gzip": relabelled(body=gzip.compress, Content_Encoding="gzip"),
    "gzip-BOM-html-203": relabelled(
        203, lambda data: gzip.compress(b"\xef\xbb\xbf" + data), Content_Encoding="gzip", Content_Type="text/html"
    ),
}


@pytest.mark.parametrize("relabel", WIRE.values(), ids=WIRE)
def test_how_an_answer_is_wrapped_does_not_matter(
    idp: Idp, monkeypatch: pytest.MonkeyPatch, relabel: Callable[..., Any]
) -> None:
    """H241: what parses as a JSON object is one, at a sign-in and at a refresh."""
    honest = idp._respond
    monkeypatch.setattr(
        idp, "_respond", lambda asked: relabel(honest(asked)) if asked.path == "/token" else honest(asked)
    )
    session = signed_in_at(idp)

    assert refresh(session) == ""
    assert session.status == "signed_in"


# -- lifetimes ----------------------------------------------------------------------------------------------------


def test_a_refresh_token_that_ends_first_is_used_in_time(idp: Idp) -> None:
    """H243: Keycloak's idle time may be shorter than the access token's life; the sign-in outlives both."""
    idp.lifetime, idp.token_extra = 3600, {"refresh_expires_in": 2}
    session = signed_in_at(idp)

    until(lambda: idp.requests_to("/token") >= 3, seconds=20)
    until(lambda: session.status == "signed_in")


def jwt_ending_in(seconds: float) -> str:
    """An access token in the form of a JWT that no client can verify."""
    claims = {"exp": int(time.time() + seconds), "jti": str(time.monotonic_ns())}
    return compact({"alg": "HS256", "typ": "at+jwt"}, claims, b"CANARY" * 6, "HS256")


def test_an_access_token_that_is_a_jwt_says_when_it_ends(idp: Idp) -> None:
    """H243: where the provider gives no lifetime; it is renewed like any other."""
    idp.token_extra = {"expires_in": ..., "access_token": jwt_ending_in(100)}
    session = signed_in_at(idp)

    assert session.expires_at == pytest.approx(time.time() + 100, abs=2)
    assert session._engine.state.refresh_due(60) < session.expires_at - 15


def test_an_access_token_that_is_over_is_not_given_out(idp: Idp) -> None:
    """H243: an old JWT from a cache of the provider, without a lifetime, is not taken for a new one."""
    session = signed_in_at(idp)
    idp.token_extra = {"expires_in": ..., "access_token": jwt_ending_in(-5)}
    assert refresh(session) == ""

    with pytest.raises(TokenExpiredError):
        _ = session.access_token


# -- limits -------------------------------------------------------------------------------------------------------


def test_the_token_endpoint_may_be_slow(idp: Idp) -> None:
    """H245: a code and a refresh have time of their own, more than other requests have."""
    provider = GenericOIDCProvider(CLIENT, issuer_url=idp.issuer)
    flow = AuthFlowManager(provider)
    asyncio.run(provider.prepare())
    provider._http._deadline = 0.2
    provider._keys._http = HttpClient(deadline=5)
    idp.answers["/token"] = Told(delay=0.6)
    sign_in(flow, idp)

    assert refresh(flow.session) == ""


def test_nothing_gives_up_before_the_token_endpoint_may_answer() -> None:
    """H245: the lease, readers and other kernels outlast a refresh; the page of the callback outlasts an exchange."""
    assert REFRESH_DEADLINE == 30
    assert REFRESH_DEADLINE < refresher.REQUEST < redis.LEASE < 60, "the default refresh buffer"
    assert REFRESH_DEADLINE < refresher.LEASE_DEADLINE < session_module._READ_DEADLINE < api._REFRESH_DEADLINE
    assert EXCHANGE_DEADLINE == 45 < callback._COMPLETE_DEADLINE


def test_a_code_may_be_long(idp: Idp) -> None:
    """H245: Azure AD B2C has codes of 5,000 characters; the limit is that of the whole query."""
    flow = AuthFlowManager(GenericOIDCProvider(CLIENT, issuer_url=idp.issuer))
    request = asyncio.run(flow.begin(REDIRECT_URI))
    params = idp.authorize(request.url)
    long = "x" * 8000
    idp._codes[long] = idp._codes.pop(params["code"])

    assert asyncio.run(flow.complete(params | {"code": long})).success


# -- tokens inside ------------------------------------------------------------------------------------------------


def test_a_sign_out_says_that_other_tokens_are_left(idp: Idp, tmp_path: Path) -> None:
    """H246: those of Globus for other APIs are not kept, so they are not revoked, and the sign-out is not complete.

    A kernel that was started later knows it from the store, also after a refresh without them.
    """
    other = {"access_token": "CANARY-o", "refresh_token": "CANARY-p", "resource_server": "transfer.api.example"}
    idp.token_extra = {"other_tokens": [other]}
    signed_in_at(idp, FileTokenStore(tmp_path))
    cold = SessionManager(GenericOIDCProvider(CLIENT, issuer_url=idp.issuer), FileTokenStore(tmp_path))
    idp.token_extra = {}
    assert refresh(cold) == ""
    [stored] = [path.read_text() for path in tmp_path.rglob("*") if "access_token" in _text(path)]
    assert "CANARY-o" not in stored
    assert "CANARY-p" not in stored

    result = asyncio.run(cold.logout())
    assert result == LogoutResult("revoked", "revoked", "deleted", other_tokens_left=True)
    assert not result.complete


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.is_file() else ""


def test_the_result_of_a_sign_in_shows_no_other_token(idp: Idp) -> None:
    """H246, H099: ``raw`` is what may be printed."""
    idp.token_extra = {"authed_user": {"id": "U1", "access_token": "CANARY-x"}, "tenant": 7}
    tokens = signed_in_at(idp)._engine.state.tokens

    assert tokens is not None
    assert "CANARY" not in json.dumps(tokens.raw)
    assert tokens.raw["authed_user"] == {"id": "U1"}
