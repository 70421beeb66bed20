"""What a hub tells its servers of its address: nothing, or its own address, or that of each server as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._wire.hub_routing import HUB_CALLBACK, hub_redirect_uri
from .addresses import is_address, is_same_origin, is_subdomain, origin_of, read_address

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMES = ("JUPYTERHUB_PUBLIC_HUB_URL", "JUPYTERHUB_HOST", "JUPYTERHUB_PUBLIC_URL")
_UNKNOWN = "https://HUB"  # in place of an origin


def origins(environ: Mapping[str, str]) -> list[str]:
    """Return where the hub and this server are, each once; empty where the hub does not tell."""
    urls = [environ.get(name, "") for name in _NAMES]
    return list(dict.fromkeys(origin_of(url) for url in urls if is_address(url)))


def allows(address: str, environ: Mapping[str, str]) -> bool:
    """Whether the hub, or this server, may be at ``address``, by what the hub tells.

    A hub that tells nothing may be anywhere; one whose addresses cannot be read is at no address that we know.
    """
    known = origins(environ)
    if not known:
        return not any(environ.get(name) for name in _NAMES)
    return _may_be_of_server(address, environ) or any(is_same_origin(address, origin) for origin in known)


def address_of_server(address: str | None, environ: Mapping[str, str]) -> str | None:
    """Return the server's public address, where the user gave ``address``; None where it is not known for sure.

    It is not at the hub's own address, if each user has a subdomain.
    """
    public = environ.get("JUPYTERHUB_PUBLIC_URL", "")
    known = read_address(public) if is_address(public) else None
    if address is None or _may_be_of_server(address, environ):
        return known
    at_hub = is_same_origin(address, environ.get("JUPYTERHUB_HOST", ""))
    return (known if at_hub else None) or address


def redirect_uri(origin: str, environ: Mapping[str, str]) -> str:
    """Return the hub's redirect URI: where the hub says that it is, else at the browser's ``origin``."""
    readable = {name: value for name, value in environ.items() if name not in _NAMES or is_address(value)}
    return hub_redirect_uri(origin, readable)


def outline(environ: Mapping[str, str]) -> str | None:
    """Return the hub's redirect URI with ``HUB`` for its host; None where the hub tells that."""
    return None if origins(environ) else redirect_uri(_UNKNOWN, environ)


def hub_in(uri: str) -> str:
    """Return the hub's address in its redirect URI."""
    return uri.removesuffix(f"hub/{HUB_CALLBACK}")


def _may_be_of_server(address: str, environ: Mapping[str, str]) -> bool:
    """Whether this may be the server's own host, which a hub before JupyterHub 5 does not tell; or a neighbour's."""
    host = environ.get("JUPYTERHUB_HOST", "")
    return is_address(host) and not is_address(environ.get("JUPYTERHUB_PUBLIC_URL")) and is_subdomain(address, host)
