"""Several sessions over one store: what one does, the others know, and nothing that comes late undoes it."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from pywry_auth_nb import (
    AuthFlowManager,
    FileTokenStore,
    GenericOIDCProvider,
    LoginRequired,
    OAuthTokenSet,
    SessionManager,
    TokenExpiredError,
    TokenRefreshError,
    TokenStore,
    TokenStoreError,
)
from pywry_auth_nb._io.loop import call_soon, run
from pywry_auth_nb._session import engine, record_sync, watcher
from pywry_auth_nb.token_store import NOTHING, Record, make_encryption_key
from pywry_auth_nb.token_store.locks import LockTimeout
from tests.conftest import sign_in
from tests.support.aging import expire
from tests.support.idp import CLIENT, Answer, Idp
from tests.support.stores import OwnStore, rewrite
from tests.support.waiting import soon, until
from tests.unit.test_session import tokens

if TYPE_CHECKING:
    from pathlib import Path

Kernel = Callable[..., SessionManager]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels look at their stores every tenth of a second; every two seconds is for people."""
    monkeypatch.setattr(watcher, "WATCH", 0.1)


@pytest.fixture
def kernel(idp: Idp, tmp_path: Path) -> Kernel:
    """Make a session as another kernel would have it: with objects of its own, over the same folder."""

    def make(store: TokenStore | None = None) -> SessionManager:
        provider = GenericOIDCProvider(CLIENT, issuer_url=idp.issuer)
        return SessionManager(provider, FileTokenStore(tmp_path / "tokens") if store is None else store)

    return make


@pytest.fixture
def two(kernel: Kernel, idp: Idp) -> Iterator[tuple[SessionManager, SessionManager]]:
    """Ada has signed in in the first of two kernels, and the second knows."""
    one, other = kernel(), kernel()
    sign_in(AuthFlowManager(one.provider, session_manager=one), idp)
    until(lambda: other.status == "signed_in")
    assert other.access_token == one.access_token
    return one, other


def refresh(session: SessionManager) -> OAuthTokenSet:
    """Renew the token now."""
    return asyncio.run(session.refresh())


def stored(session: SessionManager) -> Record:
    """Return what the store has."""
    return asyncio.run(session.token_store.read(session.store_key))


def put(session: SessionManager, change: Callable[[Record], Record | None]) -> None:
    """Change what the store has, bypassing the sessions."""
    asyncio.run(session.token_store.update(session.store_key, change))


# -- what one does, the others know ---------------------------------------------------------------------------------


def test_a_sign_in_reaches_an_idle_kernel(kernel: Kernel, idp: Idp) -> None:
    """A widget in the second notebook says "Signed in" without a click, within 5 s, and says who; observers hear."""
    one, other = kernel(), kernel()
    seen: list[Any] = []
    other.observe(lambda change: seen.append(change.new), names="status")
    sign_in(AuthFlowManager(one.provider, session_manager=one), idp)

    until(lambda: other.status == "signed_in")
    assert other.display_name == "Ada Lovelace"
    until(lambda: seen == ["signed_in"])


def test_a_stored_sign_in_is_there_without_being_asked_for(
    two: tuple[SessionManager, SessionManager], kernel: Kernel
) -> None:
    """A kernel that starts later shows who is signed in before anything is read."""
    late = kernel()

    until(lambda: late.status == "signed_in")
    assert late.user == two[0].user


def test_an_ended_sign_in_that_is_loaded_at_once_is_told(
    two: tuple[SessionManager, SessionManager], idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel whose thread is held up while it makes its session still tells that the stored sign-in has ended."""
    idp.answers["/token"] = Answer({"error": "invalid_grant"}, status=400)
    with pytest.raises(TokenRefreshError):
        refresh(two[0])
    until(lambda: stored(two[0]).ended)
    told: list[str] = []

    def held_up(function: Callable[[], None]) -> None:
        call_soon(function)
        until(lambda: function.__self__.state.ended)  # type: ignore[attr-defined]

    monkeypatch.setattr(engine, "call_soon", held_up)
    SessionManager(two[0].provider, two[0].token_store, on_reauth_required=lambda: told.append("told"))

    until(lambda: told == ["told"])


def test_a_refresh_reaches_readers_and_idle_kernels(
    two: tuple[SessionManager, SessionManager], kernel: Kernel, idp: Idp
) -> None:
    """One request, and the same token everywhere."""
    one, other = two
    idle = kernel()
    until(lambda: idle.status == "signed_in")
    refresh(one)

    until(lambda: other.access_token == one.access_token)
    until(lambda: idle.expires_at == one.expires_at)
    assert idp.requests_to("/token") == 2


def test_a_sign_out_reaches_readers_and_idle_kernels(
    two: tuple[SessionManager, SessionManager], kernel: Kernel, idp: Idp
) -> None:
    """A sign-out is not taken for a lost record: no kernel puts the tokens back."""
    one, other = two
    idle = kernel()
    until(lambda: idle.status == "signed_in")
    assert asyncio.run(one.logout()).complete

    until(lambda: other.status == idle.status == "signed_out")
    with pytest.raises(LoginRequired):
        _ = other.access_token
    assert stored(one).tokens is None
    assert not idp.refresh_tokens
    assert asyncio.run(one.token_store.list_keys()) == []


def test_a_new_sign_in_reaches_every_kernel(two: tuple[SessionManager, SessionManager], idp: Idp) -> None:
    """The latest sign-in of a person counts; a rejected token of the one before causes no refresh."""
    one, other = two
    old = other.access_token
    sign_in(AuthFlowManager(other.provider, session_manager=other), idp)

    until(lambda: one.access_token == other.access_token != old)
    assert asyncio.run(one._engine.refresh_rejected(old)) is None
    assert idp.requests_to("/revoke") == 0, "a provider may count both sign-ins as one"


def test_a_sign_in_elsewhere_ends_the_waiting(kernel: Kernel, idp: Idp) -> None:
    """A sign-in in one notebook ends the waiting in another."""
    one, other = kernel(), kernel()
    asyncio.run(AuthFlowManager(other.provider, session_manager=other).begin("http://127.0.0.1/x"))
    assert other.status == "authorizing"
    sign_in(AuthFlowManager(one.provider, session_manager=one), idp)

    asyncio.run(other._engine.wait_signed_in(5))


def test_the_end_of_a_sign_in_is_told_once_in_each_kernel_and_asked_for_once(
    two: tuple[SessionManager, SessionManager], kernel: Kernel, idp: Idp
) -> None:
    """H204, H215: the one that learns it marks the record; others, and later ones, do not ask the provider again."""
    one, other = two
    told: list[str] = []
    one.on_reauth_required = lambda: told.append("one")
    other.on_reauth_required = lambda: told.append("other")
    idp.refresh_tokens.clear()
    with pytest.raises(TokenRefreshError):
        refresh(one)
    asked = idp.requests_to("/token")

    until(lambda: other.status == "reauth_required")
    until(lambda: sorted(told) == ["one", "other"])
    for session in (other, kernel()):
        expire(session) if session is other else asyncio.run(session.initialize())
        with pytest.raises(TokenRefreshError):
            refresh(session)
    assert idp.requests_to("/token") == asked
    sign_in(AuthFlowManager(one.provider, session_manager=one), idp)
    until(lambda: other.status == "signed_in")
    assert other.access_token == one.access_token
    assert sorted(told) == ["one", "other"]


# -- at once --------------------------------------------------------------------------------------------------------


def test_two_that_renew_at_once_ask_once(two: tuple[SessionManager, SessionManager], idp: Idp) -> None:
    """The second waits for the first, and takes its token."""
    idp.delay = 0.3

    async def both() -> list[str]:
        return [str(found.access_token) for found in await asyncio.gather(*(session.refresh() for session in two))]

    first, second = asyncio.run(both())

    assert first == second
    assert idp.requests_to("/token") == 2


def test_a_refresh_elsewhere_does_not_undo_a_sign_out(two: tuple[SessionManager, SessionManager], idp: Idp) -> None:
    """H213: tokens that come after it are revoked, and the store keeps the sign-out."""
    one, other = two
    gate = threading.Event()
    idp.answers["/token"] = Answer(gate=gate, times=1)

    async def both() -> None:
        refreshing = asyncio.ensure_future(other.refresh())
        await soon(lambda: idp.requests_to("/token") == 2)
        await one.logout()
        gate.set()
        with pytest.raises((LoginRequired, TokenRefreshError)):
            await refreshing

    asyncio.run(both())

    assert one.status == other.status == "signed_out"
    assert stored(one).tokens is None
    assert not any(idp.refresh_tokens.values())


def test_a_refresh_elsewhere_does_not_undo_a_new_sign_in(two: tuple[SessionManager, SessionManager], idp: Idp) -> None:
    """H214: the newer sign-in wins in every kernel."""
    one, other = two
    gate = threading.Event()
    idp.answers["/token"] = Answer(gate=gate, times=1)

    async def both() -> None:
        refreshing = asyncio.ensure_future(other.refresh())
        await soon(lambda: idp.requests_to("/token") == 2)
        await one.save_tokens(tokens())
        gate.set()
        await asyncio.gather(refreshing, return_exceptions=True)

    asyncio.run(both())

    assert one.access_token == other.access_token == "CANARY-at"
    assert stored(one).tokens.access_token == "CANARY-at"  # type: ignore[union-attr]


def test_a_clock_that_is_ahead_does_not_block_a_sign_in(two: tuple[SessionManager, SessionManager], idp: Idp) -> None:
    """A sign-out of a machine whose clock is an hour ahead is followed by a sign-in of one whose clock is right."""
    one, other = two
    ahead = Record(int((time.time() + 3600) * 1e6), int((time.time() + 3600) * 1e6))
    put(one, lambda _: ahead)
    until(lambda: one.status == other.status == "signed_out")
    sign_in(AuthFlowManager(one.provider, session_manager=one), idp)

    assert other.access_token == one.access_token


# -- a store that loses, or cannot ----------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["all", "the latest", "its sense"])
def test_what_a_store_lost_is_put_back(
    two: tuple[SessionManager, SessionManager], idp: Idp, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R24, R25: a record that was evicted, restored from an old copy, or damaged is replaced by the latest one."""
    monkeypatch.setattr("pywry_auth_nb._session.record_sync.GRACE", 0.5)
    one, other = two
    before = stored(one)
    refresh(one)
    until(lambda: other.access_token == one.access_token)
    if lost == "all":
        asyncio.run(one.token_store.delete(one.store_key))
    elif lost == "the latest":
        put(one, lambda _: before)
    else:
        file = next(one.token_store.path.glob("*.tokens"))  # type: ignore[attr-defined]
        rewrite(file, file.read_bytes()[:-40])

    until(lambda: stored(one).tokens == one._engine.state.tokens)
    refresh(other)
    until(lambda: one.access_token == other.access_token)
    assert any(idp.refresh_tokens.values()), "no refresh token was used twice"


def test_a_stale_kernel_does_not_renew_from_what_a_store_has_lost(
    two: tuple[SessionManager, SessionManager], idp: Idp
) -> None:
    """The record is gone just when a kernel that knows only an older one wants to renew: it waits first."""
    one, other = two
    old = other._engine.state
    refresh(one)
    asyncio.run(one.token_store.delete(one.store_key))
    other._engine.state = old  # it has not looked since
    other._engine._records.forget_stamp()
    refresh(other)

    until(lambda: one.access_token == other.access_token)
    assert any(idp.refresh_tokens.values()), "no refresh token was used twice"


class Fails:
    """Makes a store's methods fail, by name."""

    def __init__(self, store: TokenStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.methods: set[str] = set()
        for name in ("_read", "_swap", "_stamps", "_try_lease"):
            monkeypatch.setattr(store, name, self._wrapped(name, getattr(store, name)))

    def _wrapped(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*args: Any) -> Any:
            if name in self.methods or "all" in self.methods:
                raise TokenStoreError("It is away. Wait.")
            return await method(*args)

        return call


def test_reads_go_on_while_the_store_is_away(kernel: Kernel, idp: Idp, monkeypatch: pytest.MonkeyPatch) -> None:
    """R23: reads return the kernel's token; once it has expired, they raise that the store is away."""
    one = kernel()  # alone: another kernel would refresh what is aged below
    sign_in(AuthFlowManager(one.provider, session_manager=one), idp)
    away = Fails(one.token_store, monkeypatch)
    away.methods.add("all")
    token = one.access_token
    time.sleep(0.1)
    assert one.access_token == token
    assert one.status == "signed_in"
    assert one.error is None
    away.methods.clear()
    expire(one)
    away.methods.add("all")
    with pytest.raises(TokenExpiredError) as caught:
        _ = one.access_token
    assert caught.value.code == "store_unavailable"
    assert idp.requests_to("/token") == 1
    away.methods.clear()
    until(lambda: one.status == "signed_in" and not one._engine._records.store_unavailable)
    assert one.access_token != token


def test_a_refresh_that_cannot_be_stored_is_kept_and_stored_later(
    two: tuple[SessionManager, SessionManager], idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R31: no kernel may use the old refresh token until the new one is stored, which happens later."""
    one, other = two
    away = Fails(one.token_store, monkeypatch)
    away.methods.add("_swap")
    refresh(one)

    assert one.error is not None
    assert one.error.code == "store_unavailable"
    assert stored(other).tokens == other._engine.state.tokens != one._engine.state.tokens
    refresh(one)  # it may go on alone: the lease is its own
    lease = asyncio.run(other.token_store.try_lease(other.store_key))
    assert lease is None, "no other kernel may refresh"
    asked = idp.requests_to("/token")
    away.methods.clear()
    until(lambda: one.error is None)
    until(lambda: other.access_token == one.access_token)
    refresh(other)
    assert idp.requests_to("/token") == asked + 1
    assert any(idp.refresh_tokens.values())


def test_a_sign_in_that_cannot_be_stored_renews_and_is_stored_later(
    kernel: Kernel, idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R23: no other kernel can have its tokens, so it refreshes them without a lease."""
    one = kernel()
    away = Fails(one.token_store, monkeypatch)
    away.methods.add("all")
    sign_in(AuthFlowManager(one.provider, session_manager=one), idp)
    refresh(one)
    assert one.status == "signed_in"
    assert one.error is not None
    away.methods.clear()

    until(lambda: one.error is None)
    assert kernel().access_token == one.access_token


def test_a_sign_out_that_cannot_be_stored_is_stored_later(
    two: tuple[SessionManager, SessionManager], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session ends here at once, and in the other kernels when the store is back."""
    one, other = two
    away = Fails(one.token_store, monkeypatch)
    away.methods.add("all")
    assert asyncio.run(one.logout()).store == "store_unavailable"
    assert one.status == "signed_out"
    away.methods.clear()

    until(lambda: other.status == "signed_out")
    assert one.status == "signed_out"


def test_a_locked_keyring_does_not_stop_a_refresh(
    two: tuple[SessionManager, SessionManager], idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be read, but has not been changed since it was, is known: the lock and the mark are files."""
    one, _ = two
    run(one._engine._sync.now(), 5)
    away = Fails(one.token_store, monkeypatch)
    away.methods |= {"_read", "_swap"}
    old = one.access_token
    refresh(one)

    assert one.access_token != old
    assert idp.requests_to("/token") == 2


@pytest.mark.parametrize("what", ["of a newer version", "of another key"])
def test_a_record_that_others_can_read_is_left_alone(
    two: tuple[SessionManager, SessionManager], kernel: Kernel, idp: Idp, tmp_path: Path, what: str
) -> None:
    """R25: the kernel that wrote it has the tokens; one that cannot read it neither refreshes nor replaces it."""
    one, _ = two
    if what == "of another key":
        strange = kernel(FileTokenStore(tmp_path / "tokens", encryption_key=make_encryption_key()))
        asyncio.run(strange.save_tokens(tokens()))
    else:
        file = next(one.token_store.path.glob("*.tokens"))  # type: ignore[attr-defined]
        rewrite(file, file.read_bytes().replace(b'"v":2', b'"v":99'))
    asked = idp.requests_to("/token")
    with pytest.raises(TokenRefreshError) as caught:
        refresh(one)

    assert caught.value.code in {"store_version", "store_key"}
    assert idp.requests_to("/token") == asked
    problem = stored(one).problem
    assert problem is not None
    assert problem.code == caught.value.code
    assert one.access_token, "it is good until its end"


# -- stores and processes of other kinds ------------------------------------------------------------------------------


class Silent(OwnStore):
    """One that is asked, and never answers."""

    async def load(self, key: str) -> OAuthTokenSet | None:
        """Wait for ever."""
        await asyncio.Event().wait()
        return self.kept.get(key)


def test_a_store_that_does_not_answer(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that does not answer is reported as unavailable, not as broken."""
    monkeypatch.setattr(record_sync, "STORE_DEADLINE", 0.2)
    session = kernel(Silent())
    with pytest.raises(LoginRequired, match="did not answer in time"):
        _ = session.access_token

    assert session.error is not None
    assert session.error.code == "store_unavailable"


class Contended(FileTokenStore):
    """One whose lock other kernels hold, so many times."""

    queue = 0

    async def read(self, key: str) -> Record:
        """Wait in vain, or read."""
        self.queue -= 1
        if self.queue >= 0:
            raise LockTimeout
        return await super().read(key)


def test_a_store_whose_lock_many_kernels_wait_for(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A read waits in turn; the store counts as unavailable only if that takes too long."""
    store = Contended(tmp_path / "tokens")
    asyncio.run(store.save(kernel(store).store_key, tokens()))
    store.queue = 2
    assert kernel(store).access_token == tokens().access_token
    assert store.queue < 0
    monkeypatch.setattr(record_sync, "QUEUE", -1.0)
    store.queue = 99
    session = kernel(store)

    with pytest.raises(LoginRequired, match="could not be read"):
        _ = session.access_token
    assert session.error is not None
    assert session.error.code == "store_unavailable"


def test_five_methods_are_enough(kernel: Kernel, idp: Idp) -> None:
    """Sign-in, many refreshes, another session of the same kernel, signing out, and one that ends."""
    store = OwnStore()
    one, other = kernel(store), kernel(store)
    flow = AuthFlowManager(one.provider, session_manager=one)
    sign_in(flow, idp)
    for session in (one, other, one, one, other):
        refresh(session)
        until(lambda: one.access_token == other.access_token)
    assert idp.requests_to("/token") == 6
    assert kernel(store).access_token == one.access_token
    asyncio.run(other.logout())
    until(lambda: one.status == "signed_out")
    assert store.kept == {}
    sign_in(flow, idp)
    until(lambda: other.access_token == one.access_token)
    idp.refresh_tokens.clear()
    with pytest.raises(TokenRefreshError):
        refresh(other)
    assert store.kept == {}, "what cannot be renewed is not kept"


def test_five_methods_in_two_kernels(kernel: Kernel, idp: Idp) -> None:
    """A kernel that has only loaded the tokens takes another's sign-out for one, and does not put them back."""
    first, second = OwnStore(), OwnStore()
    second.kept = first.kept
    one, other = kernel(first), kernel(second)
    sign_in(AuthFlowManager(one.provider, session_manager=one), idp)
    until(lambda: other.status == "signed_in")
    asyncio.run(one.logout())

    until(lambda: other.status == "signed_out")
    assert first.kept == {}


def test_five_methods_and_the_end_of_a_sign_in(kernel: Kernel, idp: Idp) -> None:
    """The access token stays usable until it expires, though the store does not keep it."""
    one = kernel(OwnStore())
    sign_in(AuthFlowManager(one.provider, session_manager=one), idp)
    token = one.access_token
    idp.refresh_tokens.clear()
    with pytest.raises(TokenRefreshError):
        refresh(one)
    run(one._engine._sync.now(), 5)
    time.sleep(0.5)  # some looks' time

    assert (one.status, one.access_token) == ("reauth_required", token)


def test_a_forked_child_renews_through_the_store(two: tuple[SessionManager, SessionManager], idp: Idp) -> None:
    """R38: where others can be asked, a child may; the parent then has its token, too."""
    one, _ = two
    old = one.access_token
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if str(refresh(one).access_token) != old else 3)
        except BaseException:  # noqa: BLE001 - pytest must not go on in the child
            os._exit(4)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    until(lambda: one.access_token != old)
    assert idp.requests_to("/token") == 2


def test_nothing_is_a_record() -> None:
    """Any record is later than the record of an empty store."""
    first = NOTHING.signed_in(tokens(), None)
    second = first.renewed(tokens())

    assert NOTHING.generation < first.generation < second.generation < second.signed_out().generation
    assert first.sign_in == second.sign_in != second.signed_out().sign_in
    assert second.as_ended().tokens.refresh_token is None  # type: ignore[union-attr]
    assert "CANARY" not in repr([NOTHING, first, second, second.signed_out(), second.as_ended()])


def test_what_is_held_shows_no_secret(two: tuple[SessionManager, SessionManager]) -> None:
    """T08: neither as a whole nor by its members; the packed record, which has tokens in plain text, is not kept."""
    for session in two:
        state = session._engine.state
        assert state.tokens is not None
        assert "CANARY" not in repr([state, vars(state), state.record, vars(state.record), vars(session._engine)])
