"""The authorization request and response (RFC 6749 §4.1.1, §4.1.2), as values and pure checks."""

from __future__ import annotations

import asyncio
import concurrent.futures
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, NoReturn

from .._io.http import is_safe
from .._wire.error_codes import is_known
from ..errors import AuthenticationError, AuthFlowCancelled, TokenError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._wire.error_codes import ErrorCode
    from ..pkce import PKCEChallenge
    from ..tokens import OAuthTokenSet

_MAX_CODE = 4096

#: Authorization errors (RFC 6749 §4.1.2.1, OIDC Core §3.1.2.6) that have an error code here.
ERRORS: frozenset[ErrorCode] = frozenset(
    {"invalid_scope", "unauthorized_client", "invalid_request", "server_error", "temporarily_unavailable"}
)


class AuthFlowState(str, Enum):
    """The state of a sign-in."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"
    TIMED_OUT = "timed_out"


@dataclass(frozen=True, repr=False)
class AuthFlowResult:
    """The result of a sign-in.

    Attributes:
        success: Whether the user is signed in.
        tokens: The tokens, or None.
        error: What went wrong, in a sentence, or None.
        user_info: Claims about the user, or None.
    """

    success: bool
    tokens: OAuthTokenSet | None = None
    error: str | None = None
    user_info: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return f"<AuthFlowResult {'signed in' if self.success else self.error}>"


@dataclass(frozen=True, repr=False)
class AuthorizationRequest:
    """An open sign-in: the URL to open in a browser, and a future of the result.

    Attributes:
        url: The authorize URL. It contains secrets of this sign-in: show it only to the user who signs in.
        state: Identifies the sign-in; the provider returns it with the answer.
        outcome: Done when the sign-in has ended; has its result or its :class:`AuthenticationError`.
    """

    url: str
    state: str
    outcome: concurrent.futures.Future[AuthFlowResult]


@dataclass(repr=False)
class Pending:
    """An open sign-in: what its answer is checked against, and the future of its result."""

    redirect_uri: str
    pkce: PKCEChallenge | None
    nonce: str | None
    outcome: concurrent.futures.Future[AuthFlowResult] = field(default_factory=concurrent.futures.Future)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    timer: asyncio.TimerHandle | None = None

    def __post_init__(self) -> None:
        self.outcome.set_running_or_notify_cancel()  # a waiter that gives up must not cancel it

    @property
    def verifier(self) -> str | None:
        return self.pkce.verifier if self.pkce else None

    def settle(self, how: AuthFlowResult | AuthenticationError) -> None:
        """Set the outcome. Called once."""
        if self.timer is not None:
            self.timer.cancel()
        if isinstance(how, AuthFlowResult):
            self.outcome.set_result(how)
        else:
            self.outcome.set_exception(how)
        self.closed.set()


def code_in(params: Mapping[str, str]) -> str:
    """Return the authorization code of a valid response (RFC 6749 §4.1.2, RFC 9207 §2.4, RFC 9700 §2.1.2)."""
    if any(name in params for name in ("response", "access_token", "id_token")):
        _invalid("it has parts that were not asked for")
    code, error = params.get("code", ""), params.get("error")
    if error is not None and code:
        _invalid("it is a success and an error at once")
    if error == "access_denied":
        raise AuthFlowCancelled(code="access_denied")
    if error is not None:
        raise AuthenticationError(code=error if is_known(error) and error in ERRORS else "provider_error")
    if not code or len(code) > _MAX_CODE:
        _invalid("it has no usable code")
    return code


def check_redirect_uri(redirect_uri: str) -> None:
    """Require https, or http to this machine, so that no code is sent in the clear (RFC 9700 §2.1)."""
    if not is_safe(redirect_uri):
        raise AuthenticationError(code="insecure_redirect_uri")


def _invalid(why: str) -> NoReturn:
    raise TokenError(code="invalid_response", reason=why)
