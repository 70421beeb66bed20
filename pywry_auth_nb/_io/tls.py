"""Whose certificates are trusted, and the TLS contexts that trust them: one for all connections of this process.

The first of these that is set decides alone, as in curl and requests: ``SSL_CERT_FILE``, ``SSL_CERT_DIR``,
``REQUESTS_CA_BUNDLE``, ``CURL_CA_BUNDLE``. Each may name a file of PEM certificates, or folders of them under the names
that ``openssl rehash`` gives. If none is set, the certificates of the system are trusted, and those of certifi.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..errors import NetworkSettingError
from . import fork
from .loop import on_daemon

if TYPE_CHECKING:
    from concurrent.futures import Future

VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_HASHED = re.compile(r"[0-9a-f]{8}\.\d+")  # how OpenSSL looks for a certificate in a folder


class Trust(NamedTuple):
    """What decides which certificates are trusted.

    Attributes:
        variable: The environment variable; empty for the system's certificates.
        path: Its value.
        version: Changes with the file, so that a corrected one is read again.
        identity: The files of our own certificate and its key; empty if we show none.
    """

    variable: str = ""
    path: str = ""
    version: int = 0
    identity: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.variable} ({self.path})" if self.variable else "this system and of certifi"


def trust() -> Trust:
    """Return whose certificates the environment says to trust. It looks at a file, which may be far away."""
    for name in VARIABLES:
        if path := os.environ.get(name):
            return Trust(name, path, _version(path))
    return Trust()


def trust_in_hub() -> Trust | None:
    """Return the same for the hub of this process if it has ``internal_ssl``; None otherwise."""
    names = ("JUPYTERHUB_SSL_CLIENT_CA", "JUPYTERHUB_SSL_CERTFILE", "JUPYTERHUB_SSL_KEYFILE")
    authority, *identity = (os.environ.get(name, "") for name in names)
    if not (authority and all(identity)):
        return None
    return Trust(names[0], authority, _version(authority), tuple(identity))


def _version(path: str) -> int:
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return 0


# -- contexts ---------------------------------------------------------------------------------------------------------

_contexts: dict[Trust, Future[ssl.SSLContext]] = {}


def _start_over() -> None:
    """Forget the contexts in a forked child, where one that a thread of the parent was making would never come."""
    _contexts.clear()


fork.in_child(_start_over)


async def context(trusted: Trust) -> ssl.SSLContext:
    """Return the TLS context for ``trusted``. It is made on a thread, since reading certificates takes 0.1 s and more.

    Raises:
        NetworkSettingError: A file is missing, unreadable or no PEM file.
    """
    future = _contexts.get(trusted) or _contexts.setdefault(trusted, on_daemon(_make, trusted))
    try:
        return await asyncio.shield(asyncio.wrap_future(future))
    finally:
        if future.done() and future.exception() is not None:
            _contexts.pop(trusted, None)


def _make(trusted: Trust) -> ssl.SSLContext:
    if not trusted.variable:
        return _of_system()
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a file may have an intermediate authority alone, as in curl
    _load(made, trusted)
    if trusted.identity:
        try:
            made.load_cert_chain(*trusted.identity)
        except OSError as error:
            names = "JUPYTERHUB_SSL_CERTFILE and JUPYTERHUB_SSL_KEYFILE"
            reason = type(error).__name__
            raise NetworkSettingError(f"The files that {names} name cannot be used ({reason}).") from None
    return made


def _of_system() -> ssl.SSLContext:
    import certifi
    import truststore

    made = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(certifi.where())
    if sys.platform in {"darwin", "win32"}:
        return made
    # Elsewhere OpenSSL verifies, and truststore would read the system's files for each connection. It has read them
    # into the context of any connection.
    return made.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="localhost").context


def _load(made: ssl.SSLContext, trusted: Trust) -> None:
    """Let a context trust the certificates in a file or in folders."""
    try:
        folders = [folder for folder in trusted.path.split(os.pathsep) if Path(folder).is_dir()]
        if not folders:
            made.load_verify_locations(cafile=trusted.path)
        elif any(_HASHED.fullmatch(name) for folder in folders for name in os.listdir(folder)):  # noqa: PTH208
            made.load_verify_locations(capath=os.pathsep.join(folders))
        else:
            raise _wrong(trusted, "is a folder without certificates under the names that `openssl rehash` gives")
    except OSError as error:
        raise _wrong(trusted, _reason(error)) from None


def _reason(error: OSError) -> str:
    """Return what is wrong with a file of certificates, without words of OpenSSL."""
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    return "is not a file of PEM certificates" if isinstance(error, ssl.SSLError) else "cannot be read"


def _wrong(trusted: Trust, what: str) -> NetworkSettingError:
    named = f"names {trusted.path}, which {what}" if trusted.path.isprintable() else "is not the path of a file"
    return NetworkSettingError(
        f"{trusted.variable} {named}. Correct or unset it: without it, the system's certificates are trusted."
    )
