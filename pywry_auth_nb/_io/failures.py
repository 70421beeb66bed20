"""Why no connection could be made, as an error with a code: the certificate, the proxy, the name, or the server."""

from __future__ import annotations

import re
import socket
import ssl
from errno import EHOSTUNREACH, ENETUNREACH, ETIMEDOUT
from typing import TYPE_CHECKING, Any

import httpx

from ..errors import TokenError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .proxies import Proxy
    from .tls import Trust

_UNKNOWN_AUTHORITY = "it comes from an authority that is not known here"
#: OpenSSL's numbers, X509_V_ERR_…, in words.
_CERTIFICATE = {
    9: "it is not valid yet",
    10: "it has expired",
    18: "it is self-signed",
    19: _UNKNOWN_AUTHORITY,
    20: _UNKNOWN_AUTHORITY,
    21: _UNKNOWN_AUTHORITY,
    62: "it is for another host",
    64: "it is for another host",
}
_UNREACHABLE = frozenset({EHOSTUNREACH, ENETUNREACH, ETIMEDOUT})
#: What httpcore says of a proxy: HTTP's status; or, of SOCKS5, one of its own sentences.
_PASSWORD = re.compile(r"407\b|Requested |Invalid username")
_REFUSED = re.compile(r"(?P<status>\d{3})\b|Proxy Server could not connect: (?P<reply>[\w ]+)")


def connection_error(error: Exception, url: httpx.URL, trusted: Trust | None, proxy: Proxy | None) -> TokenError:
    """Return the error for a connection that could not be made. It quotes no words of a server.

    Args:
        error: What httpx raised.
        url: The URL of the request.
        trusted: Whose certificates were trusted.
        proxy: The proxy that it went through.
    """
    host, causes = url.raw_host.decode("ascii"), list(_causes(error))
    through: dict[str, Any] = {"through": proxy.address} if proxy else {}
    refused = next((cause for cause in causes if isinstance(cause, ssl.SSLCertVerificationError)), None)
    if refused is not None:
        reason = _CERTIFICATE.get(refused.verify_code)
        return TokenError(code="certificate", host=host, reason=reason, trusted=trusted, **through)
    if proxy is not None and (said := _said_of_proxy(causes, proxy)):
        return TokenError(code="proxy", host=host, proxy=proxy.address, variable=proxy.variable, reason=said)
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return TokenError(code="unknown_host", host=host)
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return TokenError(code="connection_refused", host=url.netloc.decode("ascii"))
    return TokenError(code="network", host=host, reason=type(error).__name__, **through)


def raised_by(proxy: Proxy | None) -> tuple[type[Exception], ...]:
    """Return what httpx raises if there is no connection; httpcore adds others if a SOCKS proxy breaks its protocol."""
    if proxy is None or not proxy.is_socks:
        return (httpx.TransportError,)
    import socksio

    return (httpx.TransportError, socksio.SOCKSError, AssertionError, ValueError)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what caused it: several, if several addresses of a host were tried."""
    yield error
    for cause in (error.__cause__ or error.__context__, *getattr(error, "exceptions", ())):
        if cause is not None:
            yield from _causes(cause)


def _said_of_proxy(causes: list[BaseException], proxy: Proxy) -> str:
    """Return what is wrong with the proxy; empty if something else may be."""
    if any(_is_unreachable(cause) for cause in causes):
        return "it cannot be reached"
    if isinstance(causes[0], httpx.ConnectTimeout):
        return "it does not answer in time"
    if not isinstance(causes[0], httpx.TransportError):
        return "it does not answer as a SOCKS5 proxy"
    said = next((str(cause) for cause in causes if isinstance(cause, httpx.ProxyError)), "")
    if _PASSWORD.match(said):
        does = "refuses the" if proxy.auth else "wants a"
        return f"it {does} user name and password, which are written as http://USER:PASSWORD@HOST:PORT"
    refused = _REFUSED.match(said)
    return f"it answered {refused['reply'] or 'HTTP ' + refused['status']}" if refused else ""


def _is_unreachable(cause: BaseException) -> bool:
    return isinstance(cause, (socket.gaierror, ConnectionRefusedError)) or getattr(cause, "errno", 0) in _UNREACHABLE
