"""A session as the credentials of other libraries. Each wants its own package, and nothing else here does."""

from __future__ import annotations

import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .auth import renew
from .errors import ConfigurationError

if TYPE_CHECKING:
    from .session import SessionManager

_UNKNOWN_LIFETIME = 300.0  # seconds after which a library asks again for a token whose end nobody knows


def as_google_credentials(session: SessionManager) -> Any:
    """Return ``google.auth.credentials.Credentials`` for the clients of Google Cloud, kept fresh by ``session``.

    Raises:
        ConfigurationError: ``google-auth`` is not installed.
    """
    base = _need("google.auth.credentials", "google").Credentials

    class SessionCredentials(base):  # type: ignore[misc,valid-type]
        """Credentials without an expiry of their own: the session knows better when to renew."""

        _handed_out = ""

        @property
        def token(self) -> str:
            """The session's token, valid now."""
            self._handed_out = session.access_token
            return self._handed_out

        @token.setter
        def token(self, value: Any) -> None:
            """Take no notice: the base class sets it to None to begin with."""

        def refresh(self, request: Any) -> None:  # noqa: ARG002 - the session has a way of its own
            """Renew the token that a server refused (401)."""
            renew(session, self._handed_out)

        def __repr__(self) -> str:
            return f"<Google credentials of {session!r}>"

    return SessionCredentials()


def as_azure_credential(session: SessionManager) -> Any:
    """Return a ``TokenCredential`` for the clients of the Azure SDK, kept fresh by ``session``.

    The session's scopes are those of its sign-in: sign in with the scope of the service, such as
    ``https://management.azure.com/user_impersonation``.

    Raises:
        ConfigurationError: ``azure-core`` is not installed.
    """
    core = _need("azure.core.credentials", "azure")

    class SilentTokenInfo(core.AccessTokenInfo):  # type: ignore[misc,name-defined]
        """What Azure's own class shows in full."""

        def __repr__(self) -> str:
            return f"<AccessTokenInfo ***, expires_on={self.expires_on}>"

    class SessionCredential:
        """A ``TokenCredential`` and ``SupportsTokenInfo`` of azure-core."""

        def get_token(self, *scopes: str, **options: Any) -> Any:  # noqa: ARG002 - decided at the sign-in
            """Return a token that is valid now."""
            return core.AccessToken(session.access_token, int(_expires_at(session)))

        def get_token_info(self, *scopes: str, options: Any = None) -> Any:  # noqa: ARG002 - decided at the sign-in
            """Return a token that is valid now, in the newer form."""
            return SilentTokenInfo(session.access_token, int(_expires_at(session)))

        def __repr__(self) -> str:
            return f"<Azure credential of {session!r}>"

    return SessionCredential()


def _expires_at(session: SessionManager) -> float:
    return session.expires_at or time.time() + _UNKNOWN_LIFETIME


def _need(module: str, extra: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        package = {"google": "google-auth", "azure": "azure-core"}[extra]
        raise ConfigurationError(f"{package} is not installed: pip install 'pywry-auth-nb[{extra}]'") from None
