"""Databricks: a credentials strategy of its SDK, and a credentials provider of its SQL connector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .needs import need, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..handle import TokenHandle
    from ..session import SessionManager


def as_databricks_credentials(session: SessionManager | TokenHandle) -> Any:
    """Return a ``CredentialsStrategy``: ``WorkspaceClient(host=…, credentials_strategy=…)``.

    It is the ``credentials_provider`` of ``databricks.sql.connect`` as well.

    Raises:
        ConfigurationError: ``databricks-sdk`` is not installed.
    """
    base = need("databricks.sdk.credentials_provider", "databricks").CredentialsStrategy

    class SessionStrategy(base):  # type: ignore[misc,valid-type]
        """Adds the session's token to each request."""

        def auth_type(self) -> str:
            """Return the name that the SDK shows."""
            return "pywry-auth"

        def __call__(self, cfg: Any = None) -> Callable[[], dict[str, str]]:
            """Return what makes the headers of a request; the SQL connector has no ``cfg``."""
            if cfg is not None:
                session.auth.check(cfg.host)
            return lambda: session.headers

        def __repr__(self) -> str:
            return shown("Databricks credentials", session)

    return SessionStrategy()
