"""`Commands`: sign-in and sign-out of a session, with the user or without (`acquire_token_silent`).

Only the latest command counts: results of earlier ones that arrive later are discarded.
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import AuthFlowCancelled, LoginRequired, TokenError, TokenStoreError
from ..token_store import NOTHING
from .failures import not_stored
from .logout import LogoutResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..token_store import Record
    from ..tokens import OAuthTokenSet
    from .owner import StateOwner
    from .record_sync import RecordSync
    from .refresher import Refresher
    from .store_sync import StoreSync

_ACQUIRE_PAUSE = 2.0  # seconds between two silent attempts that readers cause


class Commands:
    """Signs the user of one session in and out. Use it on the background loop.

    Args:
        owner: The owner of the state.
        records: The session's record in the store.
        sync: Reads changes that other kernels make.
        refresher: Revokes tokens that arrive too late.
    """

    def __init__(self, owner: StateOwner, records: RecordSync, sync: StoreSync, refresher: Refresher) -> None:
        self._owner = owner
        self._records = records
        self._sync = sync
        self._refresher = refresher
        self._acquired_last: asyncio.Task[None] | None = None  # even if it failed: readers share a failure
        self._acquire_not_before = -math.inf  # monotonic seconds

    # -- sign-in -----------------------------------------------------------------------------------------------------

    async def sign_in(self, tokens: OAuthTokenSet, user: dict[str, Any]) -> bool:
        """Sign in with ``tokens`` and the claims about their owner.

        Returns:
            Whether the session now has these tokens: False if the user has signed out or in again meanwhile.
        """
        command, claims, error = self._begin(), user or None, None
        self._records.loaded = True  # what the store held before no longer matters
        record = self._owner.state.record.signed_in(tokens, claims)

        def begin(there: Record) -> Record | None:
            return self._later(there).signed_in(tokens, claims) if self._is_latest(command) else None

        try:
            record = await self._records.update(begin)
        except TokenStoreError as failure:
            error = not_stored(failure)
        if not self._is_latest(command) or record.generation < self._owner.state.record.generation:
            await self._refresher.revoke_late(tokens)
            return False
        self._owner.apply(self._owner.state.signed_in(record, error=error))
        self._owner.wake()  # even if the tokens have expired: the user has signed in
        return True

    async def acquire_silently(self) -> None:
        """Sign in without the user, at a provider with ``interactive = False``.

        Raises:
            TokenError: The provider has no tokens for the user.
            AuthFlowCancelled: The user signed out meanwhile.
        """
        while self._owner.is_doing("acquire"):  # two at once would race
            await asyncio.wait({self._owner.one("acquire", self._acquire)})
            if self._owner.state.tokens is not None:
                return
        await self._start_to_acquire(self._acquire)
        if self._owner.state.tokens is None:
            raise AuthFlowCancelled("The session was signed out meanwhile. Sign in again.")

    async def acquire_if_untouched(self) -> None:
        """Do the same for a reader, unless the provider is interactive or the user has signed in or out before.

        Readers share one attempt, and its failure for two seconds.

        Raises:
            LoginRequired: The provider has no tokens; ``code`` says why.
        """
        if self._owner.provider.interactive or not self._is_untouched():
            return
        last, again = self._acquired_last, time.monotonic() >= self._acquire_not_before
        try:
            if last is None or (last.done() and again):
                await self._start_to_acquire(self._acquire_if_untouched)
            else:
                await asyncio.shield(last)
        except TokenError as error:
            raise LoginRequired(error.message, code=error.code) from None

    async def _start_to_acquire(self, work: Callable[[], Any]) -> None:
        self._acquired_last = self._owner.one("acquire", work)
        await asyncio.shield(self._acquired_last)

    async def _acquire_if_untouched(self) -> None:
        await self._acquire(self._is_untouched)

    async def _acquire(self, is_wanted: Callable[[], bool] = lambda: True) -> None:
        """Sign in with the provider's tokens, if they are still wanted when they arrive."""
        command = self._owner.state.command
        try:
            tokens, user = await self._owner.provider.acquire_token_silent()
        except TokenError as error:
            self._acquire_not_before = time.monotonic() + _ACQUIRE_PAUSE
            self._owner.apply(self._owner.state.sign_in_failed(error, authorizing=False))
            self._owner.wake(error)
            raise
        await self._sync.soon()
        if self._is_latest(command) and is_wanted():
            await self.sign_in(tokens, user)

    def _is_untouched(self) -> bool:
        """Whether the store was read and holds no record, so the user has neither signed in nor out."""
        known = self._records.loaded and not self._records.store_unavailable
        return known and self._owner.state.record.generation == 0

    def forget_loop(self) -> None:
        """Drop the running task in a forked child, where it never finishes."""
        self._acquired_last = None

    # -- sign-out ----------------------------------------------------------------------------------------------------

    async def sign_out(self) -> LogoutResult:
        """Delete the tokens here and in the store, then revoke them at the provider (at most 5 s).

        Returns:
            What became of each token. The session is signed out in any case.
        """
        ours = self._owner.state.record
        command = self._begin()
        self._owner.apply(self._owner.state.signed_out(ours.signed_out()))
        theirs, store = await self._write_sign_out(command)
        revoked = dict.fromkeys(("refresh_token", "access_token"), "none" if theirs.problem is None else "unreadable")
        for record in [theirs] if ours.sign_in == theirs.sign_in else [ours, theirs]:
            if record.tokens is not None:
                revoked |= await self._owner.provider.revoke_tokens(record.tokens)
        return LogoutResult(**revoked, store=store)

    async def _write_sign_out(self, command: int) -> tuple[Record, str]:
        """Write a sign-out to the store; return the record found there, and the outcome."""
        found: Record = NOTHING

        def sign_out(there: Record) -> Record | None:
            nonlocal found
            found = there
            return self._later(there).signed_out() if self._is_latest(command) else None

        try:
            kept = await self._records.update(sign_out)
        except TokenStoreError as error:
            state = self._owner.state
            self._owner.apply(replace(state, unsaved=state.unsaved or self._is_latest(command)))
            return replace(found, problem=found.problem or error), await self._forget(error)
        if self._is_latest(command):
            self._owner.apply(replace(self._owner.state, record=replace(kept, version=None)).saved())
        return found, "deleted"

    async def _forget(self, error: TokenStoreError) -> str:
        """Delete the record that could not be replaced because of ``error``, and return the outcome."""
        if self._records.store.keeps_sign_outs:  # others would see a loss; the sign-out is stored later
            return error.code
        try:
            await self._records.delete()
        except TokenStoreError as failure:
            return failure.code
        self._owner.apply(self._owner.state.saved())
        return "deleted"

    # -- which command counts ----------------------------------------------------------------------------------------

    def _begin(self) -> int:
        """Register a new command, and return its number."""
        self._owner.apply(self._owner.state.commanded())
        return self._owner.state.command

    def _is_latest(self, command: int) -> bool:
        return command == self._owner.state.command

    def _later(self, there: Record) -> Record:
        """Return the later of the stored record and this session's."""
        shown = self._owner.state.record
        return there if there.generation > shown.generation else shown
