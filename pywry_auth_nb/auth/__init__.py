"""`SessionAuth`: authenticates requests of HTTP clients with a session's token."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import httpx

from ..errors import ConfigurationError
from . import with_aiohttp, with_requests
from .attempt import Answer, Attempt, Rules, renew

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Generator

    from ..session import SessionManager

__all__ = ["SessionAuth", "renew"]


class SessionAuth(httpx.Auth):
    """Adds the session's access token to requests (RFC 6750 §2.1): ``httpx.Client(auth=session.auth)``.

    It works with httpx and httpx2, also their ``AsyncClient``; with ``requests.get(…, auth=session.auth)``; and as a
    middleware of aiohttp (3.12 and later), ``ClientSession(middlewares=(session.auth,))``. For urllib3, use
    :func:`pywry_auth_nb.adapters.as_urllib3_pool`. If the server answers 401, the token is renewed and the request
    repeated once, provided that its body can be sent again.

    An answer that demands more than the token is good for (RFC 6750 §3.1, RFC 9470 §3) becomes an error that says what
    to ask the user for. Any other 401 or 403 is returned. To get such an answer as well, send ``session.headers``.

    The token is sent over https (or to a loopback host) only, to the origin of your request, and does not follow a
    redirect to another origin. With ``allowed_origins``, it is sent to those origins only. (A
    ``response.next_request`` that you send yourself, with a client that has this ``auth``, is a request of yours.)

    Args:
        session: The session whose token to send.
        allowed_origins: Such as ``https://api.example.org``; None allows any.
        renew_on: Status codes by which the API refuses an expired token, besides 401, such as ``{403, 419}``.

    Raises:
        AuthenticationError: When a request is sent: code ``insecure_url`` or ``origin_not_allowed``, or what
            ``session.access_token`` raises.
        InsufficientScopeError: The API needs scopes that the token lacks.
        StepUpRequired: The API needs a newer or stronger sign-in.
    """

    def __init__(
        self,
        session: SessionManager,
        allowed_origins: Collection[str] | None = None,
        renew_on: Collection[int] = (),
    ) -> None:
        self._session = session
        self._given = (allowed_origins, renew_on)
        self._rules = Rules.of(allowed_origins, renew_on)
        self._redirects = with_aiohttp.Redirects()

    def __repr__(self) -> str:
        return f"<SessionAuth of {self._session!r}>"

    def __reduce__(self) -> Any:
        """Pickle the auth of a handle; a session says that it cannot be sent."""
        return SessionAuth, (self._session, *self._given)

    @property  # type: ignore[misc]
    def __class__(self) -> type[SessionAuth]:
        """This class; where httpx2 is in use, one that derives from its ``Auth`` too, for its check by isinstance."""
        base = getattr(sys.modules.get("httpx2"), "Auth", None)
        return SessionAuth if base is None else _also(base)

    def _refuse(self) -> NoReturn:
        """Refuse to be read as the headers of a request.

        Raises:
            ConfigurationError: Always.
        """
        raise ConfigurationError(
            "session.auth is not a mapping of headers. Give it by its own name, auth=session.auth, or send "
            "headers=session.headers."
        )

    keys = items = __iter__ = _refuse

    def check(self, url: str) -> None:
        """Check that the token may be sent to ``url``.

        Raises:
            AuthenticationError: Code ``insecure_url`` or ``origin_not_allowed``.
        """
        self._rules.destinations.check(url)

    def attempt(self, url: str, *, proxied: bool = False) -> Attempt:
        """Begin a request to ``url``, for what speaks the protocol of a client.

        Raises:
            AuthenticationError: The token may not be sent there.
        """
        return Attempt(self._session, self._rules, url, proxied=proxied)

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send a request of httpx or httpx2 with the token, and repeat it with a renewed one if it is refused."""
        attempt = self.attempt(str(request.url))
        header: str | None = attempt.begin()
        while header is not None:
            request.headers["Authorization"] = header
            header = attempt.again(_answer(request, (yield request)))

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Do the same without blocking the caller's event loop."""
        attempt = self.attempt(str(request.url))
        header: str | None = await attempt.begin_async()
        while header is not None:
            request.headers["Authorization"] = header
            header = await attempt.again_async(_answer(request, (yield request)))

    def __call__(self, request: Any, handler: Callable[[Any], Awaitable[Any]] | None = None) -> Any:
        """Do the same for a ``requests.PreparedRequest``; with ``handler``, for a request of aiohttp."""
        if handler is None:
            return with_requests.authorize(request, self.attempt)
        return with_aiohttp.send(request, handler, self._redirects, self.attempt)


@functools.cache
def _also(base: type) -> type[SessionAuth]:
    return type(SessionAuth.__name__, (SessionAuth, base), {})


def _answer(request: httpx.Request, response: httpx.Response) -> Answer:
    """Return what an answer of httpx or httpx2 says."""
    challenge, sent = response.headers.get("WWW-Authenticate", ""), response.request
    carried, redirected = sent.headers.get("Authorization"), bool(response.history)

    def is_repeatable() -> bool:
        """Whether the body is known, and not a stream that can be read once."""
        try:
            request.content  # noqa: B018 - raises RequestNotRead, of either library
        except RuntimeError:
            return False
        return True

    return Answer(response.status_code, challenge, str(sent.url), carried, redirected, is_repeatable)
