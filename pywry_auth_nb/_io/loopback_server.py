"""A small HTTP server on loopback that shows one page for each request (RFC 8252 §7.3).

Any web page in the browser and any program on this machine can connect to it. So connections are cheap, none can block
another, and requests for anything but an answer reach no code of ours.
"""

from __future__ import annotations

import contextlib
import errno
import io
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

from .._wire import pages
from .._wire.browser import opens_page
from .._wire.protocol import MAX_QUERY
from ..errors import ConfigurationError
from . import fork

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("pywry_auth_nb")

PATH = "/callback"
_HTTP_PORT = 80
#: Where to listen for a name: browsers try ::1 first, and another program there would get the answer.
_ADDRESSES = {"localhost": ("127.0.0.1", "::1")}
_NO_SUCH_ADDRESS = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
_TRIES = 5
_PAUSE = 0.1  # seconds between two tries of one port
_PLACE = "notebook or program"
_MAX_CONNECTIONS = 32
_MAX_HEAD = 65_536  # bytes: request line and headers; browsers send the cookies of all ports of this host
_READ_DEADLINE = 10.0  # seconds within which a request must arrive
_WRITE_DEADLINE = 5.0
_FAREWELL = 1.0  # seconds that responses in progress may still take when the server stops
_POLL = 0.05  # seconds within which the server notices that it must stop


def listen(host: str, port: int, receive: Callable[[dict[str, str]], pages.Page]) -> list[LoopbackServer]:
    """Listen at ``host``, and for a name at each of its addresses that this machine has.

    Args:
        host: The host of the redirect URI.
        port: The port; 0 for any free one.
        receive: Called with the query of each answer, each name once, on the thread of its connection. Returns the page
            to show.

    Raises:
        ConfigurationError: Code ``port_unavailable``.
    """
    tries = 0
    while True:
        tries += 1
        try:
            return _listen(host, port, receive)
        except OSError as error:
            # Any free port may be taken at the other address, and a given one by a server that is closing.
            if error.errno != errno.EADDRINUSE or tries == _TRIES:
                where = f"{host}, port {port or 'any'}"
                raise ConfigurationError(code="port_unavailable", address=where, reason=error.strerror) from None
        time.sleep(0 if port == 0 else _PAUSE)


def _listen(host: str, port: int, receive: Callable[[dict[str, str]], pages.Page]) -> list[LoopbackServer]:
    servers: list[LoopbackServer] = []
    try:
        for address in _ADDRESSES.get(host, (host,)):
            servers.append(LoopbackServer(address, servers[0].port if servers else port, host, receive))
    except OSError as error:
        if not servers or error.errno not in _NO_SUCH_ADDRESS:
            stop(servers)
            raise
    return servers


def stop(servers: list[LoopbackServer]) -> None:
    """Stop servers, within about a second."""
    with contextlib.ExitStack() as stack:  # all of them, even if Ctrl-C interrupts one
        for server in servers:
            stack.callback(server.stop)


class LoopbackServer(socketserver.ThreadingTCPServer):
    """Serves each connection on its own thread, and bounds their number."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = os.name == "posix"  # on Windows it lets another program bind the same address
    request_queue_size = 128

    def __init__(self, address: str, port: int, host: str, receive: Callable[[dict[str, str]], pages.Page]) -> None:
        self.receive = receive
        self._connections: dict[socket.socket, bool] = {}  # in order of arrival: whether it is being answered
        self._changed = threading.Condition()
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, port), _Handler)
        self.port = int(self.server_address[1])
        self.authority = f"{_in_url(host)}:{self.port}"
        names = {_in_url(address), "localhost"}
        self.hosts = {f"{name}:{self.port}" for name in names}
        if self.port == _HTTP_PORT:  # browsers omit it
            self.hosts |= names
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


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


_servers: weakref.WeakSet[LoopbackServer] = weakref.WeakSet()


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

    server: LoopbackServer
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
        if len(query) > MAX_QUERY:  # the rest of the request may be truncated
            return pages.failed("bad_request")
        if self.headers.get_all("Host", []) not in [[host] for host in self.server.hosts]:
            return pages.failed("bad_host")  # DNS rebinding: another name resolves to this address
        if path == "/":
            return pages.WAITING
        if path != PATH:
            return pages.failed("not_found")
        params = _read_query(query)
        if params is None or not opens_page(self.headers):
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
