"""A server on loopback that takes only the newest token of a session."""

from __future__ import annotations

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pywry_auth_nb import SessionManager


class Newest:
    """The server. Use it as a context manager.

    Attributes:
        answers: What it answers, by the end of a path: JSON, or bytes with their type; ``{}`` elsewhere.
        taken: The tokens that it took, in order.
        refused: How many others it was sent.
    """

    def __init__(self, session: SessionManager) -> None:
        self.answers: dict[str, Any] = {}
        self.taken: list[str] = []
        self.refused = 0
        self._session = session
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.address}"

    def __enter__(self) -> Newest:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self, token: str) -> bool:
        """Whether ``token`` is the newest one, and has not ended; writes that down."""
        newest = self._session.token_store._records[self._session.store_key].tokens  # type: ignore[attr-defined]
        over = newest.issued_at + (newest.expires_in or 0) < time.time()
        if over or token not in {newest.access_token, newest.id_token}:
            self.refused += 1
            return False
        self.taken.append(token)
        return True

    def answer(self, path: str, token: str) -> tuple[int, str, bytes]:
        """Return status, type and body."""
        if not token or not self.take(token):
            return 401, "application/json", b"{}"
        plain = path.partition("?")[0]
        found = next((self.answers[end] for end in self.answers if plain.endswith(end)), {})
        if isinstance(found, tuple):
            return 200, *found
        return 200, "application/json", json.dumps(found).encode()

    def _handler(newest) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - the handler has the self
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, kind, body = newest.answer(self.path, _token_in(self.headers.get("Authorization", "")))
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("X-Elastic-Product", "Elasticsearch")
                if status == 401:
                    self.send_header("WWW-Authenticate", "Basic")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_POST = do_PUT = do_DELETE = do_HEAD = do_GET  # noqa: N815 - http.server looks for these names

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def _token_in(authorization: str) -> str:
    """Return the token of a header: Bearer, GitHub's ``token``, openEO's ``Bearer oidc/…``, or a Basic password."""
    scheme, _, value = authorization.partition(" ")
    if scheme == "Basic":
        return base64.b64decode(value).decode().partition(":")[2]
    return value.rpartition("/")[2]
