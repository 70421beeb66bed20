"""`AuthFlowManager`: from a click to tokens (RFC 6749 §4.1 with PKCE, nonce and RFC 9207).

Two steps, with a browser in between: :meth:`~AuthFlowManager.begin` gives the URL to open, and
:meth:`~AuthFlowManager.complete` takes what came back. Everything that must not be known outside stays here meanwhile.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, NoReturn

from ._http import is_safe
from ._loop import get_loop, on_loop
from .errors import AuthenticationError, AuthFlowCancelled, AuthFlowTimeout, TokenError
from .pkce import PKCEChallenge
from .session import SessionManager
from .tokens import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .providers import OAuthProvider
    from .token_store import TokenStore
    from .tokens import OAuthTokenSet

LIFETIME = 600.0  # seconds a sign-in may take: a person with a second factor and a slow phone
_MAX_PENDING = 8  # tabs open at once for one session; the oldest gives way
_MAX_CODE = 4096

#: Authorization errors (RFC 6749 §4.1.2.1, OIDC Core §3.1.2.6) that have something to say to the person.
_ERRORS = {
    "invalid_scope": "The provider does not grant these scopes. Check them against the client's registration.",
    "unauthorized_client": "The provider does not allow this client to sign people in. Check its registration.",
    "invalid_request": "The provider did not understand the request. Check the client's registration.",
    "server_error": "The provider had an internal problem. Try again in a moment.",
    "temporarily_unavailable": "The provider is overloaded. Try again in a moment.",
}


class AuthFlowState(str, Enum):
    """Where a flow stands."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"
    TIMED_OUT = "timed_out"


_OVERTAKEN = "The sign-in was cancelled, or another one was faster. Look at the notebook."
_ENDS = {AuthFlowCancelled: AuthFlowState.CANCELLED, AuthFlowTimeout: AuthFlowState.TIMED_OUT}


@dataclass(frozen=True, repr=False)
class AuthFlowResult:
    """How a sign-in ended.

    Attributes:
        success: Whether somebody is signed in now.
        tokens: Their tokens.
        error: What went wrong, in a sentence.
        user_info: Claims about who signed in.
    """

    success: bool
    tokens: OAuthTokenSet | None = None
    error: str | None = None
    user_info: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return f"<AuthFlowResult {'signed in' if self.success else self.error}>"


@dataclass(frozen=True, repr=False)
class AuthorizationRequest:
    """What to open in a browser, and the ``state`` that will come back with the answer."""

    url: str
    state: str


@dataclass(frozen=True, repr=False)
class _Pending:
    redirect_uri: str
    verifier: str | None
    nonce: str | None


class AuthFlowManager:
    """Runs the sign-ins of one session; several may be open at once, and the first to succeed ends the others.

    Args:
        provider: Where one signs in.
        token_store: Where the tokens go when there is no ``session_manager``.
        session_manager: The session that a sign-in begins; made from the other two when left out.
        use_pkce: Whether to send a code challenge; turn it off only for a provider that refuses it.
        auth_timeout: Accepted for the sake of ``pywry.auth``; not used yet.
    """

    def __init__(
        self,
        provider: OAuthProvider,
        token_store: TokenStore | None = None,
        session_manager: SessionManager | None = None,
        use_pkce: bool = True,
        auth_timeout: float = 120.0,
    ) -> None:
        self.provider = provider
        self.session = session_manager or SessionManager(provider, token_store)
        self.use_pkce = use_pkce
        self.auth_timeout = auth_timeout
        self._flow_state = AuthFlowState.PENDING
        self._pending: dict[str, _Pending] = {}
        self._used: deque[str] = deque(maxlen=4 * _MAX_PENDING)
        self._round = 0  # counts successes and cancellations: what was under way before one is void
        self._exchanging = 0  # answers being redeemed in this round
        self.session.on_sign_out(self._cancel)

    @property
    def flow_state(self) -> AuthFlowState:
        """Where the latest sign-in stands."""
        return self._flow_state

    @property
    def _open(self) -> bool:
        return bool(self._pending) or self._exchanging > 0

    def knows(self, state: str) -> bool:
        """Whether ``state`` belongs to a sign-in begun here, open or over."""
        return state in self._pending or state in self._used

    @on_loop
    async def begin(self, redirect_uri: str) -> AuthorizationRequest:
        """Open a sign-in: file a fresh state, nonce and code verifier, and return what the browser must open.

        Args:
            redirect_uri: Where the provider sends the browser afterwards; registered there.

        Raises:
            AuthenticationError: Code ``insecure_redirect_uri``.
            TokenError: The provider cannot be asked, or must not be trusted.
        """
        try:
            _check_redirect_uri(redirect_uri)
            await self.provider.prepare()
            state, pending, url = self._new_request(redirect_uri)
        except AuthenticationError as error:
            self.session.note_login_failed(error, authorizing=self._open)
            raise
        while len(self._pending) >= _MAX_PENDING:
            self._take(next(iter(self._pending)))
        self._pending[state] = pending
        self._flow_state = AuthFlowState.IN_PROGRESS
        self.session.note_authorizing()
        get_loop().call_later(LIFETIME, self._expire, state)
        return AuthorizationRequest(Secret(url), state)

    def _new_request(self, redirect_uri: str) -> tuple[str, _Pending, str]:
        """Return a fresh state, what it stands for, and the authorize URL that carries it."""
        state = Secret(secrets.token_urlsafe(32))
        nonce = Secret(secrets.token_urlsafe(32)) if "openid" in self.provider.scopes else None
        pkce = PKCEChallenge.generate() if self.use_pkce else None
        extra = {"nonce": str(nonce)} if nonce else None
        url = self.provider.build_authorize_url(redirect_uri, state, pkce, extra)
        return state, _Pending(redirect_uri, pkce.verifier if pkce else None, nonce), url

    @on_loop
    async def complete(self, params: Mapping[str, str]) -> AuthFlowResult:
        """Finish the sign-in that ``params`` (the query of the callback, each name once) belongs to.

        Raises:
            AuthenticationError: Code ``unknown_flow`` or ``already_used``: nothing has changed. Any other code: that
                sign-in is over and must be begun anew.
        """
        pending = self._take(params.get("state", ""))
        flow_round = self._round
        failure: AuthenticationError | None = AuthFlowCancelled("The sign-in was given up. Sign in again.")
        self._exchanging += 1
        try:
            tokens, user = await self._redeem(pending, params)
            failure = None
        except AuthenticationError as error:
            failure = error
            raise
        finally:
            if flow_round == self._round:
                self._exchanging -= 1
                if failure is not None:
                    self._fail(failure)
        if flow_round != self._round:
            await self.session.discard(tokens)
            raise AuthFlowCancelled(_OVERTAKEN)
        self._next_round()
        self._flow_state = AuthFlowState.COMPLETED
        if not await asyncio.shield(self.session.sign_in(tokens, user)):  # good tokens are not given up half way
            raise AuthFlowCancelled(_OVERTAKEN)
        return AuthFlowResult(success=True, tokens=tokens, user_info=user)

    async def _redeem(self, pending: _Pending, params: Mapping[str, str]) -> tuple[OAuthTokenSet, dict[str, Any]]:
        """Check the response, and return the tokens and claims it is worth."""
        code = self._validate(params)
        tokens = await self.provider.exchange_code(code, pending.redirect_uri, pending.verifier, pending.nonce)
        try:
            return tokens, await self.provider.identify(tokens)
        except AuthenticationError:
            await self.session.discard(tokens)  # nobody will use them
            raise

    def cancel(self) -> None:
        """Give up every open sign-in; an answer that still comes is refused, its tokens revoked. Any thread."""
        get_loop().call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._flow_state is AuthFlowState.IN_PROGRESS:
            self._next_round()
            self._fail(AuthFlowCancelled("The sign-in was cancelled. Sign in again to go on."))

    def _next_round(self) -> None:
        """Void every sign-in that is open, and every exchange that is under way."""
        self._round += 1
        self._exchanging = 0
        self._used.extend(self._pending)
        self._pending.clear()

    def _validate(self, params: Mapping[str, str]) -> str:
        """Return the authorization code of a sound response (RFC 6749 §4.1.2, RFC 9207 §2.4, RFC 9700 §2.1.2)."""
        self.provider.check_issuer(params.get("iss"))
        if any(name in params for name in ("response", "access_token", "id_token")):
            _invalid("it has parts that nobody asked for")
        code, error = params.get("code", ""), params.get("error")
        if error is not None and code:
            _invalid("it is a success and an error at once")
        if error == "access_denied":
            raise AuthFlowCancelled("The provider says that access was declined. Sign in again to go on.", code=error)
        if error is not None:
            known = error in _ERRORS
            raise AuthenticationError(
                _ERRORS[error] if known else "The provider refused to sign you in. Try again, or ask its operator.",
                code=error if known else "provider_error",
            )
        if not code or len(code) > _MAX_CODE:
            _invalid("it has no usable code")
        return code

    def _take(self, state: str) -> _Pending:
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

    def _expire(self, state: str) -> None:
        if state in self._pending:
            self._take(state)
            self._fail(AuthFlowTimeout("Nobody finished the sign-in in time. Sign in again.", LIFETIME))

    def _fail(self, error: AuthenticationError) -> None:
        """Note that one sign-in failed, and whether another is still open."""
        ended = next((state for kind, state in _ENDS.items() if isinstance(error, kind)), AuthFlowState.FAILED)
        self._flow_state = AuthFlowState.IN_PROGRESS if self._open else ended
        self.session.note_login_failed(error, authorizing=self._open)


def _check_redirect_uri(redirect_uri: str) -> None:
    """Refuse to let a code travel in the clear (RFC 9700 §2.1): https, or http to this machine."""
    if not is_safe(redirect_uri):
        raise AuthenticationError(
            "Jupyter is reached over plain http, so a sign-in could be read on the way. Use https; behind a proxy set "
            "c.ServerApp.trust_xheaders = True, or c.PywryAuth.redirect_uri.",
            code="insecure_redirect_uri",
        )


def _invalid(why: str) -> NoReturn:
    raise TokenError(f"The provider's answer is not valid: {why}. Sign in again.", code="invalid_response")
