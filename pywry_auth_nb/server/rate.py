"""How many sign-ins somebody may begin in a minute."""

from __future__ import annotations

import time
from collections import deque

_WINDOW = 60.0  # seconds
_MAX_USERS = 1000


class LoginRate:
    """Counts what each Jupyter user began within the last minute; nobody's count touches another's.

    What it remembers is bounded: who has begun nothing for a minute is forgotten, and so is the one who has been quiet
    for longest where there are too many.

    Args:
        most: How many one user may begin in a minute; 0 for any number.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._begun: dict[str, deque[float]] = {}  # who began something last, comes last

    def wait(self, user: str) -> float:
        """Count one more for ``user``; or return, in seconds, how long they must wait until they may."""
        if self._most == 0:
            return 0.0
        now = time.monotonic()
        self._forget(now)
        times = self._begun.get(user) or deque()
        while times and times[0] <= now - _WINDOW:
            times.popleft()
        if len(times) >= self._most:
            return times[0] + _WINDOW - now
        times.append(now)
        self._begun.pop(user, None)
        self._begun[user] = times
        return 0.0

    def take_back(self, user: str) -> None:
        """Do not count what ``user`` began last: nothing came of it."""
        times = self._begun.get(user)
        if times:
            times.pop()
            if not times:
                del self._begun[user]

    def _forget(self, now: float) -> None:
        """Drop from the front of the line, where the quiet ones are."""
        while self._begun:
            user, times = next(iter(self._begun.items()))
            if times[-1] > now - _WINDOW and len(self._begun) < _MAX_USERS:
                return
            del self._begun[user]
