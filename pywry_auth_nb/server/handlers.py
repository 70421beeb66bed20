"""The routes under ``pywry-auth/``: parse, ask the kernel, answer."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from .._wire import pages, protocol
from .._wire.hub_routing import STOPPED, is_on_a_hub, own_server
from .api import CancelHandler, LogoutHandler, RefreshHandler, StatusHandler, UserinfoHandler
from .callback import CallbackHandler
from .check import CheckHandler
from .control_channel import KernelUnavailable
from .flow_cookie import LINK, park, parked, remember
from .guard import PywryAuthHandler, Refused, guarded, login_url, parse_query, to_login
from .redirect_uri import redirect_uri

if TYPE_CHECKING:
    from .._wire.error_codes import ErrorCode

_NOTHING_BEGUN = frozenset({"kernel_gone", "no_session"})  # a stale or forged link
_BEGIN_DEADLINE = 15.0  # seconds: discovery, or a hub that renews its token


class LoginHandler(PywryAuthHandler):
    """Begins a sign-in of a session in the kernel, and redirects the browser to the provider.

    If the kernel signs in without the user, as on a hub that has signed the user in, it shows the result instead.
    """

    @guarded
    async def get(self) -> None:
        link = self._link()
        self._check_rate()
        kernel_id, flow = link.get("kernel", ""), link.get("flow", "")
        uri = redirect_uri(self.settings["pywry_auth"].redirect_uri, self.request, self.base_url)
        begin = {"flow": flow, "redirect_uri": uri, "server": own_server(), "prompt": link.get("prompt", "")}
        try:
            reply = await self.ask(kernel_id, protocol.BEGIN, begin, _BEGIN_DEADLINE)
        except (Refused, KernelUnavailable) as refused:
            if refused.code in _NOTHING_BEGUN:
                self.settings["pywry_auth_logins"].take_back(self._who)
            raise
        if "name" in reply:
            self.show(pages.signed_in(str(reply["name"]), self.provider))
            return
        url, state = _validated(reply)
        remember(self, state, kernel_id)
        self.send_to(url)

    def _link(self) -> dict[str, str]:
        """Return what the link names, or what was kept of it while the user signed in to Jupyter."""
        return self.page_query() or parse_query(parked(self, LINK))

    def answer(self, code: ErrorCode) -> None:
        """Finish with the page for ``code``, with a link to Jupyter's login page if that is what is missing."""
        login_url = self._keep_link() if code == "jupyter_login" else ""
        self.show(pages.failed(code, login_url=login_url, provider=self.provider))

    def _keep_link(self) -> str:
        """Keep what the link names in this browser, and return the address of Jupyter's login page, which leads back.

        In that address it would end up in logs. Empty if there is no valid link to come back to.
        """
        try:
            link = self._link()
        except Refused:
            return ""
        query = urlencode([(name, link[name]) for name in ("kernel", "flow", "prompt") if name in link])
        return login_url(self) if query and park(self, LINK, query) else ""

    @property
    def _who(self) -> str:
        """The user name for counting, since the users of a proxy share one address; empty for a token."""
        return "" if self.token_authenticated else str(self.current_user.username)

    def _check_rate(self) -> None:
        """Refuse a user who has begun too many sign-ins."""
        wait = self.settings["pywry_auth_logins"].wait(self._who)
        if wait > 0:
            self.set_header("Retry-After", str(math.ceil(wait)))
            raise Refused("rate_limited")


def _validated(reply: dict[str, Any]) -> tuple[str, str]:
    """Validate and return the authorize URL and the state of a kernel's reply: a kernel runs arbitrary code."""
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
    """Shows that the server was stopped during the sign-in.

    The hub redirects here once the server runs again; or to the default server, if a named server no longer exists.
    """

    async def send_on(self) -> None:
        """Let the user sign in to the new server, which needs no interaction on a hub."""
        if not self.current_user:
            to_login(self)

    @guarded
    async def get(self) -> None:
        raise Refused("kernel_gone")


class NotFoundHandler(PywryAuthHandler):
    """Answers every other path below ours, for which Jupyter would redirect to its login page, with the query."""

    @guarded
    async def get(self) -> None:
        raise Refused("not_found")


def handlers(base_url: str) -> list[tuple[Any, ...]]:
    """Return the table of routes."""
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
        (root + ".*", NotFoundHandler),
        *(
            [(re.escape(base_url) + "[^/]+/pywry-auth/(?:login|callback|stopped)", StoppedHandler)]
            if is_on_a_hub()
            else []
        ),
    ]
