"""`AuthFlowManager`: from a click to tokens (RFC 6749 §4.1 with PKCE, nonce and RFC 9207).

Two steps, with a browser in between: :meth:`~AuthFlowManager.begin` gives the URL to open, and
:meth:`~AuthFlowManager.complete` takes what came back. Everything that must not be known outside stays here meanwhile.
How the browser is opened, and waited for, stands in :mod:`pywry_auth_nb.login`.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from ._io.loop import get_loop, ignore_result, on_loop, without_traceback
from ._sign_in.authorization import (
    AuthFlowResult,
    AuthFlowState,
    AuthorizationRequest,
    Pending,
    check_redirect_uri,
    code_in,
)
from ._wire.hub_routing import state_for
from ._wire.protocol import LIFETIME
from .errors import AuthenticationError, AuthFlowCancelled, AuthFlowTimeout, ConfigurationError
from .pkce import PKCEChallenge
from .session import SessionManager
from .tokens import Secret

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Coroutine, Mapping

    from .providers import OAuthProvider
    from .token_store import TokenStore
    from .tokens import OAuthTokenSet

__all__ = ["AuthFlowManager", "AuthFlowResult", "AuthFlowState"]

_MAX_PENDING = 8  # tabs open at once for one session; the oldest gives way


_TOO_MANY = "Too many sign-ins were begun after this one, so it was given up. Sign in again."
_OVERTAKEN = "The sign-in was cancelled, or another one was faster. Look at the notebook."
_GIVEN_UP = "The sign-in was given up. Sign in again."
_ENDS = {AuthFlowCancelled: AuthFlowState.CANCELLED, AuthFlowTimeout: AuthFlowState.TIMED_OUT}


class AuthFlowManager:
    """Runs sign-ins of one session; several may be open at once, and the first to succeed ends the session's others.

    :meth:`authenticate` picks a way: the widget in a notebook, or :meth:`run_native` with a window or browser of this
    machine. :meth:`run_deploy` gives an address for a link of one's own. All of them are :meth:`begin` and
    :meth:`complete` in the end.

    Args:
        provider: Where one signs in.
        token_store: Where the tokens go when there is no ``session_manager``.
        session_manager: The session that a sign-in begins; made from the other two when left out.
        use_pkce: Whether to send a code challenge (RFC 7636); turn it off only for a provider that refuses it.
        auth_timeout: Seconds that :meth:`run_native` and :meth:`authenticate` wait at most.

    Raises:
        ConfigurationError: ``auth_timeout`` is not a time one can wait; or nothing would protect the code, since a
            client without a secret needs PKCE (RFC 9700 §2.1.1).
    """

    def __init__(
        self,
        provider: OAuthProvider,
        token_store: TokenStore | None = None,
        session_manager: SessionManager | None = None,
        use_pkce: bool = True,
        auth_timeout: float = 120.0,
    ) -> None:
        if not 0 < auth_timeout <= threading.TIMEOUT_MAX:
            raise ConfigurationError("auth_timeout must be a number of seconds above 0.")
        if not use_pkce and not provider.client_secret:
            raise ConfigurationError(
                "Without a client secret, PKCE is all that protects a sign-in. Leave use_pkce on, or give the provider "
                "its client_secret."
            )
        self.provider = provider
        self.session = session_manager or SessionManager(provider, token_store)
        self.use_pkce = use_pkce
        self.auth_timeout = auth_timeout
        self._flow_state = AuthFlowState.PENDING
        self._pending: dict[str, Pending] = {}  # by state: no answer yet
        self._redeeming: dict[str, Pending] = {}  # by state: the answer is being redeemed
        self._used: deque[str] = deque(maxlen=4 * _MAX_PENDING)
        self.session.on_sign_out(self._cancel)
        self.session.flows.add(self)

    @property
    def flow_state(self) -> AuthFlowState:
        """Where the latest sign-in stands."""
        return self._flow_state

    @property
    def _open(self) -> bool:
        return bool(self._pending or self._redeeming)

    def knows(self, state: str) -> bool:
        """Whether ``state`` belongs to a sign-in begun here, open or over."""
        return state in self._pending or self.is_over(state)

    def is_over(self, state: str) -> bool:
        """Whether ``state`` belongs to a sign-in begun here whose answer has come, or is not wanted any more."""
        return state in self._used

    def expects(self, state: str, redirect_uri: str) -> concurrent.futures.Future[AuthFlowResult] | None:
        """Return the outcome of the sign-in ``state`` if its answer is still to come, and to ``redirect_uri``."""
        pending = self._pending.get(state)
        return pending.outcome if pending is not None and pending.redirect_uri == redirect_uri else None

    # -- ways to sign in and wait -------------------------------------------------------------------------------

    def authenticate(
        self,
        app: Any,
        show_window: Callable[[str, dict[str, Any]], Any] | None = None,
        close_window: Callable[[Any], object] | None = None,
        window_config: Mapping[str, Any] | None = None,
    ) -> AuthFlowResult:
        """Sign in, in the way that fits where this runs, and wait for it.

        With ``show_window``, and wherever no notebook is, that is :meth:`run_native`. In a notebook it is the widget;
        there, whoever is signed in already stays so and nobody is asked.

        Args:
            app: The application that asks. For one of PyWry in browser mode, which has pages of its own, the result
                says where to go; anything else will do, also None.
            show_window: As for :meth:`run_native`.
            close_window: As for :meth:`run_native`.
            window_config: As for :meth:`run_native`.

        Raises:
            AuthFlowTimeout: Nobody signed in within ``auth_timeout`` seconds.
            AuthFlowCancelled: Cancelled here, or declined at the provider.
            AuthenticationError: Whatever else the sign-in ended with.
        """
        from . import login

        if getattr(getattr(app, "_mode_enum", None), "name", "") == "BROWSER":
            return AuthFlowResult(success=False, error=f"Navigate to {login.page_of(self)} to sign in.")
        if show_window is None and login.in_notebook():
            return login.login(self.session, self.auth_timeout, self)
        return self.run_native(show_window, close_window, window_config)

    def run_deploy(self, base_url: str = "") -> str:
        """Return the address at the Jupyter server that begins a sign-in of this manager, as long as that lives.

        Its key cannot be guessed. Whoever opens it must be signed in to Jupyter as somebody who may run code there.

        Args:
            base_url: Of the Jupyter server, as the browser sees it; this kernel's own when left out.

        Raises:
            AuthenticationError: Code ``no_kernel``: only a Jupyter kernel has a server in front of it.
        """
        from . import login

        return login.deploy_url(self, base_url)

    def run_native(
        self,
        show_window: Callable[[str, dict[str, Any]], Any] | None = None,
        close_window: Callable[[Any], object] | None = None,
        window_config: Mapping[str, Any] | None = None,
    ) -> AuthFlowResult:
        """Sign in with a window or browser of this machine (RFC 8252), and wait until that is over.

        It is this very sign-in that is waited for, also when somebody is signed in already. Where another one of this
        manager succeeds first, its result is returned: somebody is signed in, and that was the point.

        Args:
            show_window: Gets the address and ``window_config``, opens a window and returns a label for it. It is
                called on this thread and not interrupted, so it must not wait for the sign-in. What it raises comes
                out unchanged. When left out, the default browser is opened.
            close_window: Gets the label when the sign-in is over, however it ended, and must not wait for anything.
                What it raises is only logged.
            window_config: Changes to ``title``, ``width`` and ``height`` (pixels), ``center`` and ``resizable``.

        Returns:
            A success: everything else is raised.

        Raises:
            AuthFlowTimeout: It was not over within ``auth_timeout`` seconds. (If good tokens are just being saved by
                a slow store, that is waited for: up to 11 s more.)
            AuthFlowCancelled: Ended by :meth:`cancel`, by signing out, or by declining at the provider.
            TokenError: The provider could not be asked, or its answer was refused.
            AuthenticationError: Any other failure, such as code ``no_browser`` in a notebook on a machine without one,
                or ``wrong_thread`` on the background thread.
        """
        from . import login

        return login.native(self, login.Window(show_window, close_window, window_config))

    def cancel(self) -> None:
        """Give up every open sign-in, and end :meth:`run_native`; may be called from any thread.

        An answer that still comes is refused, and tokens that are still on their way are revoked. Tokens that are good
        already stay: sign out to be rid of them.
        """
        get_loop().call_soon_threadsafe(self._cancel)

    # -- begin and complete -------------------------------------------------------------------------------------

    @on_loop
    async def begin(
        self, redirect_uri: str, *, lifetime: float | None = None, server: str = ""
    ) -> AuthorizationRequest:
        """Open a sign-in: file a fresh state, nonce and code verifier, and return what the browser must open.

        Args:
            redirect_uri: Where the provider sends the browser afterwards; registered there.
            lifetime: Seconds within which an answer must come; ten minutes when left out.
            server: Name of the hub user's server that the answer is to reach; empty for the default server.

        Raises:
            AuthFlowCancelled: Cancelled while the provider was being asked.
            AuthenticationError: Code ``insecure_redirect_uri``.
            TokenError: The provider cannot be asked, or must not be trusted.
        """
        state, pending = self._file(redirect_uri, server)
        lifetime = LIFETIME if lifetime is None else lifetime
        pending.timer = get_loop().call_later(lifetime, self._expire, state, lifetime)
        try:
            check_redirect_uri(redirect_uri)
            await _unless_over(pending, self.provider.prepare())
            url = self._authorize_url(state, pending)
        except BaseException as error:  # also a reader that gives up must leave nothing open
            self._end(state, error)
            raise
        if state in self._pending:
            self.session.note_authorizing()
        return AuthorizationRequest(url, state, pending.outcome)

    def _file(self, redirect_uri: str, server: str) -> tuple[str, Pending]:
        """Note a new sign-in under a fresh state; where too many are open, the oldest gives way."""
        state = Secret(state_for(secrets.token_urlsafe(32), server))
        nonce = Secret(secrets.token_urlsafe(32)) if "openid" in self.provider.scopes else None
        pkce = PKCEChallenge.generate() if self.use_pkce else None
        while len(self._pending) >= _MAX_PENDING:
            self._take(next(iter(self._pending))).settle(AuthFlowCancelled(_TOO_MANY))
        self._pending[state] = Pending(redirect_uri, pkce, nonce)
        self._flow_state = AuthFlowState.IN_PROGRESS
        return state, self._pending[state]

    def _authorize_url(self, state: str, pending: Pending) -> str:
        extra = {"nonce": str(pending.nonce)} if pending.nonce else None
        return Secret(self.provider.build_authorize_url(pending.redirect_uri, state, pending.pkce, extra))

    @on_loop
    async def complete(self, params: Mapping[str, str]) -> AuthFlowResult:
        """Finish the sign-in that ``params`` (the query of the callback, each name once) belongs to.

        Raises:
            AuthenticationError: Code ``unknown_flow`` or ``already_used``: nothing has changed. Any other code: that
                sign-in is over and must be begun anew.
        """
        state = params.get("state", "")
        pending = self._redeeming[state] = self._take(state)
        try:
            tokens, user = await self._redeem(pending, params)
        except BaseException as error:  # also a reader that gives up must leave nothing open
            self._end(state, error)
            raise
        if self._redeeming.pop(state, None) is None:  # it was ended meanwhile
            await self.provider.revoke_tokens(tokens)
            raise AuthFlowCancelled(_OVERTAKEN)
        ended = [pending, *(other for flow in list(self.session.flows) for other in flow._complete())]  # noqa: SLF001
        self._flow_state = AuthFlowState.COMPLETED
        result = AuthFlowResult(success=True, tokens=tokens, user_info=user)
        return await asyncio.shield(self._begin_session(result, tokens, ended))  # good tokens are not given up half way

    async def _begin_session(
        self, result: AuthFlowResult, tokens: OAuthTokenSet, ended: list[Pending]
    ) -> AuthFlowResult:
        """Give the session its tokens, and tell the sign-ins that this one ended."""
        how: AuthFlowResult | AuthFlowCancelled = AuthFlowCancelled(_OVERTAKEN)
        try:
            if await self.session.sign_in(tokens, result.user_info or {}):
                how = result
        finally:
            if how is not result and not self._open and self.session.status == "signed_out":
                self._flow_state = AuthFlowState.CANCELLED
            for pending in ended:
                pending.settle(how)
        if isinstance(how, AuthFlowCancelled):
            raise how
        return result

    async def _redeem(self, pending: Pending, params: Mapping[str, str]) -> tuple[OAuthTokenSet, dict[str, Any]]:
        """Check the response, and return the tokens and claims it is worth."""
        self.provider.check_issuer(params.get("iss"))
        code = code_in(params)
        tokens = await self.provider.exchange_code(code, pending.redirect_uri, pending.verifier, pending.nonce)
        try:
            return tokens, await self.provider.fetch_user(tokens)
        except AuthenticationError:
            await self.provider.revoke_tokens(tokens)  # nobody will use them
            raise

    def abandon(self, state: str, error: BaseException) -> None:
        """Give up one sign-in if it is still open, because of ``error``; may be called from any thread."""
        get_loop().call_soon_threadsafe(self._end, state, error)

    def _cancel(self) -> None:
        if self._open:
            error = AuthFlowCancelled("The sign-in was cancelled. Sign in again to go on.")
            ended = self._void()
            self._fail(error)
            for pending in ended:
                pending.settle(error)

    def _complete(self) -> list[Pending]:
        """End what is open because somebody has signed in."""
        if self._open:
            self._flow_state = AuthFlowState.COMPLETED
        return self._void()

    def _void(self) -> list[Pending]:
        """End every sign-in that is open, answered or not, and return them, yet to be told how they ended."""
        ended = [*self._pending.values(), *self._redeeming.values()]
        self._used.extend(self._pending)
        self._pending.clear()
        self._redeeming.clear()
        return ended

    def _end(self, state: str, error: BaseException) -> None:
        """End one sign-in, if it has not ended in another way."""
        pending = self._redeeming.pop(state, None) or (self._take(state) if state in self._pending else None)
        if pending is not None:
            ours = error if isinstance(error, AuthenticationError) else AuthFlowCancelled(_GIVEN_UP)
            self._fail(ours)
            pending.settle(ours)

    def _take(self, state: str) -> Pending:
        """Take a pending sign-in out: each state is good for one answer."""
        pending = self._pending.pop(state, None)
        if pending is None:
            used = state in self._used
            raise AuthenticationError(
                "This sign-in is over, or another took its place."
                if used
                else "No such sign-in is open. Sign in again.",
                code="already_used" if used else "unknown_flow",
            )
        self._used.append(state)
        return pending

    def _expire(self, state: str, lifetime: float) -> None:
        if state in self._pending:
            self._end(state, AuthFlowTimeout("Nobody finished the sign-in in time. Sign in again.", lifetime))

    def _fail(self, error: AuthenticationError) -> None:
        """Note that one sign-in failed, and whether another is still open."""
        ended = next((state for kind, state in _ENDS.items() if isinstance(error, kind)), AuthFlowState.FAILED)
        self._flow_state = AuthFlowState.IN_PROGRESS if self._open else ended
        still_open = any(flow._open for flow in list(self.session.flows))  # noqa: SLF001 - of its own kind
        self.session.note_login_failed(error, authorizing=still_open)


async def _unless_over(pending: Pending, work: Coroutine[Any, Any, None]) -> None:
    """Await ``work``, unless the sign-in that needs it fails first: then raise why, and leave ``work`` to itself."""
    working, over = ignore_result(asyncio.ensure_future(work)), asyncio.ensure_future(pending.over.wait())
    try:
        await asyncio.wait({working, over}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        over.cancel()
    if pending.outcome.done() and pending.outcome.exception() is not None:
        raise without_traceback(pending.outcome.exception())
    await working
