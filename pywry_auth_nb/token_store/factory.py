"""`get_token_store`: the token store of the process."""

from __future__ import annotations

import inspect
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .._io import fork
from ..errors import ConfigurationError
from ..tokens import Secret

if TYPE_CHECKING:
    from .base import TokenStore

_BACKENDS = {
    "memory": ("memory", "MemoryTokenStore"),
    "keyring": ("keyring", "KeyringTokenStore"),
    "redis": ("redis", "RedisTokenStore"),
    "file": ("file", "FileTokenStore"),
}


class _Singleton:
    """The store, and the request that created it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.store: TokenStore | None = None
        self.request: object = None


_the = _Singleton()


def _renew_lock() -> None:
    """Replace the lock in a forked child, where the thread that held it is gone. The store itself stays usable."""
    _the.lock = threading.Lock()


fork.in_child(_renew_lock)


def get_token_store(backend: str = "memory", **kwargs: Any) -> TokenStore:
    """Return this process's token store; the first call creates it.

    Args:
        backend: ``"memory"``, ``"keyring"``, ``"redis"`` or ``"file"``.
        **kwargs: The arguments of that store.

    Raises:
        ConfigurationError: There is no such backend or argument; or there is a store already, with another backend or
            other arguments.
        TokenStoreError: The store cannot be used here.
    """
    kwargs = {name: Secret(value) if isinstance(value, str) else value for name, value in kwargs.items()}
    store_class = _class_of(backend)
    request = (backend, _arguments(store_class, kwargs))
    with _the.lock:
        if _the.store is None:
            _the.store, _the.request = store_class(**kwargs), request
        elif _the.request != request:
            raise ConfigurationError(
                "This process has a token store already, with another backend or other arguments. Ask for the same "
                "one, or restart the kernel, or call reset_token_store() first."
            )
        return _the.store


def store_from_settings(settings: Any) -> TokenStore:
    """Return this process's token store, as described by ``settings``.

    Args:
        settings: Any object with some of these attributes: ``token_store_backend``, ``redis_url``, ``redis_prefix``.

    Raises:
        ConfigurationError: As :func:`get_token_store`.
        TokenStoreError: The store cannot be used here.
    """
    backend = getattr(settings, "token_store_backend", "memory")
    return get_token_store(backend, **(redis_options(settings) if backend == "redis" else {}))


def redis_options(settings: Any) -> dict[str, Any]:
    """Return the arguments of :class:`RedisTokenStore` that ``settings`` have."""
    given = {"redis_url": getattr(settings, "redis_url", ""), "prefix": getattr(settings, "redis_prefix", "")}
    return {name: value for name, value in given.items() if value}


def new_store(backend: str, **kwargs: Any) -> TokenStore:
    """Return a new token store, which is not that of the process.

    Raises:
        ConfigurationError: There is no such backend.
        TokenStoreError: The store cannot be used here.
    """
    return _class_of(backend)(**kwargs)


def reset_token_store() -> None:
    """Forget this process's token store, without deleting its tokens. The next call creates a new one."""
    with _the.lock:
        _the.store = _the.request = None


def _class_of(backend: str) -> type[TokenStore]:
    if backend not in _BACKENDS:
        raise ConfigurationError(f"There is no such token store. Choose one of: {', '.join(sorted(_BACKENDS))}.")
    module, name = _BACKENDS[backend]
    store_class: type[TokenStore] = getattr(import_module(f".{module}", __package__), name)
    return store_class


def _arguments(store_class: type[TokenStore], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return all arguments of the store, with defaults, so that requests with explicit defaults are equal."""
    signature = inspect.signature(store_class)
    try:
        bound = signature.bind(**kwargs)
    except TypeError:
        raise ConfigurationError(
            f"{store_class.__name__} has no such argument. It takes: {', '.join(signature.parameters) or 'none'}."
        ) from None
    bound.apply_defaults()
    return dict(bound.arguments)
