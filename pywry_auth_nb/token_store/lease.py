"""`Lease`: the exclusive right to refresh the tokens of one key."""

from __future__ import annotations

import math
import threading
import time
import weakref
from typing import TYPE_CHECKING

from .._io import fork

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_BOOT = getattr(time, "CLOCK_BOOTTIME", None)  # Linux; elsewhere use the wall clock, which also counts time in suspend


class Lease:
    """A lease that is held until it is released, or until its term ends.

    Args:
        give_up: Releases the lock behind it.
        seconds: Its term from now, in seconds.
    """

    def __init__(self, give_up: Callable[[], Awaitable[None]] | None = None, seconds: float = math.inf) -> None:
        self._give_up = give_up
        self._until = _now() + seconds

    def lasts(self, seconds: float) -> bool:
        """Whether it will still be held in ``seconds``; time in suspend counts."""
        return _now() + seconds < self._until

    async def release(self) -> None:
        """Release the lease."""
        give_up, self._give_up = self._give_up, None
        if give_up is not None:
            await give_up()


class _LocalLeases:
    """The leases held by the sessions of this process, by name."""

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
    """The lease of one record among the sessions of this process. Released when dropped, and in a forked child."""

    def __init__(self, name: str) -> None:
        self.name = name

    @staticmethod
    def take(name: str) -> LocalLease | None:
        """Return the lease of the record called ``name``, or None while another session has it."""
        return _local_leases.take(name)

    async def release(self) -> None:
        """Release the lease."""
        _local_leases.release(self)


_local_leases = _LocalLeases()


def _start_over() -> None:
    """Drop all leases in a forked child: the threads that held them are gone."""
    global _local_leases  # noqa: PLW0603 - one per process is the point
    _local_leases = _LocalLeases()


fork.in_child(_start_over)


def _now() -> float:
    return time.time() if _BOOT is None else time.clock_gettime(_BOOT)
