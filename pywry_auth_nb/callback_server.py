"""`OAuthCallbackServer`: waits on this machine for the browser to bring the provider's answer (RFC 8252 §7.3).

Any page in the browser and any program of this machine can connect to it. So a connection costs little, none can hold
up another, and what does not belong to the sign-in that is waited for changes nothing.
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
_MAX_HEAD = 65_536  # bytes: request line and headers; cookies of all of this machine's ports come here
_MAX_QUERY = 8192
_READ_DEADLINE = 10.0  # seconds in which a request must have arrived
_WRITE_DEADLINE = 5.0
_FAREWELL = 1.0  # seconds that a page which is being written may still take when the server stops
_POLL = 0.05  # seconds in which the server notices that it must stop


class OAuthCallbackServer:
    """An HTTP server on loopback for one answer of a provider. Also a context manager, which starts and stops it.

    Args:
        host: A loopback address to listen at. An address and not a name, since a name may lead elsewhere (§8.3).
        port: Where to listen; 0 for any free port, which is what providers must allow for (§7.3).
        handle: Takes an answer, as soon as it comes and on a thread of its own: gets the query, each name once, and
            returns the page to show and whether the waiting is over. When left out, the first answer that has a
            ``state`` and a ``code``, or an ``error``, ends the waiting, and the page says no more than that it came.

    Raises:
        ConfigurationError: ``host`` is not loopback, or ``port`` is none.
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
        self._handle = handle or _take_anything
        self._server: _Server | None = None
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._answer: dict[str, str] | None = None

    @property
    def redirect_uri(self) -> str:
        """Where the provider must send the browser.

        Raises:
            AuthenticationError: Code ``not_started``.
        """
        if self._server is None:
            raise AuthenticationError(code="not_started")
        return f"http://{self._server.authority}{_PATH}"

    def start(self) -> str:
        """Begin to listen, and return the redirect URI. Does nothing more while it is running.

        Raises:
            ConfigurationError: The port is taken, or this machine does not have the address.
        """
        with self._lock:
            if self._server is None:
                self._answer = None
                self._over.clear()
                self._server = _Server(self.host, self.port, self._receive)
        return self.redirect_uri

    def wait_for_callback(self, timeout: float = 120.0) -> dict[str, str | None] | None:
        """Wait for the provider's answer.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            Its parameters as they came, yet to be checked: ``code``, ``state``, ``error`` and ``error_description``,
            None where absent, and what else there was (``iss``, …); or None when time is up or the server was stopped.

        Raises:
            AuthenticationError: Code ``not_started``.
        """
        if not self._over.is_set():
            _ = self.redirect_uri
            self._over.wait(timeout)
        return None if self._answer is None else {**dict.fromkeys(_MEMBERS), **self._answer}

    def stop(self) -> None:
        """End all connections and free the port. Takes a moment at most, and may be called again, from any thread."""
        with self._lock:
            server = self._server
            if server is not None:
                self._over.set()
            self._server = None
        if server is not None:
            server.stop()

    def _receive(self, params: dict[str, str]) -> pages.Page:
        """Take an answer and return the page for it."""
        if self._over.is_set():
            return pages.failed("already_used")
        try:
            page, over = self._handle(params)
        except Exception as error:  # noqa: BLE001 - the hook is anybody's, and its text may hold the answer
            log.error("the callback server's handler failed: %s", type(error).__name__)  # noqa: TRY400
            return pages.failed("internal")
        with self._lock:
            if over and not self._over.is_set():
                self._answer = params
                self._over.set()
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


def _take_anything(params: dict[str, str]) -> tuple[pages.Page, bool]:
    """Take the first thing that has the form of an answer (RFC 6749 §4.1.2): which state is ours is not known here.

    An error may come without a state: some providers send it so.
    """
    code, error = params.get("code"), params.get("error")
    if bool(code) == bool(error) or (code and not params.get("state")):
        return pages.failed("bad_request"), False
    if error:
        return pages.failed("access_denied" if error == "access_denied" else "provider_error"), True
    return pages.RECEIVED, True


class _Server(socketserver.ThreadingTCPServer):
    """Listens, with one thread per connection and a bound on how many there are."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = os.name == "posix"  # on Windows it would let another program listen at the same address
    request_queue_size = 128

    def __init__(self, host: str, port: int, receive: Callable[[dict[str, str]], pages.Page]) -> None:
        self.receive = receive
        self._connections: dict[socket.socket, bool] = {}  # in the order they came: whether it is being answered
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
        if bound == _HTTP_PORT:  # browsers leave it out
            self.hosts |= {self.authority.removesuffix(f":{bound}"), "localhost"}
        _servers.add(self)
        self._thread = threading.Thread(
            target=self.serve_forever, args=(_POLL,), name="pywry-auth-callback", daemon=True
        )
        self._thread.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection a thread; where there are too many, the oldest that has not asked anything yet must go."""
        with self._changed:
            self._connections[request] = False
            idle = [connection for connection, answering in self._connections.items() if not answering]
            if len(self._connections) > _MAX_CONNECTIONS:
                _cut(idle[0])
                del self._connections[idle[0]]
        super().process_request(request, client_address)

    def begin_answer(self, request: socket.socket) -> None:
        """Note that a connection has asked something, so that it is not cut before it has its page."""
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
        """Note the kind of what went wrong with a connection, and no more: a traceback may hold a code."""
        log.debug("a connection to the callback server failed (%s)", getattr(sys.exc_info()[0], "__name__", ""))

    def stop(self) -> None:
        """Stop listening; cut who is idle, and give who is being answered a moment."""
        try:
            if self._thread.is_alive():  # not in a forked child, where nobody would ever answer
                self.shutdown()
        finally:  # also when Ctrl-C comes just now
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
    """In a forked child: it must not keep the parent's ports busy."""
    for server in list(_servers):
        server.socket.close()


fork.in_child(_forget_sockets)


def _cut(connection: socket.socket) -> None:
    """End a connection that another thread may be waiting on; that thread closes it."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # it is over already
        return


class _Handler(BaseHTTPRequestHandler):
    """Answers one request and closes the connection."""

    server: _Server
    default_request_version = "HTTP/1.0"  # what cannot be read gets an answer with a status line, too

    def setup(self) -> None:
        """Read all of a request's head before any of it is looked at, so that time and size have one bound each."""
        super().setup()
        self.rfile.close()
        self.rfile = io.BytesIO(_read_head(self.connection))
        self.connection.settimeout(_WRITE_DEADLINE)

    def parse_request(self) -> bool:
        """Note that there is something to answer."""
        self.server.begin_answer(self.request)
        return super().parse_request()

    def do_GET(self) -> None:
        """Answer."""
        self._show(self._page())

    def _page(self) -> pages.Page:
        path, _, query = self.path.partition("?")
        if len(query) > _MAX_QUERY:  # the rest of the request may be cut off
            return pages.failed("bad_request")
        if self.headers.get_all("Host", []) not in [[host] for host in self.server.hosts]:
            return pages.failed("bad_host")  # a name that somebody has pointed here (DNS rebinding)
        if path == "/":
            return pages.WAITING
        if path != _PATH:
            return pages.failed("not_found")
        params = _read_query(query)
        if params is None or "prefetch" in self.headers.get("Sec-Purpose", ""):
            return pages.failed("bad_request")
        return self.server.receive(params)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Show a page of ours for what the standard library refuses: it would quote the request."""
        refused_method = code == HTTPStatus.NOT_IMPLEMENTED  # its word for a method that we do not have
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
        """Write nothing down: a request line holds a code."""


def _read_head(connection: socket.socket) -> bytes:
    """Return what a connection sends up to the first empty line: nothing if too slow, a part if too long."""
    until = time.monotonic() + _READ_DEADLINE
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _MAX_HEAD:
        connection.settimeout(max(until - time.monotonic(), 0.001))
        try:
            received = connection.recv(4096)
        except OSError:  # too slow, or gone
            return b""
        if not received:
            return b""
        head += received
    return head


def _read_query(query: str) -> dict[str, str] | None:
    """Return the parameters if each is there once (RFC 6749 §3.1) and can be read in one way only."""
    if not query.isascii():
        return None
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict")
    except ValueError:
        return None
    return None if max(Counter(name for name, _ in pairs).values(), default=1) > 1 else dict(pairs)
