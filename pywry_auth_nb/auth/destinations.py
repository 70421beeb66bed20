"""`Destinations`: where a token may be sent."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, NamedTuple
from urllib.request import getproxies, proxy_bypass

import httpx

from .._io.proxies import is_used
from .._io.urls import is_loopback
from ..errors import AuthenticationError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection

_CONNECT_TIMEOUT = 1.0  # seconds: to this machine
_PORTS = {"https": 443, "http": 80}
_NO_HOST = (
    "The address of the request names no valid host. One of the provider's, such as provider.userinfo_url, is empty "
    "until the provider has been asked for its metadata: call session.userinfo() for the user's claims."
)
_WEB_SOCKETS = {"wss": "https", "ws": "http"}  # which begin as requests of these (RFC 6455 §4.1)


class Origin(NamedTuple):
    """Scheme, host (IDNA-encoded) and port (RFC 6454 §4); empty strings and 0 for an invalid URL."""

    scheme: str
    host: str
    port: int


class Destinations:
    """The origins to which a token may be sent: over https, or to this machine.

    Args:
        allowed: The only origins, such as ``https://api.example.org``; None allows any.

    Raises:
        ConfigurationError: A URL in ``allowed`` has no origin, so it would never match.
    """

    def __init__(self, allowed: Collection[str] | None) -> None:
        self._allowed = None if allowed is None else _origins(allowed)

    def check(self, url: str, *, proxied: bool = False) -> None:
        """Check that the token may be sent to ``url``; ``proxied`` is whether the client says that a proxy is used.

        Raises:
            AuthenticationError: Code ``insecure_url`` or ``origin_not_allowed``.
        """
        scheme, host, _ = origin = origin_of(url)
        if not host:
            raise AuthenticationError(_NO_HOST, code="insecure_url")
        if scheme == "http" and is_loopback(host) and (proxied or _goes_through_a_proxy(origin)):
            raise AuthenticationError(
                "The token is not sent to this machine through a proxy. Add localhost and 127.0.0.1 to NO_PROXY.",
                code="insecure_url",
            )
        if scheme != "https" and not (scheme == "http" and _is_this_machine(host)):
            raise AuthenticationError(
                "The token is not sent over plain http, where others can read it. Use an https:// address.",
                code="insecure_url",
            )
        if not self.may_include(origin):
            raise AuthenticationError(code="origin_not_allowed", server=host)

    def may_include(self, origin: Origin) -> bool:
        """Whether ``origin`` is an allowed one."""
        return self._allowed is None or origin in self._allowed


def origin_of(url: str) -> Origin:
    """Return the origin of a URL."""
    if "\\" in url:
        return Origin("", "", 0)  # HTTP libraries disagree on the host
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        return Origin("", "", 0)
    scheme = _WEB_SOCKETS.get(parsed.scheme, parsed.scheme)
    port = _PORTS.get(scheme, 0) if parsed.port is None else parsed.port
    return Origin(scheme, parsed.raw_host.decode("ascii").strip("[]").lower(), port)


def may_connect(url: str) -> bool:
    """Whether a connection can be opened; True for https, which connects before the request is built.

    Clients on top of :mod:`http.client` build the bytes of a plain http request first, and a traceback with local
    variables would show them.
    """
    scheme, host, port = origin_of(url)
    if scheme == "https":
        return True
    try:
        socket.create_connection((host, port), _CONNECT_TIMEOUT).close()
    except OSError:
        return False
    return True


def _origins(urls: Collection[str]) -> set[Origin]:
    origins = set() if isinstance(urls, str) else {origin_of(url) for url in urls}
    if isinstance(urls, str) or not all(scheme in _PORTS and host for scheme, host, _ in origins):
        raise ConfigurationError("allowed_origins must be a list such as ['https://api.example.org'].")
    return origins


def _is_this_machine(host: str) -> bool:
    """Whether ``host`` is this machine. A resolver may ask others about a name below localhost, and be misled."""
    return is_loopback(host) and not (host.endswith(".localhost") and _leads_elsewhere(host))


def _leads_elsewhere(name: str) -> bool:
    try:
        found = socket.getaddrinfo(name, None)
    except OSError:  # so nothing is sent
        return False
    return not all(is_loopback(str(address[0])) for *_, address in found)


def _goes_through_a_proxy(origin: Origin) -> bool:
    """Whether a request may go through a proxy: clients differ in what they understand of ``NO_PROXY``.

    This package understands more of it than others, so Python's own reading, which requests follows, counts too.
    """
    settings = getproxies()
    chosen = bool(settings.get(origin.scheme) or settings.get("all"))
    return is_used(*origin) or (chosen and not proxy_bypass(origin.host))
