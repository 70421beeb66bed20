"""`SignIns`: the sign-ins of one session (authorization code flow, RFC 6749 §4.1, with PKCE, nonce and RFC 9207).

A sign-in has two steps: :meth:`~SignIns.begin` returns the URL to open in a browser, and :meth:`~SignIns.complete`
redeems the answer. In between, state, nonce and code verifier are kept here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from .._io.loop import get_loop, ignore_result, on_loop
from .._session.persons import Person, are_different
from .._wire.hub_routing import state_for
from .._wire.protocol import LIFETIME, OTHER_ACCOUNT
from ..errors import (
    AuthenticationError,
    AuthFlowCancelled,
    AuthFlowTimeout,
    ConfigurationError,
    TokenError,
    without_traceback,
)
from ..pkce import PKCEChallenge
from ..providers.id_token import check_auth_time
from ..tokens import Secret
from .authorization import (
    AuthFlowResult,
    AuthFlowState,
    AuthorizationRequest,
    DeviceRequest,
    Pending,
    check_max_age,
    check_redirect_uri,
    code_in,
)
from .greetings import Greetings
from .polling import poll, request_code
from .profile import Profile

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Coroutine, Iterator, Mapping

    from .._session.engine import SessionEngine
    from .._session.logout import LogoutResult
    from ..providers import OAuthProvider
    from ..tokens import OAuthTokenSet
    from .ways.offer import Opened

T = TypeVar("T")

log = logging.getLogger("pywry_auth_nb")

_MAX_PENDING = 8  # open sign-ins of one session; beyond that the oldest is cancelled
_TOO_MANY = "Too many sign-ins were begun after this one, so it was given up. Sign in again."
_SUPERSEDED = "The sign-in was cancelled, or another one was faster. Look at the notebook."
_GIVEN_UP = "The sign-in was given up. Sign in again."
_ANOTHER_USER = (
    "Another user has signed in at the provider, so nothing has changed here. Sign in as the user of this session."
)
_ENDS = {AuthFlowCancelled: AuthFlowState.CANCELLED, AuthFlowTimeout: AuthFlowState.TIMED_OUT}


@dataclass(frozen=True, eq=False)
class Added:
    """Parameters that a waiting cell adds to sign-ins, and who must sign in then; None for any user."""

    params: Mapping[str, str] = field(default_factory=dict)
    person: Person | None = None


_NOTHING_ADDED = Added()


class SignIns:
    """Runs the sign-ins of one session; several may be open at once, and the first to succeed ends the others.

    Args:
        engine: The engine of the session.

    Attributes:
        state: The state of the latest sign-in.
        profile: What a widget shows about the user and the sign-in.
        greetings: The pages that show the session's widgets.
        opened: The ways to sign in that the widget or a waiting cell has opened, by name.
    """

    def __init__(self, engine: SessionEngine) -> None:
        self.engine = engine
        self.profile = Profile(self)
        self.state = AuthFlowState.PENDING
        self._settings: Any = None  # which this session was made from
        self._use_pkce = True
        self._pending: dict[str, Pending] = {}  # by state: no answer yet
        self._redeeming: dict[str, Pending] = {}  # by state: the answer is being redeemed
        self._used: deque[str] = deque(maxlen=4 * _MAX_PENDING)
        self._added: list[Added] = []  # by each cell that waits; the latest counts for the sign-ins that begin now
        self.greetings = Greetings()
        self.opened: dict[str, Opened] = {}
        self._named: set[str] = set()  # scopes that the provider did not grant, each logged once

    def configure(self, settings: Any) -> None:
        """Take what ``settings`` say about sign-ins; None for the defaults.

        Raises:
            ConfigurationError: PKCE is off for a client without a secret.
        """
        self.use_pkce = getattr(settings, "use_pkce", True)
        self._settings = settings

    @property
    def loopback(self) -> tuple[str, int]:
        """The host and port of a callback server, 0 for any; from the environment if no settings were given.

        Raises:
            ConfigurationError: A setting is wrong.
        """
        from ..settings import OAuth2Settings

        settings = OAuth2Settings() if self._settings is None else self._settings
        return getattr(settings, "loopback_host", "127.0.0.1"), getattr(settings, "loopback_port", 0)

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

    @property
    def open_redirect_uri(self) -> str:
        """The redirect URI of the newest sign-in that waits for an answer; empty if there is none. From any thread."""
        return next((pending.redirect_uri for pending in reversed([*self._pending.values()])), "")

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

    @contextlib.contextmanager
    def adding_params(self, person: Person | None = None, **params: str) -> Iterator[None]:
        """Add parameters to the authorize URL of every sign-in that begins meanwhile, with a click for example.

        Of several at once, the one that came last counts, and the one before again when that has ended.

        Args:
            person: Who must sign in; None for any user.
            params: The parameters; ``scope`` replaces the provider's own.
        """
        added = Added(_given(params), person)
        self._added.append(added)
        try:
            yield
        finally:
            self._added.remove(added)

    @property
    def added(self) -> Added:
        """What the cell that came last adds. Other threads append and remove."""
        return next(iter(self._added[-1:]), _NOTHING_ADDED)

    @on_loop
    async def begin(
        self,
        redirect_uri: str,
        *,
        lifetime: float | None = None,
        server: str = "",
        prompt: str = "",
        login_hint: str = "",
        switches: bool = False,
        acr_values: str = "",
        max_age: int | None = None,
    ) -> AuthorizationRequest:
        """Open a sign-in: file a fresh state, nonce and code verifier, and return what the browser must open.

        Args:
            redirect_uri: As for :meth:`AuthFlowManager.begin`, as are all that are not described here.
            lifetime: Seconds within which an answer must come.
            server: Name of the hub user's server that the answer is to reach.
            prompt: What the provider must ask the user.
            login_hint: The user who is expected to sign in.
            switches: Whether to ask for another account. While such a sign-in is open, all that begin ask.
            acr_values: Authentication contexts, separated by spaces; the provider's own when left out.
            max_age: How many seconds old the user's authentication may be; the ID token must then say so.

        Raises:
            ConfigurationError: ``max_age`` is not a whole number of seconds.
            AuthFlowCancelled: Cancelled while the provider was being asked.
            AuthenticationError: Code ``insecure_redirect_uri``.
            TokenError: The provider cannot be asked, or must not be trusted.
        """
        switches = switches or any(pending.switches for pending in self._pending.values())
        params = {"prompt": prompt, "login_hint": login_hint, "acr_values": acr_values}
        added = self.added
        asked = self._asked(added, {**params, "max_age": check_max_age(max_age)}, switches=switches)
        person = None if switches else added.person
        state, pending = self._file(redirect_uri, server, asked, person, switches=switches)
        lifetime = LIFETIME if lifetime is None else lifetime
        pending.timer = get_loop().call_later(lifetime, self._expire, state, lifetime)
        url = await self._open(state, pending, self._authorize_url(state, pending))
        return AuthorizationRequest(url, state, pending.outcome)

    def _asked(self, added: Added, params: Mapping[str, str], *, switches: bool) -> dict[str, str]:
        """Return the parameters of a sign-in that begins now."""
        other = {"prompt": OTHER_ACCOUNT, "login_hint": ""} if switches else {}
        return {**other, **added.params, **_given(params)}

    @on_loop
    async def begin_device(
        self, *, lifetime: float | None = None, max_age: int | None = None, **params: str
    ) -> DeviceRequest:
        """Open a sign-in with a code that the user enters at the provider (RFC 8628 §3.1), and poll for its tokens.

        Args:
            lifetime: Seconds within which the user must approve; those of the code if it ends sooner.
            max_age: As for :meth:`begin`.
            params: ``prompt``, ``login_hint`` and ``acr_values`` as for :meth:`begin`; providers may ignore them here.

        Raises:
            ConfigurationError: ``max_age`` is no whole number of seconds.
            AuthFlowCancelled: Cancelled while the provider was being asked.
            TokenError: The provider has no device codes (``device_unsupported``), or cannot be asked.
        """
        added = self.added
        asked = self._asked(added, {**params, "max_age": check_max_age(max_age)}, switches=False)
        state = Secret(secrets.token_urlsafe(32))
        pending = self._redeeming[state] = Pending("", None, None, asked, added.person)
        self.state = AuthFlowState.IN_PROGRESS
        code = await self._open(state, pending, request_code(self.provider, asked))
        tokens = poll(self.provider, code, LIFETIME if lifetime is None else lifetime, pending.closed)
        pending.polling = ignore_result(get_loop().create_task(self._finish(state, pending, tokens)))
        return DeviceRequest(code, state, pending.outcome)

    def _file(
        self, redirect_uri: str, server: str, asked: Mapping[str, str], person: Person | None, *, switches: bool
    ) -> tuple[str, Pending]:
        """Register a new sign-in under a fresh state; if too many are open, cancel the oldest."""
        state = Secret(state_for(secrets.token_urlsafe(32), server))
        nonce = Secret(secrets.token_urlsafe(32)) if "openid" in self._scopes(asked) else None
        pkce = PKCEChallenge.generate() if self.use_pkce else None
        while len(self._pending) >= _MAX_PENDING:
            self._take(next(iter(self._pending))).settle(AuthFlowCancelled(_TOO_MANY))
        self._pending[state] = Pending(redirect_uri, pkce, nonce, asked, person, switches)
        self.state = AuthFlowState.IN_PROGRESS
        return state, self._pending[state]

    def _scopes(self, asked: Mapping[str, str]) -> list[str]:
        """Return the scopes that a sign-in with these parameters asks for."""
        return asked["scope"].split() if "scope" in asked else self.provider.scopes

    async def _authorize_url(self, state: str, pending: Pending) -> str:
        check_redirect_uri(pending.redirect_uri)
        await self.provider.prepare()
        extra = {**pending.asked, **_given({"nonce": pending.nonce or ""})}
        if extra.get("prompt") == OTHER_ACCOUNT:
            extra["prompt"] = self.provider.account_prompt
        return Secret(self.provider.build_authorize_url(pending.redirect_uri, state, pending.pkce, extra))

    async def _open(self, state: str, pending: Pending, asking: Coroutine[Any, Any, T]) -> T:
        """Return what the user needs for a sign-in that was filed, or end it if that cannot be had."""
        try:
            needed = await _unless_closed(pending, ignore_result(asyncio.ensure_future(asking)))
        except BaseException as error:  # also on cancellation, so that no sign-in stays open
            self._end(state, error)
            raise
        if state in self._pending or state in self._redeeming:
            self.engine.sign_in_begun()
        return needed

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
        return await self._finish(state, pending, self._redeem(pending, params))

    async def _finish(
        self, state: str, pending: Pending, redeeming: Coroutine[Any, Any, OAuthTokenSet]
    ) -> AuthFlowResult:
        """Sign in with the tokens that ``redeeming`` returns, unless the sign-in has ended by then."""
        try:
            tokens = await redeeming
            user = await self._check_user(pending, tokens)
        except BaseException as error:  # also on cancellation, so that no sign-in stays open
            self._end(state, error)
            raise
        if self._redeeming.pop(state, None) is None:  # it has ended meanwhile
            await pending.closed.wait()  # another one that was faster has signed the session in by then
            await self.engine.discard(tokens, user)
            raise AuthFlowCancelled(_SUPERSEDED)
        tokens = tokens.asked_for(" ".join(self._scopes(pending.asked)))
        self._name_missing(pending, tokens)
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

    async def _redeem(self, pending: Pending, params: Mapping[str, str]) -> OAuthTokenSet:
        """Check the response, and exchange the code."""
        self.provider.check_issuer(params.get("iss"))
        code = code_in(params, self._secrets(pending, params))
        return await self.provider.exchange_code(code, pending.redirect_uri, pending.verifier, pending.nonce)

    async def _check_user(self, pending: Pending, tokens: OAuthTokenSet) -> dict[str, Any]:
        """Return claims about the user who signed in, if that is who must; else discard the tokens."""
        user: dict[str, Any] = {}
        try:
            user = self.provider.claims(tokens)
            if "max_age" in pending.asked:
                check_auth_time(user, float(pending.asked["max_age"]))
            user = await self.provider.fetch_user(tokens)
            if are_different(pending.person, Person.of(user)):
                raise TokenError(_ANOTHER_USER, code="identity_changed")
        except AuthenticationError:
            await self.engine.discard(tokens, user)
            raise
        return user

    def _name_missing(self, pending: Pending, tokens: OAuthTokenSet) -> None:
        """Log the scopes that the provider did not grant, unless it names no scope at all. Each is logged once.

        A missing refresh token has a warning of its own.
        """
        missing = self.provider.missing_scopes(self._scopes(pending.asked), tokens) if tokens.scope else []
        if new := [scope for scope in missing if scope not in self._named and scope != "offline_access"]:
            self._named.update(new)
            log.warning("%s did not grant %s: session.scopes has what it granted", self.provider.label, ", ".join(new))

    def _secrets(self, pending: Pending, params: Mapping[str, str]) -> list[str]:
        """Return what the authorization request sent, and what else belongs to the sign-in."""
        known = (params.get("state"), pending.nonce, pending.verifier, self.provider.client_secret)
        challenge = pending.pkce and pending.pkce.challenge
        return [secret for secret in (*known, challenge) if secret]

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

    def abandon(self, state: str, error: BaseException, *, quietly: bool = False) -> None:
        """End one sign-in with ``error``, if it is still open. May be called from any thread.

        Args:
            state: The sign-in's state.
            error: Why.
            quietly: Whether the session need not know, since another sign-in takes its place.
        """
        get_loop().call_soon_threadsafe(self._end, state, error, quietly)

    def _cancel(self) -> None:
        error = AuthFlowCancelled()
        if not self.is_open and self.engine.state.asks:  # a cell waits for a click
            self.engine.wake(error)
        if self.is_open:
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

    def _end(self, state: str, error: BaseException, quietly: bool = False) -> None:
        """End one sign-in with ``error``, unless it has ended already.

        The time of one that was left open says nothing of another that is open: cells go on waiting for that.
        """
        pending = self._redeeming.pop(state, None) or (self._take(state) if state in self._pending else None)
        if pending is not None:
            ours = error if isinstance(error, AuthenticationError) else AuthFlowCancelled(_GIVEN_UP)
            if not (quietly or (self.is_open and isinstance(ours, AuthFlowTimeout))):
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
        pending = self._pending.get(state)
        if pending is not None:
            self._end(state, AuthFlowTimeout(None, lifetime, redirect_uri=pending.redirect_uri))

    def _fail(self, error: AuthenticationError) -> None:
        """Record that a sign-in failed, and whether another is still open; log the provider's words."""
        if error.description:
            log.warning("%s: the sign-in failed (%s): %s", self.provider.label, error.code, error.description)
        ended = next((state for kind, state in _ENDS.items() if isinstance(error, kind)), AuthFlowState.FAILED)
        self.state = AuthFlowState.IN_PROGRESS if self.is_open else ended
        self.engine.sign_in_failed(error, authorizing=self.is_open)


def _given(params: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in params.items() if value}


async def _unless_closed(pending: Pending, working: asyncio.Task[T]) -> T:
    """Await ``working``; if the sign-in ends first, raise its error and let it continue unobserved."""
    closed = asyncio.ensure_future(pending.closed.wait())
    try:
        await asyncio.wait({working, closed}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        closed.cancel()
    if pending.outcome.done() and (error := pending.outcome.exception()) is not None:
        raise without_traceback(error)
    return await working
