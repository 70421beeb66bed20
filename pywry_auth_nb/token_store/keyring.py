"""`KeyringTokenStore`: tokens in the system's keyring.

Windows' Credential Manager keeps 2,560 bytes of UTF-16 in one entry, and tokens are longer. So a long record lies in
chunks, in one of two slots, and a header names the slot that counts::

    SERVICE/DIGEST            the record itself, or  chunks:a:3:SHA256
    SERVICE/DIGEST/a/0 …      the chunks of slot a
    SERVICE/DIGEST/b/0 …      the chunks of slot b

Writing fills the other slot, then changes the header, then clears the old slot. Chunks are written upwards and removed
downwards, so that what a killed program leaves always begins at 0 and is found again. Every entry has a service name of
its own, because Windows shares one entry among the users of a service.

All programs of ours use the keyring one after the other, whatever they look for: gnome-keyring 42 dies when it is read
and written to at once.

A keyring cannot list, so one more record, the index, holds the keys. Nor does it tell of changes, and to ask it every
few seconds may ask the person: so every change also changes a small file beside the locks.
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
from .base import DEADLINE, PackedStore, bounded, lease_on
from .locks import Locks, digest, own_folder, unusable

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from .lease import Lease, LocalLease

#: Characters in one entry: 2,400 of the 2,560 bytes that Windows allows. Elsewhere every record fits into one, since
#: a Secret Service takes some 15 ms for each.
CHUNK = 1200 if sys.platform == "win32" else 50_000

_USER = "pywry-auth"
_SLOW = "The folder of the locks does not answer. If it is on a network drive, check the connection, then try again."
_HEADER = re.compile(r"chunks:([ab]):([0-9]{1,4}):([0-9a-f]{64})", re.ASCII)
_INDEX = "index"  # no key's record is called so: those are called by a hash
_WHOLE = "keyring"  # the lock of all that is in it


class KeyringTokenStore(PackedStore):
    """Tokens in the keyring of the desktop or the operating system; they survive the kernel.

    Args:
        service_name: Under which name the entries are filed.
        encryption_key: As :class:`~pywry_auth_nb.token_store.codec.Codec` takes it; rarely needed, since a keyring
            encrypts by itself.

    Raises:
        TokenStoreError: Here, before anybody signs in. Code ``store_missing``: there is no keyring, or none that
            keeps secrets; ``store_unavailable``: it stays locked for 15 seconds; ``store_key``: a key that is none.
    """

    kind = "keyring"

    def __init__(self, service_name: str = "pywry-oauth", *, encryption_key: str | None = None) -> None:
        encryption_key = secret_or_none(encryption_key)
        super().__init__(encryption_key)
        self.service_name = service_name
        self._locks = Locks(_lock_folder())
        with self._locks.hold(_WHOLE):
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
        return await bounded(_SLOW, lambda: {key: self._mark_of(key) for key in keys})

    async def _try_lease(self, key: str, local_lease: LocalLease) -> Lease | None:
        return await lease_on(self._locks.lease(self._entry(digest(key)).service), local_lease, _SLOW)

    async def _names(self) -> list[str]:
        return await bounded(system_keyring.UNLOCK, self._list_entries)

    # -- the same, blocking, under the lock ----------------------------------------------------------------------------

    def _read_entry(self, key: str) -> bytes | None:
        entry = self._entry(digest(key))
        with self._locks.hold(_WHOLE):
            return _as_bytes(entry.read())

    def _swap_entry(self, key: str, old: bytes | None, new: bytes) -> bool:
        entry = self._entry(digest(key))
        with self._locks.hold(_WHOLE):
            if _as_bytes(entry.read()) not in (old, new):
                return False
            self._change_index(key, listed=True)  # first: what exists must be listed
            self._change_mark(key)  # before: who sees it then waits for this lock, and if we are killed, it was said
            entry.write(new.decode("ascii"))
        return True

    def _remove_entry(self, key: str) -> None:
        entry = self._entry(digest(key))
        with self._locks.hold(_WHOLE):
            self._change_mark(key)
            entry.remove()
            self._change_index(key, listed=False)

    def _list_entries(self) -> list[str]:
        """Return the listed keys that have a record; a program killed between the two leaves one that has none."""
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
    """One record in the keyring, of any length. Whoever uses it holds its lock.

    It gives up between two calls of the keyring once :data:`DEADLINE` has passed: its caller has been told that it
    failed, and must not find a record that appears minutes later, when somebody unlocks the keyring.
    """

    def __init__(self, service: str) -> None:
        self.service = service
        self._end = time.monotonic() + DEADLINE

    def exists(self) -> bool:
        return self._get(self.service) is not None

    def read(self) -> str | None:
        """Return the record, or None; the bare header, which is no record, where chunks are missing or changed."""
        head = self._get(self.service)
        header = _HEADER.fullmatch(head or "")
        if header is None:
            return head
        slot, count, checksum = header.groups()
        text = "".join(self._get(self._chunk(slot, number)) or "" for number in range(int(count)))
        return text if _checksum(text) == checksum else head

    def write(self, text: str) -> None:
        """Put ``text`` in place of the record: the old one is whole until the header changes."""
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
        """Remove the header, which ends the record, and every chunk, also those of killed writers."""
        self._delete(self.service)
        for slot in "ab":
            self._clear(slot, 0)

    def _write_chunks(self, slot: str, text: str) -> int:
        chunks = [text[start : start + CHUNK] for start in range(0, len(text), CHUNK)]
        for number, chunk in enumerate(chunks):
            self._set(self._chunk(slot, number), chunk)
        return len(chunks)

    def _clear(self, slot: str, keep: int) -> None:
        """Remove the chunks of ``slot`` from number ``keep`` on, the last one first."""
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
    """Return the keys in an index; one that somebody damaged counts as empty, and fills again."""
    try:
        keys = json.loads(text or "[]")
    except (ValueError, RecursionError):
        return []
    return [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []
