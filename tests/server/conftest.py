"""A Jupyter server with our extension, real kernels that sign in, and clients that behave like browsers."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import html
import json
import re
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from tests.support.idp import CLIENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tornado.httpclient import HTTPResponse

    from tests.support.idp import Idp

SETUP = """
from pywry_auth_nb import GenericOIDCProvider, MemoryTokenStore, SessionManager, LoginWidget
{name} = SessionManager(GenericOIDCProvider({client!r}, issuer_url={issuer!r}), MemoryTokenStore())
{name}_widget = LoginWidget({name})
print({name}_widget.login_path)
"""

BUSY = """
import time
print("busy", flush=True)
deadline = time.monotonic() + 8
while {condition} and time.monotonic() < deadline:
    time.sleep(.01)
print(session.status)
"""

#: What a browser says about its request when a provider on another site sends it back.
FROM_PROVIDER = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Referer": "https://login.example/"}


@pytest.fixture
def jp_server_config(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Load our extension, without its limit on sign-ins; a test's ``@with_settings`` adds to it."""
    settings = dict(getattr(request, "param", {}))
    ours = {"max_logins_per_minute": settings.pop("max_logins_per_minute", 0)}
    return {"ServerApp": {"jpserver_extensions": {"pywry_auth_nb": True}, **settings}, "PywryAuth": ours}


def with_settings(**settings: Any) -> pytest.MarkDecorator:
    """Run the test on a server with these settings of ``c.ServerApp``."""
    return pytest.mark.parametrize("jp_server_config", [settings], indirect=True, ids=[", ".join(settings)])


@pytest.fixture
def http_server(http_server: Any, jp_serverapp: Any) -> Any:
    """The HTTP server, which believes proxies exactly if Jupyter's own would."""
    http_server.xheaders = jp_serverapp.trust_xheaders
    return http_server


# -- kernels ----------------------------------------------------------------------------------------------------


@dataclass
class Kernel:
    """A kernel of the server, and a client that runs code there."""

    id: str
    client: Any
    manager: Any
    output: Path

    async def run(self, code: str, started: asyncio.Event | None = None) -> str:
        """Run code and return what it printed; raise what it raised. ``started`` is set when it prints."""
        printed: list[str] = []

        def hear(message: dict[str, Any]) -> None:
            if message["msg_type"] == "stream":
                printed.append(message["content"]["text"])
                if started is not None:
                    started.set()

        reply = await self.client.execute_interactive(code, allow_stdin=False, output_hook=hear, timeout=60)
        assert reply["content"]["status"] == "ok", reply["content"]
        return "".join(printed).strip()

    async def block(self, condition: str) -> asyncio.Task[str]:
        """Run a cell that keeps the kernel busy while ``condition`` holds and then prints the session's status.

        Returns when it is running.
        """
        started = asyncio.Event()
        cell = asyncio.create_task(self.run(BUSY.format(condition=condition), started))
        await asyncio.wait_for(started.wait(), 60)
        return cell

    async def offer(self, issuer: str, name: str = "session") -> str:
        """Run the cells of a user who wants to sign in, and return the widget's login path."""
        return await self.run(SETUP.format(client=CLIENT, issuer=issuer, name=name))

    def signal(self, number: int) -> None:
        """Send its process a signal."""
        self.manager.provisioner.process.send_signal(number)


@pytest.fixture
def kernel(jp_serverapp: Any, jp_asyncio_loop: Any, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kernel]:
    """A kernel with nothing of ours in it. What it writes is scanned for canaries in the end."""
    wait = jp_asyncio_loop.run_until_complete
    kernels = jp_serverapp.kernel_manager
    path = tmp_path / "kernel.log"
    with path.open("wb") as output:
        arguments = getattr(request, "param", [])
        kernel_id = wait(kernels.start_kernel(extra_arguments=arguments, stdout=output, stderr=output))
        manager = kernels.get_kernel(kernel_id)
        client = manager.client()
        client.start_channels()
        wait(client.wait_for_ready(timeout=60))
        yield Kernel(kernel_id, client, manager, path)
        client.stop_channels()
        if kernel_id in kernels:
            wait(kernels.shutdown_kernel(kernel_id, now=True))
    assert "CANARY" not in path.read_text()


@pytest.fixture
def login_path(kernel: Kernel, idp: Idp, jp_asyncio_loop: Any) -> str:
    """The login path of a widget in that kernel."""
    path: str = jp_asyncio_loop.run_until_complete(kernel.offer(idp.issuer))
    return path


# -- browsers ---------------------------------------------------------------------------------------------------


class Browser:
    """A client that keeps cookies and follows no redirect."""

    def __init__(self, fetch: Callable[..., Any], base_url: str, headers: dict[str, str]) -> None:
        self._fetch = fetch
        self._base_url = base_url
        self._headers = headers
        self.cookies: dict[str, str] = {}

    async def open(self, path: str, **kwargs: Any) -> HTTPResponse:
        """Open a path below the base URL."""
        headers = {**self._headers, **kwargs.pop("headers", {})}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        response = await self._fetch(
            self._base_url + path,
            headers=headers,
            follow_redirects=False,
            raise_error=False,
            allow_nonstandard_methods=True,
            **kwargs,
        )
        for cookie in cookies_of(response):
            if cookie.value:
                self.cookies[cookie.key] = cookie.coded_value
            else:
                self.cookies.pop(cookie.key, None)
        return response

    async def post(self, path: str, **kwargs: Any) -> HTTPResponse:
        """Post nothing to a path below the base URL."""
        return await self.open(path, method="POST", body="", **kwargs)

    async def begin(self, login_path: str, **kwargs: Any) -> str:
        """Begin a sign-in and return the authorize URL."""
        response = await self.open(login_path, **kwargs)
        assert response.code == 302, response.body
        return str(response.headers["Location"])

    def flow_cookies(self) -> list[str]:
        """The names of the cookies that tie sign-ins to this browser."""
        return [name for name in self.cookies if name.startswith("pywry-auth-")]


@pytest.fixture
def new_browser(http_server_client: Any, jp_serverapp: Any, jp_base_url: str) -> Callable[..., Browser]:
    """Make browsers: known to Jupyter by its token unless told otherwise."""

    def make(*, signed_in: bool = True) -> Browser:
        token = jp_serverapp.identity_provider.token
        fetch = functools.partial(http_server_client.fetch, request_timeout=30)
        return Browser(fetch, jp_base_url, {"Authorization": f"token {token}"} if signed_in else {})

    return make


@pytest.fixture
def browser(new_browser: Callable[..., Browser]) -> Browser:
    """A browser that is known to Jupyter by its token."""
    return new_browser()


@pytest.fixture
def stranger(new_browser: Callable[..., Browser]) -> Browser:
    """A browser without a login."""
    return new_browser(signed_in=False)


@pytest.fixture
def cookie_browser(stranger: Browser, jp_serverapp: Any, jp_asyncio_loop: Any) -> Browser:
    """A browser as people have it: signed in on Jupyter's login page, known by its cookie."""

    async def sign_in() -> None:
        await stranger.open("login")  # gives the XSRF cookie
        form = urlencode({"password": jp_serverapp.identity_provider.token, "_xsrf": stranger.cookies["_xsrf"]})
        response = await stranger.open("login", method="POST", body=form)
        assert response.code == 302, response.body

    jp_asyncio_loop.run_until_complete(sign_in())
    return stranger


# -- what came back ---------------------------------------------------------------------------------------------


def callback(params: dict[str, str]) -> str:
    """The callback's path with ``params``."""
    return f"pywry-auth/callback?{urlencode(params)}"


def action(name: str, login_path: str) -> str:
    """The path that cancels or logs out what ``login_path`` begins."""
    return login_path.replace("pywry-auth/login?", f"pywry-auth/{name}?")


def query_of(url: str) -> dict[str, str]:
    """The query of a URL."""
    return dict(parse_qsl(urlsplit(url).query))


def body_of(response: HTTPResponse) -> Any:
    """The JSON of a response."""
    return json.loads(response.body)


def cookies_of(response: HTTPResponse) -> list[Any]:
    """The cookies that a response sets, with their attributes."""
    return [cookie for line in response.headers.get_list("Set-Cookie") for cookie in SimpleCookie(line).values()]


def outcome(response: HTTPResponse) -> tuple[int, str]:
    """The status of one of our pages, and the code it shows for people to report ("" without one)."""
    assert response.headers["Content-Type"] == "text/html; charset=utf-8", f"no page of ours: {response.code}"
    shown = re.search(rb"<code>(.*?)</code>", response.body)
    return response.code, html.unescape(shown[1].decode()) if shown else ""


def cookie_for(state: str) -> str:
    """The name of the cookie that ties ``state`` to a browser."""
    return "pywry-auth-" + hashlib.sha256(state.encode()).hexdigest()[:32]
