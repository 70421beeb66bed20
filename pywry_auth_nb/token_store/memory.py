"""`MemoryTokenStore`: tokens in the memory of this kernel."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from .._io.loop import on_loop
from .base import RecordStore
from .record import NOTHING, Record

if TYPE_CHECKING:
    from collections.abc import Callable


class MemoryTokenStore(RecordStore):
    """Tokens in a dictionary. Sessions of one kernel with the same store share their sign-in."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}
        self._listeners: set[weakref.WeakMethod[Callable[[str], object]]] = set()

    async def read(self, key: str) -> Record:
        """Return the record stored under ``key``."""
        return self._records.get(key, NOTHING)

    @on_loop  # a single thread, so the swap is atomic
    async def swap(self, key: str, old: Record, new: Record) -> bool:
        """Replace ``old`` by ``new``, unless the stored record has changed; return whether it was replaced."""
        if self._records.get(key, NOTHING) is not old:
            return False
        self._records[key] = new
        self._tell(key)
        return True

    @on_loop
    async def delete(self, key: str) -> None:
        """Delete the tokens stored under ``key``, if any."""
        self._records.pop(key, None)
        self._tell(key)

    async def stamp(self, key: str) -> object:
        """Return a value that differs after every change of the record under ``key``."""
        return (await self.read(key)).generation

    @on_loop
    async def listen_for_changes(self, changed: Callable[[str], object]) -> None:
        """Call the bound method ``changed`` with the key after every change, as long as its object exists."""
        self._listeners.add(weakref.WeakMethod(changed, self._listeners.discard))

    def _tell(self, key: str) -> None:
        for reference in list(self._listeners):
            if (changed := reference()) is not None:
                changed(key)

    async def _names(self) -> list[str]:
        return list(self._records)

    def __repr__(self) -> str:
        kept = sum(record.tokens is not None for record in self._records.values())
        return f"<MemoryTokenStore, {kept} kept>"


#: Where sessions without a store of their own keep their tokens, so that a set-up cell can be run again.
_of_this_kernel = MemoryTokenStore()


def default_store() -> MemoryTokenStore:
    """Return the store in memory that all sessions of this kernel share if they are given none."""
    return _of_this_kernel
