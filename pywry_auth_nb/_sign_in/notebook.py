"""Signing in with the widget in a notebook: the control channel completes the sign-in while the cell waits."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .._io.loop import run
from .._session.persons import Person
from ..errors import AuthenticationError, AuthFlowCancelled, AuthFlowTimeout, InsufficientScopeError, LoginRequired
from ..providers.description import plain_text
from ..providers.scopes import union
from .authorization import AuthFlowResult
from .front_end import current_kernel, has_front_end
from .waiting import Waiting, check_way

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .._session.engine import SessionEngine
    from .sign_ins import SignIns

_NO_FRONT_END = (
    "The sign-in lacks the scopes {names}, and there is no front end here to ask for them with. Open the notebook in "
    "JupyterLab or Notebook 7 and run it there."
)
_ELSEWHERE = (
    "The token of {provider} lacks the scopes {names}, and they cannot be asked for here. Ask its administrator to add "
    "them."
)
_REGISTER = (
    " If the provider showed an error, check the client ID, and register {uri} there as a redirect URI of this client."
)
_AGAIN = "This cell asks you to sign in again."


def login(
    sign_ins: SignIns,
    show: Callable[[], object],
    timeout: float,
    *,
    anew: bool = False,
    asks: str = _AGAIN,
    via: str = "",
) -> AuthFlowResult:
    """Wait until the user has signed in, in the first way that works here, or in the one that is chosen.

    Args:
        sign_ins: The session's sign-ins.
        show: Displays the session's widget.
        timeout: Maximum wait in seconds; infinity for no limit.
        anew: Whether the user must sign in again, even if signed in already.
        asks: What the widget says then.
        via: The way to sign in; empty for the first that works here.

    Raises:
        LoginRequired: No way works here (``no_front_end``), or the chosen one does not (``way_unavailable``).
        ConfigurationError: ``via`` names an unknown way.
        AuthFlowTimeout: The user did not sign in within ``timeout``.
        AuthenticationError: Any other failure of the sign-in.
    """
    engine, until = sign_ins.engine, time.monotonic() + timeout
    check_way(via)
    signed_in = _is_signed_in(engine, timeout)
    after = engine.state.record.sign_in if anew and engine.provider.interactive else None
    if after is not None or not signed_in:
        left = max(0.0, until - time.monotonic())
        _wait(sign_ins, show, left, after=after, asks=asks if after is not None else "", via=via)
    elif has_front_end():
        show()
    state = engine.state  # read once: tokens and user belong together
    if state.tokens is None:
        raise AuthFlowCancelled("The session was signed out again at once. Sign in again.")
    return AuthFlowResult(success=True, tokens=state.tokens, user_info=state.user)


def _wait(
    sign_ins: SignIns, show: Callable[[], object], timeout: float, *, after: int | None, asks: str, via: str
) -> None:
    """Wait until the user has signed in. If the time is up with a sign-in open, say what to register (RFC 6749 §3.1.2).

    A provider that does not know the redirect URI, or the client, shows a page of its own and sends no answer.
    """
    __tracebackhide__ = True
    try:
        in_notebook = has_front_end() or current_kernel() is not None
        Waiting(sign_ins, timeout, after=after, asks=asks).lead(show, via, in_notebook=in_notebook)
    except AuthFlowTimeout as error:
        if error.code != "flow_timeout":
            raise
        late, uri = error, sign_ins.open_redirect_uri
    else:
        return
    raise AuthFlowTimeout(f"{late.message}{_REGISTER.format(uri=uri) if uri else ''}", late.timeout)


def require(sign_ins: SignIns, show: Callable[[], object], scopes: Sequence[str], timeout: float) -> None:
    """Ask the user for ``scopes``, besides those of before, unless they are granted already.

    Raises:
        LoginRequired: There is no front end; the message names the scopes.
        InsufficientScopeError: The provider does not grant them.
        AuthFlowCancelled: The user cancelled, or declined at the provider; the sign-in of before stays.
        AuthFlowTimeout: The user did not sign in within ``timeout``; the sign-in of before stays.
        AuthenticationError: Any other failure of the sign-in.
    """
    engine, provider = sign_ins.engine, sign_ins.provider
    until = time.monotonic() + timeout
    missing = _missing(engine, scopes) if _is_signed_in(engine, timeout) else [*scopes]
    if not missing:
        return
    names = plain_text(", ".join(missing))
    if not provider.interactive:
        raise InsufficientScopeError(_ELSEWHERE.format(provider=provider.label, names=names), scopes=missing)
    state = engine.state
    asked = union(provider.scopes, state.scopes, missing)
    with sign_ins.adding_params(Person.of(state.user), scope=" ".join(asked), **provider.incremental_params):
        left = max(0.0, until - time.monotonic())
        try:
            login(sign_ins, show, left, anew=True, asks=f"This cell asks for more access: {names}")
        except LoginRequired as error:
            raise LoginRequired(_NO_FRONT_END.format(names=names), code=error.code) from None
    if missing := _missing(engine, scopes):
        raise InsufficientScopeError(code="scope_not_granted", scopes=missing)


def _missing(engine: SessionEngine, scopes: Sequence[str]) -> list[str]:
    tokens = engine.state.tokens
    return [*scopes] if tokens is None else engine.provider.missing_scopes(scopes, tokens)


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
