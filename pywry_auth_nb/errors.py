"""What can go wrong, as one tree.

::

    AuthenticationError              anything of ours
    ├── AuthFlowCancelled            the person, or the provider on their behalf, said no
    ├── AuthFlowTimeout              nobody came back in time
    ├── LoginRequired                there is no session and nobody to ask here
    ├── ConfigurationError           a setting is missing or wrong (also a ValueError)
    ├── TokenStoreError              tokens could not be kept, read or forgotten
    └── TokenError                   a token could not be had, read or trusted
        ├── TokenExpiredError        the access token is over and cannot be renewed
        └── TokenRefreshError        this refresh failed; the session may still be good

Every error has a ``code`` that programs may compare: it never changes with the wording. The message says what to
do. Neither holds a token, a code or a word that an identity provider chose.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

E = TypeVar("E", bound=BaseException)


class AuthenticationError(Exception):
    """Signing in, or staying signed in, did not work.

    Args:
        message: One or two sentences for the person in front of the notebook.
        provider: Name of the provider, for the log.
        flow_id: Which of several flows.
        code: Stable machine-readable code; the class's own when left out.
        context: Anything else that helps; shown after the message.
    """

    default_code: ClassVar[str] = "authentication_failed"

    def __init__(
        self,
        message: str,
        provider: str | None = None,
        flow_id: str | None = None,
        *,
        code: str | None = None,
        **context: Any,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        known = {"provider": provider, "flow_id": flow_id}
        self.context = {name: value for name, value in known.items() if value is not None} | context

    def __str__(self) -> str:
        if not self.context:
            return self.message
        return f"{self.message} ({', '.join(f'{name}={value}' for name, value in self.context.items())})"


class AuthFlowCancelled(AuthenticationError):  # noqa: N818 - the seed's name
    """The sign-in was cancelled here, or declined at the provider."""

    default_code = "flow_cancelled"


class AuthFlowTimeout(AuthenticationError):  # noqa: N818 - the seed's name
    """Nobody finished the sign-in within ``timeout`` seconds."""

    default_code = "flow_timeout"

    def __init__(
        self,
        message: str,
        timeout: float,
        provider: str | None = None,
        flow_id: str | None = None,
        *,
        code: str | None = None,
        **context: Any,
    ) -> None:
        super().__init__(message, provider, flow_id, code=code, **context)
        self.timeout = timeout


class LoginRequired(AuthenticationError):  # noqa: N818 - reads as what the caller must do
    """There is no session, and this call asks nobody to sign in."""

    default_code = "login_required"


class ConfigurationError(AuthenticationError, ValueError):
    """A setting is missing, wrong, or contradicts another; nothing has been tried with it."""

    default_code = "configuration"


class TokenStoreError(AuthenticationError):
    """The token store could not keep, read or forget something.

    ``code`` is ``store_unavailable`` where trying again may help, ``store_missing`` and ``store_forbidden`` where the
    store must be set up first, ``store_key`` where the encryption key is wrong, ``store_unreadable`` for a record that
    is damaged, ``store_version`` for one of a newer version, ``store_value`` for tokens or claims that are no JSON, and
    ``store_failed`` where a store of one's own raised something else.
    """

    default_code = "store_unavailable"


class TokenError(AuthenticationError):
    """A token could not be had from the provider, or could not be trusted.

    Attributes:
        retry_after: Seconds the provider asked us to wait (``Retry-After``), or None.
    """

    default_code = "token_error"

    def __init__(self, *args: Any, retry_after: float | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.retry_after = retry_after


class TokenExpiredError(TokenError):
    """The access token is over and there is no way to renew it without a new sign-in."""

    default_code = "token_expired"


class TokenRefreshError(TokenError):
    """A refresh failed. ``code`` tells whether a new sign-in is needed (``invalid_grant``) or waiting may help."""

    default_code = "refresh_failed"


def without_traceback(error: E) -> E:
    """Return ``error`` without frames, cause and context, whose local variables may be tokens."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
