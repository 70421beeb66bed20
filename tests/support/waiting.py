"""Waiting for what others do: a test that sleeps instead is slow here, and fails on a busy machine.

Deadlines are for a machine that has nothing else to do. Where it has, they are longer by how much longer a fixed piece
of work takes (:func:`patience`), which is measured only when a deadline has passed.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_STEPS = 1_000_000
_USUAL = 0.018  # seconds that they take on an idle machine of 2024
_MOST = 20.0
_measured = [1.0]


def patience() -> float:
    """How many times as long as usual work takes: the most that this process has measured so far, at least 1."""
    begun = time.perf_counter()
    for _ in range(_STEPS):
        pass
    taken = (time.perf_counter() - begun) / _USUAL
    _measured[0] = max(_measured[0], min(2 * taken, _MOST) if taken > 1.5 else 1.0)
    return _measured[0]


def over(begun: float, seconds: float) -> bool:
    """Whether more than ``seconds`` of an idle machine have passed since ``begun`` (of ``time.monotonic``)."""
    passed = time.monotonic() - begun
    return passed > seconds * _measured[0] and passed > seconds * patience()


def until(condition: Callable[[], object], what: str = "it did not happen", seconds: float = 10.0) -> None:
    """Wait until ``condition`` holds."""
    begun = time.monotonic()
    while not condition():
        assert not over(begun, seconds), what
        time.sleep(0.005)


async def soon(condition: Callable[[], object], what: str = "it did not happen", seconds: float = 10.0) -> None:
    """Wait until ``condition`` holds, and let the other tasks of this loop go on meanwhile."""
    begun = time.monotonic()
    while not condition():
        assert not over(begun, seconds), what
        await asyncio.sleep(0.005)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Check that a block takes no longer than ``seconds`` of an idle machine."""
    begun = time.monotonic()
    yield
    assert not over(begun, seconds), f"it took {time.monotonic() - begun:.1f} s, not {seconds:g}"
