"""Google Cloud: credentials of google-auth."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from ..auth import renew
from .needs import need, shown

if TYPE_CHECKING:
    from ..handle import TokenHandle
    from ..session import SessionManager


def as_google_credentials(session: SessionManager | TokenHandle) -> Any:
    """Return ``google.auth.credentials.Credentials`` for the clients of Google Cloud, kept fresh by ``session``.

    Raises:
        ConfigurationError: ``google-auth`` is not installed.
    """
    base = need("google.auth.credentials", "google").Credentials

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
            return shown("Google credentials", session)

        def __reduce__(self) -> Any:
            """Pickle credentials of a handle; a session says that it cannot be sent."""
            return as_google_credentials, (session,)

    return SessionCredentials()
