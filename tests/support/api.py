"""An API that wants tokens, on loopback: where the rest of a notebook sends them."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Api:
    """An API on loopback that takes tokens: ``refuse`` of them get 401. It writes down what it was sent.

    ``demand`` returns the status and the challenges (WWW-Authenticate) with which it answers a token, or None. Its
    answers have no ``body``, unless a test gives them one.

    Use it as a context manager.
    """

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str]] = []
        self.refuse: Callable[[str], bool] = lambda _: False
        self.demand: Callable[[str], tuple[int, list[str]] | None] = lambda _: None
        self.body = b""
        self.redirects: dict[str, tuple[int, str]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Api:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def tokens(self) -> list[str]:
        """The tokens it was sent, in order."""
        return [token for _, token, _ in self.seen]

    def _handler(api) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - the handler has the self
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._serve()

            def do_POST(self) -> None:
                self._serve()

            def _serve(self) -> None:
                body = _body_of(self).decode()
                token = self.headers.get("Authorization", "").removeprefix("Bearer ")
                api.seen.append((self.path, token, body))
                status, target = api.redirects.get(self.path, (200, ""))
                if status == 200 and api.refuse(token):
                    status = 401
                status, challenges = api.demand(token) or (status, [])
                self.send_response(status)
                for challenge in challenges:
                    self.send_header("WWW-Authenticate", challenge)
                if target:
                    self.send_header("Location", target)
                self.send_header("Content-Length", str(len(api.body)))
                self.end_headers()
                self.wfile.write(api.body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def _body_of(request: BaseHTTPRequestHandler) -> bytes:
    """Read a body, whole or in chunks (RFC 9112 §7.1)."""
    if request.headers.get("Transfer-Encoding") != "chunked":
        return request.rfile.read(int(request.headers.get("Content-Length", 0)))
    parts = []
    while size := int(request.rfile.readline(), 16):
        parts.append(request.rfile.read(size))
        request.rfile.readline()
    request.rfile.readline()
    return b"".join(parts)
