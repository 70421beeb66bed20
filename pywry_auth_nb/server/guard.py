"""The base handler of all routes: authorization, parsing and responses."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any, NoReturn, cast
from urllib.parse import urlencode, urlsplit

from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.handlers import JupyterHandler
from tornado.escape import parse_qs_bytes
from tornado.web import Finish, HTTPError

from .._wire import pages, protocol
from .._wire.browser import is_prefetch, opens_page
from .._wire.error_codes import is_known
from .control_channel import KernelUnavailable
from .kernel_client import ask

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .._wire.error_codes import ErrorCode


_MAX_NAME = 100


class Refused(Exception):  # noqa: N818 - not an error of the program
    """The request is refused, with the page for ``code``."""

    def __init__(self, code: ErrorCode) -> None:
        super().__init__(code)
        self.code = code


def guarded(method: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Let a method run only for a user who is signed in to Jupyter and may execute code here.

    Jupyter's own guard redirects to its login page with the whole URL in ``next=``, which leaks the authorization code
    into pages and logs. This one never redirects.
    """

    @functools.wraps(method)
    async def guard(self: PywryAuthHandler) -> None:
        try:
            await self.send_on()
            await self.check_user()
            await method(self)
        except (Refused, KernelUnavailable) as refused:
            self.answer(refused.code)

    guarding = cast("Callable[..., Awaitable[None]]", allow_unauthenticated(guard))  # the guard does the check
    guarding.is_guarded = True  # type: ignore[attr-defined]
    return guarding


def is_guarded(method: object) -> bool:
    """Whether a method is decorated with :func:`guarded`."""
    return getattr(method, "is_guarded", False)


def to_login(handler: PywryAuthHandler) -> NoReturn:
    """Finish by redirecting to the login page of Jupyter or the hub, and back here without a query."""
    handler.redirect(login_url(handler))
    raise Finish


def login_url(handler: PywryAuthHandler) -> str:
    """Return the address of Jupyter's or the hub's login page, which leads back here without a query.

    As in tornado's ``authenticated``, the way back is absolute if the address is, and an address with a query knows it.
    """
    url = str(handler.get_login_url())
    way_back = handler.request.full_url() if urlsplit(url).scheme else handler.request.path
    return url if "?" in url else f"{url}?{urlencode({'next': way_back})}"


def parse_query(query: str) -> dict[str, str]:
    """Parse a query; refuse it if a name is repeated (RFC 6749 §3.1), or if it is too long."""
    parameters = parse_qs_bytes(query, keep_blank_values=True)
    if len(query) > protocol.MAX_QUERY or any(len(values) != 1 for values in parameters.values()):
        raise Refused("bad_request")
    try:
        return {name: values[0].decode() for name, values in parameters.items()}
    except UnicodeDecodeError:
        raise Refused("bad_request") from None


class PywryAuthHandler(JupyterHandler):
    """The base of all routes: authorization, parsing and responses.

    Attributes:
        provider: Name of the provider that the kernel signs in at, as text for pages; empty until the kernel says so.
    """

    provider = ""

    def initialize(self) -> None:
        """Keep the query out of every log line and every redirect."""
        self.request.uri = self.request.path

    async def prepare(self) -> None:  # type: ignore[override]
        """Refuse unsupported methods, for which Jupyter would redirect to its login page; then do as Jupyter does."""
        if not is_guarded(getattr(self, str(self.request.method).lower())):
            raise HTTPError(405)
        await ensure_async(cast("Any", super().prepare()))

    async def send_on(self) -> None:
        """Redirect the browser before the user is checked, if necessary. Must have no other effect."""

    async def check_user(self) -> None:
        """Refuse a user who is not signed in to Jupyter, is not this server's owner, or may not execute code here."""
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

        A prefetch is refused, since it must not use up a sign-in.
        """
        if is_prefetch(self.request.headers):
            raise Refused("bad_request")
        return parse_query(self.request.query)

    def page_query(self) -> dict[str, str]:
        """Return the query of a page that a person opens; whatever else a browser fetches begins and ends nothing."""
        if not opens_page(self.request.headers):
            raise Refused("bad_request")
        return self.query()

    async def ask(self, kernel_id: str, request: str, content: dict[str, Any], deadline: float) -> dict[str, Any]:
        """Send a request to the kernel, and return a successful reply."""
        reply = await ask(self.kernel_manager, kernel_id, request, content, deadline)
        self.provider = str(reply.get("provider", ""))[:_MAX_NAME]
        if reply.get("status") != "ok":
            code = reply.get("code")
            raise Refused(code if is_known(code) else "internal")
        if reply.get("protocol") != protocol.PROTOCOL:
            raise Refused("version_mismatch")
        return reply

    def send_to(self, url: str) -> NoReturn:
        """Finish by redirecting the browser to ``url``, which must not be cached or sent as a referrer."""
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "no-referrer")
        self.redirect(url)
        raise Finish

    def _log(self) -> None:
        """Log the request as Jupyter does, without the redirect target, which a hub's servers would log."""
        self.clear_header("Location")  # it has been sent
        super()._log()

    def answer(self, code: ErrorCode) -> None:
        """Finish with the page for ``code``."""
        self.show(pages.failed(code, provider=self.provider))

    def show(self, page: pages.Page) -> None:
        """Finish with ``page``."""
        for name, value in pages.HEADERS.items():
            self.set_header(name, value)
        self.set_status(page.status)
        self.finish(page.html())

    def write_error(self, status_code: int, **kwargs: Any) -> None:  # noqa: ARG002 - the exception is not shown
        """Show our own error page instead of Jupyter's."""
        self.show(pages.broken(status_code))
