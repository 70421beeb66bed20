"""Credentials for other libraries, backed by a session. Each needs an optional package."""

from __future__ import annotations

import threading
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .auth import renew
from .auth.with_urllib3 import pool_manager
from .errors import ConfigurationError

if TYPE_CHECKING:
    from .handle import TokenHandle
    from .session import SessionManager

_PACKAGES = {"google": "google-auth", "azure": "azure-core"}  # by the names of our extras, if they differ
_UNKNOWN_LIFETIME = 300.0  # seconds after which a library asks again for a token without an expiry


def as_google_credentials(session: SessionManager | TokenHandle) -> Any:
    """Return ``google.auth.credentials.Credentials`` for the clients of Google Cloud, kept fresh by ``session``.

    Raises:
        ConfigurationError: ``google-auth`` is not installed.
    """
    base = _need("google.auth.credentials", "google").Credentials

    class SessionCredentials(base):  # type: ignore[misc,valid-type]
        """Credentials without an expiry of their own: the session decides when to renew."""

        def __init__(self) -> None:
            super().__init__()
            self._sent = threading.local()

        @property
        def token(self) -> str:
            """A valid access token of the session."""
            token: str = session.access_token
            self._sent.token = token
            return token

        @token.setter
        def token(self, value: Any) -> None:
            """Ignore the None that the base class assigns at first."""

        def refresh(self, request: Any) -> None:  # noqa: ARG002 - the session has its own transport
            """Renew the token after a server refused it (401)."""
            renew(session, self._sent.token)  # type: ignore[arg-type]

        def before_request(self, request: Any, method: str, url: str, headers: Any) -> None:
            """Add the token to a request, if it may be sent to ``url``."""
            session.auth.check(url)
            super().before_request(request, method, url, headers)

        def __repr__(self) -> str:
            return f"<Google credentials of {session!r}>"

        def __reduce__(self) -> Any:
            """Pickle credentials of a handle; a session says that it cannot be sent."""
            return as_google_credentials, (session,)

    return SessionCredentials()


def as_azure_credential(session: SessionManager | TokenHandle) -> Any:
    """Return a ``TokenCredential`` for the clients of the Azure SDK, kept fresh by ``session``.

    The token has the scopes of the sign-in: sign in with the scope of the service, such as
    ``https://management.azure.com/user_impersonation``.

    Raises:
        ConfigurationError: ``azure-core`` is not installed.
    """
    core = _need("azure.core.credentials", "azure")

    class SilentTokenInfo(core.AccessTokenInfo):  # type: ignore[misc,name-defined]
        """An ``AccessTokenInfo`` whose repr does not contain the token."""

        def __repr__(self) -> str:
            return f"<AccessTokenInfo ***, expires_on={self.expires_on}>"

    class SessionCredential:
        """A ``TokenCredential`` and ``SupportsTokenInfo`` of azure-core."""

        def get_token(self, *scopes: str, **options: Any) -> Any:  # noqa: ARG002 - set at the sign-in
            """Return a valid token."""
            return core.AccessToken(*_token_and_expiry(session))

        def get_token_info(self, *scopes: str, options: Any = None) -> Any:  # noqa: ARG002 - set at the sign-in
            """Return a valid token as ``AccessTokenInfo``."""
            return SilentTokenInfo(*_token_and_expiry(session))

        def __repr__(self) -> str:
            return f"<Azure credential of {session!r}>"

        def __reduce__(self) -> Any:
            """Pickle a credential of a handle; a session says that it cannot be sent."""
            return as_azure_credential, (session,)

    return SessionCredential()


def as_urllib3_pool(session: SessionManager | TokenHandle, **options: Any) -> Any:
    """Return a ``urllib3.PoolManager`` that adds the token to its requests, by the rules of ``session.auth``.

    Args:
        session: The session whose token to send.
        options: Arguments of ``urllib3.PoolManager``.

    Raises:
        ConfigurationError: ``urllib3`` is not installed.
    """
    urllib3 = _need("urllib3", "urllib3")
    return pool_manager(urllib3, session.auth.attempt, f"<urllib3 pool of {session!r}>", **options)


def _token_and_expiry(session: SessionManager | TokenHandle) -> tuple[str, int]:
    """Return the token and its expiry in epoch seconds, which may be too early but is never too late."""
    session.access_token  # noqa: B018 - renews it if necessary
    expiry = session.expires_at  # read before the token, which may be renewed in between
    return session.access_token, int(expiry or time.time() + _UNKNOWN_LIFETIME)


def _need(module: str, extra: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        package = _PACKAGES.get(extra, extra)
        raise ConfigurationError(f"{package} is not installed: pip install 'pywry-auth-nb[{extra}]'") from None
