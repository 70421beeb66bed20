"""What keeps a session alive: when its token is renewed, by whom, and what happens when that fails."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import time
import weakref
from typing import TYPE_CHECKING

from ._io.loop import Serial, backoff, get_loop, ignore_result, is_running, jitter, on_loop, without_traceback
from ._sharing import SharedState, free
from .errors import LoginRequired, TokenError, TokenExpiredError, TokenRefreshError, TokenStoreError
from .providers.base import REGISTRATION_ERRORS, as_refresh_error
from .token_store import Lease

if TYPE_CHECKING:
    from collections.abc import Callable

    from .errors import AuthenticationError
    from .token_store import Record
    from .tokens import OAuthTokenSet

_MIN_PAUSE = 1.0  # seconds between two refreshes, however short the tokens live
_NAP = 30.0  # seconds: clocks stand still in suspend, so look at the wall clock that often
_BACKOFF_CAP = 60.0
_STORE_PAUSE = 2.0  # seconds at most until another try where not the provider was in the way
_MANY = 10  # failures in a row, after which a token that can be renewed only late is looked for less often
_MISCONFIGURED_PAUSE = 600.0  # seconds until another try where somebody must change a registration first
_REFUSED_PAUSE = 30.0  # seconds between two renewals because a server refused a token: it may refuse every token
_TURN_DEADLINE = 25.0  # seconds to wait for another kernel's refresh; a reader waits 30
_POLL = (0.03, 0.15)  # seconds between two looks whether it is done: at first, and later
_REQUEST = 30.0  # seconds that asking the provider, and storing what it says, may take


class Renewal(SharedState):
    """The part of a session that renews its tokens.

    All of it runs on the background loop, so it needs no lock here. Between kernels the store's lease is the lock, and
    what is to be done is decided while it is held.
    """

    refresh_buffer_seconds: int
    on_reauth_required: Callable[[], None] | None

    def __init__(self) -> None:
        super().__init__()
        self._owner = os.getpid()
        self._failures = 0
        self._failure: TokenRefreshError | None = None  # of the latest refresh, also while it is nobody's trouble yet
        self._ended_by: TokenError | None = None  # why only a new sign-in helps
        self._resume_at = 0.0  # epoch seconds before which no read may ask the provider again
        self._refused_at = -math.inf  # when a server last refused a token (monotonic seconds)
        self._refreshing: asyncio.Task[None] | None = None
        self._tending: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def _due(self) -> float:
        """When to renew, in epoch seconds."""
        return self._snap.due(0.0 if self.provider.refresh_only_after_expiry else self.refresh_buffer_seconds)

    async def _refresh_once(self) -> None:
        if self._refreshing is None or not is_running(self._refreshing):
            self._refreshing = ignore_result(asyncio.ensure_future(self._refresh()))
        await asyncio.shield(self._refreshing)

    async def _refresh(self) -> None:
        if self._snap.tokens is None:
            raise login_required_error()
        self._check_renewable(self._snap.tokens)
        begun, epoch = self._held, self._epoch
        self._publish(refreshing=True)
        try:
            await self.provider.warm_up()  # before others have to wait for it
            lease = await self._turn(begun)
            if lease is not None:
                await self._renew_under(lease)
        except Exception as failure:  # noqa: BLE001 - whatever it is, the session must not stay in "refreshing"
            error = _as_refresh_error(failure)
            if epoch == self._epoch:
                self._refresh_failed(error)
            raise error from None
        finally:
            if self._snap.refreshing:
                self._publish(refreshing=False)

    # -- whose turn it is ---------------------------------------------------------------------------------------------

    async def _turn(self, begun: Record) -> Lease | None:
        """Wait until it is this session's turn to renew ``begun``, or somebody else has done it.

        Returns:
            The lease to renew under; None when there is nothing left to do.

        Raises:
            LoginRequired: Somebody signed out meanwhile.
            TokenStoreError: The store cannot say whose turn it is.
            TokenRefreshError: Code ``refresh_busy``.
        """
        kept, self._kept_lease = self._kept_lease, None
        if kept is not None and kept.lasts(_REQUEST):
            return kept
        if kept is not None:
            await free(kept)
        end, pauses = time.monotonic() + _TURN_DEADLINE, backoff(*_POLL)
        while time.monotonic() < end:
            await asyncio.sleep(max(self._not_yet - time.monotonic(), 0))
            if await self._done_by_others(begun):
                return None
            lease = await self._try_lease()
            if lease is not None and await self._is_our_turn(lease, begun):
                return lease
            if lease is None:
                await asyncio.sleep(next(pauses))
        raise TokenRefreshError(
            "Another notebook is renewing this sign-in and does not finish. Try again in a moment; if it stays, look "
            "for a kernel that hangs.",
            code="refresh_busy",
        )

    async def _try_lease(self) -> Lease | None:
        try:
            return await self._ask(self.token_store.try_lease(self.store_key))
        except TokenStoreError:
            if self._alone:  # nobody else can have these tokens
                return Lease()
            raise

    async def _is_our_turn(self, lease: Lease, begun: Record) -> bool:
        """Decide under the lease, whatever was known before: read, and see whether there is still something to do."""
        try:
            await self._read_surely()
            ours = time.monotonic() >= self._not_yet and lease.lasts(_REQUEST) and not self._is_done(begun)
        except BaseException:
            await free(lease)
            raise
        if not ours:
            await free(lease)
        return ours

    async def _read_surely(self) -> None:
        """Read the record; where it cannot be read, it is enough to know that nobody has written since it was."""
        try:
            found = await self._read()
        except TokenStoreError:
            if not self._alone and await self._ask(self.token_store.stamp(self.store_key)) != self._stamp:
                raise
        else:
            await self._reconcile(found)

    async def _done_by_others(self, begun: Record) -> bool:
        """Whether somebody else has renewed ``begun``, as far as can be seen without the lease."""
        await self._look_soon()
        return self._is_done(begun)

    def _is_done(self, begun: Record) -> bool:
        """Whether there is nothing left to renew in what this session shows."""
        if self._snap.tokens is None:
            raise login_required_error()
        if self._held.generation != begun.generation and not self._snap.ended:
            return time.time() < self._due
        self._check_renewable(self._snap.tokens)
        return False

    # -- the refresh itself -------------------------------------------------------------------------------------------

    async def _renew_under(self, lease: Lease) -> None:
        """Renew, and keep the lease for as long as nobody else can know of the new tokens."""
        try:
            await self._renew()
        finally:
            if self._unsaved and not self._alone:
                self._kept_lease = lease
            else:
                await free(lease)

    async def _renew(self) -> None:
        old, tokens, epoch = self._held, self._snap.tokens, self._epoch
        assert tokens is not None  # noqa: S101 - seen when the turn came
        try:
            new = await self._renewed(tokens)
        except TokenRefreshError as error:
            if _is_final(error) and epoch == self._epoch and not await self._end(old, error):
                return  # somebody else was faster, after all
            raise
        if epoch == self._epoch:
            await self._keep_renewed(old, old.renewed(new.succeed(tokens)))
        if epoch != self._epoch:  # signed out or in anew meanwhile: these tokens are nobody's
            await self._give_back_late(new)

    async def _renewed(self, old: OAuthTokenSet) -> OAuthTokenSet:
        """Return the provider's new tokens, if they continue the sign-in of the old ones."""
        new = await self._ask_provider(self._check_renewable(old))
        try:
            self.provider.check_continuity(old, new)
        except TokenError:
            await self.provider.revoke_tokens(new)  # somebody else's: nobody may use them
            raise
        return new

    async def _ask_provider(self, refresh_token: str) -> OAuthTokenSet:
        """Ask for new tokens; once more if the connection broke, which leaves open whether the provider had heard it.

        If it had, the refresh token may be spent, and only those that forgive a quick second try can help.
        """
        try:
            return await self.provider.refresh_tokens(refresh_token)
        except TokenRefreshError as error:
            if error.code != "network":
                raise
        return await self.provider.refresh_tokens(refresh_token)

    async def _keep_renewed(self, old: Record, record: Record) -> None:
        """Put renewed tokens into the store, then in place of the old; a store that fails must not cost the session."""
        epoch, error = self._epoch, None
        try:
            kept = await self._write(replace_if(old, record))
        except TokenStoreError as failure:
            kept, error = record, failure
        if epoch != self._epoch:
            return
        if kept is not record:
            await self._reconcile(kept)
            return
        if error is None:
            self._saved()
        self._unsaved = error is not None
        self._predecessors.append(old.tokens.access_token if old.tokens else "")
        self._show(record, error=error and not_stored(error), user=self._snap.user)

    async def _give_back_late(self, tokens: OAuthTokenSet) -> None:
        """Revoke tokens that came too late, unless that would end the sign-in that overtook them."""
        if self._snap.tokens is None or not self.provider.revokes_consent:
            await self.provider.revoke_tokens(tokens)

    @on_loop
    async def renew_refused(self, token: str) -> str | None:
        """Renew the access token because a server refused ``token``, which looked good.

        Many callers at once share one refresh, and it is done at most every 30 s: a server may refuse every token.

        Returns:
            Another token of the same sign-in to try, or None when there is none.
        """
        snap = self._snap
        running = is_running(self._refreshing)
        if snap.tokens is not None and snap.tokens.access_token == token:
            pausing = time.monotonic() - self._refused_at < _REFUSED_PAUSE or time.time() < self._resume_at
            if pausing and not running:
                return None
            self._refused_at = time.monotonic()
            with contextlib.suppress(TokenRefreshError):
                await self._refresh_once()
        now = self._snap.tokens
        another = now is not None and now.access_token != token and token in self._predecessors
        return now.access_token if now is not None and another else None

    def _check_renewable(self, tokens: OAuthTokenSet) -> str:
        """Return the refresh token if this process may use it; nothing has changed if not."""
        if tokens.refresh_token is None or self._snap.ended:
            raise TokenRefreshError("This sign-in cannot be renewed. Sign in again.", code="no_refresh_token")
        if os.getpid() != self._owner and (self._unsaved or not self.token_store.shared):
            raise TokenRefreshError(
                "A forked process must not renew the token that its parent uses too. Read session.access_token before "
                "forking.",
                code="forked",
            )
        return tokens.refresh_token

    def _refresh_failed(self, error: TokenRefreshError) -> None:
        """Keep the tokens and try again later, unless that is hopeless."""
        if self._snap.ended or self._snap.tokens is None:
            return
        self._failures += 1
        self._failure = without_traceback(error)
        self._publish(refreshing=False)
        self._schedule(at_least=error.retry_after or 0.0)

    def _show_failure(self) -> None:
        """Show why the token is not renewed, once: what passes while the token is still good troubles nobody."""
        error = self._failure
        if error is None or self._snap.error is error or self._snap.authorizing:
            return
        shown = self._snap.error is not None and self._snap.error.code == error.code
        if not shown and (_needs_help(error) or time.time() >= self._snap.over):
            self._publish(error=error)

    async def _end(self, old: Record, error: TokenError) -> bool:
        """Note for every kernel that after ``old`` only a new sign-in helps. Its access token stays usable to its end.

        Returns:
            Whether that is so: not when another kernel turns out to have renewed the tokens.
        """
        if self._snap.ended:
            return True
        epoch = self._epoch
        record = kept = old.over()
        try:
            kept = await self._write(replace_if(old, record))
        except TokenStoreError:
            self._unsaved = True  # it is stored later
        if epoch != self._epoch:
            return True  # of what is not shown any more
        if kept is not record:
            await self._reconcile(kept)
            return self._snap.ended
        self._show(record, user=self._snap.user)
        self._tell_ended(error)
        return True

    def _tell_ended(self, error: TokenError | None = None) -> None:
        if error is None:
            error = TokenRefreshError("This sign-in has ended. Sign in again.", code="invalid_grant")
        self._ended_by = without_traceback(error)
        self._publish(error=self._ended_by)
        if self.on_reauth_required is not None:
            Serial()(self.on_reauth_required)

    def _store_is_back(self) -> None:
        """Let the next reader try again what failed only because the store did."""
        if self._failure is not None and is_store_error(self._failure):
            self._resume_at = 0.0

    def _shown(self) -> None:
        """Plan what is to be done about the tokens that are shown now."""
        self._failures, self._failure, self._resume_at = 0, None, 0.0
        self._cancel_timer()
        if self._snap.tokens is not None:
            self._schedule()

    def _schedule(self, at_least: float = 0.0) -> None:
        """Plan the next look at the token: when it is due, or after a failure with growing pauses, in seconds."""
        due = max(self._early(), time.time() + _MIN_PAUSE)
        if self._failures:
            cap = _STORE_PAUSE if self._failure is not None and is_store_error(self._failure) else _BACKOFF_CAP
            pause = min(2.0**self._failures, cap) * jitter(0.5, 1.0)
            hopeless = self._failure is not None and (_needs_help(self._failure) or self._is_late())
            self._resume_at = time.time() + max(pause, at_least, _BACKOFF_CAP if hopeless else 0.0)
            due = self._resume_at + (_MISCONFIGURED_PAUSE if hopeless else 0.0)  # a read may find it mended sooner
        self._cancel_timer()
        self._wait_until(due)

    def _is_late(self) -> bool:
        """Whether whoever should have renewed a token that is over has not done so for long."""
        return self.provider.refresh_only_after_expiry and self._failures > _MANY

    def _early(self) -> float:
        """Return when to renew: somewhat before it is due, each kernel at another time."""
        due, tokens = self._due, self._snap.tokens
        if tokens is None or tokens.expires_at is None or tokens.refresh_token is None:
            return due
        return due - jitter(0.0, 0.1) * (tokens.expires_at - due)

    def _renewing_alone(self) -> bool:
        """Whether a refresh that needs no lock is under way: its tokens must not be in the store before it is over."""
        return self._alone and is_running(self._refreshing)

    def _wait_until(self, due: float) -> None:
        """Tend to the token when it is ``due`` by the wall clock, if the session still exists then."""
        self._show_failure()
        now, over = time.time(), self._snap.over
        wait = due - now
        if wait <= 0:
            self._tending = asyncio.ensure_future(self._tend())
        elif due < math.inf:
            wake = weakref.WeakMethod(self._wait_until)
            nap = min(wait, _NAP, over - now if over > now else _NAP)
            self._timer = get_loop().call_later(nap, lambda: (again := wake()) and again(due))

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _tend(self) -> None:
        """Do what is due: renew the token, or see that it is over."""
        if self._snap.tokens is None or self._snap.ended:
            return
        if self._snap.tokens.refresh_token is None:
            await self._glance()
            if self._snap.tokens is None or time.time() < self._snap.over:
                return
            sentence = "Your sign-in is over and cannot be renewed. Sign in again."
            await self._end(self._held, TokenExpiredError(sentence, code="no_refresh_token"))
            return
        with contextlib.suppress(TokenRefreshError):  # noted, and the next look is planned
            await self._refresh_once()


def _needs_help(error: TokenRefreshError) -> bool:
    """Whether somebody must change the client's registration first."""
    return error.code in REGISTRATION_ERRORS


def _is_final(error: TokenRefreshError) -> bool:
    """Whether waiting cannot help: the provider refuses, or what it gave must not be trusted."""
    return error.code in {"invalid_grant", "identity_changed"} or error.code.startswith("id_token_")


def replace_if(old: Record, new: Record) -> Callable[[Record], Record | None]:
    """Return the change that puts ``new`` in place of ``old``, or of what is earlier, as a store that lost it has."""
    return lambda there: new if there.generation < new.generation or there.tokens == old.tokens else None


def is_store_error(error: TokenRefreshError) -> bool:
    """Whether not the provider, but the store or another kernel was in the way."""
    return error.code.startswith("store_") or error.code == "refresh_busy"


def not_stored(error: TokenStoreError) -> TokenStoreError:
    """Return what to tell the person when new tokens are in this kernel's memory alone."""
    return TokenStoreError(
        "You are signed in, but the tokens could not be stored: a restarted kernel will ask again.", code=error.code
    )


def _as_refresh_error(failure: Exception) -> TokenRefreshError:
    """Return any failure of a refresh as one of ours; of a stranger only the type, its text may hold anything."""
    if isinstance(failure, TokenRefreshError):
        return failure
    if isinstance(failure, TokenError):
        return as_refresh_error(failure)
    if isinstance(failure, TokenStoreError):
        return TokenRefreshError(f"The token cannot be renewed safely now. {failure.message}", code=failure.code)
    if isinstance(failure, LoginRequired):
        return TokenRefreshError(failure.message, code=failure.code)
    return TokenRefreshError(f"The refresh failed ({type(failure).__name__}). Try again.", code="internal")


def login_required_error(error: AuthenticationError | None = None) -> LoginRequired:
    """Return the error for a session without anybody in it, perhaps because of an ``error`` of the store."""
    if isinstance(error, TokenStoreError):
        return LoginRequired(f"Nobody is signed in, because the stored sign-in could not be read. {error.message}")
    return LoginRequired("Nobody is signed in. Display the session in a cell and sign in, or call session.login().")
