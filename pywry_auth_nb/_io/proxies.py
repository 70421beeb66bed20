"""The proxy for an address: what ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` say, or the system.

Variables may be in lower case, which wins. On macOS and Windows the system's settings count if no variable is set.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, getproxies_environment, proxy_bypass

from ..errors import NetworkSettingError

if TYPE_CHECKING:
    from collections.abc import Iterator

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_SOCKS = "socks5"  # RFC 1928; httpcore lets the proxy resolve names
_SCHEMES = {"http": "http", "https": "https", "socks": _SOCKS, "socks5": _SOCKS, "socks5h": _SOCKS}
_PORTS = {"http": 80, "https": 443, _SOCKS: 1080}
_HOST = re.compile(r"[\w.:%~-]+", re.ASCII)
_QUOTES = " \t\r\n\"'"  # around a value, as in files of variables
_SYSTEM = "The system's proxy setting"
_ENTRY = re.compile(r"(?:\w+://)?(?:\*\.)?(?P<host>.*?)(?::(?P<port>\d+))?/*")
_NOT_IN_ADDRESS = re.compile(r"[\[\]]|%[^/]*")  # brackets, and the zone (RFC 4007 §11)


@dataclass(frozen=True)
class Proxy:
    """A proxy.

    Attributes:
        address: Scheme, host and port.
        variable: Where it is set.
        auth: User name and password, if there are any.
    """

    address: str
    variable: str
    auth: tuple[str, str] | None = field(default=None, repr=False)

    @property
    def is_socks(self) -> bool:
        """Whether it speaks SOCKS5 (RFC 1928)."""
        return self.address.startswith(_SOCKS)


def find(scheme: str, host: str, port: int) -> Proxy | None:
    """Return the proxy for an origin; None if it is asked directly. On Windows this may resolve the host's name.

    Raises:
        NetworkSettingError: The proxy's address is invalid, or a package is missing.
    """
    value, variable = _setting(scheme, host, port)
    return _read(value, variable) if value else None


def is_used(scheme: str, host: str, port: int) -> bool:
    """Whether requests to an origin go through a proxy."""
    return bool(_setting(scheme, host, port)[0])


def _setting(scheme: str, host: str, port: int) -> tuple[str, str]:
    """Return the address of the proxy for an origin as it is set, and where; empty strings for none."""
    settings = getproxies()
    kind = next((kind for kind in (scheme, "all") if settings.get(kind, "").strip(_QUOTES)), None)
    if kind is None or _is_direct(host, port, settings.get("no", "")):
        return "", ""
    return settings[kind].strip(_QUOTES), _variable(f"{kind}_proxy")


def _is_direct(host: str, port: int, no_proxy: str) -> bool:
    if getproxies_environment():
        return any(entry.matches(host, port) for entry in read_no_proxy(no_proxy))
    return bool(proxy_bypass(host))


def _variable(name: str) -> str:
    """Return the environment's spelling of a variable."""
    spellings = sorted((one for one in os.environ if one.lower() == name), key=str.islower)
    return spellings[-1] if spellings else _SYSTEM


def _read(value: str, variable: str) -> Proxy:
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        scheme = _SCHEMES[parts.scheme]
        host, port = parts.hostname or "", parts.port or _PORTS[scheme]
    except (ValueError, KeyError):
        raise _invalid(variable) from None
    if not _HOST.fullmatch(host) or parts.path.strip("/") or parts.query or parts.fragment:
        raise _invalid(variable)
    if scheme == _SOCKS and find_spec("socksio") is None:
        raise NetworkSettingError(
            f"{variable} names a SOCKS proxy, which needs one more package: pip install 'pywry-auth-nb[socks]'."
        )
    auth = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    return Proxy(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}", variable, auth)


def _invalid(variable: str) -> NetworkSettingError:
    """Return the error for the address of a proxy. It does not quote it, since it may have a password."""
    return NetworkSettingError(
        f"{variable} is not the address of an HTTP or SOCKS5 proxy, such as http://proxy.example.org:3128 or "
        "socks5://proxy.example.org:1080. Special characters of a password are written as %40 and the like."
    )


# -- NO_PROXY ---------------------------------------------------------------------------------------------------------


class NoProxyEntry(NamedTuple):
    """One entry of ``NO_PROXY``.

    Attributes:
        host: A name, which stands for all below it as well; or a pattern with ``*``.
        network: The network, if the entry is an address or a network.
        port: 0 for every port.
    """

    host: str
    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None
    port: int

    def matches(self, host: str, port: int) -> bool:
        """Whether the entry stands for a host and port."""
        if self.port not in {0, port}:
            return False
        host, address = host.lower().rstrip("."), _address(host)
        if self.network is not None:
            return address is not None and address in self.network
        if "*" in self.host:
            return fnmatchcase(host, self.host)
        return address is None and f".{host}".endswith(f".{self.host}")


def read_no_proxy(text: str) -> Iterator[NoProxyEntry]:
    """Yield the entries of ``NO_PROXY``, which are separated by commas or blanks. One that is invalid is left out.

    An entry is a name, with or without a dot or ``*.`` before it; an IPv4 or IPv6 address or network, with or without
    brackets; or a pattern such as ``*``; and may have a port.
    """
    for entry in re.split(r"[\s,;\"']+", text.lower()):
        if "]:" not in entry and (network := _network(entry)):  # an IPv6 address without brackets ends like a port
            yield NoProxyEntry("", network, 0)
        elif (parts := _ENTRY.fullmatch(entry)) and (host := parts["host"].strip(".")):
            yield NoProxyEntry(host, _network(host), int(parts["port"] or 0))


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """Return an address or a network, without its zone; an address in a network stands for that network."""
    try:
        return ipaddress.ip_network(_NOT_IN_ADDRESS.sub("", text), strict=False)
    except ValueError:
        return None


def _address(host: str) -> Address | None:
    """Return a host that is an address; IPv4 inside IPv6 as IPv4."""
    try:
        address = ipaddress.ip_address(_NOT_IN_ADDRESS.sub("", host))
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
