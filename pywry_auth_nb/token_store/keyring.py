"""`KeyringTokenStore`: tokens in the system's keyring.

Windows' Credential Manager limits an entry to 2,560 bytes of UTF-16, and tokens are longer. So a long record is split
into chunks, in one of two slots, and a header names the current slot::

    SERVICE/DIGEST            the record itself, or  chunks:a:3:SHA256
    SERVICE/DIGEST/a/0 …      the chunks of slot a
    SERVICE/DIGEST/b/0 …      the chunks of slot b

A write fills the other slot, then changes the header, then clears the old slot. Chunks are written in ascending and
removed in descending order, so that those of a killed program always begin at 0 and are found again. Every entry has
its own service name, because on Windows all usernames of a service share one entry.

One lock covers all access to the keyring, because gnome-keyring 42 crashes on concurrent reads and writes.

A keyring cannot list entries, so an additional record, the index, holds the keys. It does not announce changes either,
and polling it may prompt the user, so every change also updates a small file beside the locks.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import sys
import time
from typing import TYPE_CHECKING

from .._io import keyring as system_keyring
from ..errors import TokenStoreError
from ..tokens import secret_or_none
from .base import DEADLINE, PackedStore, bounded, each, lease_on
from .locks import Locks, digest, own_folder, unusable

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from .lease import Lease, LocalLease

#: Characters in one entry: on Windows 2,400 of the 2,560 bytes. Elsewhere a record fits into one entry, since each
#: takes a Secret Service about 15 ms.
CHUNK = 1200 if sys.platform == "win32" else 50_000

_USER = "pywry-auth"
_SLOW = "The folder of the locks does not answer. If it is on a network drive, check the connection, then try again."
_HEADER = re.compile(r"chunks:([ab]):([0-9]{1,4}):([0-9a-f]{64})", re.ASCII)
_INDEX = "index"  # not the name of a record: those are named by a hash
_WHOLE = "keyring"  # name of the lock for the whole keyring


class KeyringTokenStore(PackedStore):
    """Tokens in the keyring of the desktop or the operating system; they survive the kernel.

    Args:
        service_name: Prefix of the service names of all entries.
        encryption_key: See :class:`~pywry_auth_nb.token_store.codec.Codec`; rarely needed, since a keyring encrypts by
            itself.

    Raises:
        TokenStoreError: From the constructor, before a sign-in. Code ``store_missing``: there is no keyring that keeps
            secrets; ``store_unavailable``: it stays locked for 15 seconds; ``store_key``: the key is invalid.
    """

    kind = "keyring"

    def __init__(self, service_name: str = "pywry-oauth", *, encryption_key: str | None = None) -> None:
        encryption_key = secret_or_none(encryption_key)
        super().__init__(encryption_key)
        self.service_name = service_name
        self._locks = Locks(_lock_folder())
        with self._locks.hold(_WHOLE, system_keyring.PROMPT_DEADLINE):
            system_keyring.check(service_name, encrypted=self._codec.encrypts)

    def _full_name(self, key: str) -> str:
        return f"{self.kind}:{json.dumps(self.service_name)}:{key}"

    async def _read(self, key: str) -> bytes | None:
        return await bounded(system_keyring.UNLOCK, self._read_entry, key)

    async def _swap(self, key: str, old: bytes | None, new: bytes, lifetime: float | None) -> bool:  # noqa: ARG002 - entries stay
        return await bounded(system_keyring.UNLOCK, self._swap_entry, key, old, new)

    async def _remove(self, key: str) -> None:
        await bounded(system_keyring.UNLOCK, self._remove_entry, key)

    async def _stamps(self, keys: Collection[str]) -> dict[str, object]:
        return await bounded(_SLOW, each, keys, self._mark_of)

    async def _try_lease(self, key: str, local_lease: LocalLease) -> Lease | None:
        return await lease_on(self._locks.lease(self._entry(digest(key)).service), local_lease, _SLOW)

    async def _names(self) -> list[str]:
        return await bounded(system_keyring.UNLOCK, self._list_entries)

    # -- blocking, under the lock --------------------------------------------------------------------------------------

    def _read_entry(self, key: str) -> bytes | None:
        entry = self._entry(digest(key))
        with self._locks.hold(_WHOLE):
            return _as_bytes(entry.read())

    def _swap_entry(self, key: str, old: bytes | None, new: bytes) -> bool:
        entry = self._entry(digest(key))
        with self._locks.hold(_WHOLE):
            if _as_bytes(entry.read()) not in (old, new):
                return False
            self._change_index(key, listed=True)  # first, since every record must be listed
            self._change_mark(key)  # before the write: a reader then waits for this lock
            entry.write(new.decode("ascii"))
        return True

    def _remove_entry(self, key: str) -> None:
        entry = self._entry(digest(key))
        with self._locks.hold(_WHOLE):
            self._change_mark(key)
            entry.remove()
            self._change_index(key, listed=False)

    def _list_entries(self) -> list[str]:
        """Return the listed keys that have a record; a killed program may have listed one without."""
        with self._locks.hold(_WHOLE):
            keys = _keys_in(self._entry(_INDEX).read())
            return [key for key in keys if self._entry(digest(key)).exists()]

    def _change_index(self, key: str, *, listed: bool) -> None:
        index = self._entry(_INDEX)
        keys = _keys_in(index.read())
        if (key in keys) is not listed:
            index.write(json.dumps([*keys, key] if listed else [other for other in keys if other != key]))

    def _mark_of(self, key: str) -> bytes:
        try:
            return self._mark(key).read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise unusable(self._locks.folder, error) from None

    def _change_mark(self, key: str) -> None:
        own_folder(self._locks.folder)
        try:
            with open(os.open(self._mark(key), os.O_WRONLY | os.O_CREAT, 0o600), "wb") as stream:  # noqa: PTH123
                stream.write(secrets.token_bytes(8))
        except OSError as error:
            raise unusable(self._locks.folder, error) from None

    def _mark(self, key: str) -> Path:
        return self._locks.folder / f"{digest(self._entry(digest(key)).service)}.changed"

    def _entry(self, name: str) -> _Entry:
        return _Entry(f"{self.service_name}/{name}")

    def __repr__(self) -> str:
        return f"<KeyringTokenStore {self.service_name}>"


class _Entry:
    """One record in the keyring, of any length. The caller must hold the lock.

    After :data:`DEADLINE` it makes no further calls of the keyring: the caller has been told that the request failed,
    so no record may appear minutes later, when the user unlocks the keyring.
    """

    def __init__(self, service: str) -> None:
        self.service = service
        self._end = time.monotonic() + DEADLINE

    def exists(self) -> bool:
        return self._get(self.service) is not None

    def read(self) -> str | None:
        """Return the record, or None; if chunks are missing or changed, the header, which is not a valid record."""
        head = self._get(self.service)
        header = _HEADER.fullmatch(head or "")
        if header is None:
            return head
        slot, count, checksum = header.groups()
        text = "".join(self._get(self._chunk(slot, number)) or "" for number in range(int(count)))
        return text if _checksum(text) == checksum else head

    def write(self, text: str) -> None:
        """Replace the record by ``text``. The old one stays intact until the header changes."""
        header = _HEADER.fullmatch(self._get(self.service) or "")
        old = header[1] if header else None
        if len(text) <= CHUNK:
            self._set(self.service, text)
            slot, count = "a", 0
        else:
            slot = "a" if old == "b" else "b"
            count = self._write_chunks(slot, text)
            self._set(self.service, f"chunks:{slot}:{count}:{_checksum(text)}")
        self._clear(slot, count)
        self._clear("b" if slot == "a" else "a", 0)

    def remove(self) -> None:
        """Remove the header, and with it the record, then all chunks, including those of killed writers."""
        self._delete(self.service)
        for slot in "ab":
            self._clear(slot, 0)

    def _write_chunks(self, slot: str, text: str) -> int:
        chunks = [text[start : start + CHUNK] for start in range(0, len(text), CHUNK)]
        for number, chunk in enumerate(chunks):
            self._set(self._chunk(slot, number), chunk)
        return len(chunks)

    def _clear(self, slot: str, keep: int) -> None:
        """Remove the chunks of ``slot`` from number ``keep`` on, in descending order."""
        end = keep
        while self._get(self._chunk(slot, end)) is not None:
            end += 1
        for number in reversed(range(keep, end)):
            self._delete(self._chunk(slot, number))

    def _chunk(self, slot: str, number: int) -> str:
        return f"{self.service}/{slot}/{number}"

    def _get(self, service: str) -> str | None:
        self._check_deadline()
        return system_keyring.get(service, _USER)

    def _set(self, service: str, value: str) -> None:
        self._check_deadline()
        system_keyring.set_(service, _USER, value)

    def _delete(self, service: str) -> None:
        self._check_deadline()
        system_keyring.delete(service, _USER)

    def _check_deadline(self) -> None:
        if time.monotonic() > self._end:
            raise TokenStoreError(system_keyring.UNLOCK)


def _lock_folder() -> Path:
    from platformdirs import user_data_path

    return user_data_path("pywry-auth-nb") / "locks"


def _as_bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode("utf-8", "surrogatepass")


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _keys_in(text: str | None) -> list[str]:
    """Return the keys in an index. A damaged one counts as empty, and is filled again."""
    try:
        keys = json.loads(text or "[]")
    except (ValueError, RecursionError):
        return []
    return [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []
