"""`TokenStore`: the interface of everything that can keep a token set, and what the persistent ones share."""

from __future__ import annotations

import asyncio
import math
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, ParamSpec, TypeVar

from .._loop import in_thread, on_loop
from ..errors import TokenStoreError
from ..tokens import hidden
from .codec import Codec

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..tokens import OAuthTokenSet

P = ParamSpec("P")
T = TypeVar("T")

#: Seconds that one operation may take; less than a session waits, so that the store's own sentence is the one shown.
DEADLINE = 8.0


class TokenStore(ABC):
    """Keeps token sets under string keys. Every method may be awaited from any event loop.

    Every method raises :class:`~pywry_auth_nb.errors.TokenStoreError` when the store could not do it: its ``code``
    says whether waiting, a setting or a new sign-in helps. No other error leaves a store.
    """

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


class RecordStore(TokenStore):
    """A store of bytes under names, with the tokens packed by one :class:`Codec`.

    A concrete store says where bytes lie: ``_read``, ``_write``, ``_remove``, ``_names``. They run on the background
    loop and raise only :class:`TokenStoreError`.
    """

    #: What the store is called in a record's full name; it never changes, or encrypted records cannot be read.
    kind: ClassVar[str]

    def __init__(self, encryption_key: str | None) -> None:
        self._codec = Codec(hidden(encryption_key))

    @on_loop
    async def save(self, key: str, tokens: OAuthTokenSet) -> None:
        """Keep ``tokens`` under ``key``, in place of what was there; on an error, what was there is still there."""
        await self._write(key, self._codec.encode(tokens, self._full_name(key)), refresh_lifetime(tokens))

    @on_loop
    async def load(self, key: str) -> OAuthTokenSet | None:
        """Return what is kept under ``key``, or None."""
        record = await self._read(key)
        return None if record is None else self._codec.decode(record, self._full_name(key))

    @on_loop
    async def delete(self, key: str) -> None:
        """Forget what is kept under ``key``; nothing there is fine."""
        await self._remove(key)

    @on_loop
    async def exists(self, key: str) -> bool:
        """Whether something is kept under ``key``, readable or not."""
        return await self._read(key) is not None

    @on_loop
    async def list_keys(self) -> list[str]:
        """Return all keys, sorted."""
        return sorted(await self._names())

    def _full_name(self, key: str) -> str:
        """Return what no other record of any store has: encryption binds a record to it."""
        return f"{self.kind}:{key}"

    @abstractmethod
    async def _read(self, key: str) -> bytes | None:
        """Return the record of ``key``, or None."""

    @abstractmethod
    async def _write(self, key: str, record: bytes, lifetime: float | None) -> None:
        """Put ``record`` in place of what is there, whole or not at all.

        Args:
            key: Its name.
            record: ASCII bytes.
            lifetime: Seconds after which it is of no use; None when unknown. A store that cannot forget by itself
                ignores it.
        """

    @abstractmethod
    async def _remove(self, key: str) -> None:
        """Remove the record of ``key``, if any."""

    @abstractmethod
    async def _names(self) -> list[str]:
        """Return the keys of all records, in any order."""


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


def refresh_lifetime(tokens: OAuthTokenSet) -> float | None:
    """Return the seconds for which these tokens are of any use, or None when the provider does not say.

    Keycloak says it as ``refresh_expires_in`` (0 for a refresh token that never ends), GitHub and Microsoft as
    ``refresh_token_expires_in``; no RFC has a name for it. What counts is the longer life of the two tokens, never
    that of the access token alone: the refresh token is what the record is kept for.
    """
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
