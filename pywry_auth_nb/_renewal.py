"""What keeps a session alive: when its token is renewed, how, and what happens when that fails."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import random
import time
import weakref
from typing import TYPE_CHECKING, Any

from ._loop import Serial, bare, get_loop
from ._state import SessionState
from .errors import AuthenticationError, LoginRequired, TokenError, TokenExpiredError, TokenRefreshError
from .providers.base import as_refresh_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from .providers import OAuthProvider
    from .token_store import TokenStore
    from .tokens import OAuthTokenSet

log = logging.getLogger("pywry_auth_nb")

_REVOKE_DEADLINE = 5.0  # seconds
STORE_DEADLINE = 10.0  # seconds
_MIN_PAUSE = 1.0  # seconds between two refreshes, however short the tokens live
_NAP = 30.0  # seconds: clocks stand still in suspend, so look at the wall clock that often
_BACKOFF_CAP = 60.0


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
        self._resume_at = 0.0  # epoch seconds before which no read may ask the provider again
        self._refreshing: asyncio.Task[None] | None = None
        self._tending: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

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
            new = await self.provider.refresh_tokens(refresh_token)
            self.provider.check_continuity(old, new)
        except Exception as failure:  # noqa: BLE001 - whatever it is, the session must not stay in "refreshing"
            error = _as_refresh_error(failure)
            if generation == self._generation:
                await self._refresh_failed(error)
            raise error from None
        if generation != self._generation:  # signed out or in anew meanwhile: these tokens are nobody's
            await self.discard(new)
            return
        new = new.succeed(old)
        await self._keep(new)

    async def _keep(self, tokens: OAuthTokenSet, **changes: Any) -> bool:
        """Put new tokens into the store, then in place of the old; a store that fails must not cost the session.

        Returns:
            Whether they are the session's now: not when somebody signed out, or in anew, meanwhile.
        """
        generation = self._generation
        error = await self._store(tokens)
        if generation != self._generation:  # signed out, or in anew, while the store was slow: undo it
            await self._overtaken(tokens)
            return False
        self._failures, self._resume_at = 0, 0.0
        self._publish(tokens=tokens, refreshing=False, error=error, **changes)
        self._schedule()
        return True

    async def _overtaken(self, tokens: OAuthTokenSet) -> None:
        """Revoke tokens that came too late, and put the store right again."""
        settled = False
        while not settled:  # what is current may change while the store is slow
            current = self._snap.tokens
            await (self._forget() if current is None else self._store(current))
            settled = current is self._snap.tokens
        await self.discard(tokens)

    async def _store(self, tokens: OAuthTokenSet) -> AuthenticationError | None:
        """Put ``tokens`` into the store; return what to tell the person when it fails."""
        try:
            await asyncio.wait_for(self.token_store.save(self.session_key, tokens), STORE_DEADLINE)
        except Exception as failure:  # noqa: BLE001 - stores are anybody's
            log.warning("the token store could not save (%s)", type(failure).__name__)
            return AuthenticationError(
                "You are signed in, but the tokens could not be stored: a restarted kernel will ask again.",
                code="store_failed",
            )
        return None

    async def _forget(self) -> None:
        """Delete what the store keeps; a store that fails must not keep a session alive."""
        try:
            await asyncio.wait_for(self.token_store.delete(self.session_key), STORE_DEADLINE)
        except Exception as failure:  # noqa: BLE001 - stores are anybody's
            log.warning("the token store could not delete (%s)", type(failure).__name__)

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
        else:
            self._failures += 1
            self._publish(refreshing=False, error=bare(error))
            self._schedule(retry_after=error.retry_after or 0.0)

    async def _end(self, error: TokenError) -> None:
        """Note, once, that only a new sign-in helps. What is left of the access token's life stays usable."""
        if self._snap.ended:
            return
        generation = self._generation
        await self._forget()
        if generation != self._generation:  # signed out, or in anew, while the store was slow
            if self._snap.tokens is not None:
                await self._store(self._snap.tokens)
            return
        self._publish(refreshing=False, ended=True, error=bare(error))
        if self.on_reauth_required is not None:
            Serial()(self.on_reauth_required)

    def _schedule(self, retry_after: float = 0.0) -> None:
        """Plan the next look at the token: when it is due, or after a failure with growing pauses."""
        due = max(self._snap.due(self.refresh_buffer_seconds), time.time() + _MIN_PAUSE)
        if self._failures:
            pause = min(2.0**self._failures, _BACKOFF_CAP) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
            due = self._resume_at = time.time() + max(pause, retry_after)
        self._cancel_timer()
        self._wait_until(due)

    def _wait_until(self, due: float) -> None:
        """Tend to the token when it is ``due`` by the wall clock, if the session still exists then."""
        wait = due - time.time()
        if wait <= 0:
            self._tending = asyncio.ensure_future(self._tend())
        elif due < math.inf:
            wake = weakref.WeakMethod(self._wait_until)
            self._timer = get_loop().call_later(min(wait, _NAP), lambda: (again := wake()) and again(due))

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _tend(self) -> None:
        """Do what is due: renew the token, or see that it is over."""
        if self._snap.tokens is None or self._snap.ended:
            return
        if self._snap.tokens.refresh_token is None:
            await self._end(TokenExpiredError("Your sign-in is over and cannot be renewed. Sign in again."))
            return
        with contextlib.suppress(TokenRefreshError):  # noted, and the next look is planned
            await self._refresh_once()

    async def discard(self, tokens: OAuthTokenSet) -> None:
        """Revoke the refresh token, then the access token (RFC 7009 §2.1); a refusal changes nothing here."""
        try:
            await asyncio.wait_for(self._revoke_both(tokens), _REVOKE_DEADLINE)
        except asyncio.TimeoutError:
            log.warning("%s: tokens not revoked (timeout)", self.provider.label)

    async def _revoke_both(self, tokens: OAuthTokenSet) -> None:
        for token, kind in ((tokens.refresh_token, "refresh_token"), (tokens.access_token, "access_token")):
            if token is None:
                continue
            try:
                said = "" if await self.provider.revoke_token(token, kind) else "refused, or not offered"
            except TokenError as error:
                said = error.code
            if said:
                log.warning("%s: %s not revoked (%s)", self.provider.label, kind, said)


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


def nobody() -> LoginRequired:
    """Return the error for a session without anybody in it."""
    return LoginRequired("Nobody is signed in. Display the session in a cell and sign in, or call session.login().")
