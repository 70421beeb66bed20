"""How one signs in and waits for it: with the widget in a notebook, or with a window or browser of this machine."""

from __future__ import annotations

import concurrent.futures
import logging
import threading
import time
import webbrowser
from typing import TYPE_CHECKING, Any

from . import kernel
from ._io.loop import run, submit, wait, without_traceback
from ._sharing import STORE_DEADLINE
from ._sign_in.authorization import AuthFlowResult
from ._wire import pages
from .callback_server import OAuthCallbackServer
from .errors import AuthenticationError, AuthFlowCancelled, AuthFlowTimeout, LoginRequired

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ._sign_in.authorization import AuthorizationRequest
    from .flow import AuthFlowManager
    from .session import SessionManager

log = logging.getLogger("pywry_auth_nb")

_MOMENT = 1.0  # seconds that the background may lag behind its own deadline
_BROWSER_DEADLINE = 5.0  # seconds: a browser that takes longer to start is taken to have started
_WINDOW = {"title": "Sign In", "width": 500, "height": 700, "center": True, "resizable": True}


# -- in a notebook ----------------------------------------------------------------------------------------------


def login(session: SessionManager, timeout: float, flow: AuthFlowManager | None = None) -> AuthFlowResult:
    """Show the widget of ``session``, if there is where, and wait until somebody has signed in.

    The control channel makes this possible: the sign-in completes on other threads while the cell waits.

    Args:
        session: Whose widget.
        timeout: Seconds to wait at most.
        flow: What runs the sign-ins; the session's own when left out.

    Raises:
        LoginRequired: There is nobody to ask.
        AuthFlowTimeout: Nobody signed in within ``timeout``.
        AuthenticationError: What the sign-in ended with instead.
    """
    until = time.monotonic() + timeout
    signed_in, shown = _is_signed_in(session, timeout), kernel.has_front_end()
    if shown:
        _show(session, None if signed_in else flow)
    if not signed_in:
        if not shown:
            raise LoginRequired(
                "Nobody is signed in, and there is no front end here where somebody could. Open the notebook in "
                "JupyterLab or Notebook 7 and sign in there.",
                code="no_front_end",
            )
        left = max(0.0, until - time.monotonic())
        run(session.wait_signed_in(left), left + _MOMENT)
    snap = session._snap  # noqa: SLF001 - one moment: tokens and user belong together
    if snap.tokens is None:
        raise AuthFlowCancelled("Somebody signed in, and out again at once. Sign in again.")
    return AuthFlowResult(success=True, tokens=snap.tokens, user_info=snap.user)


def _is_signed_in(session: SessionManager, timeout: float) -> bool:
    """Whether somebody is signed in for good; looks into the store for that, or takes what asks nobody."""
    try:
        return run(_arrive(session), timeout)
    except AuthenticationError as error:
        if error.code != "timeout":
            raise
        raise AuthFlowTimeout(f"The stored sign-in was not there within {timeout:.0f} s. Try again.", timeout) from None


async def _arrive(session: SessionManager) -> bool:
    if await session.initialize() is not None and session.status != "reauth_required":
        return True
    if not session.provider.interactive:
        await session.take()
    return not session.provider.interactive


def _show(session: SessionManager, flow: AuthFlowManager | None) -> None:
    from IPython.display import display

    if flow is None or kernel.adopt(flow):
        display(session)  # type: ignore[no-untyped-call]
    else:  # the widget that it has belongs to another flow, in which somebody may be signing in just now
        from .widget import LoginWidget

        display(LoginWidget(session))  # type: ignore[no-untyped-call]


def in_notebook() -> bool:
    """Whether somebody sits in front of a notebook here."""
    return kernel.has_front_end()


def deploy_url(flow: AuthFlowManager, base_url: str) -> str:
    """Return a new address at the Jupyter server that begins sign-ins of ``flow``.

    Raises:
        AuthenticationError: Code ``no_kernel``.
    """
    path = kernel.open_path(flow)
    if not path:
        raise AuthenticationError(
            "There is no Jupyter server here to sign in at. Run this in a notebook, or use run_native().",
            code="no_kernel",
        )
    submit(flow.session.initialize())  # so that the server's status route knows a stored session
    return f"{(base_url or kernel.server_base_url() or '/').rstrip('/')}/{path}"


def page_of(flow: AuthFlowManager) -> str:
    """Return where a person signs in when the application has pages of its own, in words if need be."""
    return deploy_url(flow, "") if kernel.current_kernel() else "the sign-in page of the application"


# -- with a window or browser of this machine -------------------------------------------------------------------


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
    if kernel.current_kernel() is not None:
        raise AuthenticationError(
            "This kernel's machine has no browser. Use session.login(), or display the session, and sign in there.",
            code="no_browser",
        )
    print(f"To sign in, open this address in a browser on this machine:\n\n{url}\n", flush=True)  # noqa: T201


def native(flow: AuthFlowManager, window: Window) -> AuthFlowResult:
    """Sign in with ``window`` and a callback server on this machine; see :meth:`AuthFlowManager.run_native`."""
    until = time.monotonic() + flow.auth_timeout
    server = OAuthCallbackServer(handle=lambda params: _take_answer(flow, server.redirect_uri, params))
    request = None
    try:
        request = run(_begin(flow, server), flow.auth_timeout + _MOMENT)
        if not request.outcome.done():
            window.open(request.url, until - time.monotonic())
        return _outcome(flow, request, until)
    except BaseException as error:
        if request is not None:  # Ctrl-C, or no window
            _give_up(flow, request, error, _MOMENT)
        raise
    finally:
        try:
            server.stop()
        finally:  # also when Ctrl-C comes just now
            window.close()


async def _begin(flow: AuthFlowManager, server: OAuthCallbackServer) -> AuthorizationRequest:
    """Listen, and open a sign-in whose answer comes there."""
    try:
        return await flow.begin(server.start(), lifetime=flow.auth_timeout)
    except BaseException:  # also when the one who waits has given up, and may have stopped the server before it started
        server.stop()
        raise


def _outcome(flow: AuthFlowManager, request: AuthorizationRequest, until: float) -> AuthFlowResult:
    """Wait for how a sign-in ends, and make it end when its time is up."""
    late = AuthFlowTimeout(f"Nobody signed in within {flow.auth_timeout:.0f} s. Sign in again.", flow.auth_timeout)
    wait(request.outcome, until - time.monotonic())
    if not request.outcome.done():
        _give_up(flow, request, late, _MOMENT + STORE_DEADLINE)  # more than a moment only if tokens are being saved
    error = request.outcome.exception() if request.outcome.done() else late
    if error is not None:
        raise without_traceback(error)
    return request.outcome.result()


def _give_up(flow: AuthFlowManager, request: AuthorizationRequest, why: BaseException, patience: float) -> None:
    """End a sign-in if it is still open, and see that it is over."""
    flow.abandon(request.state, why)
    wait(request.outcome, patience)


def _take_answer(flow: AuthFlowManager, redirect_uri: str, params: dict[str, str]) -> tuple[pages.Page, bool]:
    """Redeem an answer that came to ``redirect_uri``; return the page that says how that went, and whether it is over.

    What belongs to no sign-in that was to come here changes nothing.
    """
    state = params.get("state", "")
    outcome = flow.expects(state, redirect_uri)
    if outcome is None:
        return pages.failed("already_used" if flow.is_over(state) else "unknown_flow"), False
    redeemed = submit(flow.complete(params))
    concurrent.futures.wait([redeemed, outcome], return_when=concurrent.futures.FIRST_COMPLETED)
    error = (outcome if outcome.done() else redeemed).exception()
    if error is None:
        return pages.signed_in(flow.session.display_name), True
    return pages.failed(error.code if isinstance(error, AuthenticationError) else "internal"), outcome.done()
