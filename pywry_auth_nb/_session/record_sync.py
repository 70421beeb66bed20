"""`RecordSync`: one session's record in its store, with deadlines, and with errors of ours alone."""

from __future__ import annotations

import asyncio
import getpass
import logging
import math
import os
import time
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from ..errors import TokenStoreError, without_traceback

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..token_store import Lease, Record, TokenStore

T = TypeVar("T")

log = logging.getLogger("pywry_auth_nb")

STORE_DEADLINE = 10.0  # seconds
GRACE = 3.0  # seconds without a refresh after a store has lost something, or was away: see `wait_for_others`
_UNKNOWN = object()  # as a stamp it differs from every other


class Reading(NamedTuple):
    """A record as it was read, and whether the store had failed when it was last asked."""

    record: Record
    after_outage: bool


class RecordSync:
    """The store as one session sees it. Use it on the background loop.

    Args:
        store: The store.
        key: Under which name the session's record rests there.

    Attributes:
        loaded: Whether the record has been read.
        store_unavailable: Whether the store failed when it was last asked.
    """

    def __init__(self, store: TokenStore, key: str) -> None:
        self.store = store
        self.key = key
        self.loaded = False
        self.store_unavailable = False
        self._stamp = _UNKNOWN  # of the record that was last read
        self._refresh_not_before = -math.inf  # monotonic seconds

    async def changed(self) -> Reading | None:
        """Return the record if it is another one than was last read; also if the store was away in between."""
        stamp = await self._ask(self.store.stamp(self.key))
        if not self.is_behind(stamp):
            return None
        reading = await self.read()
        self._stamp = stamp  # asked for before: a change in between is seen the next time
        return reading

    def is_behind(self, stamp: object) -> bool:
        """Whether the record must be read, now that its stamp is ``stamp``."""
        return self.store_unavailable or stamp != self._stamp

    def forget_stamp(self) -> None:
        """Read the record the next time, whatever its stamp is."""
        self._stamp = _UNKNOWN

    def failed(self) -> None:
        """Note that the store has failed."""
        self.store_unavailable = True
        self.forget_stamp()

    async def read(self) -> Reading:
        """Read the record. A store that was away has it from now on, perhaps an old one."""
        record = await self._ask(self.store.read(self.key))
        after_outage, self.store_unavailable = self.store_unavailable, False
        return Reading(record, after_outage)

    async def is_unchanged(self) -> bool:
        """Whether no program has written the record since it was read, as far as its stamp tells."""
        return await self._ask(self.store.stamp(self.key)) == self._stamp

    async def update(self, change: Callable[[Record], Record | None]) -> Record:
        """Put ``change`` of what is stored in its place; see :meth:`TokenStore.update`."""
        try:
            return await self._ask(self.store.update(self.key, change))
        finally:
            self.forget_stamp()  # a store that goes back to what it had before this must not look unchanged

    async def delete(self) -> None:
        """Remove the record."""
        await self._ask(self.store.delete(self.key))

    async def try_lease(self) -> Lease | None:
        """Take the lease of the record, or return None while another session has it."""
        return await self._ask(self.store.try_lease(self.key))

    async def release(self, lease: Lease) -> None:
        """Release a lease; if that fails it ends with its term, or with this process."""
        try:
            await asyncio.wait_for(lease.release(), STORE_DEADLINE)
        except Exception as error:  # noqa: BLE001 - a store may be of the user's own making
            log.warning("a lock of the token store could not be released (%s)", type(error).__name__)

    # -- others who may know better ---------------------------------------------------------------------------------

    def wait_for_others(self) -> None:
        """Refresh nothing for a while: another kernel may have newer tokens than the store, and store them soon."""
        self._refresh_not_before = time.monotonic() + GRACE

    async def others_had_time(self) -> None:
        """Wait until a refresh may begin; see :meth:`wait_for_others`."""
        await asyncio.sleep(max(self._refresh_not_before - time.monotonic(), 0))

    @property
    def may_refresh(self) -> bool:
        """Whether a refresh may begin; see :meth:`wait_for_others`."""
        return time.monotonic() >= self._refresh_not_before

    async def _ask(self, question: Awaitable[T]) -> T:
        """Await an answer of the store, and remember a failure.

        Raises:
            TokenStoreError: Whatever went wrong.
        """
        try:
            return await ask_store(question)
        except TokenStoreError as error:
            if not self.store_unavailable:
                log.warning("the token store failed (%s)", error.code)
            self.store_unavailable = True
            raise without_traceback(error) from None


async def ask_store(question: Awaitable[T]) -> T:
    """Await an answer of a store for 10 s at most.

    Raises:
        TokenStoreError: Whatever went wrong; of a foreign error only the type, its text may hold anything.
    """
    try:
        return await asyncio.wait_for(question, STORE_DEADLINE)
    except TokenStoreError as failure:
        error = failure
    except asyncio.TimeoutError:
        error = TokenStoreError("The token store does not answer in time. Try again in a moment.")
    except Exception as failure:  # noqa: BLE001 - a store may be of the user's own making
        error = TokenStoreError(
            f"The token store failed ({type(failure).__name__}). Correct its class, or use another store.",
            code="store_failed",
        )
    raise without_traceback(error)


def current_user() -> str:
    """Return who runs this kernel: on a hub its user, since there the account may be the same for all."""
    try:
        return os.environ.get("JUPYTERHUB_USER") or getpass.getuser()
    except (OSError, KeyError, ImportError):  # an account without a name, in a container
        return str(os.getuid()) if hasattr(os, "getuid") else ""
