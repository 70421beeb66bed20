"""`SessionAuth`: authenticates requests of httpx and requests with a session's token."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.request import getproxies, proxy_bypass

import httpx

from ._io.challenges import demand_in
from ._io.loop import run
from ._io.proxies import is_used
from ._io.urls import is_loopback
from .errors import AuthenticationError, ConfigurationError
from .tokens import bearer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Generator

    from .session import SessionManager

_UNAUTHORIZED, _FORBIDDEN = 401, 403
_DEMANDS = (_UNAUTHORIZED, _FORBIDDEN)
_RENEWAL_DEADLINE = 45.0  # seconds
_CONNECT_TIMEOUT = 1.0  # seconds: to this machine
_PORTS = {"https": 443, "http": 80}


class SessionAuth(httpx.Auth):
    """Adds the session's access token to requests (RFC 6750 §2.1): ``httpx.Client(auth=session.auth)``.

    It also works with ``httpx.AsyncClient`` and ``requests.get(…, auth=session.auth)``. If the server answers 401, the
    token is renewed and the request repeated once, provided that its body can be sent again.

    An answer that demands more than the token is good for (RFC 6750 §3.1, RFC 9470 §3) becomes an error that says what
    to ask the user for. Any other 401 or 403 is returned. To get such an answer as well, send ``session.headers``.

    The token is sent over https (or to a loopback host) only, to the origin of your request, and does not follow a
    redirect to another origin. With ``allowed_origins``, it is sent to those origins only. (A
    ``response.next_request`` that you send yourself, with a client that has this ``auth``, is a request of yours.)

    Args:
        session: The session whose token to send.
        allowed_origins: Such as ``https://api.example.org``; None allows any.

    Raises:
        AuthenticationError: When a request is sent: code ``insecure_url`` or ``origin_not_allowed``, or what
            ``session.access_token`` raises.
        InsufficientScopeError: The API needs scopes that the token lacks.
        StepUpRequired: The API needs a newer or stronger sign-in.
    """

    def __init__(self, session: SessionManager, allowed_origins: Collection[str] | None = None) -> None:
        self._session = session
        self._allowed = None if allowed_origins is None else _origins(allowed_origins)

    def __repr__(self) -> str:
        return f"<SessionAuth of {self._session!r}>"

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

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send ``request`` with the token, and repeat it with a renewed one after a 401."""
        self.check(str(request.url))
        sent = _authorize(request, self._session.access_token)
        response = yield request
        self._raise_demand(response, sent)
        if response.status_code == _UNAUTHORIZED and not response.history:
            renewed = renew(self._session, sent)
            if renewed is not None and _repeatable(request):
                _authorize(request, renewed)
                self._raise_demand((yield request), renewed)

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Do the same without blocking the caller's event loop."""
        self.check(str(request.url))
        sent = _authorize(request, await self._session.get_access_token())
        response = yield request
        self._raise_demand(response, sent)
        if response.status_code == _UNAUTHORIZED and not response.history:  # a redirect may have led elsewhere
            renewed = await self._session._engine.refresh_rejected(sent)
            if renewed is not None and _repeatable(request):
                _authorize(request, renewed)
                self._raise_demand((yield request), renewed)

    def __call__(self, request: Any) -> Any:
        """Do the same for a ``requests.PreparedRequest``."""
        self.check(request.url)
        token = self._session.access_token
        # requests builds the bytes to send before it connects, and a traceback with local variables would show them
        authorized = _may_connect(request.url)
        if authorized:
            _authorize(request, token)
        body = request.body
        start = _position(body)

        def again(response: Any, **options: Any) -> Any:
            """Repeat the request on the same connection after a 401."""
            self._raise_demand(response, token)
            redirected = response.request.url != request.url  # perhaps to another origin
            if response.status_code != _UNAUTHORIZED or redirected:
                return response
            renewed = renew(self._session, token) if authorized else token
            if renewed is None or (start is None and not isinstance(body, (str, bytes, type(None)))):
                return response
            if start is not None:
                body.seek(start)
            response.content  # noqa: B018 - read it, so that the connection can be reused
            response.close()
            repeated = response.request.copy()
            _authorize(repeated, renewed)
            answer = response.connection.send(repeated, **options)
            answer.history.append(response)
            answer.request = repeated
            self._raise_demand(answer, renewed)
            return answer

        request.register_hook("response", again)
        return request

    def _raise_demand(self, response: Any, token: str) -> None:
        """Raise what an answer demands, if its request carried ``token``: a redirect to another origin loses it."""
        header = response.headers.get("WWW-Authenticate", "")
        carried = response.request.headers.get("Authorization") == bearer(token)
        if response.status_code not in _DEMANDS or not header or not carried:
            return
        origin = _origin(str(response.request.url))
        demand = demand_in(header, origin[1]) if self._allowed is None or origin in self._allowed else None
        if demand is not None:
            if not isinstance(response, httpx.Response):  # httpx closes it by itself
                response.close()
            raise demand

    def check(self, url: str) -> None:
        """Check that the token may be sent to ``url``.

        Raises:
            AuthenticationError: Code ``insecure_url`` or ``origin_not_allowed``.
        """
        scheme, host, _ = origin = _origin(url)
        if scheme == "http" and is_loopback(host) and _goes_through_a_proxy(*origin):
            raise AuthenticationError(
                "The token is not sent to this machine through a proxy. Add localhost and 127.0.0.1 to NO_PROXY.",
                code="insecure_url",
            )
        if scheme != "https" and not (scheme == "http" and _is_this_machine(host)):
            raise AuthenticationError(
                "The token is not sent over plain http, where others can read it. Use an https:// address.",
                code="insecure_url",
            )
        if self._allowed is not None and origin not in self._allowed:
            raise AuthenticationError(code="origin_not_allowed", server=host)


def renew(session: SessionManager, refused: str) -> str | None:
    """Return a new token in place of one that a server refused, or None if there is none."""
    try:
        return run(session._engine.refresh_rejected(refused), _RENEWAL_DEADLINE)
    except AuthenticationError:
        return None  # the caller gets the server's 401


def _authorize(request: Any, token: str) -> str:
    request.headers["Authorization"] = bearer(token)
    return token


def _may_connect(url: str) -> bool:
    """Whether a connection can be opened; True for https, which connects before the request is built."""
    scheme, host, port = _origin(url)
    if scheme == "https":
        return True
    try:
        socket.create_connection((host, port), _CONNECT_TIMEOUT).close()
    except OSError:
        return False
    return True


def _repeatable(request: httpx.Request) -> bool:
    """Whether the body of ``request`` can be sent again."""
    return isinstance(request.stream, httpx.ByteStream)


def _position(body: Any) -> int | None:
    """Return the position of a file; None if ``body`` is not a seekable file."""
    try:
        return int(body.tell())
    except (AttributeError, OSError):
        return None


def _is_this_machine(host: str) -> bool:
    """Whether ``host`` is this machine. A resolver may ask others about a name below localhost, and be misled."""
    return is_loopback(host) and not (host.endswith(".localhost") and _leads_elsewhere(host))


def _leads_elsewhere(name: str) -> bool:
    try:
        found = socket.getaddrinfo(name, None)
    except OSError:  # so nothing is sent
        return False
    return not all(is_loopback(str(address[0])) for *_, address in found)


def _goes_through_a_proxy(scheme: str, host: str, port: int) -> bool:
    """Whether a request may go through a proxy: clients differ in what they understand of ``NO_PROXY``.

    This package understands more of it than others, so Python's own reading, which requests follows, counts too.
    """
    settings = getproxies()
    return is_used(scheme, host, port) or (bool(settings.get(scheme) or settings.get("all")) and not proxy_bypass(host))


def _origins(urls: Collection[str]) -> set[tuple[str, str, int]]:
    """Return the origins of ``urls``.

    Raises:
        ConfigurationError: A URL has no origin, so it would never match.
    """
    origins = set() if isinstance(urls, str) else {_origin(url) for url in urls}
    if isinstance(urls, str) or not all(scheme in _PORTS and host for scheme, host, _ in origins):
        raise ConfigurationError("allowed_origins must be a list such as ['https://api.example.org'].")
    return origins


def _origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host (IDNA-encoded) and port (RFC 6454 §4); empty strings and 0 for an invalid URL."""
    if "\\" in url:
        return "", "", 0  # HTTP libraries disagree on the host
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        return "", "", 0
    port = _PORTS.get(parsed.scheme, 0) if parsed.port is None else parsed.port
    return parsed.scheme, parsed.raw_host.decode("ascii").strip("[]").lower(), port
