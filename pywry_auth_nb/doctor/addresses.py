"""Addresses that people give and servers answer: what is none is refused, and never shown."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, unquote, urlsplit

from .._io.http import MAX_URL, is_safe, split_url

_SHAPE = re.compile(r"https?://[A-Za-z0-9.\-\[\]:_]+(/[A-Za-z0-9/._~%@!$&'()*+,;=:-]*)?", re.ASCII)
_PORTS = {"http": 80, "https": 443}
#: Where pages of JupyterLab, Notebook, the hub and their like begin: people copy addresses from the browser.
_PAGES = re.compile(r"/(lab|tree|notebooks|edit|consoles|terminals|doc|nbclassic|files|login)(/.*)?$")
_HUB = re.compile(r"(/.*?)?/hub/")
_USERS = re.compile(r"(/.*?)?/user/[^/]+/")


def read_address(text: str) -> str:
    """Return an address that was copied out of a browser without its query, and with a slash at the end.

    Raises:
        ValueError: It is none, or has a user and a password in it.
    """
    address = text.strip().partition("#")[0].partition("?")[0]
    if not is_address(address):
        raise ValueError("the URL must be the address as the browser has it: https://hub.example.org/")
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}/"


def without_page(address: str) -> str:
    """Return the address of the server whose page this may be; but a server may itself be at ``/lab/``."""
    return origin_of(address) + _PAGES.sub("", path_of(address)).rstrip("/") + "/"


def is_address(text: object) -> bool:
    """Whether this is an http(s) URL of a host and a path, in plain characters, that may be shown."""
    shaped = isinstance(text, str) and _SHAPE.fullmatch(text) is not None and len(text) < MAX_URL
    return shaped and split_url(str(text)) is not None


def is_insecure(url: str) -> bool:
    """Whether a provider's answer would go to ``url`` unprotected: sign-ins are refused there (RFC 8252 §7.3)."""
    return not is_safe(url)


def origin_of(url: str) -> str:
    """Return scheme, host and port."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.lower()}"


def host_of(url: str) -> str:
    """Return host and port in one spelling: a scheme's own port is none."""
    parts = urlsplit(url)
    port = parts.port if parts.port != _PORTS.get(parts.scheme) else None
    return f"{parts.hostname}{f':{port}' if port else ''}"


def is_same_origin(url: str, other: str) -> bool:
    """Whether a browser takes both for the same place."""
    return (urlsplit(url).scheme, host_of(url)) == (urlsplit(other).scheme, host_of(other))


def is_below(url: str, other: str) -> bool:
    """Whether the host of ``url`` is a subdomain of the one of ``other``."""
    return (urlsplit(url).hostname or "").endswith(f".{urlsplit(other).hostname}")


def path_of(url: str) -> str:
    """Return the path."""
    return urlsplit(url).path


def is_below_localhost(url: str) -> bool:
    """Whether a browser takes the host for this machine (RFC 6761 §6.3); we do not, so nothing is sent there."""
    return (urlsplit(url).hostname or "").endswith(".localhost")


def on_this_machine(url: str) -> str:
    """Return where a server on this machine is reached that says it listens everywhere: at ``0.0.0.0``, or no host."""
    parts = urlsplit(url)
    if parts.hostname not in {None, "", "0.0.0.0", "::", "*"}:  # noqa: S104 - to be replaced
        return url
    return SplitResult(parts.scheme, f"127.0.0.1:{parts.port or _PORTS[parts.scheme]}", parts.path, "", "").geturl()


def hub_of(url: str) -> str:
    """Return the address of the hub to which one of its pages, a user's server, or the address itself would belong."""
    found = _USERS.match(path_of(url)) or _HUB.match(path_of(url))
    return origin_of(url) + ((found[1] or "") + "/" if found else path_of(url))


def user_in(url: str) -> str:
    """Return the name of the user whose server on a hub this is; empty where it is none."""
    found = _USERS.match(path_of(url))
    return unquote(found[0].rstrip("/").rpartition("/")[2]) if found else ""
