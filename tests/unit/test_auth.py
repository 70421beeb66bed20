"""`session.auth` and `session.headers`: the token in requests of HTTP clients, and nowhere else."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import requests

from pywry_auth_nb import (
    AuthenticationError,
    ConfigurationError,
    GenericOIDCProvider,
    LoginRequired,
    SessionManager,
    TokenError,
    TokenExpiredError,
)
from pywry_auth_nb.auth import SessionAuth
from tests.conftest import sign_in
from tests.support.aging import expire
from tests.support.api import Api
from tests.support.cases import case
from tests.support.http_clients import ask_httpx, ask_requests, clients_that_take_files, every_client
from tests.support.idp import CLIENT, Answer
from tests.support.ports import free_port
from tests.support.waiting import soon, within

if TYPE_CHECKING:
    from collections.abc import Callable

    from pywry_auth_nb import AuthFlowManager
    from tests.support.idp import Idp


@every_client
def test_the_token_is_sent(ask: Callable[..., int], signed_in: SessionManager, api: Api) -> None:
    """A request carries the session's token."""
    assert ask(signed_in, f"{api.url}/me") == 200
    assert api.tokens() == [signed_in.access_token]


@every_client
def test_an_old_token_is_renewed_before_it_is_sent(
    ask: Callable[..., int], signed_in: SessionManager, api: Api, idp: Idp
) -> None:
    """An expired token is never sent."""
    old = signed_in.access_token
    expire(signed_in)

    assert ask(signed_in, api.url) == 200
    assert api.tokens() == [signed_in.access_token] != [old]
    assert idp.requests_to("/token") == 2


@every_client
def test_a_refused_token_is_renewed_and_the_request_repeated_once(
    ask: Callable[..., int], signed_in: SessionManager, api: Api, idp: Idp
) -> None:
    """R49: after 401 the token is renewed, though it looked good, and the same request is sent again with its body."""
    old = signed_in.access_token
    api.refuse = lambda token: token == old

    assert ask(signed_in, f"{api.url}/write", method="POST", content=b"hello") == 200
    assert api.seen == [("/write", old, "hello"), ("/write", signed_in.access_token, "hello")]
    assert idp.requests_to("/token") == 2


@every_client
def test_a_server_that_refuses_every_token_causes_no_storm(
    ask: Callable[..., int], signed_in: SessionManager, api: Api, idp: Idp
) -> None:
    """Ten requests to an API that answers 401 whatever it gets cause one refresh, and the person sees the 401."""
    api.refuse = lambda _: True

    assert [ask(signed_in, api.url) for _ in range(10)] == [401] * 10
    assert idp.requests_to("/token") == 2
    assert len(api.seen) == 11, "only the first was repeated"


@every_client
def test_a_401_is_shown_when_renewing_fails(
    ask: Callable[..., int], signed_in: SessionManager, api: Api, idp: Idp
) -> None:
    """Where the refresh fails too, the API's own answer is what the caller gets."""
    idp.refresh_tokens.clear()
    api.refuse = lambda _: True

    assert ask(signed_in, api.url) == 401
    assert len(api.seen) == 1


@every_client
def test_a_signed_out_session_sends_nothing(ask: Callable[..., int], session: SessionManager, api: Api) -> None:
    """Without a session the request is not made."""
    with pytest.raises(LoginRequired):
        ask(session, api.url)

    assert not api.seen


@every_client
@pytest.mark.parametrize("url", ["http://example.org/", "http://192.0.2.1/", "http://localhost.example.org/"])
def test_the_token_does_not_travel_in_the_clear(ask: Callable[..., int], signed_in: SessionManager, url: str) -> None:
    """Plain http to another machine is refused before anything is sent."""
    with pytest.raises(AuthenticationError) as caught:
        ask(signed_in, url)

    assert caught.value.code == "insecure_url"


def test_an_endpoint_that_is_not_known_yet(signed_in: SessionManager, idp: Idp) -> None:
    """A stored sign-in needs no metadata, so UserInfo has no address at first, and the error says what to call."""
    session = SessionManager(GenericOIDCProvider(CLIENT, issuer_url=idp.issuer), signed_in.token_store)
    assert asyncio.run(session.initialize()) is not None
    with pytest.raises(AuthenticationError, match=r"userinfo_url, is empty .* session\.userinfo\(\)") as caught:
        httpx.get(session.provider.userinfo_url, auth=session.auth)

    assert caught.value.code == "insecure_url"
    assert session.userinfo()["name"] == "Ada Lovelace"
    assert httpx.get(session.provider.userinfo_url, auth=session.auth).is_success


@pytest.mark.parametrize("host", ["localhost", "api.localhost", "127.0.0.1", "[::1]"])
def test_the_token_may_stay_on_this_machine(signed_in: SessionManager, host: str) -> None:
    """H269: plain http is good enough there."""
    signed_in.auth.check(f"http://{host}:8000/")


@pytest.mark.parametrize(("address", "refused"), [("127.0.0.1", False), ("::1", False), ("192.0.2.7", True)])
def test_a_name_below_localhost_must_lead_to_this_machine(
    signed_in: SessionManager, monkeypatch: pytest.MonkeyPatch, address: str, refused: bool
) -> None:
    """H269: a resolver that does not know such names asks others, who may name a machine of their own."""

    def resolve(host: str, *_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (here, 0)) for here in ("127.0.0.1", address)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    for url in ("http://localhost:8000/", "https://api.localhost/"):
        signed_in.auth.check(url)
    with pytest.raises(AuthenticationError) if refused else contextlib.nullcontext() as caught:
        signed_in.auth.check("http://api.localhost:8000/")

    assert caught is None or caught.value.code == "insecure_url"


@every_client
def test_the_token_goes_to_allowed_origins_alone(
    ask: Callable[..., int], signed_in: SessionManager, api: Api, idp: Idp
) -> None:
    """Scheme, host and port must be those of an allowed origin."""
    signed_in.allowed_origins = [f"{api.url}/some/path"]

    assert ask(signed_in, f"{api.url}/me") == 200
    for url in (idp.issuer, api.url.replace("127.0.0.1", "localhost")):
        with pytest.raises(AuthenticationError) as caught:
            ask(signed_in, url)
        assert caught.value.code == "origin_not_allowed"


@every_client
def test_a_redirect_takes_the_token_to_no_other_origin(
    ask: Callable[..., int], signed_in: SessionManager, api: Api
) -> None:
    """Another origin that a redirect leads to gets no token, also when it answers 401 to get one."""
    with Api() as other:
        other.refuse = lambda _: True
        api.redirects["/away"] = (302, f"{other.url}/trap")

        assert ask(signed_in, f"{api.url}/away") == 401
        assert other.tokens() == [""]


@every_client
def test_a_redirected_request_is_not_repeated(ask: Callable[..., int], signed_in: SessionManager, api: Api) -> None:
    """A request that was redirected is not repeated after a 401."""
    api.redirects["/order"] = (303, "/done")
    api.refuse = lambda _: True

    assert ask(signed_in, f"{api.url}/order", method="POST", content=b"one") == 401
    assert [path for path, _, _ in api.seen].count("/order") == 1


@every_client
def test_a_body_that_is_used_up_is_not_sent_again(
    ask: Callable[..., int], signed_in: SessionManager, api: Api, idp: Idp
) -> None:
    """A generator can be read once: the 401 is the caller's, but the next request has a renewed token."""
    old = signed_in.access_token
    api.refuse = lambda token: token == old

    assert ask(signed_in, api.url, method="POST", content=(part for part in [b"x"])) == 401
    assert len(api.seen) == 1
    assert ask(signed_in, api.url) == 200


@clients_that_take_files
def test_a_file_is_sent_again_from_where_it_began(ask: Callable[..., int], signed_in: SessionManager, api: Api) -> None:
    """A file is wound back for the second attempt, to where the caller had it."""
    old = signed_in.access_token
    api.refuse = lambda token: token == old
    body = io.BytesIO(b"skip this")
    body.seek(5)

    assert ask(signed_in, api.url, method="POST", content=body) == 200
    assert [sent for _, _, sent in api.seen] == ["this", "this"]


def test_many_refused_at_once_share_one_refresh(signed_in: SessionManager, api: Api, idp: Idp) -> None:
    """Sixteen threads whose token is refused cause one refresh, and all succeed."""
    old = signed_in.access_token
    api.refuse = lambda token: token == old
    idp.delay = 0.2

    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(lambda _: ask_httpx(signed_in, api.url), range(16)))

    assert statuses == [200] * 16
    assert idp.requests_to("/token") == 2


def test_async_requests_do_not_block_the_callers_loop(
    session: SessionManager, flow: AuthFlowManager, idp: Idp, api: Api
) -> None:
    """While the token is being renewed, the notebook's own loop goes on."""
    sign_in(flow, idp)
    expire(session)
    gate = threading.Event()
    idp.answers["/token"] = Answer(gate=gate)

    async def ask() -> int:
        async with httpx.AsyncClient(auth=session.auth) as client:
            return (await client.get(api.url)).status_code

    async def cell() -> int:
        asking = asyncio.create_task(ask())
        await soon(lambda: idp.requests_to("/token") == 2)
        with within(5):  # else it was over only when the provider had given up
            for _ in range(20):
                await asyncio.sleep(0.01)
        gate.set()
        return await asking

    assert asyncio.run(cell()) == 200


def test_the_headers_carry_the_token_and_show_nothing(signed_in: SessionManager) -> None:
    """``session.headers`` works anywhere a dictionary of headers does, and as a cell's last line shows no token."""
    headers = signed_in.headers

    assert headers["Authorization"] == f"Bearer {signed_in.access_token}"
    assert "CANARY" not in repr(headers)
    headers["X"] = "changed"
    assert "X" not in signed_in.headers


def test_the_auth_shows_nothing(signed_in: SessionManager, api: Api) -> None:
    """Neither the credentials nor a prepared request show a token."""
    prepared = requests.Request("GET", api.url, auth=signed_in.auth).prepare()

    assert isinstance(signed_in.auth, SessionAuth)
    assert "CANARY" not in repr(signed_in.auth) + repr(prepared.headers)


def test_requests_takes_no_token_to_a_closed_port(signed_in: SessionManager, api: Api, idp: Idp) -> None:
    """A traceback would show the bytes to send. A server that listens in the end gets the token once it answers 401."""
    api.refuse = lambda token: token == ""
    port = free_port()
    prepared = requests.Request("GET", f"http://127.0.0.1:{port}/", auth=signed_in.auth).prepare()
    assert "Authorization" not in prepared.headers
    prepared.url = api.url
    with requests.Session() as client:
        assert client.send(prepared).status_code == 200

    assert api.tokens() == ["", signed_in.access_token]
    assert idp.requests_to("/token") == 1


def test_userinfo_asks_the_provider(signed_in: SessionManager, idp: Idp) -> None:
    """``session.userinfo()`` is what the provider says now."""
    before = idp.requests_to("/userinfo")

    assert signed_in.userinfo() == {"sub": "ada", "name": "Ada Lovelace"}
    assert idp.requests_to("/userinfo") == before + 1


def test_userinfo_of_another_user_is_refused(signed_in: SessionManager, idp: Idp) -> None:
    """B2: UserInfo must name who signed in (OIDC Core §5.3.2)."""
    idp.answers["/userinfo"] = Answer({"sub": "mallory"})

    with pytest.raises(AuthenticationError) as caught:
        signed_in.userinfo()
    assert caught.value.code == "userinfo_sub"


@pytest.mark.parametrize("status", [401, 403])
def test_userinfo_renews_a_token_that_the_provider_ended(signed_in: SessionManager, idp: Idp, status: int) -> None:
    """H233: a token that ended before its time is renewed and the request repeated, as ``session.auth`` does."""
    old, before = signed_in.access_token, idp.requests_to("/userinfo")
    idp.answers["/userinfo"] = Answer({"error": "invalid_token"}, status, times=1)

    assert signed_in.userinfo()["name"] == "Ada Lovelace"
    assert idp.last("/userinfo").headers["authorization"] == f"Bearer {signed_in.access_token}"
    assert signed_in.access_token != old
    assert (idp.requests_to("/userinfo") - before, idp.requests_to("/token")) == (2, 2)


def test_userinfo_that_always_rejects_is_asked_twice(signed_in: SessionManager, idp: Idp) -> None:
    """H233: one renewal, and then the error; the next call costs no other renewal."""
    before = idp.requests_to("/userinfo")
    idp.answers["/userinfo"] = Answer({}, 403)
    for asked in (2, 3):
        with pytest.raises(TokenError) as caught:
            signed_in.userinfo()
        assert caught.value.code == "userinfo_failed"
        assert "403" in str(caught.value)
        assert idp.requests_to("/userinfo") - before == asked
    assert idp.requests_to("/token") == 2
    assert signed_in.status == "signed_in"


def test_userinfo_of_a_sign_in_that_has_ended(signed_in: SessionManager, idp: Idp) -> None:
    """H233: where the refresh token is dead as well, the error says to sign in again, and the session does."""
    idp.answers["/userinfo"] = Answer({"error": "invalid_token"}, 401)
    idp.refresh_tokens.clear()
    with pytest.raises(TokenExpiredError, match="Sign in again") as caught:
        signed_in.userinfo()

    assert caught.value.code == "invalid_grant"
    assert signed_in.status == "reauth_required"


@pytest.mark.parametrize("status", [401, 403])
def test_userinfo_without_a_refresh_token(flow: AuthFlowManager, idp: Idp, status: int) -> None:
    """H233: where nothing can renew the token, as at JupyterHub, the error says to sign in again."""
    idp.token_extra["refresh_token"] = ...
    sign_in(flow, idp)
    idp.answers["/userinfo"] = Answer({}, status)
    with pytest.raises(TokenExpiredError, match="Sign in again") as caught:
        flow.session.userinfo()

    assert caught.value.code == "no_refresh_token"
    assert flow.session.status == "signed_in"


@pytest.mark.parametrize("status", [400, 404, 500])
def test_userinfo_that_fails_otherwise_costs_no_refresh(signed_in: SessionManager, idp: Idp, status: int) -> None:
    """A renewed token would not help there."""
    idp.answers["/userinfo"] = Answer({}, status)
    with pytest.raises(TokenError):
        signed_in.userinfo()

    assert idp.requests_to("/token") == 1


def test_userinfo_needs_a_signed_in_user(session: SessionManager, provider: GenericOIDCProvider) -> None:
    """``session.userinfo()`` raises ``LoginRequired`` when signed out."""
    with pytest.raises(LoginRequired):
        session.userinfo()


@clients_that_take_files
def test_a_pipe_can_be_sent(ask: Callable[..., int], signed_in: SessionManager, api: Api) -> None:
    """A body that cannot be rewound is sent once, and not repeated."""
    reader, writer = os.pipe()
    os.write(writer, b"piped")
    os.close(writer)
    with os.fdopen(reader, "rb") as body:
        assert ask(signed_in, api.url, method="POST", content=body) == 200


@every_client
def test_a_401_after_a_redirect_costs_no_refresh(
    ask: Callable[..., int], signed_in: SessionManager, api: Api, idp: Idp
) -> None:
    """Another origin's 401 says nothing about the token, which it has not seen."""
    with Api() as other:
        other.refuse = lambda _: True
        api.redirects["/away"] = (302, other.url)
        assert ask(signed_in, f"{api.url}/away") == 401

    assert idp.requests_to("/token") == 1


@every_client
def test_a_proxy_is_not_this_machine(
    ask: Callable[..., int], signed_in: SessionManager, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain http to loopback is fine because it stays here; through HTTP_PROXY it would not."""
    with Api() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("NO_PROXY", "")
        monkeypatch.setenv("no_proxy", "")
        with pytest.raises(AuthenticationError, match="NO_PROXY") as caught:
            ask(signed_in, api.url)
        asyncio.run(signed_in.refresh())  # our own requests to a provider on this machine take no proxy

        assert caught.value.code == "insecure_url"
        assert proxy.seen == []


NO_ORIGINS = [
    "https://api.example.org",
    ["api.example.org"],
    ["https://"],
    ["ftp://api.example.org"],
    ["https://[::1"],
    [""],
]


def test_an_invalid_allowed_origin_is_refused_at_once(provider: GenericOIDCProvider) -> None:
    """An allowed origin that could never match raises an error when it is set."""
    for origins in NO_ORIGINS:
        with case(origins), pytest.raises(ConfigurationError, match="allowed_origins"):
            SessionManager(provider, allowed_origins=origins)


ORIGINS = [
    ("https://API.example.org", "https://api.example.org:443/x?y", True),
    ("https://api.example.org/v1", "https://api.example.org/v2", True),
    ("https://bücher.example", "https://xn--bcher-kva.example/", True),
    ("https://xn--bcher-kva.example", "https://bücher.example/", True),
    ("https://api.example.org", "https://api.example.org:8443/", False),
    ("https://api.example.org", "https://api.example.org.evil.example/", False),
    ("https://api.example.org", "https://evil.example/?https://api.example.org", False),
    ("https://api.example.org", "https://api.example.org@evil.example/", False),
    ("https://api.example.org", "https://evil.example\\@api.example.org/", False),
]


def test_origins_are_compared_as_they_are_sent(session: SessionManager) -> None:
    """Case, default port and spelling of the host do not matter; everything else does (RFC 6454 §5)."""
    for allowed, url, good in ORIGINS:
        with case(allowed, url):
            auth = SessionAuth(session, [allowed])
            if good:
                auth.check(url)
            else:
                with pytest.raises(AuthenticationError):
                    auth.check(url)


def test_a_request_of_one_person_is_not_repeated_as_another(
    session: SessionManager, flow: AuthFlowManager, api: Api, idp: Idp
) -> None:
    """A request of one user that gets a 401 after another user has signed in is not repeated."""
    sign_in(flow, idp)
    ada = session.access_token

    def refuse(token: str) -> bool:
        if token == ada:
            sign_in(flow, idp)
        return token == ada

    api.refuse = refuse

    assert ask_requests(session, api.url, method="POST", content=b"ada's order") == 401
    assert api.tokens() == [ada]
    assert session.access_token != ada
