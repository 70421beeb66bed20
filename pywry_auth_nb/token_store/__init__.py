"""Token stores: where sessions keep their tokens.

Names are imported when first used (PEP 562), so that a store in memory does not import Redis, keyring and cryptography.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import TokenStore
    from .codec import make_encryption_key
    from .factory import get_token_store, reset_token_store
    from .file import FileTokenStore
    from .keyring import KeyringTokenStore
    from .lease import Lease
    from .memory import MemoryTokenStore
    from .record import NOTHING, Record
    from .redis import RedisTokenStore

__all__ = [
    "NOTHING",
    "FileTokenStore",
    "KeyringTokenStore",
    "Lease",
    "MemoryTokenStore",
    "Record",
    "RedisTokenStore",
    "TokenStore",
    "get_token_store",
    "make_encryption_key",
    "reset_token_store",
]

_HOME = {
    "FileTokenStore": "file",
    "KeyringTokenStore": "keyring",
    "Lease": "lease",
    "MemoryTokenStore": "memory",
    "NOTHING": "record",
    "Record": "record",
    "RedisTokenStore": "redis",
    "TokenStore": "base",
    "get_token_store": "factory",
    "make_encryption_key": "codec",
    "reset_token_store": "factory",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
