"""The redirect URI: takes the provider's answer to the kernel that asked, and says how it went."""

from __future__ import annotations

from .._wire import pages, protocol
from .._wire.hub_routing import CALLBACK, other_server
from . import flow_cookie
from .guard import PywryAuthHandler, Refused, guarded, parse_query, to_login

_COMPLETE_DEADLINE = 45.0  # seconds: code exchange, keys, userinfo


class CallbackHandler(PywryAuthHandler):
    """Takes the provider's answer to the kernel that asked, and says how it went."""

    async def send_on(self) -> None:
        """Send on whoever is at the wrong server of a hub user, or must sign in to Jupyter first.

        An answer that belongs to another server of the same hub user is passed on without asking who brings it, since
        a browser need not have been here before: it only names another path, and that server checks everything.
        """
        query, self.params = self.request.query, self.query()
        if not query:
            query = flow_cookie.parked(self)
            self.params = parse_query(query)
        state = self.params.get("state", "")
        self.kernel_id = flow_cookie.kernel_of(self, state) if state else None
        if self.kernel_id is None and (there := other_server(state)):
            self.send_to(f"{there}{CALLBACK}?{query}")
        if state and not self.current_user:
            self._send_to_login(query)

    def _send_to_login(self, query: str) -> None:
        """Have somebody sign in to Jupyter and come back, if this browser has reason to."""
        if self.kernel_id is None:
            raise Refused("other_browser")
        if flow_cookie.park(self, query):
            to_login(self)

    @guarded
    async def get(self) -> None:
        """Hand the answer over."""
        if not self.params.get("state"):
            raise Refused("bad_request")
        if self.kernel_id is None:
            raise Refused("other_browser")
        reply = await self.ask(self.kernel_id, protocol.COMPLETE, {"params": self.params}, _COMPLETE_DEADLINE)
        self.show(pages.signed_in(str(reply.get("name", ""))))
