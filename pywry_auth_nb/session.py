"""`SessionManager`: a sign-in that is kept alive."""

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

_READ_DEADLINE = 30.0  # seconds that a read may take if the token must be renewed first


class ComputedTrait(t.TraitType[Any, Any], property):
    """A read-only trait whose value is computed from its owner, so that every thread sees it up to date.

    The session's notifier tells observers of changes; the trait stores no value of its own. It is a property as well,
    because CPython calls the getter of one without a Python frame for ``__get__``.
    """

    def __init__(self, read: Callable[[Any], Any], help: str) -> None:  # noqa: A002 - traitlets' name
        t.TraitType.__init__(self, None, allow_none=True, read_only=True, help=help)
        property.__init__(self, read, doc=help)

    if TYPE_CHECKING:

        def __get__(self, obj: Any, cls: type[Any] | None = None) -> Any: ...

    else:
        __get__ = property.__get__


def _read_access_token(session: SessionManager) -> str:
    """Return a valid access token. While it is fresh, this only unpacks a tuple and checks the clock."""
    token, _, until = session._engine.fresh  # noqa: SLF001 - the trait belongs to the class
    return token if time.time() < until else _renewed(session)


def _renewed(session: SessionManager) -> str:
    """Return a valid access token, renewing it on the background loop first if necessary."""
    __tracebackhide__ = True  # IPython's traceback ends in the cell
    try:
        return run(session._engine.get_access_token(), _READ_DEADLINE)  # noqa: SLF001 - the trait belongs to the class
    except AuthenticationError as error:
        if type(error) is not AuthenticationError or error.code != "timeout":
            raise
        late = TokenExpiredError(error.message, code="timeout")
    raise late


class SessionManager(t.HasTraits):
    """A session: holds the tokens of one sign-in, renews them in the background, and signs out.

    Args:
        provider: The provider at which the user signs in.
        token_store: Where to store the tokens; this kernel's memory when left out.
        session_key: Distinguishes several sessions at one provider.
        session_store: Accepted for compatibility with ``pywry.auth``; not used.
        refresh_buffer_seconds: How many seconds before its expiry an access token is renewed.
        on_reauth_required: Called once, on its own thread, when the sign-in has ended and a new one is needed.
        allowed_origins: Origins to which ``session.auth`` may send the token, such as ``["https://api.example.org"]``;
            None allows any.

    All traits are read-only. They change together; observers are called in order, on their own thread.
    """

    status = ComputedTrait(
        attrgetter("_engine.state.status"), "signed_out, authorizing, signed_in, refreshing or reauth_required"
    )
    access_token = ComputedTrait(_read_access_token, "A valid access token; a read raises LoginRequired or TokenError")
    expires_at = ComputedTrait(
        lambda self: self._engine.state.tokens and self._engine.state.tokens.expires_at,
        "When the access token expires, in epoch seconds, or None",
    )
    user = ComputedTrait(attrgetter("_engine.state.user"), "Claims about the signed-in user, or None")
    error = ComputedTrait(
        lambda self: self._engine.state.error and without_traceback(self._engine.state.error),
        "Why the last operation failed, or None",
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
        self._session_key = session_key
        self.session_store = session_store
        self.allowed_origins = allowed_origins
        self._engine = SessionEngine(
            provider,
            MemoryTokenStore() if token_store is None else token_store,
            f"{session_key} {provider.identity} {current_user()}",
            Notifier(self),
            watched=token_store is not None,
            refresh_buffer=refresh_buffer_seconds,
        )
        self._engine.on_reauth_required = on_reauth_required
        self._sign_ins = SignIns(self._engine)
        self._widget: Any = None  # a weak reference to the widget that displays this session
        if allowed_origins is not None:
            self.auth  # noqa: B018 - refuses what is not an origin now, not at the first request

    @classmethod
    def from_settings(cls, settings: Any = None, **kwargs: Any) -> Self:
        """Create a session from settings.

        Args:
            settings: An :class:`OAuth2Settings`, or an object with its attributes; read from the environment and the
                configuration files when left out.
            kwargs: Further arguments of this class.

        Raises:
            ConfigurationError: A setting is missing or wrong.
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
    def provider(self) -> OAuthProvider:
        """The provider at which the user signs in."""
        return self._engine.provider

    @property
    def token_store(self) -> TokenStore:
        """The store of the tokens."""
        return self._engine.store

    @property
    def session_key(self) -> str:
        """The key that distinguishes several sessions at one provider."""
        return self._session_key

    @property
    def store_key(self) -> str:
        """The key of the tokens in the store.

        It names provider, client and user besides ``session_key``, so that sessions that share a store never read
        each other's tokens.
        """
        return self._engine.store_key

    @property
    def refresh_buffer_seconds(self) -> float:
        """How many seconds before its expiry an access token is renewed."""
        return self._engine.refresh_buffer

    @refresh_buffer_seconds.setter
    def refresh_buffer_seconds(self, seconds: float) -> None:
        self._engine.refresh_buffer = seconds

    @property
    def on_reauth_required(self) -> Callable[[], None] | None:
        """Callback for the end of the sign-in: called once, on its own thread, when a new one is needed."""
        return self._engine.on_reauth_required

    @on_reauth_required.setter
    def on_reauth_required(self, callback: Callable[[], None] | None) -> None:
        self._engine.on_reauth_required = callback

    # -- reading ------------------------------------------------------------------------------------------------------

    async def get_access_token(self) -> str:
        """Return a valid access token, renewing it first if it is near its expiry.

        Raises:
            LoginRequired: No user is signed in.
            TokenExpiredError: The token has expired and could not be renewed; ``code`` says why.
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
        """The Authorization header with a valid token (RFC 6750 §2.1). Read it again for every request.

        Raises:
            LoginRequired: No user is signed in.
            TokenExpiredError: The token has expired and could not be renewed.
        """
        __tracebackhide__ = True
        _, header, until = self._engine.fresh
        return {"Authorization": header if time.time() < until else bearer(self.access_token)}

    def userinfo(self) -> dict[str, Any]:
        """Fetch the UserInfo claims from the provider (OIDC Core §5.3). ``session.user`` makes no request.

        Returns:
            The claims; ``{}`` if the provider has no UserInfo endpoint.

        Raises:
            LoginRequired: No user is signed in.
            TokenError: The request failed, or the claims belong to another user (code ``userinfo_sub``, §5.3.2).
        """
        __tracebackhide__ = True
        claims = run(self.provider.get_userinfo(self.access_token), _READ_DEADLINE)
        subject = (self.user or {}).get("sub")
        if claims and subject and claims.get("sub") != subject:
            raise TokenError(code="userinfo_sub")
        return claims

    @property
    def display_name(self) -> str:
        """The user's name for display, from the provider's claims. Plain text: escape it for HTML."""
        return self._engine.state.display_name

    async def initialize(self) -> OAuthTokenSet | None:
        """Load the tokens of an earlier sign-in from the store, renewing them if necessary.

        Returns:
            The tokens, or None if the store has none or they cannot be renewed.
        """
        return await self._engine.initialize()

    # -- signing in and out -------------------------------------------------------------------------------------------

    def login(self, timeout: float = 300.0) -> AuthFlowResult:
        """Show the sign-in widget and wait in this cell until the user has signed in.

        If the user is already signed in, show the widget and return immediately.

        Args:
            timeout: Maximum wait in seconds. The widget remains usable afterwards.

        Raises:
            LoginRequired: There is no front end to show the widget (papermill, nbconvert, CI).
            AuthFlowCancelled: The user cancelled, or declined at the provider.
            AuthFlowTimeout: The user did not sign in within ``timeout``.
            TokenError: The provider's response was refused.
            AuthenticationError: Another failure: the provider refused the request (``invalid_scope``,
                ``server_error``, …), or Jupyter is not served over https (``insecure_redirect_uri``).
        """
        __tracebackhide__ = True
        from ._sign_in import notebook

        return notebook.login(self._engine, self._show, timeout)

    async def save_tokens(self, tokens: OAuthTokenSet) -> None:
        """Make ``tokens`` the tokens of this session, save them in the store and schedule their refresh."""
        await self._engine.save_tokens(tokens)

    async def refresh(self) -> OAuthTokenSet:
        """Renew the access token now, whatever its age. Concurrent callers share one refresh.

        Raises:
            LoginRequired: No user is signed in.
            TokenRefreshError: The refresh failed; code ``invalid_grant`` means that a new sign-in is needed.
        """
        return await self._engine.refresh()

    async def logout(self) -> LogoutResult:
        """Sign out: delete the tokens here and in the store, then revoke them at the provider (at most 5 s).

        Returns:
            What became of each token. The session is signed out in any case.
        """
        return await self._sign_ins.sign_out()

    # -- display ------------------------------------------------------------------------------------------------------

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
