"""`SessionEngine`: owns the state of a session, composes its parts and schedules their work.

All of it runs on the background loop, so it needs no lock; between kernels, the store's lease is the lock. The state
may change during every ``await``: results from an earlier epoch, or of an earlier command, are discarded.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from .._io import fork
from .._io.loop import call_later, call_soon, get_loop, ignore_result, jitter, on_loop
from ..errors import AuthenticationError, TokenExpiredError, TokenRefreshError
from ..tokens import bearer
from .audiences import Audiences
from .commands import Commands
from .failures import login_required_error
from .persons import are_different
from .reader import Reader
from .record_sync import RecordSync
from .refresher import Refresher
from .state import SessionState
from .store_sync import StoreSync
from .watcher import StoreWatcher, watcher_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from ..errors import TokenStoreError
    from ..providers import OAuthProvider
    from ..token_store import Record, TokenStore
    from ..tokens import OAuthTokenSet
    from .logout import LogoutResult
    from .notifier import Notifier

P = ParamSpec("P")
T = TypeVar("T")

_NOT_FRESH = ("", "", -math.inf)
_NO_ID_TOKEN = ("", -math.inf)
_NAP = 30.0  # seconds: timers stop while the machine is suspended, so check the wall clock this often


def _entry(
    method: Callable[Concatenate[SessionEngine, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[SessionEngine, P], Coroutine[Any, Any, T]]:
    """Run a method of the engine on the background loop, after waking the session up in a forked child."""

    @on_loop
    @functools.wraps(method)
    async def enter(self: SessionEngine, /, *args: P.args, **kwargs: P.kwargs) -> T:
        self.wake_up()
        return await method(self, *args, **kwargs)

    return enter


class SessionEngine:
    """Holds the state of one sign-in, keeps it in step with the store, and refreshes its tokens.

    Args:
        provider: The provider of the tokens.
        store: The store of the tokens.
        store_key: Their key in the store.
        notifier: Passes on changes.
        refresh_buffer: Seconds before its expiry when an access token is refreshed.
        on_reauth_required: Called once when a new sign-in is needed. Here, since a sign-in that has ended may be
            loaded before a caller can set the attribute.

    Attributes:
        state: The current state. Only :meth:`apply` assigns it.
        fresh: The access token, its Authorization header, and the epoch second until which reads return them.
        fresh_id_token: An ID token that was read, and the epoch second until which reads return it.
        on_reauth_required: Called once when a new sign-in is needed.
    """

    def __init__(
        self,
        provider: OAuthProvider,
        store: TokenStore,
        store_key: str,
        notifier: Notifier,
        *,
        refresh_buffer: float,
        on_reauth_required: Callable[[], None] | None = None,
    ) -> None:
        self.provider = provider
        self.state = SessionState()
        self.fresh = _NOT_FRESH
        self.fresh_id_token = _NO_ID_TOKEN
        self.on_reauth_required = on_reauth_required
        self.notifier = notifier
        self.forked = False
        self._refresh_buffer = refresh_buffer
        self._records = RecordSync(store, store_key)
        self._sync = StoreSync(self, self._records)
        self._refresher = Refresher(self, self._records, self._sync)
        self._commands = Commands(self, self._records, self._sync, self._refresher)
        self._reader = Reader(self, self._sync, self._refresher, self._commands)
        self.audiences = Audiences(self, store, store_key)
        self._watcher: StoreWatcher | None = None
        self._dormant = False  # in a forked child, until the first read
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}  # by name
        fork.in_child(self._forget_loop)
        call_soon(self._begin_watching)

    @property
    def store(self) -> TokenStore:
        """The token store."""
        return self._records.store

    @property
    def store_key(self) -> str:
        """The key of the tokens in the store."""
        return self._records.key

    @property
    def refresh_buffer(self) -> float:
        """Seconds before its expiry when an access token is refreshed."""
        return self._refresh_buffer

    @refresh_buffer.setter
    def refresh_buffer(self, seconds: float) -> None:
        self._refresh_buffer = seconds
        call_soon(self._plan)

    @property
    def buffer(self) -> float:
        """The same; 0 if the provider refreshes only expired tokens."""
        return 0.0 if self.provider.refresh_only_after_expiry else self._refresh_buffer

    # -- the state ----------------------------------------------------------------------------------------------------

    def apply(self, after: SessionState) -> None:
        """Make ``after`` the state, notify observers and waiting cells, and reschedule. On the background loop."""
        before = self.state
        if after is before:
            return
        replan = after.record is not before.record or after.backoff is not before.backoff
        self.state = after = after.with_failure_shown(time.time()) if replan else after
        if not after.unsaved:
            self._refresher.release_kept_lease()
        elif not before.unsaved:
            self._sync.save_later()
        if replan:
            self._plan()
        if after.origin != before.origin:
            self.audiences.follow()
        self.notifier.changed(before, after)
        if after.is_usable(time.time()):
            self.notifier.wake()
        if after.ended and not before.ended and self.on_reauth_required is not None:
            self.notifier.call(self.on_reauth_required)

    def begin_anew(self, key: str, record: Record, *, local_only: bool) -> None:
        """Leave the tokens behind, and use the record at ``key``, which begins as ``record``. On the loop."""
        self._records.move(key)
        self.apply(self.state.begun_anew(record, local_only=local_only))
        if not self._dormant:
            self._sync.start()

    def wake(self, error: AuthenticationError | None = None) -> None:
        """End the wait of cells: with ``error``, or because the user has signed in."""
        self.notifier.wake(error)

    def _plan(self) -> None:
        """Schedule the next check of the token, and set how long it counts as fresh."""
        self._note_fresh()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wait_until(self.state.next_look(now=time.time(), buffer=self.buffer, dice=jitter(0.0, 1.0)))

    def _note_fresh(self) -> None:
        tokens = self.state.tokens
        self.fresh, self.fresh_id_token = _NOT_FRESH, _NO_ID_TOKEN
        if tokens is not None and not self._dormant:
            token = tokens.access_token
            self.fresh = (token, bearer(token), self.state.fresh_until(self.buffer))

    def _wait_until(self, when: float) -> None:
        """Check the token at ``when`` by the wall clock, unless this object is gone by then."""
        now, expiry = time.time(), self.state.expiry
        if when <= now:
            self.one("check the token", self._on_timer)
        elif when < math.inf:
            nap = min(when - now, _NAP, expiry - now if expiry > now else _NAP)
            self._timer = call_later(nap, self._after_nap, when)

    def _after_nap(self, when: float) -> None:
        self.apply(self.state.with_failure_shown(time.time()))
        self._wait_until(when)

    async def _on_timer(self) -> None:
        """Refresh the token, or end the sign-in if it has expired and cannot be refreshed."""
        if self.state.tokens is None or self.state.ended:
            return
        if self.state.tokens.refresh_token is not None:
            with contextlib.suppress(TokenRefreshError):  # recorded in the state, and the next check is scheduled
                await self._refresher.refresh()
            return
        await self._sync.soon()
        if self.state.tokens is not None and time.time() >= self.state.expiry:
            error = TokenExpiredError(
                "Your sign-in has ended and cannot be renewed. Sign in again.", code="no_refresh_token"
            )
            await self._refresher.end(self.state.record, error)

    # -- tasks and changes --------------------------------------------------------------------------------------------

    def one(self, what: str, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        """Return the task called ``what``, starting it unless it is running: one of each at a time."""
        task = self._tasks.get(what)
        if task is None or task.done():
            task = self._tasks[what] = ignore_result(get_loop().create_task(work()))
        return task

    def is_doing(self, what: str) -> bool:
        """Whether the task called ``what`` is running."""
        task = self._tasks.get(what)
        return task is not None and not task.done()

    def _begin_watching(self) -> None:
        self._watcher = watcher_of(self._records.store)
        self._watcher.subscribe(self)
        self._sync.start()

    def stamp_seen(self, stamp: object) -> None:
        """Handle the current stamp of the record in the store."""
        self._sync.stamp_seen(stamp)

    def record_changed(self) -> None:
        """Handle a change of the record in the store."""
        if not self.state.unsaved:
            self._sync.start()

    def store_failed(self, error: TokenStoreError) -> None:
        """Handle a failure of the store."""
        self._sync.store_failed(error)

    def _forget_loop(self) -> None:
        """Drop the tasks in a forked child; the first read starts over."""
        self.forked = self._dormant = True
        self.fresh, self.fresh_id_token = _NOT_FRESH, _NO_ID_TOKEN
        self._timer = None
        self._tasks.clear()
        self._commands.forget_loop()
        self._sync.forget_loop()

    def wake_up(self) -> None:
        """Watch the store again in a forked child, when it first uses the session.

        A child refreshes when a token is read, and not in the background.
        """
        if not self._dormant:
            return
        self._dormant = False
        self._begin_watching()
        if self.state.unsaved:
            self._sync.save_later()
        self._note_fresh()

    # -- public interface ---------------------------------------------------------------------------------------------

    @_entry
    async def initialize(self) -> OAuthTokenSet | None:
        """Load the tokens of an earlier sign-in; see :meth:`Reader.initialize`."""
        return await self._reader.initialize()

    @_entry
    async def get_access_token(self) -> str:
        """Return a valid access token; see :meth:`Reader.get_access_token`."""
        return await self._reader.get_access_token()

    @_entry
    async def get_id_token(self) -> str:
        """Return a valid ID token; see :meth:`Reader.get_id_token`."""
        id_token = await self._reader.get_id_token()
        if self.state.tokens is not None and self.state.tokens.id_token == id_token:
            self.fresh_id_token = (id_token, self.state.id_token_due(self.buffer))
        return id_token

    @_entry
    async def fetch_userinfo(self) -> dict[str, Any]:
        """Fetch the UserInfo claims; see :meth:`Reader.fetch_userinfo`."""
        return await self._reader.fetch_userinfo()

    @_entry
    async def wait_signed_in(self, timeout: float, *, after: int | None = None, asks: str = "") -> None:
        """Wait until the user has signed in and there is a valid token, or the next attempt fails.

        Args:
            timeout: Maximum wait in seconds.
            after: The sign-in that does not count, since the user must sign in again.
            asks: What the widget asks a user who is signed in already.

        Raises:
            AuthFlowTimeout: Neither happened within ``timeout`` seconds.
            AuthenticationError: The attempt failed.
            TokenExpiredError: The tokens of the new sign-in have expired, and cannot be refreshed.
        """
        before = self.state.record.sign_in if after is None else after

        def arrived() -> bool:
            is_new = self.state.tokens is not None and self.state.record.sign_in != before
            return is_new or (after is None and self.state.is_usable(time.time()))

        self.apply(replace(self.state, asks=asks))
        try:
            await self.notifier.wait(arrived, timeout)
        finally:
            self.apply(replace(self.state, asks=""))
        if self.state.tokens is not None and not self.state.is_usable(time.time()):
            await self._reader.get_access_token()

    @_entry
    async def refresh(self) -> OAuthTokenSet:
        """Refresh the access token now, whatever its age. Concurrent callers share one refresh.

        Raises:
            LoginRequired: No user is signed in.
            TokenRefreshError: The refresh failed; code ``invalid_grant`` means that a new sign-in is needed.
        """
        await self._reader.arrive()
        await self._sync.soon()
        await self._refresher.refresh()
        if self.state.tokens is None:
            raise login_required_error(self.state.ended_by)
        return self.state.tokens

    @_entry
    async def refresh_rejected(self, token: str) -> str | None:
        """Refresh the access token because an API rejected ``token``, which had not expired.

        Concurrent callers share one refresh, and there is at most one every 30 s.

        Returns:
            Another token of the same sign-in to try, or None.
        """
        await self._refresher.refresh_rejected(token)
        return self.state.token_instead_of(token)

    @_entry
    async def load(self) -> None:
        """Read the store, unless it has been read before."""
        await self._sync.load()

    @_entry
    async def save_tokens(self, tokens: OAuthTokenSet) -> None:
        """Sign in with ``tokens``, and their claims about their owner."""
        await self.sign_in(tokens, self.provider.claims(tokens))

    @_entry
    async def sign_in(self, tokens: OAuthTokenSet, user: dict[str, Any]) -> bool:
        """Sign in with ``tokens``; see :meth:`Commands.sign_in`. It continues if the caller is cancelled."""
        before = self.state
        signed_in = await asyncio.shield(self._commands.sign_in(tokens, user))
        if signed_in and before.origin:
            self.audiences.leave_behind(revoke=are_different(before.person, self.state.person))
        return signed_in

    @_entry
    async def discard(self, tokens: OAuthTokenSet, user: dict[str, Any]) -> None:
        """Revoke tokens of ``user`` that will not be used; see :meth:`Refresher.discard`."""
        await self._refresher.discard(tokens, user)

    @_entry
    async def acquire_silently(self) -> None:
        """Sign in without the user; see :meth:`Commands.acquire_silently`."""
        await self._commands.acquire_silently()

    @_entry
    async def sign_out(self) -> LogoutResult:
        """Sign out; see :meth:`Commands.sign_out`. Call :meth:`load` first, so that stored tokens are revoked."""
        result = await self._commands.sign_out()
        await self.audiences.end(revoke=True)
        return result

    def sign_in_begun(self) -> None:
        """Record that a sign-in is open in a browser. On the background loop."""
        self.apply(self.state.sign_in_begun())

    def sign_in_failed(self, error: AuthenticationError, *, authorizing: bool) -> None:
        """Record that a sign-in failed, and whether another is still open. On the background loop."""
        self.wake(error)  # first: a session that stays signed in wakes cells without one
        self.apply(self.state.sign_in_failed(error, authorizing=authorizing))
