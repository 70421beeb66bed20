"""The redirect URI: passes the provider's answer to the kernel that began the sign-in, and shows the outcome."""

from __future__ import annotations

from .._wire import pages, protocol
from .._wire.hub_routing import CALLBACK, other_server
from . import flow_cookie
from .guard import PywryAuthHandler, Refused, guarded, parse_query, to_login

_COMPLETE_DEADLINE = 60.0  # seconds: 45 for the code exchange, the rest for keys and UserInfo


class CallbackHandler(PywryAuthHandler):
    """Passes the provider's answer to the kernel that began the sign-in, and shows the outcome."""

    async def send_on(self) -> None:
        """Redirect to another server of the hub user, or to Jupyter's login page first.

        The redirect to another server of the same hub user needs no login here, since the browser may not have been
        here before. It only changes the path, and that server checks everything.
        """
        query, self.params = self.request.query, self.page_query()
        if not query:
            query = flow_cookie.parked(self, flow_cookie.ANSWER)
            self.params = parse_query(query)
        state = self.params.get("state", "")
        self.kernel_id = flow_cookie.kernel_of(self, state) if state else None
        if self.kernel_id is None and (there := other_server(state)):
            self.send_to(f"{there}{CALLBACK}?{query}")
        if state and not self.current_user:
            self._send_to_login(query)

    def _send_to_login(self, query: str) -> None:
        """Let the user sign in to Jupyter and come back, if the sign-in began in this browser."""
        if self.kernel_id is None:
            raise Refused("other_browser")
        if flow_cookie.park(self, flow_cookie.ANSWER, query):
            to_login(self)

    @guarded
    async def get(self) -> None:
        """Pass the answer to the kernel."""
        if not self.params:
            self.show(pages.OVER)
            return
        if not self.params.get("state"):
            raise Refused("bad_request")
        if self.kernel_id is None:
            raise Refused("other_browser")
        reply = await self.ask(self.kernel_id, protocol.COMPLETE, {"params": self.params}, _COMPLETE_DEADLINE)
        self.show(pages.signed_in(str(reply.get("name", "")), self.provider))
