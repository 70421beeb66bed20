"""`SessionManager`: reading, renewing and ending a session."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import traitlets
from traitlets import HasTraits

from pywry_auth_nb import (
    AuthFlowManager,
    AuthFlowTimeout,
    GenericOIDCProvider,
    LoginRequired,
    MemoryTokenStore,
    OAuthTokenSet,
    SessionManager,
    TokenExpiredError,
    TokenRefreshError,
)
from pywry_auth_nb._io.loop import get_loop
from pywry_auth_nb._session import watcher
from pywry_auth_nb._sign_in import notebook
from tests.conftest import sign_in
from tests.support.aging import age, expire
from tests.support.idp import CLIENT, Answer, Idp
from tests.support.ports import free_port
from tests.support.stores import GatedStore
from tests.support.waiting import soon, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from pywry_auth_nb.token_store import Record


def tokens(**changes: Any) -> OAuthTokenSet:
    """A token set that is valid for an hour."""
    return OAuthTokenSet(**({"access_token": "CANARY-at", "refresh_token": "CANARY-rt", "expires_in": 3600} | changes))


# -- reading ----------------------------------------------------------------------------------------------------


def test_reading_without_a_session_raises_at_once(session: SessionManager) -> None:
    """A read raises ``LoginRequired`` at once when signed out, without a request to the provider."""
    started = time.monotonic()

    with pytest.raises(LoginRequired) as caught:
        _ = session.access_token

    assert caught.value.code == "login_required"
    assert time.monotonic() - started < 4


def test_a_fresh_token_is_read_without_any_request(signed_in: SessionManager, idp: Idp) -> None:
    """A thousand reads of a valid token cause no request."""
    before = len(idp.requests)

    assert len({signed_in.access_token for _ in range(1000)}) == 1
    assert len(idp.requests) == before


def test_the_token_reads_as_a_string_and_shows_nothing(signed_in: SessionManager) -> None:
    """As the last line of a cell the token shows only that it is one."""
    token = signed_in.access_token

    assert isinstance(token, str)
    assert token.startswith("CANARY-at-")
    assert "CANARY" not in repr(token)


def test_the_traits_say_who_is_signed_in(signed_in: SessionManager) -> None:
    """After a sign-in, all traits agree."""
    assert signed_in.status == "signed_in"
    assert signed_in.user == {"iss": signed_in.provider.issuer_url, "sub": "ada", "name": "Ada Lovelace"}  # type: ignore[attr-defined]
    assert signed_in.error is None
    assert signed_in.expires_at == pytest.approx(time.time() + 3600, abs=10)


def test_traits_are_read_only(session: SessionManager) -> None:
    """Only the session changes its traits."""
    with pytest.raises(traitlets.TraitError):
        session.status = "signed_in"


def test_a_name_is_plain_and_short(session: SessionManager) -> None:
    """A display name loses control and direction characters and is cut."""
    asyncio.run(session._engine.sign_in(tokens(), {"name": "A\u202eda\n" + "x" * 500}))

    assert session.display_name.startswith("Adax")
    assert len(session.display_name) == 100


# -- renewing ---------------------------------------------------------------------------------------------------


def test_a_token_near_its_end_is_renewed_before_it_is_read(
    session: SessionManager, flow: AuthFlowManager, idp: Idp
) -> None:
    """Inside the buffer a read renews the token first."""
    sign_in(flow, idp)
    old = session._engine.state.tokens
    assert old is not None
    asyncio.run(
        session.save_tokens(
            OAuthTokenSet(old.access_token, refresh_token=old.refresh_token, expires_in=30, issued_at=time.time() - 28)
        )
    )

    assert session.access_token != old.access_token
    assert idp.requests_to("/token") == 2


def test_many_readers_cause_one_refresh(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """B9: Thirty-two threads that find the token expired share one refresh, and all get the same new token."""
    sign_in(flow, idp)
    expire(session)
    idp.delay = 0.2

    with ThreadPoolExecutor(32) as pool:
        read = list(pool.map(lambda _: session.access_token, range(32)))

    assert len(set(read)) == 1
    assert idp.requests_to("/token") == 2


def test_reading_works_inside_a_running_event_loop(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """Plain reads in an async cell, and awaited ones, both renew."""
    sign_in(flow, idp)

    async def cell() -> tuple[str, str]:
        expire(session)
        plain = session.access_token
        expire(session)
        return plain, await session.get_access_token()

    plain, awaited = asyncio.run(cell())

    assert plain != awaited
    assert idp.requests_to("/token") == 3


def test_the_background_renews_by_itself(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """A token of 2 s is refreshed without a read, and not more often than it must be."""
    idp.lifetime = 2
    started = time.monotonic()
    sign_in(flow, idp)
    until(lambda: idp.requests_to("/token") >= 3)

    assert time.monotonic() - started > 1.5
    idp.lifetime = 3600


def test_short_tokens_cause_no_refresh_storm(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """A13: A token that lives 1 s is renewed about once in its life, also when it is read all the time."""
    idp.lifetime = 1
    sign_in(flow, idp)
    end = time.monotonic() + 3
    while time.monotonic() < end:
        before = time.time()
        assert session.access_token
        assert session._engine.state.tokens is not None
        assert before < (session._engine.state.tokens.expires_at or 0)
        time.sleep(0.01)

    assert idp.requests_to("/token") - 1 <= 3 / 0.25
    idp.lifetime = 3600


def test_an_omitted_refresh_token_scope_and_id_token_keep_the_old(signed_in: SessionManager, idp: Idp) -> None:
    """What a refresh answer leaves out stays as it was (RFC 6749 §6, OIDC Core §12.2)."""
    before = signed_in._engine.state.tokens
    idp.token_extra = {"refresh_token": ..., "scope": ..., "id_token": ...}
    after = asyncio.run(signed_in.refresh())

    assert before is not None
    assert after.access_token != before.access_token
    assert (after.refresh_token, after.scope, after.id_token) == (before.refresh_token, before.scope, before.id_token)


def test_an_outage_keeps_the_session(signed_in: SessionManager, idp: Idp) -> None:
    """While the provider is down the old token is used as long as it lives, and renewed when it is back."""
    old = signed_in.access_token
    idp.answers["/token"] = Answer({"error": "temporarily_unavailable"}, status=503, times=1)
    with pytest.raises(TokenRefreshError) as caught:
        asyncio.run(signed_in.refresh())

    assert caught.value.code == "provider_unavailable"
    assert signed_in.access_token == old
    assert signed_in.status == "signed_in"
    until(lambda: signed_in.access_token != old)
    until(lambda: signed_in.error is None)


def test_a_new_token_that_has_expired_when_it_comes(signed_in: SessionManager, idp: Idp) -> None:
    """A process that stood still for longer than a token lives asks for another one, instead of raising."""
    idp.refresh_tokens["CANARY-next"] = True
    late = {"access_token": "CANARY-at-late", "token_type": "Bearer", "expires_in": 1, "refresh_token": "CANARY-next"}
    idp.answers["/token"] = Answer(late, times=1, delay=1.1)
    expire(signed_in)

    assert signed_in.access_token != "CANARY-at-late"
    assert idp.requests_to("/token") == 3


def test_invalid_grant_ends_the_session_once(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """A14, A15: A dead refresh token: status ``reauth_required``, one call of the callback, and no further request."""
    called: list[str] = []
    session.on_reauth_required = lambda: called.append(threading.current_thread().name)
    sign_in(flow, idp)
    idp.refresh_tokens.clear()
    with pytest.raises(TokenRefreshError) as caught:
        asyncio.run(session.refresh())

    assert caught.value.code == "invalid_grant"
    assert session.status == "reauth_required"
    assert session.access_token, "the access token is good to its end"
    until(lambda: called)
    expire(session)
    before = idp.requests_to("/token")
    assert code_of_reading(session) == "invalid_grant"
    asyncio.run(flow.begin("http://localhost/callback"))
    assert session.status == "authorizing"
    assert code_of_reading(session) == "invalid_grant", "the reason is forgotten while a sign-in is open"
    time.sleep(0.1)
    assert (len(called), idp.requests_to("/token")) == (1, before)
    flow.cancel()


def code_of_reading(session: SessionManager) -> str:
    """Read the token, which must fail, and return the error's code."""
    with pytest.raises(TokenExpiredError) as caught:
        _ = session.access_token
    return caught.value.code


def test_a_token_without_refresh_ends_when_it_ends(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """A14: Without a refresh token nothing happens before the end; then the session asks for a new sign-in."""
    idp.token_extra = {"refresh_token": ...}
    idp.lifetime = 2
    sign_in(flow, idp)
    assert session.status == "signed_in"
    until(lambda: session.status == "reauth_required")
    with pytest.raises(TokenExpiredError) as caught:
        _ = session.access_token

    assert caught.value.code == "no_refresh_token"
    assert idp.requests_to("/token") == 1


def test_a_refresh_that_names_another_user_ends_the_session(signed_in: SessionManager, idp: Idp) -> None:
    """C23: a refreshed ID token with another subject is refused with everything that came with it."""
    old = signed_in.access_token
    idp.claims = {"sub": "mallory"}
    with pytest.raises(TokenRefreshError) as caught:
        asyncio.run(signed_in.refresh())

    assert caught.value.code == "identity_changed"
    assert signed_in.status == "reauth_required"
    assert signed_in.access_token == old


# -- signing in and out -----------------------------------------------------------------------------------------


def test_logout_forgets_and_revokes_both_tokens(signed_in: SessionManager, idp: Idp) -> None:
    """B7: Signing out clears the session and its store, and revokes the access token first: see H216."""
    asyncio.run(signed_in.logout())

    assert signed_in.status == "signed_out"
    assert asyncio.run(signed_in.token_store.list_keys()) == []
    hints = [request.form["token_type_hint"] for request in idp.requests if request.path == "/revoke"]
    assert hints == ["access_token", "refresh_token"]


def test_logout_during_a_refresh_wins(signed_in: SessionManager, idp: Idp) -> None:
    """B10: Tokens that arrive after a logout are revoked, and bring nothing back."""
    gate = threading.Event()
    idp.answers["/token"] = Answer(gate=gate)

    async def both() -> None:
        refreshing = asyncio.ensure_future(signed_in.refresh())
        await soon(lambda: idp.requests_to("/token") == 2)
        await signed_in.logout()
        gate.set()
        with pytest.raises(LoginRequired):
            await refreshing

    asyncio.run(both())

    assert signed_in.status == "signed_out"
    assert asyncio.run(signed_in.token_store.list_keys()) == []
    until(lambda: not any(idp.refresh_tokens.values()))


def test_logout_returns_although_the_provider_hangs(
    signed_in: SessionManager, idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Revoking has a deadline; the session has ended at once."""
    monkeypatch.setattr("pywry_auth_nb.providers.revocation._DEADLINE", 0.3)
    idp.answers["/revoke"] = Answer(delay=9)
    started = time.monotonic()
    asyncio.run(signed_in.logout())

    assert time.monotonic() - started < 4
    assert signed_in.status == "signed_out"


def test_a_stored_session_is_loaded(idp: Idp, provider: GenericOIDCProvider) -> None:
    """A second session over the same store needs no sign-in, and knows who it is."""
    store = MemoryTokenStore()
    sign_in(AuthFlowManager(provider, store), idp)
    session = SessionManager(provider, store)

    assert session.access_token.startswith("CANARY-at")
    assert session.display_name == "Ada Lovelace", "what UserInfo said is kept, too"


def test_a_damaged_stored_session_requires_a_sign_in(provider: GenericOIDCProvider) -> None:
    """A stored ID token that cannot be read means: sign in again; signing out works."""
    store = MemoryTokenStore()
    asyncio.run(store.save(SessionManager(provider).store_key, tokens(id_token="CANARY-garbage")))
    session = SessionManager(provider, store)

    assert asyncio.run(session.initialize()) is None
    with pytest.raises(LoginRequired):
        _ = session.access_token
    asyncio.run(session.logout())


def test_a_refreshed_id_token_that_breaks_a_rule_ends_the_session(signed_in: SessionManager, idp: Idp) -> None:
    """C22: after an ID token of another issuer nothing is asked any more."""
    idp.claims = {"iss": "https://evil.example"}
    with pytest.raises(TokenRefreshError):
        asyncio.run(signed_in.refresh())

    assert signed_in.status == "reauth_required"


def test_waiting_for_a_sign_in_has_a_deadline(session: SessionManager) -> None:
    """Waiting for a sign-in raises ``AuthFlowTimeout`` after its deadline."""
    with pytest.raises(AuthFlowTimeout):
        asyncio.run(session._engine.wait_signed_in(0.05))


def test_waiting_ends_with_the_sign_in(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """A waiting thread goes on as soon as the sign-in has succeeded."""
    waiting = threading.Thread(target=lambda: asyncio.run(session._engine.wait_signed_in(10)))
    waiting.start()
    sign_in(flow, idp)
    waiting.join(5)

    assert not waiting.is_alive()


# -- being watched ----------------------------------------------------------------------------------------------


def test_observers_see_traits_change_together(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """When the status says ``signed_in``, an observer can already read the token; what it gets shows no secret."""
    seen: list[tuple[str, bool]] = []

    def observer(change: Any) -> None:
        assert "CANARY" not in repr(change)
        if change.new == "signed_in":
            seen.append((change.name, session.access_token.startswith("CANARY")))

    session.observe(observer, names=["status", "access_token"])
    sign_in(flow, idp)
    until(lambda: seen)

    assert seen == [("status", True)]


def test_a_blocked_or_broken_observer_stops_nothing(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """Signing in and renewing go on while an observer sleeps, and after one has raised."""
    release = threading.Event()
    reached: list[str] = []

    def broken(change: Any) -> None:
        raise RuntimeError(change.name)

    session.observe(broken, names="user")
    session.observe(lambda _: release.wait(10), names="status")
    session.observe(lambda change: reached.append(change.new), names="status")
    sign_in(flow, idp)

    assert session.access_token
    asyncio.run(session.refresh())
    release.set()
    until(lambda: reached[-1:] == ["signed_in"])


# -- living and dying -------------------------------------------------------------------------------------------


def test_a_session_cannot_be_pickled_or_copied(signed_in: SessionManager) -> None:
    """It would carry secrets elsewhere: the error says what to send instead."""
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=r"session\.handle\(\)"):
            attempt(signed_in)


def test_a_forgotten_session_leaves_nothing(provider: GenericOIDCProvider) -> None:
    """Two hundred dropped sessions leave no thread behind and can be collected."""
    provider_sessions = [SessionManager(provider) for _ in range(200)]
    for session in provider_sessions:
        asyncio.run(session.save_tokens(tokens()))
    threads = threading.active_count()
    refs = [weakref.ref(session) for session in provider_sessions]
    del provider_sessions, session
    until(lambda: gc.collect() >= 0 and not any(ref() for ref in refs))

    until(lambda: threading.active_count() <= threads)


# -- what must not happen ---------------------------------------------------------------------------------------


def near_its_end(session: SessionManager) -> str:
    """Give the session a token that is due but good for ten seconds more; return it."""
    return age(session, life=100, seconds=90)


def test_new_tokens_that_live_no_time_cause_no_storm(flow: AuthFlowManager, idp: Idp) -> None:
    """H085: with ``expires_in: 0`` the background asks about once a second, and no read returns such a token."""
    idp.lifetime = 0
    sign_in(flow, idp)
    time.sleep(1.6)
    asked = idp.requests_to("/token")
    with pytest.raises(TokenExpiredError):
        _ = flow.session.access_token

    assert asked <= 3


def test_readers_heed_retry_after(signed_in: SessionManager, idp: Idp) -> None:
    """H073: a provider that asks for a pause gets it, though the token is due and read all the time."""
    old = near_its_end(signed_in)
    idp.answers["/token"] = Answer({}, status=429, headers={"Retry-After": "600"})
    before = idp.requests_to("/token")

    assert {signed_in.access_token for _ in range(200)} == {old}
    assert idp.requests_to("/token") == before + 1


def test_a_hanging_provider_does_not_hold_up_a_good_token(
    signed_in: SessionManager, idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P1, P4: while the old token is good a reader waits for the new one only a moment."""
    monkeypatch.setattr("pywry_auth_nb._session.reader.PATIENCE", 0.3)
    old = near_its_end(signed_in)
    gate = threading.Event()
    idp.answers["/token"] = Answer(gate=gate)
    started = time.monotonic()

    assert signed_in.access_token == old
    assert time.monotonic() - started < 4
    gate.set()
    until(lambda: signed_in.access_token != old)


def test_broken_network_settings_are_a_typed_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stale ``SSL_CERT_FILE`` fails the refresh with a code and its name, and the session goes on."""
    session = SessionManager(GenericOIDCProvider(CLIENT, issuer_url=f"https://127.0.0.1:{free_port()}"))
    asyncio.run(session.save_tokens(tokens()))
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/at/all.pem")
    with pytest.raises(TokenRefreshError) as caught:
        asyncio.run(session.refresh())

    assert caught.value.code == "configuration"
    assert "SSL_CERT_FILE" in str(caught.value)
    assert session.status == "signed_in"


class SlowStore(GatedStore):
    """A store that takes its time to note that a session has ended."""

    def holds(self, new: Record) -> bool:
        """Hold back that alone."""
        return new.ended


def test_a_sign_in_while_the_old_session_ends_is_kept(provider: GenericOIDCProvider, idp: Idp) -> None:
    """A sign-in while the end of the old session is being stored is kept, and stored."""
    store = SlowStore()
    session = SessionManager(provider, store)
    flow = AuthFlowManager(provider, session_manager=session)
    sign_in(flow, idp)
    idp.refresh_tokens.clear()
    store.gate.clear()

    async def both() -> None:
        ending = asyncio.ensure_future(session.refresh())
        await soon(lambda: store.waiting)
        await session._engine.sign_in(tokens(), {"name": "Ada"})
        store.gate.set()
        with pytest.raises(TokenRefreshError):
            await ending

    asyncio.run(both())

    assert session.status == "signed_in"
    assert asyncio.run(session.token_store.exists(session.store_key))


def test_tokens_of_a_refused_sign_in_are_revoked(flow: AuthFlowManager, idp: Idp) -> None:
    """C11: when UserInfo names another user, the tokens that came are revoked."""
    idp.answers["/userinfo"] = Answer({"sub": "eve"})
    with pytest.raises(Exception, match="two different users"):
        sign_in(flow, idp)

    assert flow.session.status == "signed_out"
    assert idp.requests_to("/revoke") == 2


def test_a_refused_revocation_does_not_spare_the_other_token(signed_in: SessionManager, idp: Idp) -> None:
    """H219: each token is revoked for itself, and signing out succeeds whatever the provider says."""
    idp.answers["/revoke"] = Answer({}, status=503)
    asyncio.run(signed_in.logout())

    assert idp.requests_to("/revoke") == 2
    assert signed_in.status == "signed_out"


def test_login_does_not_take_an_ended_session_for_a_good_one(signed_in: SessionManager, idp: Idp) -> None:
    """After the session has ended ``login()`` asks for a sign-in, and raises where there is no front end."""
    idp.refresh_tokens.clear()
    with pytest.raises(TokenRefreshError):
        asyncio.run(signed_in.refresh())
    with pytest.raises(LoginRequired):
        signed_in.login(timeout=5)


# -- reading costs nothing, and an outage is not for ever -----------------------------------------------------------


class Untouchable(MemoryTokenStore):
    """A store that says when it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def read(self, key: str) -> Record:
        """Count, and return what is kept."""
        self.asked += 1
        return await super().read(key)


def test_reading_a_fresh_token_asks_nothing(provider: GenericOIDCProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the store nor the background loop: also where that hangs, a read returns at once."""
    monkeypatch.setattr(watcher, "WATCH", 3600.0)
    store = Untouchable()
    session = SessionManager(provider, store)
    asyncio.run(session.save_tokens(tokens()))
    until(lambda: not session._engine.is_doing("sync"))
    asked, hanging = store.asked, threading.Event()
    get_loop().call_soon_threadsafe(hanging.wait, 10)
    try:
        read = [session.access_token for _ in range(100)]
        headers = session.headers
        awaited = asyncio.run(session.get_access_token())
    finally:
        hanging.set()

    assert set(read) == {awaited} == {"CANARY-at"}
    assert headers == {"Authorization": "Bearer CANARY-at"}
    assert store.asked == asked


def test_tokens_that_have_expired_when_they_come_cause_no_storm(signed_in: SessionManager, idp: Idp) -> None:
    """H085: ``expires_in: 0`` makes eight readers ask the provider once a second, and each is told why."""
    idp.lifetime = 0
    expire(signed_in)
    before, codes = idp.requests_to("/token"), set()
    end = time.monotonic() + 1.5

    def read() -> None:
        while time.monotonic() < end:
            with pytest.raises(TokenExpiredError) as caught:
                _ = signed_in.access_token
            codes.add(caught.value.code)
            time.sleep(0.01)

    with ThreadPoolExecutor(8) as pool:
        for reader in [pool.submit(read) for _ in range(8)]:
            reader.result(30)

    assert idp.requests_to("/token") - before <= 3
    assert codes == {"token_expired"}


def test_a_read_after_an_outage_tries_again(signed_in: SessionManager, idp: Idp) -> None:
    """However long the outage was: a second after the last try, a read asks the provider, and has its token."""
    idp.answers["/token"] = Answer({}, status=503)
    expire(signed_in)
    for _ in range(6):
        with pytest.raises(TokenRefreshError):
            asyncio.run(signed_in.refresh())
    assert signed_in._engine.state.backoff.not_before > time.time() + 10, "the background waits for long"
    idp.answers.clear()

    until(lambda: attempt(lambda: signed_in.access_token), seconds=5)


def attempt(read: Callable[[], str]) -> str | None:
    """Return what a read returns, or None where it raises."""
    try:
        return read()
    except TokenExpiredError:
        return None


def test_retry_after_binds_readers_as_well(signed_in: SessionManager, idp: Idp) -> None:
    """RFC 9110 §10.2.3: a provider that wants to be left alone for a minute is."""
    idp.answers["/token"] = Answer({}, status=503, headers={"Retry-After": "60"})
    expire(signed_in)
    with pytest.raises(TokenExpiredError) as caught:
        _ = signed_in.access_token
    before = idp.requests_to("/token")
    time.sleep(1.2)  # longer than the pause of a read
    with pytest.raises(TokenExpiredError):
        _ = signed_in.access_token

    assert caught.value.retry_after == 60
    assert idp.requests_to("/token") == before


def test_login_never_returns_an_expired_token(
    signed_in: SessionManager, flow: AuthFlowManager, idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed refresh ``login()`` waits for a valid token, here of a new sign-in."""
    shown: list[Any] = []
    monkeypatch.setattr(notebook, "has_front_end", lambda: True)
    monkeypatch.setattr("IPython.display.display", lambda each, **_: shown.append(each))
    idp.answers["/token"] = Answer({}, status=503)
    expire(signed_in)
    with pytest.raises(AuthFlowTimeout):
        signed_in.login(timeout=0.5)
    assert signed_in.error is not None
    idp.answers.clear()

    def click() -> None:
        until(lambda: len(shown) == 2)
        sign_in(flow, idp)

    clicking = threading.Thread(target=click)
    clicking.start()
    result = signed_in.login(timeout=30)
    clicking.join(30)

    assert result.tokens is not None
    assert not result.tokens.is_expired


#: What people may use of a session; docs/coming-from-pywry.md and docs/usage.md have it.
API = {
    *("access_token", "allowed_origins", "auth", "display_name", "doctor", "error", "expires_at", "from_settings"),
    *("get_access_token", "get_id_token", "headers", "id_token", "initialize", "login", "logout", "on_reauth_required"),
    *("provider", "refresh", "refresh_buffer_seconds", "renew_on", "require", "save_tokens", "scopes", "session_key"),
    *("session_store", "status", "store_key", "token_provider", "token_store", "user", "userinfo"),
    *("for_audience", "handle", "serve"),
}


def test_what_tab_shows_is_the_api(session: SessionManager) -> None:
    """``dir(session)`` has the API beside what traitlets brings, and nothing else."""
    assert {name for name in dir(session) if not name.startswith("_")} - set(dir(HasTraits)) == API
