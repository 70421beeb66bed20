"""How a session begins and ends: tokens that come from a sign-in, or from a provider that asks nobody; signing out.

Each is a command, and only the latest counts: whatever was begun before and comes later is void.
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ._io.loop import get_loop, ignore_result, is_running, on_loop, without_traceback
from ._renewal import Renewal, not_stored
from .errors import AuthFlowCancelled, TokenError, TokenStoreError
from .providers.base import REVOKED
from .token_store import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .errors import AuthenticationError
    from .token_store import Record
    from .tokens import OAuthTokenSet

_TAKE_PAUSE = 2.0  # seconds between two tries of what asks nobody


@dataclass(frozen=True)
class LogoutResult:
    """What became of a session that was ended. A cell that ends with ``await session.logout()`` shows it.

    Attributes:
        refresh_token: ``"revoked"``, ``"not_revoked"`` (the provider refused, or offers no revocation), the code of
            what went wrong while asking it, ``"none"`` when there was no such token, or ``"unreadable"`` when the
            store could not say.
        access_token: The same for the access token.
        store: ``"deleted"``, or the code of what went wrong while deleting: then the tokens are still stored.
    """

    refresh_token: str = "none"  # noqa: S105 - an outcome
    access_token: str = "none"  # noqa: S105 - an outcome
    store: str = "deleted"

    @property
    def complete(self) -> bool:
        """Whether nothing of the session is left, here or at the provider."""
        return self.store == "deleted" and {self.refresh_token, self.access_token} <= {REVOKED, "none"}


class Signing(Renewal):
    """The part of a session that signs somebody in and out. All of it runs on the background loop."""

    def __init__(self) -> None:
        super().__init__()
        self._taking: asyncio.Task[None] | None = None
        self._take_again_at = -math.inf  # monotonic seconds

    # -- signing in ---------------------------------------------------------------------------------------------

    @on_loop
    async def save_tokens(self, tokens: OAuthTokenSet) -> None:
        """Take ``tokens`` as the session's, keep them in the store and plan their refresh."""
        await self.sign_in(tokens, self.provider.claims(tokens))

    @on_loop
    async def sign_in(self, tokens: OAuthTokenSet, user: dict[str, Any]) -> bool:
        """Begin a session: ``tokens``, and the claims about whose they are.

        Returns:
            Whether it has begun: not when somebody signed out, or in anew, meanwhile.
        """
        command = self._command()
        self._loaded = True  # what the store held before is history
        record, error = self._held.signed_in(tokens, user or None), None
        try:
            record = await self._write(
                lambda there: (
                    None if command != self._commands else _later(there, self._held).signed_in(tokens, user or None)
                )
            )
        except TokenStoreError as failure:
            error = not_stored(failure)
        if command != self._commands or record.generation < self._held.generation:
            await self._give_back_late(tokens)
            return False
        self._begin_epoch()  # again: a refresh of what was shown until now may have begun meanwhile
        self._saved()
        self._unsaved = self._alone = error is not None
        self._show(record, error=error, authorizing=False)
        return True

    def _command(self) -> int:
        """Note that somebody signs in or out here, and return the number of that command."""
        self._begin_epoch()
        self._refused_at = -math.inf
        self._commands += 1
        return self._commands

    def note_authorizing(self) -> None:
        """Note that a sign-in is open in a browser. On the background loop."""
        self._publish(authorizing=True, error=None)

    def note_login_failed(self, error: AuthenticationError, *, authorizing: bool) -> None:
        """Note that a sign-in failed, and whether another is still open. On the background loop."""
        self._publish(error=without_traceback(error), authorizing=authorizing)
        self._wake(error)

    # -- where nobody need be asked -----------------------------------------------------------------------------

    @on_loop
    async def take(self) -> None:
        """Sign in with what the provider has for whoever runs this, where that asks nobody (:class:`HubTokenSource`).

        Raises:
            TokenError: It has nothing.
            AuthFlowCancelled: Somebody signed out meanwhile.
        """
        while self._taking is not None and is_running(self._taking):  # of two at once, one would overtake the other
            await asyncio.wait({self._taking})
            if self._held.tokens is not None:
                return
        self._taking = ignore_result(asyncio.ensure_future(self._take(lambda: True)))
        await asyncio.shield(self._taking)
        if self._held.tokens is None:
            raise AuthFlowCancelled("Somebody signed out meanwhile. Sign in again.")

    async def _take_once(self) -> None:
        """Take what the provider has, once for all who ask at the same time, and not again at once if that fails."""
        again = not is_running(self._taking) and time.monotonic() >= self._take_again_at
        if self._taking is None or again or self._taking.get_loop() is not get_loop():
            self._taking = ignore_result(asyncio.ensure_future(self._take(self._knows_of_nobody)))
        await asyncio.shield(self._taking)

    async def _take(self, is_wanted: Callable[[], bool]) -> None:
        """Sign in with what the provider has, unless that is not wanted any more when it comes."""
        command = self._commands
        try:
            tokens, user = await self.provider.acquire_token_silent()
        except TokenError as error:
            self._take_again_at = time.monotonic() + _TAKE_PAUSE
            self.note_login_failed(error, authorizing=False)
            raise
        await self._glance()
        if command == self._commands and is_wanted():
            await self.sign_in(tokens, user)

    def _knows_of_nobody(self) -> bool:
        """Whether nobody has signed in or out yet: not where the store cannot tell."""
        return self._loaded and not self._away and self._held.generation == 0

    # -- signing out --------------------------------------------------------------------------------------------

    @on_loop
    async def logout(self) -> LogoutResult:
        """Sign out: forget the tokens here and in the store, then revoke them at the provider (at most 5 s).

        Returns:
            What became of each. Nobody is signed in here afterwards, whatever it says.
        """
        await self._load()
        ours, command = self._held, self._command()
        for callback in self._on_sign_out:
            if call := callback():
                call()
        self._show(ours.signed_out(), error=None, authorizing=False)
        theirs, store = await self._write_sign_out(command)
        revoked = dict.fromkeys(("refresh_token", "access_token"), "none" if theirs.problem is None else "unreadable")
        for record in [theirs] if ours.sign_in == theirs.sign_in else [ours, theirs]:
            if record.tokens is not None:
                revoked |= await self.provider.revoke_tokens(record.tokens)
        return LogoutResult(**revoked, store=store)

    async def _write_sign_out(self, command: int) -> tuple[Record, str]:
        """Put a sign-out into the store; return what was there, and how that went."""
        found: Record = NOTHING

        def sign_out(there: Record) -> Record | None:
            nonlocal found
            found = there
            return _later(there, self._held).signed_out() if command == self._commands else None

        try:
            kept = await self._write(sign_out)
        except TokenStoreError as error:
            self._unsaved = self._unsaved or command == self._commands
            return replace(found, problem=found.problem or error), await self._forget(error)
        if command == self._commands:
            self._held = kept
            self._saved()
        return found, "deleted"

    async def _forget(self, error: TokenStoreError) -> str:
        """Remove what cannot be replaced because of ``error``, and return how that went."""
        if self.token_store.keeps_sign_outs:  # others would take it for a loss; the sign-out is stored later
            return error.code
        try:
            await self._ask(self.token_store.delete(self.store_key))
        except TokenStoreError as failure:
            return failure.code
        self._saved()
        return "deleted"


def _later(one: Record, other: Record) -> Record:
    return one if one.generation > other.generation else other
