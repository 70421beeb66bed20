"""Trino: authentication for its Python client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .needs import need, shown

if TYPE_CHECKING:
    from ..handle import TokenHandle
    from ..session import SessionManager


def as_trino_auth(session: SessionManager | TokenHandle) -> Any:
    """Return a ``trino.auth.Authentication``: ``trino.dbapi.connect(…, auth=…)``, by the rules of ``session.auth``.

    Raises:
        ConfigurationError: ``trino`` is not installed.
    """
    base = need("trino.auth", "trino").Authentication

    class SessionAuthentication(base):  # type: ignore[misc,valid-type]
        """Has the requests of a query carry the session's token."""

        def set_http_session(self, http_session: Any) -> Any:
            """Prepare the client's session of requests."""
            http_session.auth = session.auth
            return http_session

        def __repr__(self) -> str:
            return shown("Trino auth", session)

    return SessionAuthentication()
