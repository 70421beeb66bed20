"""`AuthFlowManager`: the sign-ins of a session as ``pywry.auth`` has them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from ._io.loop import on_loop, submit
from ._sign_in import channel, front_end, notebook, terminal
from ._sign_in.authorization import AuthFlowResult, AuthFlowState
from .errors import AuthenticationError, ConfigurationError
from .session import SessionManager

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ._sign_in.authorization import AuthorizationRequest
    from .providers import OAuthProvider
    from .token_store import TokenStore

__all__ = ["AuthFlowManager", "AuthFlowResult", "AuthFlowState"]


class AuthFlowManager:
    """Runs the sign-ins of one session; several may be open at once, and the first to succeed ends the others.

    :meth:`authenticate` picks a way: the widget in a notebook, or :meth:`run_native` with a window or browser of this
    machine. :meth:`run_deploy` gives an address for a link of one's own. All of them are :meth:`begin` and
    :meth:`complete` in the end. Managers of one session share its sign-ins.

    Args:
        provider: Where the user signs in.
        token_store: Where the tokens go when there is no ``session_manager``.
        session_manager: The session that a sign-in begins; made from the other two when left out.
        use_pkce: Whether to send a code challenge (RFC 7636); turn it off only for a provider that refuses it. Where
            the session's settings have turned it off, it stays so.
        auth_timeout: Seconds that :meth:`run_native` and :meth:`authenticate` wait at most.

    Raises:
        ConfigurationError: ``auth_timeout`` is not a time one can wait; or nothing would protect the code, since a
            client without a secret needs PKCE (RFC 9700 §2.1.1).
    """

    def __init__(
        self,
        provider: OAuthProvider,
        token_store: TokenStore | None = None,
        session_manager: SessionManager | None = None,
        use_pkce: bool = True,
        auth_timeout: float = 120.0,
    ) -> None:
        if not 0 < auth_timeout <= threading.TIMEOUT_MAX:
            raise ConfigurationError("auth_timeout must be a number of seconds above 0.")
        self.provider = provider
        self.session = session_manager or SessionManager(provider, token_store)
        self.auth_timeout = auth_timeout
        self._sign_ins = self.session._sign_ins
        if not use_pkce:
            self._sign_ins.use_pkce = False

    @property
    def use_pkce(self) -> bool:
        """Whether the session's sign-ins send a code challenge."""
        return self._sign_ins.use_pkce

    @property
    def flow_state(self) -> AuthFlowState:
        """Where the session's latest sign-in stands."""
        return self._sign_ins.state

    def authenticate(
        self,
        app: Any,
        show_window: Callable[[str, dict[str, Any]], Any] | None = None,
        close_window: Callable[[Any], object] | None = None,
        window_config: Mapping[str, Any] | None = None,
    ) -> AuthFlowResult:
        """Sign in, in the way that fits where this runs, and wait for it.

        With ``show_window``, and wherever no notebook is, that is :meth:`run_native`. In a notebook it is the widget;
        there, a user who is signed in already stays so and is not asked.

        Args:
            app: The application that asks. For one of PyWry in browser mode, which has pages of its own, the result
                says where to go; anything else will do, also None.
            show_window: As for :meth:`run_native`.
            close_window: As for :meth:`run_native`.
            window_config: As for :meth:`run_native`.

        Raises:
            AuthFlowTimeout: The user did not sign in within ``auth_timeout`` seconds.
            AuthFlowCancelled: Cancelled here, or declined at the provider.
            AuthenticationError: Whatever else the sign-in ended with.
        """
        if getattr(getattr(app, "_mode_enum", None), "name", "") == "BROWSER":
            return AuthFlowResult(success=False, error=f"Navigate to {self._page()} to sign in.")
        if show_window is None and front_end.has_front_end():
            return notebook.login(self.session._engine, self.session._show, self.auth_timeout)
        return self.run_native(show_window, close_window, window_config)

    def _page(self) -> str:
        """Return where a person signs in when the application has pages of its own, in words if need be."""
        return self.run_deploy() if front_end.current_kernel() else "the sign-in page of the application"

    def run_deploy(self, base_url: str = "") -> str:
        """Return the address at the Jupyter server that begins a sign-in of the session, as long as that lives.

        Its key cannot be guessed. Whoever opens it must be signed in to Jupyter as a user who may run code there.

        Args:
            base_url: Of the Jupyter server, as the browser sees it; this kernel's own when left out.

        Raises:
            AuthenticationError: Code ``no_kernel``: only a Jupyter kernel has a server in front of it.
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
    ) -> AuthFlowResult:
        """Sign in with a window or browser of this machine (RFC 8252), and wait until that is over.

        It is this very sign-in that is waited for, also when a user is signed in already. Where another one of this
        session succeeds first, its result is returned: the user is signed in, and that was the point.

        Args:
            show_window: Gets the address and ``window_config``, opens a window and returns a label for it. It is
                called on this thread and not interrupted, so it must not wait for the sign-in. What it raises comes
                out unchanged. When left out, the default browser is opened.
            close_window: Gets the label when the sign-in is over, however it ended, and must not wait for anything.
                What it raises is only logged.
            window_config: Changes to ``title``, ``width`` and ``height`` (pixels), ``center`` and ``resizable``.

        Returns:
            A success: everything else is raised.

        Raises:
            AuthFlowTimeout: It was not over within ``auth_timeout`` seconds. (If good tokens are just being saved by
                a slow store, that is waited for: up to 11 s more.)
            AuthFlowCancelled: Ended by :meth:`cancel`, by signing out, or by declining at the provider.
            TokenError: The provider could not be asked, or its answer was refused.
            AuthenticationError: Any other failure, such as code ``no_browser`` in a notebook on a machine without one,
                or ``wrong_thread`` on the background thread.
        """
        window = terminal.Window(show_window, close_window, window_config)
        return terminal.sign_in(self._sign_ins, window, self.auth_timeout)

    def cancel(self) -> None:
        """Give up every open sign-in of the session, and end :meth:`run_native`; may be called from any thread.

        An answer that still comes is refused, and tokens that are still on their way are revoked. Tokens that are good
        already stay: sign out to be rid of them.
        """
        self._sign_ins.cancel()

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
        return await self._sign_ins.begin(redirect_uri, lifetime=lifetime, server=server)

    @on_loop
    async def complete(self, params: Mapping[str, str]) -> AuthFlowResult:
        """Finish the sign-in that ``params`` (the query of the callback, each name once) belongs to.

        Raises:
            AuthenticationError: Code ``unknown_flow`` or ``already_used``: nothing has changed. Any other code: that
                sign-in is over and must be begun anew.
        """
        return await self._sign_ins.complete(params)
