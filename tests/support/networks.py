"""Networks of companies, on loopback: proxies that read TLS, want a password, or speak SOCKS5.

Each ends TLS itself, with a certificate of an authority of its own for whatever host is asked for, and passes the
request on in plain text to a provider on this machine. So hosts need no address, and a request that avoids the proxy
finds nothing.
"""

from __future__ import annotations

import base64
import contextlib
import select
import socket
import socketserver
import ssl
import struct
import threading
from typing import TYPE_CHECKING, Any

import trustme

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

    from tests.support.idp import Idp

PASSWORD = "CANARY:p@ss/w%rd"  # every character that has a meaning in URLs
QUOTED = "CANARY%3Ap%40ss%2Fw%25rd"


class Company:
    """A company's network: an authority of its own, and where its proxies lead.

    Attributes:
        authority: Signs certificates for all hosts.
    """

    def __init__(self, idp: Idp) -> None:
        self.authority = trustme.CA(organization_name="Corp Root")
        self.target = idp._server.server_address[:2]

    def certificate(self, folder: Path) -> str:
        """Write the authority's certificate to a file."""
        self.authority.cert_pem.write_to_path(folder / "corp.pem")
        return str(folder / "corp.pem")

    def inspect(self, connection: socket.socket, host: str, target: Any = None) -> None:
        """End TLS as ``host``, and pass on what is in it to the provider or ``target``, until one side closes."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(host).configure_cert(context)
        inside = context.wrap_socket(connection, server_side=True)
        with inside, socket.create_connection(target or self.target) as there:
            _pass_on(inside, there)


def _pass_on(inside: ssl.SSLSocket, there: socket.socket) -> None:
    while True:
        ready = [inside] if inside.pending() else select.select([inside, there], [], [])[0]
        for source, target in ((inside, there), (there, inside)):
            if source in ready:
                source.settimeout(0)
                try:
                    data = source.recv(65536)
                except (BlockingIOError, ssl.SSLWantReadError):
                    continue  # a part of a record
                if not data:
                    return
                target.settimeout(5)
                target.sendall(data)


class _Server(socketserver.ThreadingTCPServer):
    """Serves each connection on a thread.

    Attributes:
        asked: ``host:port`` of every request for a connection.
        password: The password that it wants from the user ``ada``; empty for none.
    """

    daemon_threads = True
    scheme = "http"

    def __init__(self, company: Company) -> None:
        super().__init__(("127.0.0.1", 0), socketserver.StreamRequestHandler)
        self.company = company
        self.asked: list[str] = []
        self.password = ""
        self.address = f"{self.scheme}://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def at(self, password: str = QUOTED, scheme: str = "") -> str:
        """The proxy's URL with a user's name and password."""
        return f"{scheme or self.scheme}://ada:{password}@{self.address.partition('://')[2]}"

    def finish_request(self, request: socket.socket, _: object) -> None:  # type: ignore[override]
        """Serve a connection; one that breaks ends alone."""
        with contextlib.suppress(OSError):
            self.serve(request)

    def serve(self, connection: socket.socket) -> None:
        """Serve a connection."""
        raise NotImplementedError


class HttpProxy(_Server):
    """A proxy for CONNECT (RFC 9110 §9.3.6).

    Attributes:
        status: What it answers instead of making a connection; empty for an honest proxy.
    """

    status = ""

    def serve(self, connection: socket.socket) -> None:
        """Answer one CONNECT."""
        head = _until(connection, b"\r\n\r\n").decode("latin-1")
        target = head.split()[1]
        self.asked.append(target)
        credentials = base64.b64encode(f"ada:{self.password}".encode()).decode()
        if self.password and f"Proxy-Authorization: Basic {credentials}\r\n" not in head:
            connection.sendall(
                b'HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm="corp"\r\nContent-Length: 0\r\n\r\n'
            )
        elif self.status:
            connection.sendall(f"HTTP/1.1 {self.status}\r\nContent-Length: 0\r\n\r\n".encode())
        else:
            connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            self.company.inspect(connection, target.rpartition(":")[0])


class TlsFront(_Server):
    """Ends TLS in front of a proxy, as for ``https://`` in the proxy's own address."""

    scheme = "https"

    def __init__(self, company: Company, proxy: HttpProxy) -> None:
        super().__init__(company)
        self._proxy = proxy

    def serve(self, connection: socket.socket) -> None:
        """Pass on a connection."""
        self.company.inspect(connection, "127.0.0.1", self._proxy.server_address)


class SocksProxy(_Server):
    """A SOCKS5 proxy (RFC 1928, and RFC 1929 for passwords).

    Attributes:
        reply: The reply to a request for a connection; 0 for success.
        nonsense: What it says instead of SOCKS5; empty for an honest proxy.
    """

    scheme = "socks5"
    reply = 0
    nonsense = b""

    def serve(self, connection: socket.socket) -> None:
        """Negotiate, and connect."""
        methods = _exactly(connection, _exactly(connection, 2)[1])
        method = 2 if self.password else 0
        if self.nonsense or method not in methods:
            connection.sendall(self.nonsense or b"\x05\xff")
            return
        connection.sendall(bytes([5, method]))
        if self.password and not self._knows(connection):
            return
        kind = _exactly(connection, 4)[3]
        host = _exactly(connection, _exactly(connection, 1)[0]).decode() if kind == 3 else f"type {kind}"
        (port,) = struct.unpack("!H", _exactly(connection, 2))
        self.asked.append(f"{host}:{port}")
        connection.sendall(bytes([5, self.reply, 0, 1, 0, 0, 0, 0, 0, 0]))
        if not self.reply:
            self.company.inspect(connection, host)

    def _knows(self, connection: socket.socket) -> bool:
        user = _exactly(connection, _exactly(connection, 2)[1]).decode()
        password = _exactly(connection, _exactly(connection, 1)[0]).decode()
        known = (user, password) == ("ada", self.password)
        connection.sendall(bytes([1, not known]))
        return known


def _exactly(connection: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        data += connection.recv(length - len(data)) or _gone()
    return data


def _until(connection: socket.socket, end: bytes) -> bytes:
    data = b""
    while end not in data:
        data += connection.recv(65536) or _gone()
    return data


def _gone() -> bytes:
    raise ConnectionError


def serve_tls(idp: Idp, certificate: trustme.LeafCert, clients: trustme.CA | None = None) -> str:
    """Let a provider speak TLS with a certificate, and return its issuer. Call it before the provider serves.

    With ``clients``, only clients with a certificate of this authority are served.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    if clients is not None:
        clients.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    idp._server.socket = context.wrap_socket(idp._server.socket, server_side=True, do_handshake_on_connect=False)
    idp.issuer = idp.issuer.replace("http:", "https:")
    return idp.issuer
