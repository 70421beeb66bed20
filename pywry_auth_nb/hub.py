"""`user_redirect_hook`: leads the provider's answer to the server that asked. It runs in the hub, and is light.

A hub keeps codes out of its log where they are in an address, and not where that is inside another one, as in
``next=``. With this module loaded it does so there, too: the hook goes to the user's server directly, and a filter
covers those who must sign in to the hub first, before anybody can ask the hook.
"""

from __future__ import annotations

import contextlib
import logging
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlencode

from ._servers import CALLBACK, STOPPED, server_in

if TYPE_CHECKING:
    from tornado.httputil import HTTPServerRequest

_SLASH, _QUESTION = "(?:/|%(?:25)*2F)", r"(?:\?|%(?:25)*3F)"  # percent-encoded as often as they are nested
_QUERY = re.compile(f"({CALLBACK.replace('/', _SLASH)}{_QUESTION})[^\\s\"'<>]+", re.IGNORECASE)


def user_redirect_hook(path: str, request: HTTPServerRequest, user: Any, base_url: str) -> str | None:
    """Return where ``/hub/user-redirect/…`` leads (``c.JupyterHub.user_redirect_hook``).

    The provider's answer goes to the server of this user that its state names. If that does not run any more, nobody
    waits for the answer: it is dropped, the server is started, and a page there says what happened.

    Args:
        path: What comes after ``/hub/user-redirect/``.
        request: The browser's request.
        user: The hub's user whom the browser belongs to; nobody else's server is ever returned.
        base_url: The hub's base URL.

    Returns:
        A URL; None for every other path, which JupyterHub then handles as ever.
    """
    if path.strip("/") != CALLBACK:
        return None
    name = server_in(parse_qs(request.query).get("state", [""])[0])
    if name in user.spawners and user.spawners[name].ready:  # in this order: asking for a spawner makes it
        return f"{user.server_url(name)}{CALLBACK}?{request.query}"
    name = name if name in user.orm_spawners else ""
    server = f"{user.escaped_name}/{quote(name)}".rstrip("/")
    return f"{base_url}spawn/{server}?{urlencode({'next': user.server_url(name) + STOPPED})}"


def without_answer(record: logging.LogRecord) -> bool:
    """Take the provider's answer out of a line of the log; leave every other line as it is."""
    with contextlib.suppress(Exception):  # a line that cannot be formatted is for logging itself to complain about
        line = record.getMessage()
        if _QUERY.search(line):
            record.msg, record.args = _QUERY.sub(r"\1[secret]", line), ()
    return True


def _keep_answers_out_of_logs() -> None:
    for name in ("tornado.access", "tornado.application", "tornado.general", "JupyterHub"):
        logging.getLogger(name).addFilter(without_answer)


_keep_answers_out_of_logs()
