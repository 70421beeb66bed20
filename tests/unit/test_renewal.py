"""What a session makes of failures: of the provider, of the store, of signing out; and many who ask it at once."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from pywry_auth_nb import (
    AuthFlowManager,
    GenericOIDCProvider,
    LoginRequired,
    LogoutResult,
    MemoryTokenStore,
    SessionManager,
    TokenExpiredError,
    TokenRefreshError,
    TokenStoreError,
)
from pywry_auth_nb import session as session_module
from pywry_auth_nb._io.loop import run, submit
from tests.conftest import sign_in
from tests.support.aging import expire
from tests.support.idp import CLIENT, Answer, Idp
from tests.support.waiting import soon, until, within
from tests.unit.test_session import near_its_end, tokens

if TYPE_CHECKING:
    from pywry_auth_nb.token_store import Record

# -- the provider -----------------------------------------------------------------------------------------------


def test_a_passing_outage_is_invisible(signed_in: SessionManager, idp: Idp) -> None:
    """P4: a refresh that fails while the token is still good shows nothing, and is made up for."""
    old, errors = signed_in.access_token, list[Any]()
    signed_in.observe(lambda change: errors.append(change.new), names="error")
    idp.answers["/token"] = Answer({}, status=503, times=1)
    with pytest.raises(TokenRefreshError):
        asyncio.run(signed_in.refresh())

    assert signed_in.access_token == old
    assert signed_in.error is None
    until(lambda: signed_in.access_token != old)
    assert errors == []


def test_a_long_outage_is_told_once_and_ends_by_itself(
    session: SessionManager, flow: AuthFlowManager, idp: Idp
) -> None:
    """P4, R21: when the token has expired, the reason is shown once however often it is tried, and gone afterwards."""
    idp.lifetime = 2
    sign_in(flow, idp)
    shown: list[str | None] = []
    session.observe(lambda change: shown.append(change.new and change.new.code), names="error")
    idp.answers["/token"] = Answer({}, status=503)
    until(lambda: idp.requests_to("/token") >= 4, seconds=30)

    with pytest.raises(TokenExpiredError) as caught:
        _ = session.access_token
    assert caught.value.code == "provider_unavailable"
    assert shown == ["provider_unavailable"]
    idp.answers.clear()
    until(lambda: session.error is None, seconds=30)
    assert session.access_token
    until(lambda: shown == ["provider_unavailable", None])


@pytest.mark.parametrize("code", ["invalid_client", "unauthorized_client", "invalid_scope"])
def test_a_wrong_registration_is_told_at_once_and_not_hammered(signed_in: SessionManager, idp: Idp, code: str) -> None:
    """An error that only a changed registration can fix is shown at once, and not retried every minute."""
    idp.answers["/token"] = Answer({"error": code}, status=400)
    with pytest.raises(TokenRefreshError) as caught:
        asyncio.run(signed_in.refresh())

    assert caught.value.code == code
    assert signed_in.error is not None
    assert signed_in.error.code == code
    assert signed_in._engine.state.backoff.not_before > time.time() + 50
    before = idp.requests_to("/token")
    near_its_end(signed_in)
    assert signed_in.access_token
    assert asyncio.run(signed_in._engine.refresh_rejected(signed_in.access_token)) is None
    assert idp.requests_to("/token") == before
    assert signed_in.status == "signed_in", "the token is still good"


def test_tokens_of_another_user_are_revoked(signed_in: SessionManager, idp: Idp) -> None:
    """C23: what comes with a refreshed ID token of another person is ended at the provider, not just dropped."""
    idp.claims = {"sub": "mallory"}
    with pytest.raises(TokenRefreshError) as caught:
        asyncio.run(signed_in.refresh())

    assert caught.value.code == "identity_changed"
    assert not any(idp.refresh_tokens.values())


def test_a_callback_may_sign_in_anew(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """A11: ``on_reauth_required`` runs on a thread where waiting for a whole new sign-in works."""
    threads: list[threading.Thread] = []

    def again() -> None:
        threads.append(threading.current_thread())
        sign_in(flow, idp)

    session.on_reauth_required = again
    sign_in(flow, idp)
    idp.refresh_tokens.clear()
    with pytest.raises(TokenRefreshError):
        asyncio.run(session.refresh())
    until(lambda: session.status == "signed_in")

    assert len(threads) == 1
    assert threads[0].name == "pywry-auth-observers"
    assert session.access_token


def test_a_token_that_was_replaced_already_needs_no_refresh(signed_in: SessionManager, idp: Idp) -> None:
    """An API that rejects an old token late gets the new one at once, also while another refresh hangs."""
    old = str(signed_in.access_token)
    asyncio.run(signed_in.refresh())
    gate = threading.Event()
    idp.answers["/token"] = Answer(gate=gate, times=1)
    hanging = submit(signed_in.refresh())
    try:
        until(lambda: idp.requests_to("/token") == 3)
        with within(2):
            assert run(signed_in._engine.refresh_rejected(old), 5) == signed_in._engine.state.tokens.access_token  # type: ignore[union-attr]
    finally:
        gate.set()
        hanging.result(30)


# -- many at once -----------------------------------------------------------------------------------------------


def test_threads_and_loops_at_expiry_share_one_refresh(
    session: SessionManager, flow: AuthFlowManager, idp: Idp
) -> None:
    """A10, B9, R35: 32 threads and 3 event loops find the token expired: one request, one token, no error, no hang."""
    sign_in(flow, idp)
    expire(session)
    idp.delay = 0.2
    ready = threading.Barrier(35)

    def read() -> list[str]:
        ready.wait()
        return [session.access_token]

    def loop() -> list[str]:
        ready.wait()

        async def cells() -> list[str]:
            plain = session.access_token  # plain code in an async cell
            return [plain, *await asyncio.gather(*(session.get_access_token() for _ in range(8)))]

        return asyncio.run(cells())

    with ThreadPoolExecutor(35) as pool:
        work = [pool.submit(loop if number % 12 == 0 and number < 36 else read) for number in range(35)]
        found = [token for future in work for token in future.result(10)]

    assert len(found) == 32 + 3 * 9
    assert set(found) == {session.access_token}
    assert idp.requests_to("/token") == 2, "the sign-in and one refresh"
    assert session.error is None


def test_one_provider_in_loops_that_end(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """A10: every ``asyncio.run`` brings a loop of its own and closes it; connections do not belong to it."""
    sign_in(flow, idp)
    for _ in range(3):
        asyncio.run(session.refresh())

    assert idp.requests_to("/token") == 4
    assert session.status == "signed_in"


# -- the store --------------------------------------------------------------------------------------------------


class BrokenStore(MemoryTokenStore):
    """A store that fails with what is in ``broken``, by method."""

    def __init__(self) -> None:
        super().__init__()
        self.broken: dict[str, Exception] = {}

    async def read(self, key: str) -> Record:
        """Read, or fail."""
        self._fail("read")
        return await super().read(key)

    async def swap(self, key: str, old: Record, new: Record) -> bool:
        """Replace, or fail."""
        self._fail("swap")
        return await super().swap(key, old, new)

    def _fail(self, method: str) -> None:
        if method in self.broken:
            raise self.broken[method]


@pytest.fixture
def store() -> BrokenStore:
    """A store that can fail."""
    return BrokenStore()


def test_a_store_that_cannot_be_read_says_so_before_the_sign_in(
    provider: GenericOIDCProvider, store: BrokenStore
) -> None:
    """R23: its own sentence is what the widget shows; reading is tried again, and works when the store is back."""
    asyncio.run(store.save(SessionManager(provider).store_key, tokens()))
    store.broken["read"] = TokenStoreError("The keyring is locked. Unlock it.", code="store_unavailable")
    session = SessionManager(provider, store)

    assert asyncio.run(session.initialize()) is None
    assert session.error is store.broken["read"]
    assert session.status == "signed_out"
    with pytest.raises(LoginRequired, match="keyring is locked"):
        _ = session.access_token
    store.broken.clear()
    assert session.access_token == "CANARY-at"
    assert session.error is None


def test_a_store_that_cannot_save_does_not_end_the_session(
    provider: GenericOIDCProvider, store: BrokenStore, idp: Idp
) -> None:
    """R31: signing in succeeds, in memory, and says what that means."""
    store.broken["swap"] = TokenStoreError("The disk is full.", code="store_unavailable")
    session = SessionManager(provider, store)
    asyncio.run(session.save_tokens(tokens()))

    assert session.access_token == "CANARY-at"
    assert session.error is not None
    assert (session.error.code, "restarted kernel" in session.error.message) == ("store_unavailable", True)


# -- signing out ------------------------------------------------------------------------------------------------


def log_out(session: SessionManager) -> LogoutResult:
    """Sign out, and see that it is so here whatever happened elsewhere."""
    result = asyncio.run(session.logout())
    assert session.status == "signed_out"
    with pytest.raises(LoginRequired):
        _ = session.access_token
    return result


def test_logout_says_that_both_tokens_are_revoked(signed_in: SessionManager) -> None:
    """B7: the refresh token too, and the store is empty."""
    result = log_out(signed_in)

    assert result == LogoutResult(refresh_token="revoked", access_token="revoked", store="deleted")
    assert result.complete


@pytest.mark.parametrize(
    ("answer", "became"),
    [
        (Answer({}, status=400), "refused"),
        (Answer({}, status=503), "provider_unavailable"),
        (Answer({}, status=302, headers={"Location": "/"}), "redirect_refused"),
    ],
)
def test_logout_says_what_the_provider_answered(
    signed_in: SessionManager, idp: Idp, answer: Answer, became: str
) -> None:
    """A refusal is not called a success."""
    idp.answers["/revoke"] = answer
    result = log_out(signed_in)

    assert (result.refresh_token, result.access_token, result.store) == (became, became, "deleted")
    assert not result.complete


def test_logout_says_when_there_is_no_revocation(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """Many providers offer none: then the tokens live on until they end, and that is said."""
    idp.metadata = {"revocation_endpoint": ...}
    sign_in(flow, idp)

    assert log_out(session).refresh_token == "no_endpoint"
    assert idp.requests_to("/revoke") == 0


def test_logout_says_when_the_provider_hangs(
    signed_in: SessionManager, idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R23: what was not heard of in time is a time-out."""
    monkeypatch.setattr("pywry_auth_nb.providers.revocation._DEADLINE", 0.3)
    idp.answers["/revoke"] = Answer(delay=9)

    assert log_out(signed_in) == LogoutResult("timeout", "timeout", "deleted")


def test_logout_says_when_the_store_keeps_the_tokens(
    provider: GenericOIDCProvider, store: BrokenStore, idp: Idp
) -> None:
    """PyWry swallows it, and the secret stays behind."""
    session = SessionManager(provider, store)
    asyncio.run(session.save_tokens(tokens()))
    store.broken["swap"] = TokenStoreError("The keyring is locked.", code="store_unavailable")
    result = log_out(session)

    assert result.store == "store_unavailable"
    assert not result.complete


def test_logout_of_what_cannot_be_read_is_not_complete(provider: GenericOIDCProvider, store: BrokenStore) -> None:
    """A sign-out that cannot read the stored tokens says that they are not revoked."""
    store.broken["read"] = TokenStoreError("The key is another one.", code="store_key")
    result = log_out(SessionManager(provider, store))

    assert result == LogoutResult("unreadable", "unreadable", "store_key")
    assert not result.complete


def test_logout_when_signed_out_succeeds(session: SessionManager) -> None:
    """There is nothing to revoke."""
    assert log_out(session) == LogoutResult("none", "none", "deleted")


def test_logout_of_a_session_that_was_only_stored(
    provider: GenericOIDCProvider, idp: Idp, flow: AuthFlowManager
) -> None:
    """B7: a fresh kernel that knows the tokens from its store alone revokes them all the same."""
    sign_in(flow, idp)
    cold = SessionManager(provider, flow.session.token_store)

    assert log_out(cold).complete
    assert not idp.refresh_tokens


def test_a_session_keeps_one_copy(signed_in: SessionManager) -> None:
    """B8: tokens rest under the session's key and no other, through sign-in and refresh."""
    asyncio.run(signed_in.refresh())

    assert asyncio.run(signed_in.token_store.list_keys()) == [signed_in.store_key]
    assert asyncio.run(signed_in.token_store.load(signed_in.store_key)) == signed_in._engine.state.tokens


# -- who shares a store -----------------------------------------------------------------------------------------


def test_two_providers_never_share_tokens(idp: Idp, provider: GenericOIDCProvider) -> None:
    """One store, one session key, another provider or client: it finds no sign-in and sends no token there."""
    store = MemoryTokenStore()
    sign_in(AuthFlowManager(provider, store), idp)
    with Idp() as other:
        for stranger in (
            GenericOIDCProvider(CLIENT, issuer_url=other.issuer),
            GenericOIDCProvider("other", issuer_url=idp.issuer),
        ):
            session = SessionManager(stranger, store)
            with pytest.raises(LoginRequired):
                _ = session.access_token
            asyncio.run(session.logout())
        assert other.requests == []

    assert SessionManager(provider, store).access_token


def test_a_refresh_that_outlasts_a_reader(
    idp: Idp, provider: GenericOIDCProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a read raises is what it says it raises, also when time is up."""
    monkeypatch.setattr(session_module, "_READ_DEADLINE", 0.3)
    flow = AuthFlowManager(provider)
    sign_in(flow, idp)
    idp.answers["/token"] = Answer(delay=8)
    expire(flow.session)
    with pytest.raises(TokenExpiredError) as caught:
        _ = flow.session.access_token

    assert caught.value.code == "timeout"


def test_two_people_never_share_tokens(
    idp: Idp, provider: GenericOIDCProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a hub every user runs as the same account, perhaps with one Redis: the hub's user tells them apart."""
    store = MemoryTokenStore()
    monkeypatch.setenv("JUPYTERHUB_USER", "ada")
    sign_in(AuthFlowManager(provider, store), idp)
    monkeypatch.setenv("JUPYTERHUB_USER", "bob")
    with pytest.raises(LoginRequired):
        _ = SessionManager(provider, store).access_token
    monkeypatch.setenv("JUPYTERHUB_USER", "ada")

    assert SessionManager(provider, store).access_token


def test_late_tokens_do_not_end_the_sign_in_that_overtook_them(
    idp: Idp, provider: GenericOIDCProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where ending one token ends them all (Google), tokens that come too late are dropped, not revoked."""
    monkeypatch.setattr(GenericOIDCProvider, "revokes_consent", True)
    flow = AuthFlowManager(provider)
    sign_in(flow, idp)
    gate = threading.Event()
    idp.answers["/token"] = Answer(gate=gate, times=1)

    async def both() -> None:
        refreshing = asyncio.ensure_future(flow.session.refresh())
        await soon(lambda: idp.requests_to("/token") == 2)
        await flow.session.save_tokens(tokens())
        gate.set()
        await refreshing

    asyncio.run(both())

    assert idp.requests_to("/revoke") == 0
    assert flow.session.access_token == "CANARY-at"
