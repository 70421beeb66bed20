"""`user_redirect_hook`: leads the provider's answer to the server that asked. It runs in the hub, and is light.

A hub keeps codes out of its log where they are in an address, and not where that is inside another one, as in
``next=``. With this module loaded it does so there, too: the hook goes to the user's server directly, and a filter
covers those who must sign in to the hub first, before anybody can ask the hook.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlencode

from ._wire.hub_routing import CALLBACK, STOPPED, server_in
from ._wire.log_filter import keep_answers_out_of

if TYPE_CHECKING:
    from tornado.httputil import HTTPServerRequest


def user_redirect_hook(path: str, request: HTTPServerRequest, user: Any, base_url: str) -> str | None:
    """Return where ``/hub/user-redirect/…`` leads (``c.JupyterHub.user_redirect_hook``).

    The provider's answer goes to the server of this user that its state names. If that does not run any more, nobody
    waits for the answer: it is dropped, the server is started, and a page there says what happened.

    Args:
        path: What comes after ``/hub/user-redirect/``.
        request: The browser's request.
        user: The hub's user whom the browser belongs to; nobody else's server is ever returned.
        base_url: Below which the hub is, at ``hub/``.

    Returns:
        A URL; None for every other path, which JupyterHub then handles as ever.
    """
    if path != CALLBACK:
        return None
    name = server_in(parse_qs(request.query).get("state", [""])[0])
    if name in user.spawners and user.spawners[name].ready:  # in this order: asking for a spawner makes it
        return f"{user.server_url(name)}{CALLBACK}?{request.query}"
    name = name if name in user.orm_spawners else ""
    server = f"{user.escaped_name}/{quote(name)}".rstrip("/")
    return f"{base_url}hub/spawn/{server}?{urlencode({'next': user.server_url(name) + STOPPED})}"


keep_answers_out_of("tornado.access", "tornado.application", "tornado.general", "JupyterHub")
