"""Routing of a provider's answer to one of a hub user's servers, whose name is part of the ``state``.

The provider knows one address for the whole hub, which the hub redirects to the user's *default* server. That server
sends the browser on to the server that the state names; with our hook, the hub itself does.

The name selects only among the servers of the browser's own user. So a forged state cannot lead to the server of
another user, and the server that it leads to does not know the sign-in.
"""

from __future__ import annotations

import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Path of the redirect URI, below a server's base URL or the hub's ``user-redirect/``.
CALLBACK = "pywry-auth/callback"
#: The same below the hub's ``hub/``: one address for all users, which leads to the server of the browser's user.
HUB_CALLBACK = f"user-redirect/{CALLBACK}"
#: Path of the page that says that the server, and with it the sign-in, was stopped.
STOPPED = "pywry-auth/stopped"

_SEPARATOR = "."  # unreserved in URLs (RFC 3986 §2.3), and not in base64
_MAX_NAME = 255


def state_for(token: str, server: str) -> str:
    """Return the ``state`` of a sign-in on the named ``server``; just ``token`` on a default server."""
    if not _is_name(server):
        return token
    return token + _SEPARATOR + urlsafe_b64encode(server.encode()).decode().rstrip("=")


def server_in(state: str) -> str:
    """Return the name of the server that ``state`` belongs to; empty for a default server, or if invalid."""
    encoded = state.partition(_SEPARATOR)[2]
    if not encoded.isascii():
        return ""
    try:
        name = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
    except ValueError:
        return ""
    return name if _is_name(name) else ""


def _is_name(name: str) -> bool:
    """Whether ``name`` is safe as the last segment of a path, however a proxy normalizes it."""
    return 0 < len(name) <= _MAX_NAME and name.isprintable() and not set(name) & set("/\\%") and name.strip(".") != ""


def is_on_a_hub(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is, or belongs to, a hub user's server."""
    return "JUPYTERHUB_SERVICE_PREFIX" in environ


def hub_redirect_uri(origin: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return the hub's redirect URI: at the hub's configured public URL, else at the browser's ``origin``."""
    host, base = environ.get("JUPYTERHUB_HOST") or origin, environ.get("JUPYTERHUB_BASE_URL", "/").rstrip("/")
    hub = environ.get("JUPYTERHUB_PUBLIC_HUB_URL") or f"{host.rstrip('/')}{base}/hub/"
    return f"{hub.rstrip('/')}/{HUB_CALLBACK}"


def own_server(environ: Mapping[str, str] = os.environ) -> str:
    """Return the name of the hub user's server to which this process belongs; empty for a default server."""
    return environ.get("JUPYTERHUB_SERVER_NAME", "")


def other_server(state: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return the base URL of the server that ``state`` belongs to, if that is another one of the same user.

    Returns:
        A path such as ``/user/alice/second/``; empty if it is this server, or there is no hub.
    """
    prefix, own, name = environ.get("JUPYTERHUB_SERVICE_PREFIX", ""), own_server(environ), server_in(state)
    if not prefix or name == own:
        return ""
    path = prefix.rstrip("/")
    users = (path.rpartition("/")[0] if own else path) + "/"
    return f"{users}{quote(name, safe='@~')}/" if name else users
