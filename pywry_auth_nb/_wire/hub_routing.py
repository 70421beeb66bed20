"""Which of a hub user's servers a sign-in belongs to: its name is a part of the sign-in's ``state``.

The provider knows one address for the whole hub, and the hub leads it to a user's *default* server. The browser is sent
on from there to the server that the state names; or from the hub itself, with our hook.

The name chooses among the servers of the person to whom the browser belongs, and nothing else. So a state that somebody
made up leads to no other person's server, and the server that it leads to knows no such sign-in.
"""

from __future__ import annotations

import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Where the provider's answer comes to, below a server's base URL or the hub's ``user-redirect/``.
CALLBACK = "pywry-auth/callback"
#: The same below the hub's own ``hub/``: one address for all its users, which leads to the browser's own server.
HUB_CALLBACK = f"user-redirect/{CALLBACK}"
#: Where a browser learns that the server, and with it the sign-in, was stopped meanwhile.
STOPPED = "pywry-auth/stopped"

_SEPARATOR = "."  # unreserved in URLs (RFC 3986 §2.3), and not in base64
_MAX_NAME = 255


def state_for(token: str, server: str) -> str:
    """Return the ``state`` of a sign-in on the server of that name; just ``token`` on a default server."""
    if not _is_name(server):
        return token
    return token + _SEPARATOR + urlsafe_b64encode(server.encode()).decode().rstrip("=")


def server_in(state: str) -> str:
    """Return the name of the server that ``state`` belongs to; empty for a default server, and for any nonsense."""
    encoded = state.partition(_SEPARATOR)[2]
    if not encoded.isascii():
        return ""
    try:
        name = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
    except ValueError:
        return ""
    return name if _is_name(name) else ""


def _is_name(name: str) -> bool:
    """Whether this can be the last part of a path, and no way out of it, however a proxy reads it."""
    return 0 < len(name) <= _MAX_NAME and name.isprintable() and not set(name) & set("/\\%") and name.strip(".") != ""


def is_on_a_hub(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is a server of a hub's user, or belongs to one."""
    return "JUPYTERHUB_SERVICE_PREFIX" in environ


def hub_redirect_uri(origin: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return the hub's redirect URI: where the hub says that it is, else at the browser's ``origin``."""
    host, base = environ.get("JUPYTERHUB_HOST") or origin, environ.get("JUPYTERHUB_BASE_URL", "/").rstrip("/")
    hub = environ.get("JUPYTERHUB_PUBLIC_HUB_URL") or f"{host.rstrip('/')}{base}/hub/"
    return f"{hub.rstrip('/')}/{HUB_CALLBACK}"


def own_server(environ: Mapping[str, str] = os.environ) -> str:
    """Return the name of the hub user's server that this process is, or belongs to; empty for a default server."""
    return environ.get("JUPYTERHUB_SERVER_NAME", "")


def other_server(state: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return the base URL of the server that ``state`` belongs to, where that is another one of the same hub user.

    Returns:
        A path such as ``/user/alice/second/``; empty where this server is the one, or there is no hub.
    """
    prefix, own, name = environ.get("JUPYTERHUB_SERVICE_PREFIX", ""), own_server(environ), server_in(state)
    if not prefix or name == own:
        return ""
    path = prefix.rstrip("/")
    users = (path.rpartition("/")[0] if own else path) + "/"
    return f"{users}{quote(name, safe='@~')}/" if name else users
