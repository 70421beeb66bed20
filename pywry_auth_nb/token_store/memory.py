"""`MemoryTokenStore`: tokens in the memory of this kernel."""

from __future__ import annotations

from .._io.loop import on_loop
from .base import RecordStore
from .record import NOTHING, Record


class MemoryTokenStore(RecordStore):
    """Tokens in a dictionary. Sessions of one kernel with the same store share their sign-in."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}

    async def read(self, key: str) -> Record:
        """Return the record stored under ``key``."""
        return self._records.get(key, NOTHING)

    @on_loop  # a single thread, so the swap is atomic
    async def swap(self, key: str, old: Record, new: Record) -> bool:
        """Replace ``old`` by ``new``, unless the stored record has changed; return whether it was replaced."""
        if self._records.get(key, NOTHING) is not old:
            return False
        self._records[key] = new
        return True

    async def delete(self, key: str) -> None:
        """Delete the tokens stored under ``key``, if any."""
        self._records.pop(key, None)

    async def stamp(self, key: str) -> object:
        """Return a value that differs after every change of the record under ``key``."""
        return (await self.read(key)).generation

    async def _names(self) -> list[str]:
        return list(self._records)

    def __repr__(self) -> str:
        kept = sum(record.tokens is not None for record in self._records.values())
        return f"<MemoryTokenStore, {kept} kept>"
