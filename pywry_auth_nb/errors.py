"""The exceptions of this package.

::

    AuthenticationError              base class of all
    ├── AuthFlowCancelled            cancelled here, or declined at the provider
    ├── AuthFlowTimeout              the sign-in was not finished in time
    ├── LoginRequired                the session is not signed in, and this call does not ask the user
    ├── ConfigurationError           a setting is missing or wrong (also a ValueError)
    ├── TokenStoreError              tokens could not be saved, read or deleted
    └── TokenError                   a token could not be obtained, read or verified
        ├── NetworkSettingError      an environment variable for certificates or proxies is wrong (a ConfigurationError)
        ├── TokenExpiredError        the access token has expired and cannot be renewed
        ├── InsufficientScopeError   an API, or session.require(), needs scopes that were not granted
        ├── StepUpRequired           an API needs a newer or stronger sign-in
        └── TokenRefreshError        this refresh failed; the session may still be good
            └── TokenExchangeError   the provider gives no token for another audience; the sign-in is as it was

Every error has a ``code`` for programs to compare; it does not change with the wording. ``docs/error-codes.md`` lists
all codes, with what happened and what to do. Neither the code nor the message contains a token, an authorization code
or text from an identity provider, but for the name of an audience; the provider's own words are in ``description``.
"""

from __future__ import annotations

import functools
import os
import sys
import sysconfig
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from ._wire.error_codes import explain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from ._wire.error_codes import ErrorCode
    from .tokens import OAuthTokenSet

E = TypeVar("E", bound=BaseException)


class AuthenticationError(Exception):
    """The sign-in failed, or could not be kept alive.

    Args:
        message: One or two sentences for the user; the code's sentence and advice when left out.
        provider: Name of the provider.
        flow_id: Identifies the flow among several.
        code: Stable machine-readable code; the class's ``default_code`` when left out.
        description: What the provider says about the failure, as plain text of at most 200 characters without secrets.
            It is not part of the message: it is text from outside.
        context: Values for the placeholders of the code's sentence; the others are shown after the message.

    IPython shows the message, the description and the user's own lines in every traceback mode; :mod:`traceback` and
    :mod:`logging` show all frames, and no description.
    """

    default_code: ClassVar[ErrorCode] = "authentication_failed"

    def __init__(
        self,
        message: str | None = None,
        provider: str | None = None,
        flow_id: str | None = None,
        *,
        code: ErrorCode | None = None,
        description: str = "",
        **context: Any,
    ) -> None:
        self.code: ErrorCode = code or self.default_code
        self.description = description
        if message is None:
            entry = explain(self.code)
            message = entry.text(**context)
            context = {name: value for name, value in context.items() if name not in entry.placeholders}
        super().__init__(message)
        self.message = message
        known = {"provider": provider, "flow_id": flow_id}
        self.context = {name: value for name, value in known.items() if value is not None} | context

    def __str__(self) -> str:
        if not self.context:
            return self.message
        return f"{self.message} ({', '.join(f'{name}={value}' for name, value in self.context.items())})"

    def _render_traceback_(self) -> list[str]:
        """Return what IPython prints, as a single string: some of its modes join several without a line break."""
        said = [f"The provider says: {self.description}"] if self.description else []
        return ["\n".join([*_own_lines(self.__traceback__), f"{type(self).__name__} [{self.code}]: {self}", *said])]


class AuthFlowCancelled(AuthenticationError):  # noqa: N818 - the seed's name
    """The sign-in was cancelled here, or declined at the provider."""

    default_code: ClassVar[ErrorCode] = "flow_cancelled"


class AuthFlowTimeout(AuthenticationError):  # noqa: N818 - the seed's name
    """The sign-in was not finished within ``timeout`` seconds. With ``message`` None, the code's sentence is used."""

    default_code: ClassVar[ErrorCode] = "flow_timeout"

    def __init__(
        self,
        message: str | None,
        timeout: float,
        provider: str | None = None,
        flow_id: str | None = None,
        *,
        code: ErrorCode | None = None,
        **context: Any,
    ) -> None:
        known: dict[str, Any] = {"timeout": timeout} if message is None else {}
        super().__init__(message, provider, flow_id, code=code, **known, **context)
        self.timeout = timeout


class LoginRequired(AuthenticationError):  # noqa: N818 - says what the caller must do
    """The session is not signed in, and this call does not ask the user to sign in."""

    default_code: ClassVar[ErrorCode] = "login_required"


class ConfigurationError(AuthenticationError, ValueError):
    """A setting is missing, wrong, or contradicts another. Raised before the setting is used."""

    default_code: ClassVar[ErrorCode] = "configuration"


class TokenStoreError(AuthenticationError):
    """The token store could not save, read or delete something.

    ``code`` is ``store_unavailable`` if trying again may help, ``store_missing`` and ``store_forbidden`` if the store
    must be set up first, ``store_key`` if the encryption key is wrong, ``store_unreadable`` for a damaged record,
    ``store_version`` for one of a newer version, ``store_value`` for tokens or claims that JSON cannot represent, and
    ``store_failed`` if a user-defined store raised something else.
    """

    default_code: ClassVar[ErrorCode] = "store_unavailable"


class TokenError(AuthenticationError):
    """A token could not be obtained from the provider, or could not be verified.

    Attributes:
        retry_after: Seconds to wait, from the ``Retry-After`` header, or None.
    """

    default_code: ClassVar[ErrorCode] = "token_error"

    def __init__(
        self,
        message: str | None = None,
        provider: str | None = None,
        flow_id: str | None = None,
        *,
        code: ErrorCode | None = None,
        retry_after: float | None = None,
        **context: Any,
    ) -> None:
        super().__init__(message, provider, flow_id, code=code, **context)
        self.retry_after = retry_after


class NetworkSettingError(ConfigurationError, TokenError):
    """An environment variable for certificates or proxies is wrong. Found, and raised, when a request needs it."""


class TokenExpiredError(TokenError):
    """The access token has expired, and only a new sign-in can replace it."""

    default_code: ClassVar[ErrorCode] = "token_expired"


class InsufficientScopeError(TokenError):
    """The sign-in was not granted the scopes that are needed: ``session.require(*error.scopes)`` asks the user.

    ``code`` is ``insufficient_scope`` if an API says so (RFC 6750 §3.1), and ``scope_not_granted`` if the user was
    asked, and the provider granted less.

    Attributes:
        scopes: The needed scopes, each a scope token of RFC 6749 §3.3; empty if the API does not name them.
    """

    default_code: ClassVar[ErrorCode] = "insufficient_scope"

    def __init__(
        self, message: str | None = None, *, code: ErrorCode | None = None, scopes: Iterable[str] = (), **context: Any
    ) -> None:
        self.scopes = tuple(scopes)
        if self.scopes and message is None:
            context |= {"names": " ".join(self.scopes), "call": ", ".join(f'"{scope}"' for scope in self.scopes)}
        super().__init__(message, code=code, **context)


class StepUpRequired(TokenError):  # noqa: N818 - says what the caller must do
    """An API needs a newer or stronger sign-in (RFC 9470): ``session.login(acr_values=…, max_age=…)`` asks for it.

    Attributes:
        acr_values: The authentication contexts that the API accepts, separated by spaces; empty for any.
        max_age: How many seconds old the user's authentication may be; None if the API does not say.
    """

    default_code: ClassVar[ErrorCode] = "step_up_required"

    def __init__(
        self,
        message: str | None = None,
        *,
        code: ErrorCode | None = None,
        acr_values: str = "",
        max_age: int | None = None,
        **context: Any,
    ) -> None:
        self.acr_values = acr_values
        self.max_age = max_age
        if message is None:
            age = 0 if max_age is None and not acr_values else max_age  # it says neither: then one made just now
            asked = (f'acr_values="{acr_values}"' if acr_values else "", "" if age is None else f"max_age={age}")
            context["call"] = ", ".join(filter(None, asked))
        super().__init__(message, code=code, **context)


class TokenRefreshError(TokenError):
    """A refresh failed. ``code`` tells whether a new sign-in is needed (``invalid_grant``) or waiting may help.

    Attributes:
        refused: Tokens that must not be used, though nothing proves that they are another user's; or None. Their
            refresh token may have replaced the old one.
    """

    default_code: ClassVar[ErrorCode] = "refresh_failed"
    refused: OAuthTokenSet | None = None


class TokenExchangeError(TokenRefreshError):
    """The provider refused to exchange the token for one for another audience; ``description`` has its words.

    The sign-in is as good as before. ``code`` is ``exchange_refused``, or one that names what to correct:
    ``invalid_target``, ``invalid_scope``, ``unsupported_grant_type``, ``unauthorized_client``, ``invalid_client``.
    """

    default_code: ClassVar[ErrorCode] = "exchange_refused"


def without_traceback(error: E) -> E:
    """Return ``error`` without traceback, cause and context: their frames may have tokens as local variables."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


# -- what IPython prints ----------------------------------------------------------------------------------------------

_INSTALLED = frozenset({"site-packages", "dist-packages"})


def _own_lines(trace: TracebackType | None) -> Iterator[str]:
    """Yield the traceback lines of the user's own code: cells, and modules that are not installed."""
    for frame in traceback.extract_tb(trace):
        if frame.line and not _is_installed(frame.filename):
            yield f"{_name_of(frame.filename)}, line {frame.lineno}: {frame.line}"


def _is_installed(filename: str) -> bool:
    return filename.startswith(_library_folders()) or not _INSTALLED.isdisjoint(Path(filename).parts)


@functools.cache
def _library_folders() -> tuple[str, ...]:
    """Return the folders of the standard library, of installed packages and of this package."""
    paths = sysconfig.get_paths()
    folders = [paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return ("<frozen ", *(f"{folder}{os.sep}" for folder in (*folders, Path(__file__).parent)))


def _name_of(filename: str) -> str:
    """Return IPython's name for a file, such as ``Cell In[3]`` for a cell."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)
    name_of_cell = getattr(getattr(get_ipython(), "compile", None), "format_code_name", lambda _: None)
    return " ".join(name_of_cell(filename) or ("File", filename))
