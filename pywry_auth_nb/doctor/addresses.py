"""Addresses that people give and servers answer: what is not a plain http(s) URL is refused, and never shown."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from .._io.urls import MAX_URL, split_url

_SHAPE = re.compile(r"https?://[A-Za-z0-9.\-\[\]:_]+(/[A-Za-z0-9/._~%@!$&'()*+,;=:-]*)?", re.ASCII)
_PORTS = {"http": 80, "https": 443}
#: Where pages of JupyterLab, Notebook, the hub and their like begin: people copy addresses from the browser.
_PAGES = re.compile(r"/(lab|tree|notebooks|edit|consoles|terminals|doc|nbclassic|files|login)(/.*)?$")
_HUB = re.compile(r"(/.*?)?/hub/")
_USERS = re.compile(r"(/.*?)?/user/[^/]+/")
#: Names under which a server writes that it listens at all addresses.
ALL_ADDRESSES = frozenset({"", "0.0.0.0", "::", "*"})  # noqa: S104 - to be replaced


def read_address(text: str) -> str:
    """Return an address that was copied out of a browser without its query, and with a slash at the end.

    Raises:
        ValueError: It is not a URL, or has a user and a password in it.
    """
    address = text.strip().partition("#")[0].partition("?")[0]
    if not is_address(address):
        raise ValueError("the URL must be the address as the browser has it: https://hub.example.org/")
    return f"{origin_of(address)}{path_of(address).rstrip('/')}/"


def token_in(text: str) -> str:
    """Return the token in a URL that a Jupyter server printed, such as ``http://127.0.0.1:8888/lab?token=…``."""
    return dict(parse_qsl(text.strip().partition("#")[0].partition("?")[2])).get("token", "")


def without_page(address: str) -> str:
    """Return the address of the server whose page this may be; but a server may itself be at ``/lab/``."""
    return origin_of(address) + _PAGES.sub("", path_of(address)).rstrip("/") + "/"


def is_address(text: object) -> bool:
    """Whether this is an http(s) URL of a host and a path, in plain characters, that may be shown."""
    shaped = isinstance(text, str) and _SHAPE.fullmatch(text) is not None and len(text) < MAX_URL
    return shaped and split_url(str(text)) is not None


def scheme_of(url: str) -> str:
    """Return ``http`` or ``https``."""
    return urlsplit(url).scheme


def origin_of(url: str) -> str:
    """Return scheme, host and port."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.lower()}"


def host_of(url: str) -> str:
    """Return host and port in one spelling: without the scheme's own port."""
    parts = urlsplit(url)
    port = parts.port if parts.port != _PORTS.get(parts.scheme) else None
    return f"{parts.hostname}{f':{port}' if port else ''}"


def path_of(url: str) -> str:
    """Return the path."""
    return urlsplit(url).path


def is_same_origin(url: str, other: str) -> bool:
    """Whether both are of the same origin to a browser."""
    return (scheme_of(url), host_of(url)) == (scheme_of(other), host_of(other))


def is_subdomain(url: str, other: str) -> bool:
    """Whether the host of ``url`` is a subdomain of the one of ``other``; ports do not count."""
    return (urlsplit(url).hostname or "").endswith(f".{urlsplit(other).hostname}")


def on_this_machine(url: str) -> str:
    """Return where a server of this machine is reached whose address has a name for all addresses, or no host."""
    parts = urlsplit(url)
    if (parts.hostname or "") not in ALL_ADDRESSES:
        return url
    return SplitResult(parts.scheme, f"127.0.0.1:{parts.port or _PORTS[parts.scheme]}", parts.path, "", "").geturl()


def hub_of(url: str) -> str:
    """Return the address of the hub to which one of its pages, a user's server, or the address itself would belong."""
    found = _USERS.match(path_of(url)) or _HUB.match(path_of(url))
    return origin_of(url) + ((found[1] or "") + "/" if found else path_of(url))


def user_in(url: str) -> str:
    """Return the name of the user whose server on a hub this is; empty for other addresses."""
    found = _USERS.match(path_of(url))
    return unquote(found[0].rstrip("/").rpartition("/")[2]) if found else ""
