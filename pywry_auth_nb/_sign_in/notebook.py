"""Signing in with the widget in a notebook: the control channel completes it while the cell waits."""

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

_MOMENT = 1.0  # seconds that the background may lag behind its own deadline


def login(engine: SessionEngine, show: Callable[[], object], timeout: float) -> AuthFlowResult:
    """Show the widget, if there is a front end, and wait until the user has signed in.

    Args:
        engine: The session.
        show: Shows its widget.
        timeout: Seconds to wait at most.

    Raises:
        LoginRequired: There is no front end.
        AuthFlowTimeout: The user did not sign in within ``timeout``.
        AuthenticationError: What the sign-in ended with instead.
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
    state = engine.state  # one moment: tokens and user belong together
    if state.tokens is None:
        raise AuthFlowCancelled("The session was signed out again at once. Sign in again.")
    return AuthFlowResult(success=True, tokens=state.tokens, user_info=state.user)


def _is_signed_in(engine: SessionEngine, timeout: float) -> bool:
    """Whether the user is signed in for good; looks into the store for that, or acquires what needs no person."""
    try:
        return run(_arrive(engine), timeout)
    except AuthenticationError as error:
        if error.code != "timeout":
            raise
        raise AuthFlowTimeout(f"The stored sign-in was not there within {timeout:.0f} s. Try again.", timeout) from None


async def _arrive(engine: SessionEngine) -> bool:
    if await engine.initialize() is not None and engine.state.is_usable(time.time()):
        return True
    if not engine.provider.interactive:
        await engine.acquire_silently()
    return not engine.provider.interactive
