"""`TokenStore`: the interface of everything that can keep a token set, and what the persistent ones share."""

from __future__ import annotations

import asyncio
import math
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

#: Seconds that one question may take; less than a session waits, so that the store's own sentence is the one shown.
DEADLINE = 8.0

_TRIES = 50  # of a swap that others are faster at


class TokenStore(ABC):
    """Keeps token sets under string keys. Every method may be awaited from any event loop.

    Every method raises :class:`~pywry_auth_nb.errors.TokenStoreError` when the store could not do it: its ``code``
    says whether waiting, a setting or a new sign-in helps. No other error leaves a store.

    A store of one's own needs the five abstract methods. It is then good for one process: only with :meth:`read`,
    :meth:`swap`, :meth:`stamp` and :meth:`try_lease` of its own can several share it safely.
    """

    #: Whether other processes see what is kept, and :meth:`try_lease` keeps them apart.
    shared: ClassVar[bool] = False
    #: Whether a sign-out is kept, too, so that nothing there means that something was lost.
    keeps_sign_outs: ClassVar[bool] = False

    @abstractmethod
    async def save(self, key: str, tokens: OAuthTokenSet) -> None:
        """Keep ``tokens`` under ``key``, in place of what was there; on an error, what was there is still there."""

    @abstractmethod
    async def load(self, key: str) -> OAuthTokenSet | None:
        """Return what is kept under ``key``, or None."""

    @abstractmethod
    async def delete(self, key: str) -> None:
        """Forget what is kept under ``key``; nothing there is fine."""

    @abstractmethod
    async def exists(self, key: str) -> bool:
        """Whether something is kept under ``key``."""

    @abstractmethod
    async def list_keys(self) -> list[str]:
        """Return all keys."""

    # -- for several kernels ------------------------------------------------------------------------------------------

    async def read(self, key: str) -> Record:
        """Return what is kept under ``key``, with its place in the order of records."""
        tokens = await self.load(key)
        ours = self._swapped().get(key, NOTHING)
        if tokens == ours.tokens:
            return replace(ours, version=tokens)
        if tokens is None:
            return NOTHING
        generation = max(int(tokens.issued_at * 1e6), 1)
        return Record(generation, generation, tokens, version=tokens)

    async def swap(self, key: str, old: Record, new: Record) -> bool:
        """Put ``new`` in place of ``old``, which was read before.

        Returns:
            Whether that was done: not when something else lies there by now.
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
        """Return what this process has put there, by key: five methods do not keep a record's place in the order."""
        records: dict[str, Record] = self.__dict__.setdefault("_swapped_records", {})
        return records

    async def stamp(self, key: str) -> object:
        """Return something that differs after every change of what is kept under ``key``; cheap to ask for."""
        return await self.load(key)

    async def stamps(self, keys: Collection[str]) -> dict[str, object]:
        """Return the stamps of all ``keys``: what one process asks for all its sessions every two seconds."""
        return {key: await self.stamp(key) for key in keys}

    async def listen(self, changed: Callable[[str], object]) -> None:
        """Call ``changed`` with the key after every change, until the connection ends; where the store cannot, return.

        What is heard comes sooner than :meth:`stamps` would show it, and may be lost on its way.
        """

    async def try_lease(self, key: str) -> Lease | None:
        """Take the lease of ``key`` for one refresh, or return None while somebody else has it; never waits for it."""
        local_lease = LocalLease.take(f"{id(self)} {key}")
        return None if local_lease is None else Lease(local_lease.release)

    async def update(self, key: str, change: Callable[[Record], Record | None]) -> Record:
        """Put ``change`` of what is kept in its place, however many others do the same at once.

        Args:
            key: The name.
            change: Gets what is there, and returns what is to be there, or None to leave it.

        Returns:
            What is there now.
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
    """A store whose five methods are made of two: reading a record, and replacing it if it has not changed."""

    keeps_sign_outs = True

    @abstractmethod
    async def read(self, key: str) -> Record:
        """Return what is kept under ``key``."""

    @abstractmethod
    async def swap(self, key: str, old: Record, new: Record) -> bool:
        """Put ``new`` in place of ``old``, unless something else lies there by now."""

    @abstractmethod
    async def _names(self) -> list[str]:
        """Return the keys of all records, in any order."""

    @on_loop
    async def save(self, key: str, tokens: OAuthTokenSet) -> None:
        """Keep ``tokens`` under ``key``, in place of what was there; on an error, what was there is still there."""
        await self.update(key, lambda old: old.signed_in(tokens, None))

    @on_loop
    async def load(self, key: str) -> OAuthTokenSet | None:
        """Return what is kept under ``key``, or None."""
        record = await self.read(key)
        if record.problem is not None:
            raise without_traceback(record.problem)
        return record.tokens

    @on_loop
    async def exists(self, key: str) -> bool:
        """Whether something is kept under ``key``, readable or not."""
        record = await self.read(key)
        return record.tokens is not None or record.problem is not None

    @on_loop
    async def list_keys(self) -> list[str]:
        """Return all keys, sorted."""
        return sorted([key for key in await self._names() if await self.exists(key)])


class PackedStore(RecordStore):
    """A store of bytes under names, with the records packed by one :class:`Codec`.

    A concrete store says where bytes lie: ``_read``, ``_swap``, ``_remove``, ``_names``. They run on the background
    loop and raise only :class:`TokenStoreError`.
    """

    shared = True
    #: What the store is called in a record's full name; it never changes, or encrypted records cannot be read.
    kind: ClassVar[str]

    def __init__(self, encryption_key: str | None) -> None:
        self._codec = Codec(secret_or_none(encryption_key))

    @property
    def encrypts(self) -> bool:
        """Whether an encryption key is set."""
        return self._codec.encrypts

    @on_loop
    async def read(self, key: str) -> Record:
        """Return what is kept under ``key``; what cannot be read says why, and can be replaced."""
        packed = await self._read(key)
        if packed is None:
            return NOTHING
        try:
            return replace(self._codec.decode(packed, self._full_name(key)), version=packed)
        except TokenStoreError as error:
            return Record(problem=without_traceback(error), version=packed)

    @on_loop
    async def swap(self, key: str, old: Record, new: Record) -> bool:
        """Put ``new`` in place of ``old``, unless something else lies there by now."""
        packed = self._codec.encode(new, self._full_name(key))
        return await self._swap(key, old.version, packed, refresh_lifetime(new.tokens))

    @on_loop
    async def delete(self, key: str) -> None:
        """Forget what is kept under ``key``; nothing there is fine."""
        await self._remove(key)

    @on_loop
    async def stamp(self, key: str) -> object:
        """Return something that differs after every change of what is kept under ``key``."""
        return (await self._stamps([key]))[key]

    @on_loop
    async def stamps(self, keys: Collection[str]) -> dict[str, object]:
        """Return the stamps of all ``keys``, asked for at once."""
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
        """Return what no other record of any store has: encryption binds a record to it."""
        return f"{self.kind}:{key}"

    @abstractmethod
    async def _read(self, key: str) -> bytes | None:
        """Return the packed record of ``key``, or None."""

    @abstractmethod
    async def _swap(self, key: str, old: bytes | None, new: bytes, lifetime: float | None) -> bool:
        """Put ``new`` in place of ``old``, whole or not at all; also if a try before, thought lost, has done it.

        Args:
            key: Its name.
            old: What must lie there; None for nothing.
            new: ASCII bytes.
            lifetime: Seconds after which it is of no use; None when unknown. A store that cannot forget by itself
                ignores it.

        Returns:
            Whether ``new`` lies there now.
        """

    @abstractmethod
    async def _remove(self, key: str) -> None:
        """Remove the record of ``key``, if any."""

    @abstractmethod
    async def _stamps(self, keys: Collection[str]) -> dict[str, object]:
        """Return for each key something that differs after every change."""

    @abstractmethod
    async def _try_lease(self, key: str, local_lease: LocalLease) -> Lease | None:
        """Take the lease among all processes; it gives up ``local_lease``, too, when it is released."""


async def bounded(help_text: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a blocking ``function`` in a thread of its own for :data:`DEADLINE` seconds at most.

    Raises:
        TokenStoreError: Time is up; code ``store_unavailable``, with ``help_text`` as its sentence. The thread is left
            to itself, with the locks that it holds.
    """
    try:
        return await asyncio.wait_for(in_thread(function, *args, **kwargs), DEADLINE)
    except asyncio.TimeoutError:
        raise TokenStoreError(help_text) from None


async def lease_on(lease: FileLease, local_lease: LocalLease, help_text: str) -> Lease | None:
    """Take a file lock as a lease, or return None while another program has it; errors as :func:`bounded`."""
    try:
        taken = await bounded(help_text, lease.take)
    except BaseException:  # it may still succeed, and must not stay
        threading.Thread(target=lease.release, name="pywry-auth-io", daemon=True).start()
        raise

    async def give_up() -> None:
        try:
            await bounded(help_text, lease.release)
        finally:
            await local_lease.release()

    return Lease(give_up) if taken else None


def refresh_lifetime(tokens: OAuthTokenSet | None) -> float | None:
    """Return the seconds for which these tokens are of any use, or None when the provider does not say.

    Keycloak says it as ``refresh_expires_in`` (0 for a refresh token that never ends), GitHub and Microsoft as
    ``refresh_token_expires_in``; no RFC has a name for it. What counts is the longer life of the two tokens, never
    that of the access token alone: the refresh token is what the record is kept for.
    """
    if tokens is None:
        return None
    for member in ("refresh_expires_in", "refresh_token_expires_in"):
        seconds = _seconds(tokens.raw.get(member))
        if seconds:
            return max(tokens.issued_at + max(seconds, tokens.expires_in or 0) - time.time(), 60.0)
    return None


def _seconds(value: object) -> float | None:
    """Read a positive number of seconds, also from a decimal string (seen in the field)."""
    try:
        seconds = float(value) if isinstance(value, (int, float, str)) else math.nan
    except (ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None
