"""`TokenStore`: the interface of everything that can keep a token set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..tokens import OAuthTokenSet


class TokenStore(ABC):
    """Keeps token sets under string keys. Every method may be awaited from any event loop."""

    @abstractmethod
    async def save(self, key: str, tokens: OAuthTokenSet) -> None:
        """Keep ``tokens`` under ``key``, in place of what was there."""

    @abstractmethod
    async def load(self, key: str) -> OAuthTokenSet | None:
        """Return what is kept under ``key``, or None."""

    @abstractmethod
    async def delete(self, key: str) -> None:
        """Forget what is kept under ``key``; nothing there is fine."""

    @abstractmethod
    async def exists(self, key: str) -> bool:
        """Whether something is kept under ``key``."""

    @abstractmethod
    async def list_keys(self) -> list[str]:
        """Return all keys."""
