"""What keeps a session alive: when its token is renewed, how, and what happens when that fails."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import logging
import math
import os
import random
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

from ._loop import Serial, bare, get_loop, on_loop
from ._state import SessionState
from .errors import LoginRequired, TokenError, TokenExpiredError, TokenRefreshError, TokenStoreError
from .providers.base import NEEDS_HELP, as_refresh_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from .errors import AuthenticationError
    from .providers import OAuthProvider
    from .token_store import TokenStore
    from .tokens import OAuthTokenSet

log = logging.getLogger("pywry_auth_nb")

STORE_DEADLINE = 10.0  # seconds
_MIN_PAUSE = 1.0  # seconds between two refreshes, however short the tokens live
_NAP = 30.0  # seconds: clocks stand still in suspend, so look at the wall clock that often
_BACKOFF_CAP = 60.0
_MISCONFIGURED_PAUSE = 600.0  # seconds until another try where somebody must change a registration first
_MAX_PREDECESSORS = 16
_REFUSED_PAUSE = 30.0  # seconds between two renewals because a server refused a token: it may refuse every token


class Renewal(SessionState):
    """The part of a session that renews its tokens. All of it runs on the background loop, so it needs no lock."""

    provider: OAuthProvider
    token_store: TokenStore
    session_key: str
    refresh_buffer_seconds: int
    on_reauth_required: Callable[[], None] | None

    def __init__(self) -> None:
        super().__init__()
        self._owner = os.getpid()
        self._generation = 0  # counts sign-ins and sign-outs: what was begun before one is void after it
        self._failures = 0
        self._failure: TokenRefreshError | None = None  # of the latest refresh, also while it is nobody's trouble yet
        self._resume_at = 0.0  # epoch seconds before which no read may ask the provider again
        self._refused_at = -math.inf  # when a server last refused a token (monotonic seconds)
        self._predecessors: deque[str] = deque(maxlen=_MAX_PREDECESSORS)  # earlier access tokens of this sign-in
        self._refreshing: asyncio.Task[None] | None = None
        self._tending: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def store_key(self) -> str:
        """Under which name the tokens rest in the store.

        The session's key alone would not do: whoever shares a store, the tokens of one provider, client or person must
        never be taken for those of another.
        """
        return f"{self.session_key} {self.provider.identity} {_person()}"

    async def _refresh_once(self) -> None:
        running = self._refreshing
        if running is None or running.done() or running.get_loop() is not get_loop():
            running = self._refreshing = asyncio.ensure_future(self._refresh())
            running.add_done_callback(lambda task: task.cancelled() or task.exception())  # seen, also when nobody waits
        await asyncio.shield(running)

    async def _refresh(self) -> None:
        old, generation = self._snap.tokens, self._generation
        if old is None:
            raise nobody()
        refresh_token = self._renewable(old)
        self._publish(refreshing=True)
        try:
            new = await self._renewed(old, refresh_token)
        except Exception as failure:  # noqa: BLE001 - whatever it is, the session must not stay in "refreshing"
            error = _as_refresh_error(failure)
            if generation == self._generation:
                await self._refresh_failed(error)
            raise error from None
        if generation != self._generation:  # signed out or in anew meanwhile: these tokens are nobody's
            await self._give_back_late(new)
            return
        self._predecessors.append(old.access_token)
        new = new.succeed(old)
        await self._keep(new)

    async def _renewed(self, old: OAuthTokenSet, refresh_token: str) -> OAuthTokenSet:
        """Return the provider's new tokens, if they continue the sign-in of the old ones."""
        new = await self.provider.refresh_tokens(refresh_token)
        try:
            self.provider.check_continuity(old, new)
        except TokenError:
            await self.provider.give_back(new)  # somebody else's: nobody may use them
            raise
        return new

    @on_loop
    async def renew_refused(self, token: str) -> str | None:
        """Renew the access token because a server refused ``token``, which looked good.

        Many callers at once share one refresh, and it is done at most every 30 s: a server may refuse every token.

        Returns:
            Another token of the same sign-in to try, or None when there is none.
        """
        snap = self._snap
        running = self._refreshing is not None and not self._refreshing.done()
        if snap.tokens is not None and snap.tokens.access_token == token:
            pausing = time.monotonic() - self._refused_at < _REFUSED_PAUSE or time.time() < self._resume_at
            if pausing and not running:
                return None
            self._refused_at = time.monotonic()
            with contextlib.suppress(TokenRefreshError):
                await self._refresh_once()
        now = self._snap.tokens
        return now.access_token if now is not None and token in self._predecessors else None

    def _begin_generation(self) -> None:
        """Note that somebody signs in or out: what was begun before, and tokens of before, are void from now on."""
        self._generation += 1
        self._predecessors.clear()
        self._refused_at = -math.inf

    async def _keep(self, tokens: OAuthTokenSet, **changes: Any) -> bool:
        """Put new tokens into the store, then in place of the old; a store that fails must not cost the session.

        Returns:
            Whether they are the session's now: not when somebody signed out, or in anew, meanwhile.
        """
        generation = self._generation
        error = await self._store(tokens)
        if generation != self._generation:  # signed out, or in anew, while the store was slow: undo it
            await self._mend_store()
            await self._give_back_late(tokens)
            return False
        self._failures, self._failure, self._resume_at = 0, None, 0.0
        self._publish(tokens=tokens, refreshing=False, error=error, **changes)
        self._schedule()
        return True

    async def _give_back_late(self, tokens: OAuthTokenSet) -> None:
        """Revoke tokens that came too late, unless that would end the sign-in that overtook them."""
        if self._snap.tokens is None or not self.provider.revokes_consent:
            await self.provider.give_back(tokens)

    async def _mend_store(self) -> None:
        """Put the store right again after something that came too late."""
        settled = False
        while not settled:  # what is current may change while the store is slow
            current = self._snap.tokens
            await (self._forget() if current is None else self._store(current))
            settled = current is self._snap.tokens

    async def _store(self, tokens: OAuthTokenSet) -> TokenStoreError | None:
        """Put ``tokens`` into the store; return what to tell the person when it fails."""
        try:
            await asyncio.wait_for(self.token_store.save(self.store_key, tokens), STORE_DEADLINE)
        except Exception as failure:  # noqa: BLE001 - stores are anybody's
            log.warning("the token store could not save (%s)", type(failure).__name__)
            return TokenStoreError(
                "You are signed in, but the tokens could not be stored: a restarted kernel will ask again.",
                code=failure.code if isinstance(failure, TokenStoreError) else "store_failed",
            )
        return None

    async def _forget(self) -> str:
        """Delete what the store keeps, and return how that went; a store that fails must not keep a session alive."""
        try:
            await asyncio.wait_for(self.token_store.delete(self.store_key), STORE_DEADLINE)
        except Exception as failure:  # noqa: BLE001 - stores are anybody's
            log.warning("the token store could not delete (%s)", type(failure).__name__)
            return failure.code if isinstance(failure, TokenStoreError) else "store_failed"
        return "deleted"

    def _renewable(self, tokens: OAuthTokenSet) -> str:
        """Return the refresh token if this process may use it; nothing has changed if not."""
        if tokens.refresh_token is None or self._snap.ended:
            raise TokenRefreshError("This sign-in cannot be renewed. Sign in again.", code="no_refresh_token")
        if os.getpid() != self._owner:
            raise TokenRefreshError(
                "A forked process must not renew the token that its parent uses too. Read session.access_token before "
                "forking.",
                code="forked",
            )
        return tokens.refresh_token

    async def _refresh_failed(self, error: TokenRefreshError) -> None:
        """Keep the tokens and try again later; or, when that is hopeless, end the session."""
        if _is_final(error):
            await self._end(error)
            return
        self._failures += 1
        self._failure = bare(error)
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

    async def _end(self, error: TokenError) -> None:
        """Note, once, that only a new sign-in helps. What is left of the access token's life stays usable."""
        if self._snap.ended:
            return
        generation = self._generation
        await self._forget()
        if generation != self._generation:  # signed out, or in anew, while the store was slow
            await self._mend_store()
            return
        self._publish(refreshing=False, ended=True, error=bare(error))
        if self.on_reauth_required is not None:
            Serial()(self.on_reauth_required)

    def _schedule(self, at_least: float = 0.0) -> None:
        """Plan the next look at the token: when it is due, or after a failure with growing pauses, in seconds."""
        due = max(self._snap.due(self.refresh_buffer_seconds), time.time() + _MIN_PAUSE)
        if self._failures:
            pause = min(2.0**self._failures, _BACKOFF_CAP) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
            hopeless = self._failure is not None and _needs_help(self._failure)
            self._resume_at = time.time() + max(pause, at_least, _BACKOFF_CAP if hopeless else 0.0)
            due = self._resume_at + (_MISCONFIGURED_PAUSE if hopeless else 0.0)  # a read may find it mended sooner
        self._cancel_timer()
        self._wait_until(due)

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
            await self._end(
                TokenExpiredError("Your sign-in is over and cannot be renewed. Sign in again.", code="no_refresh_token")
            )
            return
        with contextlib.suppress(TokenRefreshError):  # noted, and the next look is planned
            await self._refresh_once()


def _needs_help(error: TokenRefreshError) -> bool:
    """Whether somebody must change the client's registration first."""
    return error.code in NEEDS_HELP


def _is_final(error: TokenRefreshError) -> bool:
    """Whether waiting cannot help: the provider refuses, or what it gave must not be trusted."""
    return error.code in {"invalid_grant", "identity_changed"} or error.code.startswith("id_token_")


def _as_refresh_error(failure: Exception) -> TokenRefreshError:
    """Return any failure of a refresh as one of ours; of a stranger only the type, its text may hold anything."""
    if isinstance(failure, TokenRefreshError):
        return failure
    if isinstance(failure, TokenError):
        return as_refresh_error(failure)
    return TokenRefreshError(f"The refresh failed ({type(failure).__name__}). Try again.", code="internal")


def nobody(error: AuthenticationError | None = None) -> LoginRequired:
    """Return the error for a session without anybody in it, perhaps because of an ``error`` of the store."""
    if isinstance(error, TokenStoreError):
        return LoginRequired(f"Nobody is signed in, because the stored sign-in could not be read. {error.message}")
    return LoginRequired("Nobody is signed in. Display the session in a cell and sign in, or call session.login().")


def _person() -> str:
    """Return who runs this kernel: on a hub its user, since there the account may be the same for all."""
    try:
        return os.environ.get("JUPYTERHUB_USER") or getpass.getuser()
    except (OSError, KeyError, ImportError):  # an account without a name, in a container
        return str(os.getuid()) if hasattr(os, "getuid") else ""
