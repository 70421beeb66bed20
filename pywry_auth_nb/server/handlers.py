"""The routes under ``pywry-auth/``: parse, ask the kernel, answer."""

from __future__ import annotations

import hashlib
import math
import re
from typing import Any
from urllib.parse import urlsplit

from .. import _protocol, pages
from .api import CancelHandler, LogoutHandler, RefreshHandler, StatusHandler, UserinfoHandler
from .guard import PywryAuthHandler, Refused, guarded
from .kernel_client import KernelUnavailable
from .redirect_uri import redirect_uri

_COOKIE = "pywry-auth-"
_COOKIE_DAYS = 600 / 86400  # as long as the kernel keeps a sign-in open
_MAX_COOKIES = 8
_NOTHING_BEGUN = frozenset({"kernel_gone", "no_session"})  # a stale link, or another page's guess
_BEGIN_DEADLINE = 15.0  # seconds: discovery
_COMPLETE_DEADLINE = 45.0  # seconds: code exchange, keys, userinfo


class LoginHandler(PywryAuthHandler):
    """Begins a sign-in that a widget in the kernel offers, and sends the browser to the provider."""

    @guarded
    async def get(self) -> None:
        query = self.query()
        self._check_rate()
        kernel_id, flow = query.get("kernel", ""), query.get("flow", "")
        uri = redirect_uri(self.settings["pywry_auth"].redirect_uri, self.request, self.base_url)
        try:
            reply = await self.ask(kernel_id, _protocol.BEGIN, {"flow": flow, "redirect_uri": uri}, _BEGIN_DEADLINE)
        except (Refused, KernelUnavailable) as refused:
            if refused.code in _NOTHING_BEGUN:
                self.settings["pywry_auth_logins"].take_back(self._who)
            raise
        url, state = _sound(reply)
        self._remember(state, kernel_id)
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "no-referrer")
        self.redirect(url)

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

    def _remember(self, state: str, kernel_id: str) -> None:
        """Tie the sign-in to this browser with a signed cookie named after its state; its value routes the answer."""
        path = self.base_url + "pywry-auth/"
        ours = [name for name in self.cookies if name.startswith(_COOKIE)]
        if len(ours) >= _MAX_COOKIES:
            for name in ours:
                self.clear_cookie(name, path=path)
        self.set_signed_cookie(
            cookie_name(state),
            kernel_id,
            expires_days=_COOKIE_DAYS,
            path=path,
            httponly=True,
            samesite="Lax",  # Strict would not be sent when the provider sends the browser back
            secure=self.request.protocol == "https",
        )


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


class CallbackHandler(PywryAuthHandler):
    """Takes the provider's answer to the kernel that asked, and says how it went."""

    @guarded
    async def get(self) -> None:
        params = self.query()
        state = params.get("state", "")
        if not state:
            raise Refused("bad_request")
        kernel_id = self.get_signed_cookie(cookie_name(state), max_age_days=_COOKIE_DAYS)
        if kernel_id is None:
            raise Refused("other_browser")
        reply = await self.ask(kernel_id.decode(), _protocol.COMPLETE, {"params": params}, _COMPLETE_DEADLINE)
        self.show(pages.signed_in(str(reply.get("name", ""))))


class NowhereHandler(PywryAuthHandler):
    """Answers for every other address below ours: Jupyter would redirect to its login page, with the query."""

    @guarded
    async def get(self) -> None:
        raise Refused("not_found")


def cookie_name(state: str) -> str:
    """Return the name of the cookie that ties ``state`` to a browser."""
    return _COOKIE + hashlib.sha256(state.encode()).hexdigest()[:32]


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
        (root + ".*", NowhereHandler),
    ]
