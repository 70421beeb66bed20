"""The authorization request and response (RFC 6749 §4.1.1, §4.1.2), as values and pure checks."""

from __future__ import annotations

import asyncio
import concurrent.futures
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, NoReturn

from .._io.urls import is_safe
from .._wire.error_codes import is_known
from .._wire.protocol import MAX_QUERY
from ..errors import AuthenticationError, AuthFlowCancelled, ConfigurationError, TokenError
from ..providers.description import plain_text, words_in

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

    from .._session.persons import Person
    from .._wire.error_codes import ErrorCode
    from ..pkce import PKCEChallenge
    from ..providers.device import DeviceCode
    from ..tokens import OAuthTokenSet

#: Authorization errors (RFC 6749 §4.1.2.1, OIDC Core §3.1.2.6) that have an error code here.
ERRORS: frozenset[ErrorCode] = frozenset({
    "access_denied", "account_selection_required", "consent_required", "interaction_required", "invalid_request",
    "invalid_scope", "login_required", "server_error", "temporarily_unavailable", "unauthorized_client",
})  # fmt: skip
_DECLINED = ("access_denied", "consent_required")
_ASK = "The provider needs you to sign in there, and was not allowed to ask. Sign in again without prompt=none."


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

    def __await__(self) -> Generator[None, None, AuthFlowResult]:
        """Return the result itself: ``await session.login()`` works as ``session.login()`` does."""
        yield from ()
        return self

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


@dataclass(frozen=True, repr=False)
class DeviceRequest:
    """An open sign-in with a device code (RFC 8628): what the user must enter, and a future of the result.

    Attributes:
        code: What the user enters, and where. Show it only to the user who signs in.
        state: Identifies the sign-in here; it is sent to no other program.
        outcome: Done when the sign-in has ended; has its result or its :class:`AuthenticationError`.
    """

    code: DeviceCode
    state: str
    outcome: concurrent.futures.Future[AuthFlowResult]


@dataclass(repr=False)
class Pending:
    """An open sign-in: what its answer is checked against, and the future of its result.

    Attributes:
        redirect_uri: Where the answer arrives; empty for a device code, whose tokens are polled for.
        pkce: The code verifier, and its challenge.
        nonce: What the ID token must repeat.
        asked: Parameters of the authorize URL beyond the provider's own.
        person: Who must sign in; None for any user.
        outcome: The future of the result.
        closed: Set when the sign-in has ended.
        timer: Ends the sign-in when its time is up.
        polling: Polls for the tokens of a device code.
    """

    redirect_uri: str
    pkce: PKCEChallenge | None
    nonce: str | None
    asked: Mapping[str, str] = field(default_factory=dict)
    person: Person | None = None
    switches: bool = False  # to another account
    outcome: concurrent.futures.Future[AuthFlowResult] = field(default_factory=concurrent.futures.Future)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    timer: asyncio.TimerHandle | None = None
    polling: asyncio.Task[AuthFlowResult] | None = None

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


def code_in(params: Mapping[str, str], secrets: Iterable[str] = ()) -> str:
    """Return the authorization code of a valid response (RFC 6749 §4.1.2, RFC 9207 §2.4, RFC 9700 §2.1.2).

    Args:
        params: The parameters of the response.
        secrets: What must not be shown, although the provider may quote it.

    Raises:
        TokenError: Code ``invalid_response``.
        AuthenticationError: The provider refused the sign-in, or the user declined; see :func:`refusal`.
    """
    if any(name in params for name in ("response", "access_token", "id_token")):
        _invalid("it has parts that were not asked for")
    code, error = params.get("code", ""), params.get("error", "")
    if error and code:
        _invalid("it is a success and an error at once")
    if error:
        raise refusal(error, plain_text(words_in(dict(params)), secrets))
    if not code or len(code) > MAX_QUERY:
        _invalid("it has no usable code")
    return code


def refusal(error: str, description: str) -> AuthenticationError:
    """Return the error for an authorization error (RFC 6749 §4.1.2.1, OIDC Core §3.1.2.6)."""
    code: ErrorCode = error if is_known(error) and error in ERRORS else "provider_error"
    kind = AuthFlowCancelled if code in _DECLINED else AuthenticationError
    return kind(_ASK if code == "login_required" else None, code=code, description=description)


def check_redirect_uri(redirect_uri: str) -> None:
    """Require https, or http to this machine, so that no code is sent in the clear (RFC 9700 §2.1)."""
    if not is_safe(redirect_uri):
        raise AuthenticationError(code="insecure_redirect_uri")


def check_max_age(max_age: int | None) -> str:
    """Return the parameter ``max_age`` (OIDC Core §3.1.2.1); empty for None.

    Raises:
        ConfigurationError: It is not a whole number of seconds.
    """
    if max_age is None:
        return ""
    if isinstance(max_age, bool) or not isinstance(max_age, int) or max_age < 0:
        raise ConfigurationError("max_age must be a whole number of seconds, such as 300.")
    return str(max_age)


def _invalid(why: str) -> NoReturn:
    raise TokenError(code="invalid_response", reason=why)
