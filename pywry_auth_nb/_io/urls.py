"""Which URLs requests may go to, and which hosts are this machine, or internal."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit, urlunsplit

from ..errors import TokenError

MAX_URL = 2048  # characters that every browser and proxy accepts
_NOT_IN_URLS = frozenset(' "<>\\^`{|}#')  # RFC 3986 §2; and "#", since an endpoint must not have a fragment

_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")  # a name that ends in one is read as an IPv4 address (WHATWG URL §3.5): 127.1
#: Domains of this machine, of the local link and of private networks (RFC 6761, RFC 6762; reserved by ICANN).
_INTERNAL_DOMAINS = frozenset({"localhost", "local", "internal"})


def check_url(url: str, *, loopback: bool = True) -> None:
    """Check that secrets may be sent to a URL: https, or http to a loopback host, and unambiguous.

    Args:
        url: The URL.
        loopback: Whether http to a loopback host is allowed.

    Raises:
        TokenError: Code ``insecure_url``.
    """
    if not is_safe(url) or not (loopback or url.startswith("https:")):
        raise TokenError(code="insecure_url")


def is_safe(url: str) -> bool:
    """Whether ``url`` is https or loopback, without user info, and read alike by all parsers."""
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or set(url) & _NOT_IN_URLS:
        return False
    parts = split_url(url)
    return (
        parts is not None
        and "@" not in parts.netloc
        and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or "")))
    )


def split_url(url: str) -> SplitResult | None:
    """Return the parts of a URL; None if it has no host or an invalid port."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises if it is invalid
    except ValueError:
        return None
    return parts if parts.hostname else None


def origin(url: str) -> tuple[str, str | None, int | None] | None:
    """Return scheme, host and port of a URL (RFC 6454 §4); None if it has none."""
    parts = split_url(url)
    return parts and (parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme))


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine: ``localhost`` or a name below it (RFC 6761 §6.3), or a loopback address."""
    try:
        return host == "localhost" or _is_below_localhost(host) or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_below_localhost(host: str) -> bool:
    return host.endswith(".localhost")


def is_internal(host: str) -> bool:
    """Whether ``host`` names a machine that is not in the public Internet: this one, or one of a private network.

    Names are not looked up; one without a dot, or that may be read as an address, counts as internal.
    """
    host = host.lower().removesuffix(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        last = host.rpartition(".")[2]
        return "." not in host or last in _INTERNAL_DOMAINS or bool(_NUMBER.fullmatch(last))
    address = getattr(address, "ipv4_mapped", None) or address
    return not address.is_global or address.is_multicast


def on_this_machine(url: str) -> tuple[str, dict[str, str]]:
    """Return where to connect for an http URL, and the Host header to send if that is another name.

    Names below ``localhost`` are this machine's, but few resolvers know it and may ask others about them.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or not _is_below_localhost(parts.hostname or ""):
        return url, {}
    port = f":{parts.port}" if parts.port else ""
    return urlunsplit(parts._replace(netloc=f"localhost{port}")), {"Host": parts.netloc}
