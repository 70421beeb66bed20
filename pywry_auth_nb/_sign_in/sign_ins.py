"""`SignIns`: the sign-ins of one session (authorization code flow, RFC 6749 §4.1, with PKCE, nonce and RFC 9207).

A sign-in has two steps: :meth:`~SignIns.begin` returns the URL to open in a browser, and :meth:`~SignIns.complete`
redeems the answer. In between, state, nonce and code verifier are kept here.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from typing import TYPE_CHECKING, Any

from .._io.loop import get_loop, ignore_result, on_loop
from .._wire.hub_routing import state_for
from .._wire.protocol import LIFETIME
from ..errors import (
    AuthenticationError,
    AuthFlowCancelled,
    AuthFlowTimeout,
    ConfigurationError,
    without_traceback,
)
from ..pkce import PKCEChallenge
from ..tokens import Secret
from .authorization import (
    AuthFlowResult,
    AuthFlowState,
    AuthorizationRequest,
    Pending,
    check_redirect_uri,
    code_in,
)

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Coroutine, Mapping

    from .._session.engine import SessionEngine
    from .._session.logout import LogoutResult
    from ..providers import OAuthProvider
    from ..tokens import OAuthTokenSet

_MAX_PENDING = 8  # open sign-ins of one session; beyond that the oldest is cancelled
_TOO_MANY = "Too many sign-ins were begun after this one, so it was given up. Sign in again."
_SUPERSEDED = "The sign-in was cancelled, or another one was faster. Look at the notebook."
_GIVEN_UP = "The sign-in was given up. Sign in again."
_ENDS = {AuthFlowCancelled: AuthFlowState.CANCELLED, AuthFlowTimeout: AuthFlowState.TIMED_OUT}


class SignIns:
    """Runs the sign-ins of one session; several may be open at once, and the first to succeed ends the others.

    Args:
        engine: The engine of the session.

    Attributes:
        state: The state of the latest sign-in.
    """

    def __init__(self, engine: SessionEngine) -> None:
        self.engine = engine
        self.state = AuthFlowState.PENDING
        self._use_pkce = True
        self._pending: dict[str, Pending] = {}  # by state: no answer yet
        self._redeeming: dict[str, Pending] = {}  # by state: the answer is being redeemed
        self._used: deque[str] = deque(maxlen=4 * _MAX_PENDING)

    @property
    def provider(self) -> OAuthProvider:
        """The provider at which the user signs in."""
        return self.engine.provider

    @property
    def use_pkce(self) -> bool:
        """Whether to send a code challenge (RFC 7636)."""
        return self._use_pkce

    @use_pkce.setter
    def use_pkce(self, use: bool) -> None:
        """Refuse to turn PKCE off for a client without a secret (RFC 9700 §2.1.1)."""
        if not use and not self.provider.client_secret:
            raise ConfigurationError(
                "Without a client secret, PKCE is all that protects a sign-in. Leave use_pkce on, or give the provider "
                "its client_secret."
            )
        self._use_pkce = use

    @property
    def is_open(self) -> bool:
        """Whether a sign-in is open, answered or not."""
        return bool(self._pending or self._redeeming)

    def knows(self, state: str) -> bool:
        """Whether ``state`` belongs to a sign-in begun here, open or closed."""
        return state in self._pending or self.is_closed(state)

    def is_closed(self, state: str) -> bool:
        """Whether ``state`` belongs to a sign-in begun here that no longer accepts an answer."""
        return state in self._used

    def expects(self, state: str, redirect_uri: str) -> concurrent.futures.Future[AuthFlowResult] | None:
        """Return the outcome of the sign-in ``state`` if it is waiting for an answer at ``redirect_uri``."""
        pending = self._pending.get(state)
        return pending.outcome if pending is not None and pending.redirect_uri == redirect_uri else None

    # -- begin ------------------------------------------------------------------------------------------------------

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
            await _unless_closed(pending, self.provider.prepare())
            url = self._authorize_url(state, pending)
        except BaseException as error:  # also on cancellation, so that no sign-in stays open
            self._end(state, error)
            raise
        if state in self._pending:
            self.engine.sign_in_begun()
        return AuthorizationRequest(url, state, pending.outcome)

    def _file(self, redirect_uri: str, server: str) -> tuple[str, Pending]:
        """Register a new sign-in under a fresh state; if too many are open, cancel the oldest."""
        state = Secret(state_for(secrets.token_urlsafe(32), server))
        nonce = Secret(secrets.token_urlsafe(32)) if "openid" in self.provider.scopes else None
        pkce = PKCEChallenge.generate() if self.use_pkce else None
        while len(self._pending) >= _MAX_PENDING:
            self._take(next(iter(self._pending))).settle(AuthFlowCancelled(_TOO_MANY))
        self._pending[state] = Pending(redirect_uri, pkce, nonce)
        self.state = AuthFlowState.IN_PROGRESS
        return state, self._pending[state]

    def _authorize_url(self, state: str, pending: Pending) -> str:
        extra = {"nonce": str(pending.nonce)} if pending.nonce else None
        return Secret(self.provider.build_authorize_url(pending.redirect_uri, state, pending.pkce, extra))

    # -- complete ---------------------------------------------------------------------------------------------------

    @on_loop
    async def complete(self, params: Mapping[str, str]) -> AuthFlowResult:
        """Finish the sign-in that ``params`` (the query of the callback, each name once) belongs to.

        Raises:
            AuthenticationError: Code ``unknown_flow`` or ``already_used``: nothing has changed. Any other code: that
                sign-in has ended; begin a new one.
        """
        state = params.get("state", "")
        pending = self._redeeming[state] = self._take(state)
        try:
            tokens, user = await self._redeem(pending, params)
        except BaseException as error:  # also on cancellation, so that no sign-in stays open
            self._end(state, error)
            raise
        if self._redeeming.pop(state, None) is None:  # it has ended meanwhile
            await self.provider.revoke_tokens(tokens)
            raise AuthFlowCancelled(_SUPERSEDED)
        ended = [pending, *self._close_all()]
        self.state = AuthFlowState.COMPLETED
        result = AuthFlowResult(success=True, tokens=tokens, user_info=user)
        return await asyncio.shield(self._begin_session(result, tokens, ended))  # even if the caller is cancelled

    async def _begin_session(
        self, result: AuthFlowResult, tokens: OAuthTokenSet, ended: list[Pending]
    ) -> AuthFlowResult:
        """Sign the session in, and settle this sign-in and those that it ended."""
        how: AuthFlowResult | AuthFlowCancelled = AuthFlowCancelled(_SUPERSEDED)
        try:
            if await self.engine.sign_in(tokens, result.user_info or {}):
                how = result
        finally:
            if how is not result and not self.is_open and self.engine.state.status == "signed_out":
                self.state = AuthFlowState.CANCELLED
            for pending in ended:
                pending.settle(how)
        if isinstance(how, AuthFlowCancelled):
            raise how
        return result

    async def _redeem(self, pending: Pending, params: Mapping[str, str]) -> tuple[OAuthTokenSet, dict[str, Any]]:
        """Check the response, exchange the code, and return tokens and claims."""
        self.provider.check_issuer(params.get("iss"))
        code = code_in(params)
        tokens = await self.provider.exchange_code(code, pending.redirect_uri, pending.verifier, pending.nonce)
        try:
            return tokens, await self.provider.fetch_user(tokens)
        except AuthenticationError:
            await self.provider.revoke_tokens(tokens)  # they will not be used
            raise

    # -- end --------------------------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Cancel every open sign-in. May be called from any thread.

        A later answer is refused, and tokens that are being exchanged are revoked.
        """
        get_loop().call_soon_threadsafe(self._cancel)

    @on_loop
    async def sign_out(self) -> LogoutResult:
        """Cancel every open sign-in, and sign out."""
        await self.engine.load()
        self._cancel()
        return await self.engine.sign_out()

    def abandon(self, state: str, error: BaseException) -> None:
        """End one sign-in with ``error``, if it is still open. May be called from any thread."""
        get_loop().call_soon_threadsafe(self._end, state, error)

    def _cancel(self) -> None:
        if self.is_open:
            error = AuthFlowCancelled()
            ended = self._close_all()
            self._fail(error)
            for pending in ended:
                pending.settle(error)

    def _close_all(self) -> list[Pending]:
        """Close every open sign-in, answered or not, and return them, not yet settled."""
        ended = [*self._pending.values(), *self._redeeming.values()]
        self._used.extend(self._pending)
        self._pending.clear()
        self._redeeming.clear()
        return ended

    def _end(self, state: str, error: BaseException) -> None:
        """End one sign-in with ``error``, unless it has ended already."""
        pending = self._redeeming.pop(state, None) or (self._take(state) if state in self._pending else None)
        if pending is not None:
            ours = error if isinstance(error, AuthenticationError) else AuthFlowCancelled(_GIVEN_UP)
            self._fail(ours)
            pending.settle(ours)

    def _take(self, state: str) -> Pending:
        """Remove and return a pending sign-in: each state accepts one answer."""
        pending = self._pending.pop(state, None)
        if pending is None:
            raise AuthenticationError(code="already_used" if state in self._used else "unknown_flow")
        self._used.append(state)
        return pending

    def _expire(self, state: str, lifetime: float) -> None:
        if state in self._pending:
            self._end(state, AuthFlowTimeout(None, lifetime))

    def _fail(self, error: AuthenticationError) -> None:
        """Record that a sign-in failed, and whether another is still open."""
        ended = next((state for kind, state in _ENDS.items() if isinstance(error, kind)), AuthFlowState.FAILED)
        self.state = AuthFlowState.IN_PROGRESS if self.is_open else ended
        self.engine.sign_in_failed(error, authorizing=self.is_open)


async def _unless_closed(pending: Pending, work: Coroutine[Any, Any, None]) -> None:
    """Await ``work``; if the sign-in ends first, raise its error and let ``work`` continue unobserved."""
    working, closed = ignore_result(asyncio.ensure_future(work)), asyncio.ensure_future(pending.closed.wait())
    try:
        await asyncio.wait({working, closed}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        closed.cancel()
    if pending.outcome.done() and (error := pending.outcome.exception()) is not None:
        raise without_traceback(error)
    await working
