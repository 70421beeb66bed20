"""`OAuthCallbackServer`: receives the provider's answer on a loopback address (RFC 8252 §7.3).

Any web page in the browser and any program on this machine can connect to it, so requests that do not belong to the
open sign-in change nothing.
"""

from __future__ import annotations

import ipaddress
import logging
import threading
from typing import TYPE_CHECKING

from ._io.loopback_server import PATH, listen, stop
from ._wire import pages
from .errors import AuthenticationError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from ._io.loopback_server import LoopbackServer

log = logging.getLogger("pywry_auth_nb")

_MEMBERS = ("code", "state", "error", "error_description")


class OAuthCallbackServer:
    """An HTTP server on loopback for one answer from a provider; also a context manager that starts and stops it.

    Args:
        host: The host of the redirect URI: ``127.0.0.1``, ``::1``, or ``localhost`` for providers that allow no
            address, which listens at both. Prefer an address, since a name may resolve to something else (§8.3).
        port: The port; 0 for any free one, which providers must allow (§7.3). Many do not.
        handle: Called with the query of each answer, each name once, on the thread of its connection. Returns the page
            to show, and whether this answer ends the wait. When left out, the first answer with a ``state`` and a
            ``code``, or with an ``error``, ends the wait, and the page only confirms that it has arrived.

    Raises:
        ConfigurationError: ``host`` is not a loopback address, or ``port`` is not a valid port.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        handle: Callable[[dict[str, str]], tuple[pages.Page, bool]] | None = None,
    ) -> None:
        if not _is_loopback(host):
            raise ConfigurationError(
                "The callback server must not be reached from other machines. Let host be 127.0.0.1, localhost or ::1."
            )
        if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port < 1 << 16:
            raise ConfigurationError("The callback server's port must be a number from 0 (any free one) to 65535.")
        self.host = host
        self.port = port
        self._handle = handle or _accept_any_answer
        self._servers: list[LoopbackServer] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._answer: dict[str, str] | None = None

    @property
    def redirect_uri(self) -> str:
        """The redirect URI to give to the provider.

        Raises:
            AuthenticationError: Code ``not_started``.
        """
        if not self._servers:
            raise AuthenticationError(code="not_started")
        return f"http://{self._servers[0].authority}{PATH}"

    def start(self) -> str:
        """Start listening, and return the redirect URI. While running, only return it.

        Raises:
            ConfigurationError: The port is in use, or the address does not exist on this machine.
        """
        with self._lock:
            if not self._servers:
                self._answer = None
                self._ended.clear()
                self._servers = listen(self.host, self.port, self._receive)
        return self.redirect_uri

    def wait_for_callback(self, timeout: float = 120.0) -> dict[str, str | None] | None:
        """Wait for the provider's answer.

        Args:
            timeout: Maximum wait in seconds.

        Returns:
            Its parameters, not yet validated: ``code``, ``state``, ``error`` and ``error_description``, None if absent,
            and any others (``iss``, …); or None if the time is up or the server was stopped.

        Raises:
            AuthenticationError: Code ``not_started``.
        """
        if not self._ended.is_set():
            _ = self.redirect_uri
            self._ended.wait(timeout)
        return None if self._answer is None else {**dict.fromkeys(_MEMBERS), **self._answer}

    def stop(self) -> None:
        """Close all connections and free the port, within about a second. May be called repeatedly, from any thread."""
        with self._lock:
            servers, self._servers = self._servers, []
            if servers:
                self._ended.set()
        stop(servers)

    def _receive(self, params: dict[str, str]) -> pages.Page:
        """Handle an answer and return the page to show."""
        if self._ended.is_set():
            return pages.failed("already_used")
        try:
            page, ended = self._handle(params)
        except Exception as error:  # noqa: BLE001 - the caller's code; its error text may contain the answer
            log.error("the callback server's handler failed: %s", type(error).__name__)  # noqa: TRY400
            return pages.failed("internal")
        with self._lock:
            if ended and not self._ended.is_set():
                self._answer = params
                self._ended.set()
        return page

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(str(host))
    except ValueError:
        return host == "localhost"
    return address in ipaddress.ip_network("127.0.0.0/8") if address.version == 4 else host == "::1"  # noqa: PLR2004


def _accept_any_answer(params: dict[str, str]) -> tuple[pages.Page, bool]:
    """Accept anything in the form of an answer (RFC 6749 §4.1.2); the expected state is not known here.

    An error may come without a state: some providers omit it.
    """
    code, error = params.get("code"), params.get("error")
    if bool(code) == bool(error) or (code and not params.get("state")):
        return pages.failed("bad_request"), False
    if error:
        return pages.failed("access_denied" if error == "access_denied" else "provider_error"), True
    return pages.RECEIVED, True
