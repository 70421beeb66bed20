"""`SessionManager`: one sign-in, kept alive."""

from __future__ import annotations

import time
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn

import traitlets as t

from ._io.loop import run
from ._session.engine import SessionEngine
from ._session.logout import LogoutResult
from ._session.notifier import Notifier
from ._session.record_sync import current_user
from ._sign_in.sign_ins import SignIns
from .errors import AuthenticationError, TokenError, TokenExpiredError, without_traceback
from .token_store import MemoryTokenStore
from .tokens import bearer

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


class ComputedTrait(t.TraitType[Any, Any]):
    """A read-only trait computed from its owner, so that it is right at once on every thread.

    Observers hear of a change from the session's notifier; the value itself is never stored twice.
    """

    def __init__(self, read: Callable[[Any], Any], help: str) -> None:  # noqa: A002 - traitlets' name
        super().__init__(None, allow_none=True, read_only=True, help=help)
        self._read = read

    def __get__(self, obj: t.HasTraits | None, cls: type[Any] | None = None) -> Any:
        """Return what the owner shows now."""
        return self if obj is None else self._read(obj)


class AccessTokenTrait(ComputedTrait):
    """The access token. While it is fresh, a read is one look at a tuple and one at the clock."""

    def __get__(self, obj: t.HasTraits | None, cls: type[Any] | None = None) -> Any:
        """Return a token that is valid now."""
        __tracebackhide__ = True  # IPython's traceback ends in the cell
        if obj is None:
            return self
        token, _, until = obj._engine.fresh  # type: ignore[attr-defined]  # noqa: SLF001 - of its own class
        return token if time.time() < until else self._read(obj)


def _read_token(session: SessionManager) -> str:
    """Return a token that is valid now, after refreshing it in the background where that is due."""
    __tracebackhide__ = True
    try:
        return run(session._engine.get_access_token(), _READ_DEADLINE)  # noqa: SLF001 - the trait's own
    except AuthenticationError as error:
        if type(error) is not AuthenticationError or error.code != "timeout":
            raise
        late = TokenExpiredError(error.message, code="timeout")
    raise late


class SessionManager(t.HasTraits):
    """One sign-in at one provider: holds its tokens, renews them in the background, and ends it.

    Args:
        provider: Where the user signs in.
        token_store: Where the tokens rest; in this kernel's memory when left out.
        session_key: Tells several sessions at one provider apart.
        session_store: Accepted for the sake of ``pywry.auth``; not used.
        refresh_buffer_seconds: How many seconds before its end an access token is renewed.
        on_reauth_required: Called once, on a thread of its own, when the sign-in has ended and a new one is needed.
        allowed_origins: Where ``session.auth`` may send the token, such as ``["https://api.example.org"]``; None for
            wherever a request is made to.

    All traits are read-only. They change together, and observers run on a thread of their own, in order.
    """

    status = ComputedTrait(
        attrgetter("_engine.state.status"), "signed_out, authorizing, signed_in, refreshing or reauth_required"
    )
    access_token = AccessTokenTrait(_read_token, "A token that is valid now. Raises LoginRequired or TokenError")
    expires_at = ComputedTrait(
        lambda self: self._engine.state.tokens and self._engine.state.tokens.expires_at,
        "When the access token ends: epoch seconds, or None",
    )
    user = ComputedTrait(attrgetter("_engine.state.user"), "Claims about who is signed in, or None")
    error = ComputedTrait(
        lambda self: self._engine.state.error and without_traceback(self._engine.state.error),
        "Why the last thing tried failed, or None",
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
        self.allowed_origins = allowed_origins
        if allowed_origins is not None:
            self.auth  # noqa: B018 - refuses what is no origin, here and now
        self._engine = SessionEngine(
            provider,
            self.token_store,
            f"{session_key} {provider.identity} {current_user()}",
            Notifier(self),
            watched=token_store is not None,
            refresh_buffer=refresh_buffer_seconds,
        )
        self._engine.on_reauth_required = on_reauth_required
        self._sign_ins = SignIns(self._engine)
        self._widget: Any = None  # a weak reference to the widget that shows the session wherever it is displayed

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
        __tracebackhide__ = True
        from .providers import create_provider_from_settings
        from .settings import OAuth2Settings
        from .token_store.factory import store_from_settings

        settings = OAuth2Settings() if settings is None else settings
        kwargs = {"refresh_buffer_seconds": getattr(settings, "refresh_buffer_seconds", 60)} | kwargs
        if kwargs.get("token_store") is None:
            kwargs["token_store"] = store_from_settings(settings)
        session = cls(create_provider_from_settings(settings), **kwargs)
        session._sign_ins.use_pkce = getattr(settings, "use_pkce", True)
        return session

    @property
    def store_key(self) -> str:
        """Under which name the tokens rest in the store.

        The session's key alone would not do: where a store is shared, the tokens of one provider, client or person
        must never be taken for those of another.
        """
        return self._engine.store_key

    @property
    def refresh_buffer_seconds(self) -> float:
        """How many seconds before its end an access token is renewed."""
        return self._engine.refresh_buffer

    @refresh_buffer_seconds.setter
    def refresh_buffer_seconds(self, seconds: float) -> None:
        self._engine.refresh_buffer = seconds

    @property
    def on_reauth_required(self) -> Callable[[], None] | None:
        """Called once, on a thread of its own, when the sign-in has ended and a new one is needed."""
        return self._engine.on_reauth_required

    @on_reauth_required.setter
    def on_reauth_required(self, callback: Callable[[], None] | None) -> None:
        self._engine.on_reauth_required = callback

    # -- reading ------------------------------------------------------------------------------------------------------

    async def get_access_token(self) -> str:
        """Return a token that is valid now, renewing it when it is near its end.

        Raises:
            LoginRequired: No user is signed in.
            TokenExpiredError: The token is over and could not be renewed; ``code`` says why.
        """
        __tracebackhide__ = True
        token, _, until = self._engine.fresh
        if time.time() < until:
            return token
        return await self._engine.get_access_token()

    @property
    def auth(self) -> SessionAuth:
        """Credentials for httpx and requests: ``httpx.Client(auth=session.auth)``; see :class:`SessionAuth`."""
        from .auth import SessionAuth

        return SessionAuth(self, self.allowed_origins)

    @property
    def headers(self) -> dict[str, str]:
        """The header that carries the token (RFC 6750 §2.1), valid now: take it anew for every request.

        Raises:
            LoginRequired: No user is signed in.
            TokenExpiredError: The token is over and could not be renewed.
        """
        __tracebackhide__ = True
        _, header, until = self._engine.fresh
        return {"Authorization": header if time.time() < until else bearer(self.access_token)}

    def userinfo(self) -> dict[str, Any]:
        """Ask the provider who is signed in, and wait for the answer (OIDC Core §5.3). ``session.user`` does not ask.

        Returns:
            The claims; ``{}`` when the provider has no such endpoint.

        Raises:
            LoginRequired: No user is signed in.
            TokenError: The provider could not be asked, or names another person (code ``userinfo_sub``, §5.3.2).
        """
        __tracebackhide__ = True
        claims = run(self.provider.get_userinfo(self.access_token), _READ_DEADLINE)
        subject = (self.user or {}).get("sub")
        if claims and subject and claims.get("sub") != subject:
            raise TokenError(code="userinfo_sub")
        return claims

    @property
    def display_name(self) -> str:
        """A name for people to read, from claims that the provider chose: plain text, never HTML."""
        return self._engine.state.display_name

    async def initialize(self) -> OAuthTokenSet | None:
        """Load the tokens of an earlier sign-in from the store, renewing them where they are due.

        Returns:
            The tokens, or None when there are none or they cannot be renewed.
        """
        return await self._engine.initialize()

    # -- signing in and out -------------------------------------------------------------------------------------------

    def login(self, timeout: float = 300.0) -> AuthFlowResult:
        """Show the sign-in widget and wait in this cell until there is a token to work with.

        Returns at once when the user is signed in already, with the widget shown all the same.

        Args:
            timeout: Seconds to wait at most. The widget stays usable after that.

        Raises:
            LoginRequired: There is no front end that could show anything (papermill, nbconvert, CI).
            AuthFlowCancelled: Cancelled here, or declined at the provider.
            AuthFlowTimeout: The user did not sign in within ``timeout``.
            TokenError: The provider's answer was refused.
            AuthenticationError: The base of these, also raised as itself: the provider refused the request
                (``invalid_scope``, ``server_error``, …), Jupyter is not reached over https (``insecure_redirect_uri``).
        """
        __tracebackhide__ = True
        from ._sign_in import notebook

        return notebook.login(self._engine, self._show, timeout)

    async def save_tokens(self, tokens: OAuthTokenSet) -> None:
        """Take ``tokens`` as the session's, keep them in the store and plan their refresh."""
        await self._engine.sign_in(tokens, self.provider.claims(tokens))

    async def refresh(self) -> OAuthTokenSet:
        """Renew the access token now, whatever its age. Callers at the same time share one refresh.

        Raises:
            LoginRequired: No user is signed in.
            TokenRefreshError: The refresh failed; code ``invalid_grant`` means that a new sign-in is needed.
        """
        return await self._engine.refresh()

    async def logout(self) -> LogoutResult:
        """Sign out: forget the tokens here and in the store, then revoke them at the provider (at most 5 s).

        Returns:
            What became of each. No user is signed in here afterwards, whatever it says.
        """
        return await self._sign_ins.sign_out()

    # -- being shown --------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        name = f" as {self.display_name!r}" if self.user else ""
        return f"<SessionManager {self.status}{name} at {self.provider.label}>"

    def _show(self) -> None:
        from IPython.display import display

        display(self)  # type: ignore[no-untyped-call]

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        from .widget import widget_for

        data, metadata = widget_for(self)._repr_mimebundle_(**kwargs)
        return {**data, "text/plain": repr(self)}, metadata

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "A session holds secrets and a background task, so it cannot be pickled or copied. Send "
            "session.access_token to the other process, or create a session there."
        )
