"""The routes under ``pywry-auth/``: parse, ask the kernel, answer."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.handlers import JupyterHandler
from tornado.web import HTTPError

from .. import _protocol, pages
from .kernel_client import KernelUnavailable, ask
from .redirect_uri import redirect_uri

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_COOKIE = "pywry-auth-"
_COOKIE_DAYS = 600 / 86400  # as long as the kernel keeps a sign-in open
_MAX_COOKIES = 8
_MAX_QUERY = 8192  # bytes
_BEGIN_DEADLINE = 15.0  # seconds: discovery
_COMPLETE_DEADLINE = 45.0  # seconds: code exchange, keys, userinfo


class Refused(Exception):  # noqa: N818 - a state of affairs
    """The request ends here, with the page for ``code``."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def guarded(method: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Let a method run only for a signed-in user who may execute code here.

    Jupyter's own guard redirects to its login page with the whole address in ``next=``, and so writes the authorization
    code into pages and logs. This one never redirects.
    """

    @functools.wraps(method)
    async def guard(self: PywryAuthHandler) -> None:
        try:
            await self.check_user()
            await method(self)
        except (Refused, KernelUnavailable) as refused:
            self.answer(refused.code)

    guarding = cast("Callable[..., Awaitable[None]]", allow_unauthenticated(guard))  # it does the check itself
    guarding.is_guarded = True  # type: ignore[attr-defined]
    return guarding


def is_guarded(method: object) -> bool:
    """Whether a method runs under :func:`guarded`."""
    return getattr(method, "is_guarded", False)


class PywryAuthHandler(JupyterHandler):
    """What the routes share: who may use them, what they were asked, how they answer."""

    def initialize(self) -> None:
        """Keep the query out of every log line and every redirect."""
        self.request.uri = self.request.path

    async def prepare(self) -> None:  # type: ignore[override]
        """Do what Jupyter does, for the methods that are there: for others it would redirect to its login page."""
        if not is_guarded(getattr(self, str(self.request.method).lower())):
            raise HTTPError(405)
        await ensure_async(cast("Any", super().prepare()))

    async def check_user(self) -> None:
        """Refuse whoever is not signed in to Jupyter, is not this server's owner, or may not execute code here."""
        if not self.current_user:
            raise Refused("jupyter_login")
        owner = os.environ.get("JUPYTERHUB_USER")
        if owner is not None and self.current_user.username != owner:
            raise Refused("forbidden")
        allowed = self.authorizer.is_authorized(self, self.current_user, "execute", "kernels")
        if not await ensure_async(cast("Any", allowed)):
            raise Refused("forbidden")

    def query(self) -> dict[str, str]:
        """Return the query, each name once (RFC 6749 §3.1).

        A page that a browser merely prefetches must not use anything up, and is refused.
        """
        arguments = self.request.query_arguments
        if "prefetch" in self.request.headers.get("Sec-Purpose", "") or len(self.request.query) > _MAX_QUERY:
            raise Refused("bad_request")
        if any(len(values) != 1 for values in arguments.values()):
            raise Refused("bad_request")
        try:
            return {name: values[0].decode() for name, values in arguments.items()}
        except UnicodeDecodeError:
            raise Refused("bad_request") from None

    async def ask(self, kernel_id: str, request: str, content: dict[str, Any], deadline: float) -> dict[str, Any]:
        """Ask the kernel; return what it says if that is a success."""
        reply = await ask(self.kernel_manager, kernel_id, request, content, deadline)
        if reply.get("status") != "ok":
            raise Refused(str(reply.get("code", "internal")))
        if reply.get("protocol") != _protocol.PROTOCOL:
            raise Refused("version_mismatch")
        return reply

    def answer(self, code: str) -> None:
        """Finish with the page for ``code``."""
        self.show(pages.failed(code), code)

    def show(self, page: pages.Page, code: str = "") -> None:
        """Finish with ``page``."""
        for name, value in pages.HEADERS.items():
            self.set_header(name, value)
        self.set_status(page.status)
        self.finish(page.html(code))

    def write_error(self, status_code: int, **kwargs: Any) -> None:  # noqa: ARG002 - says nothing of the exception
        """Show our own page where Jupyter would show its."""
        self.show(pages.Page(status_code, "This did not work", "Go back to the notebook and try again."))


class LoginHandler(PywryAuthHandler):
    """Begins a sign-in that a widget in the kernel offers, and sends the browser to the provider."""

    @guarded
    async def get(self) -> None:
        query = self.query()
        kernel_id, flow = query.get("kernel", ""), query.get("flow", "")
        uri = redirect_uri(self.settings["pywry_auth"].redirect_uri, self.request, self.base_url)
        reply = await self.ask(kernel_id, _protocol.BEGIN, {"flow": flow, "redirect_uri": uri}, _BEGIN_DEADLINE)
        if urlsplit(reply["authorize_url"]).scheme not in {"https", "http"}:
            raise Refused("internal")
        self._remember(reply["state"], kernel_id)
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "no-referrer")
        self.redirect(reply["authorize_url"])

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


class ActionHandler(PywryAuthHandler):
    """Does for a widget what must also work while a cell is running, when its own messages wait."""

    def initialize(self, asks: str) -> None:  # type: ignore[override]
        """Take the kernel request that this route stands for."""
        super().initialize()
        self._asks = asks

    @guarded
    async def post(self) -> None:
        query = self.query()
        await self.ask(query.get("kernel", ""), self._asks, {"flow": query.get("flow", "")}, _BEGIN_DEADLINE)
        self._finish_json(200, {"status": "ok"})

    def answer(self, code: str) -> None:
        """Finish with JSON: these routes are for programs."""
        self._finish_json(pages.failed(code).status, {"status": "error", "code": code})

    def write_error(self, status_code: int, **kwargs: Any) -> None:  # noqa: ARG002 - says nothing of the exception
        """Finish with JSON where Jupyter refuses."""
        self._finish_json(status_code, {"status": "error", "code": "refused"})

    def _finish_json(self, status: int, content: dict[str, str]) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps(content))


def cookie_name(state: str) -> str:
    """Return the name of the cookie that ties ``state`` to a browser."""
    return _COOKIE + hashlib.sha256(state.encode()).hexdigest()[:32]


def handlers(base_url: str) -> list[tuple[Any, ...]]:
    """The table of routes."""
    root = re.escape(base_url + "pywry-auth/")
    return [
        (root + "login", LoginHandler),
        (root + "callback", CallbackHandler),
        (root + "cancel", ActionHandler, {"asks": _protocol.CANCEL}),
        (root + "logout", ActionHandler, {"asks": _protocol.LOGOUT}),
        (root + ".*", NowhereHandler),
    ]
