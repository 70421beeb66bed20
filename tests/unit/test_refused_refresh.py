"""A refresh token that is dead in other words than ``invalid_grant``: when a session ends, and when it does not."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from pywry_auth_nb import (
    AuthFlowManager,
    AuthFlowTimeout,
    GenericOIDCProvider,
    LoginWidget,
    MemoryTokenStore,
    OAuthTokenSet,
    SessionManager,
    TokenExpiredError,
    TokenRefreshError,
)
from pywry_auth_nb._sign_in import notebook
from tests.conftest import sign_in
from tests.support.aging import expire
from tests.support.idp import Answer, Idp
from tests.support.waiting import until

if TYPE_CHECKING:
    from typing import Any


def refuse(session: SessionManager) -> str:
    """Ask for a refresh that must fail, and return the code of the failure."""
    with pytest.raises(TokenRefreshError) as caught:
        asyncio.run(session.refresh())
    return caught.value.code


DEAD: dict[str, Answer] = {
    "LinkedIn, LemonLDAP::NG": Answer({"error": "invalid_request"}, 400),
    "Atlassian": Answer({"error": "unauthorized_client", "error_description": "refresh_token is invalid"}, 403),
    "bearer error": Answer({"error": "invalid_token"}, 401, {"WWW-Authenticate": "Bearer"}),
    "a policy": Answer({"error": "interaction_required"}, 400),
    "no session": Answer({"error": "login_required"}, 400),
    "HubSpot": Answer({"status": "BAD_REFRESH_TOKEN", "message": "missing or unknown refresh token"}, 400),
    "Slack": Answer({"ok": False, "error": "invalid_refresh_token"}),
    "an object": Answer({"error": {"code": 102, "message": "Session key invalid"}}, 400),
    "a list": Answer({"errors": ["x"], "error": ["gone"]}, 422),
    "a JSON list": Answer([{"error": "invalid_grant"}], 400),
    "no words": Answer(b"", 400, {"Content-Type": ""}),
    "a page": Answer(b"<html>Forbidden", 403, {"Content-Type": "text/html"}),
    "gone": Answer({}, 410),
}


@pytest.mark.parametrize("name", DEAD)
def test_a_refusal_that_repeats_once_the_token_is_over_ends_the_session(
    signed_in: SessionManager, idp: Idp, name: str
) -> None:
    """H302: until then the token is used and the refresh is tried again; afterwards nothing is asked any more."""
    told: list[None] = []
    signed_in.on_reauth_required = lambda: told.append(None)
    idp.answers["/token"] = DEAD[name]
    token = signed_in.access_token

    code = refuse(signed_in)
    refuse(signed_in)
    assert (signed_in.status, signed_in.access_token, told) == ("signed_in", token, [])

    expire(signed_in)
    refuse(signed_in)
    assert signed_in.status == "reauth_required"
    asked = idp.requests_to("/token")
    with pytest.raises(TokenExpiredError) as caught:
        _ = signed_in.access_token
    assert caught.value.code == code
    assert refuse(signed_in) == "no_refresh_token"
    assert idp.requests_to("/token") == asked
    until(lambda: told == [None])


PASSING: dict[str, Answer] = {
    "down": Answer({"error": "invalid_grant"}, 503),
    "broken": Answer({"error": "invalid_request"}, 500),
    "slow": Answer({}, 408),
    "busy": Answer({"error": "invalid_token"}, 429),
    "busy in words": Answer({"error": "temporarily_unavailable"}, 400),
    "portal": Answer(b"<html>Welcome", 200, {"Content-Type": "text/html"}),
    "moved": Answer({}, 302, {"Location": "/portal"}),
    "the client": Answer({"error": "invalid_client"}, 401),
}


@pytest.mark.parametrize("name", PASSING)
def test_what_may_pass_never_ends_a_session(signed_in: SessionManager, idp: Idp, name: str) -> None:
    """H206, H302: however often it comes; afterwards the session goes on, also when the client's secret was wrong."""
    expire(signed_in)
    idp.answers["/token"] = PASSING[name]
    for _ in range(4):
        refuse(signed_in)
    assert signed_in.status == "signed_in"
    idp.answers.clear()

    asyncio.run(signed_in.refresh())
    assert signed_in.access_token


def test_one_refusal_ends_nothing(signed_in: SessionManager, idp: Idp) -> None:
    """H302: a filter in between may have answered; after a success the count begins anew."""
    for _ in range(3):
        expire(signed_in)
        idp.answers["/token"] = Answer({"error": "invalid_token"}, 401, times=1)
        assert refuse(signed_in) == "token_refused"
        asyncio.run(signed_in.refresh())

    assert signed_in.status == "signed_in"


def test_the_background_finds_out_by_itself(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """H302, H215: a session that no cell reads ends soon after its token, and asks no more; the widget says so."""
    ended = threading.Event()
    session.on_reauth_required = ended.set
    widget = LoginWidget(session)
    idp.lifetime = 2
    sign_in(flow, idp)
    idp.answers["/token"] = DEAD["Atlassian"]

    assert ended.wait(10)
    assert idp.requests_to("/token") <= 4
    until(lambda: widget.status == "reauth_required")
    assert (widget.error_code, widget.error_detail) == ("unauthorized_client", "refresh_token is invalid")


def test_a_token_of_unknown_lifetime_is_over_when_an_api_rejects_it(
    session: SessionManager, flow: AuthFlowManager, idp: Idp
) -> None:
    """H302: then a refusal that repeats ends the session, which the background finds out."""
    idp.lifetime = None
    sign_in(flow, idp)
    idp.answers["/token"] = DEAD["LinkedIn, LemonLDAP::NG"]

    assert asyncio.run(session._engine.refresh_rejected(session.access_token)) is None
    until(lambda: session.status == "reauth_required")
    assert idp.requests_to("/token") == 3


def test_a_refusal_without_a_rejection_leaves_a_token_of_unknown_lifetime(
    session: SessionManager, flow: AuthFlowManager, idp: Idp
) -> None:
    """H302: it may be good for ever."""
    idp.lifetime = None
    sign_in(flow, idp)
    idp.answers["/token"] = DEAD["LinkedIn, LemonLDAP::NG"]
    for _ in range(3):
        refuse(session)

    assert session.status == "signed_in"
    assert session.access_token


def test_sessions_that_share_a_sign_in_end_together(provider: GenericOIDCProvider, idp: Idp) -> None:
    """H302, R14: one session's second refusal ends the sign-in for the other, which asked once or not at all."""
    store, told = MemoryTokenStore(), list[str]()
    one, two = (SessionManager(provider, store, on_reauth_required=lambda n=n: told.append(n)) for n in ("one", "two"))
    sign_in(AuthFlowManager(provider, session_manager=one), idp)
    until(lambda: two.status == "signed_in")
    idp.answers["/token"] = DEAD["no words"]
    expire(one)

    refuse(one)
    refuse(one)
    until(lambda: (one.status, two.status) == ("reauth_required", "reauth_required"))
    until(lambda: sorted(told) == ["one", "two"])


def test_a_refusal_is_void_where_another_session_has_refreshed(provider: GenericOIDCProvider, idp: Idp) -> None:
    """H204, R14: a refresh token that another session has spent is refused; its new tokens are taken over."""
    store = MemoryTokenStore()
    one, two = SessionManager(provider, store), SessionManager(provider, store)
    sign_in(AuthFlowManager(provider, session_manager=one), idp)
    until(lambda: two.status == "signed_in")
    for session in (one, two):
        idp.answers["/token"] = Answer({"error": "invalid_request"}, 400, times=1)
        refuse(session)

    asyncio.run(two.refresh())
    until(lambda: one.access_token == two.access_token)
    assert one._engine.state.backoff.refusals == 0


# -- login --------------------------------------------------------------------------------------------------------


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is displayed in a notebook."""
    displayed: list[Any] = []
    monkeypatch.setattr(notebook, "has_front_end", lambda: True)
    monkeypatch.setattr("IPython.display.display", lambda each, **_: displayed.append(each))
    return displayed


@pytest.mark.parametrize("answer", [DEAD["no words"], PASSING["down"], PASSING["the client"]])
def test_login_never_takes_a_token_that_is_over_for_success(
    signed_in: SessionManager, flow: AuthFlowManager, idp: Idp, shown: list[Any], answer: Answer
) -> None:
    """H302: however the refresh fails, it waits for a sign-in."""
    idp.answers["/token"] = answer
    expire(signed_in)
    with pytest.raises(AuthFlowTimeout):
        signed_in.login(timeout=0.5)
    idp.answers.clear()

    def click() -> None:
        until(lambda: len(shown) == 2)
        sign_in(flow, idp)

    threading.Thread(target=click, daemon=True).start()
    result = signed_in.login(timeout=30)
    assert result.tokens is not None
    assert not result.tokens.is_expired


def test_login_renews_tokens_that_came_expired(session: SessionManager, idp: Idp, shown: list[Any]) -> None:
    """H302: a machine may sleep between click and answer."""
    idp.refresh_tokens["CANARY-rt"] = True
    late = OAuthTokenSet("CANARY-late", refresh_token="CANARY-rt", expires_in=5, issued_at=1.0)

    def click() -> None:
        until(lambda: shown and session._engine.notifier._waiters)
        asyncio.run(session.save_tokens(late))

    threading.Thread(target=click, daemon=True).start()
    result = session.login(timeout=30)

    assert result.tokens is not None
    assert result.tokens.access_token != "CANARY-late"
    assert not result.tokens.is_expired


def test_login_says_that_the_tokens_that_came_are_over(session: SessionManager, shown: list[Any]) -> None:
    """H302: and cannot be renewed."""

    def click() -> None:
        until(lambda: shown and session._engine.notifier._waiters)
        asyncio.run(session.save_tokens(OAuthTokenSet("CANARY-late", expires_in=5, issued_at=1.0)))

    threading.Thread(target=click, daemon=True).start()
    with pytest.raises(TokenExpiredError):
        session.login(timeout=30)
