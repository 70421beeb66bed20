"""Where the provider sends the browser back to: what is registered there, so it must be right."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from pywry_auth_nb.server.redirect_uri import PywryAuth, redirect_uri
from tests.support.cases import case

from .conftest import Browser, Kernel, cookie_for, cookies_of, outcome, query_of, with_settings

if TYPE_CHECKING:
    from tests.support.idp import Idp

CONFIGURED = "https://configured.example/pywry-auth/callback"
ALICE = {"JUPYTERHUB_SERVICE_PREFIX": "/user/alice/", "JUPYTERHUB_BASE_URL": "/"}
LAB = {"JUPYTERHUB_SERVICE_PREFIX": "/lab/user/alice/two/", "JUPYTERHUB_BASE_URL": "/lab/"}
PUBLIC = {"JUPYTERHUB_PUBLIC_HUB_URL": "https://hub.example/hub/"}
EMPTY = {"JUPYTERHUB_PUBLIC_HUB_URL": ""}  # as JupyterHub sets it where it does not know

#: configured, browser's origin, base URL, environment -> redirect URI
TABLE = {
    "root": ("", "http://localhost:8888", "/", {}, "http://localhost:8888/pywry-auth/callback"),
    "address": ("", "http://127.0.0.1:8888", "/", {}, "http://127.0.0.1:8888/pywry-auth/callback"),
    "IPv6": ("", "http://[::1]:8888", "/", {}, "http://[::1]:8888/pywry-auth/callback"),
    "https": ("", "https://lab.example", "/", {}, "https://lab.example/pywry-auth/callback"),
    "base URL": ("", "http://localhost:8888", "/a%40b/", {}, "http://localhost:8888/a%40b/pywry-auth/callback"),
    "configured": (CONFIGURED, "http://localhost:8888", "/", {}, CONFIGURED),
    "configured on a hub": (CONFIGURED, "https://hub.example", "/user/alice/", ALICE, CONFIGURED),
    "hub": (
        "", "https://hub.example", "/user/alice/", ALICE,
        "https://hub.example/hub/user-redirect/pywry-auth/callback",
    ),
    "hub below a path, named server": (
        "", "https://example.org", "/lab/user/alice/two/", LAB,
        "https://example.org/lab/hub/user-redirect/pywry-auth/callback",
    ),
    "hub with a public URL": (
        "", "http://10.0.0.7:8081", "/user/alice/", ALICE | PUBLIC,
        "https://hub.example/hub/user-redirect/pywry-auth/callback",
    ),
    "hub that does not know its URL": (
        "", "https://hub.example", "/user/alice/", ALICE | EMPTY,
        "https://hub.example/hub/user-redirect/pywry-auth/callback",
    ),
    "hub whose base URL has no slash": (
        "", "https://hub.example", "/lab/user/alice/", LAB | {"JUPYTERHUB_BASE_URL": "/lab"},
        "https://hub.example/lab/hub/user-redirect/pywry-auth/callback",
    ),
    "hub with subdomains that does not know its URL": (
        "", "https://alice.hub.example", "/lab/user/alice/two/", LAB | EMPTY | {"JUPYTERHUB_HOST": "https://hub.example"},
        "https://hub.example/lab/hub/user-redirect/pywry-auth/callback",
    ),
    "a hub's address without a hub": ("", "http://localhost", "/", PUBLIC, "http://localhost/pywry-auth/callback"),
}  # fmt: skip


def request_from(origin: str) -> HTTPServerRequest:
    """A request of a browser that sees the server at ``origin``."""
    scheme, _, host = origin.partition("://")
    connection = SimpleNamespace(context=SimpleNamespace(protocol=scheme, remote_ip="127.0.0.1"))
    line = RequestStartLine("GET", "/x", "HTTP/1.1")
    return HTTPServerRequest(start_line=line, headers=HTTPHeaders({"Host": host}), connection=connection)  # type: ignore[arg-type]


def test_table() -> None:
    """As configured; else the hub's one address for all users; else this server's, as the browser sees it."""
    for name, (configured, origin, base_url, environ, expected) in TABLE.items():
        with case(name):
            assert redirect_uri(configured, request_from(origin), base_url, environ) == expected


FORWARDED: list[tuple[dict[str, str], str]] = [
    ({"X-Forwarded-Proto": "https,http"}, "https"),
    ({"X-Forwarded-Proto": "https, http", "X-Scheme": "https"}, "https"),
    ({"X-Forwarded-Proto": "http"}, "http"),
    ({"X-Forwarded-Proto": "javascript"}, "http"),
    ({}, "http"),
]


def test_a_hub_has_a_proxy_of_its_own() -> None:
    """TLS ends in front of the hub: what the browser used is the outermost of the schemes that the proxies name."""
    for headers, scheme in FORWARDED:
        with case(headers):
            request = request_from("http://hub.example")
            for name, value in headers.items():
                request.headers[name] = value

            assert redirect_uri("", request, "/user/alice/", ALICE) == (
                f"{scheme}://hub.example/hub/user-redirect/pywry-auth/callback"
            )


def test_the_environment_configures(monkeypatch: pytest.MonkeyPatch) -> None:
    """PYWRY_AUTH_REDIRECT_URI is what is configured, where nothing is."""
    monkeypatch.setenv("PYWRY_AUTH_REDIRECT_URI", "https://environ.example/cb")

    assert PywryAuth().redirect_uri == "https://environ.example/cb"
    assert PywryAuth(redirect_uri=CONFIGURED).redirect_uri == CONFIGURED


@pytest.mark.parametrize("jp_argv", [[f"--PywryAuth.redirect_uri={CONFIGURED}"]])
async def test_the_command_line_configures(browser: Browser, login_path: str, jp_argv: list[str]) -> None:
    """The server's own configuration reaches the provider."""
    assert query_of(await browser.begin(login_path))["redirect_uri"] == CONFIGURED


@with_settings(allow_remote_access=True)
async def test_plain_http_is_refused(browser: Browser, kernel: Kernel, login_path: str, idp: Idp) -> None:
    """Where Jupyter is reached over plain http from elsewhere, a code could be read on its way: nothing begins."""
    for host in ("jupyter.example:8888", "10.0.0.7", "localhost.evil.example", "127.0.0.1.evil.example"):
        response = await browser.open(login_path, headers={"Host": host, "X-Forwarded-Proto": "https"})

        assert outcome(response) == (400, "insecure_redirect_uri"), host
    assert not browser.flow_cookies()
    assert await kernel.run("print(session.status)") == "signed_out"


@with_settings(allow_remote_access=True, trust_xheaders=True)
async def test_https_before_a_proxy(browser: Browser, login_path: str) -> None:
    """B13: behind a proxy that Jupyter trusts, it is the proxy's https that counts, for the cookie as well."""
    response = await browser.open(login_path, headers={"Host": "jupyter.example", "X-Forwarded-Proto": "https"})
    asked = query_of(response.headers["Location"])
    (cookie,) = [cookie for cookie in cookies_of(response) if cookie.key == cookie_for(asked["state"])]

    assert asked["redirect_uri"] == "https://jupyter.example/a%40b/pywry-auth/callback"
    assert cookie["secure"] is True


async def test_a_hub_has_one_for_all(browser: Browser, login_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a hub no user's own address is used, for another user's browser could be sent there with a code."""
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/a%40b/")
    monkeypatch.setenv("JUPYTERHUB_PUBLIC_HUB_URL", "https://hub.example/hub/")
    response = await browser.open(login_path)
    asked = query_of(response.headers["Location"])
    (cookie,) = [cookie for cookie in cookies_of(response) if cookie.key == cookie_for(asked["state"])]

    assert asked["redirect_uri"] == "https://hub.example/hub/user-redirect/pywry-auth/callback"
    assert cookie["secure"] is True, "the browser has it over TLS, whatever the hub's own proxy says"
