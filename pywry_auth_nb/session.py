"""`SessionManager`: one sign-in, kept alive."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

import traitlets as t

from ._loop import Serial, bare, get_loop, on_loop, run
from ._snapshot import Snapshot, View, announce
from .errors import (
    AuthenticationError,
    AuthFlowTimeout,
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
_FINAL = frozenset({"invalid_grant", "identity_changed"})  # refresh failures that no waiting mends


class SessionManager(t.HasTraits):
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

    status = View(lambda self: self._snap.status, "signed_out, authorizing, signed_in, refreshing or reauth_required")
    access_token = View(lambda self: self._read_token(), "A token that is valid now. Raises LoginRequired or TokenError")
    expires_at = View(lambda self: self._seen(self._snap)["expires_at"], "Epoch seconds, or None")
    user = View(lambda self: self._snap.user, "Claims about who is signed in, or None")
    error = View(lambda self: self._snap.error and bare(self._snap.error), "Why the last thing tried failed, or None")

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
        self._snap = Snapshot()
        self._owner = os.getpid()
        self._generation = 0  # counts sign-ins and sign-outs: what was begun before one is void after it
        self._failures = 0
        self._loaded = False
        self._loading: asyncio.Task[None] | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._observers = Serial()
        self._mirrors: list[tuple[weakref.WeakMethod[Callable[[], None]], Serial]] = []

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
        if tokens is not None and generation == self._generation:
            self._publish(tokens=tokens, user=self.provider.claims(tokens) or None)
            self._schedule()
        self._loaded = True

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
        await self.token_store.save(self.session_key, tokens)
        self._failures = 0
        self._publish(tokens=tokens, user=user or None, error=None, authorizing=False, refreshing=False, ended=False)
        self._schedule()

    def note_authorizing(self, authorizing: bool) -> None:  # noqa: FBT001 - says what it notes
        """Note whether a sign-in is open in a browser. On the background loop."""
        error = None if authorizing else self._snap.error
        self._publish(authorizing=authorizing, error=error)

    def note_login_failed(self, error: AuthenticationError, *, authorizing: bool) -> None:
        """Note that a sign-in failed, and whether another is still open. On the background loop."""
        self._publish(error=bare(error), authorizing=authorizing)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(error)

    @on_loop
    async def wait_signed_in(self, timeout: float) -> None:
        """Wait until somebody is signed in, or the next attempt to fails.

        Raises:
            AuthFlowTimeout: Neither happened within ``timeout`` seconds.
            AuthenticationError: What the attempt failed with.
        """
        await self._load()
        if self._snap.status in {"signed_in", "refreshing"}:
            return
        waiter: asyncio.Future[None] = get_loop().create_future()
        self._waiters.append(waiter)
        try:
            await asyncio.wait_for(waiter, timeout)
        except asyncio.TimeoutError:
            raise AuthFlowTimeout(
                f"Nobody signed in within {timeout:.0f} s. Run the cell again, or use the widget.", timeout
            ) from None
        finally:
            self._waiters.remove(waiter)

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
        try:
            new = await self._renewed(old)
        except TokenRefreshError as error:
            if generation == self._generation:
                await self._refresh_failed(error)
            raise
        if generation != self._generation:  # signed out or in anew meanwhile: these tokens are nobody's
            await self.discard(new)
            return
        await self.token_store.save(self.session_key, new)
        self._failures = 0
        self._publish(tokens=new, refreshing=False, error=None, ended=False)
        self._schedule()

    async def _renewed(self, old: OAuthTokenSet) -> OAuthTokenSet:
        if old.refresh_token is None or self._snap.ended:
            raise TokenRefreshError("This sign-in cannot be renewed. Sign in again.", code="no_refresh_token")
        if os.getpid() != self._owner:
            raise TokenRefreshError(
                "A forked process must not renew the token that its parent uses too. Read session.access_token before "
                "forking.",
                code="forked",
            )
        self._publish(refreshing=True)
        new = await self.provider.refresh_tokens(old.refresh_token)
        self.provider.check_continuity(old, new)
        return new.succeed(old)

    async def _refresh_failed(self, error: TokenRefreshError) -> None:
        """Keep the tokens and try again later; or, when that is hopeless, end the session and say so once."""
        if error.code in _FINAL or (error.code == "no_refresh_token" and time.time() >= self._snap.over):
            await self._end(error)
        else:
            self._failures += 1
            self._publish(refreshing=False, error=bare(error))
            self._schedule(retry_after=error.retry_after)

    async def _end(self, error: TokenError) -> None:
        if self._snap.ended:
            return
        await self.token_store.delete(self.session_key)
        self._publish(refreshing=False, ended=True, error=bare(error))
        if self.on_reauth_required is not None:
            Serial()(self.on_reauth_required)

    def _schedule(self, retry_after: float | None = None) -> None:
        """Plan the next look at the token."""
        self._cancel_timer()
        due = self._snap.due(self.refresh_buffer_seconds)
        if self._failures:
            due = time.time() + max(retry_after or 0.0, random.uniform(0.5, 1.0) * min(2.0**self._failures, _BACKOFF_CAP))  # noqa: S311
        nap = min(max(due - time.time(), 0.0), _NAP)
        if due < float("inf"):
            self._timer = get_loop().call_later(nap, _look, weakref.ref(self), due)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_due(self) -> None:
        if self._snap.ended:
            return
        asyncio.ensure_future(self._refresh_once()).add_done_callback(lambda task: task.cancelled() or task.exception())

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
        """Revoke the refresh token, then the access token (RFC 7009 §2.1); what the provider says changes nothing here."""
        try:
            await asyncio.wait_for(self._revoke_both(tokens), _REVOKE_DEADLINE)
        except (TokenError, asyncio.TimeoutError) as error:
            log.warning("%s: tokens not revoked (%s)", self.provider.label, getattr(error, "code", "timeout"))

    async def _revoke_both(self, tokens: OAuthTokenSet) -> None:
        if tokens.refresh_token is not None:
            await self.provider.revoke_token(tokens.refresh_token, "refresh_token")
        await self.provider.revoke_token(tokens.access_token, "access_token")

    # -- being seen ---------------------------------------------------------------------------------------------

    def on_change(self, mirror: Callable[[], None]) -> None:
        """Call the bound method ``mirror`` after every change, on a thread of its own, as long as its object lives."""
        self._mirrors.append((weakref.WeakMethod(mirror), Serial()))

    def _publish(self, **changes: Any) -> None:
        """Replace the snapshot and tell everybody. On the background loop."""
        before, self._snap = self._snap, replace(self._snap, **changes)
        after = self._snap
        self._observers(lambda: announce(self, self._seen(before), self._seen(after)))
        self._mirrors = [(mirror, serial) for mirror, serial in self._mirrors if mirror() is not None]
        for mirror, serial in self._mirrors:
            serial(lambda mirror=mirror: (call := mirror()) and call())  # type: ignore[misc]
        if after.status == "signed_in":
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)

    @staticmethod
    def _seen(snap: Snapshot) -> dict[str, Any]:
        tokens = snap.tokens
        return {
            "access_token": tokens.access_token if tokens else None,
            "expires_at": tokens.expires_at if tokens else None,
            "user": snap.user,
            "error": snap.error,
            "status": snap.status,
        }

    def __repr__(self) -> str:
        name = f" as {self.display_name!r}" if self._snap.user else ""
        return f"<SessionManager {self._snap.status}{name} at {self.provider.label}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        from .widget import widget_for

        return widget_for(self)._repr_mimebundle_(**kwargs)  # noqa: SLF001 - IPython's display protocol

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "A session holds secrets and a background task, so it cannot be pickled or copied. Send session.access_token "
            "to the other process, or create a session there."
        )


def _look(ref: weakref.ref[SessionManager], due: float) -> None:
    """Wake up for a session, if it still exists: renew when due by the wall clock, else nap again."""
    session = ref()
    if session is None:
        return
    if time.time() >= due:
        session._on_due()  # noqa: SLF001 - same module
    else:
        session._timer = get_loop().call_later(min(due - time.time(), _NAP), _look, ref, due)  # noqa: SLF001


def _nobody() -> NoReturn:
    raise LoginRequired("Nobody is signed in. Display the session in a cell and sign in, or call session.login().")
