"""Signing in with a window or browser of this machine (RFC 8252): a callback server on loopback takes the answer."""

from __future__ import annotations

import concurrent.futures
import logging
import threading
import time
import webbrowser
from typing import TYPE_CHECKING, Any

from .._io.loop import run, submit, wait
from .._session.record_sync import STORE_DEADLINE
from .._wire import pages
from ..callback_server import OAuthCallbackServer
from ..errors import AuthenticationError, AuthFlowTimeout, without_traceback
from .front_end import current_kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .authorization import AuthFlowResult, AuthorizationRequest
    from .sign_ins import SignIns

log = logging.getLogger("pywry_auth_nb")

_MOMENT = 1.0  # seconds that the background may lag behind its own deadline
_BROWSER_DEADLINE = 5.0  # seconds: a browser that takes longer to start is taken to have started
_WINDOW = {"title": "Sign In", "width": 500, "height": 700, "center": True, "resizable": True}


class Window:
    """Where a person signs in: what the caller opens and closes, or else this machine's browser.

    Args:
        show: As in :meth:`AuthFlowManager.run_native`.
        close: As there.
        config: As there.
    """

    def __init__(
        self,
        show: Callable[[str, dict[str, Any]], Any] | None,
        close: Callable[[Any], object] | None,
        config: Mapping[str, Any] | None,
    ) -> None:
        self._show = show
        self._close = close
        self._config = {**_WINDOW, **(config or {})}
        self._label: Any = None
        self._is_open = False

    def open(self, url: str, patience: float) -> None:
        """Show ``url`` to the person; wait for a browser to start for ``patience`` seconds at most.

        Raises:
            AuthenticationError: Code ``no_browser``.
        """
        if self._show is not None:
            self._label, self._is_open = self._show(url, self._config), True
        elif not _open_browser(url, min(patience, _BROWSER_DEADLINE)):
            _ask_to_open(url)

    def close(self) -> None:
        """Close what was opened; a window that will not close must not cost the sign-in."""
        if self._is_open and self._close is not None:
            self._is_open = False
            try:
                self._close(self._label)
            except Exception as error:  # noqa: BLE001 - it is anybody's
                log.warning("the sign-in window could not be closed (%s)", type(error).__name__)


def _open_browser(url: str, patience: float) -> bool:
    """Open the default browser; return whether there is one. On a thread, for a text browser returns at its end."""
    opened: concurrent.futures.Future[bool] = concurrent.futures.Future()

    def work() -> None:
        try:
            opened.set_result(webbrowser.open(url))
        except Exception as error:  # noqa: BLE001 - webbrowser.Error, and whatever the system says
            log.warning("the browser could not be opened (%s)", type(error).__name__)
            opened.set_result(False)

    threading.Thread(target=work, name="pywry-auth-browser", daemon=True).start()
    try:
        return opened.result(max(0.0, patience))
    except concurrent.futures.TimeoutError:
        return True


def _ask_to_open(url: str) -> None:
    """Print ``url`` in a terminal. Not in a notebook: output is saved there, and its machine may be another one."""
    if current_kernel() is not None:
        raise AuthenticationError(code="no_browser")
    print(f"To sign in, open this address in a browser on this machine:\n\n{url}\n", flush=True)  # noqa: T201


def sign_in(sign_ins: SignIns, window: Window, timeout: float) -> AuthFlowResult:
    """Sign in with ``window`` within ``timeout`` seconds; see :meth:`AuthFlowManager.run_native`."""
    until = time.monotonic() + timeout
    server = OAuthCallbackServer(handle=lambda params: _take_answer(sign_ins, server.redirect_uri, params))
    request = None
    try:
        request = run(_begin(sign_ins, server, timeout), timeout + _MOMENT)
        if not request.outcome.done():
            window.open(request.url, until - time.monotonic())
        return _outcome(sign_ins, request, until, timeout)
    except BaseException as error:
        if request is not None:  # Ctrl-C, or no window
            _give_up(sign_ins, request, error, _MOMENT)
        raise
    finally:
        try:
            server.stop()
        finally:  # also when Ctrl-C comes just now
            window.close()


async def _begin(sign_ins: SignIns, server: OAuthCallbackServer, timeout: float) -> AuthorizationRequest:
    """Listen, and open a sign-in whose answer comes there."""
    try:
        return await sign_ins.begin(server.start(), lifetime=timeout)
    except BaseException:  # also when the one who waits has given up, and may have stopped the server before it started
        server.stop()
        raise


def _outcome(sign_ins: SignIns, request: AuthorizationRequest, until: float, timeout: float) -> AuthFlowResult:
    """Wait for how a sign-in ends, and make it end when its time is up."""
    late = AuthFlowTimeout(None, timeout)
    wait(request.outcome, until - time.monotonic())
    if not request.outcome.done():
        _give_up(sign_ins, request, late, _MOMENT + STORE_DEADLINE)  # more than a moment only if tokens are being saved
    error = request.outcome.exception() if request.outcome.done() else late
    if error is not None:
        raise without_traceback(error)
    return request.outcome.result()


def _give_up(sign_ins: SignIns, request: AuthorizationRequest, why: BaseException, patience: float) -> None:
    """End a sign-in if it is still open, and see that it is over."""
    sign_ins.abandon(request.state, why)
    wait(request.outcome, patience)


def _take_answer(sign_ins: SignIns, redirect_uri: str, params: dict[str, str]) -> tuple[pages.Page, bool]:
    """Redeem an answer that came to ``redirect_uri``; return the page that says how that went, and whether it is over.

    What belongs to no sign-in that was to come here changes nothing.
    """
    state = params.get("state", "")
    outcome = sign_ins.expects(state, redirect_uri)
    if outcome is None:
        return pages.failed("already_used" if sign_ins.is_closed(state) else "unknown_flow"), False
    redeemed = submit(sign_ins.complete(params))
    concurrent.futures.wait([redeemed, outcome], return_when=concurrent.futures.FIRST_COMPLETED)
    error = (outcome if outcome.done() else redeemed).exception()
    if error is None:
        return pages.signed_in(sign_ins.engine.state.display_name), True
    return pages.failed(error.code if isinstance(error, AuthenticationError) else "internal"), outcome.done()
