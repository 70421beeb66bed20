"""Where in a refresh a kernel can be killed or paused: the real code runs up to there, and would go on after it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from pywry_auth_nb._io import keyring as _keyring
from pywry_auth_nb.token_store import keyring

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from pywry_auth_nb import GenericOIDCProvider, TokenStore

    Patch = AbstractContextManager[object]
    Spring = Callable[[], object]
    Trap = Callable[[GenericOIDCProvider, TokenStore, Spring], Patch]


def locked(provider: GenericOIDCProvider, store: TokenStore, spring: Spring) -> Patch:
    """The lock has been taken."""
    return _after(store, "try_lease", spring)


def looked(_: GenericOIDCProvider, store: TokenStore, spring: Spring) -> Patch:
    """The lock has been taken, and the record has been read under it."""
    taken: list[object] = []
    patches = ExitStack()
    patches.enter_context(_after(store, "try_lease", lambda: taken.append(True)))
    patches.enter_context(_after(store, "read", lambda: taken and spring()))
    return patches


def answered(provider: GenericOIDCProvider, store: TokenStore, spring: Spring) -> Patch:
    """The provider's answer is here, and no other process has it."""
    return _after(provider, "refresh_tokens", spring)


def saving(provider: GenericOIDCProvider, store: TokenStore, spring: Spring) -> Patch:
    """The new record is half written: a file without its name, one chunk of several, a command that was not sent."""
    kind = getattr(store, "kind", "")
    if kind == "file":
        return _before(Path, "replace", spring)
    if kind == "keyring":
        return _second_chunk(spring)
    return _before(store, "_swap", spring)


def saved(provider: GenericOIDCProvider, store: TokenStore, spring: Spring) -> Patch:
    """The record is in the store, and the lock is still held."""
    return _after(store, "swap", spring)


def _after(thing: Any, name: str, spring: Spring) -> Patch:
    real = getattr(thing, name)

    async def trapped(*args: Any, **kwargs: Any) -> Any:
        result = await real(*args, **kwargs)
        if result:
            spring()
        return result

    return patch.object(thing, name, trapped)


def _before(thing: Any, name: str, spring: Spring) -> Patch:
    real = getattr(thing, name)

    def trapped(*args: Any, **kwargs: Any) -> Any:
        spring()
        return real(*args, **kwargs)

    return patch.object(thing, name, trapped)


def _second_chunk(spring: Spring) -> Patch:
    real = _keyring.set_

    def trapped(service: str, username: str, value: str) -> None:
        if service.endswith(("/a/1", "/b/1")):
            spring()
        real(service, username, value)

    patches = ExitStack()
    patches.enter_context(patch.object(keyring, "CHUNK", 1200))  # as on Windows; elsewhere there is but one
    patches.enter_context(patch.object(_keyring, "set_", trapped))
    return patches


TRAPS: dict[str, Trap] = {"locked": locked, "looked": looked, "answered": answered, "saving": saving, "saved": saved}
