"""`Probe`: sends requests, and waits no longer for all of them than the whole command may take."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .._io.http import HttpClient
from .._io.loop import run
from ..errors import AuthenticationError

if TYPE_CHECKING:
    from .._io.answers import Answer

_ONE_ANSWER = 10.0  # seconds
_SHORTEST = 0.5  # seconds that a request gets when time is up: enough to clean up on this machine


class Probe:
    """HTTP with one deadline for all requests.

    Args:
        seconds: How long the whole command may take.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._http = HttpClient(deadline=seconds)

    def at_most(self, seconds: float) -> float:
        """Return how many seconds one wait may take that needs no more than ``seconds``."""
        return max(min(seconds, self._end - time.monotonic()), _SHORTEST)

    def ask(
        self, method: str, url: str, token: str = "", *, json: Any = None, seconds: float = _ONE_ANSWER
    ) -> Answer | None:
        """Send one request and return the answer, which may be a redirect; None where it does not come in time.

        ``token`` is one of Jupyter's; it is sent over https, and on this machine.
        """
        headers = {"Authorization": f"token {token}"} if token else {}
        request = self._http.request(method, url, json=json, headers=headers, expect_json=False, redirects=True)
        try:
            return run(request, self.at_most(seconds))
        except AuthenticationError:
            return None

    def close(self) -> None:
        """Close the connections."""
        with suppress(AuthenticationError):
            run(self._http.close(), 1)


def json_object(answer: Answer | None) -> dict[str, Any]:
    """Return the JSON object of a successful answer; an empty one for everything else."""
    return answer.body if answer is not None and answer.ok and isinstance(answer.body, dict) else {}
