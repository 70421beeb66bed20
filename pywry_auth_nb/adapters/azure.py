"""Azure: a credential of azure-core."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .needs import need, shown, token_and_expiry

if TYPE_CHECKING:
    from ..handle import TokenHandle
    from ..session import SessionManager


def as_azure_credential(session: SessionManager | TokenHandle) -> Any:
    """Return a ``TokenCredential`` for the clients of the Azure SDK, kept fresh by ``session``.

    The token has the scopes of the sign-in: sign in with the scope of the service, such as
    ``https://management.azure.com/user_impersonation``.

    Raises:
        ConfigurationError: ``azure-core`` is not installed.
    """
    core = need("azure.core.credentials", "azure")

    class SilentTokenInfo(core.AccessTokenInfo):  # type: ignore[misc,name-defined]
        """An ``AccessTokenInfo`` whose repr does not contain the token."""

        def __repr__(self) -> str:
            return f"<AccessTokenInfo ***, expires_on={self.expires_on}>"

    class SessionCredential:
        """A ``TokenCredential`` and ``SupportsTokenInfo`` of azure-core."""

        def get_token(self, *scopes: str, **options: Any) -> Any:  # noqa: ARG002 - set at the sign-in
            """Return a valid token."""
            return core.AccessToken(*token_and_expiry(session))

        def get_token_info(self, *scopes: str, options: Any = None) -> Any:  # noqa: ARG002 - set at the sign-in
            """Return a valid token as ``AccessTokenInfo``."""
            return SilentTokenInfo(*token_and_expiry(session))

        def __repr__(self) -> str:
            return shown("Azure credential", session)

        def __reduce__(self) -> Any:
            """Pickle a credential of a handle; a session says that it cannot be sent."""
            return as_azure_credential, (session,)

    return SessionCredential()
