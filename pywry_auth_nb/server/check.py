"""The route for ``pywry-auth doctor``: facts about this server, and about the request as it arrived here."""

from __future__ import annotations

from typing import Any

from .._version import __version__
from .._wire import protocol
from .._wire.hub_routing import is_on_a_hub
from .api import QuestionHandler
from .redirect_uri import redirect_uri


class CheckHandler(QuestionHandler):
    """The redirect URI that a sign-in in the requesting browser would use, and the settings behind it."""

    async def answer_from_kernel(self) -> dict[str, Any]:
        """Answer without a kernel."""
        configured = self.settings["pywry_auth"].redirect_uri
        return {
            "version": __version__,
            "protocol": protocol.PROTOCOL,
            "redirect_uri": redirect_uri(configured, self.request, self.base_url),
            "configured": bool(configured),
            "base_url": self.base_url,
            "hub": is_on_a_hub(),
            "trust_xheaders": bool(self.serverapp and self.serverapp.trust_xheaders),
        }
