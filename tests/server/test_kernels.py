"""Sessions in real kernels that are busy, interrupted, restarted and shut down: nothing hangs."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from tests.support.idp import Answer
from tests.support.waiting import soon, within

from .conftest import Kernel, callback

if TYPE_CHECKING:
    from tests.support.idp import Idp

    from .conftest import Browser

EXPIRE = """
import asyncio, time
from dataclasses import replace
from pywry_auth_nb._io.loop import run
engine = session._engine
old = replace(engine.state.tokens, expires_in=10, issued_at=time.time() - 100)
run(session.token_store.update(session.store_key, lambda there: replace(there, tokens=old)), 10)
engine.state = replace(engine.state, record=replace(engine.state.record, tokens=old))
engine._note_fresh()
"""


async def sign_in(kernel: Kernel, browser: Browser, login_path: str, idp: Idp) -> None:
    """Sign in through the server."""
    await browser.open(callback(idp.authorize(await browser.begin(login_path))))
    assert await kernel.run("print(session.status)") == "signed_in"


async def heard(idp: Idp, requests: int) -> None:
    """Wait until the token endpoint has been asked that often."""
    await soon(lambda: idp.requests_to("/token") >= requests, "the provider was not asked")


async def test_a_cell_that_holds_the_gil(kernel: Kernel, browser: Browser, login_path: str, idp: Idp) -> None:
    """R33: no thread of ours runs while C code holds the interpreter; the next read renews and is right."""
    idp.lifetime = 2
    await sign_in(kernel, browser, login_path, idp)
    printed = await kernel.run(
        "import ctypes, time\n"
        "before = session.access_token\n"
        "ctypes.PyDLL(None).sleep(3)\n"
        "after = session.access_token\n"
        "print(before != after, session.expires_at > time.time())"
    )

    assert printed == "True True"


async def test_awaiting_in_a_cell(kernel: Kernel, browser: Browser, login_path: str, idp: Idp) -> None:
    """R34, R37: a cell that awaits gets its token; nothing of ours is left on the notebook's own loop."""
    await sign_in(kernel, browser, login_path, idp)
    printed = await kernel.run(
        EXPIRE + "tasks = len(asyncio.all_tasks())\n"
        "token = await session.get_access_token()\n"
        "print(token == session.access_token, len(asyncio.all_tasks()) == tasks)"
    )

    assert printed == "True True"
    assert idp.requests_to("/token") == 2


async def test_reading_in_a_loop_of_the_cells_own(kernel: Kernel, browser: Browser, login_path: str, idp: Idp) -> None:
    """R35: plain reads inside the running loop of the kernel work, also on other threads at the same time."""
    await sign_in(kernel, browser, login_path, idp)
    printed = await kernel.run(
        EXPIRE + "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(8) as pool:\n"
        "    read = [session.access_token, *pool.map(lambda _: session.access_token, range(8))]\n"
        "print(len(set(read)))"
    )

    assert printed == "1"
    assert idp.requests_to("/token") == 2


async def test_interrupting_a_read(kernel: Kernel, browser: Browser, login_path: str, idp: Idp) -> None:
    """R42: the stop button ends a cell that waits for a token; the refresh completes for the next cell."""
    await sign_in(kernel, browser, login_path, idp)
    await kernel.run(EXPIRE)
    gate = threading.Event()
    idp.answers["/token"] = Answer(gate=gate)
    cell = asyncio.ensure_future(kernel.run("session.access_token"))
    await heard(idp, 2)
    with within(5):
        await kernel.manager.interrupt_kernel()
        with pytest.raises(AssertionError, match="KeyboardInterrupt"):
            await cell

    gate.set()
    assert await kernel.run("print(session.access_token != old.access_token)") == "True"
    assert idp.requests_to("/token") == 2


@pytest.mark.parametrize("way", ["shutdown", "restart"])
async def test_stopping_a_kernel_that_renews(
    way: str, kernel: Kernel, browser: Browser, login_path: str, idp: Idp
) -> None:
    """R40: a kernel whose refresh hangs shuts down and restarts as fast as any other."""
    await sign_in(kernel, browser, login_path, idp)
    idp.answers["/token"] = Answer(delay=20)
    await kernel.run(EXPIRE + "import threading; threading.Thread(target=lambda: session.access_token).start()")
    await heard(idp, 2)
    kernel.manager.shutdown_wait_time = 60.0  # Jupyter kills after five seconds, which would look the same
    with within(5):
        if way == "shutdown":
            await kernel.manager.shutdown_kernel(now=False)
        else:
            await kernel.manager.restart_kernel(now=False)
    if way == "restart":
        await kernel.client.wait_for_ready(timeout=60)
