"""What a token endpoint means by a response without tokens: it may pass, or it is a refusal (RFC 6749 §5.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._wire.error_codes import is_known
from ..errors import TokenError, TokenRefreshError

if TYPE_CHECKING:
    from .._io.answers import Answer
    from .._wire.error_codes import ErrorCode

#: OAuth errors (RFC 6749 §5.2, RFC 8707 §2) of the client's registration, which no retry and no new sign-in can fix.
_MISCONFIGURED: frozenset[ErrorCode] = frozenset({
    "invalid_client", "invalid_request", "invalid_scope", "invalid_target", "unauthorized_client",
    "unsupported_grant_type",
})  # fmt: skip
#: Error codes of this package for the same.
_OWN_CODES: frozenset[ErrorCode] = frozenset({
    "client_auth_unsupported", "client_secret_missing", "client_secret_unwanted", "exchange_refused",
    "redirect_uri_mismatch", "registered_as_spa", "tenant_mismatch",
})  # fmt: skip
#: Codes after which a retry cannot help until the registration, or the settings here, have been changed.
REGISTRATION_ERRORS = _MISCONFIGURED | _OWN_CODES
#: Those about how the client identifies itself: the refresh token may be good, and a new sign-in would fail as well.
_OF_THE_CLIENT: frozenset[ErrorCode] = frozenset(
    {"invalid_client", "client_auth_unsupported", "client_secret_missing", "client_secret_unwanted"}
)
#: Codes that a provider may also mean as "this refresh token is no longer valid": where a refresh is refused again
#: when the access token is over, a new sign-in is needed.
REFUSALS = REGISTRATION_ERRORS - _OF_THE_CLIENT | {"token_refused"}

_PASSING_ERRORS = ("server_error", "temporarily_unavailable")  # RFC 6749 §4.1.2.1
_PASSING_STATUSES = (408, 429)
_CLIENT_ERROR, _SERVER_ERROR = 400, 500


def refusal(answer: Answer, error: Any, *, refreshing: bool) -> TokenError:
    """Return the error for a refusal, in whatever words the provider has.

    The sign-in that a refresh continues was understood: an ``invalid_request`` is then about the refresh token.
    """
    known = is_known(error) and (error == "invalid_grant" or error in _MISCONFIGURED)
    if known and not (refreshing and error == "invalid_request"):
        return TokenError(code=error)
    return TokenError(code="token_refused", status=answer.status, retry_after=answer.retry_after)


def is_passing(answer: Answer, error: Any) -> bool:
    """Whether a response without tokens is not a refusal: the same request may succeed later."""
    if answer.status in _PASSING_STATUSES or answer.status >= _SERVER_ERROR or error in _PASSING_ERRORS:
        return True
    return error is None and answer.status < _CLIENT_ERROR


def unavailable(answer: Answer) -> TokenError:
    """Return the error for a failure that passes."""
    return TokenError(code="provider_unavailable", status=answer.status, retry_after=answer.retry_after)


def as_refresh_error(error: TokenError) -> TokenRefreshError:
    """Return ``error`` as the failure of a refresh, with the same code."""
    if isinstance(error, TokenRefreshError):
        return error
    return TokenRefreshError(
        error.message,
        code=error.code,
        description=error.description,
        retry_after=error.retry_after,
        **error.context,
    )
