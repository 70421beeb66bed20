"""The wire of PostgreSQL, as far as signing in and asking who one is needs it (protocol 3.0)."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import struct
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_ENCRYPTION = {80877103, 80877104}  # requests for TLS and GSSAPI
_TEXT = 25  # the OID of the type
_STATUS = {"BEGIN": b"T", "COMMIT": b"I", "ROLLBACK": b"I"}  # in a transaction, or idle, after a query
#: The value in the one row of an answer, by a part of the query.
_VALUES = {
    "conforming": "on",
    "current_schema": "public",
    "current_user": "ada",
    "isolation level": "read committed",
    "version()": "PostgreSQL 16.0",
}


class Postgres(socketserver.ThreadingTCPServer):
    """A server on loopback that asks for a clear-text password, as those do that take tokens.

    Use it as a context manager.

    Args:
        takes: Says whether a password is good.
    """

    daemon_threads = True

    def __init__(self, takes: Callable[[str], bool]) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.takes = takes
        self.open: set[socket.socket] = set()
        self.port: int = self.server_address[1]

    def __enter__(self) -> Postgres:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()
        self.shutdown()
        self.server_close()

    def hang_up(self) -> None:
        """End all connections."""
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Connection(socketserver.StreamRequestHandler):
    """One client."""

    server: Postgres

    def handle(self) -> None:
        self.server.open.add(self.connection)
        with contextlib.suppress(OSError, struct.error):  # it hangs up
            if self._sign_in():
                self._answer_queries()
        self.server.open.discard(self.connection)

    def _sign_in(self) -> bool:
        size, version = struct.unpack("!II", self.rfile.read(8))
        while version in _ENCRYPTION:
            self.wfile.write(b"N")
            size, version = struct.unpack("!II", self.rfile.read(8))
        self.rfile.read(size - 8)
        self._send(b"R", struct.pack("!I", 3))
        _, password = self._receive()
        if not self.server.takes(password.rstrip(b"\0").decode()):
            self._send(b"E", b"SFATAL\0C28P01\0Mpassword authentication failed\0\0")
            return False
        self._send(b"R", struct.pack("!I", 0))
        for name, value in (("server_version", "16.0"), ("client_encoding", "UTF8")):
            self._send(b"S", f"{name}\0{value}\0".encode())
        self._send(b"K", struct.pack("!II", 1, 1))
        self._send(b"Z", b"I")
        return True

    def _answer_queries(self) -> None:
        query, status = "", b"I"
        while (message := self._receive())[0] != b"X":
            kind, body = message
            if kind in b"QP":  # a query, or one with parameters, whose parts follow
                query = body.split(b"\0")[kind == b"P"].decode().strip()
                status = _STATUS.get(query, status)
            self._answer(kind, query)
            if kind in b"QS":
                self._send(b"Z", status)

    def _answer(self, kind: bytes, query: str) -> None:
        value = _value_of(query)
        if kind in b"PB":
            self._send(b"1" if kind == b"P" else b"2", b"")
        if kind in b"QD" and value is not None:
            self._send(b"T", struct.pack("!h6sIhIhih", 1, b"value\0", 0, 0, _TEXT, -1, -1, 0))
        elif kind == b"D":
            self._send(b"n", b"")
        if kind in b"QE" and value:
            self._send(b"D", struct.pack("!hI", 1, len(value)) + value.encode())
        if kind in b"QE":
            self._send(b"C", f"{query.partition(' ')[0]}\0".encode())

    def _receive(self) -> tuple[bytes, bytes]:
        kind, size = struct.unpack("!cI", self.rfile.read(5))
        return kind, self.rfile.read(size - 4)

    def _send(self, kind: bytes, body: bytes) -> None:
        self.wfile.write(kind + struct.pack("!I", len(body) + 4) + body)


def _value_of(query: str) -> str | None:
    """Return the value in the one row of an answer; nothing if there is no row, None if there are no columns."""
    if not query.lower().startswith(("select", "show")):
        return None
    return next((value for part, value in _VALUES.items() if part in query.lower()), "")
