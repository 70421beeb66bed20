"""The token store that the settings name: can it keep something, and can nobody else read it?"""

from __future__ import annotations

import secrets
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .._io.http import is_loopback
from .._io.loop import run
from ..errors import AuthenticationError, TokenStoreError
from .findings import Finding

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from ..settings import OAuth2Settings
    from ..token_store import RedisTokenStore, TokenStore
    from .http_probe import Asker

_WORK = 25.0  # seconds: three questions of a store, each of which has a deadline of its own
_BACKEND = "PYWRY_OAUTH2__TOKEN_STORE_BACKEND"
_OTHERS = f"Here, use a file ({_BACKEND}=file), or Redis where several machines share a sign-in."
_ADVICE = {
    "keyring": f"A server or a container has no keyring. {_OTHERS}",
    "file": "Check that the folder is yours alone, and that the disk is there, not full and not read-only.",
    "redis": "Check PYWRY_OAUTH2__REDIS_URL, and that Redis runs and is reached from here.",
}
_ADVICE_FOR = {
    "store_key": "Check PYWRY_AUTH_ENCRYPTION_KEY, or the file that PYWRY_AUTH_ENCRYPTION_KEY_FILE names.",
    "store_forbidden": "Check what this user may do; docs/token-stores.md says what is needed.",
    "configuration": "docs/token-stores.md says how to set it up.",
}
_finding = partial(Finding, "store")


def check(settings: OAuth2Settings, *, on_hub: bool, asker: Asker) -> Generator[Finding, None, None]:
    """Keep something in the store, read and remove it, and look at who else could read it."""
    backend = settings.token_store_backend
    if backend == "memory":
        yield _in_memory()
        return
    from ..token_store.factory import store_from_settings

    try:
        store = store_from_settings(settings)
        if backend == "redis":
            yield from _check_transport(settings.redis_url)
        run(_probe(store), asker.at_most(_WORK))
    except AuthenticationError as error:
        yield _failure(backend, error)
        return
    yield _finding("ok", "store", f"The token store ({backend}) keeps what it is given.")
    yield from _check_encryption(store, on_hub=on_hub)
    if backend == "redis":
        yield from _check_permissions(store, on_hub=on_hub, asker=asker)


def _in_memory() -> Finding:
    return _finding(
        "note",
        "store_memory",
        "Tokens are kept in memory: a sign-in ends with its kernel, and each notebook has its own.",
        f"To keep it: {_BACKEND}=keyring on a desktop, file on a server, or redis where several machines share it.",
    )


def _failure(backend: str, error: AuthenticationError) -> Finding:
    return _finding("error", error.code, error.message, _ADVICE_FOR.get(error.code, _ADVICE[backend]))


async def _probe(store: TokenStore) -> None:
    """Save, load and delete under a name that nothing else has.

    Raises:
        TokenStoreError: Any of that did not work.
    """
    from ..tokens import OAuthTokenSet

    key, value = f"pywry-auth-doctor-{secrets.token_hex(8)}", secrets.token_hex(8)
    try:
        await store.save(key, OAuthTokenSet(value))
        found = await store.load(key)
    finally:
        await store.delete(key)
    if found is None or found.access_token != value:
        raise TokenStoreError("The token store does not give back what it was given.")


def _check_encryption(store: Any, *, on_hub: bool) -> Iterator[Finding]:
    if store.encrypts:
        yield _finding("ok", "store_encrypted", "Stored tokens are encrypted.")
    elif store.kind != "keyring":  # which encrypts by itself
        yield _finding(
            "warning" if on_hub and store.kind == "redis" else "note",
            "store_plain",
            "Stored tokens are not encrypted: whoever reads the store, or its backups, can use them.",
            "Set PYWRY_AUTH_ENCRYPTION_KEY_FILE, or PYWRY_AUTH_ENCRYPTION_KEY; docs/token-stores.md says how to make a "
            "key.",
        )


# -- Redis ------------------------------------------------------------------------------------------------------------


def _check_transport(url: str) -> Iterator[Finding]:
    if url and not _is_private(url):
        yield _finding(
            "warning",
            "redis_plain",
            f"Redis at {', '.join(_hosts(url))} is spoken to in plain text, password and all.",
            "Let the URL begin with rediss:// (TLS).",
        )


def _check_permissions(store: Any, *, on_hub: bool, asker: Asker) -> Iterator[Finding]:
    try:
        allowed = run(_reads_others(store), asker.at_most(_WORK))
        run(store.close(), asker.at_most(2.0))
    except AuthenticationError as error:
        yield _failure("redis", error)
        return
    yield _permissions(allowed=allowed, on_hub=on_hub)


async def _reads_others(store: RedisTokenStore) -> bool:
    """Whether this user may read what belongs to others: a neighbour's keys, or any key at all."""
    neighbour = store.prefix.rpartition(":")[0] or store.prefix
    name = secrets.token_hex(8)
    names = (f"{neighbour}:{name}:oauth:tokens:doctor", f"{name}:oauth:tokens:doctor")
    return any([await store.may_read(name) for name in names])


def _permissions(*, allowed: bool, on_hub: bool) -> Finding:
    if not allowed:
        return _finding("ok", "redis_acl", "This user of Redis can read nobody else's tokens.")
    return _finding(
        "warning" if on_hub else "note",
        "redis_acl",
        "This user of Redis may read everybody's records.",
        "Where people share the server, give each a user and a prefix of their own: docs/token-stores.md and "
        "docs/jupyterhub.md.",
    )


def _is_private(url: str) -> bool:
    """Whether nobody can listen: TLS, a socket, or this machine."""
    return urlsplit(url).scheme.startswith(("rediss", "unix")) or all(map(is_loopback, _hosts(url)))


def _hosts(url: str) -> list[str]:
    """Return the hosts of a Redis URL, which a store has accepted: nothing of its user and password."""
    servers = urlsplit(url).netloc.rpartition("@")[2].split(",")
    return [urlsplit(f"//{server}").hostname or "" for server in servers]
