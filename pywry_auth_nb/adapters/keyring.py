"""A backend of keyring, by which pip and uv sign in at a private index. An entry point names it; nothing imports it.

It has an answer for the origins in ``PYWRY_OAUTH2__ALLOWED_ORIGINS`` alone, and without that variable it is none of the
backends that keyring chooses from. So the token stores of this package, which use keyring, are never answered by it.
"""

from __future__ import annotations

import logging
import os
import threading

from keyring.backend import KeyringBackend
from keyring.compat import properties
from keyring.credentials import SimpleCredential
from keyring.errors import NoKeyringError

from .._io.urls import is_safe, origin
from .._io.values import read_list
from ..errors import AuthenticationError

_ORIGINS = "PYWRY_OAUTH2__ALLOWED_ORIGINS"
_USERNAME = "oauth2"  # as for Git

log = logging.getLogger("pywry_auth_nb")
_asking = threading.Lock()  # the session that answers may look into the keyring, too


class _NothingKeptError(NoKeyringError, NotImplementedError):
    """Has a chain of backends go on to the next one, and means the same as no keyring where there is no next one."""


class IndexKeyring(KeyringBackend):
    """Answers with the access token of the session that the settings describe."""

    @properties.classproperty
    def priority(cls) -> float:  # noqa: N805 - keyring's way to write it
        """Come before the system's keyring, which may be locked, and only where origins are named."""
        if not os.environ.get(_ORIGINS):
            raise RuntimeError(f"{_ORIGINS} is not set")
        return 9

    def get_password(self, service: str, username: str) -> str | None:  # noqa: ARG002 - any name will do
        """Return the token for an index's address or host, or None."""
        if not _is_allowed(service) or not _asking.acquire(blocking=False):
            return None
        try:
            return _token()
        finally:
            _asking.release()

    def get_credential(self, service: str, username: str | None) -> SimpleCredential | None:
        """Return user name and token for an index's address or host, or None."""
        name = username or _USERNAME
        token = self.get_password(service, name)
        return None if token is None else SimpleCredential(name, token)

    def set_password(self, service: str, username: str, password: str) -> None:  # noqa: ARG002
        """Leave it to the next backend."""
        raise _NothingKeptError

    def delete_password(self, service: str, username: str) -> None:  # noqa: ARG002
        """Leave it to the next backend."""
        raise _NothingKeptError


def _is_allowed(service: str) -> bool:
    """Whether an address, or the host of one over https, belongs to an origin in the setting."""
    url = service if "://" in service else f"https://{service}"
    try:
        return is_safe(url) and origin(url) in map(origin, read_list(os.environ.get(_ORIGINS, "")))
    except ValueError:
        return False


def _token() -> str | None:
    from ..session import SessionManager

    try:
        return str(SessionManager.from_settings().access_token)
    except AuthenticationError as error:
        log.warning("No token for the package index: %s", error)
        return None
