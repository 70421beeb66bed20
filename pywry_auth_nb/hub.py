"""`user_redirect_hook`: routes the provider's answer to the server that began the sign-in. The hub imports it.

A hub removes authorization codes from the URLs that it logs, but not from URLs inside others, as in ``next=``. This
module covers these, too: the hook redirects to the user's server directly, and a log filter covers users who must sign
in to the hub first, before the hub calls the hook.
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

    The provider's answer is sent to the server of this user that its state names. If that server is not running, the
    sign-in is lost: the answer is dropped, the hub starts the server, and a page there says what happened.

    Args:
        path: The path after ``/hub/user-redirect/``.
        request: The browser's request.
        user: The hub user of this browser. Only this user's servers are returned.
        base_url: JupyterHub's base URL; the hub itself is at ``hub/`` below it.

    Returns:
        A URL; None for every other path, which JupyterHub then handles as usual.
    """
    if path != CALLBACK:
        return None
    name = server_in(parse_qs(request.query).get("state", [""])[0])
    if name in user.spawners and user.spawners[name].ready:  # in this order: indexing creates a spawner
        return f"{user.server_url(name)}{CALLBACK}?{request.query}"
    name = name if name in user.orm_spawners else ""
    server = f"{user.escaped_name}/{quote(name)}".rstrip("/")
    return f"{base_url}hub/spawn/{server}?{urlencode({'next': user.server_url(name) + STOPPED})}"


keep_answers_out_of("tornado.access", "tornado.application", "tornado.general", "JupyterHub")
