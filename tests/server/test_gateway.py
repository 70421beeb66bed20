"""Kernels behind a gateway: a real Kernel Gateway, and this Jupyter server in front (``--gateway-url``)."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_server.gateway.gateway_client import GatewayClient
from jupyter_server.gateway.managers import GatewayMappingKernelManager
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from pywry_auth_nb.server import gateway as gateway_module
from pywry_auth_nb.server import kernel_client
from tests.support.gateway import KernelGateway
from tests.support.waiting import soon, within

from .conftest import FROM_PROVIDER, Browser, Kernel, action, body_of, callback, outcome, query_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.websocket import WebSocketClientConnection

    from tests.support.idp import Idp

TOKEN = "the-gateways-own-token"
FLOOD = "import time\nwhile session.status != 'signed_in': print('x' * 100_000); time.sleep(0.005)"


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, KernelGateway]]:
    """A gateway that wants a token, and one that does not."""
    folder = tmp_path_factory.mktemp("gateways")
    with KernelGateway(folder / "guarded", TOKEN) as guarded, KernelGateway(folder / "open") as unguarded:
        yield {"token": guarded, "no token": unguarded}


@pytest.fixture
def gateway(
    processes: dict[str, KernelGateway], request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[KernelGateway]:
    """The gateway with a token, unless a test is parametrized with the other, or one of its own."""
    kind = getattr(request, "param", "token")
    if kind in processes:
        yield processes[kind]
        return
    with KernelGateway(tmp_path / "own") as gateway:
        yield gateway


both_gateways = pytest.mark.parametrize("gateway", ["token", "no token"], indirect=True)
own_gateway = pytest.mark.parametrize("gateway", ["its own"], indirect=True)


@pytest.fixture
def jp_server_config(jp_server_config: dict[str, Any], gateway: KernelGateway) -> Iterator[dict[str, Any]]:
    """Put the server in front of the gateway. Jupyter keeps both of these for the whole process."""
    GatewayClient.clear_instance()
    yield {**jp_server_config, "GatewayClient": gateway.configuration()}
    GatewayClient.clear_instance()
    GatewayMappingKernelManager._kernels.clear()


async def connect(gateway: KernelGateway, kernel_id: str, session: str) -> WebSocketClientConnection:
    """Connect to a kernel as the server does for a front end; what the kernel says is dropped."""
    url = f"{gateway.url.replace('http', 'ws')}/api/kernels/{kernel_id}/channels?session_id={session}"
    settings = GatewayClient.instance().load_connection_args()
    return await websocket_connect(HTTPRequest(url, **settings), on_message_callback=lambda _: None)


async def start(jp_serverapp: Any, gateway: KernelGateway) -> Kernel:
    """Start a kernel through the server and connect to it, as a front end does; its client reaches it directly."""
    kernel_id = await jp_serverapp.kernel_manager.start_kernel(kernel_name="python3")
    front_end = await connect(gateway, kernel_id, "front-end")  # a gateway asks an idle kernel who it is
    client = AsyncKernelClient()
    client.load_connection_file(gateway.connection_file(kernel_id))
    client.start_channels()
    await client.wait_for_ready(timeout=60)
    front_end.close()
    return Kernel(kernel_id, client, jp_serverapp.kernel_manager.get_kernel(kernel_id), gateway.log)


async def stop(kernel: Kernel, gateway: KernelGateway) -> None:
    """Delete a kernel at the gateway."""
    kernel.client.stop_channels()
    await asyncio.to_thread(gateway.api, "DELETE", f"api/kernels/{kernel.id}")


@pytest.fixture
def kernel(jp_serverapp: Any, jp_asyncio_loop: Any, gateway: KernelGateway) -> Iterator[Kernel]:
    """A kernel on the gateway with nothing of ours in it. The gateway's log is scanned for canaries in the end."""
    kernel = jp_asyncio_loop.run_until_complete(start(jp_serverapp, gateway))
    yield kernel
    if gateway.alive:
        jp_asyncio_loop.run_until_complete(stop(kernel, gateway))
    assert "CANARY" not in gateway.log_text()


async def sign_in(browser: Browser, login_path: str, idp: Idp) -> dict[str, str]:
    """Sign in, and return the provider's answer."""
    params = idp.authorize(await browser.begin(login_path))
    assert outcome(await browser.open(callback(params), headers=FROM_PROVIDER)) == (200, "")
    return params


# -- it works ---------------------------------------------------------------------------------------------------


@both_gateways
async def test_a_whole_sign_in(
    browser: Browser, kernel: Kernel, login_path: str, idp: Idp, gateway: KernelGateway
) -> None:
    """R44: from click to sign-out: the session has its token, and the gateway's log at DEBUG has nothing of it."""
    params = await sign_in(browser, login_path, idp)
    who = body_of(await browser.open(action("userinfo", login_path)))
    renewed = await browser.post(action("refresh", login_path))
    token = await kernel.run("print(session.access_token)")
    signed_out = await browser.post(action("logout", login_path))
    status = body_of(await browser.open(action("status", login_path)))

    assert who["user_id"] == "ada"
    assert (renewed.code, signed_out.code) == (200, 200)
    assert token.startswith("CANARY-at")
    assert status == {"authenticated": False}
    written = gateway.log_text()
    assert f"/api/kernels/{kernel.id}/channels" in written, "the gateway logs nothing, so this proves nothing"
    secrets = idp.secrets() | {params["code"], params["state"], query_of(login_path)["flow"], TOKEN}
    assert [secret for secret in secrets if secret in written] == []


async def test_the_scan_of_the_log_finds_a_code(gateway: KernelGateway, kernel: Kernel, jp_serverapp: Any) -> None:
    """A message without its channel stands in the gateway's log, and so would the code that it holds."""
    socket = await connect(gateway, kernel.id, "planted")
    message = kernel.client.session.msg("pywry_auth_complete_request", {"params": {"code": "planted-code"}})
    await socket.write_message(json.dumps(message, default=str))

    await soon(lambda: "planted-code" in gateway.log_text(), "the log does not have it")
    socket.close()


async def test_it_completes_while_a_cell_runs(browser: Browser, kernel: Kernel, login_path: str, idp: Idp) -> None:
    """A cell that blocks the kernel gets its token."""
    cell = await kernel.block("session.status != 'signed_in'")
    await sign_in(browser, login_path, idp)

    assert await cell == "busy\nsigned_in"


async def test_it_is_cancelled_while_a_cell_runs(browser: Browser, kernel: Kernel, login_path: str) -> None:
    """Cancelling reaches a busy kernel."""
    await browser.begin(login_path)
    cell = await kernel.block("session.status == 'authorizing'")
    response = await browser.post(action("cancel", login_path))

    assert response.code == 200
    assert await cell == "busy\nsigned_out"


async def test_it_completes_while_a_cell_prints_much(
    browser: Browser, kernel: Kernel, login_path: str, idp: Idp
) -> None:
    """What a cell prints comes through the same websocket, and does not keep the answer from being seen."""
    cell = asyncio.create_task(kernel.run(FLOOD))
    await sign_in(browser, login_path, idp)

    assert set(await cell) <= {"x", "\n"}


async def test_several_at_once(
    browser: Browser, kernel: Kernel, login_path: str, idp: Idp, gateway: KernelGateway, jp_serverapp: Any
) -> None:
    """Sessions of two kernels sign in at the same time, each with its own code."""
    other = await start(jp_serverapp, gateway)
    paths = [login_path, await kernel.offer(idp.issuer, "second"), await other.offer(idp.issuer)]
    await asyncio.gather(*(sign_in(browser, path, idp) for path in paths))

    assert await kernel.run("print(session.status, second.status)") == "signed_in signed_in"
    assert await other.run("print(session.status)") == "signed_in"
    await stop(other, gateway)


async def test_nothing_is_left_open(
    browser: Browser, kernel: Kernel, login_path: str, gateway: KernelGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests leave no websocket behind, whether they succeed or not, here or at the gateway."""
    here = psutil.Process()

    def connections() -> int:
        ours = [one for one in here.net_connections("tcp") if one.raddr and one.raddr.port == gateway.port]
        return sum(one.status == psutil.CONN_ESTABLISHED for one in ours)

    for _ in range(5):
        await browser.begin(login_path)
        assert outcome(await browser.open(login_path + "x")) == (404, "no_session")

    await soon(lambda: connections() == 0, "connections stay open")


# -- it does not ------------------------------------------------------------------------------------------------


async def test_a_kernel_of_another_server(
    browser: Browser, kernel: Kernel, jp_serverapp: Any, gateway: KernelGateway
) -> None:
    """A kernel that the gateway has, but this server has not started, may be another user's: it is not asked."""
    model = (await asyncio.to_thread(gateway.api, "GET", f"api/kernels/{kernel.id}")).json()
    jp_serverapp.kernel_manager.remove_kernel(kernel.id)
    before = gateway.log_text().count("/channels")
    response = await browser.open(f"pywry-auth/login?kernel={kernel.id}&flow=x")

    assert model["id"] == kernel.id
    assert outcome(response) == (404, "kernel_gone")
    assert gateway.log_text().count("/channels") == before


async def test_a_kernel_that_the_gateway_has_ended(
    browser: Browser, kernel: Kernel, login_path: str, gateway: KernelGateway
) -> None:
    """A kernel that was culled at the gateway is reported as stopped."""
    await asyncio.to_thread(gateway.api, "DELETE", f"api/kernels/{kernel.id}")

    assert outcome(await browser.open(login_path)) == (404, "kernel_gone")


async def test_a_kernel_that_dies_meanwhile(browser: Browser, kernel: Kernel, login_path: str) -> None:
    """A kernel that dies while a request waits for it is reported as soon as the gateway sees it."""
    process = psutil.Process(int(await kernel.run("import os; print(os.getpid())")))
    process.suspend()
    waiting = asyncio.ensure_future(browser.open(login_path))
    await asyncio.sleep(0.2)
    process.kill()

    assert outcome(await waiting) in {(404, "kernel_gone"), (404, "no_session")}  # the gateway has started it again


async def test_a_kernel_that_does_not_answer(
    browser: Browser, kernel: Kernel, login_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel that is stopped is reported as busy, and is not sent anything that it might log later."""
    monkeypatch.setattr(kernel_client, "_ACCEPT_DEADLINE", 0.5)
    process = psutil.Process(int(await kernel.run("import os; print(os.getpid())")))
    process.suspend()
    try:
        assert outcome(await browser.open(login_path)) == (504, "kernel_busy")
    finally:
        process.resume()


async def test_a_token_that_is_wrong(browser: Browser, login_path: str, caplog: pytest.LogCaptureFixture) -> None:
    """R44: a gateway that refuses the server's token is told apart from one that is gone; the log says how."""
    GatewayClient.instance().auth_token = "another"

    assert outcome(await browser.open(login_path)) == (502, "gateway_refused")
    assert "kernel gateway 127.0.0.1: gateway_refused (HTTP 401)" in caplog.messages


async def test_a_gateway_that_hangs(
    browser: Browser, kernel: Kernel, login_path: str, gateway: KernelGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R44: a gateway that does not answer costs the one request its time, and no other request to this server."""
    monkeypatch.setattr(gateway_module, "_CONNECT_DEADLINE", 2.0)
    gateway.signal(signal.SIGSTOP)
    try:
        waiting = [asyncio.ensure_future(browser.open(login_path)) for _ in range(5)]
        for _ in range(20):
            with within(0.5):
                assert (await browser.open("pywry-auth/check")).code == 200
        assert not any(one.done() for one in waiting)
        answers = [outcome(answer) for answer in await asyncio.gather(*waiting)]
    finally:
        gateway.signal(signal.SIGCONT)

    assert answers == [(502, "gateway_unavailable")] * 5


@own_gateway
async def test_a_gateway_that_is_gone(
    browser: Browser, login_path: str, idp: Idp, gateway: KernelGateway, caplog: pytest.LogCaptureFixture
) -> None:
    """R44: a gateway that stopped, with its kernels, is reported, also in the middle of a sign-in."""
    params = idp.authorize(await browser.begin(login_path))
    await asyncio.to_thread(gateway.stop)

    assert outcome(await browser.open(callback(params))) == (502, "gateway_unavailable")
    assert "kernel gateway 127.0.0.1: gateway_unavailable (ConnectionRefusedError)" in caplog.messages
