"""`SessionEngine`: the one owner of a session's state. It composes the parts, and says what is due when.

All of it runs on the background loop, so it needs no lock; between kernels the store's lease is the lock. After every
``await`` the state may be another one: what was begun in an earlier epoch, or by an earlier command, is void.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from typing import TYPE_CHECKING, Any

from .._io import fork
from .._io.loop import call_later, call_soon, get_loop, ignore_result, jitter, on_loop
from ..errors import AuthenticationError, TokenExpiredError, TokenRefreshError
from ..tokens import bearer
from .commands import Commands
from .failures import login_required_error
from .record_sync import RecordSync
from .refresher import Refresher
from .state import SessionState, TokenState
from .store_sync import StoreSync
from .watcher import watcher_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from ..errors import TokenStoreError
    from ..providers import OAuthProvider
    from ..token_store import TokenStore
    from ..tokens import OAuthTokenSet
    from .logout import LogoutResult
    from .notifier import Notifier

PATIENCE = 3.0  # seconds that a reader waits for a new token while the old one is still good
_NOT_FRESH = ("", "", -math.inf)
_NAP = 30.0  # seconds: clocks stand still in suspend, so look at the wall clock that often


class SessionEngine:
    """One sign-in at one provider: holds its state, keeps it in step with the store, and refreshes its tokens.

    Args:
        provider: Who gives the tokens.
        store: Where they rest.
        store_key: Under which name.
        notifier: Who is told of changes.
        watched: Whether other kernels may change the store.
        refresh_buffer: Seconds before its expiry when an access token is refreshed.

    Attributes:
        state: What the session is now. Only :meth:`apply` assigns it.
        fresh: The access token, the header that carries it, and the epoch second until which a read returns them.
        on_reauth_required: Called once when only a new sign-in helps.
    """

    def __init__(
        self,
        provider: OAuthProvider,
        store: TokenStore,
        store_key: str,
        notifier: Notifier,
        *,
        watched: bool,
        refresh_buffer: float,
    ) -> None:
        self.provider = provider
        self.state = SessionState()
        self.fresh = _NOT_FRESH
        self.on_reauth_required: Callable[[], None] | None = None
        self.notifier = notifier
        self.forked = False
        self._refresh_buffer = refresh_buffer
        self._records = RecordSync(store, store_key)
        self._sync = StoreSync(self, self._records)
        self._refresher = Refresher(self, self._records, self._sync)
        self._commands = Commands(self, self._records, self._sync, self._refresher)
        self._watched = watched
        self._dormant = False  # in a forked child, until the first read
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}  # by what they do
        fork.in_child(self._forget_loop)
        if watched:
            call_soon(self._begin_watching)

    @property
    def store_key(self) -> str:
        """Under which name the tokens rest in the store."""
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
        """The same, where the provider can renew a token that has not expired yet; else 0."""
        return 0.0 if self.provider.refresh_only_after_expiry else self._refresh_buffer

    # -- the state ----------------------------------------------------------------------------------------------------

    def apply(self, after: SessionState) -> None:
        """Make ``after`` the state, tell whoever watches or waits, and plan what is due. On the background loop."""
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
        self.notifier.changed(before, after)
        if after.is_usable(time.time()):
            self.notifier.wake()
        if after.ended and not before.ended and self.on_reauth_required is not None:
            self.notifier.call(self.on_reauth_required)

    def wake(self, error: AuthenticationError | None = None) -> None:
        """End the waiting of cells: with ``error``, or because the user has signed in."""
        self.notifier.wake(error)

    def _plan(self) -> None:
        """Plan the next look at the token, and until when it may be read without one."""
        self._note_fresh()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wait_until(self.state.next_look(now=time.time(), buffer=self.buffer, dice=jitter(0.0, 1.0)))

    def _note_fresh(self) -> None:
        tokens = self.state.tokens
        self.fresh = _NOT_FRESH
        if tokens is not None:
            token = tokens.access_token
            self.fresh = (token, bearer(token), self.state.fresh_until(self.buffer))

    def _wait_until(self, due: float) -> None:
        """See to the token when it is ``due`` by the wall clock, as long as this object lives."""
        now, expiry = time.time(), self.state.expiry
        if due <= now:
            self.one("see to the token", self._on_timer)
        elif due < math.inf:
            nap = min(due - now, _NAP, expiry - now if expiry > now else _NAP)
            self._timer = call_later(nap, self._look_again, due)

    def _look_again(self, due: float) -> None:
        self.apply(self.state.with_failure_shown(time.time()))
        self._wait_until(due)

    async def _on_timer(self) -> None:
        """Refresh the token, or see that it has expired."""
        if self.state.tokens is None or self.state.ended:
            return
        if self.state.tokens.refresh_token is not None:
            with contextlib.suppress(TokenRefreshError):  # noted, and the next look is planned
                await self._refresher.refresh()
            return
        await self._sync.soon()
        if self.state.tokens is not None and time.time() >= self.state.expiry:
            error = TokenExpiredError(
                "Your sign-in has ended and cannot be renewed. Sign in again.", code="no_refresh_token"
            )
            await self._refresher.end(self.state.record, error)

    # -- what is under way --------------------------------------------------------------------------------------------

    def one(self, what: str, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        """Return the task that does ``what``, and start it if there is none: one of each kind at a time."""
        task = self._tasks.get(what)
        if task is None or task.done():
            task = self._tasks[what] = ignore_result(get_loop().create_task(work()))
        return task

    def is_doing(self, what: str) -> bool:
        """Whether the task that does ``what`` is under way."""
        task = self._tasks.get(what)
        return task is not None and not task.done()

    def _begin_watching(self) -> None:
        watcher_of(self._records.store).subscribe(self)
        self._sync.start()

    def stamp_seen(self, stamp: object) -> None:
        """Take note of the record's stamp in the store."""
        self._sync.stamp_seen(stamp)

    def record_changed(self) -> None:
        """Take note that the record in the store has changed."""
        if not self.state.unsaved:
            self._sync.start()

    def store_failed(self, error: TokenStoreError) -> None:
        """Take note that the store cannot be asked."""
        self._sync.store_failed(error)

    def _forget_loop(self) -> None:
        """In a forked child: nothing is under way, and the first read begins anew."""
        self.forked = self._dormant = True
        self.fresh = _NOT_FRESH
        self._timer = None
        self._tasks.clear()
        self._commands.forget_loop()

    def _wake_up(self) -> None:
        """In a forked child: watch again, on its own loop. It refreshes when a token is read, and not by itself."""
        self._dormant = False
        if self._watched:
            self._begin_watching()
        self._note_fresh()

    # -- reading ------------------------------------------------------------------------------------------------------

    @on_loop
    async def initialize(self) -> OAuthTokenSet | None:
        """Load the tokens of an earlier sign-in, refreshed where that is due; None where there are none to be had."""
        await self._sync.load()
        await self._sync.soon()
        try:
            await self.get_access_token()
        except AuthenticationError:
            return None
        return self.state.tokens

    @on_loop
    async def get_access_token(self) -> str:
        """Return a token that is valid now, refreshing it when it is near its expiry.

        Raises:
            LoginRequired: No user is signed in.
            TokenExpiredError: The token has expired and could not be refreshed; ``code`` says why.
        """
        await self._arrive()
        error = await self._refresh_if_due()
        if error is None and self.state.token_state(time.time(), self.buffer) is TokenState.INVALID:
            error = await self._refresh_if_due()  # the process stood still, and the new token has expired, too
        if self.state.ended:  # why is not shown any more once another sign-in has begun
            return self._usable(self.state.ended_by)
        return self._usable(error or self.state.backoff.failure or self.state.error)

    async def _arrive(self) -> None:
        """Know what the store has; and if it has nothing, what a provider that needs no person has.

        Raises:
            LoginRequired: It has nothing, though it could; ``code`` says why.
        """
        if self._dormant:
            self._wake_up()
        await self._sync.load()
        if self.state.tokens is None and self._watched:
            await self._sync.soon()
        await self._commands.acquire_if_untouched()

    async def _refresh_if_due(self) -> TokenRefreshError | None:
        """Refresh the token if it is near its expiry, for a while; return what went wrong."""
        now, state = time.time(), self.state
        if state.may_refresh(now, self.buffer):
            patience = min(PATIENCE, state.expiry - now) if now < state.expiry else None
            try:
                with contextlib.suppress(asyncio.TimeoutError):  # then it goes on in the background
                    await asyncio.wait_for(self._refresher.refresh(), patience)
            except TokenRefreshError as failure:
                return failure
        return None

    def _usable(self, error: AuthenticationError | None) -> str:
        """Return the access token if there is one that has not expired; else raise, saying why."""
        state = self.state
        if state.tokens is None:
            raise login_required_error(state.error)
        if time.time() < state.expiry:
            return state.tokens.access_token
        if error is None:
            raise TokenExpiredError("The access token has expired already. Try again in a moment.")
        raise TokenExpiredError(error.message, code=error.code, retry_after=getattr(error, "retry_after", None))

    @on_loop
    async def wait_signed_in(self, timeout: float) -> None:
        """Wait until there is a token to work with, or the next attempt to get one fails.

        Raises:
            AuthFlowTimeout: Neither happened within ``timeout`` seconds.
            AuthenticationError: What the attempt failed with.
        """
        if not self.state.is_usable(time.time()):
            await self.notifier.wait(timeout)

    # -- refreshing, signing in and out -------------------------------------------------------------------------------

    @on_loop
    async def refresh(self) -> OAuthTokenSet:
        """Refresh the access token now, whatever its age. Callers at the same time share one refresh.

        Raises:
            LoginRequired: No user is signed in.
            TokenRefreshError: The refresh failed; code ``invalid_grant`` means that a new sign-in is needed.
        """
        await self._arrive()
        await self._sync.soon()
        await self._refresher.refresh()
        if self.state.tokens is None:
            raise login_required_error()
        return self.state.tokens

    @on_loop
    async def refresh_rejected(self, token: str) -> str | None:
        """Refresh the access token because an API rejected ``token``, which looked good.

        Many callers at once share one refresh, and it is done at most every 30 s.

        Returns:
            Another token of the same sign-in to try, or None when there is none.
        """
        await self._refresher.refresh_rejected(token)
        return self.state.token_instead_of(token)

    @on_loop
    async def load(self) -> None:
        """Look at the store, if it has not been read yet."""
        await self._sync.load()

    @on_loop
    async def sign_in(self, tokens: OAuthTokenSet, user: dict[str, Any]) -> bool:
        """Begin a session; see :meth:`Commands.sign_in`."""
        return await self._commands.sign_in(tokens, user)

    @on_loop
    async def acquire_silently(self) -> None:
        """Sign in where no person is needed; see :meth:`Commands.acquire_silently`."""
        await self._commands.acquire_silently()

    @on_loop
    async def sign_out(self) -> LogoutResult:
        """End the session; see :meth:`Commands.sign_out`. Load it first, so that all of it can be revoked."""
        return await self._commands.sign_out()

    def sign_in_begun(self) -> None:
        """Note that a sign-in is open in a browser. On the background loop."""
        self.apply(self.state.sign_in_begun())

    def sign_in_failed(self, error: AuthenticationError, *, authorizing: bool) -> None:
        """Note that a sign-in failed, and whether another is still open. On the background loop."""
        self.apply(self.state.sign_in_failed(error, authorizing=authorizing))
        self.wake(error)
