"""From a click to a token, in a real Jupyter server with real kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .conftest import FROM_PROVIDER, Browser, Kernel, action, callback, outcome

if TYPE_CHECKING:
    from tests.support.idp import Idp


async def test_a_click_becomes_a_token(cookie_browser: Browser, kernel: Kernel, login_path: str, idp: Idp) -> None:
    """A1: login sends the browser to the provider, and the provider's answer signs the kernel's session in."""
    url = await cookie_browser.begin(login_path)
    response = await cookie_browser.open(callback(idp.authorize(url)), headers=FROM_PROVIDER)

    assert outcome(response) == (200, "")
    assert b"<h1>Signed in as Ada Lovelace</h1>" in response.body
    assert await kernel.run("print(session.access_token.startswith('CANARY-at'))") == "True"


async def test_it_completes_while_a_cell_runs(browser: Browser, kernel: Kernel, login_path: str, idp: Idp) -> None:
    """A cell that blocks the kernel gets its token, for the control channel has a thread of its own."""
    cell = await kernel.block("session.status != 'signed_in'")
    response = await browser.open(callback(idp.authorize(await browser.begin(login_path))))

    assert response.code == 200
    assert await cell == "busy\nsigned_in"


async def test_it_is_cancelled_while_a_cell_runs(browser: Browser, kernel: Kernel, login_path: str) -> None:
    """A21: cancelling reaches a kernel that is busy, which a widget's own message would not."""
    await browser.begin(login_path)
    cell = await kernel.block("session.status == 'authorizing'")
    response = await browser.post(action("cancel", login_path))

    assert response.code == 200
    assert await cell == "busy\nsigned_out"


async def test_a_name_is_text(browser: Browser, login_path: str, idp: Idp) -> None:
    """The provider chooses the name that the page greets, and cannot make it markup."""
    idp.claims["name"] = "<img src=x onerror=alert(1)>{title}&amp;\u202e"
    idp.metadata["userinfo_endpoint"] = None
    response = await browser.open(callback(idp.authorize(await browser.begin(login_path))))

    assert b"Signed in as &lt;img src=x onerror=alert(1)&gt;{title}&amp;amp;</h1>" in response.body
    assert b"<img" not in response.body
