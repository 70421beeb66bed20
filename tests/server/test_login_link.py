"""A sign-in link in a browser that is not signed in to Jupyter: another browser, JupyterLab Desktop, a copied link."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from .conftest import Browser, Kernel, callback, cookies_of, outcome

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from tornado.httpclient import HTTPResponse

    from tests.support.idp import Idp

PATH = "/a%40b/pywry-auth/login"  # of this server, without a query
COOKIE = "pywry-auth-link"


def link_of(response: HTTPResponse) -> str:
    """The link on a page; empty without one."""
    found = re.search(rb'<a href="(.*?)">', response.body)
    return html.unescape(found[1].decode()) if found else ""


async def follow(stranger: Browser, link: str, token: str) -> str:
    """Sign in to Jupyter on the page that a link leads to, and return where that sends the browser."""
    path = link.removeprefix("/a%40b/").removeprefix("/a@b/")
    await stranger.open(path)  # gives the XSRF cookie
    form = urlencode({"password": token, "_xsrf": stranger.cookies["_xsrf"]})
    response = await stranger.open(path, method="POST", body=form)
    assert response.code == 302
    return str(response.headers["Location"])


async def test_sign_in_to_jupyter_and_go_on(
    stranger: Browser, kernel: Kernel, login_path: str, idp: Idp, jp_serverapp: Any
) -> None:
    """The page leads to Jupyter's login page, from there back to the link, and so to the provider."""
    page = await stranger.open(login_path)
    assert outcome(page) == (403, "jupyter_login")
    back = await follow(stranger, link_of(page), jp_serverapp.identity_provider.token)

    assert back == PATH
    url = await stranger.begin("pywry-auth/login")
    assert url.startswith(f"{idp.issuer}/authorize?")
    assert outcome(await stranger.open(callback(idp.authorize(url)))) == (200, "")
    assert await kernel.run("print(session.status)") == "signed_in"
    assert COOKIE not in stranger.cookies, "the link is used up"
    assert outcome(await stranger.open("pywry-auth/login")) == (404, "kernel_gone")


async def test_a_link_for_another_account(browser: Browser, login_path: str) -> None:
    """R55: what the widget's second link asks for reaches the provider; anything else does not."""
    asked = {
        prompt: parse_qs(urlsplit(await browser.begin(f"{login_path}&prompt={prompt}")).query).get("prompt")
        for prompt in ("none", "select_account")
    }

    assert asked == {"none": None, "select_account": ["select_account"]}


async def test_a_link_for_another_account_waits_for_jupyter(
    stranger: Browser, login_path: str, jp_serverapp: Any
) -> None:
    """R55: it is still for another account after the way through Jupyter's login page."""
    page = await stranger.open(f"{login_path}&prompt=select_account")
    await follow(stranger, link_of(page), jp_serverapp.identity_provider.token)

    assert "prompt=select_account" in await stranger.begin("pywry-auth/login")


async def test_the_link_leads_to_jupyter_and_names_only_our_path(stranger: Browser, login_path: str) -> None:
    """T40: the way back is this path, whatever the link says; key and kernel are in no address."""
    lure = urlencode(dict.fromkeys(("next", "url", "redirect", "flow_"), "https://evil.example/"))
    link = urlsplit(link_of(await stranger.open(f"{login_path}&{lure}")))

    assert (link.scheme, link.netloc) == ("", "")
    assert link.path.endswith("/login")
    assert parse_qs(link.query) == {"next": [PATH]}


async def test_what_is_left_with_the_browser(stranger: Browser, login_path: str) -> None:
    """The link rests in a cookie that no script sees, signed, for our routes; without other parameters, as a token."""
    response = await stranger.open(f"{login_path}&token=wrong-token")
    (cookie,) = [cookie for cookie in cookies_of(response) if cookie.key == COOKIE]

    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert cookie["path"].endswith("/pywry-auth/")
    stranger.cookies[COOKIE] = urlencode({"kernel": "k", "flow": "f"})
    assert link_of(await stranger.open("pywry-auth/login")) == "", "a cookie that this server did not sign"


async def test_a_reload_keeps_the_link(stranger: Browser, login_path: str) -> None:
    """The page removes the query from its address: a reload of it, before the login, shows the same link."""
    first = link_of(await stranger.open(login_path))

    assert first
    assert link_of(await stranger.open("pywry-auth/login")) == first
    assert COOKIE in stranger.cookies


async def test_without_cookies_there_is_no_link(stranger: Browser) -> None:
    """Where nothing was kept, there is nothing to come back to, and the page does not run in circles."""
    page = await stranger.open("pywry-auth/login")

    assert (outcome(page), link_of(page)) == ((403, "jupyter_login"), "")


@pytest.mark.parametrize("query", ["kernel=a&kernel=b", "kernel=%ff", "flow=" + "x" * 8192])
async def test_a_malformed_link_is_not_kept(stranger: Browser, query: str) -> None:
    """A stranger's link that can be read in more than one way leaves nothing behind."""
    page = await stranger.open(f"pywry-auth/login?{query}")

    assert page.code in {400, 403}
    assert link_of(page) == ""
    assert COOKIE not in stranger.cookies


async def test_a_prefetched_link_is_not_kept(stranger: Browser, login_path: str) -> None:
    """A browser that guesses ahead keeps nothing."""
    await stranger.open(login_path, headers={"Sec-Purpose": "prefetch"})

    assert COOKIE not in stranger.cookies


async def test_other_routes_offer_no_login(stranger: Browser, login_path: str) -> None:
    """Only a link to sign in can be taken up again."""
    query = login_path.partition("?")[2]
    for route in ("callback", "elsewhere"):
        page = await stranger.open(f"pywry-auth/{route}?{query}")

        assert (page.code, link_of(page)) == (403, ""), route


@pytest.mark.parametrize(
    ("login_url", "expected"),
    [
        ("/login", "/login?next=%2Fa%2540b%2Fpywry-auth%2Flogin"),
        ("https://sso.example.org/in", "https://sso.example.org/in?next=http%3A%2F%2F"),
        ("https://hub.example.org/hub/api/oauth2/authorize?state=s", "https://hub.example.org/hub/api/oauth2/"),
    ],
)
async def test_any_login_page(stranger: Browser, jp_serverapp: Any, login_url: str, expected: str) -> None:
    """A login page elsewhere is told the whole address to come back to, and one that knows the way is told nothing."""
    jp_serverapp.web_app.settings["login_url"] = login_url
    link = link_of(await stranger.open("pywry-auth/login?kernel=k&flow=f"))

    assert link.startswith(expected)
    assert "flow" not in link
    assert link == login_url if "?" in login_url else link.endswith("%2Fpywry-auth%2Flogin")


async def test_the_key_is_in_no_log(
    stranger: Browser, login_path: str, jp_serverapp: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """The server's log has neither the key of the link nor the cookie that keeps it."""
    with caplog.at_level("DEBUG"):
        page = await stranger.open(login_path)
        await follow(stranger, link_of(page), jp_serverapp.identity_provider.token)
        await stranger.begin("pywry-auth/login")

    assert login_path.partition("flow=")[2] not in caplog.text
