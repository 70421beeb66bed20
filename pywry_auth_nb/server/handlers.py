"""The routes under ``pywry-auth/``: parse, ask the kernel, answer."""

from __future__ import annotations

import math
import re
from typing import Any
from urllib.parse import urlsplit

from .._wire import pages, protocol
from .._wire.hub_routing import STOPPED, is_on_a_hub, own_server
from .api import CancelHandler, LogoutHandler, RefreshHandler, StatusHandler, UserinfoHandler
from .callback import CallbackHandler
from .check import CheckHandler
from .flow_cookie import remember
from .guard import PywryAuthHandler, Refused, guarded, to_login
from .kernel_client import KernelUnavailable
from .redirect_uri import redirect_uri

_NOTHING_BEGUN = frozenset({"kernel_gone", "no_session"})  # a stale link, or another page's guess
_BEGIN_DEADLINE = 15.0  # seconds: discovery, or a hub that renews its token


class LoginHandler(PywryAuthHandler):
    """Begins a sign-in that a widget in the kernel offers, and sends the browser to the provider.

    Where nobody need be asked, as on a hub that has signed the person in, that is all, and the page says so.
    """

    @guarded
    async def get(self) -> None:
        query = self.query()
        self._check_rate()
        kernel_id, flow = query.get("kernel", ""), query.get("flow", "")
        uri = redirect_uri(self.settings["pywry_auth"].redirect_uri, self.request, self.base_url)
        begin = {"flow": flow, "redirect_uri": uri, "server": own_server()}
        try:
            reply = await self.ask(kernel_id, protocol.BEGIN, begin, _BEGIN_DEADLINE)
        except (Refused, KernelUnavailable) as refused:
            if refused.code in _NOTHING_BEGUN:
                self.settings["pywry_auth_logins"].take_back(self._who)
            raise
        if "name" in reply:
            self.show(pages.signed_in(str(reply["name"])))
            return
        url, state = _sound(reply)
        remember(self, state, kernel_id)
        self.send_to(url)

    @property
    def _who(self) -> str:
        """Whose sign-ins are counted. By name, for behind a proxy all have one address; a token has no name."""
        return "" if self.token_authenticated else str(self.current_user.username)

    def _check_rate(self) -> None:
        """Refuse somebody who begins too many."""
        wait = self.settings["pywry_auth_logins"].wait(self._who)
        if wait > 0:
            self.set_header("Retry-After", str(math.ceil(wait)))
            raise Refused("rate_limited")


def _sound(reply: dict[str, Any]) -> tuple[str, str]:
    """Return the authorize URL and the state that a kernel answered, if they can be sent on: a kernel is anybody's."""
    url, state = reply.get("authorize_url"), reply.get("state")
    try:
        parts = urlsplit(url) if isinstance(url, str) and url.isascii() and url.isprintable() else None
    except ValueError:
        parts = None
    known = parts is not None and parts.scheme in {"https", "http"} and bool(parts.hostname)
    if not known or not isinstance(state, str):
        raise Refused("internal")
    return str(url), state


class StoppedHandler(PywryAuthHandler):
    """What becomes of those who come back to a server that was stopped meanwhile.

    The hub sends them here when it runs again; or to the default server, if it is a named one that does not.
    """

    async def send_on(self) -> None:
        """Let the person sign in to the new server, which the hub does without a question."""
        if not self.current_user:
            to_login(self)

    @guarded
    async def get(self) -> None:
        raise Refused("kernel_gone")


class NowhereHandler(PywryAuthHandler):
    """Answers for every other address below ours: Jupyter would redirect to its login page, with the query."""

    @guarded
    async def get(self) -> None:
        raise Refused("not_found")


def handlers(base_url: str) -> list[tuple[Any, ...]]:
    """The table of routes."""
    root = re.escape(base_url + "pywry-auth/")
    return [
        (root + "login", LoginHandler),
        (root + "callback", CallbackHandler),
        (root + "cancel", CancelHandler),
        (root + "logout", LogoutHandler),
        (root + "refresh", RefreshHandler),
        (root + "status", StatusHandler),
        (root + "userinfo", UserinfoHandler),
        (root + "check", CheckHandler),
        (re.escape(base_url + STOPPED), StoppedHandler),
        (root + ".*", NowhereHandler),
        *(
            [(re.escape(base_url) + "[^/]+/pywry-auth/(?:login|callback|stopped)", StoppedHandler)]
            if is_on_a_hub()
            else []
        ),
    ]
