"""The routes of the server extension, in a real server with real kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .conftest import Browser, Kernel, callback

if TYPE_CHECKING:

    from tests.support.idp import Idp


async def test_a_click_becomes_a_token(browser: Browser, kernel: Kernel, login_path: str, idp: Idp) -> None:
    """Login redirects to the provider, and its answer signs the kernel's session in."""
    url = await browser.begin(login_path)
    response = await browser.open(callback(idp.authorize(url)))

    assert response.code == 200
    assert b"Signed in as Ada Lovelace" in response.body
    assert await kernel.run("print(session.access_token.startswith('CANARY-at'))") == "True"


async def test_it_completes_while_a_cell_runs(browser: Browser, kernel: Kernel, login_path: str, idp: Idp) -> None:
    """The control channel is served on its own thread, so a blocked cell gets its token."""
    import asyncio

    waiting = asyncio.ensure_future(
        kernel.run(
            "import time\nt = time.time()\nwhile session.status != 'signed_in' and time.time() < t + 30:\n    time.sleep(.01)\nprint(session.status)"
        )
    )
    await asyncio.sleep(0.5)
    response = await browser.open(callback(idp.authorize(await browser.begin(login_path))))

    assert response.code == 200
    assert await waiting == "signed_in"
