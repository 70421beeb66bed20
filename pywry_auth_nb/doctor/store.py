"""The token store that the settings name: can it keep tokens, and can other users read them?"""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .._io.loop import run
from .._io.urls import is_loopback
from ..errors import AuthenticationError, TokenStoreError
from .findings import Check, found, found_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..settings import OAuth2Settings
    from ..token_store import RedisTokenStore, TokenStore
    from .findings import Finding
    from .http_probe import Probe

_WORK = 25.0  # seconds: three requests to a store, each of which has a deadline of its own


def check(settings: OAuth2Settings, *, on_hub: bool, probe: Probe) -> Check[None]:
    """Save a value in the store, load and delete it, and look at who else could read it."""
    backend = settings.token_store_backend
    if backend == "memory":
        yield found("store", "store_memory")
        return
    from ..token_store.factory import store_from_settings

    try:
        store: Any = store_from_settings(settings)
    except AuthenticationError as error:
        yield found_error("store", error, backend)
        return
    if backend == "redis" and settings.redis_url and not _is_private(settings.redis_url):
        yield found("store", "redis_plain", hosts=", ".join(_hosts(settings.redis_url)))
    yield from check_store(store, backend, on_hub=on_hub, probe=probe)
    if backend == "redis":
        with suppress(AuthenticationError):
            run(store.close(), probe.at_most(2.0))


def check_store(store: Any, backend: str, *, on_hub: bool, probe: Probe) -> Check[None]:
    """Do the same with a store that is there."""
    if backend == "memory":
        yield found("store", "store_memory")
        return
    try:
        run(_try_out(store), probe.at_most(_WORK))
        yield found("store", "store", backend=backend)
        yield from _check_encryption(store, on_hub=on_hub)
        if backend == "redis":
            allowed = run(_reads_others(store), probe.at_most(_WORK))
            wide = "redis_acl.wide_on_hub" if on_hub else "redis_acl.wide"
            yield found("store", wide if allowed else "redis_acl")
    except AuthenticationError as error:
        yield found_error("store", error, backend)


async def _try_out(store: TokenStore) -> None:
    """Save, load and delete under a name that is used for nothing else.

    Raises:
        TokenStoreError: Any of that did not work.
    """
    from ..tokens import OAuthTokenSet

    key, value = f"pywry-auth-doctor-{secrets.token_hex(8)}", secrets.token_hex(8)
    try:
        await store.save(key, OAuthTokenSet(value))
        loaded = await store.load(key)
    finally:
        await store.delete(key)
    if loaded is None or loaded.access_token != value:
        raise TokenStoreError("The token store does not give back what it was given.")


def _check_encryption(store: Any, *, on_hub: bool) -> Iterator[Finding]:
    if store.encrypts:
        yield found("store", "store_encrypted")
    elif store.kind != "keyring":  # which encrypts by itself
        yield found("store", "store_plain.on_hub" if on_hub and store.kind == "redis" else "store_plain")


# -- Redis ------------------------------------------------------------------------------------------------------------


async def _reads_others(store: RedisTokenStore) -> bool:
    """Whether this user may read what belongs to others: a neighbour's keys, or any key at all."""
    neighbour = store.prefix.rpartition(":")[0] or store.prefix
    name = secrets.token_hex(8)
    names = (f"{neighbour}:{name}:oauth:tokens:doctor", f"{name}:oauth:tokens:doctor")
    return any([await store.may_read(name) for name in names])


def _is_private(url: str) -> bool:
    """Whether the connection cannot be listened to: TLS, a socket, or this machine."""
    return urlsplit(url).scheme.startswith(("rediss", "unix")) or all(map(is_loopback, _hosts(url)))


def _hosts(url: str) -> list[str]:
    """Return the hosts of a Redis URL that a store has accepted: nothing of its user and password."""
    servers = urlsplit(url).netloc.rpartition("@")[2].split(",")
    return [urlsplit(f"//{server}").hostname or "" for server in servers]
