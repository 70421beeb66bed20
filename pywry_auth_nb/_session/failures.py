"""The errors of a session, and their classification."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import LoginRequired, TokenError, TokenExchangeError, TokenRefreshError, TokenStoreError
from ..providers.refusals import REFUSALS, as_refresh_error

if TYPE_CHECKING:
    from ..errors import AuthenticationError


def is_final(error: TokenRefreshError) -> bool:
    """Whether the sign-in has ended: the provider refused to renew it, or its tokens are another user's."""
    return error.code in {"invalid_grant", "identity_changed", "id_token_iss"}


def is_refusal(error: TokenRefreshError) -> bool:
    """Whether the provider refused the refresh, which it may also do for a while. An exchange continues no sign-in."""
    return error.code in REFUSALS and not isinstance(error, TokenExchangeError)


def is_store_error(error: TokenRefreshError) -> bool:
    """Whether the store or another kernel caused the failure, not the provider."""
    return error.code.startswith("store_") or error.code == "refresh_busy"


def not_stored(error: TokenStoreError) -> TokenStoreError:
    """Return the error for new tokens that are only in this kernel's memory, with the store's own reason."""
    return TokenStoreError(
        f"You are signed in, but a restarted kernel will ask again. {error.message}", code=error.code
    )


def sign_in_ended() -> TokenRefreshError:
    """Return the error for a sign-in that has ended in another kernel."""
    return TokenRefreshError("This sign-in has ended. Sign in again.", code="invalid_grant")


def another_user() -> TokenError:
    """Return the error for a sign-in that has ended because another user signed in under the same key."""
    return TokenError(
        "Another user has signed in to this session elsewhere, so it has ended here. Sign in again; to use both "
        "accounts, give each session its own session_key.",
        code="identity_changed",
    )


def login_required_error(error: AuthenticationError | None = None) -> LoginRequired:
    """Return the error for a session that is not signed in; ``error`` is why, if it is known."""
    if error is not None and error.code == "identity_changed":
        return LoginRequired(error.message, code=error.code)
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
