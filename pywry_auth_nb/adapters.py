"""A session as the credentials of other libraries. Each wants its own package, and nothing else here does."""

from __future__ import annotations

import threading
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

        def __init__(self) -> None:
            super().__init__()
            self._sent = threading.local()

        @property
        def token(self) -> str:
            """The session's token, valid now."""
            token: str = session.access_token
            self._sent.token = token
            return token

        @token.setter
        def token(self, value: Any) -> None:
            """Take no notice: the base class sets it to None to begin with."""

        def refresh(self, request: Any) -> None:  # noqa: ARG002 - the session has a way of its own
            """Renew the token that a server refused (401)."""
            renew(session, self._sent.token)

        def before_request(self, request: Any, method: str, url: str, headers: Any) -> None:
            """Sign a request, if the token may go there."""
            session.auth.check(url)
            super().before_request(request, method, url, headers)

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
            return core.AccessToken(*_token_and_end(session))

        def get_token_info(self, *scopes: str, options: Any = None) -> Any:  # noqa: ARG002 - decided at the sign-in
            """Return a token that is valid now, in the newer form."""
            return SilentTokenInfo(*_token_and_end(session))

        def __repr__(self) -> str:
            return f"<Azure credential of {session!r}>"

    return SessionCredential()


def _token_and_end(session: SessionManager) -> tuple[str, int]:
    """Return the token and the epoch second of its end; rather an end that is too early than one that is too late."""
    session.access_token  # noqa: B018 - renews it where that is due
    end = session.expires_at
    return session.access_token, int(end or time.time() + _UNKNOWN_LIFETIME)


def _need(module: str, extra: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        package = {"google": "google-auth", "azure": "azure-core"}[extra]
        raise ConfigurationError(f"{package} is not installed: pip install 'pywry-auth-nb[{extra}]'") from None
