"""`RecordSync`: access to a session's record in the store, with deadlines and translated errors."""

from __future__ import annotations

import asyncio
import getpass
import logging
import math
import os
import time
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from ..errors import TokenStoreError, without_traceback
from ..token_store.locks import LockTimeout

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..token_store import Lease, Record, TokenStore

T = TypeVar("T")

log = logging.getLogger("pywry_auth_nb")

STORE_DEADLINE = 10.0  # seconds
QUEUE = 22.0  # seconds after which no further wait for a lock begins: each takes 7, and a reader waits 45
GRACE = 3.0  # seconds without a refresh after a store lost a record or was unavailable; see `wait_for_others`
_UNKNOWN = object()  # a stamp that differs from every other


class Reading(NamedTuple):
    """A record that was read, and whether the previous request to the store had failed."""

    record: Record
    after_outage: bool


class RecordSync:
    """One session's record in the store. Use it on the background loop.

    Args:
        store: The store.
        key: Key of the session's record.

    Attributes:
        loaded: Whether the record has been read.
        store_unavailable: Whether the last request to the store failed.
    """

    def __init__(self, store: TokenStore, key: str) -> None:
        self.store = store
        self.key = key
        self.loaded = False
        self.store_unavailable = False
        self._stamp = _UNKNOWN  # of the record read last
        self._refresh_not_before = -math.inf  # monotonic seconds

    async def changed(self) -> Reading | None:
        """Return the record if it has changed since it was last read, or if the store was unavailable meanwhile."""
        key = self.key
        stamp = await self._ask(self.store.stamp(key))
        if key != self.key or not self.is_behind(stamp):
            return None
        reading = await self.read()
        self._stamp = stamp  # from before the read: a change in between is seen the next time
        return reading

    def is_behind(self, stamp: object) -> bool:
        """Whether the record must be read, given its current ``stamp``."""
        return self.store_unavailable or stamp != self._stamp

    def move(self, key: str) -> None:
        """Use another record from now on. What was asked about the one before must not be used."""
        self.key, self.loaded = key, False
        self.forget_stamp()

    def forget_stamp(self) -> None:
        """Make the next sync read the record, whatever its stamp."""
        self._stamp = _UNKNOWN

    def failed(self, error: TokenStoreError) -> None:
        """Record that the store has failed, and make the next sync read the record, whatever its stamp."""
        self._note(error)
        self.forget_stamp()

    def _note(self, error: TokenStoreError) -> None:
        if not self.store_unavailable:
            log.warning("the token store failed (%s)", error.code)
        self.store_unavailable = True

    async def read(self) -> Reading:
        """Read the record. If the store was unavailable, the record may be an old one."""
        key = ""
        while key != self.key:  # it was moved meanwhile
            key = self.key
            record = await self._noted(self._read_in_turn())
        after_outage, self.store_unavailable = self.store_unavailable, False
        return Reading(record, after_outage)

    async def _read_in_turn(self) -> Record:
        """Read the record; where many kernels wait for the store's lock in turn, for longer than one request may."""
        end = time.monotonic() + QUEUE
        while True:
            try:
                return await ask_store(self.store.read(self.key))
            except LockTimeout:  # noqa: PERF203 - each attempt takes seconds
                if time.monotonic() > end:
                    raise

    async def is_unchanged(self) -> bool:
        """Whether the record's stamp is the same as when it was last read."""
        return await self._ask(self.store.stamp(self.key)) == self._stamp

    async def update(self, change: Callable[[Record], Record | None]) -> Record:
        """Replace the record by ``change`` of it; see :meth:`TokenStore.update`."""
        try:
            return await self._ask(self.store.update(self.key, change))
        finally:
            self.forget_stamp()  # a store that reverts this update must not look unchanged

    async def delete(self) -> None:
        """Remove the record."""
        await self._ask(self.store.delete(self.key))

    async def try_lease(self) -> Lease | None:
        """Acquire the lease of the record, or return None while another session holds it."""
        return await self._ask(self.store.try_lease(self.key))

    async def release(self, lease: Lease) -> None:
        """Release a lease. If that fails, it ends with its term or with this process."""
        try:
            await asyncio.wait_for(lease.release(), STORE_DEADLINE)
        except Exception as error:  # noqa: BLE001 - the store may be user-defined
            log.warning("a lock of the token store could not be released (%s)", type(error).__name__)

    # -- waiting for other kernels ----------------------------------------------------------------------------------

    def wait_for_others(self) -> None:
        """Suspend refreshes for a while: another kernel may have newer tokens, and store them soon."""
        self._refresh_not_before = time.monotonic() + GRACE

    async def others_had_time(self) -> None:
        """Wait until a refresh may begin; see :meth:`wait_for_others`."""
        await asyncio.sleep(max(self._refresh_not_before - time.monotonic(), 0))

    @property
    def may_refresh(self) -> bool:
        """Whether a refresh may begin; see :meth:`wait_for_others`."""
        return time.monotonic() >= self._refresh_not_before

    async def _ask(self, question: Awaitable[T]) -> T:
        """Await a request to the store, and record a failure.

        Raises:
            TokenStoreError: The request failed.
        """
        return await self._noted(ask_store(question))

    async def _noted(self, answer: Awaitable[T]) -> T:
        try:
            return await answer
        except TokenStoreError as error:
            self._note(error)
            raise without_traceback(error) from None


async def ask_store(question: Awaitable[T]) -> T:
    """Await a request to a store, for at most 10 s.

    Raises:
        TokenStoreError: The request failed. Of a foreign error it names only the type: its text may contain secrets.
    """
    try:
        return await asyncio.wait_for(question, STORE_DEADLINE)
    except asyncio.TimeoutError:
        error = TokenStoreError("The token store did not answer in time. Try again in a moment.")
    except Exception as failure:  # noqa: BLE001 - the store may be user-defined
        error = as_store_error(failure)
    raise without_traceback(error)


def as_store_error(failure: BaseException) -> TokenStoreError:
    """Convert what a store raised."""
    if isinstance(failure, TokenStoreError):
        return failure
    return TokenStoreError(
        f"The token store failed ({type(failure).__name__}). Correct its class, or use another store.",
        code="store_failed",
    )


def current_user() -> str:
    """Return the user of this kernel; on a hub the hub's user, since all may share one system account."""
    try:
        return os.environ.get("JUPYTERHUB_USER") or getpass.getuser()
    except (OSError, KeyError, ImportError):  # an account without a name, in a container
        return str(os.getuid()) if hasattr(os, "getuid") else ""
