"""The system's keyring: the one place that talks to `keyring`, and what can go wrong there as our own errors.

A keyring may ask for a password in a window, or wait for ever for one that nobody can open. So the functions that
settings and constructors call have a deadline; :func:`get`, :func:`set_` and :func:`delete` block, and are for a
thread that may.
"""

from __future__ import annotations

import secrets
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from ..errors import AuthenticationError, TokenStoreError
from ..tokens import Secret
from .loop import in_thread, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    T = TypeVar("T")

#: Seconds that a person has to unlock the keyring when a program starts to use it.
PROMPT_DEADLINE = 15.0

HELP = (
    "Use a desktop session's keyring (Debian, Ubuntu: apt-get install gnome-keyring) and restart the kernel, or keep "
    "the tokens with FileTokenStore(encryption_key=…)."
)
UNLOCK = "The keyring does not answer: it is locked, or asks for its password in a window. Unlock it, then try again."


def read_secret(service: str, username: str) -> Secret | None:
    """Return a secret that the user put into the keyring (``keyring set SERVICE USERNAME``), or None.

    Waits :data:`PROMPT_DEADLINE` seconds at most.

    Raises:
        TokenStoreError: As :func:`get`.
    """
    text = _within_deadline(lambda: get(service, username))
    return None if text is None else Secret(text)


def check(service: str, *, encrypted: bool) -> None:
    """Make sure that there is a keyring that keeps what it is given, and keeps it secret.

    Writes, reads and removes a value that means nothing, within :data:`PROMPT_DEADLINE` seconds.

    Args:
        service: Under which name to try.
        encrypted: Whether what will be stored is encrypted already, so that a plain-text keyring will do.

    Raises:
        TokenStoreError: Code ``store_missing``: there is none, it forgets at once, or it stores plain text;
            ``store_unavailable``: it is locked.
    """
    _within_deadline(lambda: _check(f"{service}/test-{secrets.token_hex(8)}", encrypted=encrypted))


def get(service: str, username: str) -> str | None:
    """Return what is kept under ``service`` and ``username``, or None. Blocks.

    Raises:
        TokenStoreError: Code ``store_missing``: no keyring is set up; ``store_unavailable``: it is locked or failed.
    """
    with _translated():
        value: str | None = _backend().get_password(service, username)
    return value


def set_(service: str, username: str, value: str) -> None:
    """Keep ``value`` under ``service`` and ``username``. Blocks; errors as for :func:`get`."""
    with _translated():
        _backend().set_password(service, username, value)


def delete(service: str, username: str) -> None:
    """Remove what is kept under ``service`` and ``username``, and see that it is gone. Blocks.

    Backends raise the same error for what they cannot delete and for what is not there, so looking is what counts.

    Raises:
        TokenStoreError: As for :func:`get`; and ``store_unavailable`` when the secret is still there.
    """
    from keyring.errors import PasswordDeleteError

    with _translated(), suppress(PasswordDeleteError):
        _backend().delete_password(service, username)
    if get(service, username) is not None:
        raise TokenStoreError("The keyring did not delete the tokens. Remove them with the system's keyring program.")


def _within_deadline(function: Callable[[], T]) -> T:
    try:
        return run(in_thread(function), PROMPT_DEADLINE)
    except AuthenticationError as error:
        if error.code != "timeout":
            raise
    raise TokenStoreError(UNLOCK)


def _backend() -> Any:
    """Return the configured backend; keyring caches it."""
    import keyring

    return keyring.get_keyring()


def _check(service: str, *, encrypted: bool) -> None:
    value, user = secrets.token_hex(8), "pywry-auth"
    set_(service, user, value)
    with _translated():
        holders = [member for member in _members(_backend()) if member.get_password(service, user) == value]
    if not holders:
        raise TokenStoreError(f"The configured keyring forgets what it is given. {HELP}", code="store_missing")
    delete(service, user)
    if not encrypted and any(_is_weak(holder) for holder in holders):
        raise TokenStoreError(
            "The configured keyring is one that its authors do not recommend, as those that store plain text are. "
            f"Pass encryption_key, so that only encrypted tokens are stored there. Or: {HELP}",
            code="store_missing",
        )


def _members(backend: Any) -> list[Any]:
    """Return the backends behind a chain of them, or the one that there is."""
    from keyring.backends.chainer import ChainerBackend

    return list(backend.backends) if isinstance(backend, ChainerBackend) else [backend]


def _is_weak(backend: Any) -> bool:
    """Whether a backend's priority is below 1, which keyring's documentation gives to those it does not recommend."""
    return bool(backend.priority < 1)


@contextmanager
def _translated() -> Iterator[None]:
    """Turn whatever a backend raises into our errors; its own may hold what was being stored."""
    from keyring.errors import InitError, KeyringLocked, NoKeyringError

    try:
        yield
    except NoKeyringError:
        raise TokenStoreError(f"There is no keyring here. {HELP}", code="store_missing") from None
    except (KeyringLocked, InitError):
        raise TokenStoreError(UNLOCK) from None
    except (ImportError, AttributeError, RuntimeError) as error:  # the configured backend is not there, or not here
        raise TokenStoreError(
            f"The configured keyring cannot be used ({type(error).__name__}). Correct PYTHON_KEYRING_BACKEND or "
            f"keyring's configuration file. {HELP}",
            code="store_missing",
        ) from None
    except Exception as error:  # noqa: BLE001 - each backend has errors of its own: D-Bus, Win32, Security.framework
        raise _failed(error) from None


def _failed(error: Exception) -> TokenStoreError:
    if any(status in str(error) for status in ("-25308", "-25293")):  # errSecInteractionNotAllowed, errSecAuthFailed
        return TokenStoreError(
            "The macOS keychain cannot be used from this session, because it cannot ask for a password here. Run "
            "`security unlock-keychain` in a terminal, then try again."
        )
    return TokenStoreError(
        f"The keyring failed ({type(error).__name__}). Look whether it is unlocked and works in the system's keyring "
        "program, then try again."
    )
