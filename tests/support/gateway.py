"""Gateways to kernels: a real Kernel Gateway as a process, and a lookalike that does as a test says, right or wrong."""

from __future__ import annotations

import json
import sys
import uuid
from typing import TYPE_CHECKING, Any

import httpx
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from pywry_auth_nb._wire.protocol import PROTOCOL
from tests.e2e.processes import HERE, Process, write_json
from tests.support.ports import free_port

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tornado.httputil import HTTPServerRequest


class KernelGateway(Process):
    """A Kernel Gateway at DEBUG, with a home of its own; it lists its kernels, as JupyterLab wants.

    Args:
        directory: An empty folder for all of it.
        token: What it asks of its clients; empty for nothing.
    """

    def __init__(self, directory: Path, token: str = "") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        super().__init__(directory / "gateway.log")
        self.token = token
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._home = directory / "home"

    def command(self) -> list[str]:
        """Return the command line; everything else is in the configuration file."""
        settings = {
            "auth_token": self.token,
            "env_process_whitelist": ["HOME", "IPYTHONDIR"],
            "ip": "127.0.0.1",
            "log_level": "DEBUG",
            "port": self.port,
            "port_retries": 0,
        }
        config = {"KernelGatewayApp": settings, "JupyterWebsocketPersonality": {"list_kernels": True}}
        write_json(self._home / "config" / "jupyter_kernel_gateway_config.json", config)
        return [sys.executable, str(HERE / "jupyter_main.py"), "gateway"]

    def env(self) -> dict[str, str]:
        """Return an environment in which only this gateway's own folders and the interpreter's are found."""
        jupyter = {f"JUPYTER_{name.upper()}_DIR": str(self._home / name) for name in ("config", "data", "runtime")}
        own = {"HOME": str(self._home), "IPYTHONDIR": str(self._home / "ipython"), "JUPYTER_PREFER_ENV_PATH": "1"}
        return {**super().env(), **own, **jupyter}

    def is_ready(self) -> bool:
        """Return whether it answers with its token."""
        try:
            return self.api("GET", "api").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def api(self, method: str, path: str) -> httpx.Response:
        """Make a request with its token."""
        headers = {"Authorization": f"token {self.token}"} if self.token else {}
        return httpx.request(method, f"{self.url}/{path}", headers=headers, timeout=15, trust_env=False)

    def signal(self, number: int) -> None:
        """Send its process a signal."""
        assert self._child is not None
        self._child.send_signal(number)

    def connection_file(self, kernel_id: str) -> str:
        """The file by which a client on this machine reaches a kernel without the gateway."""
        return str(self._home / "runtime" / f"kernel-{kernel_id}.json")

    def configuration(self) -> dict[str, str]:
        """What a Jupyter server in front must be told (``c.GatewayClient…``)."""
        return {"url": self.url, "auth_token": self.token}


class LookalikeGateway:
    """Starts kernels that are not there, and plays them on the current event loop. Use it as a context manager.

    Attributes:
        status: What websockets are answered with; 101 is honest.
        gate: If there is one, what the handshakes of websockets wait for.
        react: Plays the kernel: gets the websocket and the message.
        handshakes: The websockets' requests.
        heard: The messages.
    """

    def __init__(self, tls: Mapping[str, str] | None = None) -> None:
        self.status = 101
        self.gate: asyncio.Event | None = None
        self.react: Callable[[WebSocketHandler, dict[str, Any]], None] = answer
        self.handshakes: list[HTTPServerRequest] = []
        self.heard: list[dict[str, Any]] = []
        routes = [
            (r"/api/kernels(?:/[^/]+)?", _Kernels),
            (r"/api/kernels/[^/]+/channels", _Channels, {"gateway": self}),
        ]
        self._server = HTTPServer(Application(routes), ssl_options=dict(tls) if tls else None)  # type: ignore[arg-type]
        self._sockets = bind_sockets(0, "127.0.0.1")
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._sockets[0].getsockname()[1]}"

    def __enter__(self) -> LookalikeGateway:
        self._server.add_sockets(self._sockets)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()


class _Kernels(RequestHandler):
    def post(self) -> None:
        self.set_status(201)
        self._finish_model()

    def get(self) -> None:
        self._finish_model()

    def delete(self) -> None:
        self.set_status(204)

    def _finish_model(self) -> None:
        times = {"last_activity": "2026-01-01T00:00:00.000000Z", "execution_state": "idle", "connections": 0}
        self.finish({"id": str(uuid.uuid4()), "name": "python3", **times})


class _Channels(WebSocketHandler):
    def initialize(self, gateway: LookalikeGateway) -> None:
        self._gateway = gateway

    async def get(self, *args: Any, **kwargs: Any) -> None:
        gateway = self._gateway
        gateway.handshakes.append(self.request)
        if gateway.gate is not None:
            await gateway.gate.wait()
        if gateway.status == 101:
            await super().get(*args, **kwargs)
            return
        self.set_status(gateway.status)
        if 300 <= gateway.status < 400:
            self.set_header("Location", "/login")

    def on_message(self, message: str | bytes) -> None:
        self._gateway.heard.append(json.loads(message))
        self._gateway.react(self, self._gateway.heard[-1])


def answer(socket: WebSocketHandler, message: dict[str, Any], **content: Any) -> None:
    """Be an honest kernel: its status to all, then what was asked for."""
    asked = message["header"]["msg_type"].removesuffix("_request")
    say(socket, message, "status", "iopub", execution_state="busy")
    if asked.startswith("pywry_auth_"):
        say(socket, message, f"{asked}_accepted", protocol=PROTOCOL)
    say(socket, message, f"{asked}_reply", protocol=PROTOCOL, status="ok", **content)
    say(socket, message, "status", "iopub", execution_state="idle")


def say(
    socket: WebSocketHandler, parent: dict[str, Any], message_type: str, channel: str = "control", **content: Any
) -> None:
    """Send a message, as an answer to ``parent``."""
    header = {**parent["header"], "msg_id": uuid.uuid4().hex, "msg_type": message_type}
    about = {"channel": channel, "msg_type": message_type, "metadata": {}, "buffers": []}
    socket.write_message(json.dumps({**about, "header": header, "parent_header": parent["header"], "content": content}))
