"""The errors of a session, and their classification."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import LoginRequired, TokenError, TokenRefreshError, TokenStoreError
from ..providers.base import as_refresh_error

if TYPE_CHECKING:
    from ..errors import AuthenticationError


def is_final(error: TokenRefreshError) -> bool:
    """Whether trying again cannot help: the provider refused, or its tokens failed validation."""
    return error.code in {"invalid_grant", "identity_changed"} or error.code.startswith("id_token_")


def is_store_error(error: TokenRefreshError) -> bool:
    """Whether the store or another kernel caused the failure, not the provider."""
    return error.code.startswith("store_") or error.code == "refresh_busy"


def not_stored(error: TokenStoreError) -> TokenStoreError:
    """Return the error for new tokens that are only in this kernel's memory."""
    return TokenStoreError(
        "You are signed in, but the tokens could not be stored: a restarted kernel will ask again.", code=error.code
    )


def sign_in_ended() -> TokenRefreshError:
    """Return the error for a sign-in that has ended in another kernel."""
    return TokenRefreshError("This sign-in has ended. Sign in again.", code="invalid_grant")


def login_required_error(error: AuthenticationError | None = None) -> LoginRequired:
    """Return the error for a session that is not signed in; ``error`` is that of the store, if it failed."""
    if isinstance(error, TokenStoreError):
        return LoginRequired(f"The stored sign-in could not be read, so the session is signed out. {error.message}")
    return LoginRequired()


def refresh_error(failure: Exception) -> TokenRefreshError:
    """Convert any failure of a refresh. Of a foreign error only the type is kept: its text may contain secrets."""
    if isinstance(failure, TokenRefreshError):
        return failure
    if isinstance(failure, TokenError):
        return as_refresh_error(failure)
    if isinstance(failure, TokenStoreError):
        return TokenRefreshError(f"The token cannot be renewed safely now. {failure.message}", code=failure.code)
    if isinstance(failure, LoginRequired):
        return TokenRefreshError(failure.message, code=failure.code)
    return TokenRefreshError(f"The refresh failed ({type(failure).__name__}). Try again.", code="internal")
