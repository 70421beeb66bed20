"""The routes for programs: JSON, guarded and protected from other sites as all the others. No token is ever in it."""

from __future__ import annotations

import json
from typing import Any

from tornado.web import HTTPError

from .._wire import pages, protocol
from .guard import PywryAuthHandler, Refused, guarded

_DEADLINE = 15.0  # seconds
_REFRESH_DEADLINE = 45.0  # seconds: the provider is asked

#: What each code means to a program: an HTTP status, and a sentence for its developer. Others have a page.
_ERRORS = {
    "not_authenticated": (401, "Nobody is signed in. Send the browser to pywry-auth/login first."),
    "no_refresh_token": (400, "This sign-in cannot be renewed. Sign in again when the token is over."),
    "refresh_failed": (500, "The token could not be renewed. The notebook says why."),
    "csrf_failed": (403, "The request has no valid XSRF token. Send the _xsrf cookie's value as X-XSRFToken."),
    "cross_site": (403, "Other sites may not ask. Ask from a page of this Jupyter."),
    "bad_method": (405, "This route is not for this method. POST changes something, GET asks."),
    "refused": (403, "Jupyter refused the request. Check that you are signed in there, and the address."),
}


class JsonHandler(PywryAuthHandler):
    """Asks the kernel one thing about one session, and answers in JSON."""

    asks = ""
    tells: tuple[str, ...] = ()  # what of the kernel's reply is passed on: a kernel is anybody's
    deadline = _DEADLINE

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

    def answer(self, code: str) -> None:
        """Finish with the JSON for ``code``."""
        page = pages.failed(code)
        status, message = _ERRORS.get(code, (page.status, f"{page.title}. {page.text.format(place='notebook')}"))
        self.finish_json(status, {"error": code, "message": message})

    def write_error(self, status_code: int, **kwargs: Any) -> None:  # noqa: ARG002 - says nothing of the exception
        """Finish with JSON where Jupyter refuses, or something of ours is broken."""
        code = {405: "bad_method", 500: "internal"}.get(status_code, getattr(self, "_refused", "refused"))
        _, message = _ERRORS.get(code, (0, f"{pages.failed(code).title}."))
        self.finish_json(403 if code == "csrf_failed" else status_code, {"error": code, "message": message})

    def finish_json(self, status: int, content: dict[str, Any]) -> None:
        """Finish with ``content``, which nobody may keep or take for anything else."""
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
    """Whether somebody is signed in: ``authenticated``; and if so ``user_id``, ``roles`` and ``expires_at``."""

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
    """Signs out; a success also with nobody signed in."""

    asks = protocol.LOGOUT
    said = "Nobody is signed in any more."


class RefreshHandler(ActionHandler):
    """Renews the access token: ``expires_in`` (seconds) and ``token_type``; 401, 400 or 500 where it cannot be."""

    asks = protocol.REFRESH
    tells = ("expires_in", "token_type")
    deadline = _REFRESH_DEADLINE
