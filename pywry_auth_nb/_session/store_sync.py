"""`StoreSync`: keeps a session in step with its store, and so with every kernel that shares the sign-in.

Records are ordered, and only a later one replaces another. So the order in which changes by a slow store, another
kernel or a second notebook arrive does not matter.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from .._io.loop import call_later, jitter
from ..errors import AuthenticationError, TokenStoreError
from .state import reconcile

if TYPE_CHECKING:
    from ..token_store import Record
    from .owner import StateOwner
    from .record_sync import Reading, RecordSync

log = logging.getLogger("pywry_auth_nb")

SAVE_AGAIN = 1.0  # seconds between two attempts to save; less than GRACE, which allows for it
PATIENCE = 0.5  # seconds that a reader without a token waits for the store


class StoreSync:
    """Adopts later records from the store, and saves those that it lacks. Use it on the background loop.

    Args:
        owner: The owner of the state.
        records: The session's record in the store.
    """

    def __init__(self, owner: StateOwner, records: RecordSync) -> None:
        self._owner = owner
        self._records = records
        self._saving: asyncio.TimerHandle | None = None

    def stamp_seen(self, stamp: object) -> None:
        """Handle the current stamp of the record, and sync if it has changed."""
        if self._records.is_behind(stamp) and not self._owner.state.unsaved:
            self.start()

    def store_failed(self, error: TokenStoreError) -> None:
        """Handle a failure of the store."""
        self._records.failed(error)
        self._owner.apply(self._owner.state.store_failed(error))

    # -- from the store ---------------------------------------------------------------------------------------------

    def start(self) -> asyncio.Task[None]:
        """Start a sync with the store, unless one is running."""
        return self._owner.one("sync", self._sync)

    async def now(self) -> None:
        """Sync with the store."""
        await asyncio.shield(self.start())

    async def soon(self) -> None:
        """Sync with the store, without waiting long for a slow one."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.now(), PATIENCE)

    async def load(self) -> None:
        """Sync with the store, unless it has been read before."""
        with contextlib.suppress(AuthenticationError):
            await self._owner.provider.settle()
        if not self._records.loaded:
            await self.now()

    async def _sync(self) -> None:
        try:
            reading = await self._records.changed()
            if reading is not None:
                await self._take_in(reading)
        except TokenStoreError as error:
            self._records.forget_stamp()
            self._owner.apply(self._owner.state.store_failed(error))
            return
        self._records.loaded = True
        self._owner.apply(self._owner.state.store_worked())

    async def read_surely(self) -> None:
        """Read the record, or if that fails, verify by its stamp that it has not changed.

        Raises:
            TokenStoreError: Both failed.
        """
        try:
            reading = await self._records.read()
        except TokenStoreError:
            if not self._owner.state.local_only and not await self._records.is_unchanged():
                raise
        else:
            await self._take_in(reading)

    async def _take_in(self, reading: Reading) -> None:
        if reading.after_outage:
            if not self._owner.state.unsaved:  # else this session has the newest tokens
                self._records.wait_for_others()
            self._owner.apply(self._owner.state.store_returned())
        await self.reconcile(reading.record)

    async def reconcile(self, found: Record) -> None:
        """Adopt a stored record if it is later; save this session's if the store has lost it."""
        provider = self._owner.provider
        keeps = self._records.store.keeps_sign_outs
        state, save, unreadable = reconcile(
            self._owner.state, found, claims=provider.claims, keeps_sign_outs=keeps, now=time.time()
        )
        if unreadable is not None:
            log.warning("%s: the stored session cannot be read (%s)", provider.label, unreadable.code)
        self._owner.apply(state)
        if save:
            if not state.unsaved:
                self._records.wait_for_others()
            await self._save()

    # -- into the store ---------------------------------------------------------------------------------------------

    async def _save(self) -> None:
        """Save this session's record, unless the store has a later one."""
        state, mine, key = self._owner.state, self._owner.state.record, self._records.key

        def replaced(there: Record) -> Record | None:
            return mine if there.generation < mine.generation and state.may_replace(there) else None

        try:
            kept = await self._records.update(replaced)
        except TokenStoreError:
            if key == self._records.key:
                self._owner.apply(replace(self._owner.state, unsaved=True))
            return
        if key != self._records.key:  # it was moved meanwhile
            return
        if kept is not mine:
            await self.reconcile(kept)
        elif mine is self._owner.state.record:
            self._owner.apply(self._owner.state.saved())

    def save_later(self) -> None:
        """Schedule another attempt to save the record."""
        if self._saving is not None:
            self._saving.cancel()
        self._saving = call_later(SAVE_AGAIN * jitter(0.8, 1.0), self._try_to_save)

    def _try_to_save(self) -> None:
        self._saving = None
        if self._owner.state.unsaved:
            self._owner.one("save", self._save_again)

    async def _save_again(self) -> None:
        """Save, but not during a refresh without a lease, whose tokens would conflict."""
        try:
            if not (self._owner.state.local_only and self._owner.is_doing("refresh")):
                await self._save()
        finally:
            if self._owner.state.unsaved:
                self.save_later()

    def forget_loop(self) -> None:
        """Forget the parent's timer in a forked child."""
        self._saving = None
