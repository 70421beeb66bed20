"""`session.handle()`: a session as a worker sees it."""

from __future__ import annotations

import asyncio
import copy
import http.server
import os
import pickle
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest
from azure.core.credentials import TokenCredential
from google.auth.transport.requests import AuthorizedSession

from pywry_auth_nb import (
    AuthenticationError,
    AuthFlowManager,
    ConfigurationError,
    LoginRequired,
    SessionManager,
    TokenError,
    TokenHandle,
)
from pywry_auth_nb.adapters import as_azure_credential, as_google_credentials
from pywry_auth_nb.auth import renew
from pywry_auth_nb.exits import link
from pywry_auth_nb.exits.gate import _withdraw_all
from tests.conftest import sign_in
from tests.support.aging import expire
from tests.support.cases import case
from tests.support.http_clients import every_client
from tests.support.idp import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.api import Api
    from tests.support.idp import Idp


def sent(thing: Any) -> Any:
    """What a worker gets of ``thing``."""
    return pickle.loads(pickle.dumps(thing))  # noqa: S301 - our own


def test_a_handle_returns_fresh_tokens(signed_in: SessionManager, idp: Idp) -> None:
    """Each call asks the kernel, which renews an old token first."""
    handle = sent(signed_in.handle())
    first = handle()
    expire(signed_in)

    assert first != handle() == signed_in.access_token == handle.access_token
    assert asyncio.run(handle.get_access_token()) == signed_in.access_token
    assert handle.headers == signed_in.headers
    assert handle.expires_at == signed_in.expires_at
    assert idp.requests_to("/token") == 2
    assert repr(handle()) == "<AccessToken ***>"


def test_a_pickle_holds_no_token_and_shows_no_key(signed_in: SessionManager) -> None:
    """It has an address and a key for it; neither repr nor vars show that."""
    handle = signed_in.handle()

    assert b"CANARY" not in pickle.dumps(handle)
    assert handle.key not in repr(handle) + repr(vars(handle))
    assert sent(handle) == handle == copy.deepcopy(handle)
    assert handle.handle() is handle


def test_many_handles_are_one_key(signed_in: SessionManager) -> None:
    """A handle for each of many tasks costs the kernel nothing; those for a time are forgotten when it is over."""
    assert len({signed_in.handle() for _ in range(100)}) == 1
    for _ in range(10):
        signed_in.handle(seconds=0)
    assert signed_in._gate is not None
    assert len(signed_in._gate._endpoint.grants) == 2


def test_the_key_is_good_for_tokens_alone(signed_in: SessionManager) -> None:
    """It opens nothing that was served for others, and theirs does not open this."""
    handle = signed_in.handle()
    with signed_in.serve() as exits:
        theirs = exits.key_file.read_text()
        for path, key in (("/token", handle.key), ("/headers", handle.key), ("/handle", theirs)):
            with case(path):
                assert httpx.get(exits.url + path, headers={"Authorization": key}).status_code == 404
    assert handle() == signed_in.access_token, "closing those leaves handles"


@every_client
def test_every_client_takes_it(ask: Callable[..., int], signed_in: SessionManager, api: Api, idp: Idp) -> None:
    """In a worker, each sends the token and repeats a refused request, as it does with a session."""
    handle, old = sent(signed_in.handle()), signed_in.access_token
    api.refuse = lambda token: token == old

    assert ask(handle, api.url) == 200
    assert api.tokens() == [old, signed_in.access_token]
    assert idp.requests_to("/token") == 2


def test_its_auth_can_be_sent_as_well(signed_in: SessionManager, api: Api) -> None:
    """With the rules of the session; that of the session itself cannot."""
    old = signed_in.access_token
    signed_in.renew_on = {403}
    api.demand = lambda token: (403, []) if token == old else None

    assert httpx.get(api.url, auth=sent(signed_in.handle().auth)).status_code == 200
    assert api.tokens() == [old, signed_in.access_token]
    with pytest.raises(TypeError, match=r"session\.handle\(\)"):
        pickle.dumps(signed_in.auth)


def test_a_server_that_refuses_all_causes_no_storm(signed_in: SessionManager, api: Api, idp: Idp) -> None:
    """The worker gets the 401 of the API."""
    api.refuse = lambda _: True
    handle = signed_in.handle()

    assert [httpx.get(api.url, auth=handle.auth).status_code for _ in range(5)] == [401] * 5
    assert idp.requests_to("/token") == 2


def test_allowed_origins_go_with_it(signed_in: SessionManager, api: Api) -> None:
    """A worker sends the token to the origins of the session alone."""
    signed_in.allowed_origins = ["https://api.example.org"]
    handle = sent(signed_in.handle())

    with pytest.raises(AuthenticationError) as caught:
        httpx.get(api.url, auth=handle.auth)
    assert caught.value.code == "origin_not_allowed"
    assert not api.seen


def test_google_and_azure_pickle_through_it(signed_in: SessionManager, api: Api) -> None:
    """Their credentials of a handle can be sent to workers (gcsfs in dask)."""
    handle = signed_in.handle()
    with AuthorizedSession(sent(as_google_credentials(handle))) as client:
        assert client.get(api.url).status_code == 200
    azure = sent(as_azure_credential(handle))

    assert isinstance(azure, TokenCredential)
    assert api.tokens() == [signed_in.access_token] == [azure.get_token("scope").token]
    assert azure.get_token("scope").expires_on == int(signed_in.expires_at)
    for credentials in (as_google_credentials(signed_in), as_azure_credential(signed_in)):
        with pytest.raises(TypeError, match=r"session\.handle\(\)"):
            pickle.dumps(credentials)


def test_a_session_says_what_to_send_instead(signed_in: SessionManager) -> None:
    """Pickling the session itself names the handle."""
    with pytest.raises(TypeError, match=r"session\.handle\(\)"):
        pickle.dumps(signed_in)


def dead(handle: TokenHandle) -> str:
    """The code with which a handle fails, in every way of reading it."""

    async def ask() -> object:
        return await handle.get_access_token()

    codes = set()
    for read in (handle, lambda: handle.headers, lambda: handle.expires_at, lambda: asyncio.run(ask())):
        with pytest.raises(TokenError) as caught:
            read()
        assert caught.value.__cause__ is None is caught.value.__context__
        codes.add(caught.value.code)
    [code] = codes
    return code


def test_a_worker_whose_session_is_signed_out_fails_closed(signed_in: SessionManager) -> None:
    """With one typed error, and no token."""
    handle = sent(signed_in.handle())
    asyncio.run(signed_in.logout())  # type: ignore[arg-type]

    assert dead(handle) == "kernel_gone"
    with pytest.raises(LoginRequired):
        signed_in.handle()


def test_a_handle_for_a_time(signed_in: SessionManager) -> None:
    """Afterwards the kernel refuses it, and others go on."""
    short, long = signed_in.handle(seconds=0.2), signed_in.handle(seconds=3600)
    end = time.time() + 0.2
    while time.time() < end:
        time.sleep(0.01)

    assert dead(short) == "handle_ended"
    assert long() == signed_in.access_token
    with pytest.raises(ConfigurationError):
        signed_in.handle(seconds="1")  # type: ignore[arg-type]


def test_a_sign_in_that_has_ended_says_why(signed_in: SessionManager, idp: Idp) -> None:
    """The session's own code and sentence reach the worker."""
    handle = signed_in.handle()
    idp.refresh_tokens.clear()
    expire(signed_in)

    assert dead(handle) == "invalid_grant"


def test_another_machine_is_refused_before_anything_is_sent(
    signed_in: SessionManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program may listen at that port there, and would get the key."""
    pickled = pickle.dumps(signed_in.handle())
    monkeypatch.setattr("pywry_auth_nb.handle.this_machine", lambda: "another")
    monkeypatch.setattr("pywry_auth_nb.handle.HTTPConnection", None)

    with pytest.raises(ConfigurationError) as caught:
        pickle.loads(pickled)()  # noqa: S301 - our own
    assert caught.value.code == "handle_elsewhere"


def test_a_machine_without_linux_has_a_name_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name says nothing about the machine."""
    here = link.this_machine()
    with monkeypatch.context() as patch:
        patch.setattr(link, "_BOOT_ID", link._BOOT_ID / "missing")
        link.this_machine.cache_clear()
        elsewhere = link.this_machine()
    link.this_machine.cache_clear()

    assert here == link.this_machine() != elsewhere
    assert len(elsewhere) == 16


def test_a_program_that_took_the_port_is_not_believed(signed_in: SessionManager) -> None:
    """It cannot prove its answer, so the token that it made up is not used."""

    class Squatter(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'{"token": "theirs", "expires_at": null}'
            self.send_response(200)
            self.send_header(link.PROOF_HEADER, "0" * 64)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Squatter) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        handle = TokenHandle(server.server_port, signed_in.handle().key)
        assert dead(handle) == "kernel_gone"
        server.shutdown()


def test_a_program_that_took_the_port_gets_no_token(signed_in: SessionManager) -> None:
    """A worker that asks for another token names the refused one by a hash: other APIs may still take it."""
    sent_to_it: list[bytes] = []

    class Squatter(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent_to_it.append(str(self.headers).encode() + self.rfile.read(int(self.headers["Content-Length"])))
            self.send_error(500)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Squatter) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        handle = TokenHandle(server.server_port, signed_in.handle().key)
        assert renew(handle, signed_in.access_token) is None  # type: ignore[arg-type]
        server.shutdown()

    assert len(sent_to_it) == 1
    assert b"CANARY" not in sent_to_it[0]


def test_a_handle_of_a_stored_sign_in_is_not_another_users(signed_in: SessionManager, idp: Idp) -> None:
    """Also one that was asked for before the store had been read, as in the second cell of a notebook."""
    session = SessionManager(signed_in.provider, signed_in.token_store)
    handle = session.handle()
    assert handle() == signed_in.access_token
    idp.claims["sub"] = "bob"
    idp.answers["/userinfo"] = Answer({"sub": "bob"})
    sign_in(AuthFlowManager(session.provider, session_manager=session), idp)

    assert session.user["sub"] == "bob"
    with pytest.raises(TokenError):
        handle()
    assert session.handle()() == session.access_token


def test_it_asks_without_a_proxy(signed_in: SessionManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxies of the environment do not see the key."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")

    assert signed_in.handle()() == signed_in.access_token


def test_a_forked_child_serves_nothing_and_removes_nothing(signed_in: SessionManager) -> None:
    """Its exit leaves the parent's endpoint, files and folder; handles and variables work in it."""
    exits = signed_in.serve(files=[])
    handle, token = signed_in.handle(), signed_in.access_token
    port = httpx.URL(exits.url).port
    assert port in {each.laddr.port for each in psutil.Process().net_connections("tcp") if each.status == "LISTEN"}
    child = os.fork()
    if child == 0:  # pragma: no cover - coverage ends here
        code = 1
        try:
            connections = psutil.Process().net_connections("tcp")
            listening = [each for each in connections if each.status == "LISTEN" and each.laddr.port == port]
            exits.close()
            code = 0 if handle() == token and not listening else 2
            _withdraw_all()  # as at its exit
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    assert handle() == token
    assert exits.key_file.exists()
    assert exits.open
    exits.close()


def test_a_forked_child_may_serve_by_itself(signed_in: SessionManager) -> None:
    """It opens an endpoint of its own if it is asked to."""
    exits = signed_in.serve()
    child = os.fork()
    if child == 0:  # pragma: no cover - coverage ends here
        code = 1
        try:
            with signed_in.serve() as mine:
                key = mine.key_file.read_text()
                answer = httpx.get(f"{mine.url}/token", headers={"Authorization": key}, trust_env=False)
                code = 0 if mine.url != exits.url and answer.text == signed_in.access_token else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    exits.close()
