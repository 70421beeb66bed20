"""Signing in with a window or browser on this machine (RFC 8252), and a callback server on loopback."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from .._io.loop import run, wait
from .._io.terminal_prompt import ask, has_terminal
from .._session.record_sync import STORE_DEADLINE
from ..errors import AuthenticationError, AuthFlowCancelled, AuthFlowTimeout, without_traceback
from .browser import open_browser
from .front_end import current_kernel
from .prompting import HIDDEN, PASTE, keep_asking, take_address
from .ways.loopback import Loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .authorization import AuthFlowResult, AuthorizationRequest
    from .sign_ins import SignIns

log = logging.getLogger("pywry_auth_nb")

_MOMENT = 1.0  # seconds by which the background may exceed its own deadline
_WINDOW = {"title": "Sign In", "width": 500, "height": 700, "center": True, "resizable": True}


class Window:
    """The window in which the user signs in: the caller's, or this machine's default browser.

    Args:
        show: As in :meth:`AuthFlowManager.run_native`.
        close: As in :meth:`AuthFlowManager.run_native`.
        config: As in :meth:`AuthFlowManager.run_native`.
        opens_browser: Whether to open the browser; else a terminal shows the address.
    """

    def __init__(
        self,
        show: Callable[[str, dict[str, Any]], Any] | None,
        close: Callable[[Any], object] | None,
        config: Mapping[str, Any] | None,
        *,
        opens_browser: bool = True,
    ) -> None:
        self._show = show
        self._close = close
        self._opens_browser = opens_browser
        self._config = {**_WINDOW, **(config or {})}
        self._label: Any = None
        self._is_open = False

    @property
    def is_browser(self) -> bool:
        """Whether this is the default browser, and not a window of the caller's."""
        return self._show is None

    def open(self, url: str, redirect_uri: str, patience: float) -> None:
        """Show ``url`` to the user; wait at most ``patience`` seconds for a browser to start.

        Raises:
            AuthenticationError: Code ``no_browser``.
        """
        if self._show is not None:
            self._label, self._is_open = self._show(url, self._config), True
        elif not (self._opens_browser and open_browser(url, patience)):
            _ask_to_open(url, redirect_uri)

    def close(self) -> None:
        """Close the window. A failure is only logged, so that it does not fail the sign-in."""
        if self._is_open and self._close is not None:
            self._is_open = False
            try:
                self._close(self._label)
            except Exception as error:  # noqa: BLE001 - it is the caller's function
                log.warning("the sign-in window could not be closed (%s)", type(error).__name__)


def _ask_to_open(url: str, redirect_uri: str) -> None:
    """Print ``url`` in a terminal, for a browser on any machine, which may end at an address to paste.

    Not in a notebook, which saves its output and may run on a remote machine.
    """
    if current_kernel() is not None:
        raise AuthenticationError(code="no_browser")
    print(  # noqa: T201
        f"The provider sends the browser back to {redirect_uri}, which must be registered there.\n"
        f"To sign in, open this address in a browser:\n\n{url}\n",
        flush=True,
    )


def sign_in(
    sign_ins: SignIns, window: Window, timeout: float, *, host: str, port: int, **params: Any
) -> AuthFlowResult:
    """Sign in with ``window`` within ``timeout`` seconds; see :meth:`AuthFlowManager.run_native`."""
    until, way = time.monotonic() + timeout, Loopback(sign_ins, host, port)
    request = None
    try:
        run(way.begin(timeout, **params), timeout + _MOMENT)
        request = way.request
        if not request.outcome.done():
            window.open(request.url, way.redirect_uri, until - time.monotonic())
        if window.is_browser and has_terminal():
            _ask_for_address(way, until)
        return _outcome(sign_ins, request, until, AuthFlowTimeout(None, timeout, redirect_uri=way.redirect_uri))
    except BaseException as error:
        if request is not None:  # Ctrl-C, or no window
            _give_up(sign_ins, request, error, _MOMENT)
        raise
    finally:
        try:
            way.end(AuthFlowCancelled())
        finally:  # even if Ctrl-C interrupts it
            window.close()


def _ask_for_address(way: Loopback, until: float) -> None:
    """Ask for the address at which the browser ended, until the sign-in has ended by itself."""
    try:
        keep_asking(ask, PASTE.format(more=HIDDEN), way.outcome.done, until, partial(take_address, way))
    except EOFError:
        raise AuthFlowCancelled from None


def _outcome(sign_ins: SignIns, request: AuthorizationRequest, until: float, late: AuthFlowTimeout) -> AuthFlowResult:
    """Wait for the outcome of a sign-in, and end it with ``late`` when its time is up."""
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
