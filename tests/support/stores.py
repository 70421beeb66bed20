"""A store whose answers come when a test wants them, one as users write it, and files as others leave them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pywry_auth_nb import MemoryTokenStore, TokenStore
from tests.support.waiting import soon

if TYPE_CHECKING:
    from pathlib import Path

    from pywry_auth_nb import OAuthTokenSet
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


class OwnStore(TokenStore):
    """A store of a user's own, with nothing but the five methods of ``pywry.auth``."""

    def __init__(self) -> None:
        self.kept: dict[str, OAuthTokenSet] = {}

    async def save(self, key: str, tokens: OAuthTokenSet) -> None:
        """Keep them."""
        self.kept[key] = tokens

    async def load(self, key: str) -> OAuthTokenSet | None:
        """Return them."""
        return self.kept.get(key)

    async def delete(self, key: str) -> None:
        """Forget them."""
        self.kept.pop(key, None)

    async def exists(self, key: str) -> bool:
        """Say whether they are there."""
        return key in self.kept

    async def list_keys(self) -> list[str]:
        """List them."""
        return sorted(self.kept)


def rewrite(file: Path, content: bytes) -> None:
    """Replace what a file of a store has, all at once: sessions look at it meanwhile, and would mend an empty one."""
    new = file.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_bytes(content)
    new.replace(file)
