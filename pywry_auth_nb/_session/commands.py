"""`Commands`: sign-in and sign-out of a session, with the user or without (`acquire_token_silent`).

Only the latest command counts: results of earlier ones that arrive later are discarded.
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .._io.loop import get_loop, ignore_result
from ..errors import AuthFlowCancelled, LoginRequired, TokenError, TokenStoreError
from ..token_store import NOTHING
from .failures import not_stored
from .logout import DELETED, NONE, UNREADABLE, LogoutResult
from .persons import Person, are_different

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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
        self._revoking: set[asyncio.Task[dict[str, str]]] = set()

    # -- sign-in -----------------------------------------------------------------------------------------------------

    async def sign_in(self, tokens: OAuthTokenSet, user: dict[str, Any], *, if_untouched: bool = False) -> bool:
        """Sign in with ``tokens`` and the claims about their owner. The tokens of another user before are revoked.

        Args:
            tokens: The tokens.
            user: The claims.
            if_untouched: Whether a record that another kernel has stored meanwhile counts instead.

        Returns:
            Whether the session now has these tokens: False if the user has signed out or in again meanwhile.
        """
        command, claims, error = self._begin(), user or None, None
        self._records.loaded = True  # what the store held before no longer matters
        record, shown = self._owner.state.record.signed_in(tokens, claims), self._owner.state
        before = {shown.record.sign_in: replace(shown.record, user=shown.user)}

        def begin(there: Record) -> Record | None:
            if if_untouched and there.generation:
                return None
            before[there.sign_in] = there
            return self._later(there).signed_in(tokens, claims) if self._is_latest(command) else None

        try:
            record = await self._records.update(begin)
        except TokenStoreError as failure:
            error = not_stored(failure)
        if not self._is_latest(command) or record.generation < self._owner.state.record.generation:
            await self._refresher.discard(tokens, claims)
            return False
        self._owner.apply(self._owner.state.signed_in(record, error=error))
        self._revoke_of_others(before.values(), Person.of(claims))
        self._owner.wake()  # even if the tokens have expired: the user has signed in
        return True

    def _revoke_of_others(self, replaced: Iterable[Record], person: Person | None) -> None:
        """Revoke in the background what another person was signed in with.

        Not what the same person was: a provider may count both sign-ins as one grant, and end it.
        """
        for record in replaced:
            if record.tokens is not None and are_different(Person.of(record.user), person):
                revoking = get_loop().create_task(self._owner.provider.revoke_tokens(record.tokens))
                self._revoking.add(ignore_result(revoking))
                revoking.add_done_callback(self._revoking.discard)

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
        await self._acquire(if_untouched=True)

    async def _acquire(self, *, if_untouched: bool = False) -> None:
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
        if self._is_latest(command) and (not if_untouched or self._is_untouched()):
            await self.sign_in(tokens, user, if_untouched=if_untouched)

    def _is_untouched(self) -> bool:
        """Whether the store was read and holds no record, so the user has neither signed in nor out."""
        known = self._records.loaded and not self._records.store_unavailable
        return known and self._owner.state.record.generation == 0

    def forget_loop(self) -> None:
        """Drop the running task in a forked child, where it never finishes."""
        self._acquired_last = None
        self._revoking.clear()

    # -- sign-out ----------------------------------------------------------------------------------------------------

    async def sign_out(self) -> LogoutResult:
        """Delete the tokens here and in the store, then revoke them at the provider (at most 5 s).

        A sign-in of another person in the store is left alone, and so is what cannot be read if there may be one.

        Returns:
            What became of each token. The session is signed out in any case.
        """
        ours, displaced = self._owner.state.record, self._owner.state.displaced
        command = self._begin()
        self._owner.apply(self._owner.state.signed_out(ours.signed_out()))
        theirs, store = await self._write_sign_out(command, displaced=displaced)
        revoked = dict.fromkeys(("refresh_token", "access_token"), NONE if theirs.problem is None else UNREADABLE)
        records = [theirs] if ours.sign_in == theirs.sign_in else [ours, theirs]
        signed_in = [record.tokens for record in records if record.tokens is not None]
        for tokens in signed_in:
            revoked |= await self._owner.provider.revoke_tokens(tokens)
        others = any(tokens.has_other_tokens for tokens in signed_in)
        return LogoutResult(revoked["refresh_token"], revoked["access_token"], store, others)

    async def _write_sign_out(self, command: int, *, displaced: bool) -> tuple[Record, str]:
        """Write a sign-out to the store; return the record found there, and the outcome.

        If it cannot be written, the record is deleted, unless another person's has ``displaced`` this session's.
        """
        found: Record = NOTHING

        def sign_out(there: Record) -> Record | None:
            nonlocal found
            if self._owner.state.is_of_another(there.user) or (displaced and there.problem is not None):
                return None
            found = there
            return self._later(there).signed_out() if self._is_latest(command) else None

        try:
            kept = await self._records.update(sign_out)
        except TokenStoreError as error:
            if displaced:
                return found, DELETED
            state = self._owner.state
            self._owner.apply(replace(state, unsaved=state.unsaved or self._is_latest(command)))
            return replace(found, problem=found.problem or error), await self._forget(error)
        if self._is_latest(command) and kept.tokens is None:
            self._owner.apply(replace(self._owner.state, record=replace(kept, version=None), person=None).saved())
        return found, DELETED

    async def _forget(self, error: TokenStoreError) -> str:
        """Delete the record that could not be replaced because of ``error``, and return the outcome."""
        if self._records.store.keeps_sign_outs:  # others would see a loss; the sign-out is stored later
            return error.code
        try:
            await self._records.delete()
        except TokenStoreError as failure:
            return failure.code
        self._owner.apply(self._owner.state.saved())
        return DELETED

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
