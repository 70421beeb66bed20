"""What is written down: never a code, a state, a cookie or a token, at any level, in the server or the kernel."""

from __future__ import annotations

import contextlib
import logging
import queue
from typing import TYPE_CHECKING

import pytest

from pywry_auth_nb.server.handlers import LoginHandler
from tests.support.cases import case

from .conftest import Browser, Kernel, callback, outcome, query_of

if TYPE_CHECKING:
    from tests.support.idp import Idp

#: All that may come in a query and must not be written down. Jupyter blanks some names in its log, not all.
QUERY = "code=CANARY&state=CANARY&id_token=CANARY&response=CANARY&error_description=CANARY&kernel=k&flow=CANARY"
PATHS = ["callback", "callback/", "callback/x", "Callback", "callbackx", "login", "login/", "cancel", "logout", "", "x"]
STRICT = {"allow_unauthenticated_access": False}


async def everything_published(kernel: Kernel) -> str:
    """All that the kernel told all of its clients since it was last asked to run something."""
    messages = [""]
    kernel.client.execute("print('the end', 'of it')")
    while "the end of it" not in messages[-1]:
        messages.append(str(await kernel.client.get_iopub_msg(timeout=10)))
    with contextlib.suppress(queue.Empty):
        while True:
            messages.append(str(await kernel.client.get_iopub_msg(timeout=0.3)))
    return "\n".join(messages)


@pytest.mark.parametrize("kernel", [["--debug"]], indirect=True, ids=["--debug"])
async def test_a_whole_sign_in(
    cookie_browser: Browser,
    kernel: Kernel,
    login_path: str,
    idp: Idp,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """B5: from click to sign-out, nothing can be read in a log at DEBUG, nor do a kernel's other clients hear it."""
    caplog.set_level(logging.DEBUG)
    url = await cookie_browser.begin(login_path)
    params = idp.authorize(url)
    for _ in range(2):
        await cookie_browser.open(callback(params))
    declined = idp.authorize(await cookie_browser.begin(login_path), code=None, error="access_denied")
    await cookie_browser.open(callback(declined))
    headers = {"X-XSRFToken": cookie_browser.cookies["_xsrf"]}
    await cookie_browser.post(login_path.replace("login", "logout"), headers=headers)
    by_kernel, heard = kernel.output.read_text(), await everything_published(kernel)
    written = caplog.text + by_kernel + heard

    assert "pywry-auth/callback" in caplog.text
    assert "Control received" in by_kernel, "the kernel writes no debug log, so this proves nothing"
    assert "Ada Lovelace" in heard, "the widgets hear nothing, so this proves nothing"
    asked = query_of(url)
    exchange = idp.last("/token").form
    cookies = [cookie_browser.cookies[name].strip('"') for name in cookie_browser.flow_cookies()]
    assert len(cookies) == 2
    secrets = {
        "code": params["code"],
        "state": params["state"],
        "other state": declined["state"],
        "nonce": asked["nonce"],
        "verifier": exchange["code_verifier"],
        "flow": login_path.partition("flow=")[2],
        "XSRF": headers["X-XSRFToken"],
        "token": "CANARY",
        "URL": "code_challenge",
        **{f"cookie {number}": cookie for number, cookie in enumerate(cookies)},
    }
    assert [name for name, secret in secrets.items() if secret in written] == []


@pytest.mark.parametrize("kernel", [["--debug"]], indirect=True, ids=["--debug"])
async def test_a_kernel_that_restarted_during_the_sign_in(
    browser: Browser, kernel: Kernel, login_path: str, idp: Idp
) -> None:
    """A kernel without our package's handlers logs what it is asked in full: it is not sent the provider's answer."""
    params = idp.authorize(await browser.begin(login_path))
    await kernel.manager.restart_kernel(now=True)
    await kernel.client.wait_for_ready(timeout=60)
    response = await browser.open(callback(params))
    written = kernel.output.read_text()

    assert outcome(response) == (404, "no_session")
    assert "pywry_auth_complete_request" in written, "the kernel writes no debug log, so this proves nothing"
    assert [secret for secret in (params["code"], params["state"]) if secret in written] == []


@pytest.mark.parametrize("jp_server_config", [{}, STRICT], indirect=True, ids=["lax", "strict"])
async def test_a_wrong_address(browser: Browser, stranger: Browser) -> None:
    """An answer to a wrongly registered address, or from a browser without a login, is not logged either.

    The scan after every test reads the log. A redirect to Jupyter's login page would carry the query in ``next=``,
    which is logged as it stands.
    """
    for path in PATHS:
        with case(path):
            for visitor in (browser, stranger):
                for method in ("GET", "HEAD", "POST", "OPTIONS", "PROPFIND"):
                    body = "" if method == "POST" else None
                    response = await visitor.open(f"pywry-auth/{path}?{QUERY}", method=method, body=body)

                    assert "/login?next" not in response.headers.get("Location", ""), method
                    assert b"CANARY" not in response.body


async def test_a_fault_of_ours(
    browser: Browser,
    kernel: Kernel,
    login_path: str,
    idp: Idp,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A traceback in the server's log, and the headers that Jupyter adds to it, hold nothing of the request."""
    caplog.set_level(logging.DEBUG)
    params = idp.authorize(await browser.begin(login_path))
    await kernel.run(
        "from pywry_auth_nb._sign_in import channel\n"
        "from pywry_auth_nb._wire import protocol\n"
        "async def answer(content):\n"
        "    return {'name': content['params'], 'protocol': None}\n"
        "channel._REQUESTS[protocol.COMPLETE] = answer\n"
    )

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(LoginHandler, "_check_rate", broken)
    referrer = f"http://127.0.0.1/a%40b/{callback(params)}"
    await browser.open(callback(params), headers={"Referer": referrer})
    response = await browser.open(f"{login_path}&state=CANARY", headers={"Referer": referrer})

    assert response.code == 500
    assert "Traceback" in caplog.text
    assert [value for value in (params["code"], params["state"], "CANARY") if value in caplog.text] == []
