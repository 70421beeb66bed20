"""`MemoryTokenStore`: tokens live as long as the kernel and are seen by it alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import TokenStore

if TYPE_CHECKING:
    from ..tokens import OAuthTokenSet


class MemoryTokenStore(TokenStore):
    """A dictionary. Each method is one dictionary operation, which Python does whole, so threads need no lock."""

    def __init__(self) -> None:
        self._tokens: dict[str, OAuthTokenSet] = {}

    async def save(self, key: str, tokens: OAuthTokenSet) -> None:
        """Keep ``tokens`` under ``key``, in place of what was there."""
        self._tokens[key] = tokens

    async def load(self, key: str) -> OAuthTokenSet | None:
        """Return what is kept under ``key``, or None."""
        return self._tokens.get(key)

    async def delete(self, key: str) -> None:
        """Forget what is kept under ``key``; nothing there is fine."""
        self._tokens.pop(key, None)

    async def exists(self, key: str) -> bool:
        """Whether something is kept under ``key``."""
        return key in self._tokens

    async def list_keys(self) -> list[str]:
        """Return all keys."""
        return list(self._tokens)

    def __repr__(self) -> str:
        return f"<MemoryTokenStore, {len(self._tokens)} kept>"
