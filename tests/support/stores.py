"""A store whose answers come when a test wants them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pywry_auth_nb import MemoryTokenStore
from tests.support.waiting import soon

if TYPE_CHECKING:
    from pywry_auth_nb.token_store import Record


class GatedStore(MemoryTokenStore):
    """A store on the other side of the world: it saves nothing while its ``gate`` is shut.

    Attributes:
        gate: Open at first.
        waiting: How many want to save something just now.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.waiting = 0

    def holds(self, new: Record) -> bool:  # noqa: ARG002 - for those who hold back only some
        """Whether ``new`` has to wait at the gate."""
        return True

    async def swap(self, key: str, old: Record, new: Record) -> bool:
        """Replace, once the gate is open."""
        if self.holds(new):
            self.waiting += 1
            await soon(self.gate.is_set, "the gate stayed shut")
            self.waiting -= 1
        return await super().swap(key, old, new)
