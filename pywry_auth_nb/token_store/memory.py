"""`MemoryTokenStore`: tokens live as long as the kernel and are seen by it alone."""

from __future__ import annotations

from .._io.loop import on_loop
from .base import RecordStore
from .record import NOTHING, Record


class MemoryTokenStore(RecordStore):
    """A dictionary. Sessions of one kernel that are given the same one share their sign-in."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}

    async def read(self, key: str) -> Record:
        """Return what is kept under ``key``."""
        return self._records.get(key, NOTHING)

    @on_loop  # which is one thread, so that nothing comes in between
    async def swap(self, key: str, old: Record, new: Record) -> bool:
        """Put ``new`` in place of ``old``, unless something else lies there by now."""
        if self._records.get(key, NOTHING) is not old:
            return False
        self._records[key] = new
        return True

    async def delete(self, key: str) -> None:
        """Forget what is kept under ``key``; nothing there is fine."""
        self._records.pop(key, None)

    async def stamp(self, key: str) -> object:
        """Return something that differs after every change of what is kept under ``key``."""
        return (await self.read(key)).generation

    async def _names(self) -> list[str]:
        return list(self._records)

    def __repr__(self) -> str:
        kept = sum(record.tokens is not None for record in self._records.values())
        return f"<MemoryTokenStore, {kept} kept>"
