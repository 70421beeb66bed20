"""`AuthFlowManager`: the sign-ins of a session, with the interface of ``pywry.auth``."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from ._io.arguments import refuse_unknown
from ._io.loop import on_loop, submit
from ._session.arguments import seconds_or_forever
from ._sign_in import channel, front_end, terminal
from ._sign_in.authorization import AuthFlowResult, AuthFlowState
from .errors import AuthenticationError, ConfigurationError
from .session import SessionManager

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typing_extensions import Never

    from ._sign_in.authorization import AuthorizationRequest, DeviceRequest
    from .providers import OAuthProvider
    from .token_store import TokenStore

__all__ = ["AuthFlowManager", "AuthFlowResult", "AuthFlowState"]


class AuthFlowManager:
    """Runs the sign-ins of one session; several may be open at once, and the first to succeed ends the others.

    :meth:`authenticate` uses the widget in a notebook, and elsewhere :meth:`run_native`, with a window or browser on
    this machine. :meth:`run_deploy` returns an address for a link of your own. All of them are built on :meth:`begin`
    and :meth:`complete`. Managers of one session share its sign-ins.

    Args:
        provider: The provider at which the user signs in, as for :class:`SessionManager`.
        token_store: Where to store the tokens, as there, if there is no ``session_manager``.
        session_manager: The session to sign in; created from the other two when left out.
        use_pkce: Whether to send a code challenge (RFC 7636). Turn it off only for a provider that refuses it. If the
            session's settings turn it off, True does not turn it on again.
        auth_timeout: Maximum wait of :meth:`run_native` and :meth:`authenticate`, in seconds, or None for no limit.

    Raises:
        ConfigurationError: ``provider`` is not that of ``session_manager``; ``auth_timeout`` is not a usable number of
            seconds; or PKCE is off for a client without a secret, whose code would be unprotected (RFC 9700 §2.1.1).
    """

    def __init__(
        self,
        provider: OAuthProvider | str,
        token_store: TokenStore | str | None = None,
        session_manager: SessionManager | None = None,
        use_pkce: bool = True,
        auth_timeout: float | None = 120.0,
        **unknown: Never,
    ) -> None:
        refuse_unknown(self, unknown, store="token_store", session="session_manager", timeout="auth_timeout")
        if auth_timeout is not None and not 0 < auth_timeout <= threading.TIMEOUT_MAX:
            raise ConfigurationError("auth_timeout must be a number of seconds above 0.")
        if session_manager is not None and session_manager.provider is not provider:
            raise ConfigurationError("The session has another provider. Pass session_manager.provider as the provider.")
        self.session = session_manager or SessionManager(provider, token_store)
        self.provider = self.session.provider
        self.auth_timeout = auth_timeout
        self._sign_ins = self.session._sign_ins
        if not use_pkce:
            self._sign_ins.use_pkce = False

    @property
    def use_pkce(self) -> bool:
        """Whether the session's sign-ins send a code challenge."""
        return self._sign_ins.use_pkce

    @use_pkce.setter
    def use_pkce(self, use: bool) -> None:
        self._sign_ins.use_pkce = use

    @property
    def flow_state(self) -> AuthFlowState:
        """The state of the session's latest sign-in."""
        return self._sign_ins.state

    def authenticate(
        self,
        app: Any,
        show_window: Callable[[str, dict[str, Any]], Any] | None = None,
        close_window: Callable[[Any], object] | None = None,
        window_config: Mapping[str, Any] | None = None,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        prompt: str = "",
        login_hint: str = "",
        acr_values: str = "",
        max_age: int | None = None,
    ) -> AuthFlowResult:
        """Sign in, in the way that suits the environment, and wait for the result.

        In a notebook this shows the widget, and does not ask a user who is already signed in. Elsewhere, and with
        ``show_window``, it calls :meth:`run_native`.

        Args:
            app: The calling application, or None. For a PyWry application in browser mode, which has its own pages, the
                result says where to go.
            show_window: As for :meth:`run_native`.
            close_window: As for :meth:`run_native`.
            window_config: As for :meth:`run_native`.
            port: As for :meth:`run_native`.
            host: As for :meth:`run_native`.
            prompt: As for :meth:`begin`.
            login_hint: As for :meth:`begin`.
            acr_values: As for :meth:`begin`.
            max_age: As for :meth:`begin`.

        Raises:
            AuthFlowTimeout: The user did not sign in within ``auth_timeout`` seconds.
            AuthFlowCancelled: The user cancelled, or declined at the provider.
            AuthenticationError: Any other failure of the sign-in.
        """
        if getattr(getattr(app, "_mode_enum", None), "name", "") == "BROWSER":
            return AuthFlowResult(success=False, error=f"Navigate to {self._page()} to sign in.")
        if show_window is None and front_end.has_front_end():
            return self.session.login(
                self.auth_timeout, prompt=prompt, login_hint=login_hint, acr_values=acr_values, max_age=max_age
            )
        return self.run_native(
            show_window,
            close_window,
            window_config,
            port=port,
            host=host,
            prompt=prompt,
            login_hint=login_hint,
            acr_values=acr_values,
            max_age=max_age,
        )

    def _page(self) -> str:
        """Return the address at which users of an application with its own pages sign in, or a description of it."""
        return self.run_deploy() if front_end.current_kernel() else "the sign-in page of the application"

    def run_deploy(self, base_url: str = "") -> str:
        """Return the address at the Jupyter server that begins a sign-in. It is valid as long as the session exists.

        Its key cannot be guessed. A user who opens it must be signed in to Jupyter and allowed to run code there.

        Args:
            base_url: Of the Jupyter server, as the browser sees it; that of this kernel's server when left out.

        Raises:
            AuthenticationError: Code ``no_kernel``: this is not a Jupyter kernel, so there is no server.
        """
        path = channel.open_path(self._sign_ins)
        if not path:
            raise AuthenticationError(code="no_kernel")
        submit(self.session.initialize())  # so that the server's status route knows a stored session
        return f"{(base_url or front_end.server_base_url() or '/').rstrip('/')}/{path}"

    def run_native(
        self,
        show_window: Callable[[str, dict[str, Any]], Any] | None = None,
        close_window: Callable[[Any], object] | None = None,
        window_config: Mapping[str, Any] | None = None,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        browser: bool = True,
        prompt: str = "",
        login_hint: str = "",
        acr_values: str = "",
        max_age: int | None = None,
    ) -> AuthFlowResult:
        """Sign in with a window or browser on this machine (RFC 8252), and wait for the result.

        The provider answers at the redirect URI ``http://127.0.0.1:PORT/callback``, which must be registered there:
        with its port, unless the provider ignores the port as RFC 8252 §7.3 asks.

        This begins a new sign-in even if the user is already signed in. If another sign-in of the session succeeds
        first, its result is returned.

        Args:
            show_window: Called with the address and ``window_config``; opens a window and returns a label for it. It is
                called on this thread and not interrupted, so it must not wait for the sign-in. What it raises is
                raised unchanged. When left out, the default browser is opened.
            close_window: Called with the label when the sign-in has ended, successful or not. It must not block. What
                it raises is only logged.
            window_config: Overrides ``title``, ``width`` and ``height`` (pixels), ``center`` and ``resizable``.
            port: The port of the redirect URI; 0 for any free one.
            host: The host of the redirect URI: ``127.0.0.1``, ``localhost`` or ``[::1]``.
            browser: Whether to open the default browser; else a terminal shows the address, as where there is none.
            prompt: As for :meth:`begin`.
            login_hint: As for :meth:`begin`.
            acr_values: As for :meth:`begin`.
            max_age: As for :meth:`begin`.

        Returns:
            A successful result; every failure is raised.

        Raises:
            AuthFlowTimeout: The sign-in did not end within ``auth_timeout`` seconds. (While a slow store is saving
                the new tokens, this waits up to 11 s longer.)
            AuthFlowCancelled: Ended by :meth:`cancel`, by signing out, or by declining at the provider.
            TokenError: The request to the provider failed, or its response was refused.
            ConfigurationError: Code ``port_unavailable``: ``port`` is in use; or ``host`` is not this machine.
            AuthenticationError: Any other failure, such as code ``no_browser`` in a notebook on a machine without one,
                or ``wrong_thread`` on the background thread.
        """
        return terminal.sign_in(
            self._sign_ins,
            terminal.Window(show_window, close_window, window_config, opens_browser=browser),
            seconds_or_forever(self.auth_timeout),
            host=host,
            port=port,
            prompt=prompt,
            login_hint=login_hint,
            acr_values=acr_values,
            max_age=max_age,
        )

    def cancel(self) -> None:
        """Cancel every open sign-in of the session, and end :meth:`run_native`. May be called from any thread.

        A later answer is refused, and tokens that are being exchanged are revoked. A session that is already signed in
        stays signed in.
        """
        self._sign_ins.cancel()

    @on_loop
    async def begin(
        self,
        redirect_uri: str,
        *,
        lifetime: float | None = None,
        server: str = "",
        prompt: str = "",
        login_hint: str = "",
        acr_values: str = "",
        max_age: int | None = None,
    ) -> AuthorizationRequest:
        """Open a sign-in: create its state, nonce and code verifier, and return the authorization request.

        Args:
            redirect_uri: Where the provider sends the browser afterwards; must be registered there.
            lifetime: Seconds within which the answer must arrive; ten minutes when left out.
            server: Name of the hub user's server that the answer must reach; empty for the default server.
            prompt: What the provider must ask, such as ``"login"`` or ``"select_account"`` (OIDC Core §3.1.2.1); the
                provider's own when left out.
            login_hint: The user who is expected to sign in, such as an e-mail address.
            acr_values: How the user must authenticate (authentication contexts, separated by spaces), as for
                :meth:`SessionManager.login`.
            max_age: How many seconds ago the user may have authenticated at the provider.

        Raises:
            AuthFlowCancelled: The sign-in was cancelled during a request to the provider.
            AuthenticationError: Code ``insecure_redirect_uri``.
            TokenError: Discovery failed, or the provider's metadata was refused.
        """
        return await self._sign_ins.begin(
            redirect_uri,
            lifetime=lifetime,
            server=server,
            prompt=prompt,
            login_hint=login_hint,
            acr_values=acr_values,
            max_age=max_age,
        )

    @on_loop
    async def begin_device(
        self,
        *,
        lifetime: float | None = None,
        prompt: str = "",
        login_hint: str = "",
        acr_values: str = "",
        max_age: int | None = None,
    ) -> DeviceRequest:
        """Open a sign-in with a code that the user enters at the provider, and poll for its tokens (RFC 8628).

        Args:
            lifetime: Seconds within which the user must approve; ten minutes when left out, and never longer than the
                provider's code is valid.
            prompt: As for :meth:`begin`; providers may ignore it here, as the next two.
            login_hint: As for :meth:`begin`.
            acr_values: As for :meth:`begin`.
            max_age: As for :meth:`begin`.

        Returns:
            What the user must enter, and where (``code``), and a future of the result (``outcome``).

        Raises:
            AuthFlowCancelled: The sign-in was cancelled during the request to the provider.
            TokenError: Code ``device_unsupported``: the provider has no device codes; or the request failed.
        """
        return await self._sign_ins.begin_device(
            lifetime=lifetime, prompt=prompt, login_hint=login_hint, acr_values=acr_values, max_age=max_age
        )

    @on_loop
    async def complete(self, params: Mapping[str, str]) -> AuthFlowResult:
        """Finish the sign-in that ``params`` (the query of the callback, each name once) belongs to.

        Raises:
            AuthenticationError: Code ``unknown_flow`` or ``already_used``: nothing has changed. Any other code: the
                sign-in has ended; begin a new one.
        """
        return await self._sign_ins.complete(params)
