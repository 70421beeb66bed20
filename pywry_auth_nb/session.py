"""`SessionManager`: one sign-in, kept alive."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import random
import time
import weakref
from typing import TYPE_CHECKING, Any, NoReturn

from ._loop import Serial, bare, get_loop, on_loop, run
from ._state import SessionState, View
from .errors import (
    AuthenticationError,
    LoginRequired,
    TokenError,
    TokenExpiredError,
    TokenRefreshError,
)
from .token_store import MemoryTokenStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from .flow import AuthFlowResult
    from .providers import OAuthProvider
    from .token_store import TokenStore
    from .tokens import OAuthTokenSet

log = logging.getLogger("pywry_auth_nb")

_READ_DEADLINE = 30.0  # seconds that reading a token may take when it has to be renewed
_REVOKE_DEADLINE = 5.0
_NAP = 30.0  # seconds: clocks stand still in suspend, so look at the wall clock that often
_BACKOFF_CAP = 60.0
_NAME_LENGTH = 100


class SessionManager(SessionState):
    """One sign-in at one provider: holds its tokens, renews them in the background, and ends it.

    Args:
        provider: Where one signs in.
        token_store: Where the tokens rest; in this kernel's memory when left out.
        session_key: Under which name they rest there.
        session_store: Accepted for the sake of ``pywry.auth``; not used.
        refresh_buffer_seconds: How many seconds before its end an access token is renewed.
        on_reauth_required: Called once, on a thread of its own, when the sign-in has ended and a new one is needed.

    All traits are read-only. They change together, and observers run on a thread of their own, in order.
    """

    access_token = View(
        lambda self: self._read_token(), "A token that is valid now. Raises LoginRequired or TokenError"
    )

    def __init__(
        self,
        provider: OAuthProvider,
        token_store: TokenStore | None = None,
        session_key: str = "default",
        session_store: Any = None,
        refresh_buffer_seconds: int = 60,
        on_reauth_required: Callable[[], None] | None = None,
    ) -> None:
        super().__init__()
        self.provider = provider
        self.token_store = MemoryTokenStore() if token_store is None else token_store
        self.session_key = session_key
        self.session_store = session_store
        self.refresh_buffer_seconds = refresh_buffer_seconds
        self.on_reauth_required = on_reauth_required
        self._owner = os.getpid()
        self._generation = 0  # counts sign-ins and sign-outs: what was begun before one is void after it
        self._failures = 0
        self._loaded = False
        self._loading: asyncio.Task[None] | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._tending: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    # -- reading ------------------------------------------------------------------------------------------------

    def _read_token(self) -> str:
        """Return a token that is valid now: at once while it is fresh, else after renewing it in the background."""
        snap = self._snap
        if snap.tokens is not None and time.time() < snap.due(self.refresh_buffer_seconds):
            return snap.tokens.access_token
        return run(self.get_access_token(), _READ_DEADLINE)

    @property
    def display_name(self) -> str:
        """A name for people to read, from claims that the provider chose: plain text, never HTML."""
        user = self._snap.user or {}
        names = (user.get(claim) for claim in ("name", "preferred_username", "login", "email", "sub"))
        name = next((name for name in names if isinstance(name, str) and name.strip()), "")
        return "".join(char for char in name if char.isprintable())[:_NAME_LENGTH]

    @on_loop
    async def initialize(self) -> OAuthTokenSet | None:
        """Load the tokens of an earlier sign-in from the store, renewing them where they are due.

        Returns:
            The tokens, or None when there are none or they cannot be renewed.
        """
        await self._load()
        try:
            await self.get_access_token()
        except AuthenticationError:
            return None
        return self._snap.tokens

    @on_loop
    async def get_access_token(self) -> str:
        """Return a token that is valid now, renewing it when it is near its end.

        Raises:
            LoginRequired: Nobody is signed in.
            TokenExpiredError: The token is over and could not be renewed; ``code`` says why.
        """
        await self._load()
        snap = self._snap
        if snap.tokens is not None and time.time() >= snap.due(self.refresh_buffer_seconds):
            try:
                await self._refresh_once()
            except TokenRefreshError as error:
                if time.time() >= self._snap.over:
                    raise TokenExpiredError(error.message, code=error.code, retry_after=error.retry_after) from None
        tokens = self._snap.tokens
        if tokens is None:
            _nobody()
        return tokens.access_token

    async def _load(self) -> None:
        """Read the store once in this session's life."""
        if self._loaded:
            return
        if self._loading is None or self._loading.done() or self._loading.get_loop() is not get_loop():
            self._loading = asyncio.ensure_future(self._load_stored())
        await asyncio.shield(self._loading)

    async def _load_stored(self) -> None:
        generation = self._generation
        tokens = await self.token_store.load(self.session_key)
        if tokens is not None and generation == self._generation and not self._loaded:
            self._take_over(tokens)
        self._loaded = True

    def _take_over(self, tokens: OAuthTokenSet) -> None:
        """Make stored tokens the session's; what is damaged is as good as nothing."""
        try:
            user = self.provider.claims(tokens) or None
        except TokenError as error:
            log.warning("%s: the stored session cannot be read (%s)", self.provider.label, error.code)
        else:
            self._publish(tokens=tokens, user=user)
            self._schedule()

    # -- signing in ---------------------------------------------------------------------------------------------

    def login(self, timeout: float = 300.0) -> AuthFlowResult:
        """Show the sign-in widget and wait in this cell until somebody has signed in.

        Returns at once when somebody is signed in already.

        Args:
            timeout: Seconds to wait at most. The widget stays usable after that.

        Raises:
            LoginRequired: There is no front end that could show anything (papermill, nbconvert, CI).
            AuthFlowCancelled: Cancelled here, or declined at the provider.
            AuthFlowTimeout: Nobody signed in within ``timeout``.
            TokenError: The provider's answer was refused.
        """
        from .login import login

        return login(self, timeout)

    @on_loop
    async def save_tokens(self, tokens: OAuthTokenSet) -> None:
        """Take ``tokens`` as the session's, keep them in the store and plan their refresh."""
        await self.sign_in(tokens, self.provider.claims(tokens))

    @on_loop
    async def sign_in(self, tokens: OAuthTokenSet, user: dict[str, Any]) -> None:
        """Begin a session: ``tokens``, and the claims about whose they are."""
        self._generation += 1
        self._loaded = True  # what the store held before is history
        await self._keep(tokens, user=user or None, authorizing=False, ended=False)

    def note_authorizing(self, *, authorizing: bool) -> None:
        """Note whether a sign-in is open in a browser. On the background loop."""
        error = None if authorizing else self._snap.error
        self._publish(authorizing=authorizing, error=error)

    def note_login_failed(self, error: AuthenticationError, *, authorizing: bool) -> None:
        """Note that a sign-in failed, and whether another is still open. On the background loop."""
        self._publish(error=bare(error), authorizing=authorizing)
        self._wake(error)

    # -- staying signed in --------------------------------------------------------------------------------------

    @on_loop
    async def refresh(self) -> OAuthTokenSet:
        """Renew the access token now, whatever its age. Callers at the same time share one refresh.

        Raises:
            LoginRequired: Nobody is signed in.
            TokenRefreshError: The refresh failed; code ``invalid_grant`` means that a new sign-in is needed.
        """
        await self._load()
        await self._refresh_once()
        if self._snap.tokens is None:
            _nobody()
        return self._snap.tokens

    async def _refresh_once(self) -> None:
        running = self._refreshing
        if running is None or running.done() or running.get_loop() is not get_loop():
            running = self._refreshing = asyncio.ensure_future(self._refresh())
            running.add_done_callback(lambda task: task.cancelled() or task.exception())  # seen, also when nobody waits
        await asyncio.shield(running)

    async def _refresh(self) -> None:
        old, generation = self._snap.tokens, self._generation
        if old is None:
            _nobody()
        refresh_token = self._renewable(old)
        self._publish(refreshing=True)
        try:
            new = await self.provider.refresh_tokens(refresh_token)
            self.provider.check_continuity(old, new)
        except TokenRefreshError as error:
            if generation == self._generation:
                await self._refresh_failed(error)
            raise
        if generation != self._generation:  # signed out or in anew meanwhile: these tokens are nobody's
            await self.discard(new)
            return
        new = new.succeed(old)
        await self._keep(new)

    async def _keep(self, tokens: OAuthTokenSet, **changes: Any) -> None:
        """Put new tokens into the store, then in place of the old; a store that fails must not cost the session."""
        error = None
        try:
            await self.token_store.save(self.session_key, tokens)
        except Exception as failure:  # noqa: BLE001 - stores are anybody's
            log.warning("the token store could not save (%s)", type(failure).__name__)
            error = AuthenticationError(
                "You are signed in, but the tokens could not be stored: a restarted kernel will ask again.",
                code="store_failed",
            )
        self._failures = 0
        self._publish(tokens=tokens, refreshing=False, error=error, **changes)
        self._schedule()

    def _renewable(self, tokens: OAuthTokenSet) -> str:
        """Return the refresh token if this process may use it; nothing has changed if not."""
        if tokens.refresh_token is None or self._snap.ended:
            raise TokenRefreshError("This sign-in cannot be renewed. Sign in again.", code="no_refresh_token")
        if os.getpid() != self._owner:
            raise TokenRefreshError(
                "A forked process must not renew the token that its parent uses too. Read session.access_token before "
                "forking.",
                code="forked",
            )
        return tokens.refresh_token

    async def _refresh_failed(self, error: TokenRefreshError) -> None:
        """Keep the tokens and try again later; or, when that is hopeless, end the session."""
        if _is_final(error):
            await self._end(error)
        else:
            self._failures += 1
            self._publish(refreshing=False, error=bare(error))
            self._schedule(retry_after=error.retry_after or 0.0)

    async def _end(self, error: TokenError) -> None:
        """Note, once, that only a new sign-in helps. What is left of the access token's life stays usable."""
        if self._snap.ended:
            return
        await self.token_store.delete(self.session_key)
        self._publish(refreshing=False, ended=True, error=bare(error))
        if self.on_reauth_required is not None:
            Serial()(self.on_reauth_required)

    def _schedule(self, retry_after: float = 0.0) -> None:
        """Plan the next look at the token: when it is due, or after a failure with growing pauses."""
        due = self._snap.due(self.refresh_buffer_seconds)
        if self._failures:
            pause = min(2.0**self._failures, _BACKOFF_CAP) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
            due = time.time() + max(pause, retry_after)
        self._cancel_timer()
        self._wait_until(due)

    def _wait_until(self, due: float) -> None:
        """Tend to the token when it is ``due`` by the wall clock, if the session still exists then."""
        wait = due - time.time()
        if wait <= 0:
            self._tending = asyncio.ensure_future(self._tend())
        elif due < math.inf:
            wake = weakref.WeakMethod(self._wait_until)
            self._timer = get_loop().call_later(min(wait, _NAP), lambda: (again := wake()) and again(due))

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _tend(self) -> None:
        """Do what is due: renew the token, or see that it is over."""
        if self._snap.tokens is None or self._snap.ended:
            return
        if self._snap.tokens.refresh_token is None:
            await self._end(TokenExpiredError("Your sign-in is over and cannot be renewed. Sign in again."))
            return
        with contextlib.suppress(TokenRefreshError):  # noted, and the next look is planned
            await self._refresh_once()

    # -- signing out --------------------------------------------------------------------------------------------

    @on_loop
    async def logout(self) -> None:
        """Sign out: forget the tokens here and in the store, then revoke them at the provider (at most 5 s)."""
        await self._load()
        tokens = self._snap.tokens
        self._generation += 1
        self._cancel_timer()
        self._publish(tokens=None, user=None, error=None, refreshing=False, ended=False)
        await self.token_store.delete(self.session_key)
        if tokens is not None:
            await self.discard(tokens)

    async def discard(self, tokens: OAuthTokenSet) -> None:
        """Revoke the refresh token, then the access token (RFC 7009 §2.1); a refusal changes nothing here."""
        try:
            await asyncio.wait_for(self._revoke_both(tokens), _REVOKE_DEADLINE)
        except (TokenError, asyncio.TimeoutError) as error:
            log.warning("%s: tokens not revoked (%s)", self.provider.label, getattr(error, "code", "timeout"))

    async def _revoke_both(self, tokens: OAuthTokenSet) -> None:
        if tokens.refresh_token is not None:
            await self.provider.revoke_token(tokens.refresh_token, "refresh_token")
        await self.provider.revoke_token(tokens.access_token, "access_token")

    # -- being shown ---------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        name = f" as {self.display_name!r}" if self._snap.user else ""
        return f"<SessionManager {self._snap.status}{name} at {self.provider.label}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        from .widget import widget_for

        return widget_for(self)._repr_mimebundle_(**kwargs)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "A session holds secrets and a background task, so it cannot be pickled or copied. Send "
            "session.access_token to the other process, or create a session there."
        )


def _is_final(error: TokenRefreshError) -> bool:
    """Whether waiting cannot help: the provider refuses, or what it gave must not be trusted."""
    return error.code in {"invalid_grant", "identity_changed"} or error.code.startswith("id_token_")


def _nobody() -> NoReturn:
    raise LoginRequired("Nobody is signed in. Display the session in a cell and sign in, or call session.login().")
