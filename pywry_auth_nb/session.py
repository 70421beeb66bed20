"""`SessionManager`: one sign-in, kept alive."""

from __future__ import annotations

import asyncio
import contextlib
import time
from operator import methodcaller
from typing import TYPE_CHECKING, Any, NoReturn

from ._io.loop import on_background, on_loop, run
from ._renewal import login_required_error
from ._sharing import FRESH, PATIENCE
from ._signing import LogoutResult, Signing
from ._state import ComputedTrait
from .errors import (
    AuthenticationError,
    LoginRequired,
    TokenError,
    TokenExpiredError,
    TokenRefreshError,
)
from .token_store import MemoryTokenStore

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from typing_extensions import Self

    from ._sign_in.authorization import AuthFlowResult
    from .auth import SessionAuth
    from .providers import OAuthProvider
    from .token_store import TokenStore
    from .tokens import OAuthTokenSet

__all__ = ["LogoutResult", "SessionManager"]

_READ_DEADLINE = 30.0  # seconds that reading a token may take when it has to be renewed
_PATIENCE = 3.0  # seconds that a reader waits for a new token while the old one is still good
_NAME_LENGTH = 100


class SessionManager(Signing):
    """One sign-in at one provider: holds its tokens, renews them in the background, and ends it.

    Args:
        provider: Where one signs in.
        token_store: Where the tokens rest; in this kernel's memory when left out.
        session_key: Tells several sessions at one provider apart.
        session_store: Accepted for the sake of ``pywry.auth``; not used.
        refresh_buffer_seconds: How many seconds before its end an access token is renewed.
        on_reauth_required: Called once, on a thread of its own, when the sign-in has ended and a new one is needed.
        allowed_origins: Where ``session.auth`` may send the token, such as ``["https://api.example.org"]``; None for
            wherever a request is made to.

    All traits are read-only. They change together, and observers run on a thread of their own, in order.
    """

    access_token = ComputedTrait(
        methodcaller("_read_token"), "A token that is valid now. Raises LoginRequired or TokenError"
    )

    def __init__(
        self,
        provider: OAuthProvider,
        token_store: TokenStore | None = None,
        session_key: str = "default",
        session_store: Any = None,
        refresh_buffer_seconds: int = 60,
        on_reauth_required: Callable[[], None] | None = None,
        *,
        allowed_origins: Collection[str] | None = None,
    ) -> None:
        super().__init__()
        self.provider = provider
        self.token_store = MemoryTokenStore() if token_store is None else token_store
        self.session_key = session_key
        self.session_store = session_store
        self.refresh_buffer_seconds = refresh_buffer_seconds
        self.on_reauth_required = on_reauth_required
        self.allowed_origins = allowed_origins
        if allowed_origins is not None:
            self.auth  # noqa: B018 - refuses what is no origin, here and now
        self.flow_options: dict[str, Any] = {}  # what the settings say about signing in
        self._private = token_store is None
        if not self._private:
            self._begin_watching()

    @classmethod
    def from_settings(cls, settings: Any = None, **kwargs: Any) -> Self:
        """Return a session for a provider and a token store that are configured elsewhere.

        Args:
            settings: An :class:`OAuth2Settings`, or anything with its attributes; made from the environment and the
                configuration files when left out.
            kwargs: What this class takes besides.

        Raises:
            ConfigurationError: Something is missing or wrong.
        """
        from .providers import create_provider_from_settings
        from .settings import OAuth2Settings
        from .token_store.factory import store_from_settings

        settings = OAuth2Settings() if settings is None else settings
        kwargs = {"refresh_buffer_seconds": getattr(settings, "refresh_buffer_seconds", 60)} | kwargs
        if kwargs.get("token_store") is None:
            kwargs["token_store"] = store_from_settings(settings)
        session = cls(create_provider_from_settings(settings), **kwargs)
        session.flow_options = {"use_pkce": getattr(settings, "use_pkce", True)}
        return session

    # -- reading ------------------------------------------------------------------------------------------------

    def _read_token(self) -> str:
        """Return a token that is valid now: at once while it is fresh, else after renewing it in the background."""
        __tracebackhide__ = True
        if self._fresh_token() and not on_background() and time.monotonic() >= self._looked_at + FRESH:
            with contextlib.suppress(AuthenticationError):  # a store that is slow must not cost a good token
                run(self._glance(), 2 * PATIENCE)
        try:
            return self._fresh_token() or run(self.get_access_token(), _READ_DEADLINE)
        except AuthenticationError as error:
            if type(error) is not AuthenticationError or error.code != "timeout":
                raise
            late = TokenExpiredError(error.message, code="timeout")
        raise late

    def _fresh_token(self) -> str | None:
        """Return the access token if it needs no renewing yet."""
        snap = self._snap
        fresh = snap.tokens is not None and time.time() < self._due
        return snap.tokens.access_token if snap.tokens is not None and fresh else None

    @property
    def auth(self) -> SessionAuth:
        """Credentials for httpx and requests: ``httpx.Client(auth=session.auth)``; see :class:`SessionAuth`."""
        from .auth import SessionAuth

        return SessionAuth(self, self.allowed_origins)

    @property
    def headers(self) -> dict[str, str]:
        """The header that carries the token (RFC 6750 §2.1), valid now: take it anew for every request.

        Raises:
            LoginRequired: Nobody is signed in.
            TokenExpiredError: The token is over and could not be renewed.
        """
        from .auth import authorization

        return {"Authorization": authorization(self.access_token)}

    def userinfo(self) -> dict[str, Any]:
        """Ask the provider who is signed in, and wait for the answer (OIDC Core §5.3). ``session.user`` asks nobody.

        Returns:
            The claims; ``{}`` when the provider has no such endpoint.

        Raises:
            LoginRequired: Nobody is signed in.
            TokenError: The provider could not be asked, or names somebody else (code ``userinfo_sub``, §5.3.2).
        """
        claims = run(self.provider.get_userinfo(self.access_token), _READ_DEADLINE)
        subject = (self._snap.user or {}).get("sub")
        if claims and subject and claims.get("sub") != subject:
            raise TokenError("The provider names somebody else than who signed in. Sign in again.", code="userinfo_sub")
        return claims

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
        await self._arrive()
        error = await self._renew_if_due()
        if error is None and self._snap.tokens is not None and time.time() >= self._snap.over:
            error = await self._renew_if_due()  # the process stood still, and the new token is over, too
        if self._snap.ended:  # why is not shown any more once another sign-in has begun
            return self._usable(self._ended_by)
        return self._usable(error or self._failure or self._snap.error)

    async def _arrive(self) -> None:
        """Know what the store has; and if it has nothing, what the provider has for whoever runs this.

        Raises:
            LoginRequired: It has nothing, though it could; ``code`` says why.
        """
        await self._load()
        await self._glance()
        if not self.provider.interactive and self._knows_of_nobody():
            try:
                await self._take_once()
            except TokenError as error:
                raise LoginRequired(error.message, code=error.code) from None

    async def _renew_if_due(self) -> TokenRefreshError | None:
        """Renew the token if it is near its end, for a while; return what went wrong."""
        now, snap = time.time(), self._snap
        if snap.tokens is not None and now >= max(self._due, self._resume_at):
            patience = min(_PATIENCE, snap.over - now) if now < snap.over else None
            try:
                with contextlib.suppress(asyncio.TimeoutError):  # then it goes on in the background
                    await asyncio.wait_for(self._refresh_once(), patience)
            except TokenRefreshError as failure:
                return failure
        return None

    def _usable(self, error: AuthenticationError | None) -> str:
        """Return the access token if there is one that is not over; else raise, saying why."""
        snap = self._snap
        if snap.tokens is None:
            raise login_required_error(snap.error)
        if time.time() < snap.over:
            return snap.tokens.access_token
        if error is None:
            raise TokenExpiredError("The access token is already over. Try again in a moment.")
        raise TokenExpiredError(error.message, code=error.code, retry_after=getattr(error, "retry_after", None))

    # -- signing in ---------------------------------------------------------------------------------------------

    def login(self, timeout: float = 300.0) -> AuthFlowResult:
        """Show the sign-in widget and wait in this cell until somebody has signed in.

        Returns at once when somebody is signed in already, with the widget shown all the same.

        Args:
            timeout: Seconds to wait at most. The widget stays usable after that.

        Raises:
            LoginRequired: There is no front end that could show anything (papermill, nbconvert, CI).
            AuthFlowCancelled: Cancelled here, or declined at the provider.
            AuthFlowTimeout: Nobody signed in within ``timeout``.
            TokenError: The provider's answer was refused.
            AuthenticationError: The base of these, also raised as itself: the provider refused the request
                (``invalid_scope``, ``server_error``, …), Jupyter is not reached over https (``insecure_redirect_uri``).
        """
        from .login import login

        return login(self, timeout)

    # -- staying signed in --------------------------------------------------------------------------------------

    @on_loop
    async def refresh(self) -> OAuthTokenSet:
        """Renew the access token now, whatever its age. Callers at the same time share one refresh.

        Raises:
            LoginRequired: Nobody is signed in.
            TokenRefreshError: The refresh failed; code ``invalid_grant`` means that a new sign-in is needed.
        """
        await self._arrive()
        await self._refresh_once()
        if self._snap.tokens is None:
            raise login_required_error()
        return self._snap.tokens

    # -- being shown ---------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        name = f" as {self.display_name!r}" if self._snap.user else ""
        return f"<SessionManager {self._snap.status}{name} at {self.provider.label}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        from .widget import widget_for

        data, metadata = widget_for(self)._repr_mimebundle_(**kwargs)
        return {**data, "text/plain": repr(self)}, metadata

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "A session holds secrets and a background task, so it cannot be pickled or copied. Send "
            "session.access_token to the other process, or create a session there."
        )
