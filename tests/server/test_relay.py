"""Answers that reach another server of the same hub user, or a browser that must sign in to Jupyter first."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlencode, urlsplit

import pytest

from pywry_auth_nb._wire import pages
from pywry_auth_nb._wire.hub_routing import other_server, server_in, state_for
from tests.support.cases import case

from .conftest import Browser, Kernel, callback, cookies_of, outcome, query_of

if TYPE_CHECKING:
    from pathlib import Path

    from tornado.httpclient import HTTPResponse

    from tests.support.idp import Idp

TOKEN = "a" * 43
DEFAULT = {"JUPYTERHUB_SERVICE_PREFIX": "/hub/user/alice/", "JUPYTERHUB_SERVER_NAME": ""}
SECOND = {"JUPYTERHUB_SERVICE_PREFIX": "/hub/user/alice/second/", "JUPYTERHUB_SERVER_NAME": "second"}
ODD = ["second", "zwei tes", "s\u00e9cond", "a.b", "x@y~z", "100", "a" * 255]
#: what would lead out of a user's own servers, through some proxy or browser
EVIL = [
    "..",
    ".",
    "...",
    "../bob",
    "..\\bob",
    "a/../../bob",
    "/",
    "//evil.example",
    "%2e%2e",
    "%2F",
    "a\r\nb",
    "\0",
    "a" * 256,
]


def hub(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]) -> None:
    """Make this the server of a hub user."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)


# -- the name in the state --------------------------------------------------------------------------------------------


def test_a_state_names_its_server() -> None:
    """Any name that a hub gives comes back out of the state, which is made of unreserved characters."""
    for name in ODD:
        with case(name):
            state = state_for(TOKEN, name)

            assert server_in(state) == name
            assert re.fullmatch("[A-Za-z0-9_.-]+", state)


def test_no_state_leads_astray() -> None:
    """An invalid server name is neither written into a state nor read from a forged one."""
    for name in ["", *EVIL]:
        with case(name):
            from base64 import urlsafe_b64encode

            made_up = f"{TOKEN}.{urlsafe_b64encode(name.encode()).decode()}"

            assert state_for(TOKEN, name) == TOKEN
            assert server_in(made_up) == server_in(made_up.rstrip("=")) == ""


NONSENSE = ["", ".", "..", "a.b.c", "a.\u00e9", "a.====", "a.\udcff", f"{TOKEN}.////", "a." + "A" * 5000]


def test_nonsense_names_no_server() -> None:
    """Whatever comes as a state is read without an error."""
    for state in NONSENSE:
        with case(state):
            assert server_in(state) == ""


def test_whose_servers() -> None:
    """A state leads from any server of a user to any other of theirs; without a hub, nowhere."""
    first, second, third = (state_for(TOKEN, name) for name in ("", "second", "the third"))

    assert other_server(second, DEFAULT) == "/hub/user/alice/second/"
    assert other_server(third, SECOND) == "/hub/user/alice/the%20third/"
    assert other_server(first, SECOND) == "/hub/user/alice/"
    for prefix in ("/user/alice", "/user/alice/"):
        assert other_server(second, {"JUPYTERHUB_SERVICE_PREFIX": prefix}) == "/user/alice/second/"
    assert other_server(first, DEFAULT) == other_server(second, SECOND) == other_server(second, {}) == ""


# -- the relay --------------------------------------------------------------------------------------------------------


async def test_a_stranger_is_relayed_with_the_whole_answer(stranger: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """The browser may never have been here: it is sent on all the same, with the query as it came, and nothing else."""
    hub(monkeypatch, DEFAULT)
    state = state_for(TOKEN, "second")
    query = f"code=a%20b%2Fc+d&state={state}&iss=https%3A%2F%2Fidp.example"
    response = await stranger.open(f"pywry-auth/callback?{query}")

    assert response.code == 302
    assert response.headers["Location"] == f"/hub/user/alice/second/pywry-auth/callback?{query}"
    assert (response.headers["Cache-Control"], response.headers["Referrer-Policy"]) == ("no-store", "no-referrer")
    assert not cookies_of(response) or {cookie.key for cookie in cookies_of(response)} == {"_xsrf"}


async def test_no_answer_leaves_the_users_servers(stranger: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forged state redirects to no address outside the user's servers."""
    for name in EVIL:
        with case(name):
            from base64 import urlsafe_b64encode

            hub(monkeypatch, DEFAULT)
            state = f"{TOKEN}.{urlsafe_b64encode(name.encode()).decode()}"
            response = await stranger.open(callback({"code": "c", "state": state}))

            assert outcome(response) == (403, "other_browser")
            assert "Location" not in response.headers


BROKEN_QUERIES = ["code=a&code=b", "code=" + "x" * 9000]


async def test_a_broken_answer_is_not_relayed(stranger: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """A malformed answer is not relayed."""
    for query in BROKEN_QUERIES:
        with case(query):
            hub(monkeypatch, DEFAULT)
            response = await stranger.open(f"pywry-auth/callback?state={state_for(TOKEN, 'second')}&{query}")

            assert outcome(response) == (400, "bad_request")


async def test_a_prefetch_is_not_relayed(stranger: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prefetched callback is not relayed."""
    hub(monkeypatch, DEFAULT)
    path = callback({"state": state_for(TOKEN, "second"), "code": "c"})

    assert outcome(await stranger.open(path, headers={"Sec-Purpose": "prefetch"})) == (400, "bad_request")


async def test_only_the_callback_relays(stranger: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """No other route does anything for a stranger."""
    hub(monkeypatch, DEFAULT)
    for path in ("login", "status", "elsewhere"):
        response = await stranger.open(f"pywry-auth/{path}?state={state_for(TOKEN, 'second')}")
        assert response.code == 403, path


async def test_a_server_keeps_what_was_begun_there(
    browser: Browser, kernel: Kernel, login_path: str, idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A named server puts its name into the state, and takes the answer."""
    monkeypatch.setenv("JUPYTERHUB_SERVER_NAME", "second")
    url = await browser.begin(login_path)

    assert server_in(query_of(url)["state"]) == "second"
    hub(monkeypatch, DEFAULT)  # and also where the name seems to be another's: this browser began it here
    assert outcome(await browser.open(callback(idp.authorize(url)))) == (200, "")
    assert await kernel.run("print(session.status)") == "signed_in"


# -- signing in to Jupyter on the way ---------------------------------------------------------------------------------


async def signed_out_half_way(
    cookie_browser: Browser, login_path: str, idp: Idp
) -> tuple[dict[str, str], HTTPResponse]:
    """Begin a sign-in, lose Jupyter's cookie, and come back from the provider."""
    params = idp.authorize(await cookie_browser.begin(login_path))
    for name in [name for name in cookie_browser.cookies if not name.startswith("pywry-auth-")]:
        del cookie_browser.cookies[name]
    return params, await cookie_browser.open(callback(params))


async def sign_in_to_jupyter(browser: Browser, token: str) -> HTTPResponse:
    """Sign in on the login page that the browser was sent to."""
    await browser.open("login?next=%2F")
    form = urlencode({"password": token, "_xsrf": browser.cookies["_xsrf"]})
    return await browser.open("login", method="POST", body=form)


async def test_sign_in_to_jupyter_and_go_on(
    cookie_browser: Browser, kernel: Kernel, login_path: str, idp: Idp, jp_serverapp: object
) -> None:
    """A user whose Jupyter login has expired signs in there and comes back: the answer is still accepted."""
    params, response = await signed_out_half_way(cookie_browser, login_path, idp)

    assert response.code == 302
    where = urlsplit(response.headers["Location"])
    assert where.path.endswith("/login")
    assert unquote(where.query).endswith("/pywry-auth/callback"), "and without the query"
    for word in params.values():
        assert word not in str(response.headers.get("Location"))
    assert idp.requests_to("/token") == 0

    await sign_in_to_jupyter(cookie_browser, jp_serverapp.identity_provider.token)  # type: ignore[attr-defined]
    assert outcome(await cookie_browser.open("pywry-auth/callback")) == (200, "")
    assert await kernel.run("print(session.status)") == "signed_in"
    assert "pywry-auth-answer" not in cookie_browser.cookies
    assert (await cookie_browser.open("pywry-auth/callback")).body.decode() == pages.OVER.html(), "as if reloaded"


async def test_what_is_left_with_the_browser(cookie_browser: Browser, login_path: str, idp: Idp) -> None:
    """The answer rests in a cookie that no script sees, which is good for ten minutes and for our routes."""
    _, response = await signed_out_half_way(cookie_browser, login_path, idp)
    (cookie,) = [cookie for cookie in cookies_of(response) if cookie.key == "pywry-auth-answer"]

    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert cookie["path"].endswith("/pywry-auth/")


async def test_nothing_is_left_with_another_browser(
    cookie_browser: Browser, stranger: Browser, login_path: str, idp: Idp
) -> None:
    """A stranger who began no sign-in here is sent nowhere, and is given nothing."""
    params = idp.authorize(await cookie_browser.begin(login_path))
    stranger.cookies.clear()
    response = await stranger.open(callback(params))

    assert outcome(response) == (403, "other_browser")


async def test_a_forged_answer_is_not_taken_back(cookie_browser: Browser, login_path: str, idp: Idp) -> None:
    """A cookie that this server did not sign counts for nothing."""
    params = idp.authorize(await cookie_browser.begin(login_path))
    cookie_browser.cookies["pywry-auth-answer"] = urlencode(params)

    assert (await cookie_browser.open("pywry-auth/callback")).body.decode() == pages.OVER.html()
    assert idp.requests_to("/token") == 0


async def test_an_answer_too_long_to_leave(cookie_browser: Browser, login_path: str, idp: Idp) -> None:
    """An answer too long for a cookie ends on a page that says what to do."""
    params = idp.authorize(await cookie_browser.begin(login_path), session_state="x" * 3000)
    for name in [name for name in cookie_browser.cookies if not name.startswith("pywry-auth-")]:
        del cookie_browser.cookies[name]

    assert outcome(await cookie_browser.open(callback(params))) == (403, "jupyter_login")


@pytest.fixture
def on_a_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that starts on a hub; to be asked for before it."""
    hub(monkeypatch, DEFAULT)


async def test_a_named_server_that_does_not_run(on_a_hub: None, cookie_browser: Browser) -> None:
    """The proxy leads its addresses to the default server then, which says so."""
    answer = await cookie_browser.open("second/pywry-auth/callback?code=c&state=s")

    assert outcome(answer) == (404, "kernel_gone")


async def test_a_folder_of_that_name(on_a_hub: None, browser: Browser, jp_root_dir: Path) -> None:
    """A user's folder that is called like our routes can be read as any other."""
    (jp_root_dir / "pywry-auth").mkdir()
    (jp_root_dir / "pywry-auth" / "x.txt").write_text("content")

    assert (await browser.open("files/pywry-auth/x.txt")).body == b"content"


async def test_the_page_of_a_stopped_server(browser: Browser) -> None:
    """A browser that comes back to a stopped server gets a page that says so."""
    assert outcome(await browser.open("pywry-auth/stopped")) == (404, "kernel_gone")
