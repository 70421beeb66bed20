"""The protocol of requests: an ``auth`` changes the prepared request, and a hook may replace its response."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .attempt import Answer, Attempt
from .bodies import Body
from .destinations import may_connect

if TYPE_CHECKING:
    from collections.abc import Callable


def authorize(request: Any, new_attempt: Callable[[str], Attempt]) -> Any:
    """Add the token to a ``PreparedRequest``, and repeat it if it is refused."""
    attempt = new_attempt(request.url)
    header = attempt.begin()
    if may_connect(request.url):
        request.headers["Authorization"] = header
    body = Body(request.body)

    def answered(response: Any, **options: Any) -> Any:
        """Return the response, or that to a repetition on the same connection."""
        redirected = response.request.url != request.url
        while (header := attempt.again(_answer(response, body, redirected=redirected))) is not None:
            response = _repeat(response, header, options)
        return response

    request.register_hook("response", answered)
    return request


def _repeat(response: Any, header: str, options: dict[str, Any]) -> Any:
    response.content  # noqa: B018 - read it, so that the connection can be reused
    response.close()
    request = response.request.copy()
    request.headers["Authorization"] = header
    repeated = response.connection.send(request, **options)
    repeated.history.append(response)
    repeated.request = request
    return repeated


def _answer(response: Any, body: Body, *, redirected: bool) -> Answer:
    challenge, sent = response.headers.get("WWW-Authenticate", ""), response.request
    carried = sent.headers.get("Authorization")
    return Answer(response.status_code, challenge, sent.url, carried, redirected, body.rewind, response.close)
