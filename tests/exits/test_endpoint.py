"""The endpoint of `session.serve`: who gets an answer, and who gets none."""

from __future__ import annotations

import asyncio
import resource
import socket
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from pywry_auth_nb import LoginRequired
from pywry_auth_nb._io.loop import run
from pywry_auth_nb.exits import endpoint
from tests.conftest import sign_in
from tests.support.aging import expire
from tests.support.cases import case
from tests.support.idp import Answer
from tests.support.waiting import until, within

if TYPE_CHECKING:
    from pywry_auth_nb import AuthFlowManager, Exits, SessionManager
    from tests.support.idp import Idp


NOTHING: dict[str, Any] = dict.fromkeys(("aws", "google"), None) | dict.fromkeys(("anthropic", "databricks"), False)
NOTHING |= {"files": (), "set_environment": False}


def key_of(exits: Exits) -> str:
    """The key, as a program reads it."""
    return exits.key_file.read_text()


def ask(exits: Exits, path: str = "/token", **headers: str) -> httpx.Response:
    """Ask with the right key, unless ``headers`` say otherwise."""
    sent = {"Authorization": f"Bearer {key_of(exits)}"} | {
        name.replace("_", "-").title(): headers[name] for name in headers
    }
    return httpx.get(exits.url + path, headers=sent, timeout=30)


def test_a_program_with_the_key_gets_tokens(signed_in: SessionManager) -> None:
    """The paths that every key of `serve` is good for."""
    with signed_in.serve() as exits:
        assert ask(exits).text == signed_in.access_token
        assert ask(exits, "/headers").json() == signed_in.headers
        assert ask(exits, "/id-token").text == signed_in._engine.state.tokens.id_token  # type: ignore[union-attr]
        assert ask(exits, authorization=key_of(exits)).text == signed_in.access_token, "as AWS sends it"
        assert ask(exits, authorization=f"bearer {key_of(exits)}").status_code == 200


def test_answers_are_kept_in_no_cache_and_name_no_server(signed_in: SessionManager) -> None:
    """An answer has no ETag, which would be a hash of the token."""
    with signed_in.serve() as exits:
        headers = ask(exits).headers

    assert headers["Cache-Control"] == "no-store"
    assert not {"etag", "server"} & set(headers)


STRANGERS: list[tuple[dict[str, str], int, str]] = [
    ({"authorization": ""}, 401, "endpoint_key"),
    ({"authorization": "Bearer x.y"}, 401, "endpoint_key"),
    ({"authorization": "Bearer é"}, 401, "endpoint_key"),
    ({"origin": "https://evil.example"}, 403, "endpoint_forbidden"),
    ({"origin": "null"}, 403, "endpoint_forbidden"),
    ({"origin": "SELF"}, 403, "endpoint_forbidden"),
    ({"sec_fetch_site": "cross-site"}, 403, "endpoint_forbidden"),
    ({"sec_fetch_site": "same-origin"}, 403, "endpoint_forbidden"),
    ({"host": "evil.example"}, 403, "endpoint_forbidden"),
    ({"host": "127.0.0.1"}, 403, "endpoint_forbidden"),
    ({"host": "127.0.0.1:1"}, 403, "endpoint_forbidden"),
]


def test_strangers_get_nothing(signed_in: SessionManager) -> None:
    """No key, a wrong key, pages of any origin, and names that lead here by DNS rebinding."""
    with signed_in.serve() as exits:
        for headers, status, code in STRANGERS:
            with case(headers):
                sent = {name: value.replace("SELF", exits.url) for name, value in headers.items()}
                coded = {name: value.encode("latin-1") for name, value in sent.items()}
                answer = ask(exits, **coded)  # type: ignore[arg-type]
                assert (answer.status_code, answer.json()["error"]) == (status, code)
                assert "CANARY" not in answer.text


def test_most_of_a_key_is_not_enough(signed_in: SessionManager) -> None:
    """A key is compared as a whole."""
    with signed_in.serve() as exits:
        key = key_of(exits)
        for wrong in (key[:-1], key + "a", key.partition(".")[0], "." + key.partition(".")[2], key.swapcase()):
            assert ask(exits, authorization=wrong).status_code == 401


def test_a_key_in_the_address_is_not_taken(signed_in: SessionManager) -> None:
    """An address is logged by proxies and kept in histories."""
    with signed_in.serve() as exits:
        assert httpx.get(f"{exits.url}/token?key={key_of(exits)}").status_code == 401
        assert ask(exits, "/token?x=1").status_code == 404


def test_what_was_not_asked_for_is_not_served(signed_in: SessionManager) -> None:
    """A path that no preset opened does not exist, and neither do other methods."""
    with signed_in.serve() as exits:
        for path in ("/aws", "/google", "/handle", "/", "/token/", "//token"):
            assert ask(exits, path).json()["error"] == "endpoint_path"
        answer = httpx.put(f"{exits.url}/token", headers={"Authorization": key_of(exits)})

    assert (answer.status_code, answer.json()["error"]) == (405, "bad_method")


def test_raw_requests_that_are_no_http(signed_in: SessionManager) -> None:
    """Malformed and oversized requests end the connection, and are not quoted in a log."""
    with signed_in.serve() as exits:
        key = key_of(exits)
        port = httpx.URL(exits.url).port
        hosts = f"Host: 127.0.0.1:{port}\r\nHost: 127.0.0.1:{port}\r\n"
        for raw in (
            "CANARY\r\n\r\n",
            f"GET /token HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: CANARY\x01{key}\r\n\r\n",
            f"GET /token HTTP/1.1\r\n{hosts}Authorization: {key}\r\n\r\n",
            f"GET /token HTTP/1.1\r\nAuthorization: {key}\r\n\r\n",
            f"GET /token HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX: {'CANARY' * 5000}\r\n\r\n",
            f"POST /token HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 99999999\r\n\r\n",
        ):
            with case(raw), socket.create_connection(("127.0.0.1", port or 0), 10) as client:
                client.sendall(raw.encode())
                answer = b"".join(iter(lambda c=client: c.recv(4096), b""))  # type: ignore[misc]
                assert b"CANARY" not in answer
        assert ask(exits).status_code == 200


def test_an_old_token_is_renewed_first(signed_in: SessionManager, idp: Idp) -> None:
    """Programs never get an expired token, and those that ask together cause one refresh."""
    with signed_in.serve() as exits:
        expire(signed_in)
        headers = {"Authorization": key_of(exits)}

        async def together() -> set[str]:
            async with httpx.AsyncClient(timeout=30) as client:
                answers = await asyncio.gather(*(client.get(f"{exits.url}/token", headers=headers) for _ in range(20)))
            return {answer.text for answer in answers}

        assert asyncio.run(together()) == {signed_in.access_token}
        assert idp.requests_to("/token") == 2


def test_where_no_token_can_be_had(signed_in: SessionManager, idp: Idp) -> None:
    """The answer is 503 with the code and the sentence of the session's error, and no word of the provider."""
    with signed_in.serve() as exits:
        expire(signed_in)
        idp.answers["/token"] = Answer({"error": "server_error", "error_description": "busy bees"}, 500)
        answer = ask(exits)

    assert answer.status_code == 503
    assert answer.json()["error"] == "provider_unavailable"
    assert "bees" not in answer.text


def test_a_thousand_idle_connections_block_no_request(signed_in: SessionManager) -> None:
    """The oldest of too many are closed; a request among them is answered at once."""
    with signed_in.serve() as exits, ExitStack() as stack:
        address = ("127.0.0.1", httpx.URL(exits.url).port or 0)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        resource.setrlimit(resource.RLIMIT_NOFILE, (2048, limits[1]))  # the test's ends are in this process, too
        for _ in range(1000):
            stack.enter_context(socket.create_connection(address, 10))
        with within(5):
            assert ask(exits).text == signed_in.access_token
        streams = signed_in._gate._endpoint._server.streams  # type: ignore[union-attr]
        assert sum(not stream.closed() for stream in streams) <= endpoint._MAX_CONNECTIONS


def test_a_kept_connection_is_used_again(signed_in: SessionManager) -> None:
    """A program may ask often over one connection."""
    with signed_in.serve() as exits, httpx.Client(headers={"Authorization": key_of(exits)}) as client:
        for _ in range(3):
            assert client.get(f"{exits.url}/token").text == signed_in.access_token
        assert len(signed_in._gate._endpoint._server.streams) == 1  # type: ignore[union-attr]


def test_slow_requests_end(signed_in: SessionManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who connects and says nothing is cut off."""
    monkeypatch.setattr(endpoint, "_IDLE", 0.2)
    with signed_in.serve() as exits, socket.create_connection(("127.0.0.1", httpx.URL(exits.url).port or 0)) as client:
        client.settimeout(10)
        client.sendall(b"GET /token HTTP/1.1\r\n")
        assert client.recv(100) == b""


def test_no_answer_takes_forever(signed_in: SessionManager, idp: Idp, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program gets 503 when the provider does not answer in time."""
    monkeypatch.setattr(endpoint, "_ANSWER_DEADLINE", 0.2)
    with signed_in.serve() as exits:
        expire(signed_in)
        idp.delay = 5
        answer = ask(exits)

    assert (answer.status_code, answer.json()["error"]) == (503, "timeout")


def refused(exits: Exits, key: str) -> bool:
    """Whether nothing listens there, or nothing is given out."""
    try:
        return httpx.get(f"{exits.url}/token", headers={"Authorization": key}, timeout=5).status_code != 200
    except httpx.HTTPError:
        return True


def test_it_ends_with_its_block(signed_in: SessionManager) -> None:
    """Afterwards nothing listens at the port, and the folder is gone."""
    with signed_in.serve() as exits:
        key, folder = key_of(exits), exits.key_file.parent
        connection = httpx.Client(headers={"Authorization": key})
        assert connection.get(f"{exits.url}/token").status_code == 200

    with pytest.raises(httpx.HTTPError):
        connection.get(f"{exits.url}/token")
    connection.close()
    assert not folder.exists()
    assert repr(exits) == "<Exits, closed>"
    exits.close()


def test_it_ends_with_a_sign_out(signed_in: SessionManager) -> None:
    """`logout` gives out nothing more from the moment it is called."""
    exits = signed_in.serve()
    key = key_of(exits)

    asyncio.run(signed_in.logout())  # type: ignore[arg-type]

    assert refused(exits, key)
    assert not exits.open
    with pytest.raises(LoginRequired):
        signed_in.serve()


def test_a_call_that_a_sign_out_overtakes(signed_in: SessionManager) -> None:
    """Nothing is opened after the sign-out."""
    gate = signed_in._open_gate()
    gate.close()
    for call in (lambda: gate.grant(None), lambda: gate.serve(**NOTHING)):
        with pytest.raises(LoginRequired):
            call()
    assert signed_in.handle()() == signed_in.access_token, "a new call opens a new one"


def test_it_ends_with_a_sign_out_anywhere(signed_in: SessionManager) -> None:
    """Also with one in the widget, or in another kernel that shares the store."""
    exits = signed_in.serve()
    key = key_of(exits)

    run(signed_in._engine.sign_out(), 10)

    until(lambda: not exits.open)
    assert refused(exits, key)


def test_it_ends_when_another_user_signs_in(signed_in: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """What was served of Ada's sign-in gives out nothing of Bob's."""
    exits = signed_in.serve()
    key = key_of(exits)
    idp.claims["sub"] = "bob"
    idp.answers["/userinfo"] = Answer({"sub": "bob"})
    sign_in(flow, idp)
    seen = [each for each in range(20) if not refused(exits, key)]

    until(lambda: not exits.open)
    assert signed_in.user is not None
    assert signed_in.user["sub"] == "bob"
    assert not seen
    with signed_in.serve() as his:
        assert ask(his).text == signed_in.access_token


def test_it_ends_with_the_session(signed_in: SessionManager, request: pytest.FixtureRequest) -> None:
    """A session that no name holds any more serves nothing."""
    from pywry_auth_nb import AuthFlowManager, MemoryTokenStore, SessionManager

    session: Any = SessionManager(signed_in.provider, MemoryTokenStore(), session_key="short")
    sign_in(AuthFlowManager(session.provider, session_manager=session), request.getfixturevalue("idp"))
    exits = session.serve()
    key = key_of(exits)
    del session

    until(lambda: not exits.open)
    until(lambda: refused(exits, key))


def test_a_key_that_was_closed_opens_nothing_again(signed_in: SessionManager) -> None:
    """Also if a handle has kept the endpoint open, where the next call has another key."""
    handle = signed_in.handle()
    with signed_in.serve() as first:
        key = key_of(first)
    with signed_in.serve() as second:
        assert second.url == first.url
        assert refused(second, key)
        assert not refused(second, key_of(second))
    assert handle() == signed_in.access_token


def test_a_second_call_takes_the_place_of_the_first(signed_in: SessionManager) -> None:
    """A cell that is run again leaves address and key as they were for programs that have them."""
    first = signed_in.serve()
    key = key_of(first)
    second = signed_in.serve()

    assert (second.url, key_of(second)) == (first.url, key)
    assert not first.open
    first.close()
    assert ask(second).text == signed_in.access_token
    second.close()


def test_a_session_that_is_signed_out_serves_nothing(session: SessionManager) -> None:
    """`serve` says so at once."""
    with pytest.raises(LoginRequired):
        session.serve()


def test_nothing_secret_is_shown(signed_in: SessionManager) -> None:
    """Neither the key nor a token stands in a repr or in the variables."""
    with signed_in.serve() as exits:
        shown = repr(exits) + repr(vars(exits)) + repr(exits.environment) + repr(signed_in._gate.__dict__)

        assert key_of(exits) not in shown
        assert key_of(exits).partition(".")[2] not in shown
        assert signed_in.access_token not in shown


def test_only_this_account_can_read_the_files(signed_in: SessionManager) -> None:
    """Folder 0700, files 0600, whatever the umask."""
    with signed_in.serve() as exits:
        folder = exits.key_file.parent
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}


def test_reading_is_quick(signed_in: SessionManager) -> None:
    """A read over loopback takes milliseconds, so that programs need not keep a token."""
    with signed_in.serve() as exits, httpx.Client(headers={"Authorization": key_of(exits)}) as client:
        begun = time.perf_counter()
        for _ in range(100):
            client.get(f"{exits.url}/token")
        assert time.perf_counter() - begun < 20
