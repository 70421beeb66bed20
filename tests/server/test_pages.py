"""The pages: their headers, that they hold nothing secret, and that every way to fail has one."""

from __future__ import annotations

import ast
import base64
import hashlib
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pywry_auth_nb
from pywry_auth_nb import errors
from pywry_auth_nb._sign_in.authorization import ERRORS
from pywry_auth_nb._wire import pages
from pywry_auth_nb.providers.base import _MISCONFIGURED
from pywry_auth_nb.server.handlers import LoginHandler

from .conftest import Browser, callback, outcome, query_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado.httpclient import HTTPResponse

    from tests.support.idp import Idp

SOURCES = sorted(Path(pywry_auth_nb.__file__).parent.rglob("*.py"))


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
            "style-src": inline("style", response),
            "script-src": inline("script", response),
            "base-uri": ["'none'"],
            "form-action": ["'none'"],
            "frame-ancestors": ["'none'"],
        }
        assert len(policy["script-src"]) == len(policy["style-src"]) == 1
        assert not re.search(rb"\son\w+=|\sstyle=|href=|src=", response.body)
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
    """Nobody keeps the answer that holds the state, and the provider does not hear which page it came from."""
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


def given_as_code(node: ast.AST) -> list[ast.expr]:
    """What a piece of the source passes or assigns as an error's code."""
    if isinstance(node, ast.Call):
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        refuses = name in {"_refuse", "_fail", "_failed", "failed", "Refused", "KernelUnavailable"}
        return [keyword.value for keyword in node.keywords if keyword.arg == "code"] + (node.args if refuses else [])
    if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        pairs = [(target, node.value)]
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            pairs = list(zip(target.elts, node.value.elts, strict=True))
        return [value for name, value in pairs if getattr(name, "id", "") in {"code", "default_code"}]
    return []


def codes() -> set[str]:
    """Every error code in the package's source, however it is written, and the words taken over from RFC 6749."""
    found = {"access_denied", *ERRORS, *_MISCONFIGURED}
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            parts = [part for given in given_as_code(node) for part in ast.walk(given)]
            values = [part.value for part in parts if isinstance(part, ast.Constant)]
            found |= {value for value in values if isinstance(value, str) and re.fullmatch("[a-z_]+", value)}
    return found


def test_all_codes_are_found() -> None:
    """The search above sees codes of every part of the package, however they are written."""
    some = {"network", "issuer_mismatch", "id_token_signature", "jwks_failed", "unknown_flow", "invalid_client"}
    assert codes() >= some | {"other_browser", "kernel_gone", "internal", "insecure_redirect_uri", "provider_error"}
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    assert codes() >= {each.default_code for each in classes if issubclass(each, errors.AuthenticationError)}


@pytest.mark.parametrize("code", sorted(codes()))
def test_every_code_is_a_failure(code: str) -> None:
    """Whatever fails, the page does not claim a success; an answer that came twice is the one that is none."""
    page = pages.failed(code)

    assert (page.status == 200) if code == "already_used" else (400 <= page.status < 600)
    assert not page.closes
    assert page.title
    assert page.text.endswith(".")


def test_no_page_is_for_a_code_that_nobody_uses() -> None:
    """A page that nothing leads to is a page that nobody keeps true."""
    assert set(pages._PAGES) <= codes()


def test_a_page_escapes_what_it_is_given() -> None:
    """B16: neither a name nor a code becomes markup or a hole of the template."""
    page = replace(pages.signed_in("<b>{code}</b>"), code='"><script>{0}</script>').html("{place}")

    assert "<b>" not in page
    assert page.count("<script>") == 1
    assert "&lt;b&gt;{code}&lt;/b&gt;" in page
