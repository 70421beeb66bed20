"""Access to the system's keyring, with its errors translated to `TokenStoreError`.

A keyring may ask for a password in a window, or wait forever if it cannot show one. So the functions that settings and
constructors call have a deadline; :func:`get`, :func:`set_` and :func:`delete` block, and need a thread of their own.
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

#: Seconds that the user has to unlock the keyring when a program first uses it.
PROMPT_DEADLINE = 15.0

HELP = (
    "Use a desktop session's keyring (Debian, Ubuntu: apt-get install gnome-keyring) and restart the kernel, or keep "
    "the tokens with FileTokenStore(encryption_key=…)."
)
UNLOCK = "The keyring does not respond: it is locked, or asks for its password in a window. Unlock it, then try again."


def read_secret(service: str, username: str) -> Secret | None:
    """Return a secret that the user put into the keyring (``keyring set SERVICE USERNAME``), or None.

    Waits at most :data:`PROMPT_DEADLINE` seconds.

    Raises:
        TokenStoreError: As :func:`get`.
    """
    text = _within_deadline(lambda: get(service, username))
    return None if text is None else Secret(text)


def check(service: str, *, encrypted: bool) -> None:
    """Check that there is a keyring that stores values, and stores them encrypted.

    Writes, reads and removes a test value, within :data:`PROMPT_DEADLINE` seconds.

    Args:
        service: Prefix of the test value's service name.
        encrypted: Whether the values will be encrypted already, so that a plain-text keyring is good enough.

    Raises:
        TokenStoreError: Code ``store_missing``: there is no keyring, it does not keep values, or it stores plain text;
            ``store_unavailable``: it is locked.
    """
    _within_deadline(lambda: _check(f"{service}/test-{secrets.token_hex(8)}", encrypted=encrypted))


def get(service: str, username: str) -> str | None:
    """Return the value stored under ``service`` and ``username``, or None. Blocks.

    Raises:
        TokenStoreError: Code ``store_missing``: no keyring is set up; ``store_unavailable``: it is locked or failed.
    """
    with _translated():
        value: str | None = _backend().get_password(service, username)
    return value


def set_(service: str, username: str, value: str) -> None:
    """Store ``value`` under ``service`` and ``username``. Blocks; raises as :func:`get`."""
    with _translated():
        _backend().set_password(service, username, value)


def delete(service: str, username: str) -> None:
    """Remove the value stored under ``service`` and ``username``, and verify that it is gone. Blocks.

    Backends raise the same error for a failed deletion and for a missing value, so only reading it tells.

    Raises:
        TokenStoreError: As :func:`get`; and ``store_unavailable`` if the value is still there.
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
        raise TokenStoreError(f"The configured keyring does not keep what it is given. {HELP}", code="store_missing")
    delete(service, user)
    if not encrypted and any(_is_weak(holder) for holder in holders):
        raise TokenStoreError(
            "The configured keyring is one that the keyring package does not recommend, such as a plain-text one. "
            f"Pass encryption_key, so that only encrypted tokens are stored there. Or: {HELP}",
            code="store_missing",
        )


def _members(backend: Any) -> list[Any]:
    """Return the backends of a chain, or the single backend."""
    from keyring.backends.chainer import ChainerBackend

    return list(backend.backends) if isinstance(backend, ChainerBackend) else [backend]


def _is_weak(backend: Any) -> bool:
    """Whether a backend's priority is below 1, which keyring's documentation calls not recommended."""
    return bool(backend.priority < 1)


@contextmanager
def _translated() -> Iterator[None]:
    """Translate every exception of a backend, whose text may contain the value being stored."""
    from keyring.errors import InitError, KeyringLocked, NoKeyringError

    try:
        yield
    except NoKeyringError:
        raise TokenStoreError(f"There is no keyring here. {HELP}", code="store_missing") from None
    except (KeyringLocked, InitError):
        raise TokenStoreError(UNLOCK) from None
    except (ImportError, AttributeError, RuntimeError) as error:  # the configured backend is missing or unusable
        raise TokenStoreError(
            f"The configured keyring cannot be used ({type(error).__name__}). Correct PYTHON_KEYRING_BACKEND or "
            f"keyring's configuration file. {HELP}",
            code="store_missing",
        ) from None
    except Exception as error:  # noqa: BLE001 - each backend has its own errors: D-Bus, Win32, Security.framework
        raise _failed(error) from None


def _failed(error: Exception) -> TokenStoreError:
    if any(status in str(error) for status in ("-25308", "-25293")):  # errSecInteractionNotAllowed, errSecAuthFailed
        return TokenStoreError(
            "The macOS keychain cannot be used from this session, because it cannot ask for a password here. Run "
            "`security unlock-keychain` in a terminal, then try again."
        )
    return TokenStoreError(
        f"The keyring failed ({type(error).__name__}). Check in the system's keyring program that it is unlocked and "
        "works, then try again."
    )
