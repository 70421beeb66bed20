"""Iceberg: an auth manager for PyIceberg's REST catalogs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..tokens import bearer
from .needs import need, shown

if TYPE_CHECKING:
    from ..handle import TokenHandle
    from ..session import SessionManager


def as_iceberg_auth(session: SessionManager | TokenHandle) -> dict[str, Any]:
    """Return the ``auth`` of a REST catalog: ``load_catalog("lake", uri="https://…", type="rest", auth=…)``.

    PyIceberg does not tell it where a request goes: to the catalog's ``uri``, and to the signer that the catalog names.

    Raises:
        ConfigurationError: ``pyiceberg`` is not installed.
    """
    need("pyiceberg.catalog.rest.auth", "iceberg")
    return {"type": "custom", "impl": f"{__name__}.{auth_manager.__name__}", "custom": {"session": session}}


def auth_manager(session: SessionManager | TokenHandle) -> Any:
    """Return an ``AuthManager``; PyIceberg calls this by its name."""
    base = need("pyiceberg.catalog.rest.auth", "iceberg").AuthManager

    class SessionAuthManager(base):  # type: ignore[misc,valid-type]
        """Authorizes each request with the session's token."""

        def auth_header(self) -> str:
            """Return the header's value."""
            return bearer(session.access_token)

        def __repr__(self) -> str:
            return shown("Iceberg auth", session)

    return SessionAuthManager()
