"""The control channel of a kernel behind a Kernel Gateway or Enterprise Gateway: a websocket for each request.

Jupyter's own client for such a kernel sends the gateway no token, blocks the server's loop while it connects, and fails
unless all channels are open.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import asynccontextmanager
from http.client import responses
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from jupyter_client.jsonutil import json_default
from jupyter_server.gateway.gateway_client import GatewayClient
from jupyter_server.utils import url_path_join
from tornado.escape import url_escape
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.iostream import UnsatisfiableReadError
from tornado.websocket import WebSocketError, websocket_connect

from .control_channel import SLICE, ControlChannel, KernelUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tornado.websocket import WebSocketClientConnection

    from .._wire.error_codes import ErrorCode

log = logging.getLogger("pywry_auth_nb")

_CONNECT_DEADLINE = 10.0  # seconds for the address, TLS and the handshake, in which the gateway asks the kernel
_MAX_WAITING = 100  # answers that wait to be read: a kernel gives about ten to each request
_MAX_LENGTH = 4 * 2**20  # characters of an answer: claims about a user are half a megabyte at most, before escaping
_GONE = 404
_REFUSALS = frozenset({301, 302, 303, 307, 308, 401, 403, 407})  # a redirect leads to a login page


@asynccontextmanager
async def open_gateway(client: Any) -> AsyncIterator[ControlChannel]:
    """Open the control channel of a kernel behind the gateway in Jupyter's configuration.

    Args:
        client: Jupyter's ``GatewayKernelClient`` for the kernel, not started.

    Raises:
        KernelUnavailable: Code ``kernel_gone`` (the gateway has no such kernel), ``gateway_refused`` or
            ``gateway_unavailable``.
    """
    channel = _GatewayChannel(client.session)
    await channel.connect(_handshake(client))
    try:
        yield channel
    finally:
        channel.close()


def _handshake(client: Any) -> HTTPRequest:
    """Return the request as Jupyter is configured to send it: address, TLS, headers, token and its renewal, cookies."""
    gateway: Any = GatewayClient.instance()
    url = url_path_join(gateway.ws_url or "", gateway.kernels_endpoint, url_escape(client.kernel_id), "channels")
    deadlines = {"connect_timeout": _CONNECT_DEADLINE, "request_timeout": _CONNECT_DEADLINE}
    settings = {**gateway.load_connection_args(), **deadlines}
    return HTTPRequest(f"{url}?session_id={client.session.session}", **settings)


class _GatewayChannel:
    """The control channel in a websocket that carries all channels of a kernel.

    Args:
        session: Makes our messages. Its ID stands in each of them, in the answers, and in what the gateway says to us.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self._answers: asyncio.Queue[str | None] = asyncio.Queue(_MAX_WAITING)
        self._socket: WebSocketClientConnection

    async def connect(self, handshake: HTTPRequest) -> None:
        """Open the websocket."""
        host = urlsplit(handshake.url).hostname
        code: ErrorCode = "gateway_unavailable"
        try:
            self._socket = await websocket_connect(handshake, on_message_callback=self._on_message)
        except HTTPClientError as error:
            code = _code_of(error.code)
            reason = f"HTTP {error.code}" if error.code in responses else "no answer"
        except (OSError, WebSocketError, UnsatisfiableReadError) as error:
            reason = type(error).__name__
        else:
            return
        log.warning("kernel gateway %s: %s (%s)", host, code, reason)
        raise KernelUnavailable(code)

    def close(self) -> None:
        """Close the websocket."""
        self._socket.close()

    def _on_message(self, text: str | bytes | None) -> None:
        """Keep a message for us, or the end. What other clients cause may be megabytes, so it is not parsed."""
        if text is None or (isinstance(text, str) and len(text) <= _MAX_LENGTH and self._session.session in text):
            self._keep(text)

    def _keep(self, text: str | None) -> None:
        """Keep a message. Too many count as the end: no kernel sends so many."""
        if self._answers.full():
            self._answers, text = asyncio.Queue(_MAX_WAITING), None
        self._answers.put_nowait(text)

    async def send(self, message_type: str, content: dict[str, Any]) -> str:
        """Send a message with its channel: a gateway logs one without it, in full."""
        message = {**self._session.msg(message_type, content), "channel": "control"}
        try:
            written = self._socket.write_message(json.dumps(message, default=json_default))
            await asyncio.wait_for(written, _CONNECT_DEADLINE)
        except (OSError, WebSocketError, asyncio.TimeoutError):
            raise KernelUnavailable("gateway_unavailable") from None
        return str(message["msg_id"])

    async def receive(self) -> dict[str, Any] | None:
        """Return the next answer, or None if there is none yet."""
        try:
            text = await asyncio.wait_for(self._answers.get(), SLICE)
        except asyncio.TimeoutError:
            return None
        if text is None:
            raise KernelUnavailable("gateway_unavailable")
        return _read(text)


def _code_of(status: int) -> ErrorCode:
    """Return the code for a handshake that was answered with ``status``."""
    if status == _GONE:
        return "kernel_gone"
    return "gateway_refused" if status in _REFUSALS else "gateway_unavailable"


def _read(text: str) -> dict[str, Any] | None:
    """Return an answer of the kernel; None for other messages.

    Raises:
        KernelUnavailable: The gateway says that the kernel has ended.
    """
    try:
        message: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    match message:
        case {"msg_type": "status", "content": {"execution_state": "dead" | "restarting"}}:
            raise KernelUnavailable("kernel_gone")
        case {"channel": "control", "parent_header": {"msg_id": _}, "msg_type": _, "content": {}}:
            answer: dict[str, Any] = message
            return answer
    return None
