"""What stands around a notebook in the documents' tests: providers, an API, a front end, and Ada at her browser."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit
from urllib.request import urlopen

import httpx
from comm.base_comm import BaseComm

from pywry_auth_nb._wire import protocol
from tests.support.idp import Answer, Idp, Request
from tests.support.lookalikes import GitHubLookalike, GoogleLookalike, MicrosoftLookalike
from tests.support.quirks import OF_DATA
from tests.support.quirky import QuirkyIdp

if TYPE_CHECKING:
    from contextlib import ExitStack

    import pytest

REDIRECT_URI = "http://127.0.0.1:8888/pywry-auth/callback"
API_HOST = "api.example.org"
_PROVIDERS = {
    "login.example.org": Idp,
    "accounts.google.com": GoogleLookalike,
    "login.microsoftonline.com": MicrosoftLookalike,
    "github.com": GitHubLookalike,
}


_OF_DATA = {host: quirks for quirks in OF_DATA.values() for host in quirks.hosts}


class Internet:
    """Every https address that the documents sign in at or call; a request to any other is refused.

    A provider is started when its address is first used.

    Attributes:
        local: A provider on loopback, for programs that are started.
        api_calls: How many requests with a token the API has answered.
        demands: What the API demands once, by path: status and challenge.
    """

    def __init__(self, stack: ExitStack) -> None:
        self.local = stack.enter_context(Idp())
        self.api_calls = 0
        self.demands = {
            "/files": (403, 'Bearer error="insufficient_scope", scope="files.read files.write"'),
            "/payments": (401, 'Bearer error="insufficient_user_authentication", acr_values="phr", max_age="300"'),
        }
        self._stack = stack
        self._providers: dict[str, Idp] = {}

    def connect(self, patch: pytest.MonkeyPatch) -> None:
        """Stand in for the network of httpx; loopback stays as it is."""
        plain, plain_async = httpx.HTTPTransport.handle_request, httpx.AsyncHTTPTransport.handle_async_request

        def handle(transport: Any, request: httpx.Request) -> httpx.Response:
            return plain(transport, request) if request.url.host == "127.0.0.1" else self._answer(request)

        async def handle_async(transport: Any, request: httpx.Request) -> httpx.Response:
            if request.url.host == "127.0.0.1":
                return await plain_async(transport, request)
            return self._answer(request)

        patch.setattr(httpx.HTTPTransport, "handle_request", handle)
        patch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle_async)

    def consent(self, url: str) -> dict[str, str]:
        """Be Ada at the provider's page; return the callback's parameters."""
        return (self.provider_at(urlsplit(url).netloc) or self.local).authorize(url)

    def provider_at(self, host: str) -> Idp | None:
        """Return the provider at a host (with the port where it is not 443), or None."""
        if host not in self._providers:
            if host in _OF_DATA:
                quirks = _OF_DATA[host]
                self._providers |= dict.fromkeys(quirks.hosts, self._stack.enter_context(QuirkyIdp(quirks)))
            elif host in _PROVIDERS:
                self._providers[host] = provider = self._stack.enter_context(_PROVIDERS[host]())
                provider.issuer = f"https://{host}"
                provider.grants, provider.claims = str, {"auth_time": int(time.time())}
        return self._providers.get(host)

    def keep_hub_sign_in(self) -> dict[str, str]:
        """Be a hub that keeps Ada's sign-in; return what it tells her server."""
        token = "CANARY-at-of-the-hub"
        state = {
            "access_token": token,
            "token_response": {"access_token": token, "expires_in": 3600, "id_token": self.local.id_token()},
            "oauth_user": {"sub": "ada", "name": "Ada Lovelace"},
        }
        self.local.answers["/hub/api/users/ada"] = Answer({"kind": "user", "name": "ada", "auth_state": state})
        api = f"{self.local.issuer}/hub/api"
        return {"JUPYTERHUB_API_URL": api, "JUPYTERHUB_API_TOKEN": "CANARY-api-token", "JUPYTERHUB_USER": "ada"}

    def _answer(self, request: httpx.Request) -> httpx.Response:
        host, prefix = request.url.netloc.decode(), ""
        if host == API_HOST:
            allowed = request.headers.get("authorization", "").startswith("Bearer CANARY-at")
            self.api_calls += allowed
            if allowed and request.url.path in self.demands:
                status, challenge = self.demands.pop(request.url.path)
                return httpx.Response(status, headers={"WWW-Authenticate": challenge})
            return httpx.Response(200 if allowed else 401, json={})
        if host == "api.github.com":
            host, prefix = "github.com", "/api/v3"
        provider = self.provider_at(host) if request.url.scheme == "https" else None
        if provider is None:
            raise httpx.ConnectError(f"the tests have no {request.url.scheme}://{host}", request=request)
        status, body, headers = provider._respond(_received(request, prefix))
        return httpx.Response(status, headers=headers, stream=httpx.ByteStream(body))


def _received(request: httpx.Request, prefix: str) -> Request:
    body = request.read()
    as_json = request.headers.get("content-type") == "application/json"
    form = json.loads(body) if as_json else dict(parse_qsl(body.decode()))
    url = request.url
    return Request(request.method, prefix + url.path, form, dict(request.headers), url.query.decode())


class FrontEnd:
    """A kernel with a front end, as far as the package asks for one, and Ada, who clicks "Sign in" where she sees it.

    It is the other end of two wires: the widgets' comms, and the control channel that the Jupyter server uses.
    """

    def __init__(self, internet: Internet) -> None:
        self.control_handlers: dict[str, Any] = {}
        self.log = logging.getLogger("a kernel with a front end")
        self.session = self  # ipykernel's, which sends messages
        self._internet = internet
        self._clicks: list[Future[None]] = []
        self._path = ""  # of the latest widget's link
        self._browser = ThreadPoolExecutor(1, "Ada's browser")
        self._replies: dict[int, asyncio.Future[dict[str, Any]]] = {}

    def get_parent(self, channel: str) -> dict[str, Any]:
        """Return the request that runs the cell: from a front end, where input can be asked for."""
        return {"content": {"allow_stdin": channel == "shell"}}

    def create_comm(front_end, *args: Any, **kwargs: Any) -> BaseComm:  # noqa: N805 - the comm below has the self
        """Open a comm to the page."""

        class Wire(BaseComm):
            def publish_msg(self, msg_type: str, data: Any = None, *_: Any, **__: Any) -> None:
                front_end._draw(data.get("state", {}) if msg_type != "comm_close" and data else {})

        return Wire(*args, **kwargs)

    def browse(self, url: str) -> bool:
        """Be the default browser, in which Ada signs in and follows the provider's answer."""
        self._clicks.append(self._browser.submit(self._follow, url))
        return True

    def _follow(self, url: str) -> None:
        redirect_uri = parse_qs(urlsplit(url).query)["redirect_uri"][0]
        urlopen(f"{redirect_uri}?{urlencode(self._internet.consent(url))}", timeout=10).close()  # noqa: S310 - loopback

    def settle(self) -> None:
        """Wait until Ada has done what she began."""
        while self._clicks:
            self._clicks.pop().result(20)

    def close(self) -> None:
        """Close the browser."""
        self._browser.shutdown()

    def _draw(self, state: dict[str, Any]) -> None:
        self._path = state.get("login_path") or self._path
        if state.get("login_path") or state.get("asks"):
            visit = self._visit(self._path, again=bool(state.get("asks")))
            self._clicks.append(self._browser.submit(lambda: asyncio.run(visit)))

    async def _visit(self, path: str, *, again: bool) -> None:
        """Sign in as Ada, unless she is signed in already and not asked to do it again."""
        flow = parse_qs(urlsplit(path).query)["flow"][0]
        await self._ask(protocol.HELLO, flow=flow, front_end={"server": True, "control": True})
        if not again and (await self._ask(protocol.STATUS, flow=flow)).get("authenticated"):
            return
        begun = await self._ask(protocol.BEGIN, flow=flow, redirect_uri=REDIRECT_URI)
        if "authorize_url" in begun:
            await self._ask(protocol.COMPLETE, params=self._internet.consent(begun["authorize_url"]))

    async def _ask(self, request: str, **content: Any) -> dict[str, Any]:
        reply: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        message = {"content": {"protocol": protocol.PROTOCOL, **content}}
        self._replies[id(message)] = reply
        self.control_handlers[f"{request}_request"](None, None, message)
        answer = await asyncio.wait_for(reply, 10)
        assert answer["status"] == "ok", (request, answer)
        return answer

    def send(self, _stream: Any, kind: str, content: dict[str, Any], *, parent: Any, **_: Any) -> None:
        """Take the kernel's reply."""
        if kind.endswith("_reply"):
            self._replies.pop(id(parent)).set_result(content)
