"""Cancelling and signing out over HTTP: for programs, protected from other sites, at work while a cell runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .conftest import Browser, Kernel, action, body_of, callback

if TYPE_CHECKING:
    from tornado.httpclient import HTTPResponse

    from tests.support.idp import Idp

ACTIONS = ("cancel", "logout")


def refusal(response: HTTPResponse) -> tuple[int, str]:
    """The status and the code of a refusal, which is JSON as every answer here is, with a sentence."""
    assert response.headers["Content-Type"] == "application/json", response.body
    content = body_of(response)
    assert content.keys() == {"error", "message"}
    assert content["message"].endswith(".")
    return response.code, content["error"]


async def test_cancel_needs_the_xsrf_token(cookie_browser: Browser, kernel: Kernel, login_path: str) -> None:
    """Only a page of this Jupyter can cancel: another site's form has the login cookie, but not the token."""
    await cookie_browser.begin(login_path)
    path = action("cancel", login_path)
    for headers in ({}, {"X-XSRFToken": "guess"}, {"Origin": "https://evil.example"}):
        assert (await cookie_browser.post(path, headers=headers)).code in {403, 404}
    assert await kernel.run("print(session.status)") == "authorizing"
    response = await cookie_browser.post(path, headers={"X-XSRFToken": cookie_browser.cookies["_xsrf"]})

    assert (response.code, body_of(response)) == (
        200,
        {"success": True, "message": "All open sign-ins were cancelled."},
    )
    assert await kernel.run("print(session.status, session.error.code)") == "signed_out flow_cancelled"


async def test_logout_needs_the_xsrf_token(cookie_browser: Browser, kernel: Kernel, login_path: str, idp: Idp) -> None:
    """Only a page of this Jupyter can sign out, and then the provider hears of it."""
    await cookie_browser.open(callback(idp.authorize(await cookie_browser.begin(login_path))))
    path = action("logout", login_path)
    assert (await cookie_browser.post(path)).code == 403
    assert await kernel.run("print(session.status)") == "signed_in"
    response = await cookie_browser.post(path, headers={"X-XSRFToken": cookie_browser.cookies["_xsrf"]})

    assert (response.code, body_of(response)) == (
        200,
        {"success": True, "message": "You are signed out."},
    )
    assert await kernel.run("print(session.status, session.user)") == "signed_out None"
    assert not idp.refresh_tokens
    assert idp.requests_to("/revoke") == 2


async def test_logout_while_a_cell_runs(browser: Browser, kernel: Kernel, login_path: str, idp: Idp) -> None:
    """A21: signing out reaches a kernel that is busy."""
    await browser.open(callback(idp.authorize(await browser.begin(login_path))))
    cell = await kernel.block("session.status == 'signed_in'")
    response = await browser.post(action("logout", login_path))

    assert response.code == 200
    assert await cell == "busy\nsigned_out"


async def test_an_answer_after_cancelling_is_refused(
    browser: Browser, kernel: Kernel, login_path: str, idp: Idp
) -> None:
    """An answer that comes after cancelling signs no user in."""
    params = idp.authorize(await browser.begin(login_path))
    await browser.post(action("cancel", login_path))
    response = await browser.open(callback(params))

    assert b"Signed in" not in response.body
    assert idp.requests_to("/token") == 0
    assert await kernel.run("print(session.status)") == "signed_out"


@pytest.mark.parametrize("name", ACTIONS)
async def test_refusals_are_json(browser: Browser, name: str) -> None:
    """A program reads a status and a code of ours, also when there is no such kernel or the query is malformed."""
    assert refusal(await browser.post(f"pywry-auth/{name}")) == (404, "kernel_gone")
    assert refusal(await browser.post(f"pywry-auth/{name}?kernel=k&flow=f")) == (404, "kernel_gone")
    assert refusal(await browser.post(f"pywry-auth/{name}?kernel=k&kernel=k")) == (400, "bad_request")


@pytest.mark.parametrize("name", ACTIONS)
async def test_refusals_of_jupyter_are_json(stranger: Browser, name: str) -> None:
    """Jupyter's own refusal, for a missing XSRF token, is JSON too."""
    assert refusal(await stranger.post(f"pywry-auth/{name}?kernel=k&flow=f")) == (403, "csrf_failed")


async def test_a_link_does_nothing(browser: Browser, kernel: Kernel, login_path: str) -> None:
    """Nothing is cancelled or signed out by following a link, or by a scanner that does."""
    await browser.begin(login_path)
    for name in ACTIONS:
        for method in ("GET", "HEAD", "PUT"):
            response = await browser.open(action(name, login_path), method=method, body="" if method == "PUT" else None)

            assert response.code == 405
    assert await kernel.run("print(session.status)") == "authorizing"
