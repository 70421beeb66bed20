"""What stands on the wire in the tests: a proxy that ends TLS, and servers that say what they are told to say."""

from __future__ import annotations

import http.client
import json
import math
import ssl
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.support.idp import Idp

if TYPE_CHECKING:
    from pathlib import Path


class Heard(NamedTuple):
    """One request, as it came."""

    method: str
    path: str
    headers: str
    body: bytes


class _Web:
    """An HTTP server on loopback that answers as :meth:`answer` says, and remembers what it heard."""

    scheme = "http"

    def __init__(self, certificate: Path | None = None) -> None:
        web = self
        self.heard: list[Heard] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                web.heard.append(Heard(self.command, self.path, str(self.headers), body))
                status, headers, body = web.answer(self)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                with suppress(ConnectionError):  # a client may give up waiting
                    self.end_headers()
                    self.wfile.write(body)

            do_POST = do_DELETE = do_GET  # noqa: N815 - http.server looks for these names

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.scheme = "https"
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.url = f"{self.scheme}://{self.host}/"

    def answer(self, request: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body."""
        raise NotImplementedError

    def heard_of(self, secret: str) -> bool:
        """Whether a secret came over the wire, wherever in a request."""
        return any(secret in f"{one.path} {one.headers} {one.body!r}" for one in self.heard)

    def __enter__(self) -> Any:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class Proxy(_Web):
    """Ends TLS before a server on this machine.

    Attributes:
        host_header: What to send as Host; None to pass on the browser's.
        forwarded: What to send as X-Forwarded-Proto; empty for nothing.
        cut: The beginning of each path that is taken away.
        login: Whether it redirects every request to a login page of its own.
    """

    def __init__(self, port: int, certificate: Path) -> None:
        super().__init__(certificate)
        self.host_header: str | None = None
        self.forwarded = "https"
        self.cut = ""
        self.login = False
        self._port = port

    def answer(self, request: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
        """Ask the server."""
        if self.login:
            return 302, {"Location": "https://sso.example.org/login"}, b""
        headers = {"Host": self.host_header or request.headers["Host"], "Connection": "close"}
        headers |= {"X-Forwarded-Proto": self.forwarded} if self.forwarded else {}
        headers |= {"Authorization": request.headers["Authorization"]} if "Authorization" in request.headers else {}
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request("GET", request.path.removeprefix(self.cut), headers=headers)
            answer = connection.getresponse()
            return answer.status, {"Content-Type": answer.headers.get("Content-Type", "")}, answer.read()
        finally:
            connection.close()


class Wire(_Web):
    """Says what it is told: ``answers`` has a status, headers and a JSON value for each path; all else is not found."""

    def __init__(self, certificate: Path | None = None) -> None:
        super().__init__(certificate)
        self.answers: dict[str, tuple[int, dict[str, str], Any]] = {}

    def answer(self, request: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
        """Look it up."""
        path = request.path.partition("?")[0]
        status, headers, value = self.answers.get(path, (404, {}, {"message": "CANARY not found"}))
        return status, {"Content-Type": "application/json", **headers}, json.dumps(value).encode()


class EarlyIdp(Idp):
    """A provider whose clock is so many seconds ahead of ours; NaN for one that makes no sense."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        super().__init__()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        handler: Any = super()._handler()
        honest, seconds = handler.date_time_string, self._seconds

        def date(request: Any, when: float | None = None) -> str:
            return "never" if math.isnan(seconds) else str(honest(request, (when or time.time()) + seconds))

        handler.date_time_string = date
        return handler
