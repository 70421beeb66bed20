"""File locks between programs, and private folders.

A record has two locks: one is held while it is read or written (:meth:`Locks.hold`), the other for a whole refresh
(:class:`FileLease`), during which other programs may read.

The operating system releases a lock when its holder dies, so there are no stale locks to detect. Lock files are never
deleted: two programs could then lock two different files.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .._io import fork
from .._io.loop import backoff
from ..errors import TokenStoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from filelock import FileLock

#: Seconds to wait for another program to finish.
LOCK_DEADLINE = 7.0

_POLL = (0.005, 0.08)  # seconds between two attempts to acquire a lock: first, and at most


class LockTimeout(TokenStoreError):  # noqa: N818 - as concurrent.futures names such errors
    """Another program, or several in turn, held a lock for as long as the caller would wait. The store itself works."""

    def __init__(self) -> None:
        super().__init__("Another program is using these tokens and does not finish. Try again.")


class _Threads:
    """A thread lock for each lock file, since a file lock may belong to the whole process (NFS)."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}

    def lock(self, path: str) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(path, threading.Lock())


_threads = _Threads()


def _start_over() -> None:
    """Drop the locks in a forked child: the threads that held them are gone."""
    global _threads  # noqa: PLW0603 - one per process is the point
    _threads = _Threads()


fork.in_child(_start_over)


class Locks:
    """The locks of one store.

    Args:
        folder: The folder of the lock files; created when first needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def hold(self, name: str, patience: float | None = None) -> Iterator[None]:
        """Hold the lock of the record called ``name``. Blocks: never call it on an event loop.

        Args:
            name: The record's name.
            patience: Seconds to wait for other programs; :data:`LOCK_DEADLINE` when left out.

        Raises:
            LockTimeout: Other programs hold it for longer.
            TokenStoreError: Code ``store_unavailable``: the folder cannot be used.
        """
        patience = LOCK_DEADLINE if patience is None else patience
        end = time.monotonic() + patience
        own_folder(self.folder)
        path = self._path(name, "lock")
        thread_lock = _threads.lock(path)
        if not thread_lock.acquire(timeout=patience):
            raise LockTimeout
        try:
            with _file_lock(path, end - time.monotonic()):
                yield
        finally:
            thread_lock.release()

    def lease(self, name: str) -> FileLease:
        """Return the lock for a refresh of the record called ``name``, not yet acquired."""
        return FileLease(self.folder, self._path(name, "renewal"))

    def _path(self, name: str, suffix: str) -> str:
        return str(self.folder / f"{digest(name)}.{suffix}")


class FileLease:
    """A file lock that is acquired without waiting, and may be released from any thread.

    A forked child does not hold it (filelock ensures that). It is released when dropped, or when its process dies.
    """

    def __init__(self, folder: Path, path: str) -> None:
        self._folder = folder
        self._guard = threading.Lock()
        self._lock = _new_lock(path)
        self._unwanted = False

    def take(self) -> bool:
        """Acquire the lock if it is free. Blocks only as long as the file system does.

        Raises:
            TokenStoreError: The folder cannot be used.
        """
        own_folder(self._folder)
        with self._guard:
            return not self._unwanted and _taken(self._lock)

    def release(self) -> None:
        """Release the lock; during :meth:`take`, right after it. Blocks only as long as the file system does."""
        self._unwanted = True
        with self._guard:
            self._lock.release()


def _new_lock(path: str) -> FileLock:
    from filelock import FileLock

    return FileLock(path, mode=0o600, thread_local=False)


@contextmanager
def _file_lock(path: str, seconds: float) -> Iterator[None]:
    end, pauses = time.monotonic() + seconds, backoff(*_POLL)
    lock = _new_lock(path)  # a new one each time, so that no state is shared between threads or inherited
    while not _taken(lock):
        if time.monotonic() > end:
            raise LockTimeout
        time.sleep(next(pauses))
    try:
        yield
    finally:
        lock.release()


def _taken(lock: FileLock) -> bool:
    """Acquire ``lock`` if it is free; return whether it was."""
    from filelock import Timeout

    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    except (OSError, NotImplementedError) as error:
        raise unusable(lock.lock_file, error) from None
    return True


def digest(name: str) -> str:
    """Return a file name for any string: 32 hexadecimal digits of its hash."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def own_folder(folder: Path) -> None:
    """Create a private ``folder``, or check that no other user can write to an existing one.

    Raises:
        TokenStoreError: Code ``store_forbidden`` for a link, another user's folder, or one that others may write to;
            ``store_unavailable`` if it cannot be created.
    """
    try:
        _create(folder)
        found = folder.lstat()
    except OSError as error:
        raise unusable(folder, error) from None
    complaint = _complaint(found)
    if complaint:
        raise TokenStoreError(
            f"The folder {folder} {complaint}, so others could change what is stored there. Name a folder that only "
            "you can write to.",
            code="store_forbidden",
        )


def _create(folder: Path) -> None:
    """Create a folder and those missing above it, for their owner only: the parents of ``mkdir`` follow the umask."""
    for each in reversed([folder, *folder.parents]) if not folder.is_dir() else ():
        if not each.is_dir():
            each.mkdir(mode=0o700, exist_ok=True)


def _complaint(found: os.stat_result) -> str | None:
    if not stat.S_ISDIR(found.st_mode):
        return "is a link"
    if os.name != "posix":  # on Windows, folders of a profile are private, and these bits do not exist
        return None
    if found.st_uid != os.geteuid():
        return "belongs to another user"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "may be written to by other users"
    return None


def unusable(path: Path | str, error: Exception) -> TokenStoreError:
    """Return the error for a failed operation on ``path``."""
    reason = getattr(error, "strerror", None) or type(error).__name__
    return TokenStoreError(
        f"The tokens could not be stored, read or removed at {path}: {reason}. Make that possible, or choose another "
        "token store."
    )
