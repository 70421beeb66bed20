"""The cookie that ties a sign-in to the browser where it began, and routes the answer to its kernel."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import pytest
from tornado.web import decode_signed_value

from .conftest import Browser, Kernel, callback, cookie_for, cookies_of, outcome, query_of

if TYPE_CHECKING:
    from tests.support.idp import Idp

JUPYTERS_OWN = ("username-", "_xsrf")


async def test_attributes(browser: Browser, kernel: Kernel, login_path: str, jp_web_app: object) -> None:
    """It is for the server alone, for our routes alone, for ten minutes, and comes along from the provider's site."""
    response = await browser.open(login_path)
    state = query_of(response.headers["Location"])["state"]
    (cookie,) = [cookie for cookie in cookies_of(response) if not cookie.key.startswith(JUPYTERS_OWN)]

    assert cookie.key == cookie_for(state)
    assert cookie["httponly"] is True
    assert cookie["samesite"] == "Lax"
    assert cookie["path"] == "/a%40b/pywry-auth/"
    assert cookie["domain"] == ""
    assert not cookie["secure"]  # this is plain http
    assert parsedate_to_datetime(cookie["expires"]).timestamp() == pytest.approx(time.time() + 600, abs=10)
    secret = jp_web_app.settings["cookie_secret"]  # type: ignore[attr-defined]
    assert decode_signed_value(secret, cookie.key, cookie.value) == kernel.id.encode()
    assert state not in cookie.OutputString()


async def test_they_do_not_pile_up(browser: Browser, login_path: str, idp: Idp) -> None:
    """After many clicks a browser has at most eight of them, and the latest is always valid."""
    for _ in range(20):
        url = await browser.begin(login_path)
        assert len(browser.flow_cookies()) <= 8

    assert outcome(await browser.open(callback(idp.authorize(url)))) == (200, "")


async def test_a_bad_one_is_refused(
    browser: Browser, login_path: str, idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is signed for one state and for ten minutes: another or an expired cookie is refused."""
    urls = [await browser.begin(login_path) for _ in range(2)]
    params = idp.authorize(urls[0])
    mine, others = (cookie_for(query_of(url)["state"]) for url in urls)
    good = browser.cookies[mine]
    for forged in (browser.cookies[others], good[:-2] + ("1" if good[-2] == "0" else "0") + '"', '""', "kernel"):
        browser.cookies[mine] = forged

        assert outcome(await browser.open(callback(params))) == (403, "other_browser")
    browser.cookies[mine] = good
    now = time.time()
    with monkeypatch.context() as later:
        later.setattr("tornado.web.time.time", lambda: now + 601)
        assert outcome(await browser.open(callback(params))) == (403, "other_browser")
    assert idp.requests_to("/token") == 0
    assert outcome(await browser.open(callback(params))) == (200, "")
