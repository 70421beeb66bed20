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
    authorization = attempt.begin()
    connects = may_connect(request.url)
    if connects:
        request.headers["Authorization"] = authorization
    body = Body(request.body)

    def again(response: Any, **options: Any) -> Any:
        """Repeat the request on the same connection after a refusal."""
        if not attempt.is_refused(_answer(response), redirected=response.request.url != request.url):
            return response
        renewed = attempt.renew() if connects else authorization
        if renewed is None or not body.rewind():
            return response
        response.content  # noqa: B018 - read it, so that the connection can be reused
        response.close()
        repeated = response.request.copy()
        repeated.headers["Authorization"] = renewed
        answer = response.connection.send(repeated, **options)
        answer.history.append(response)
        answer.request = repeated
        attempt.is_refused(_answer(answer), redirected=False)
        return answer

    request.register_hook("response", again)
    return request


def _answer(response: Any) -> Answer:
    sent = response.request
    return Answer(
        response.status_code,
        response.headers.get("WWW-Authenticate", ""),
        sent.url,
        sent.headers.get("Authorization"),
        response.close,
    )
