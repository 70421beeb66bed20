"""What the routes share: who may use them, what they were asked, how they answer."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any, NoReturn, cast

from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.handlers import JupyterHandler
from tornado.escape import parse_qs_bytes
from tornado.web import Finish, HTTPError, authenticated

from .._wire import pages, protocol
from .._wire.error_codes import is_known
from .kernel_client import KernelUnavailable, ask

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .._wire.error_codes import ErrorCode

_MAX_QUERY = 8192  # bytes


class Refused(Exception):  # noqa: N818 - a state of affairs
    """The request ends here, with the page for ``code``."""

    def __init__(self, code: ErrorCode) -> None:
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
            await self.send_on()
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


def to_login(handler: PywryAuthHandler) -> NoReturn:
    """Finish by sending the browser to Jupyter's login page, or a hub's, and back here: without a query."""
    authenticated(lambda _: None)(handler)
    raise Finish


def parse_query(query: str) -> dict[str, str]:
    """Return a query's parameters, or refuse it: where a name comes twice (RFC 6749 §3.1), or it is too long."""
    parameters = parse_qs_bytes(query, keep_blank_values=True)
    if len(query) > _MAX_QUERY or any(len(values) != 1 for values in parameters.values()):
        raise Refused("bad_request")
    try:
        return {name: values[0].decode() for name, values in parameters.items()}
    except UnicodeDecodeError:
        raise Refused("bad_request") from None


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

    async def send_on(self) -> None:
        """Send the browser elsewhere, whoever it belongs to, where that does not matter; it does nothing else."""

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
        if "prefetch" in self.request.headers.get("Sec-Purpose", ""):
            raise Refused("bad_request")
        return parse_query(self.request.query)

    async def ask(self, kernel_id: str, request: str, content: dict[str, Any], deadline: float) -> dict[str, Any]:
        """Ask the kernel; return what it says if that is a success."""
        reply = await ask(self.kernel_manager, kernel_id, request, content, deadline)
        if reply.get("status") != "ok":
            code = reply.get("code")
            raise Refused(code if is_known(code) else "internal")
        if reply.get("protocol") != protocol.PROTOCOL:
            raise Refused("version_mismatch")
        return reply

    def send_to(self, url: str) -> NoReturn:
        """Finish by sending the browser to ``url``, which nobody may keep or hear of."""
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "no-referrer")
        self.redirect(url)
        raise Finish

    def _log(self) -> None:
        """Log the request as Jupyter does, but not where it led to, as a hub's servers would."""
        self.clear_header("Location")  # it is sent already
        super()._log()

    def answer(self, code: ErrorCode) -> None:
        """Finish with the page for ``code``."""
        self.show(pages.failed(code))

    def show(self, page: pages.Page) -> None:
        """Finish with ``page``."""
        for name, value in pages.HEADERS.items():
            self.set_header(name, value)
        self.set_status(page.status)
        self.finish(page.html())

    def write_error(self, status_code: int, **kwargs: Any) -> None:  # noqa: ARG002 - says nothing of the exception
        """Show our own page where Jupyter would show its."""
        self.show(pages.broken(status_code))
