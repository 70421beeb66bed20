"""`TokenStore`: the interface of token stores, and the base classes of the persistent ones."""

from __future__ import annotations

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, ParamSpec, TypeVar

from .._io.loop import in_thread, on_loop
from ..errors import TokenStoreError, without_traceback
from ..tokens import secret_or_none
from .codec import Codec
from .lease import Lease, LocalLease
from .record import NOTHING, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ..tokens import OAuthTokenSet
    from .locks import FileLease

P = ParamSpec("P")
T = TypeVar("T")

#: Seconds that a request may take; less than a session waits, so that the store's own message is shown.
DEADLINE = 8.0

_TRIES = 50  # attempts of a swap while other programs change the record


class TokenStore(ABC):
    """Stores token sets under string keys. Every method may be awaited from any event loop.

    Every method raises :class:`~pywry_auth_nb.errors.TokenStoreError` if it fails: its ``code`` says whether waiting, a
    setting or a new sign-in helps. Methods raise no other errors.

    A custom store must implement the five abstract methods. Only one process can then use it safely; for several, it
    must also implement :meth:`read`, :meth:`swap`, :meth:`stamp` and :meth:`try_lease`.
    """

    #: Whether other processes share the records, and :meth:`try_lease` excludes them.
    shared: ClassVar[bool] = False
    #: Whether the store keeps a record of a sign-out, so that a missing record means a loss.
    keeps_sign_outs: ClassVar[bool] = False

    @abstractmethod
    async def save(self, key: str, tokens: OAuthTokenSet) -> None:
        """Store ``tokens`` under ``key``. After an error, the previous tokens are still stored."""

    @abstractmethod
    async def load(self, key: str) -> OAuthTokenSet | None:
        """Return the tokens stored under ``key``, or None."""

    @abstractmethod
    async def delete(self, key: str) -> None:
        """Delete the tokens stored under ``key``, if any."""

    @abstractmethod
    async def exists(self, key: str) -> bool:
        """Whether there are tokens under ``key``."""

    @abstractmethod
    async def list_keys(self) -> list[str]:
        """Return all keys."""

    async def list_keys_below(self, start: str) -> list[str]:
        """Return the keys that begin with ``start``; also those of records without tokens, if the store knows."""
        return [key for key in await self.list_keys() if key.startswith(start)]

    # -- for several kernels ------------------------------------------------------------------------------------------

    async def read(self, key: str) -> Record:
        """Return the record stored under ``key``."""
        tokens = await self.load(key)
        ours = self._swapped().get(key, NOTHING)
        if tokens == ours.tokens:
            return replace(ours, version=tokens)
        if tokens is None:
            return NOTHING
        generation = max(int(tokens.issued_at * 1e6), 1)
        return Record(generation, generation, tokens, version=tokens)

    async def swap(self, key: str, old: Record, new: Record) -> bool:
        """Replace ``old``, which was read before, by ``new``.

        Returns:
            Whether it was replaced: False if the stored record has changed.
        """
        if (await self.read(key)).version != old.version:
            return False
        if new.tokens is None or new.ended:
            await self.delete(key)
        else:
            await self.save(key, new.tokens)
        self._swapped()[key] = new
        return True

    def _swapped(self) -> dict[str, Record]:
        """Return the records that this process has stored, by key, since the abstract methods keep only tokens."""
        records: dict[str, Record] = self.__dict__.setdefault("_swapped_records", {})
        return records

    async def stamp(self, key: str) -> object:
        """Return a value that differs after every change of the record under ``key``; should be cheap."""
        return await self.load(key)

    async def stamps(self, keys: Collection[str]) -> dict[str, object]:
        """Return the stamps of all ``keys``. Each process requests those of its sessions every two seconds.

        If a stamp is unavailable, its value is the error, so that other sessions are not affected.
        """
        answers = await asyncio.gather(*map(self.stamp, keys), return_exceptions=True)
        return dict(zip(keys, answers, strict=True))

    async def listen_for_changes(self, changed: Callable[[str], object]) -> None:
        """Call ``changed`` with the key after every change, until the connection ends. Return if the store cannot.

        Notifications are faster than polling :meth:`stamps`, but may be lost.
        """

    async def try_lease(self, key: str) -> Lease | None:
        """Take the lease of ``key`` for one refresh, or return None while another session has it. Never waits."""
        local_lease = LocalLease.take(f"{id(self)} {key}")
        return None if local_lease is None else Lease(local_lease.release)

    async def update(self, key: str, change: Callable[[Record], Record | None]) -> Record:
        """Replace the record under ``key`` by ``change`` of it, trying again if another program is faster.

        Args:
            key: The key.
            change: Called with the stored record; returns the new one, or None to leave it unchanged.

        Returns:
            The record that is stored now.
        """
        for _ in range(_TRIES):
            old = await self.read(key)
            new = change(old)
            if new is None:
                return old
            if await self.swap(key, old, new):
                return new
        raise TokenStoreError("Too many programs change these tokens at once. Try again in a moment.")


class RecordStore(TokenStore):
    """A store that implements saving and loading by reading and swapping records."""

    keeps_sign_outs = True

    @abstractmethod
    async def read(self, key: str) -> Record:
        """Return the record stored under ``key``."""

    @abstractmethod
    async def swap(self, key: str, old: Record, new: Record) -> bool:
        """Replace ``old`` by ``new``, unless the stored record has changed; return whether it was replaced."""

    @abstractmethod
    async def _names(self) -> list[str]:
        """Return the keys of all records, in any order."""

    @on_loop
    async def save(self, key: str, tokens: OAuthTokenSet) -> None:
        """Store ``tokens`` under ``key``. After an error, the previous tokens are still stored."""
        await self.update(key, lambda old: old.signed_in(tokens, None))

    @on_loop
    async def load(self, key: str) -> OAuthTokenSet | None:
        """Return the tokens stored under ``key``, or None."""
        record = await self.read(key)
        if record.problem is not None:
            raise without_traceback(record.problem)
        return record.tokens

    @on_loop
    async def exists(self, key: str) -> bool:
        """Whether there are tokens under ``key``, readable or not."""
        record = await self.read(key)
        return record.tokens is not None or record.problem is not None

    @on_loop
    async def list_keys(self) -> list[str]:
        """Return all keys, sorted."""
        return sorted([key for key in await self._names() if await self.exists(key)])

    @on_loop
    async def list_keys_below(self, start: str) -> list[str]:
        """Return the keys that begin with ``start``, without reading the records."""
        return [key for key in await self._names() if key.startswith(start)]


class PackedStore(RecordStore):
    """A store of bytes, to which a :class:`Codec` packs the records.

    Concrete stores implement ``_read``, ``_swap``, ``_remove``, ``_names``, ``_stamps`` and ``_try_lease``. These run
    on the background loop and raise only :class:`TokenStoreError`.
    """

    shared = True
    #: Part of the full name of records. It must never change, or encrypted records become unreadable.
    kind: ClassVar[str]

    def __init__(self, encryption_key: str | None) -> None:
        self._codec = Codec(secret_or_none(encryption_key))

    @property
    def encrypts(self) -> bool:
        """Whether an encryption key is set."""
        return self._codec.encrypts

    @on_loop
    async def read(self, key: str) -> Record:
        """Return the record stored under ``key``. One that cannot be read has a ``problem``, and can be replaced."""
        packed = await self._read(key)
        if packed is None:
            return NOTHING
        try:
            return replace(self._codec.decode(packed, self._full_name(key)), version=packed)
        except TokenStoreError as error:
            return Record(problem=without_traceback(error), version=packed)

    @on_loop
    async def swap(self, key: str, old: Record, new: Record) -> bool:
        """Replace ``old`` by ``new``, unless the stored record has changed; return whether it was replaced."""
        packed = self._codec.encode(new, self._full_name(key))
        return await self._swap(key, old.version, packed, refresh_lifetime(new.tokens))

    @on_loop
    async def delete(self, key: str) -> None:
        """Delete the tokens stored under ``key``, if any."""
        await self._remove(key)

    @on_loop
    async def stamp(self, key: str) -> object:
        """Return a value that differs after every change of the record under ``key``."""
        stamp = (await self._stamps([key]))[key]
        if isinstance(stamp, TokenStoreError):
            raise stamp
        return stamp

    @on_loop
    async def stamps(self, keys: Collection[str]) -> dict[str, object]:
        """Return the stamps of all ``keys``, in one request."""
        return await self._stamps(keys)

    @on_loop
    async def try_lease(self, key: str) -> Lease | None:
        """Take the lease of ``key``, or return None while another session, here or elsewhere, has it."""
        local_lease = LocalLease.take(self._full_name(key))
        if local_lease is None:
            return None
        lease = None
        try:
            lease = await self._try_lease(key, local_lease)
        finally:
            if lease is None:
                await local_lease.release()
        return lease

    def _full_name(self, key: str) -> str:
        """Return a name that is unique among all stores; encryption binds the record to it."""
        return f"{self.kind}:{key}"

    @abstractmethod
    async def _read(self, key: str) -> bytes | None:
        """Return the packed record of ``key``, or None."""

    @abstractmethod
    async def _swap(self, key: str, old: bytes | None, new: bytes, lifetime: float | None) -> bool:
        """Replace ``old`` by ``new`` atomically.

        Args:
            key: The key.
            old: The expected bytes; None for no record.
            new: ASCII bytes.
            lifetime: Seconds after which the record is useless; None if unknown. A store without expiry ignores it.

        Returns:
            Whether ``new`` is stored now; True also if an earlier attempt, thought lost, has stored it.
        """

    @abstractmethod
    async def _remove(self, key: str) -> None:
        """Remove the record of ``key``, if any."""

    @abstractmethod
    async def _stamps(self, keys: Collection[str]) -> dict[str, object]:
        """Return for each key a value that differs after every change, or the error for that key."""

    @abstractmethod
    async def _try_lease(self, key: str, local_lease: LocalLease) -> Lease | None:
        """Acquire the lease among all processes. Releasing it also releases ``local_lease``."""


async def bounded(help_text: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a blocking ``function`` on its own thread, for at most :data:`DEADLINE` seconds.

    Raises:
        TokenStoreError: The time is up; code ``store_unavailable``, with ``help_text`` as its message. The thread
            continues, with the locks that it holds.
    """
    try:
        return await asyncio.wait_for(in_thread(function, *args, **kwargs), DEADLINE)
    except asyncio.TimeoutError:
        raise TokenStoreError(help_text) from None


async def lease_on(lease: FileLease, local_lease: LocalLease, help_text: str) -> Lease | None:
    """Acquire a file lock as a lease, or return None while another program holds it; raises as :func:`bounded`."""
    try:
        taken = await bounded(help_text, lease.take)
    except BaseException:  # it may still succeed, and must not stay locked
        threading.Thread(target=lease.release, name="pywry-auth-io", daemon=True).start()
        raise

    async def give_up() -> None:
        try:
            await bounded(help_text, lease.release)
        finally:
            await local_lease.release()

    return Lease(give_up) if taken else None


def each(keys: Collection[str], stamp_of: Callable[[str], object]) -> dict[str, object]:
    """Return for each key what ``stamp_of`` returns, or the TokenStoreError that it raises."""
    stamps: dict[str, object] = {}
    for key in keys:
        try:
            stamps[key] = stamp_of(key)
        except TokenStoreError as error:  # noqa: PERF203 - one record must not affect the others
            stamps[key] = without_traceback(error)
    return stamps


def refresh_lifetime(tokens: OAuthTokenSet | None) -> float | None:
    """Return the seconds for which these tokens are useful, or None if the provider does not say.

    The longer lifetime of the two tokens counts, never that of the access token alone, since the record is kept for the
    refresh token.
    """
    if tokens is None or tokens.refresh_expires_at is None:
        return None
    return max(max(tokens.refresh_expires_at, tokens.expires_at or 0) - time.time(), 60.0)
