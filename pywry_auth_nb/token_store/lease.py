"""`Lease`: the right to renew what is kept under one key, which one at a time may have."""

from __future__ import annotations

import math
import threading
import time
import weakref
from typing import TYPE_CHECKING

from .._io import fork

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_BOOT = getattr(time, "CLOCK_BOOTTIME", None)  # Linux; elsewhere the wall clock also goes on in suspend


class Lease:
    """Held until it is released; or, if it has a term, until that is over.

    Args:
        give_up: Frees the lock behind it.
        seconds: Its term, from now.
    """

    def __init__(self, give_up: Callable[[], Awaitable[None]] | None = None, seconds: float = math.inf) -> None:
        self._give_up = give_up
        self._until = _now() + seconds

    def lasts(self, seconds: float) -> bool:
        """Whether it will still be held in so many seconds, also if the machine or the process was asleep since."""
        return _now() + seconds < self._until

    async def release(self) -> None:
        """Let others have it."""
        give_up, self._give_up = self._give_up, None
        if give_up is not None:
            await give_up()


class _LocalLeases:
    """Who has the lease of which record among the sessions of this process."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._taken: weakref.WeakValueDictionary[str, LocalLease] = weakref.WeakValueDictionary()

    def take(self, name: str) -> LocalLease | None:
        with self._guard:
            if name in self._taken:
                return None
            self._taken[name] = lease = LocalLease(name)
            return lease

    def release(self, lease: LocalLease) -> None:
        with self._guard:
            if self._taken.get(lease.name) is lease:
                del self._taken[lease.name]


class LocalLease:
    """The lease of one record, among the sessions of this process. Whoever drops it, or forks, has given it back."""

    def __init__(self, name: str) -> None:
        self.name = name

    @staticmethod
    def take(name: str) -> LocalLease | None:
        """Return the lease of the record called ``name``, or None while somebody else has it."""
        return _local_leases.take(name)

    async def release(self) -> None:
        """Let others have it."""
        _local_leases.release(self)


_local_leases = _LocalLeases()


def _start_over() -> None:
    """In a forked child nobody holds anything: the threads that did are gone."""
    global _local_leases  # noqa: PLW0603 - one per process is the point
    _local_leases = _LocalLeases()


fork.in_child(_start_over)


def _now() -> float:
    return time.time() if _BOOT is None else time.clock_gettime(_BOOT)
