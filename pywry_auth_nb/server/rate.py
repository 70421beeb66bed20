"""The rate limit for sign-ins."""

from __future__ import annotations

import time
from collections import deque

_WINDOW = 60.0  # seconds
_MAX_USERS = 1000


class LoginRate:
    """Counts the sign-ins that each Jupyter user has begun within the last minute.

    Its memory is bounded: users who have begun none for a minute are dropped, and if there are too many users, those
    who have waited longest.

    Args:
        most: Maximum number of sign-ins of a user in a minute; 0 for no limit.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._begun: dict[str, deque[float]] = {}  # in order of the latest sign-in

    def wait(self, user: str) -> float:
        """Count a sign-in of ``user`` and return 0; or return the seconds to wait until the next is allowed."""
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
        """Uncount the latest sign-in of ``user``, which came to nothing."""
        times = self._begun.get(user)
        if times:
            times.pop()
            if not times:
                del self._begun[user]

    def _forget(self, now: float) -> None:
        """Drop users from the front, whose latest sign-ins are the oldest."""
        while self._begun:
            user, times = next(iter(self._begun.items()))
            if times[-1] > now - _WINDOW and len(self._begun) < _MAX_USERS:
                return
            del self._begun[user]
