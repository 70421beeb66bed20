"""What the adapters share: the library of each, tokens with their expiry, and how an adapter is shown."""

from __future__ import annotations

import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from ..handle import TokenHandle
    from ..session import SessionManager

_PACKAGES = {  # by the names of our extras, if they differ
    "azure": "azure-core",
    "databricks": "databricks-sdk",
    "flight": "pyarrow",
    "fsspec": "aiohttp",
    "google": "google-auth",
    "grpc": "grpcio",
    "iceberg": "pyiceberg",
}
_UNKNOWN_LIFETIME = 300.0  # seconds after which a library asks again for a token without an expiry


def need(module: str, extra: str) -> Any:
    """Return a module of an optional package.

    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        return import_module(module)
    except ImportError:
        package = _PACKAGES.get(extra, extra)
        raise ConfigurationError(f"{package} is not installed: pip install 'pywry-auth-nb[{extra}]'") from None


def token_and_expiry(session: SessionManager | TokenHandle) -> tuple[str, int]:
    """Return the token and its expiry in epoch seconds, which may be too early but is never too late."""
    session.access_token  # noqa: B018 - renews it if necessary
    expiry = session.expires_at  # read before the token, which may be renewed in between
    return session.access_token, int(expiry or time.time() + _UNKNOWN_LIFETIME)


def shown(what: str, session: SessionManager | TokenHandle) -> str:
    """Return the repr of an adapter, another one for each session: fsspec caches file systems by it."""
    return f"<{what} of {session!r}, {id(session):#x}>"
