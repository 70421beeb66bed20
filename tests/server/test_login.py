"""What a click on the sign-in link leads to when all is not well: a readable page, soon."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from pywry_auth_nb._wire import protocol
from pywry_auth_nb.server import control_channel, kernel_client
from pywry_auth_nb.server.handlers import LoginHandler
from tests.support.idp import Answer
from tests.support.waiting import within

from .conftest import Browser, Kernel, callback, outcome, query_of

if TYPE_CHECKING:
    from tests.support.idp import Idp

METADATA = "/.well-known/openid-configuration"
ANSWER_WITH = """
from pywry_auth_nb._sign_in import channel
from pywry_auth_nb._wire import protocol
async def answer(content):
    return {reply!r}
channel._REQUESTS[protocol.BEGIN] = answer
"""


@pytest.mark.parametrize("query", ["", "?", "?kernel=", "?kernel=no-such-kernel&flow=f", "?kernel=../a&flow=f"])
async def test_no_such_kernel(browser: Browser, query: str) -> None:
    """A link without a kernel, or to one that is not here, says that the kernel has stopped."""
    assert outcome(await browser.open(f"pywry-auth/login{query}")) == (404, "kernel_gone")


@pytest.mark.parametrize(
    "query", ["kernel=a&kernel=b", "kernel=%ff", "flow=" + "x" * 8192], ids=["twice", "no UTF-8", "8 KiB"]
)
async def test_a_malformed_link_is_refused(browser: Browser, query: str) -> None:
    """A login link that can be read in more than one way is refused."""
    assert outcome(await browser.open(f"pywry-auth/login?{query}")) == (400, "bad_request")


@pytest.mark.parametrize(
    "header",
    [("Sec-Purpose", "prefetch"), ("Purpose", "prefetch"), ("Sec-Fetch-Dest", "iframe"), ("Sec-Fetch-Dest", "image")],
    ids=" ".join,
)
async def test_only_a_person_begins_a_sign_in(browser: Browser, header: tuple[str, str]) -> None:
    """A browser that prefetches or embeds the link does not reach a kernel."""
    response = await browser.open("pywry-auth/login?kernel=k&flow=f", headers=dict([header]))

    assert outcome(response) == (400, "bad_request")


async def test_a_link_cannot_say_where_to(browser: Browser, login_path: str, idp: Idp, jp_http_port: int) -> None:
    """Where the browser goes, and where it comes back to, is nothing that a link can choose."""
    names = ("next", "url", "return_to", "authorize_url", "redirect_uri", "state", "iss", "host")
    url = await browser.begin(f"{login_path}&{urlencode(dict.fromkeys(names, 'https://evil.example/'))}")

    assert url.startswith(f"{idp.issuer}/authorize?")
    assert "evil.example" not in url
    assert query_of(url)["redirect_uri"] == f"http://127.0.0.1:{jp_http_port}/a%40b/pywry-auth/callback"


async def test_a_kernel_that_does_not_know_us(browser: Browser, kernel: Kernel) -> None:
    """A kernel without our package is told from a busy one at once."""
    with within(4):  # that long is waited for a busy one
        response = await browser.open(f"pywry-auth/login?kernel={kernel.id}&flow=f")

    assert outcome(response) == (404, "no_session")


async def test_a_widget_that_is_gone(browser: Browser, kernel: Kernel, login_path: str) -> None:
    """A link lives as long as its widget, and a key that no widget has opens nothing."""
    wrong = await browser.open(login_path + "x")
    await kernel.run("session_widget.close()\nget_ipython().reset()\nimport gc; gc.collect()")

    assert outcome(wrong) == (404, "no_session")
    assert outcome(await browser.open(login_path)) == (404, "no_session")


async def test_a_kernel_that_hangs(
    browser: Browser, kernel: Kernel, login_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel whose control thread does not answer is given up within the deadline."""
    monkeypatch.setattr(kernel_client, "_ACCEPT_DEADLINE", 0.4)
    monkeypatch.setattr(control_channel, "SLICE", 0.1)
    kernel.signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        with within(4):
            response = await browser.open(login_path)
        took = time.monotonic() - began
    finally:
        kernel.signal(signal.SIGCONT)

    assert outcome(response) == (504, "kernel_busy")
    assert took >= 0.4


async def test_a_kernel_that_was_killed(browser: Browser, kernel: Kernel, login_path: str) -> None:
    """A dead kernel is not waited for, although the server still lists it."""
    kernel.signal(signal.SIGKILL)
    await asyncio.to_thread(kernel.manager.provisioner.process.wait)

    assert outcome(await browser.open(login_path)) == (404, "kernel_gone")


async def test_a_kernel_that_was_restarted(browser: Browser, kernel: Kernel, login_path: str, idp: Idp) -> None:
    """An answer to a sign-in that the kernel has forgotten is refused, before and after its cells run again."""
    path = callback(idp.authorize(await browser.begin(login_path)))
    await kernel.manager.restart_kernel(now=True)
    await kernel.client.wait_for_ready(timeout=60)

    assert outcome(await browser.open(path)) == (404, "no_session")
    await kernel.offer(idp.issuer)
    assert outcome(await browser.open(path)) == (404, "unknown_flow")
    assert idp.requests_to("/token") == 0


#: What the metadata endpoint may answer, and the page it leads to.
UNUSABLE: dict[str, tuple[Answer, tuple[int, str]]] = {
    "down": (Answer({}, status=500), (502, "discovery_failed")),
    "not OpenID": (Answer({}, status=404), (502, "discovery_failed")),
    "no JSON": (Answer(b"<html>"), (400, "bad_response")),
    "moved": (Answer(status=302, headers={"Location": "http://127.0.0.1:1/"}), (400, "redirect_refused")),
    "somebody else": (Answer({"issuer": "https://evil.example"}), (400, "metadata_issuer")),
}


async def test_a_provider_that_cannot_be_used(browser: Browser, kernel: Kernel, login_path: str, idp: Idp) -> None:
    """Whatever is wrong with a provider's metadata, the person reads a page and the kernel knows why."""
    for case, (answer, expected) in UNUSABLE.items():
        idp.answers[METADATA] = answer
        response = await browser.open(login_path)

        assert outcome(response) == expected, case
        assert await kernel.run("print(session.error and session.error.code)") == expected[1], case
    idp.answers.clear()
    assert (await browser.open(login_path)).code == 302


async def test_a_provider_with_an_endless_address(browser: Browser, login_path: str, idp: Idp) -> None:
    """No browser takes an address of any length: a page says so, and no sign-in stays open for nothing."""
    idp.metadata["authorization_endpoint"] = f"{idp.issuer}/{'x' * 20_000}"
    response = await browser.open(login_path)

    assert response.code >= 400
    assert outcome(response)[1]


async def test_a_provider_that_is_down(browser: Browser, kernel: Kernel) -> None:
    """A refused connection to the issuer: the page says to check the network."""
    path = await kernel.offer("http://127.0.0.1:9")  # discard, which has no server any more

    assert outcome(await browser.open(path)) == (502, "connection_refused")


async def test_a_provider_that_is_slow(
    browser: Browser, login_path: str, idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel that has accepted and still works is not called broken."""
    monkeypatch.setattr(sys.modules[LoginHandler.__module__], "_BEGIN_DEADLINE", 0.3)
    monkeypatch.setattr(control_channel, "SLICE", 0.1)
    idp.delay = 8

    assert outcome(await browser.open(login_path)) == (504, "kernel_slow")


async def test_another_version_in_the_kernel(browser: Browser, kernel: Kernel, login_path: str) -> None:
    """A kernel that speaks another version of the protocol is recognized, and the page says what to install."""
    await kernel.run("import pywry_auth_nb._wire.protocol\npywry_auth_nb._wire.protocol.PROTOCOL = 99")

    assert outcome(await browser.open(login_path)) == (501, "version_mismatch")


async def test_a_kernel_that_does_not_check_versions(browser: Browser, kernel: Kernel, login_path: str) -> None:
    """What a kernel of another version says is not taken at its word, even if it looks like a success."""
    reply = {"protocol": 99, "authorize_url": "https://login.example/", "state": "s"}
    await kernel.run(ANSWER_WITH.format(reply=reply))

    assert outcome(await browser.open(login_path)) == (501, "version_mismatch")


async def test_another_version_in_the_server(kernel: Kernel, login_path: str, jp_serverapp: Any) -> None:
    """The kernel, too, does nothing for a server of another version."""
    flow = login_path.partition("flow=")[2]
    content = {"flow": flow, "redirect_uri": "http://127.0.0.1/", "protocol": 99}
    reply = await kernel_client.ask(jp_serverapp.kernel_manager, kernel.id, protocol.BEGIN, content, 5)

    assert (reply["status"], reply["code"]) == ("error", "version_mismatch")
    assert "authorize_url" not in reply


ELSEWHERE: list[Any] = ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "//evil.example", "lab", "", 7]


async def test_only_web_addresses_are_opened(browser: Browser, kernel: Kernel, login_path: str) -> None:
    """A kernel cannot send the browser anywhere but to a web address, nor slip a header into the answer."""
    for url in [*ELSEWHERE, "https://a.example/\r\nX-Injected: 1", "https://[", None]:
        await kernel.run(ANSWER_WITH.format(reply={"authorize_url": url, "state": "s"}))
        response = await browser.open(login_path)

        assert response.code >= 400, url
        assert "Location" not in response.headers, url
        assert "X-Injected" not in response.headers
        assert b"<h1>" in response.body
