"""What a hub tells its servers of where it is: nothing, or its own address, or that of each server as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._wire.hub_routing import HUB_CALLBACK, hub_redirect_uri
from .addresses import is_address, is_below, is_same_origin, origin_of, read_address

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMES = ("JUPYTERHUB_PUBLIC_HUB_URL", "JUPYTERHUB_HOST", "JUPYTERHUB_PUBLIC_URL")
_UNKNOWN = "https://HUB"  # in place of an origin


def origins(environ: Mapping[str, str]) -> list[str]:
    """Return where the hub and this server are, each once; nothing where the hub does not tell."""
    return list(dict.fromkeys(origin_of(told) for name in _NAMES if is_address(told := environ.get(name, ""))))


def allows(address: str, environ: Mapping[str, str]) -> bool:
    """Whether the hub, or this server, may be at ``address``, by what the hub tells; which may be nothing.

    Where all that it tells is no address for us, that is not nothing, and allows nothing.
    """
    told = origins(environ)
    if not told:
        return not any(environ.get(name) for name in _NAMES)
    return _is_subdomain(address, environ) or any(is_same_origin(address, one) for one in told)


def of_server(address: str | None, environ: Mapping[str, str]) -> str | None:
    """Return where the server is, for somebody who gave ``address``; None where that is not known for sure.

    It is not at the hub's own address, if each user has a subdomain.
    """
    public = environ.get("JUPYTERHUB_PUBLIC_URL", "")
    told = read_address(public) if is_address(public) else None
    if address is None or _is_subdomain(address, environ):
        return told
    at_hub = is_same_origin(address, environ.get("JUPYTERHUB_HOST", ""))
    return (told if at_hub else None) or address


def redirect_uri(origin: str, environ: Mapping[str, str]) -> str:
    """Return the hub's redirect URI: where the hub says that it is, else at the browser's ``origin``."""
    return hub_redirect_uri(origin, {name: value for name, value in environ.items() if _may_be_told(name, value)})


def outline(environ: Mapping[str, str]) -> str | None:
    """Return the hub's redirect URI with ``HUB`` for its host; None where the hub tells that."""
    return None if origins(environ) else redirect_uri(_UNKNOWN, environ)


def hub_in(uri: str) -> str:
    """Return the hub's address in its redirect URI."""
    return uri.removesuffix(f"hub/{HUB_CALLBACK}")


def _may_be_told(name: str, value: str) -> bool:
    return name not in _NAMES or is_address(value)


def _is_subdomain(address: str, environ: Mapping[str, str]) -> bool:
    """Whether this may be the server's own host, which a hub before JupyterHub 5 does not tell; or a neighbour's."""
    host = environ.get("JUPYTERHUB_HOST", "")
    return is_address(host) and not is_address(environ.get("JUPYTERHUB_PUBLIC_URL")) and is_below(address, host)
