"""Signing in with a window or browser on this machine (RFC 8252), and a callback server on loopback."""

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

_MOMENT = 1.0  # seconds by which the background may exceed its own deadline
_BROWSER_DEADLINE = 5.0  # seconds: a browser that takes longer to start counts as started
_WINDOW = {"title": "Sign In", "width": 500, "height": 700, "center": True, "resizable": True}


class Window:
    """The window in which the user signs in: the caller's, or this machine's default browser.

    Args:
        show: As in :meth:`AuthFlowManager.run_native`.
        close: As in :meth:`AuthFlowManager.run_native`.
        config: As in :meth:`AuthFlowManager.run_native`.
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
        """Show ``url`` to the user; wait at most ``patience`` seconds for a browser to start.

        Raises:
            AuthenticationError: Code ``no_browser``.
        """
        if self._show is not None:
            self._label, self._is_open = self._show(url, self._config), True
        elif not _open_browser(url, min(patience, _BROWSER_DEADLINE)):
            _ask_to_open(url)

    def close(self) -> None:
        """Close the window. A failure is only logged, so that it does not fail the sign-in."""
        if self._is_open and self._close is not None:
            self._is_open = False
            try:
                self._close(self._label)
            except Exception as error:  # noqa: BLE001 - it is the caller's function
                log.warning("the sign-in window could not be closed (%s)", type(error).__name__)


def _open_browser(url: str, patience: float) -> bool:
    """Open the default browser, and return whether there is one. On a thread, since a text browser blocks."""
    opened: concurrent.futures.Future[bool] = concurrent.futures.Future()

    def work() -> None:
        try:
            opened.set_result(webbrowser.open(url))
        except Exception as error:  # noqa: BLE001 - webbrowser.Error, or an error of the system
            log.warning("the browser could not be opened (%s)", type(error).__name__)
            opened.set_result(False)

    threading.Thread(target=work, name="pywry-auth-browser", daemon=True).start()
    try:
        return opened.result(max(0.0, patience))
    except concurrent.futures.TimeoutError:
        return True


def _ask_to_open(url: str) -> None:
    """Print ``url`` in a terminal. Not in a notebook, which saves its output and may run on a remote machine."""
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
        finally:  # even if Ctrl-C interrupts it
            window.close()


async def _begin(sign_ins: SignIns, server: OAuthCallbackServer, timeout: float) -> AuthorizationRequest:
    """Start the server, and open a sign-in that redirects to it."""
    try:
        return await sign_ins.begin(server.start(), lifetime=timeout)
    except BaseException:  # also if the caller gave up, and stopped the server before it had started
        server.stop()
        raise


def _outcome(sign_ins: SignIns, request: AuthorizationRequest, until: float, timeout: float) -> AuthFlowResult:
    """Wait for the outcome of a sign-in, and end it when its time is up."""
    late = AuthFlowTimeout(None, timeout)
    wait(request.outcome, until - time.monotonic())
    if not request.outcome.done():
        _give_up(sign_ins, request, late, _MOMENT + STORE_DEADLINE)  # longer only while tokens are saved
    error = request.outcome.exception() if request.outcome.done() else late
    if error is not None:
        raise without_traceback(error)
    return request.outcome.result()


def _give_up(sign_ins: SignIns, request: AuthorizationRequest, why: BaseException, patience: float) -> None:
    """End a sign-in if it is still open, and wait until it has ended."""
    sign_ins.abandon(request.state, why)
    wait(request.outcome, patience)


def _take_answer(sign_ins: SignIns, redirect_uri: str, params: dict[str, str]) -> tuple[pages.Page, bool]:
    """Redeem an answer at ``redirect_uri``; return the page to show, and whether the sign-in has ended.

    An answer to a sign-in that does not redirect here changes nothing.
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
