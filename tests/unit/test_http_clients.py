"""What HTTP clients do in their own ways: redirects, several refusals, and how each is told of `session.auth`."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import httpx2
import pytest
import urllib3

from pywry_auth_nb import AuthenticationError, ConfigurationError, InsufficientScopeError, SessionManager
from pywry_auth_nb.adapters import as_urllib3_pool
from pywry_auth_nb.auth import SessionAuth
from tests.support.api import Api
from tests.support.cases import case
from tests.support.http_clients import every_client, every_opener, with_aiohttp

if TYPE_CHECKING:
    from collections.abc import Callable

    from pywry_auth_nb import GenericOIDCProvider
    from tests.support.http_clients import Opener
    from tests.support.idp import Idp

LONG = b"x" * 1_000_000
SCOPE = 'Bearer error="insufficient_scope", scope="files.read"'


# -- every client -----------------------------------------------------------------------------------------------------


@every_opener
def test_an_open_client_follows_rotations(opener: Opener, signed_in: SessionManager, api: Api) -> None:
    """A client that lives as long as the notebook sends the newest token, over three rotations: none is refused."""
    with opener(signed_in) as ask:
        for _ in range(3):
            newest = signed_in.access_token
            api.refuse = lambda token, newest=newest: token != newest  # type: ignore[misc]
            assert [ask(api.url), ask(api.url)] == [200, 200]
            asyncio.run(signed_in.refresh())

    assert len(set(api.tokens())) == 3
    assert len(api.seen) == 6


@every_opener
def test_an_open_client_is_good_after_a_refusal(opener: Opener, signed_in: SessionManager, api: Api, idp: Idp) -> None:
    """Its connections can be used again after a renewal, a refusal for good and an error."""
    old = signed_in.access_token
    api.refuse = lambda token: token == old
    with opener(signed_in) as ask:
        assert ask(api.url, method="POST", content=b"x") == 200
        api.refuse = lambda _: True
        assert ask(api.url) == 401
        api.demand = lambda _: (403, [SCOPE])
        with pytest.raises(InsufficientScopeError):
            ask(api.url)
        api.refuse, api.demand = lambda _: False, lambda _: None
        assert ask(api.url) == 200

    assert idp.requests_to("/token") == 2


@every_client
def test_a_request_is_repeated_once(
    ask: Callable[..., int], signed_in: SessionManager, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if more renewals were to be had: an API that refuses each new token sees two of them."""
    monkeypatch.setattr("pywry_auth_nb._session.state._REJECTED_PAUSE", 0.0)
    api.refuse = lambda _: len(api.seen) < 10

    assert ask(signed_in, api.url) == 401
    assert len(set(api.tokens())) == len(api.seen) == 2


@every_client
@pytest.mark.parametrize("status", [403, 419])
def test_other_refusals_can_be_named(
    ask: Callable[..., int], signed_in: SessionManager, api: Api, idp: Idp, status: int
) -> None:
    """``renew_on``: openEO answers 403 to an expired token, Iceberg's REST API 419."""
    old = signed_in.access_token
    api.demand = lambda token: (status, []) if token == old else None
    assert ask(signed_in, api.url) == status
    assert idp.requests_to("/token") == 1

    signed_in.renew_on = {403, 419}
    assert ask(signed_in, api.url, method="POST", content=b"x") == 200
    assert api.seen[-2:] == [("/", old, "x"), ("/", signed_in.access_token, "x")]

    api.demand = lambda _: (status, [])
    assert [ask(signed_in, api.url) for _ in range(3)] == [status] * 3
    assert idp.requests_to("/token") == 2, "a refusal for good causes no storm"


@every_client
def test_a_demand_is_no_refusal(ask: Callable[..., int], signed_in: SessionManager, api: Api, idp: Idp) -> None:
    """A renewed token would lack the scope, too."""
    signed_in.renew_on = {403}
    api.demand = lambda _: (403, [SCOPE])
    with pytest.raises(InsufficientScopeError):
        ask(signed_in, api.url)

    assert idp.requests_to("/token") == 1


def test_refusals_must_be_status_codes(provider: GenericOIDCProvider) -> None:
    """Anything else is refused when it is set."""
    for wrong in (403, "403", ["403"], {200}, {99}, {True}, None):
        with case(wrong), pytest.raises(ConfigurationError, match="renew_on"):
            SessionManager(provider, renew_on=wrong)  # type: ignore[arg-type]
    for good in ([403, 419], {HTTPStatus.FORBIDDEN}, range(400, 404), ()):
        with case(good):
            SessionManager(provider, renew_on=good)


@every_client
def test_a_token_does_not_come_back_from_another_origin(
    ask: Callable[..., int], signed_in: SessionManager, api: Api
) -> None:
    """A chain of redirects that has left the origin gets no token again, nor does what follows there."""
    with Api() as other:
        api.redirects["/away"] = (302, f"{other.url}/on")
        other.redirects["/on"] = (302, "/further")
        other.redirects["/further"] = (302, f"{api.url}/back")
        api.refuse = lambda _: True

        assert ask(signed_in, f"{api.url}/away") == 401
        assert other.tokens() == ["", ""]
        assert [token for path, token, _ in api.seen if path == "/back"] == [""]
        assert ask(signed_in, api.url) == 401, "the next request is another one"
        assert api.seen[-1][1] != ""


@every_client
def test_a_redirect_at_the_origin_takes_the_token(ask: Callable[..., int], signed_in: SessionManager, api: Api) -> None:
    """As a browser does with its cookies."""
    api.redirects["/old"] = (307, "/new")

    assert ask(signed_in, f"{api.url}/old", method="POST", content=b"x") == 200
    assert api.seen == [(path, signed_in.access_token, "x") for path in ("/old", "/new")]


@every_client
def test_a_repetition_that_is_redirected_keeps_the_token_as_well(
    ask: Callable[..., int], signed_in: SessionManager, api: Api
) -> None:
    """The renewed token goes to no other origin either."""
    old = signed_in.access_token
    with Api() as other:
        api.redirects["/away"] = (302, other.url)
        api.demand = lambda token: (401, []) if token == old else None
        ask(signed_in, f"{api.url}/away")

        assert api.tokens() == [old, signed_in.access_token]
        assert set(other.tokens()) == {""}


@every_client
def test_allowed_origins_lead_to_each_other_without_the_token(
    ask: Callable[..., int], signed_in: SessionManager, api: Api
) -> None:
    """Also where both may get it: who redirects does not decide who is asked with it."""
    with Api() as other:
        signed_in.allowed_origins = [api.url, other.url]
        api.redirects["/away"] = (302, other.url)
        ask(signed_in, f"{api.url}/away")

        assert other.tokens() == [""]


def test_no_client_is_imported_before_it_is_used() -> None:
    """The token's own path needs none of the optional packages."""
    code = (
        "import sys; from pywry_auth_nb import *; from pywry_auth_nb import adapters, auth; "
        "session = SessionManager(GenericOIDCProvider('id', issuer_url='https://login.example.org')); session.auth; "
        "print([name for name in ('aiohttp', 'fsspec', 'httpx2', 'requests', 'urllib3') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.strip() == "[]"


# -- httpx2 -----------------------------------------------------------------------------------------------------------


def test_httpx2_may_be_imported_later(signed_in: SessionManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """An auth that was there before is good for it, too, and is the same as for httpx."""
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "httpx2")
        auth = signed_in.auth
        assert not isinstance(auth, httpx2.Auth)

    assert isinstance(auth, httpx2.Auth)
    assert isinstance(auth, httpx.Auth)
    assert isinstance(auth, SessionAuth)
    assert type(auth) is SessionAuth


# -- aiohttp ----------------------------------------------------------------------------------------------------------


async def in_a_task(request: Any, handler: Any) -> Any:
    """A middleware that sends in a task of its own, as with a timeout."""
    return await asyncio.create_task(handler(request))


def test_aiohttp_redirects_are_known_in_other_tasks(signed_in: SessionManager, api: Api) -> None:
    """Other middlewares may run each hop in another task: none of them gets the token to another origin."""
    with Api() as other, with_aiohttp(signed_in, in_a_task) as ask:
        api.redirects["/away"] = (302, other.url)

        assert ask(f"{api.url}/away") == 200
        assert other.tokens() == [""]


def test_aiohttp_requests_that_are_yours_have_the_token(signed_in: SessionManager, api: Api) -> None:
    """With ``allow_redirects=False``, also one to where a redirect would have led."""
    with Api() as other, with_aiohttp(signed_in, allow_redirects=False) as ask:
        api.redirects["/away"] = (302, f"{other.url}/there")

        assert [ask(f"{api.url}/away"), ask(f"{other.url}/there")] == [302, 200]
        assert other.tokens() == [signed_in.access_token]


def test_aiohttp_requests_at_once_are_told_apart(signed_in: SessionManager, api: Api) -> None:
    """Fifty requests of one client, half of which are led away: each own one has the token, no other one."""
    with Api() as other:
        api.redirects["/away"] = (302, f"{other.url}/there")

        async def ask() -> list[int]:
            async with aiohttp.ClientSession(middlewares=(signed_in.auth,)) as client:

                async def one(url: str) -> int:
                    async with client.get(url) as response:
                        return response.status

                urls = [f"{api.url}/away", f"{other.url}/mine"] * 25
                return await asyncio.gather(*map(one, urls))

        assert set(asyncio.run(ask())) == {200}
        assert {token for path, token, _ in other.seen if path == "/there"} == {""}
        assert {token for path, token, _ in other.seen if path == "/mine"} == {signed_in.access_token}


def test_aiohttp_sends_nothing_to_this_machine_through_a_proxy(signed_in: SessionManager, api: Api) -> None:
    """It tells of the proxy that it was given."""
    with (
        Api() as proxy,
        with_aiohttp(signed_in, proxy=proxy.url) as ask,
        pytest.raises(AuthenticationError, match="proxy") as caught,
    ):
        ask(api.url)

    assert caught.value.code == "insecure_url"
    assert proxy.seen == []


def test_aiohttp_needs_no_other_connection(signed_in: SessionManager, api: Api) -> None:
    """The one of a refusal is given back before the request is repeated."""
    old = signed_in.access_token
    api.refuse, api.body = lambda token: token == old, LONG

    async def ask() -> tuple[int, bytes]:
        only_one, limit = aiohttp.TCPConnector(limit=1), aiohttp.ClientTimeout(10)
        async with (
            aiohttp.ClientSession(middlewares=(signed_in.auth,), connector=only_one, timeout=limit) as client,
            client.get(api.url) as response,
        ):
            return response.status, await response.read()

    assert asyncio.run(ask()) == (200, LONG)


def test_web_sockets_begin_as_requests(signed_in: SessionManager, api: Api) -> None:
    """``wss:`` is as good as ``https:``, and an origin is the same one; ``ws:`` is for this machine alone."""
    auth = SessionAuth(signed_in, ["https://api.example.org", api.url])
    auth.check("wss://api.example.org/live")
    auth.check(api.url.replace("http:", "ws:"))
    for url in ("ws://api.example.org", "wss://other.example.org"):
        with case(url), pytest.raises(AuthenticationError):
            auth.check(url)


# -- urllib3 ----------------------------------------------------------------------------------------------------------


def test_urllib3_keeps_the_token_whatever_the_retries_say(signed_in: SessionManager, api: Api) -> None:
    """A policy that lets headers follow to other hosts does not let the token."""
    policy = urllib3.Retry(3, remove_headers_on_redirect=())
    with Api() as other:
        api.redirects["/away"] = (302, other.url)
        for pool, options in (
            (as_urllib3_pool(signed_in, retries=policy), {}),
            (as_urllib3_pool(signed_in), {"retries": policy}),
        ):
            with pool:
                assert pool.request("GET", f"{api.url}/away", **options).status == 200

        assert other.tokens() == ["", ""]


def test_urllib3_headers_stay(signed_in: SessionManager, api: Api) -> None:
    """Those of the pool and of a request are sent; an Authorization among them is replaced."""
    with as_urllib3_pool(signed_in, headers={"authorization": "Basic eA=="}) as pool:
        assert pool.request("GET", api.url).status == 200
        assert pool.request("GET", api.url, headers={"AUTHORIZATION": "Basic eA=="}).status == 200
        assert pool.request("GET", api.url, redirect=False, preload_content=False).status == 200

        assert "CANARY" not in repr(pool)
        assert isinstance(pool, urllib3.PoolManager)
    assert set(api.tokens()) == {signed_in.access_token}


def test_urllib3_repeats_on_the_same_connection(signed_in: SessionManager, api: Api) -> None:
    """A refusal is read to its end first, also if the caller reads answers by parts: no other connection is needed."""
    old = signed_in.access_token
    api.refuse, api.body = lambda token: token == old, LONG
    with as_urllib3_pool(signed_in, maxsize=1, block=True) as pool:
        answer = pool.request("GET", api.url, preload_content=False, pool_timeout=5)
        assert (answer.status, answer.read()) == (200, LONG)
        answer.release_conn()
