"""The protocol of aiohttp: a client middleware, which sees each hop of a redirect as a request of its own."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

from .attempt import Answer, Attempt
from .destinations import Origin, origin_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Handler = Callable[[Any], Awaitable[Any]]

_REDIRECTS = range(300, 400)


class Redirects:
    """Knows which requests continue another one: aiohttp does not tell its middlewares.

    All hops of one request share the list of its traces, and aiohttp keeps their responses until the last one is there.
    """

    def __init__(self) -> None:
        self._followed: weakref.WeakKeyDictionary[Any, tuple[Any, Origin]] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()  # clients in several threads may use one SessionAuth

    def note(self, request: Any, response: Any) -> None:
        """Remember a response that aiohttp may follow."""
        if response.status in _REDIRECTS:
            with self._lock:
                self._followed[response] = (request._traces, origin_of(str(request.url)))

    def origins_before(self, request: Any) -> list[Origin]:
        """Return the origins of the earlier hops; nothing if ``request`` is the first."""
        with self._lock:
            return [origin for traces, origin in self._followed.values() if traces is request._traces]


async def send(request: Any, handler: Handler, redirects: Redirects, new_attempt: Callable[..., Attempt]) -> Any:
    """Send a request, or one hop of it, with the token, and repeat it if it is refused."""
    before = redirects.origins_before(request)
    if all(origin == origin_of(str(request.url)) for origin in before):
        response = await _send_authorized(request, handler, new_attempt, redirected=bool(before))
    else:  # a redirect leads to another origin, or has done so
        response = await handler(request)
    redirects.note(request, response)
    return response


async def _send_authorized(
    request: Any, handler: Handler, new_attempt: Callable[..., Attempt], *, redirected: bool
) -> Any:
    attempt = new_attempt(str(request.url), proxied=request.proxy is not None)
    header: str | None = await attempt.begin_async()
    while True:
        request.headers["Authorization"] = header
        response = await handler(request)
        header = await attempt.again_async(_answer(request, response, redirected=redirected))
        if header is None:
            return response
        response.release()


def _answer(request: Any, response: Any, *, redirected: bool) -> Answer:
    challenge = ", ".join(response.headers.getall("WWW-Authenticate", ()))
    carried, body = request.headers.get("Authorization"), request.body

    def is_repeatable() -> bool:  # aiohttp's own payloads say so, and no body is empty bytes
        return not getattr(body, "consumed", body != b"")

    return Answer(response.status, challenge, str(request.url), carried, redirected, is_repeatable, response.close)
