"""How the server asks a kernel: several things at once, while it goes away, and with nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from pywry_auth_nb.server import control_channel
from tests.support.waiting import soon, within

from .conftest import Browser, Kernel, action, callback, cookie_for, cookies_of, outcome, query_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.idp import Idp


async def test_each_request_gets_its_own_reply(browser: Browser, login_path: str, jp_http_port: int) -> None:
    """Sign-ins that begin at the same time are not mixed up, and each comes back to where its own browser is.

    ``localhost`` and ``127.0.0.1`` are two places to a browser and its cookies.
    """
    hosts = [f"{name}:{jp_http_port}" for name in ("127.0.0.1", "localhost", "127.0.0.2", "[::1]") * 2]
    responses = await asyncio.gather(*(browser.open(login_path, headers={"Host": host}) for host in hosts))

    queries = [query_of(response.headers["Location"]) for response in responses]
    assert len({query["state"] for query in queries}) == len(hosts)
    for host, response, query in zip(hosts, responses, queries, strict=True):
        assert query["redirect_uri"] == f"http://{host}/a%40b/pywry-auth/callback"
        assert cookie_for(query["state"]) in {cookie.key for cookie in cookies_of(response)}


async def test_different_requests_at_once(browser: Browser, kernel: Kernel, login_path: str, idp: Idp) -> None:
    """A sign-in completes while another session begins one and a third cancels its own."""
    second, third = [await kernel.offer(idp.issuer, name) for name in ("second", "third")]
    params = idp.authorize(await browser.begin(login_path))
    await browser.begin(third)
    completed, begun, cancelled = await asyncio.gather(
        browser.open(callback(params)), browser.open(second), browser.post(action("cancel", third))
    )

    assert outcome(completed) == (200, "")
    assert begun.code == 302
    assert cancelled.code == 200
    assert await kernel.run("print(session.status, second.status, third.status)") == "signed_in authorizing signed_out"


@pytest.fixture
def stopped(kernel: Kernel, login_path: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    """A kernel with a widget whose process is stopped; the server looks after it every half second."""
    monkeypatch.setattr(control_channel, "SLICE", 0.5)
    kernel.manager.stop_restarter()
    kernel.signal(signal.SIGSTOP)
    yield kernel
    with contextlib.suppress(Exception):  # gone by now, in some tests
        kernel.signal(signal.SIGCONT)


async def test_a_kernel_that_dies_meanwhile(browser: Browser, stopped: Kernel, login_path: str) -> None:
    """A kernel that is killed while a request waits for it is noticed within a second."""
    waiting = asyncio.ensure_future(browser.open(login_path))
    await asyncio.sleep(0.2)
    stopped.signal(signal.SIGKILL)

    with within(4.5):
        assert outcome(await waiting) == (404, "kernel_gone")


async def test_a_kernel_that_is_shut_down_meanwhile(
    browser: Browser, stopped: Kernel, login_path: str, jp_serverapp: Any
) -> None:
    """A kernel that is shut down while a request waits for it is reported as stopped, not as a server error."""
    waiting = asyncio.ensure_future(browser.open(login_path))
    await asyncio.sleep(0.1)
    await jp_serverapp.kernel_manager.shutdown_kernel(stopped.id, now=True)

    with within(4.5):
        assert outcome(await waiting) == (404, "kernel_gone")


async def test_nothing_is_left_open(browser: Browser, login_path: str) -> None:
    """Requests leave no socket behind, whether they succeed or not."""
    process = psutil.Process()
    await browser.open(login_path)
    before = process.num_fds()
    for _ in range(10):
        await browser.open(login_path)
        await browser.open(login_path + "x")

    await soon(lambda: process.num_fds() <= before + 3, "sockets stay open")  # ZeroMQ closes in the background
