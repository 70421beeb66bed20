"""`FileTokenStore`: tokens in files, one per session."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .._io.files import TEMPORARY, replace_file, sync_folder
from ..errors import ConfigurationError
from ..tokens import secret_or_none
from .base import PackedStore, bounded, each, lease_on
from .locks import Locks, digest, own_folder, unusable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from .lease import Lease, LocalLease

_SLOW = "The folder of the tokens does not answer. If it is on a network drive, check the connection, then try again."
_SUFFIX = ".tokens"


class FileTokenStore(PackedStore):
    """Tokens in files that survive the kernel, readable only by their owner.

    A file has the key as JSON on the first line and the record on the second. It is replaced atomically: a reader, or a
    writer that is killed, sees or leaves either the old record or the new one.

    Args:
        path: The folder; the user's application data folder when left out.
        encryption_key: See :class:`~pywry_auth_nb.token_store.codec.Codec`.

    Raises:
        ConfigurationError: ``path`` is not a valid path.
        TokenStoreError: Code ``store_key`` for an invalid key; ``store_forbidden`` for a folder that other users may
            write to.
    """

    kind = "file"

    def __init__(self, path: str | os.PathLike[str] | None = None, *, encryption_key: str | None = None) -> None:
        encryption_key = secret_or_none(encryption_key)
        super().__init__(encryption_key)
        try:
            self.path = _default_folder() if path is None else Path(path).expanduser().absolute()
        except (RuntimeError, ValueError, OSError):
            raise ConfigurationError("The path of the folder for the tokens is invalid. Check it.") from None
        self._locks = Locks(self.path / "locks")
        if os.path.lexists(self.path):
            own_folder(self.path)

    async def _read(self, key: str) -> bytes | None:
        return await bounded(_SLOW, self._read_file, key)

    async def _swap(self, key: str, old: bytes | None, new: bytes, lifetime: float | None) -> bool:  # noqa: ARG002 - files stay
        return await bounded(_SLOW, self._swap_file, key, old, new)

    async def _remove(self, key: str) -> None:
        await bounded(_SLOW, self._remove_file, key)

    async def _stamps(self, keys: Collection[str]) -> dict[str, object]:
        return await bounded(_SLOW, each, keys, self._stat_file)

    async def _try_lease(self, key: str, local_lease: LocalLease) -> Lease | None:
        return await lease_on(self._locks.lease(key), local_lease, _SLOW)

    async def _names(self) -> list[str]:
        return await bounded(_SLOW, self._list_files)

    # -- blocking -----------------------------------------------------------------------------------------------------

    def _read_file(self, key: str) -> bytes | None:
        try:
            if not self.path.exists():
                return None  # reading creates no folders
            own_folder(self.path)
            content = self._file(key).read_bytes()
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            raise unusable(self.path, error) from None
        head, _, record = content.partition(b"\n")
        return record if _key_in(head) == key else content  # not a valid record, so it counts as damaged

    def _swap_file(self, key: str, old: bytes | None, new: bytes) -> bool:
        try:
            own_folder(self.path)
            with self._locks.hold(key):
                current = self._read_file(key)
                if current not in (old, new):
                    return False
                self._clear_temporary(key)
                replace_file(self._file(key), json.dumps(key).encode("ascii") + b"\n" + new)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            raise unusable(self.path, error) from None
        return True

    def _stat_file(self, key: str) -> tuple[int, int, int] | None:
        """Return a value that differs after every change, which replaces the file."""
        try:
            found = self._file(key).stat()
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            raise unusable(self.path, error) from None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _remove_file(self, key: str) -> None:
        try:
            if not self.path.exists():
                return
            own_folder(self.path)
            with self._locks.hold(key):
                self._clear_temporary(key)
                self._file(key).unlink(missing_ok=True)
                sync_folder(self.path)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            raise unusable(self.path, error) from None

    def _list_files(self) -> list[str]:
        try:
            return list(self._keys()) if self.path.exists() else []
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            raise unusable(self.path, error) from None

    def _keys(self) -> Iterator[str]:
        """Yield the keys of files whose name matches their first line; others are foreign or damaged."""
        own_folder(self.path)
        for file in self.path.glob(f"*{_SUFFIX}"):
            with suppress(FileNotFoundError):  # removed since it was listed
                with file.open("rb") as stream:
                    key = _key_in(stream.readline().rstrip(b"\n"))
                if key is not None and self._file(key).name == file.name:
                    yield key

    def _clear_temporary(self, key: str) -> None:
        """Remove files that a killed writer of this record left. We hold the lock, so no other writer is active."""
        start = f".{self._file(key).name}."
        for entry in os.scandir(self.path):
            if entry.name.startswith(start) and entry.name.endswith(TEMPORARY):
                Path(entry.path).unlink(missing_ok=True)

    def _file(self, key: str) -> Path:
        """Return the file of ``key``, whose name has a readable prefix and a hash that makes it unique."""
        readable = re.sub(r"[^A-Za-z0-9_-]", "_", key)[:40]
        return self.path / f"{readable}-{digest(key)}{_SUFFIX}"

    def __repr__(self) -> str:
        return f"<FileTokenStore {self.path}, {'encrypted' if self._codec.encrypts else 'plain text'}>"


def _default_folder() -> Path:
    from platformdirs import user_data_path

    return user_data_path("pywry-auth-nb") / "tokens"


def _key_in(line: bytes) -> str | None:
    """Return the key that a file's first line holds, or None."""
    try:
        key = json.loads(line.decode("ascii"))
    except (ValueError, RecursionError):
        return None
    return key if isinstance(key, str) else None
