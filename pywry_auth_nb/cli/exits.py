"""How a command ends: its exit status, and one sentence on standard error."""

from __future__ import annotations

import sys

from .._wire.error_codes import NETWORK_ERRORS
from ..errors import AuthenticationError, ConfigurationError

DONE, NOT_SIGNED_IN, WRONG_USAGE, FAILED = 0, 1, 2, 3
INTERRUPTED, BROKEN_PIPE = 130, 141  # as a shell reports SIGINT and SIGPIPE

_SIGN_IN = "Not signed in. Run: pywry-auth login"
_PASSING = NETWORK_ERRORS | {"provider_unavailable", "refresh_busy", "internal", "timeout", "token_expired"}


def report(error: Exception) -> int:
    """Say in a sentence what went wrong, and return the exit status. Of a foreign error only the type is shown."""
    if not isinstance(error, AuthenticationError):
        say(f"pywry-auth: this failed ({type(error).__name__}).")
        return FAILED
    words = f" The provider says: {error.description}" if error.description else ""
    message = _SIGN_IN if error.code == "login_required" else error.message
    say(f"pywry-auth: {message}{words} ({error.code})")
    return status_of(error)


def status_of(error: AuthenticationError) -> int:
    """Return the exit status for an error."""
    if isinstance(error, ConfigurationError):
        return WRONG_USAGE
    return FAILED if error.code in _PASSING or error.code.startswith("store_") else NOT_SIGNED_IN


def say(text: str) -> None:
    """Print a sentence on standard error, without characters that a terminal would obey."""
    print("".join(char if char.isprintable() or char == "\n" else " " for char in text), file=sys.stderr, flush=True)
