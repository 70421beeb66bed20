"""Waiting for what others do: a test that sleeps instead is slow here, and fails on a busy machine."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def until(condition: Callable[[], object], what: str = "it did not happen", seconds: float = 10.0) -> None:
    """Wait until ``condition`` holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.005)


async def soon(condition: Callable[[], object], what: str = "it did not happen", seconds: float = 10.0) -> None:
    """Wait until ``condition`` holds, and let the other tasks of this loop go on meanwhile."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        await asyncio.sleep(0.005)
