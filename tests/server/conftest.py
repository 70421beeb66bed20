"""A Jupyter server with our extension, and real kernels that sign in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tornado.httpclient import HTTPResponse

    from tests.support.idp import Idp

SETUP = """
from pywry_auth_nb import GenericOIDCProvider, MemoryTokenStore, SessionManager, LoginWidget
session = SessionManager(GenericOIDCProvider({client!r}, issuer_url={issuer!r}), MemoryTokenStore())
widget = LoginWidget(session)
print(widget.login_path)
"""


@pytest.fixture
def jp_server_config() -> dict[str, Any]:
    """Load our extension."""
    return {"ServerApp": {"jpserver_extensions": {"pywry_auth_nb": True}}}


@dataclass
class Kernel:
    """A kernel of the server, and a client that runs code there."""

    id: str
    client: Any

    async def run(self, code: str) -> str:
        """Run code and return what it printed; raise what it raised."""
        printed: list[str] = []

        def hear(message: dict[str, Any]) -> None:
            if message["msg_type"] == "stream":
                printed.append(message["content"]["text"])

        reply = await self.client.execute_interactive(code, allow_stdin=False, output_hook=hear, timeout=10)
        assert reply["content"]["status"] == "ok", reply["content"]
        return "".join(printed).strip()


@pytest.fixture
def kernel(jp_serverapp: Any, jp_asyncio_loop: Any) -> Iterator[Kernel]:
    """A kernel with nothing of ours in it."""
    wait = jp_asyncio_loop.run_until_complete
    kernels = jp_serverapp.kernel_manager
    kernel_id = wait(kernels.start_kernel())
    client = kernels.get_kernel(kernel_id).client()
    client.start_channels()
    wait(client.wait_for_ready(timeout=60))
    yield Kernel(kernel_id, client)
    client.stop_channels()
    if kernel_id in kernels:
        wait(kernels.shutdown_kernel(kernel_id, now=True))


@pytest.fixture
def login_path(kernel: Kernel, idp: Idp, jp_asyncio_loop: Any) -> str:
    """The login path of a widget in that kernel."""
    path: str = jp_asyncio_loop.run_until_complete(kernel.run(SETUP.format(client="pywry", issuer=idp.issuer)))
    return path


class Browser:
    """A client that keeps cookies and follows no redirect, signed in to Jupyter unless told otherwise."""

    def __init__(self, fetch: Callable[..., Any], base_url: str, token: str | None) -> None:
        self._fetch = fetch
        self._base_url = base_url
        self._headers = {"Authorization": f"token {token}"} if token else {}
        self.cookies: dict[str, str] = {}

    async def open(self, path: str, **kwargs: Any) -> HTTPResponse:
        """Open a path below the base URL."""
        headers = {**self._headers, **kwargs.pop("headers", {})}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        response = await self._fetch(
            self._base_url + path, headers=headers, follow_redirects=False, raise_error=False, **kwargs
        )
        for cookie in response.headers.get_list("Set-Cookie"):
            name, _, rest = cookie.partition("=")
            self.cookies[name] = rest.partition(";")[0]
        return response

    async def begin(self, login_path: str) -> str:
        """Begin a sign-in and return the authorize URL."""
        response = await self.open(login_path)
        assert response.code == 302, response.body
        return str(response.headers["Location"])


@pytest.fixture
def new_browser(http_server_client: Any, jp_serverapp: Any, jp_base_url: str) -> Callable[..., Browser]:
    """Make browsers."""

    def make(*, signed_in: bool = True) -> Browser:
        token = jp_serverapp.identity_provider.token
        return Browser(http_server_client.fetch, jp_base_url, token if signed_in else None)

    return make


@pytest.fixture
def browser(new_browser: Callable[..., Browser]) -> Browser:
    """A browser that is signed in to Jupyter."""
    return new_browser()


def callback(params: dict[str, str]) -> str:
    """The callback's path with ``params``."""
    from urllib.parse import urlencode

    return f"pywry-auth/callback?{urlencode(params)}"


def query_of(url: str) -> dict[str, str]:
    """The query of a URL."""
    return dict(parse_qsl(urlsplit(url).query))


def body_of(response: HTTPResponse) -> Any:
    """The JSON of a response."""
    return json.loads(response.body)
