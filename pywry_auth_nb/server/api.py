"""The JSON routes, guarded like all others and protected from other sites. They never return a token."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tornado.web import HTTPError

from .._wire import protocol
from .._wire.error_codes import explain
from .guard import PywryAuthHandler, Refused, guarded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._wire.error_codes import ErrorCode

_DEADLINE = 15.0  # seconds
_REFRESH_DEADLINE = 60.0  # seconds: includes a request to the provider
_CODE_OF_STATUS: Mapping[int, ErrorCode] = {405: "bad_method", 500: "internal"}


class JsonHandler(PywryAuthHandler):
    """Passes one request about one session to the kernel, and answers in JSON."""

    asks = ""
    tells: tuple[str, ...] = ()  # members of the reply to pass on: a kernel runs arbitrary code, so no others
    deadline = _DEADLINE
    _refused: ErrorCode = "refused"  # the code if Jupyter refuses the request

    async def answer_from_kernel(self) -> dict[str, Any]:
        """Ask the kernel about the session; the query names both."""
        query = self.query()
        reply = await self.ask(query.get("kernel", ""), self.asks, {"flow": query.get("flow", "")}, self.deadline)
        return {name: reply[name] for name in self.tells if name in reply}

    def refuse_other_sites(self) -> None:
        """Refuse a page of another site, whatever Jupyter's CORS and XSRF settings. Scripts send neither header."""
        site, origin = (self.request.headers.get(name) for name in ("Sec-Fetch-Site", "Origin"))
        own = {f"{scheme}://{self.request.host}" for scheme in (self.request.protocol, "https")}  # TLS may end earlier
        # only a browser that sends no Sec-Fetch-Site is judged by the Host header, which a proxy may change
        if site not in {"same-origin", "none"} and (site is not None or origin not in {None, *own}):
            raise Refused("cross_site")

    def check_xsrf_cookie(self) -> None:
        """Check as Jupyter does, and remember a failure, for which Jupyter's status may be 404."""
        try:
            super().check_xsrf_cookie()
        except HTTPError:
            self._refused = "csrf_failed"
            raise

    def answer(self, code: ErrorCode) -> None:
        """Finish with the JSON for ``code``."""
        self._finish_error(code, explain(code).status)

    def write_error(self, status_code: int, **kwargs: Any) -> None:  # noqa: ARG002 - the exception is not shown
        """Finish with JSON if Jupyter refuses the request, or a handler raises."""
        code = _CODE_OF_STATUS.get(status_code, self._refused)
        self._finish_error(code, explain(code).status if code == "csrf_failed" else status_code)

    def _finish_error(self, code: ErrorCode, status: int) -> None:
        self.finish_json(status, {"error": code, "message": explain(code).text()})

    def finish_json(self, status: int, content: dict[str, Any]) -> None:
        """Finish with ``content``, which must be neither cached nor sniffed."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.finish(json.dumps(content))


class QuestionHandler(JsonHandler):
    """Answers pages of this Jupyter server."""

    @guarded
    async def get(self) -> None:
        """Answer with the kernel's reply."""
        self.refuse_other_sites()
        self.finish_json(200, await self.answer_from_kernel())


class StatusHandler(QuestionHandler):
    """Whether the session is signed in (``authenticated``), and if so ``user_id``, ``roles`` and ``expires_at``."""

    asks = protocol.STATUS
    tells = ("authenticated", "user_id", "roles", "expires_at")


class UserinfoHandler(QuestionHandler):
    """The signed-in user: ``user_id``, ``roles`` and the provider's claims in ``user_info``; 401 if signed out."""

    asks = protocol.USERINFO
    tells = ("user_id", "roles", "user_info")


class ActionHandler(JsonHandler):
    """Performs an action. It works while a cell is running, unlike the widget's own messages."""

    said = ""

    @guarded
    async def post(self) -> None:
        """Have the kernel perform the action."""
        self.refuse_other_sites()
        reply = await self.answer_from_kernel()
        self.finish_json(200, {**reply, **({"message": self.said} if self.said else {}), "success": True})


class CancelHandler(ActionHandler):
    """Cancels the open sign-ins."""

    asks = protocol.CANCEL
    said = "All open sign-ins were cancelled."


class LogoutHandler(ActionHandler):
    """Signs out; succeeds even if the session is not signed in."""

    asks = protocol.LOGOUT
    said = "You are signed out."


class RefreshHandler(ActionHandler):
    """Renews the access token: ``expires_in`` (seconds) and ``token_type``; 401, 400 or 500 on failure."""

    asks = protocol.REFRESH
    tells = ("expires_in", "token_type")
    deadline = _REFRESH_DEADLINE
