"""`Routes`: the transport that sends each request directly or through a proxy, as the environment says at that moment.

So a variable can be corrected in a running notebook. Imported on first use, since httpx takes a while.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx

from . import proxies, tls
from .failures import connection_error, raised_by
from .loop import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from typing_extensions import Self

    from .proxies import Proxy
    from .tls import Trust

_PORTS = {"https": 443, "http": 80}


class Route(NamedTuple):
    """How a request travels.

    Attributes:
        trusted: Whose certificates are trusted; None for plain http.
        proxy: The proxy; None for a direct connection.
    """

    trusted: Trust | None = None
    proxy: Proxy | None = None


class Routes(httpx.AsyncBaseTransport):
    """A pool of connections for each route.

    Plain http is only for this machine and its hub, so it takes no proxy.

    Args:
        hub_origin: Origin of the hub of this process. With ``internal_ssl``, the hub's own certificates are used there.
    """

    def __init__(self, hub_origin: str = "") -> None:
        self._hub = _origin(httpx.URL(hub_origin)) if hub_origin else None
        self._pools: dict[Route, httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request.

        Raises:
            TokenError: No connection could be made: a code of ``NETWORK_ERRORS``, or ``configuration``.
            httpx.TimeoutException: It took too long.
        """
        route = Route() if request.url.scheme == "http" else await in_thread(self._find, request.url)
        pool = self._pools.get(route) or await self._open(route)
        try:
            async with _closed_on_failure(request):
                return await pool.handle_async_request(request)
        except httpx.TimeoutException as error:
            if route.proxy is None or not isinstance(error, httpx.ConnectTimeout):
                raise
            failure = connection_error(error, request.url, *route)
        except raised_by(route.proxy) as error:
            failure = connection_error(error, request.url, *route)
        raise failure

    def _find(self, url: httpx.URL) -> Route:
        """Return the route to ``url``. Not for the loop: it looks at files, and on Windows it may resolve names."""
        hub = tls.trust_in_hub() if _origin(url) == self._hub else None
        return Route(hub) if hub else Route(tls.trust(), proxies.find(*_origin(url)))

    async def _open(self, route: Route) -> httpx.AsyncHTTPTransport:
        context = await tls.context(route.trusted) if route.trusted else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        proxy = _Proxy.of(route.proxy, context) if route.proxy else None
        return self._pools.setdefault(route, httpx.AsyncHTTPTransport(verify=context, trust_env=False, proxy=proxy))

    async def aclose(self) -> None:
        """Close all connections."""
        while self._pools:
            await self._pools.popitem()[1].aclose()


@contextlib.asynccontextmanager
async def _closed_on_failure(request: httpx.Request) -> AsyncIterator[None]:
    """Close the connection to a SOCKS proxy if the request fails: httpcore forgets it during the handshake."""
    opened = []

    async def note(event: str, info: Mapping[str, Any]) -> None:
        if event == "socks.connect_tcp.complete":
            opened.append(info["return_value"])

    request.extensions["trace"] = note
    try:
        yield
    except BaseException:
        for stream in opened:
            await stream.aclose()
        raise


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    return url.scheme, url.raw_host.decode("ascii"), url.port or _PORTS.get(url.scheme, 0)


class _Proxy(httpx.Proxy):
    """A proxy whose password is not in httpcore's log."""

    @classmethod
    def of(cls, proxy: Proxy, context: ssl.SSLContext) -> Self:
        """Return httpx's form of a proxy; one that is asked over https itself needs the TLS context."""
        tls_context = context if proxy.address.startswith("https:") else None
        return cls(proxy.address, auth=proxy.auth, ssl_context=tls_context)

    @property
    def raw_auth(self) -> tuple[bytes, bytes] | None:
        """User name and password."""
        return None if self.auth is None else (_Hidden(self.auth[0].encode()), _Hidden(self.auth[1].encode()))


class _Hidden(bytes):
    def __repr__(self) -> str:
        return "b'***'"
