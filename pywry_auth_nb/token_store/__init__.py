"""Token stores: where a session's tokens rest between uses."""

from .base import TokenStore
from .memory import MemoryTokenStore

__all__ = ["MemoryTokenStore", "TokenStore"]
