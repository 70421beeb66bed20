"""`OAuthCallbackServer`: receives the provider's answer on a loopback address (RFC 8252 §7.3).

Any web page in the browser and any program on this machine can connect to it. So connections are cheap, none can block
another, and requests that do not belong to the open sign-in change nothing.
"""

from __future__ import annotations

import io
import ipaddress
import logging
import os
import socket
import socketserver
import sys
import threading
import time
import weakref
from collections import Counter
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from ._io import fork
from ._wire import pages
from .errors import AuthenticationError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

log = logging.getLogger("pywry_auth_nb")

_PATH = "/callback"
_MEMBERS = ("code", "state", "error", "error_description")
_HTTP_PORT = 80
_PLACE = "notebook or program"
_MAX_CONNECTIONS = 32
_MAX_HEAD = 65_536  # bytes: request line and headers; browsers send the cookies of all ports of this host
_MAX_QUERY = 8192
_READ_DEADLINE = 10.0  # seconds within which a request must arrive
_WRITE_DEADLINE = 5.0
_FAREWELL = 1.0  # seconds that responses in progress may still take when the server stops
_POLL = 0.05  # seconds within which the server notices that it must stop


class OAuthCallbackServer:
    """An HTTP server on loopback for one answer from a provider; also a context manager that starts and stops it.

    Args:
        host: The loopback address to listen on: an address, since a name may resolve to something else (§8.3).
        port: The port; 0 for any free one, which providers must allow (§7.3).
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
                "The callback server must not be reached from other machines. Let host be 127.0.0.1 or ::1."
            )
        if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port < 1 << 16:
            raise ConfigurationError("The callback server's port must be a number from 0 (any free one) to 65535.")
        self.host = host
        self.port = port
        self._handle = handle or _accept_any_answer
        self._server: _Server | None = None
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._answer: dict[str, str] | None = None

    @property
    def redirect_uri(self) -> str:
        """The redirect URI to give to the provider.

        Raises:
            AuthenticationError: Code ``not_started``.
        """
        if self._server is None:
            raise AuthenticationError(code="not_started")
        return f"http://{self._server.authority}{_PATH}"

    def start(self) -> str:
        """Start listening, and return the redirect URI. While running, only return it.

        Raises:
            ConfigurationError: The port is in use, or the address does not exist on this machine.
        """
        with self._lock:
            if self._server is None:
                self._answer = None
                self._ended.clear()
                self._server = _Server(self.host, self.port, self._receive)
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
            server = self._server
            if server is not None:
                self._ended.set()
            self._server = None
        if server is not None:
            server.stop()

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


class _Server(socketserver.ThreadingTCPServer):
    """Serves each connection on its own thread, and bounds their number."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = os.name == "posix"  # on Windows it lets another program bind the same address
    request_queue_size = 128

    def __init__(self, host: str, port: int, receive: Callable[[dict[str, str]], pages.Page]) -> None:
        self.receive = receive
        self._connections: dict[socket.socket, bool] = {}  # in order of arrival: whether it is being answered
        self._changed = threading.Condition()
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            address = f"{host}, port {port or 'any'}"
            raise ConfigurationError(code="port_unavailable", address=address, reason=error.strerror) from None
        bound = self.server_address[1]
        self.authority = f"[{host}]:{bound}" if ":" in host else f"{host}:{bound}"
        self.hosts = {self.authority, f"localhost:{bound}"}
        if bound == _HTTP_PORT:  # browsers omit it
            self.hosts |= {self.authority.removesuffix(f":{bound}"), "localhost"}
        _servers.add(self)
        self._thread = threading.Thread(
            target=self.serve_forever, args=(_POLL,), name="pywry-auth-callback", daemon=True
        )
        self._thread.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection on a new thread. If there are too many, close the oldest without a request."""
        with self._changed:
            self._connections[request] = False
            idle = [connection for connection, answering in self._connections.items() if not answering]
            if len(self._connections) > _MAX_CONNECTIONS:
                _cut(idle[0])
                del self._connections[idle[0]]
        super().process_request(request, client_address)

    def begin_answer(self, request: socket.socket) -> None:
        """Mark a connection as being answered, so that it is not closed before it gets its page."""
        with self._changed:
            if request in self._connections:
                self._connections[request] = True

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        super().shutdown_request(request)
        with self._changed:
            self._connections.pop(request, None)
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - socketserver's signature
        """Log only the type of the error: a traceback may contain an authorization code."""
        log.debug("a connection to the callback server failed (%s)", getattr(sys.exc_info()[0], "__name__", ""))

    def stop(self) -> None:
        """Stop listening; close idle connections, then those being answered after a grace period."""
        try:
            if self._thread.is_alive():  # not in a forked child, where shutdown() would wait forever
                self.shutdown()
        finally:  # even if Ctrl-C interrupts it
            self.server_close()
        with self._changed:
            for connection, answering in self._connections.items():
                if not answering:
                    _cut(connection)
            self._changed.wait_for(lambda: not any(self._connections.values()), _FAREWELL)
            for connection in self._connections:
                _cut(connection)


_servers: weakref.WeakSet[_Server] = weakref.WeakSet()


def _forget_sockets() -> None:
    """Close the parent's listening sockets in a forked child, which would keep the ports in use."""
    for server in list(_servers):
        server.socket.close()


fork.in_child(_forget_sockets)


def _cut(connection: socket.socket) -> None:
    """Shut down a connection; the thread that serves it closes the socket."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # it is closed already
        return


class _Handler(BaseHTTPRequestHandler):
    """Answers one request and closes the connection."""

    server: _Server
    default_request_version = "HTTP/1.0"  # so that malformed requests get a status line, too

    def setup(self) -> None:
        """Read the whole head of the request first, so that one deadline and one size limit cover it."""
        super().setup()
        self.rfile.close()
        self.rfile = io.BytesIO(_read_head(self.connection))
        self.connection.settimeout(_WRITE_DEADLINE)

    def parse_request(self) -> bool:
        """Mark the connection as being answered, and parse the request."""
        self.server.begin_answer(self.request)
        return super().parse_request()

    def do_GET(self) -> None:
        """Answer the request."""
        self._show(self._page())

    def _page(self) -> pages.Page:
        path, _, query = self.path.partition("?")
        if len(query) > _MAX_QUERY:  # the rest of the request may be truncated
            return pages.failed("bad_request")
        if self.headers.get_all("Host", []) not in [[host] for host in self.server.hosts]:
            return pages.failed("bad_host")  # DNS rebinding: another name resolves to this address
        if path == "/":
            return pages.WAITING
        if path != _PATH:
            return pages.failed("not_found")
        params = _read_query(query)
        if params is None or "prefetch" in self.headers.get("Sec-Purpose", ""):
            return pages.failed("bad_request")
        return self.server.receive(params)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Show one of our pages for a refused request: that of the standard library would quote the request."""
        refused_method = code == HTTPStatus.NOT_IMPLEMENTED  # the standard library's status for an unknown method
        self._show(pages.failed("bad_method" if refused_method else "bad_request"))

    def _show(self, page: pages.Page) -> None:
        body = page.html(_PLACE).encode()
        self.send_response_only(page.status)
        for name, value in pages.HEADERS.items():
            self.send_header(name, value)
        if page.status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Log nothing: a request line may contain an authorization code."""


def _read_head(connection: socket.socket) -> bytes:
    """Read up to the first empty line; return nothing if that takes too long, and a part if it is too large."""
    until = time.monotonic() + _READ_DEADLINE
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _MAX_HEAD:
        connection.settimeout(max(until - time.monotonic(), 0.001))
        try:
            received = connection.recv(4096)
        except OSError:  # too slow, or disconnected
            return b""
        if not received:
            return b""
        head += received
    return head


def _read_query(query: str) -> dict[str, str] | None:
    """Parse a query strictly; None if a name is repeated (RFC 6749 §3.1) or the encoding is ambiguous."""
    if not query.isascii():
        return None
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict")
    except ValueError:
        return None
    return None if max(Counter(name for name, _ in pairs).values(), default=1) > 1 else dict(pairs)
