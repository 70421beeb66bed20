"""What can go wrong, as one tree.

::

    AuthenticationError              anything of ours
    ├── AuthFlowCancelled            the user, or the provider on their behalf, said no
    ├── AuthFlowTimeout              the sign-in was not finished in time
    ├── LoginRequired                there is no session, and no user to ask here
    ├── ConfigurationError           a setting is missing or wrong (also a ValueError)
    ├── TokenStoreError              tokens could not be kept, read or forgotten
    └── TokenError                   a token could not be had, read or trusted
        ├── TokenExpiredError        the access token has expired and cannot be renewed
        └── TokenRefreshError        this refresh failed; the session may still be good

Every error has a ``code`` that programs may compare: it never changes with the wording. All codes, with a sentence and
an advice each, stand in one table (``docs/error-codes.md``). Neither code nor message holds a token, an authorization
code or a word that an identity provider chose.
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
    from collections.abc import Iterator
    from types import TracebackType

    from ._wire.error_codes import ErrorCode

E = TypeVar("E", bound=BaseException)


class AuthenticationError(Exception):
    """Signing in, or staying signed in, did not work.

    Args:
        message: One or two sentences for the user; what the table of codes says when left out.
        provider: Name of the provider, for the log.
        flow_id: Which of several flows.
        code: Stable machine-readable code; the class's own when left out.
        context: Fills the placeholders of the table's sentence; what is left over is shown after the message.

    IPython shows the message and the user's own lines, whatever its traceback mode; :mod:`traceback` and
    :mod:`logging` show all frames.
    """

    default_code: ClassVar[ErrorCode] = "authentication_failed"

    def __init__(
        self,
        message: str | None = None,
        provider: str | None = None,
        flow_id: str | None = None,
        *,
        code: ErrorCode | None = None,
        **context: Any,
    ) -> None:
        self.code: ErrorCode = code or self.default_code
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
        """Return what IPython prints for this error: one text, since some of its modes join several without a break."""
        return ["\n".join([*_own_lines(self.__traceback__), f"{type(self).__name__} [{self.code}]: {self}"])]


class AuthFlowCancelled(AuthenticationError):  # noqa: N818 - the seed's name
    """The sign-in was cancelled here, or declined at the provider."""

    default_code: ClassVar[ErrorCode] = "flow_cancelled"


class AuthFlowTimeout(AuthenticationError):  # noqa: N818 - the seed's name
    """The sign-in was not finished within ``timeout`` seconds; ``message`` may be None for the table's."""

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
        known = {"timeout": timeout} if message is None else {}
        super().__init__(message, provider, flow_id, code=code, **known, **context)
        self.timeout = timeout


class LoginRequired(AuthenticationError):  # noqa: N818 - reads as what the caller must do
    """There is no session, and this call does not ask the user to sign in."""

    default_code: ClassVar[ErrorCode] = "login_required"


class ConfigurationError(AuthenticationError, ValueError):
    """A setting is missing, wrong, or contradicts another; nothing has been tried with it."""

    default_code: ClassVar[ErrorCode] = "configuration"


class TokenStoreError(AuthenticationError):
    """The token store could not keep, read or forget something.

    ``code`` is ``store_unavailable`` where trying again may help, ``store_missing`` and ``store_forbidden`` where the
    store must be set up first, ``store_key`` where the encryption key is wrong, ``store_unreadable`` for a record that
    is damaged, ``store_version`` for one of a newer version, ``store_value`` for tokens or claims that JSON cannot
    hold, and ``store_failed`` where a store class of the user's raised something else.
    """

    default_code: ClassVar[ErrorCode] = "store_unavailable"


class TokenError(AuthenticationError):
    """A token could not be had from the provider, or could not be trusted.

    Attributes:
        retry_after: Seconds the provider asked us to wait (``Retry-After``), or None.
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


class TokenExpiredError(TokenError):
    """The access token has expired, and only a new sign-in can replace it."""

    default_code: ClassVar[ErrorCode] = "token_expired"


class TokenRefreshError(TokenError):
    """A refresh failed. ``code`` tells whether a new sign-in is needed (``invalid_grant``) or waiting may help."""

    default_code: ClassVar[ErrorCode] = "refresh_failed"


def without_traceback(error: E) -> E:
    """Return ``error`` without frames, cause and context, whose local variables may be tokens."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


# -- what IPython prints ----------------------------------------------------------------------------------------------

_INSTALLED = frozenset({"site-packages", "dist-packages"})


def _own_lines(trace: TracebackType | None) -> Iterator[str]:
    """Yield the lines of a traceback that the user wrote: in cells and in modules that are not installed."""
    for frame in traceback.extract_tb(trace):
        if frame.line and not _is_installed(frame.filename):
            yield f"{_name_of(frame.filename)}, line {frame.lineno}: {frame.line}"


def _is_installed(filename: str) -> bool:
    return filename.startswith(_library_folders()) or not _INSTALLED.isdisjoint(Path(filename).parts)


@functools.cache
def _library_folders() -> tuple[str, ...]:
    """Return where Python's own modules, installed packages and this package are."""
    paths = sysconfig.get_paths()
    folders = [paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return ("<frozen ", *(f"{folder}{os.sep}" for folder in (*folders, Path(__file__).parent)))


def _name_of(filename: str) -> str:
    """Return what IPython calls a file: ``Cell In[3]`` for a cell."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)
    name_of_cell = getattr(getattr(get_ipython(), "compile", None), "format_code_name", lambda _: None)
    return " ".join(name_of_cell(filename) or ("File", filename))
