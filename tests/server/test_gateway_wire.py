"""What the server says to a gateway, and what it makes of odd answers: a lookalike of a gateway, and no kernel."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from jupyter_server.gateway.gateway_client import GatewayClient, GatewayTokenRenewerBase
from jupyter_server.gateway.managers import GatewayMappingKernelManager

from pywry_auth_nb._wire import protocol
from pywry_auth_nb.server import gateway as gateway_module
from pywry_auth_nb.server import kernel_client
from tests.stores.servers import certificate
from tests.support.gateway import LookalikeGateway, answer, say
from tests.support.waiting import within

from .conftest import Browser, body_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.websocket import WebSocketHandler

STATUS = {"authenticated": False}
REPLY = {"protocol": protocol.PROTOCOL, "status": "ok"}
SETTINGS = {
    "auth_token": "first",
    "auth_scheme": "Bearer",
    "auth_header_key": "X-Gateway-Key",
    "headers": json.dumps({"X-Tenant": "ada"}),
    "http_user": "ada",
    "http_pwd": "secret",
}


class Renewer(GatewayTokenRenewerBase):
    """Renews the token each time."""

    def get_token(self, _key: str, _scheme: str | None, auth_token: str, **_: Any) -> str:
        """Return the next token."""
        return auth_token + "+"


@pytest.fixture
def gateway(jp_asyncio_loop: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[LookalikeGateway]:
    """A lookalike whose kernel knows a session that is signed out."""
    tls = certificate_in(tmp_path) if getattr(request, "param", "") == "https" else None
    with LookalikeGateway(tls) as gateway:
        gateway.react = lambda socket, message: answer(socket, message, **STATUS)
        yield gateway


def certificate_in(folder: Path) -> dict[str, str]:
    """Make a certificate for 127.0.0.1 that no system trusts."""
    certificate(folder)
    return {"certfile": str(folder / "cert.pem"), "keyfile": str(folder / "key.pem")}


@pytest.fixture
def jp_server_config(jp_server_config: dict[str, Any], gateway: LookalikeGateway) -> Iterator[dict[str, Any]]:
    """Put the server in front of the lookalike. Jupyter keeps both of these for the whole process."""
    GatewayClient.clear_instance()
    yield {
        **jp_server_config,
        "GatewayClient": {"url": gateway.url, "gateway_token_renewer_class": Renewer, **SETTINGS},
    }
    GatewayClient.clear_instance()
    GatewayMappingKernelManager._kernels.clear()


@pytest.fixture
def status_path(jp_serverapp: Any, jp_asyncio_loop: Any) -> str:
    """The path that asks a kernel of the lookalike for a session's status."""
    starting = jp_serverapp.kernel_manager.start_kernel(kernel_name="python3")
    return f"pywry-auth/status?kernel={jp_asyncio_loop.run_until_complete(starting)}&flow=CANARY-flow"


async def ask(browser: Browser, path: str) -> tuple[int, str]:
    """Ask for the status; the HTTP status and the error code of the answer."""
    response = await browser.open(path)
    return response.code, body_of(response).get("error", "")


# -- what is sent -----------------------------------------------------------------------------------------------


async def test_the_handshake_is_as_jupyter_is_configured(
    browser: Browser, gateway: LookalikeGateway, status_path: str
) -> None:
    """The token is renewed for each request, and sent in the configured header and scheme, beside the other headers."""
    before = GatewayClient.instance().auth_token
    for _ in range(2):
        assert await ask(browser, status_path) == (200, "")

    first, second = gateway.handshakes
    assert first.headers["X-Gateway-Key"] == f"Bearer {before}+"
    assert second.headers["X-Gateway-Key"] == f"Bearer {before}++"
    assert first.headers["X-Tenant"] == "ada"
    assert first.headers["Authorization"].startswith("Basic ")
    assert first.arguments["session_id"] != second.arguments["session_id"]


async def test_every_message_names_its_channel(browser: Browser, gateway: LookalikeGateway, status_path: str) -> None:
    """A gateway logs a message without a channel in full."""
    await ask(browser, status_path)

    assert {message["channel"] for message in gateway.heard} == {"control"}


async def test_nothing_secret_is_sent_before_the_kernel_answers(
    browser: Browser, gateway: LookalikeGateway, status_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway at DEBUG logs what comes while its own way to the kernel is closed: until then it gets empty ones."""
    monkeypatch.setattr(kernel_client, "_ACCEPT_DEADLINE", 0.1)
    gateway.react = silent

    assert await ask(browser, status_path) == (504, "kernel_busy")
    assert [message["content"] for message in gateway.heard] == [{}, {}]
    assert "CANARY" not in json.dumps(gateway.heard)


@pytest.mark.parametrize("gateway", ["https"], indirect=True)
@pytest.mark.parametrize(("validate", "expected"), [(True, (502, "gateway_unavailable")), (False, (200, ""))])
async def test_the_certificate_is_checked_unless_jupyter_is_told_otherwise(
    browser: Browser,
    gateway: LookalikeGateway,
    jp_serverapp: Any,
    validate: bool,
    expected: tuple[int, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """``c.GatewayClient.validate_cert`` holds for this connection as for Jupyter's own; the log says what is wrong."""
    client = GatewayClient.instance()
    client.load_connection_args()
    client._connection_args["validate_cert"] = False
    kernel_id = await jp_serverapp.kernel_manager.start_kernel(kernel_name="python3")
    client._connection_args["validate_cert"] = validate

    assert await ask(browser, f"pywry-auth/status?kernel={kernel_id}&flow=x") == expected
    assert ("SSLCertVerificationError" in caplog.text) == validate


# -- what comes back --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, (502, "gateway_refused")),
        (403, (502, "gateway_refused")),
        (302, (502, "gateway_refused")),
        (404, (404, "kernel_gone")),
        (200, (502, "gateway_unavailable")),
        (500, (502, "gateway_unavailable")),
        (503, (502, "gateway_unavailable")),
    ],
)
async def test_a_handshake_that_fails(
    browser: Browser, gateway: LookalikeGateway, status_path: str, status: int, expected: tuple[int, str]
) -> None:
    """The status of a failed handshake is a code of ours; a redirect leads to a login page, which is a refusal."""
    gateway.status = status

    assert await ask(browser, status_path) == expected


async def test_a_handshake_without_an_answer(
    browser: Browser, gateway: LookalikeGateway, status_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway that accepts the connection and says nothing is given up in time, and delays no other request."""
    monkeypatch.setattr(gateway_module, "_CONNECT_DEADLINE", 1.0)
    gateway.gate = asyncio.Event()
    waiting = asyncio.ensure_future(ask(browser, status_path))
    with within(0.5):
        assert (await browser.open("pywry-auth/check")).code == 200
    assert not waiting.done()

    with within(3):
        assert await waiting == (502, "gateway_unavailable")
    gateway.gate.set()


def silent(socket: WebSocketHandler, message: dict[str, Any]) -> None:
    """Be a kernel that does not answer."""


def is_real(message: dict[str, Any]) -> bool:
    """Whether the session is asked for: not in the empty messages before that."""
    return message["content"] != {}


def hang_up(socket: WebSocketHandler, message: dict[str, Any]) -> None:
    """Close the websocket when the session is asked for."""
    if is_real(message):
        socket.close()
    else:
        answer(socket, message)


def ended(state: str) -> Any:
    """Say that the kernel has ended when the session is asked for, as gateways do: about no message."""

    def react(socket: WebSocketHandler, message: dict[str, Any]) -> None:
        if is_real(message):
            say(socket, message, "status", "iopub", execution_state=state)
        else:
            answer(socket, message)

    return react


def stranger(socket: WebSocketHandler, message: dict[str, Any]) -> None:
    """Be a kernel without our package: it answers what every kernel answers."""
    if not message["msg_type"].startswith("pywry"):
        answer(socket, message)


def deaf(socket: WebSocketHandler, message: dict[str, Any]) -> None:
    """Accept, and never answer."""
    if is_real(message):
        say(socket, message, "pywry_auth_status_accepted", protocol=protocol.PROTOCOL)
    else:
        answer(socket, message)


def chatty(socket: WebSocketHandler, message: dict[str, Any]) -> None:
    """Say the same thousands of times, without end but for a test's sake, and give no answer."""
    if is_real(message):
        for _ in range(5000):
            say(socket, message, "status", "iopub", execution_state="busy")
    else:
        answer(socket, message)


@pytest.mark.parametrize(
    ("react", "expected"),
    [
        (chatty, (502, "gateway_unavailable")),
        (hang_up, (502, "gateway_unavailable")),
        (ended("dead"), (404, "kernel_gone")),
        (ended("restarting"), (404, "kernel_gone")),
        (stranger, (404, "no_session")),
        (deaf, (504, "kernel_slow")),
    ],
)
async def test_a_kernel_that_does_not_answer(
    browser: Browser,
    gateway: LookalikeGateway,
    status_path: str,
    monkeypatch: pytest.MonkeyPatch,
    react: Any,
    expected: tuple[int, str],
) -> None:
    """What goes wrong after the handshake is told apart, in time."""
    monkeypatch.setattr("pywry_auth_nb.server.api.StatusHandler.deadline", 0.2)
    gateway.react = react

    with within(3):
        assert await ask(browser, status_path) == expected


async def test_what_other_clients_cause_is_passed_over(
    browser: Browser, gateway: LookalikeGateway, status_path: str
) -> None:
    """Output of cells, replies to others or on another channel, and unreadable bytes do not end the request."""

    def react(socket: WebSocketHandler, message: dict[str, Any]) -> None:
        theirs = {"header": {**message["header"], "session": "theirs", "msg_id": "theirs"}}
        say(socket, theirs, "stream", "iopub", text="x" * 5_000_000)
        for parent, channel in ((theirs, "control"), (message, "shell")):
            say(socket, parent, "pywry_auth_status_reply", channel, **REPLY, authenticated=True)
        socket.write_message(b"\0\xff", binary=True)
        answer(socket, message, **STATUS)

    gateway.react = react

    assert body_of(await browser.open(status_path)) == STATUS


@pytest.mark.parametrize(
    "text",
    [
        "{session}",
        '["{session}"]',
        '{{"a": "{session}", "n": 1' + "0" * 5000 + "}}",
        '{{"a": "{session}", "b": ' + "[" * 100_000,
        '{{"channel": "control", "parent_header": "{session}", "msg_type": [], "content": {{}}}}',
        '{{"channel": "control", "parent_header": {{"msg_id": ["{session}"]}}, "msg_type": {{}}, "content": {{}}}}',
        '{{"msg_type": "status", "content": {{"execution_state": ["dead"]}}, "session": "{session}"}}',
        "{session}" + "x" * 6_000_000,
    ],
    ids=["no JSON", "a list", "a long number", "deep", "no parent", "an odd parent", "an odd state", "very long"],
)
async def test_nonsense_that_names_us_is_passed_over(
    browser: Browser, gateway: LookalikeGateway, status_path: str, text: str
) -> None:
    """A gateway knows our session's ID: what it writes around it ends no request, and is no failure of the server."""

    def react(socket: WebSocketHandler, message: dict[str, Any]) -> None:
        socket.write_message(text.format(session=message["header"]["session"]))
        answer(socket, message, **STATUS)

    gateway.react = react

    assert await ask(browser, status_path) == (200, "")


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 101 X\r\n" + b"A: b\r\n" * 20_000, b"\x00\xff nonsense\r\n"],
    ids=["endless headers", "no HTTP"],
)
async def test_a_handshake_that_is_nonsense(browser: Browser, status_path: str, head: bytes) -> None:
    """Whatever answers instead of a gateway: the request fails in time, with the same code."""

    async def answer_with_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head + b"\r\n")
        with contextlib.suppress(OSError):
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(answer_with_nonsense, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    GatewayClient.instance().ws_url = f"ws://127.0.0.1:{port}"
    with within(3):
        assert await ask(browser, status_path) == (502, "gateway_unavailable")
    server.close()
