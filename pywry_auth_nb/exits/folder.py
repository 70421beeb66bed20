"""Files with tokens: a private folder for each kernel that serves any, and files at the paths that platforms prescribe.

A kernel that is killed cannot remove its files. The next one that serves any finds by the folder's lock that no kernel
owns it, and removes it, with the files elsewhere that are listed in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .._io.files import replace_file
from ..errors import ConfigurationError, TokenStoreError
from ..token_store.locks import FileLease
from ..tokens import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

_PREFIX = "pywry-auth-"
_LOCK = "alive"
_LIST = "elsewhere.json"
_LONGEST = 1024 * 1024  # bytes of a token
#: How a file is opened that may be another program's by now: a pipe must not block, and a link is not followed.
_ONLY_FILES = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))


class Folder:
    """A folder that only this account can read, until :meth:`remove`."""

    def __init__(self) -> None:
        base = _base()
        remove_abandoned(base)
        self.path, self._lease = _new_folder(base)
        while not self._lease.take():  # another kernel takes it for an abandoned one
            self.path, self._lease = _new_folder(base)

    def write(self, name: str, text: str) -> Path:
        """Write a file, and return its path."""
        replace_file(self.path / name, text.encode())
        return self.path / name

    def list_files(self, files: Mapping[Path, str]) -> None:
        """Write down which files elsewhere are ours, by the hashes of their contents."""
        hashes = {str(path): _hash(text.encode()) for path, text in files.items()}
        self.write(_LIST, json.dumps(hashes))

    def remove(self) -> None:
        """Remove the folder with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lease.release()


def _new_folder(base: Path) -> tuple[Path, FileLease]:
    path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
    return path, FileLease(path, str(path / _LOCK))


class FreshFile:
    """A file with one token, which is replaced whole.

    Args:
        path: Where.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text: str = Secret()
        self._lock = threading.Lock()
        self._removed = False

    def write(self, text: str) -> bool:
        """Replace the content; return whether it was another one."""
        with self._lock:
            if self._removed or text == self.text:
                return False
            replace_file(self.path, text.encode())
            self.text = text
            return True

    def clear(self) -> None:
        """Remove the file while there is no token; :meth:`write` brings it back."""
        with self._lock:
            self._unlink()

    def remove(self) -> None:
        """Remove the file for good, unless it is another program's now."""
        with self._lock:
            self._unlink()
            self._removed = True

    def _unlink(self) -> None:
        if self.text:
            _remove_if(self.path, _hash(self.text.encode()))
        self.text = Secret()


def absolute(path: str | os.PathLike[str]) -> Path:
    """Return an absolute path.

    Raises:
        ConfigurationError: Code ``preset_unavailable``.
    """
    try:
        return Path(path).expanduser().absolute()
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise _unusable(f"{path!r} is no path for a token: {_reason(error)}. Name another one.") from None


def usable_path(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path of a file that does not exist yet, in a folder that is made if it is missing.

    Raises:
        ConfigurationError: Code ``preset_unavailable``.
    """
    file = absolute(path)
    try:
        for each in reversed(file.parents):
            if not each.is_dir():
                each.mkdir(mode=0o700, exist_ok=True)
        exists = _exists(file)
    except (OSError, ValueError) as error:
        raise _unusable(f"{file} cannot be used for a token: {_reason(error)}. Name another path.") from None
    if exists:
        raise _unusable(f"{file} exists already, and is not replaced. Remove it, or name another path.")
    return file


def _exists(file: Path) -> bool:
    try:
        file.lstat()
    except FileNotFoundError:
        return False
    return True


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__


def _unusable(message: str) -> ConfigurationError:
    return ConfigurationError(message, code="preset_unavailable")


def _base() -> Path:
    """Return the folder for files that last as long as the user's sign-in to this machine, if there is one.

    Raises:
        ConfigurationError: Code ``preset_unavailable``: other users could put a folder of theirs in place of ours.
    """
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    base = runtime if os.access(runtime, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    mode = base.stat().st_mode
    if os.name == "posix" and mode & (stat.S_IWGRP | stat.S_IWOTH) and not mode & stat.S_ISVTX:
        raise _unusable(
            f"Other users may rename what is in {base}, since it has no sticky bit. Set XDG_RUNTIME_DIR or TMPDIR to a "
            "folder that only you can write to, and restart the kernel."
        )
    return base


def remove_abandoned(base: Path) -> None:
    """Remove the folders below ``base`` whose kernels are gone, and the files that they list."""
    for folder in base.glob(f"{_PREFIX}*"):
        with suppress(OSError, TokenStoreError):
            if (folder / _LOCK).exists() and (lease := FileLease(folder, str(folder / _LOCK))).take():
                _remove_listed(folder)
                shutil.rmtree(folder, ignore_errors=True)
                lease.release()


def _remove_listed(folder: Path) -> None:
    with suppress(OSError, ValueError, AttributeError):
        for path, content in json.loads((folder / _LIST).read_bytes()).items():
            _remove_if(Path(path), content)


def _remove_if(path: Path, content: str) -> None:
    """Remove a file if it still has the content with this hash."""
    with suppress(OSError):
        with open(os.open(path, _ONLY_FILES), "rb") as file:  # noqa: PTH123
            is_ours = _hash(file.read(_LONGEST)) == content
        if is_ours:
            path.unlink()


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
