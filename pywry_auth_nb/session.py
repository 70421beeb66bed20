"""`SessionManager`: a sign-in that is kept alive."""

from __future__ import annotations

import hashlib
import json
import time
from importlib import import_module
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar

import traitlets as t

from ._io.arguments import refuse_unknown
from ._io.begun import Begun
from ._io.loop import run
from ._session.arguments import check_provider, seconds_or_forever, settings_of, store_of
from ._session.engine import SessionEngine
from ._session.logout import LogoutResult
from ._session.notifier import Notifier
from ._session.persons import Person
from ._session.record_sync import current_user
from ._sign_in.authorization import check_max_age
from ._sign_in.sign_ins import SignIns
from .errors import AuthenticationError, ConfigurationError, TokenError, TokenExpiredError, without_traceback
from .providers.exchange import ExchangedTokenSource, Target
from .providers.scopes import read as read_scopes
from .providers.scopes import union
from .tokens import bearer

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Coroutine, Mapping

    from typing_extensions import Never, Self

    from ._sign_in.authorization import AuthFlowResult
    from .auth import SessionAuth
    from .doctor.findings import Report
    from .exits.exits import Exits
    from .exits.gate import Gate
    from .exits.holder import TokenKind
    from .exits.presets import Audience, Role
    from .handle import TokenHandle
    from .providers import OAuthProvider
    from .providers.exchange import Grant, SubjectToken
    from .providers.parameters import Value
    from .providers.scopes import Scopes
    from .token_store import TokenStore
    from .tokens import AccessToken, OAuthTokenSet

__all__ = ["LogoutResult", "SessionManager"]

T = TypeVar("T")

_READ_DEADLINE = 45.0  # seconds that a read may take if the token must be renewed first


def _store_key(session_key: str, *parts: str) -> str:
    """Return a name for a record that no other combination of ``session_key`` and ``parts`` has; it begins readable."""
    named = json.dumps([session_key, *parts]).encode("ascii")
    return f"{session_key}-{hashlib.sha256(named).hexdigest()[:32]}"


def _from_settings(settings: Any, store: TokenStore | str | None) -> tuple[OAuthProvider, TokenStore | str | None]:
    """Return the provider and the store that ``settings`` describe, unless one is given."""
    from .providers import create_provider_from_settings
    from .token_store.factory import store_from_settings

    provider = create_provider_from_settings(settings)
    if store is None and provider.kept_in_store:
        store = store_from_settings(settings)
    return provider, store


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
    engine = session._engine  # noqa: SLF001 - the trait belongs to the class
    token, _, until = engine.fresh
    return token if time.time() < until else _read(engine.get_access_token())


def _read(work: Coroutine[Any, Any, T]) -> T:
    """Read a token that must perhaps be renewed first, on the background loop."""
    __tracebackhide__ = True  # IPython's traceback ends in the cell
    try:
        return run(work, _READ_DEADLINE)
    except AuthenticationError as error:
        if type(error) is not AuthenticationError or error.code != "timeout":
            raise
        late = TokenExpiredError(error.message, code="timeout")
    raise late


class SessionManager(t.HasTraits):
    """A session: holds the tokens of one sign-in, renews them in the background, and signs out.

    Args:
        provider: The provider at which the user signs in; or its name in the settings, such as ``"google"``, which also
            say which store then, if ``token_store`` is left out.
        token_store: Where to store the tokens, or a name of the settings: ``"memory"``, ``"keyring"``, ``"file"`` or
            ``"redis"``. This kernel's memory when left out, where a set-up cell that is run again finds them.
        session_key: Distinguishes several sessions at one provider, such as those of two accounts.
        session_store: Accepted for compatibility with ``pywry.auth``; not used.
        refresh_buffer_seconds: How many seconds before its expiry an access token is renewed.
        on_reauth_required: Called once, on its own thread, when the sign-in has ended and a new one is needed.
        allowed_origins: Origins to which ``session.auth`` may send the token, such as ``["https://api.example.org"]``;
            None allows any.
        renew_on: Status codes by which an API refuses an expired token, besides 401, such as ``{403, 419}``:
            ``session.auth`` renews it then, too.

    All traits are read-only. They change together; observers are called in order, on their own thread.

    Raises:
        ConfigurationError: An argument is not what it must be, or a setting is missing.
        TokenStoreError: The store that was named cannot be used here.
    """

    status = ComputedTrait(
        attrgetter("_engine.state.status"), "signed_out, authorizing, signed_in, refreshing or reauth_required"
    )
    access_token = ComputedTrait(_read_access_token, "A valid access token; a read raises LoginRequired or TokenError")
    expires_at = ComputedTrait(
        lambda self: self._engine.state.tokens and self._engine.state.tokens.expires_at,
        "When the access token expires, in epoch seconds, or None",
    )
    scopes = ComputedTrait(
        attrgetter("_engine.state.scopes"), "The scopes that the provider granted, as a tuple in its order"
    )
    user = ComputedTrait(attrgetter("_engine.state.user"), "Claims about the signed-in user, or None")
    error = ComputedTrait(
        lambda self: self._engine.state.error and without_traceback(self._engine.state.error),
        "Why the last operation failed, or None",
    )

    def __init__(
        self,
        provider: OAuthProvider | str,
        token_store: TokenStore | str | None = None,
        session_key: str = "default",
        session_store: Any = None,
        refresh_buffer_seconds: int = 60,
        on_reauth_required: Callable[[], None] | None = None,
        *,
        allowed_origins: Collection[str] | None = None,
        renew_on: Collection[int] = (),
        **unknown: Never,
    ) -> None:
        super().__init__()
        refuse_unknown(self, unknown, store="token_store", key="session_key")
        self._session_key = session_key
        self.session_store = session_store
        self.allowed_origins = allowed_origins
        self.renew_on = renew_on
        settings = None
        if isinstance(provider, str):
            settings = settings_of(provider)
            provider, token_store = _from_settings(settings, token_store)
        provider = check_provider(provider)
        self._engine = SessionEngine(
            provider,
            store_of(token_store),
            provider.store_key or _store_key(session_key, provider.identity, current_user()),
            Notifier(self),
            refresh_buffer=refresh_buffer_seconds,
            on_reauth_required=on_reauth_required,
        )
        self._sign_ins = SignIns(self._engine)
        self._sign_ins.configure(settings)
        self._gate: Gate | None = None
        self._for_audiences: dict[tuple[Any, ...], SessionManager] = {}
        self._widget: Any = None  # a weak reference to the widget that displays this session
        if allowed_origins is not None or renew_on != ():
            self.auth  # noqa: B018 - refuses what is not an origin or a status code now, not at the first request

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
        from .settings import OAuth2Settings

        settings = OAuth2Settings() if settings is None else settings
        kwargs = {
            "refresh_buffer_seconds": getattr(settings, "refresh_buffer_seconds", 60),
            "allowed_origins": getattr(settings, "allowed_origins", None) or None,
        } | kwargs
        provider, store = _from_settings(settings, kwargs.pop("token_store", None))
        session = cls(provider, store, **kwargs)
        session._sign_ins.configure(settings)
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

        It depends on provider, client and user besides ``session_key``, so that sessions that share a store never read
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
    def id_token(self) -> str:
        """A valid ID token (OIDC Core §2), for what takes it as a proof of who is signed in. A read is cheap.

        Near its expiry, it is renewed with the other tokens, if the provider gives new ones. It was checked when it
        came, as at a sign-in. ``await session.get_id_token()`` is the same for async code.

        Raises:
            LoginRequired: No user is signed in.
            TokenExpiredError: It has expired and was not renewed: code ``id_token_not_renewed`` if the provider sends
                no new one, ``no_refresh_token``, or why the renewal failed.
            TokenError: Code ``id_token_missing``: the provider gave none; the message says why.
        """
        __tracebackhide__ = True
        token, until = self._engine.fresh_id_token
        return token if time.time() < until else _read(self._engine.get_id_token())

    async def get_id_token(self) -> str:
        """Return :attr:`id_token` without blocking the caller's event loop.

        Raises:
            LoginRequired: No user is signed in.
            TokenExpiredError: It has expired and was not renewed; ``code`` says why.
            TokenError: Code ``id_token_missing``: the provider gave none.
        """
        __tracebackhide__ = True
        token, until = self._engine.fresh_id_token
        return token if time.time() < until else await self._engine.get_id_token()

    @property
    def auth(self) -> SessionAuth:
        """Credentials for HTTP clients: ``httpx.Client(auth=session.auth)``; see :class:`SessionAuth`."""
        from .auth import SessionAuth

        return SessionAuth(self, self.allowed_origins, self.renew_on)

    def token_provider(self) -> AccessToken:
        """Return a valid access token: give ``session.token_provider`` itself to clients that call for a token.

        It needs no arguments and may be called from any thread. Clients that await their token take
        ``session.get_access_token``.

        Raises:
            LoginRequired: No user is signed in.
            TokenExpiredError: The token has expired and could not be renewed; ``code`` says why.
        """
        __tracebackhide__ = True
        token: AccessToken = self.access_token
        return token

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

        If the provider rejects the token, it is renewed and the request repeated once.

        Returns:
            The claims; ``{}`` if the provider has no UserInfo endpoint.

        Raises:
            LoginRequired: No user is signed in.
            TokenExpiredError: The sign-in has ended, or the token has expired and could not be renewed.
            TokenError: The request failed, or the claims belong to another user (code ``userinfo_sub``, §5.3.2).
        """
        __tracebackhide__ = True
        claims = run(self._engine.fetch_userinfo(), _READ_DEADLINE)
        subject = (self.user or {}).get("sub")
        if claims and subject and claims.get("sub") in (None, ""):
            message = "The provider's UserInfo does not say whose it is. Use session.user."
            raise TokenError(message, code="userinfo_failed")
        if claims and subject and claims["sub"] != subject:
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

    def for_audience(
        self,
        audience: str = "",
        *,
        resource: Value = "",
        scopes: Scopes | None = None,
        grant: Grant | Literal[""] = "",
        subject_token: SubjectToken = "access_token",  # noqa: S107 - a kind
        provider: OAuthProvider | None = None,
        allowed_origins: Collection[str] | None = None,
        renew_on: Collection[int] = (),
    ) -> SessionManager:
        """Return a session whose tokens are for another API: this one's, exchanged at the provider (RFC 8693).

        It is used as this one is. The first read exchanges a token, and later ones do when it is about to expire: one
        kernel for all that share the sign-in. Its tokens end with this session's sign-in; a refused exchange does not
        end that. The same arguments give the same session.

        Args:
            audience: The API's name at the provider.
            resource: Its address, or a list (RFC 8707 §2), where the provider wants that instead, or as well.
            scopes: Scopes to request for it.
            grant: ``"token-exchange"``; ``"on-behalf-of"``, Microsoft's flow, where the audience is that of the API's
                scopes; or ``"jwt-bearer"`` (RFC 7523 §2.1). That of the provider when left out.
            subject_token: Which token is exchanged: ``"access_token"`` or ``"id_token"``.
            provider: Who exchanges, with the client that asks; the provider of this session when left out.
            allowed_origins: Origins to which its ``auth`` may send the token; those of this session when left out.
            renew_on: Status codes by which the API refuses an expired token, besides 401.

        Raises:
            ConfigurationError: An argument is not what it must be; code ``exchange_unavailable`` if no provider is
                known.
        """
        __tracebackhide__ = True
        exchanger = self.provider.exchanger if provider is None else check_provider(provider).exchanger
        if exchanger is None:
            raise ConfigurationError(code="exchange_unavailable")
        target = Target(
            audience,
            resource=resource,
            scopes=scopes,
            grant=grant or exchanger.exchange_grant,
            subject_token=subject_token,
        )
        origins = self.allowed_origins if allowed_origins is None else allowed_origins
        key = self._engine.audiences.key_of(target.digest(exchanger), exchanger)
        known = (key, None if origins is None else tuple(origins), tuple(renew_on))
        if known not in self._for_audiences:
            source = ExchangedTokenSource(self._engine, exchanger, target, key)
            session = SessionManager(
                source,
                self.token_store,
                self.session_key,
                refresh_buffer_seconds=self.refresh_buffer_seconds,  # type: ignore[arg-type]
                allowed_origins=origins,
                renew_on=renew_on,
            )
            self._engine.audiences.add(session._engine)
            self._for_audiences[known] = session
        return self._for_audiences[known]

    # -- other programs -----------------------------------------------------------------------------------------------

    def serve(
        self,
        *,
        aws: Role | None = None,
        google: Audience | None = None,
        anthropic: bool = False,
        databricks: bool = False,
        files: Collection[str | os.PathLike[str]] | Mapping[Any, TokenKind] = (),
        environment: bool = True,
    ) -> Exits:
        """Serve this sign-in to other programs on this machine, such as subprocesses and workers.

        It begins an endpoint on loopback that gives tokens to programs that hold its key, which is in a file that only
        this account may read; and files whose tokens are always fresh. The presets make the clients of these services
        find them. All of it ends with :meth:`Exits.close`, a sign-out, this session or this kernel. A second call
        takes the place of the first.

        Args:
            aws: A role of AWS, MinIO or Ceph, for boto3, s3fs and all others that know a container's credentials.
            google: A provider of workload identity federation, for the clients of Google Cloud.
            anthropic: Whether to serve the ID token to Anthropic's clients.
            databricks: Whether to serve the ID token to those of Databricks.
            files: Paths that an access token is kept at; or a mapping of paths to ``"access_token"`` or ``"id_token"``.
            environment: Whether to set the variables in this kernel, so that the programs that it starts have them.

        Raises:
            ConfigurationError: Code ``preset_unavailable``: it cannot work here; the message says why.
            LoginRequired: No user is signed in.
            TokenExpiredError: The token has expired and could not be renewed.
        """
        __tracebackhide__ = True
        return self._open_gate().serve(
            aws=aws,
            google=google,
            anthropic=anthropic,
            databricks=databricks,
            files=files,
            set_environment=environment,
        )

    def handle(self, *, audience: str = "", seconds: float | None = None) -> TokenHandle:
        """Return an object for workers on this machine: it can be pickled, and asks this kernel for each token.

        Args:
            audience: The API that its tokens are for, if it is another one; see :meth:`for_audience`.
            seconds: How long it is good; as long as this sign-in, session and kernel when left out.

        Raises:
            LoginRequired: No user is signed in.
            TokenExpiredError: The token has expired and could not be renewed.
            TokenExchangeError: The provider gives no token for that audience.
        """
        __tracebackhide__ = True
        from .handle import TokenHandle

        if audience:
            return self.for_audience(audience).handle(seconds=seconds)
        port, key = self._open_gate().grant(None if seconds is None else seconds_or_forever(seconds))
        origins = None if self.allowed_origins is None else tuple(self.allowed_origins)
        return TokenHandle(port, key, allowed_origins=origins, renew_on=tuple(self.renew_on))

    def _open_gate(self) -> Gate:
        from .exits.gate import Gate

        if self._gate is None or self._gate.closed:
            self._gate = Gate(self, self._engine)
        return self._gate

    # -- signing in and out -------------------------------------------------------------------------------------------

    def login(
        self,
        timeout: float | None = 300.0,
        *,
        prompt: str = "",
        login_hint: str = "",
        acr_values: str = "",
        max_age: int | None = None,
        via: str = "",
    ) -> AuthFlowResult:
        """Sign in, and wait until the user has done so: with the widget in a notebook, with a prompt in a terminal.

        In a notebook, the widget has two seconds to greet the kernel. If no page does, and it was no page of a Jupyter
        server that ran the cell (jupyter console, qtconsole), a prompt asks for the address at which the browser ends.

        A user who is signed in already is not asked, unless ``prompt``, ``acr_values`` or ``max_age`` (RFC 9470) wants
        a new sign-in. The old one lasts until the new one succeeds.

        Args:
            timeout: Maximum wait in seconds, or None for no limit. The widget remains usable afterwards.
            prompt: What the provider must ask during this wait: ``"select_account"`` for another account, ``"login"``
                or ``"consent"`` (OIDC Core §3.1.2.1); the provider's own when left out.
            login_hint: The user who is expected to sign in, such as an e-mail address.
            acr_values: How the user must authenticate, such as ``"phr"``: authentication contexts, separated by spaces.
                The provider may use another; ``session.user["acr"]`` says which, if it does.
            max_age: How many seconds ago the user may have authenticated at the provider; longer ago, it asks again.
                The ID token must say that it did.
            via: The way to sign in: ``"server"`` (the widget's link, through the Jupyter server), ``"loopback"`` (a
                browser on this machine, or the address at which another machine's browser ends, pasted; RFC 8252) or
                ``"device"`` (a code that is entered in any browser; RFC 8628). The first that works here when left out.

        Raises:
            LoginRequired: No user can be asked here (papermill, nbconvert, CI): code ``no_front_end``. Or the way that
                was chosen does not work here: code ``way_unavailable``; the message says why.
            ConfigurationError: There is no such way.
            AuthFlowCancelled: The user cancelled, or declined at the provider.
            AuthFlowTimeout: The user did not sign in within ``timeout``.
            TokenError: The provider's response was refused.
            AuthenticationError: Another failure: the provider refused the request (``invalid_scope``,
                ``server_error``, …), or Jupyter is not served over https (``insecure_redirect_uri``).
        """
        __tracebackhide__ = True
        from ._sign_in import notebook

        steps_up = bool(acr_values) or max_age is not None
        person = Person.of(self.user) if steps_up and not (prompt or login_hint) else None
        params = {"prompt": prompt, "login_hint": login_hint, "acr_values": acr_values}
        limit, anew = seconds_or_forever(timeout), steps_up or prompt not in {"", "none"}
        with self._sign_ins.adding_params(person, **params, max_age=check_max_age(max_age)):
            return notebook.login(self._sign_ins, self._show, limit, anew=anew, via=via)

    def require(self, *scopes: Scopes, timeout: float | None = 300.0) -> None:
        """Make sure that the token has these scopes, and ask the user for those that it lacks (incremental consent).

        If they are granted already, this returns immediately. Otherwise it shows the widget and waits in this cell, as
        :meth:`login` does, for a sign-in that asks for them and for those of before. Until that succeeds, and if it
        does not, the sign-in of before stays. Afterwards every kernel that shares the sign-in has the new scopes.

        Args:
            scopes: The scopes, such as ``"drive.readonly"``; each argument may also be several, as text or as a list.
            timeout: Maximum wait in seconds, or None for no limit. The widget remains usable afterwards.

        Raises:
            LoginRequired: There is no front end to show the widget (papermill, nbconvert, CI).
            InsufficientScopeError: The provider did not grant them (code ``scope_not_granted``), or cannot be asked.
            AuthFlowCancelled: The user cancelled, or declined at the provider.
            AuthFlowTimeout: The user did not sign in within ``timeout``.
            TokenError: The provider's response was refused; code ``identity_changed`` if another user signed in.
            AuthenticationError: Another failure, as of :meth:`login`.
            ConfigurationError: A scope is not text.
        """
        __tracebackhide__ = True
        from ._sign_in import notebook

        wanted = map(self.provider.scope_name, union(*map(read_scopes, scopes)))
        notebook.require(self._sign_ins, self._show, [*wanted], seconds_or_forever(timeout))

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

    def logout(self, *, everywhere: bool = False) -> Begun[LogoutResult]:
        """Sign out: delete the tokens here and in the store, then revoke them at the provider (at most 5 s).

        This begins at once, in the background. ``await session.logout()`` waits for the outcome; as the last line of a
        cell, ``session.logout()`` does, too, and shows it.

        Args:
            everywhere: Whether to sign out of the provider, too (OIDC RP-Initiated Logout), which ends its sign-in for
                all applications. A notebook shows a link to its page; a terminal opens the browser.

        Returns:
            An awaitable: what became of each token, and the address of that page. The session is signed out in any
            case.
        """
        return Begun(self._sign_out(everywhere=everywhere))

    async def _sign_out(self, *, everywhere: bool) -> LogoutResult:
        for gate in [self._gate, *(session._gate for session in self._for_audiences.values())]:  # noqa: SLF001 - own class
            if gate is not None:
                gate.close()
        result = await self._sign_ins.sign_out()
        if not everywhere:
            return result
        from ._sign_in.end_session import end_session

        return await end_session(self.provider, result)

    def doctor(self, *, seconds: float = 60.0) -> Report:
        """Check whether a sign-in would work here, and which redirect URI the provider needs.

        Args:
            seconds: How long all checks may take.

        Returns:
            A report; a cell shows it as its last line.
        """
        doctor: Any = import_module(f"{__package__}.doctor")  # by name: it knows sessions, and they do not know it
        report: Report = doctor(self, seconds=seconds)
        return report

    # -- display ------------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        name = f" as {self.display_name!r}" if self.user else ""
        return f"<SessionManager {self.status}{name} at {self.provider.label}>"

    def _show(self) -> Any:
        """Display the widget, and return a handle of what was displayed."""
        from IPython.display import display

        return display(self, display_id=True)  # type: ignore[no-untyped-call]

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        from .widget import widget_for

        data, metadata = widget_for(self)._repr_mimebundle_(**kwargs)
        return {**data, "text/plain": repr(self)}, metadata

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "A session holds secrets and a background task, so it cannot be pickled or copied. Send session.handle() "
            "to a worker on this machine, or create a session there."
        )
