"""`Endpoint`: a small HTTP server on loopback that gives tokens to programs that hold a key.

Any program on this machine and any web page in its browsers can connect to it. A page sends an ``Origin``, or reaches
it by another name (DNS rebinding): both are refused before the key is looked at.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import math
import secrets
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from tornado.httpserver import HTTPServer
from tornado.log import gen_log
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler

from .._io import fork
from .._io.loop import on_loop
from .._wire.error_codes import explain
from ..errors import AuthenticationError, LoginRequired, without_traceback
from ..tokens import Secret
from .link import HOST, NONCE_HEADER, PROOF_HEADER, proof

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from tornado.iostream import IOStream

    from .._wire.error_codes import ErrorCode

    #: Answers one request: gets its body, and returns text or what is sent as JSON.
    Route = Callable[[bytes], Awaitable[str | dict[str, Any]]]

log = logging.getLogger("pywry_auth_nb")

_MAX_HEAD = 16 * 1024  # bytes
_MAX_BODY = 64 * 1024
_MAX_CONNECTIONS = 128  # a kernel may have a thousand files open; of more connections the oldest idle ones are closed
_BACKLOG = 128
_IDLE = 20.0  # seconds that a connection may wait for a request, and a request for its headers
_READ_DEADLINE = 10.0  # seconds for the body
_ANSWER_DEADLINE = 40.0  # seconds for an answer: a token may have to be renewed first
_UNAVAILABLE = HTTPStatus.SERVICE_UNAVAILABLE


@dataclass(frozen=True, repr=False)
class Grant:
    """What the holder of one key may ask for.

    Attributes:
        routes: What answers, by method and path.
        until: Epoch seconds until which the key is good.
        name: The part of the key that is no secret.
        secret: The rest of it.
    """

    routes: Mapping[tuple[str, str], Route]
    until: float = math.inf
    name: str = field(default_factory=lambda: secrets.token_urlsafe(6))
    secret: str = field(default_factory=lambda: Secret(secrets.token_urlsafe(32)))

    @property
    def key(self) -> str:
        """The key, as it is sent."""
        return Secret(f"{self.name}.{self.secret}")


class Refused(Exception):  # noqa: N818 - it is answered, not raised to a user
    """A request that gets an error: a code of the table."""

    def __init__(self, code: ErrorCode) -> None:
        super().__init__(code)
        self.code = code


class Endpoint:
    """Listens at a free port of 127.0.0.1 while it has grants. Use its methods on the background loop.

    Attributes:
        port: The port; 0 until :meth:`start`.
        closed: Whether it gives out nothing any more, for good. From any thread.
    """

    def __init__(self) -> None:
        self.port = 0
        self.closed = False
        self.grants: dict[str, Grant] = {}
        self._server: _Server | None = None
        fork.in_child(self._forget)

    @property
    def url(self) -> str:
        """The address, without a path."""
        return f"http://{HOST}:{self.port}"

    @property
    def hosts(self) -> frozenset[str]:
        """The values of ``Host`` that are answered."""
        return frozenset({f"{HOST}:{self.port}", f"localhost:{self.port}"})

    @on_loop
    async def start(self) -> None:
        """Begin to listen, unless it does.

        Raises:
            LoginRequired: It was closed meanwhile, by a sign-out.
        """
        if self.closed:
            raise LoginRequired
        if self._server is None:
            sockets = bind_sockets(0, HOST, backlog=_BACKLOG)
            self.port = sockets[0].getsockname()[1]
            self._server = _Server(self)
            self._server.add_sockets(sockets)

    @on_loop
    async def stop(self) -> None:
        """Stop listening and close all connections."""
        self.closed = True
        server, self._server = self._server, None
        if server is not None:
            server.stop()
            for stream in server.streams:
                stream.close()

    def admit(self, grant: Grant) -> None:
        """Accept a key, and forget those whose time is over."""
        now = time.time()
        self.grants = {name: known for name, known in self.grants.items() if now < known.until}
        self.grants[grant.name] = grant

    def find(self, authorization: str) -> Grant | None:
        """Return the grant of a key, which clients send by itself (AWS) or as a bearer token."""
        scheme, _, rest = authorization.partition(" ")
        name, _, secret = (rest if scheme.lower() == "bearer" else authorization).partition(".")
        grant = self.grants.get(name)
        known = secrets.token_urlsafe(32) if grant is None else grant.secret
        if not hmac.compare_digest(secret.encode(), known.encode()) or grant is None:
            return None
        return grant if time.time() < grant.until and not self.closed else None

    def _forget(self) -> None:
        """Serve nothing in a forked child: close the parent's sockets there."""
        server, self._server = self._server, None
        self.closed = True
        if server is not None:
            fork.leave_alone(server)
            server.close_in_child()


class _Server(HTTPServer):
    """tornado's server with a bounded number of connections."""

    def initialize(self, endpoint: Endpoint) -> None:  # type: ignore[override]
        """Set up, as tornado's configurable classes do."""
        self.streams: dict[IOStream, bool] = {}  # in order of arrival: whether it is being answered
        rules = [(r".*", _Handler, {"endpoint": endpoint, "server": self})]
        super().initialize(
            Application(rules, log_function=_log_nothing),
            max_header_size=_MAX_HEAD,
            max_body_size=_MAX_BODY,
            idle_connection_timeout=_IDLE,
            body_timeout=_READ_DEADLINE,
        )

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        """Serve a connection. If there are too many, close the oldest that is not being answered."""
        for known in [known for known in self.streams if known.closed()]:
            del self.streams[known]
        idle = [known for known, answering in self.streams.items() if not answering]
        if len(self.streams) >= _MAX_CONNECTIONS and idle:
            idle[0].close()
        self.streams[stream] = False
        super().handle_stream(stream, address)

    def note(self, stream: IOStream, *, answering: bool) -> None:
        """Note whether a connection is being answered; the one that was answered last counts as the newest."""
        self.streams.pop(stream, None)
        self.streams[stream] = answering

    def close_in_child(self) -> None:
        """Close the sockets in a forked child. The parent's loop has its own, and goes on."""
        for each in [*self._sockets.values(), *(stream.socket for stream in self.streams if not stream.closed())]:
            each.close()


class _Handler(RequestHandler):
    """Checks a request, and answers it with what its key is good for."""

    SUPPORTED_METHODS = ("GET", "POST")

    def initialize(self, endpoint: Endpoint, server: _Server) -> None:
        self.endpoint = endpoint
        self.server = server
        self.grant: Grant | None = None
        stream = getattr(self.request.connection, "stream", None)
        self.stream: IOStream | None = stream
        if stream is not None:
            server.note(stream, answering=True)

    def on_finish(self) -> None:
        """Mark the connection as idle."""
        if self.stream is not None:
            self.server.note(self.stream, answering=False)

    def set_default_headers(self) -> None:
        """Say nothing about the server, and keep answers out of caches and pages."""
        self.clear_header("Server")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")

    def compute_etag(self) -> None:
        """Have no ETag: it would be a hash of a token."""

    async def get(self) -> None:
        """Answer a request."""
        try:
            answer = await asyncio.wait_for(self._answer(), _ANSWER_DEADLINE)
        except Refused as refused:
            self._refuse(refused.code, explain(refused.code).status)
        except asyncio.TimeoutError:
            self._refuse("timeout", _UNAVAILABLE)
        except AuthenticationError as error:
            failure = without_traceback(error)
            self._refuse(failure.code, _UNAVAILABLE, failure.message)
        else:
            self._send(answer)

    post = get

    async def _answer(self) -> str | dict[str, Any]:
        _check_caller(self.request.headers, self.endpoint.hosts)
        grant = self.grant = self.endpoint.find(self.request.headers.get("Authorization", ""))
        if grant is None:
            raise Refused("endpoint_key")
        route = grant.routes.get((str(self.request.method), self.request.path))
        if route is None or self.request.query:
            raise Refused("endpoint_path")
        return await route(self.request.body)

    def _refuse(self, code: ErrorCode, status: int, message: str = "") -> None:
        self.set_status(status)
        self._send({"error": code, "message": message or explain(code).text()})

    def _send(self, answer: str | dict[str, Any]) -> None:
        is_text = isinstance(answer, str)
        body = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
        self.set_header("Content-Type", "text/plain; charset=utf-8" if is_text else "application/json")
        nonce = self.request.headers.get(NONCE_HEADER, "")
        if nonce and self.grant is not None:
            self.set_header(PROOF_HEADER, proof(self.grant.key, nonce, body))
        self.finish(body)

    def write_error(self, status_code: int, **_: Any) -> None:
        """Answer what tornado refuses, or an error of ours, with a code."""
        refused = status_code == HTTPStatus.METHOD_NOT_ALLOWED
        self._refuse("bad_method" if refused else "internal", status_code)

    def log_exception(self, typ: Any, *_: Any) -> None:
        """Log the type alone: a traceback may contain a token."""
        if not issubclass(typ, HTTPError):
            log.warning("a request to the endpoint failed (%s)", typ.__name__)


def _check_caller(headers: Mapping[str, str], hosts: frozenset[str]) -> None:
    """Refuse what a web page sends: an origin, another site, or another name of this machine."""
    site = headers.get("Sec-Fetch-Site", "none")
    if "Origin" in headers or site != "none" or headers.get("Host") not in hosts:
        raise Refused("endpoint_forbidden")


def _hide_header(record: logging.LogRecord) -> bool:
    """Leave out what tornado quotes of a malformed request: it may be a key."""
    if record.msg == "Malformed HTTP message from %s: %s":
        record.msg, record.args = "Malformed HTTP message", ()
    return True


gen_log.addFilter(_hide_header)


def _log_nothing(_: RequestHandler) -> None:
    """Log no request."""
