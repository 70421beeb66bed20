"""The routes for programs: JSON, guarded and protected from other sites as all the others. No token is ever in it."""

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
_REFRESH_DEADLINE = 45.0  # seconds: the provider is asked
_CODE_OF_STATUS: Mapping[int, ErrorCode] = {405: "bad_method", 500: "internal"}


class JsonHandler(PywryAuthHandler):
    """Asks the kernel one thing about one session, and answers in JSON."""

    asks = ""
    tells: tuple[str, ...] = ()  # what of the kernel's reply is passed on: a kernel runs any code
    deadline = _DEADLINE
    _refused: ErrorCode = "refused"  # why Jupyter did, where we know

    async def answer_from_kernel(self) -> dict[str, Any]:
        """Ask the kernel that the query names, about the session that the query names."""
        query = self.query()
        reply = await self.ask(query.get("kernel", ""), self.asks, {"flow": query.get("flow", "")}, self.deadline)
        return {name: reply[name] for name in self.tells if name in reply}

    def check_xsrf_cookie(self) -> None:
        """Refuse as Jupyter does, and remember that this was why: it says 404 where the referrer is another site."""
        try:
            super().check_xsrf_cookie()
        except HTTPError:
            self._refused = "csrf_failed"
            raise

    def answer(self, code: ErrorCode) -> None:
        """Finish with the JSON for ``code``."""
        self._finish_error(code, explain(code).status)

    def write_error(self, status_code: int, **kwargs: Any) -> None:  # noqa: ARG002 - says nothing of the exception
        """Finish with JSON where Jupyter refuses, or something of ours is broken."""
        code = _CODE_OF_STATUS.get(status_code, self._refused)
        self._finish_error(code, explain(code).status if code == "csrf_failed" else status_code)

    def _finish_error(self, code: ErrorCode, status: int) -> None:
        self.finish_json(status, {"error": code, "message": explain(code).text()})

    def finish_json(self, status: int, content: dict[str, Any]) -> None:
        """Finish with ``content``, which must not be kept or taken for anything else."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.finish(json.dumps(content))


class QuestionHandler(JsonHandler):
    """Answers a question of a page of this Jupyter; other sites are refused, whatever Jupyter allows them."""

    @guarded
    async def get(self) -> None:
        """Answer with what the kernel says."""
        origin = self.request.headers.get("Origin")  # for browsers that send no Sec-Fetch-Site
        own = {f"{scheme}://{self.request.host}" for scheme in (self.request.protocol, "https")}  # TLS may have ended
        if self.request.headers.get("Sec-Fetch-Site") in {"cross-site", "same-site"} or origin not in {None, *own}:
            raise Refused("cross_site")
        self.finish_json(200, await self.answer_from_kernel())


class StatusHandler(QuestionHandler):
    """Whether the session is signed in: ``authenticated``; and if so ``user_id``, ``roles`` and ``expires_at``."""

    asks = protocol.STATUS
    tells = ("authenticated", "user_id", "roles", "expires_at")


class UserinfoHandler(QuestionHandler):
    """Who is signed in: ``user_id``, ``roles`` and the provider's claims in ``user_info``; else 401."""

    asks = protocol.USERINFO
    tells = ("user_id", "roles", "user_info")


class ActionHandler(JsonHandler):
    """Does something, also while a cell is running, when a widget's own messages wait."""

    said = ""

    @guarded
    async def post(self) -> None:
        """Have the kernel do it."""
        reply = await self.answer_from_kernel()
        self.finish_json(200, {**reply, **({"message": self.said} if self.said else {}), "success": True})


class CancelHandler(ActionHandler):
    """Gives up the sign-ins that are open."""

    asks = protocol.CANCEL
    said = "No sign-in is open any more."


class LogoutHandler(ActionHandler):
    """Signs out; a success also where the session is not signed in."""

    asks = protocol.LOGOUT
    said = "You are signed out."


class RefreshHandler(ActionHandler):
    """Renews the access token: ``expires_in`` (seconds) and ``token_type``; 401, 400 or 500 where it cannot be."""

    asks = protocol.REFRESH
    tells = ("expires_in", "token_type")
    deadline = _REFRESH_DEADLINE
