"""`StoreSync`: keeps a session in step with its store, and so with every kernel that shares the sign-in.

Records are in order, and only a later one takes the place of another. So it does not matter in which order a slow
store, another kernel and a user with two notebooks are heard.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from .._io.loop import call_later, jitter
from ..errors import TokenStoreError
from .state import reconcile

if TYPE_CHECKING:
    from ..token_store import Record
    from .owner import StateOwner
    from .record_sync import Reading, RecordSync

log = logging.getLogger("pywry_auth_nb")

SAVE_AGAIN = 1.0  # seconds between two tries to store; less than GRACE, which waits for it
PATIENCE = 0.5  # seconds that a reader without a token waits for a look at the store


class StoreSync:
    """Takes over what the store has, and puts back what it lacks. Use it on the background loop.

    Args:
        owner: Whose state.
        records: The store as this session sees it.
    """

    def __init__(self, owner: StateOwner, records: RecordSync) -> None:
        self._owner = owner
        self._records = records

    def stamp_seen(self, stamp: object) -> None:
        """Take note of the record's stamp in the store: of a change elsewhere, perhaps."""
        if self._records.is_behind(stamp) and not self._owner.state.unsaved:
            self.start()

    def store_failed(self, error: TokenStoreError) -> None:
        """Take note that the store cannot be asked."""
        self._records.failed()
        self._owner.apply(self._owner.state.store_failed(error))

    # -- from the store ---------------------------------------------------------------------------------------------

    def start(self) -> asyncio.Task[None]:
        """Look at the store, unless that is under way."""
        return self._owner.one("sync", self._sync)

    async def now(self) -> None:
        """Look at the store, and take over what it has."""
        await asyncio.shield(self.start())

    async def soon(self) -> None:
        """Look at the store, and do not wait long for one that is slow."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.now(), PATIENCE)

    async def load(self) -> None:
        """Look at the store, if it has not been read yet."""
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
        """Read the record. Where it cannot be read, it is enough to know that it was not written since.

        Raises:
            TokenStoreError: Neither can be known.
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
            if not self._owner.state.unsaved:  # else ours are the newest
                self._records.wait_for_others()
            self._owner.apply(self._owner.state.store_returned())
        await self.reconcile(reading.record)

    async def reconcile(self, found: Record) -> None:
        """Take over a record of the store if it is later; put back what the store has lost."""
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
        """Bring what this session shows into the store, unless something later is there."""
        mine = self._owner.state.record
        try:
            kept = await self._records.update(lambda there: mine if there.generation < mine.generation else None)
        except TokenStoreError:
            self._owner.apply(replace(self._owner.state, unsaved=True))
            return
        if kept is not mine:
            await self.reconcile(kept)
        elif mine is self._owner.state.record:
            self._owner.apply(self._owner.state.saved())

    def save_later(self) -> None:
        """Try again to store what could not be stored."""
        call_later(SAVE_AGAIN * jitter(0.8, 1.0), self._try_to_save)

    def _try_to_save(self) -> None:
        if self._owner.state.unsaved:
            self._owner.one("save", self._save_again)

    async def _save_again(self) -> None:
        """Store; not while new tokens are under way that need no lease, and must not come between."""
        if not (self._owner.state.local_only and self._owner.is_doing("refresh")):
            await self._save()
        if self._owner.state.unsaved:
            self.save_later()
