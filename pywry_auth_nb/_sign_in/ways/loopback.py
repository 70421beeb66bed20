"""Loopback with paste (RFC 8252 §7.3): the callback server on this machine takes the answer, or the user pastes it."""

from __future__ import annotations

import concurrent.futures
import sys
from typing import TYPE_CHECKING, Any, ClassVar

from ..._io.loop import on_loop, submit
from ..._wire import pages
from ...callback_server import OAuthCallbackServer
from ...errors import AuthenticationError, AuthFlowCancelled
from ..authorization import AuthorizationRequest
from ..paste import answer_in, unusable
from .way import OneRequest

if TYPE_CHECKING:
    from ..authorization import AuthFlowResult
    from ..sign_ins import SignIns
    from .way import WayName

_BROWSER_PYTHON = "Python in a browser (Pyodide) cannot listen on this machine."
_ANOTHER = "That is the answer to another sign-in."
_ENDED = "That answer has been used already."


class Loopback(OneRequest[AuthorizationRequest]):
    """A sign-in that redirects to a server on this machine, which runs until it has ended.

    Args:
        sign_ins: The session's sign-ins.
        host: The host of the redirect URI: ``127.0.0.1``, ``localhost`` or ``[::1]``; the session's own when left out.
        port: Its port; 0 for any free one; the session's own when left out.

    Raises:
        ConfigurationError: ``host`` is not this machine, or ``port`` is not a port.
    """

    name: ClassVar[WayName] = "loopback"

    def __init__(self, sign_ins: SignIns, host: str | None = None, port: int | None = None) -> None:
        super().__init__(sign_ins)
        if host is None or port is None:
            set_host, set_port = sign_ins.loopback
            host = set_host if host is None else host
            port = set_port if port is None else port
        self._server = OAuthCallbackServer(host.strip("[]") if isinstance(host, str) else host, port, handle=self._take)

    async def why_not(self) -> str:
        """Return why it cannot be had here: only Pyodide has no sockets."""
        return _BROWSER_PYTHON if sys.platform == "emscripten" else ""

    @on_loop
    async def begin(self, lifetime: float, **params: Any) -> None:
        """Start the server, and open a sign-in that redirects to it.

        Raises:
            ConfigurationError: Code ``port_unavailable``.
            AuthenticationError: As for :meth:`SignIns.begin`.
        """
        try:
            self._request = await self._sign_ins.begin(self._server.start(), lifetime=lifetime, **params)
        except BaseException:  # also if the caller gave up, and stopped the server before it had started
            self._server.stop()
            raise

    @property
    def redirect_uri(self) -> str:
        """Where the provider sends the browser; must be registered there."""
        return self._server.redirect_uri

    @property
    def details(self) -> dict[str, Any]:
        """The authorize URL, and the redirect URI with which the pasted address begins."""
        return {"authorize_url": str(self.request.url), "redirect_uri": self.redirect_uri}

    @on_loop
    async def paste(self, text: str) -> AuthFlowResult:
        """Finish the sign-in with the address that the user pasted.

        Raises:
            AuthenticationError: Code ``paste_unusable``: nothing has changed; the message says what to paste. Any other
                code: that sign-in has ended.
        """
        redirect_uri = self.redirect_uri
        params = answer_in(text, redirect_uri)
        state = params["state"]
        if self._sign_ins.expects(state, redirect_uri) is None:
            unusable(_ENDED if self._sign_ins.is_closed(state) else _ANOTHER, redirect_uri)
        return await self._sign_ins.complete(params)

    def end(self, error: BaseException, *, quietly: bool = False) -> None:
        """End the sign-in with ``error`` if it is still open, and stop the server. From any thread."""
        super().end(error, quietly=quietly)
        self._server.stop()

    def _take(self, params: dict[str, str]) -> tuple[pages.Page, bool]:
        """Redeem an answer at the redirect URI; return the page to show, and whether the sign-in has ended.

        An answer to a sign-in that does not redirect here changes nothing.
        """
        sign_ins, state, label = self._sign_ins, params.get("state", ""), self._sign_ins.provider.label
        outcome = sign_ins.expects(state, self._server.redirect_uri)
        if outcome is None:
            return pages.failed("already_used" if sign_ins.is_closed(state) else "unknown_flow"), False
        redeemed = submit(sign_ins.complete(params))
        concurrent.futures.wait([redeemed, outcome], return_when=concurrent.futures.FIRST_COMPLETED)
        error = (outcome if outcome.done() else redeemed).exception()
        if error is None:
            return pages.signed_in(sign_ins.engine.state.display_name, label), True
        code = error.code if isinstance(error, AuthenticationError) else "internal"
        return pages.failed(code, provider=label), outcome.done()


def superseded() -> AuthFlowCancelled:
    """Return the error of a sign-in that was begun again with other parameters."""
    return AuthFlowCancelled("The sign-in was begun again. Go on with the newer one.")
