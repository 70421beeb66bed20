"""The pages: their headers, that they hold nothing secret, and that every way to fail has one."""

from __future__ import annotations

import base64
import hashlib
import re
import sys
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING

import pytest

from pywry_auth_nb._wire import pages
from pywry_auth_nb._wire.error_codes import TABLE
from pywry_auth_nb.server.handlers import LoginHandler

from .conftest import Browser, callback, outcome, query_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado.httpclient import HTTPResponse

    from tests.support.idp import Idp


def broken(*_: object) -> None:
    """Fail as a bug of ours would."""
    raise ZeroDivisionError


def directives(response: HTTPResponse) -> dict[str, list[str]]:
    """The Content-Security-Policy of a page."""
    parts = response.headers["Content-Security-Policy"].split("; ")
    return {name: values for name, *values in (part.split() for part in parts)}


def inline(element: str, response: HTTPResponse) -> list[str]:
    """The hashes, as a policy writes them, of what a page has in its elements of a kind."""
    found = re.findall(rb"<%s[^>]*>(.*?)</%s>" % (element.encode(), element.encode()), response.body, re.DOTALL)
    return [f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'" for text in found]


async def every_page(
    browser: Browser, stranger: Browser, login_path: str, idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> list[HTTPResponse]:
    """One page of each kind, success first, and each with a code and a state in its address."""
    params = idp.authorize(await browser.begin(login_path))
    path = callback(params)
    good = await browser.open(path)
    failing = idp.authorize(await browser.begin(login_path), code="no-such-code")
    monkeypatch.setattr(sys.modules[LoginHandler.__module__], "remember", broken)
    return [
        good,
        await browser.open(path),  # 200: once more
        await browser.open(callback(failing)),  # 400: the provider refuses the code
        await stranger.open(path),  # 403
        await browser.open(path, headers={"Host": "evil.example"}),  # 403: from Jupyter
        await browser.open(callback({**params, "state": "no-such-state"})),  # 403: without a cookie
        await browser.open(path.replace("callback", "login")),  # 404
        await browser.open(path, method="DELETE"),  # 405
        await browser.open(login_path + "&code=some-code&state=some-state"),  # 500
    ]


async def test_every_page_is_locked_up(
    browser: Browser,
    new_browser: Callable[..., Browser],
    login_path: str,
    idp: Idp,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No page is stored, framed, sniffed or told on, and none runs but its own script; none shows code or state."""
    stranger = new_browser(signed_in=False)
    responses = await every_page(browser, stranger, login_path, idp, monkeypatch)
    assert [response.code for response in responses] == [200, 200, 400, 403, 403, 403, 404, 405, 500]
    for response in responses:
        headers = response.headers
        assert headers["Content-Type"] == "text/html; charset=utf-8"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        policy = directives(response)
        assert policy == {
            "default-src": ["'none'"],
            "img-src": ["data:"],  # the empty icon: without one, browsers ask for another address
            "style-src": inline("style", response),
            "script-src": inline("script", response),
            "base-uri": ["'none'"],
            "form-action": ["'none'"],
            "frame-ancestors": ["'none'"],
        }
        assert len(policy["script-src"]) == len(policy["style-src"]) == 1
        body = response.body.replace(b'<link rel="icon" href="data:,">', b"", 1)
        assert not re.search(rb"\son\w+=|\sstyle=|href=|src=", body)
        assert "Location" not in headers
        asked = query_of(response.effective_url)
        assert asked["code"].encode() not in response.body
        assert asked["state"].encode() not in response.body


async def test_a_wrong_address_has_a_page_of_ours(browser: Browser) -> None:
    """An answer that comes to an address near ours is not left to Jupyter, whose pages and logs would hold it."""
    response = await browser.open("pywry-auth/callback/x?code=some-code&state=some-state")

    assert outcome(response) == (404, "not_found")
    assert response.headers["Content-Security-Policy"] == pages.HEADERS["Content-Security-Policy"]


async def test_the_redirect_is_not_kept(browser: Browser, login_path: str) -> None:
    """The redirect that holds the state is not cached, and the provider does not learn which page it came from."""
    response = await browser.open(login_path)

    assert response.body == b""
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("setting", ["Content-Security-Policy", "Cross-Origin-Opener-Policy", "Cache-Control"])
@pytest.mark.parametrize("jp_server_config", [{"tornado_settings": {"headers": {}}}], indirect=True, ids=["headers"])
async def test_the_servers_headers_do_not_weaken_ours(browser: Browser, jp_web_app: object, setting: str) -> None:
    """An administrator's headers for Jupyter (so that Lab can be framed, say) do not reach these pages."""
    jp_web_app.settings["headers"] = {setting: "anything"}  # type: ignore[attr-defined]
    response = await browser.open("pywry-auth/login")

    assert response.headers[setting] == pages.HEADERS[setting]


def test_every_code_is_a_failure() -> None:
    """No page of a code claims a success; an answer that came twice is the one with HTTP's status for one."""
    for code in TABLE:
        page = pages.failed(code)

        assert (page.status == 200) if code == "already_used" else (400 <= page.status < 600)
        assert not page.closes
        assert f"<h1>{escape(page.title)}</h1>" in page.html()
        assert f"<code>{code}</code>" in page.html()


def test_a_page_names_where_the_user_came_from() -> None:
    """The callback server's user may sign in from a program that is not a notebook."""
    assert "go back to the notebook or program." in pages.failed("already_used").html("notebook or program")
    assert "program" not in pages.failed("already_used").html()


def test_the_page_before_jupyters_login_is_short() -> None:
    """It names Jupyter in the heading and once more, and the link is all there is to do."""
    page = pages.failed("jupyter_login", login_url="/login?next=x").html()
    body = page.partition("<body")[2]

    assert body.count("Jupyter") == 2
    assert "close this tab and go back" not in body
    assert '<a href="/login?next=x">Sign in and go on</a>' in body
    assert "close this tab and go back" in pages.failed("jupyter_login").html()


def test_a_page_has_one_main_landmark_and_one_status() -> None:
    """The status is announced, and stands inside the landmark: on ``<main>`` itself the role would hide that one."""
    page = pages.failed("network").html()

    assert page.count("<main>") == 1
    assert page.index("<main>") < page.index('<div role="status">') < page.index("</main>")
    assert page.count("role=") == 1


@pytest.mark.parametrize(
    ("page", "outcome"),
    [
        (pages.signed_in("Ada"), "ok"),
        (pages.failed("access_denied"), "bad"),
        (pages.broken(500), "bad"),
        (pages.failed("already_used"), "off"),
        (pages.OVER, "off"),
        (pages.WAITING, "off"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.title,
)
def test_a_page_has_a_mark_of_its_outcome(page: pages.Page, outcome: str) -> None:
    """Success and failure differ in colour, shape and character; the words say it to those who do not see it."""
    assert f'<div class="mark {outcome}" aria-hidden="true">' in page.html()


def test_a_page_names_the_provider() -> None:
    """Success and failure say where the sign-in was."""
    for page in (pages.signed_in("Ada", "Con<toso"), pages.failed("access_denied", provider="Con<toso")):
        assert "Sign-in at <bdi>Con&lt;toso</bdi>" in page.html()
    assert "Sign-in at" not in pages.signed_in("Ada").html()


def test_every_page_can_be_closed() -> None:
    """There is a button, which a browser without scripts does not show; and every page says that it may go."""
    for page in (pages.signed_in("Ada"), pages.OVER, pages.broken(500), *map(pages.failed, TABLE)):
        assert '<button type="button" hidden>Close this tab</button>' in page.html()
        assert "close this tab" in page.text


def test_a_page_escapes_what_it_is_given() -> None:
    """B16: neither a name nor a code becomes markup or a hole of the template."""
    page = replace(pages.signed_in("<b>{code}</b>", "<b>{0}</b>"), code='"><script>{0}</script>').html("{place}")

    assert "<b>" not in page
    assert page.count("<script>") == 1
    assert "&lt;b&gt;{code}&lt;/b&gt;" in page
