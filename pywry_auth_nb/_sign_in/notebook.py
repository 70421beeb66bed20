"""Signing in with the widget in a notebook: the control channel completes the sign-in while the cell waits."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .._io.loop import run
from ..errors import AuthenticationError, AuthFlowCancelled, AuthFlowTimeout, LoginRequired
from .authorization import AuthFlowResult
from .front_end import has_front_end

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._session.engine import SessionEngine

_MOMENT = 1.0  # seconds by which the background may exceed its own deadline


def login(engine: SessionEngine, show: Callable[[], object], timeout: float) -> AuthFlowResult:
    """Show the widget, if there is a front end, and wait until the user has signed in.

    Args:
        engine: The session's engine.
        show: Displays the session's widget.
        timeout: Maximum wait in seconds.

    Raises:
        LoginRequired: There is no front end.
        AuthFlowTimeout: The user did not sign in within ``timeout``.
        AuthenticationError: Any other failure of the sign-in.
    """
    until = time.monotonic() + timeout
    signed_in, shown = _is_signed_in(engine, timeout), has_front_end()
    if shown:
        show()
    if not signed_in:
        if not shown:
            raise LoginRequired(code="no_front_end")
        left = max(0.0, until - time.monotonic())
        run(engine.wait_signed_in(left), left + _MOMENT)
    state = engine.state  # read once: tokens and user belong together
    if state.tokens is None:
        raise AuthFlowCancelled("The session was signed out again at once. Sign in again.")
    return AuthFlowResult(success=True, tokens=state.tokens, user_info=state.user)


def _is_signed_in(engine: SessionEngine, timeout: float) -> bool:
    """Whether the user is signed in, after loading the store or acquiring tokens silently."""
    try:
        return run(_arrive(engine), timeout)
    except AuthenticationError as error:
        if error.code != "timeout":
            raise
        raise AuthFlowTimeout(f"The stored sign-in was not there within {timeout:.0f} s. Try again.", timeout) from None


async def _arrive(engine: SessionEngine) -> bool:
    if await engine.initialize() is not None and engine.state.is_usable(time.time()):
        return True
    if engine.provider.interactive:
        return False
    await engine.acquire_silently()
    await engine.get_access_token()  # raises if there is no valid one
    return True
