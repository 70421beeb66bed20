"""Files that are replaced whole: a reader, or a writer that is killed, sees or leaves the old content or the new."""

from __future__ import annotations

import os
import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: How the names of files end that have not been renamed yet.
TEMPORARY = ".tmp"

_PATIENCE = 7.0  # seconds that Windows is given to close a file


def replace_file(file: Path, content: bytes) -> None:
    """Write ``content`` to a temporary file that only its owner may read, then rename it to ``file`` atomically."""
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(8)}{TEMPORARY}")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:  # noqa: PTH123
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        _rename(temporary, file)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """Sync a folder, so that renames survive a power failure; Windows has no such call."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rename(temporary: Path, file: Path) -> None:
    """Rename to ``file``. Windows refuses while a reader or a virus scanner has it open, so retry for a while."""
    end = time.monotonic() + _PATIENCE
    while not _renamed(temporary, file, patient=os.name == "nt" and time.monotonic() < end):
        time.sleep(0.02)


def _renamed(temporary: Path, file: Path, *, patient: bool) -> bool:
    try:
        temporary.replace(file)
    except PermissionError:
        if not patient:
            raise
        return False
    return True
