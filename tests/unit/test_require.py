"""`session.require`: one more scope (incremental consent); and `session.login(max_age=…)`, a newer sign-in."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import ipywidgets
import pytest

from pywry_auth_nb import (
    AuthenticationError,
    AuthFlowCancelled,
    AuthFlowManager,
    AuthFlowTimeout,
    ConfigurationError,
    GenericOIDCProvider,
    GoogleProvider,
    InsufficientScopeError,
    LoginRequired,
    LoginWidget,
    MemoryTokenStore,
    SessionManager,
    TokenError,
)
from pywry_auth_nb._sign_in import notebook
from tests.conftest import sign_in
from tests.support.cases import case
from tests.support.clients import REDIRECT_URI
from tests.support.idp import CLIENT, Answer
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pywry_auth_nb import OAuthProvider
    from tests.support.idp import Idp


class Browser:
    """A user who, as soon as a cell asks, opens the widget's link and answers there as ``answer`` says.

    Attributes:
        asked: The parameters of each authorize URL.
        shown: What the widget said each time.
    """

    def __init__(self, session: SessionManager, idp: Idp, patch: pytest.MonkeyPatch) -> None:
        self.asked: list[dict[str, str]] = []
        self.shown: list[str] = []
        self.answer: Callable[[str], dict[str, str]] = idp.authorize
        self.errors: list[str] = []
        self._session = session
        self._threads: list[threading.Thread] = []
        patch.setattr(notebook, "has_front_end", lambda: True)
        patch.setattr(session, "_show", self._show)

    def _show(self) -> None:
        self._threads.append(threading.Thread(target=self._click, daemon=True))
        self._threads[-1].start()

    def _click(self) -> None:
        until(lambda: self._session._engine.notifier._waiters)
        self.shown.append(self._session._engine.state.asks)
        asyncio.run(self._visit())

    async def _visit(self) -> None:
        request = await self._session._sign_ins.begin(REDIRECT_URI)
        self.asked.append(dict(parse_qsl(urlsplit(str(request.url)).query)))
        try:
            await self._session._sign_ins.complete(self.answer(str(request.url)))
        except AuthenticationError as error:
            self.errors.append(error.code)

    def close(self) -> None:
        """Wait until the user has done what she began."""
        for thread in self._threads:
            thread.join(10)


@pytest.fixture
def session(idp: Idp) -> SessionManager:
    """A session of Ada's with two scopes, at a provider that grants what is asked for."""
    idp.grants = str
    provider = GenericOIDCProvider(CLIENT, issuer_url=idp.issuer, scopes="openid profile")
    flow = AuthFlowManager(provider, MemoryTokenStore())
    sign_in(flow, idp)
    return flow.session


@pytest.fixture
def browser(session: SessionManager, idp: Idp, monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    """Ada's browser."""
    browser = Browser(session, idp, monkeypatch)
    yield browser
    browser.close()


def state(session: SessionManager) -> tuple[Any, ...]:
    """What must not change when a sign-in fails."""
    return session.access_token, session.scopes, session.user, session._engine.state.record


# -- it works ---------------------------------------------------------------------------------------------------------


def test_one_more_scope_is_asked_for_with_those_of_before(session: SessionManager, browser: Browser) -> None:
    """H404: and then it is granted, as is what was granted before."""
    session.require("files.read")

    assert session.scopes == ("openid", "profile", "files.read")
    assert [asked["scope"] for asked in browser.asked] == ["openid profile files.read"]
    assert browser.shown == ["This cell asks for more access: files.read"]
    assert (session.status, session._engine.state.asks) == ("signed_in", "")


def test_what_is_granted_is_not_asked_for_again(session: SessionManager, browser: Browser, idp: Idp) -> None:
    """H404: no request, no widget."""
    session.require("files.read", "files.write mail")
    requests = len(idp.requests)
    for scopes in (["files.read"], ["openid", "mail files.write"], [["profile"]], []):
        with case(str(scopes)):
            session.require(*scopes)  # type: ignore[arg-type]

    assert session.scopes == ("openid", "profile", "files.read", "files.write", "mail")
    assert (len(browser.asked), len(idp.requests)) == (1, requests)


def test_a_refresh_keeps_the_wider_grant(session: SessionManager, browser: Browser, idp: Idp) -> None:
    """H404: it asks for no scope, which means all that was granted (RFC 6749 §6), and so does an answer without one."""
    session.require("files.read")
    asyncio.run(session.refresh())
    assert "scope" not in idp.last("/token").form
    assert session.scopes == ("openid", "profile", "files.read")

    idp.token_extra = {"scope": ...}
    asyncio.run(session.refresh())
    assert session.scopes == ("openid", "profile", "files.read")
    assert len(browser.asked) == 1


def test_who_is_signed_out_is_asked_for_everything_at_once(session: SessionManager, browser: Browser, idp: Idp) -> None:
    """H404: one sign-in, as any user's."""
    asyncio.run(session.logout())
    idp.claims, idp.answers["/userinfo"] = {"sub": "grace"}, Answer(status=404)
    session.require("files.read")

    assert [asked["scope"] for asked in browser.asked] == ["openid profile files.read"]
    assert session.scopes == ("openid", "profile", "files.read")


def test_other_kernels_have_the_wider_grant(idp: Idp, monkeypatch: pytest.MonkeyPatch, session: SessionManager) -> None:
    """H404: with the record that they share; and one that asks for another scope does not lose it."""
    here, there = (SessionManager(session.provider, session.token_store) for _ in range(2))
    asyncio.run(there.initialize())
    first, second = Browser(here, idp, monkeypatch), Browser(there, idp, monkeypatch)

    here.require("files.read")
    until(lambda: "files.read" in there.scopes)
    there.require("files.read")
    there.require("mail")
    first.close()
    second.close()

    assert [asked["scope"] for asked in second.asked] == ["openid profile files.read mail"]
    until(lambda: here.scopes == ("openid", "profile", "files.read", "mail"))


def test_offline_access_asks_for_consent(
    session: SessionManager, provider: GenericOIDCProvider, idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """H404: a refresh token came, so it is granted; where none did, it is asked for as OIDC Core §11 says."""
    session.require("offline_access")  # without a front end, it would raise

    idp.metadata, idp.token_extra = {"prompt_values_supported": ["consent"]}, {"refresh_token": ...}
    flow = AuthFlowManager(provider, MemoryTokenStore())
    sign_in(flow, idp)
    idp.token_extra = {}
    browser = Browser(flow.session, idp, monkeypatch)
    flow.session.require("offline_access")
    browser.close()
    assert [asked.get("prompt") for asked in browser.asked] == ["consent"]


def test_google_keeps_what_was_granted_before() -> None:
    """H404: a sign-in that asks for more says so (``include_granted_scopes``), and no other does."""
    provider = GoogleProvider("id")

    assert provider.incremental_params == {"include_granted_scopes": "true"}
    assert "include_granted_scopes" not in provider.build_authorize_url(REDIRECT_URI, "state")


def test_a_sign_in_that_asks_for_more_says_so(
    session: SessionManager, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """H404: with the provider's own parameters for it."""
    monkeypatch.setattr(GenericOIDCProvider, "incremental_params", {"include_granted_scopes": "true"})
    session.require("files.read")

    assert browser.asked[0]["include_granted_scopes"] == "true"
    assert "include_granted_scopes" not in str(asyncio.run(session._sign_ins.begin(REDIRECT_URI)).url)


def test_the_nonce_follows_the_scopes_that_are_asked_for(idp: Idp, monkeypatch: pytest.MonkeyPatch) -> None:
    """H404: an ID token that is only asked for now answers this sign-in."""
    idp.grants = str
    provider = GenericOIDCProvider(CLIENT, issuer_url=idp.issuer, scopes="profile", require_id_token_validation=True)
    session = SessionManager(provider, MemoryTokenStore())
    browser = Browser(session, idp, monkeypatch)
    session.require("openid")
    browser.close()

    assert browser.asked[0]["nonce"]
    assert session.user is not None


# -- it does not -------------------------------------------------------------------------------------------------------


def test_who_declines_stays_signed_in_as_before(session: SessionManager, browser: Browser, idp: Idp) -> None:
    """H405: the tokens, the scopes and the store are what they were, and nothing is revoked."""
    before = state(session)
    browser.answer = lambda url: idp.authorize(url, error="access_denied", code=None)
    with pytest.raises(AuthFlowCancelled) as caught:
        session.require("files.read")

    assert caught.value.code == "access_denied"
    assert (state(session), session.status) == (before, "signed_in")
    assert idp.requests_to("/revoke") == 0
    asyncio.run(session.refresh())
    assert session.scopes == ("openid", "profile")


@pytest.mark.parametrize("opened", [False, True])
def test_a_cancel_in_the_widget_ends_the_wait(session: SessionManager, browser: Browser, opened: bool) -> None:
    """H405: before the link was opened, and while the sign-in is open."""
    before = state(session)
    browser._click = lambda: _cancel(session, opened=opened)  # type: ignore[method-assign]
    with pytest.raises(AuthFlowCancelled):
        session.require("files.read")

    assert (state(session), session.status) == (before, "signed_in")


def _cancel(session: SessionManager, *, opened: bool) -> None:
    until(lambda: session._engine.notifier._waiters)
    if opened:
        asyncio.run(session._sign_ins.begin(REDIRECT_URI))
    session._sign_ins.cancel()


def test_who_is_too_slow_stays_signed_in_as_before(
    session: SessionManager, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """H405: the cell ends in time, and what it asked is gone."""
    before = state(session)
    monkeypatch.setattr(session, "_show", lambda: None)
    with pytest.raises(AuthFlowTimeout):
        session.require("files.read", timeout=0.2)

    assert (state(session), session._engine.state.asks) == (before, "")


def test_an_answer_that_is_cancelled_on_its_way_does_not_end_the_sign_in_of_before(
    session: SessionManager, browser: Browser, idp: Idp
) -> None:
    """H405: tokens that came too late are dropped: to revoke them would end the user's sign-in at many providers."""
    before, gate = state(session), threading.Event()
    idp.answers["/token"] = Answer(gate=gate)
    cancelling = threading.Thread(
        target=lambda: (until(lambda: idp.requests_to("/token") == 2), session._sign_ins.cancel())
    )
    cancelling.start()
    with pytest.raises(AuthFlowCancelled):
        session.require("files.read")
    gate.set()
    cancelling.join(10)
    browser.close()

    assert state(session) == before
    assert browser.errors == ["flow_cancelled"]
    assert idp.requests_to("/revoke") == 0


def test_another_user_is_refused(session: SessionManager, browser: Browser, idp: Idp) -> None:
    """H405: nothing changes but that the other's tokens are revoked, and the error says who must sign in."""
    before = state(session)
    idp.claims, idp.answers["/userinfo"] = {"sub": "eve"}, Answer(status=404)
    with pytest.raises(TokenError, match="Sign in as the user of this session") as caught:
        session.require("files.read")

    assert caught.value.code == "identity_changed"
    assert (state(session), session.status) == (before, "signed_in")
    until(lambda: idp.requests_to("/revoke") == 2)


def test_a_provider_that_grants_less_is_named(session: SessionManager, browser: Browser, idp: Idp) -> None:
    """H405: the new sign-in counts, and the error says what is missing; so does a user who left it out."""
    idp.grants = lambda asked: asked.replace("nonsense", "").replace("mail", "")
    with pytest.raises(InsufficientScopeError, match="nonsense mail") as caught:
        session.require("nonsense", "files.read", "mail")

    assert (caught.value.code, caught.value.scopes) == ("scope_not_granted", ("nonsense", "mail"))
    assert session.scopes == ("openid", "profile", "files.read")


def test_without_a_front_end_the_scopes_are_named_at_once(session: SessionManager, idp: Idp) -> None:
    """H404: papermill, CI: no wait; what is granted is no question there."""
    session.require("profile", timeout=30)
    with pytest.raises(LoginRequired, match=r"files\.read, mail") as caught:
        session.require("files.read", "profile", "mail", timeout=300)

    assert caught.value.code == "no_front_end"
    assert session.status == "signed_in"


def test_a_hub_cannot_be_asked(provider: OAuthProvider, monkeypatch: pytest.MonkeyPatch, idp: Idp) -> None:
    """H404: its administrator says which scopes its tokens have."""
    monkeypatch.setattr(GenericOIDCProvider, "interactive", False)
    monkeypatch.setattr(notebook, "has_front_end", lambda: True)
    flow = AuthFlowManager(provider, MemoryTokenStore())
    sign_in(flow, idp)
    with pytest.raises(InsufficientScopeError, match=r"files\.read.*administrator") as caught:
        flow.session.require("files.read")

    assert caught.value.scopes == ("files.read",)


@pytest.mark.parametrize("wrong", [3, None, b"files", {"a": 1}])
def test_what_is_no_scope_is_refused(session: SessionManager, wrong: Any) -> None:
    """H404: before anything is opened."""
    with pytest.raises(ConfigurationError):
        session.require(wrong)


def test_the_widget_shows_what_a_cell_asks(session: SessionManager, browser: Browser) -> None:
    """H404: a synced trait, as plain text without control characters and not endless."""
    widget = LoginWidget(session)
    seen: list[str] = []
    widget.observe(lambda change: seen.append(change["new"]), names="asks")
    session.require("<b>files</b>", "x" * 500)
    until(lambda: seen[-1:] == [""])

    assert seen[0].startswith("This cell asks for more access: <b>files</b>, xxx")
    assert len(seen[0]) < 250
    ipywidgets.Widget.close_all()  # with its layout


# -- a newer or stronger sign-in ---------------------------------------------------------------------------------------


def test_a_newer_sign_in_is_asked_for(session: SessionManager, browser: Browser, idp: Idp) -> None:
    """H408: though the user is signed in; the ID token says when, and the session has the new tokens."""
    before = session.access_token
    idp.claims = {"auth_time": int(time.time()), "acr": "phr"}
    session.login(acr_values="phr phrh", max_age=300)

    [asked] = browser.asked
    assert (asked["acr_values"], asked["max_age"]) == ("phr phrh", "300")
    assert browser.shown == ["This cell asks you to sign in again."]
    assert session.access_token != before
    assert (session.user or {})["acr"] == "phr"


def test_max_age_zero_is_asked_for(session: SessionManager, browser: Browser, idp: Idp) -> None:
    """H408: it means: sign in now (OIDC Core §3.1.2.1)."""
    idp.claims = {"auth_time": int(time.time())}
    session.login(max_age=0)

    assert browser.asked[0]["max_age"] == "0"
    assert "acr_values" not in browser.asked[0]


@pytest.mark.parametrize("auth_time", [..., -400, "now", None, True])
def test_a_sign_in_that_is_too_old_is_refused(
    session: SessionManager, browser: Browser, idp: Idp, auth_time: Any
) -> None:
    """H408: ``auth_time`` is too long ago, or missing (OIDC Core §2, §3.1.3.7); the sign-in of before stays."""
    before = state(session)
    idp.claims = {"auth_time": int(time.time()) + auth_time if type(auth_time) is int else auth_time}
    with pytest.raises(TokenError) as caught:
        session.login(max_age=300)

    assert caught.value.code == "id_token_auth_time"
    assert (state(session), session.status) == (before, "signed_in")
    assert idp.requests_to("/revoke") == 0


def test_a_clock_that_is_off_by_seconds_is_no_reason(session: SessionManager, browser: Browser, idp: Idp) -> None:
    """H408: ``max_age=0`` would fail everywhere."""
    idp.claims = {"auth_time": int(time.time()) - 20}

    assert session.login(max_age=0).success


def test_an_old_sign_in_is_good_where_no_age_was_asked_for(session: SessionManager, idp: Idp) -> None:
    """H408: only the sign-in that asked is checked."""
    idp.claims = {"auth_time": 1}
    sign_in(AuthFlowManager(session.provider, session_manager=session), idp)

    assert session.status == "signed_in"


def test_a_step_up_is_the_same_users(session: SessionManager, browser: Browser, idp: Idp) -> None:
    """H408: another user's is refused, unless another is asked for."""
    before = state(session)
    idp.claims = {"sub": "eve", "auth_time": int(time.time())}
    idp.answers["/userinfo"] = Answer(status=404)
    with pytest.raises(TokenError) as caught:
        session.login(max_age=60)
    assert (caught.value.code, state(session)) == ("identity_changed", before)

    session.login(max_age=60, prompt="select_account")
    assert (session.user or {})["sub"] == "eve"


@pytest.mark.parametrize("max_age", [-1, 1.5, "300", True])
def test_an_age_that_is_none_is_refused(session: SessionManager, max_age: Any) -> None:
    """H408: before anything is opened."""
    flow = AuthFlowManager(session.provider, session_manager=session)
    with pytest.raises(ConfigurationError, match="max_age"):
        session.login(max_age=max_age)
    with pytest.raises(ConfigurationError, match="max_age"):
        asyncio.run(flow.begin(REDIRECT_URI, max_age=max_age))


def test_other_ways_to_sign_in_ask_as_well(session: SessionManager, idp: Idp) -> None:
    """H408: ``begin`` and ``run_native``."""
    flow, seen = AuthFlowManager(session.provider, session_manager=session), []

    def show(url: str, config: dict[str, Any]) -> None:
        seen.append(url)
        flow.cancel()

    seen.append(str(asyncio.run(flow.begin(REDIRECT_URI, acr_values="phr", max_age=5)).url))
    for call in (flow.run_native, lambda *args, **kwargs: flow.authenticate(None, *args, **kwargs)):
        with pytest.raises(AuthFlowCancelled):
            call(show, acr_values="phr", max_age=5)
    queries = [dict(parse_qsl(urlsplit(url).query)) for url in seen]
    assert [(asked["acr_values"], asked["max_age"]) for asked in queries] == [("phr", "5")] * 3
