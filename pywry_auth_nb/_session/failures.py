"""What went wrong with a session, as errors of ours; and which kind of thing that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import LoginRequired, TokenError, TokenRefreshError, TokenStoreError
from ..providers.base import as_refresh_error

if TYPE_CHECKING:
    from ..errors import AuthenticationError


def is_final(error: TokenRefreshError) -> bool:
    """Whether waiting cannot help: the provider refuses, or what it gave must not be trusted."""
    return error.code in {"invalid_grant", "identity_changed"} or error.code.startswith("id_token_")


def is_store_error(error: TokenRefreshError) -> bool:
    """Whether the store or another kernel, and not the provider, was in the way."""
    return error.code.startswith("store_") or error.code == "refresh_busy"


def not_stored(error: TokenStoreError) -> TokenStoreError:
    """Return what to tell the user when new tokens are in this kernel's memory alone."""
    return TokenStoreError(
        "You are signed in, but the tokens could not be stored: a restarted kernel will ask again.", code=error.code
    )


def sign_in_ended() -> TokenRefreshError:
    """Return the error for a sign-in that another kernel found to have ended."""
    return TokenRefreshError("This sign-in has ended. Sign in again.", code="invalid_grant")


def login_required_error(error: AuthenticationError | None = None) -> LoginRequired:
    """Return the error for a session that is not signed in, perhaps because of an ``error`` of the store."""
    if isinstance(error, TokenStoreError):
        return LoginRequired(f"The stored sign-in could not be read, so the session is signed out. {error.message}")
    return LoginRequired()


def refresh_error(failure: Exception) -> TokenRefreshError:
    """Return any failure of a refresh as one of ours. Of a foreign error only the type: its text may hold secrets."""
    if isinstance(failure, TokenRefreshError):
        return failure
    if isinstance(failure, TokenError):
        return as_refresh_error(failure)
    if isinstance(failure, TokenStoreError):
        return TokenRefreshError(f"The token cannot be renewed safely now. {failure.message}", code=failure.code)
    if isinstance(failure, LoginRequired):
        return TokenRefreshError(failure.message, code=failure.code)
    return TokenRefreshError(f"The refresh failed ({type(failure).__name__}). Try again.", code="internal")
