"""`OAuthCallbackServer`: takes one answer of a provider, and no other request disturbs it."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from http.client import HTTPConnection, HTTPResponse
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from pywry_auth_nb import AuthenticationError, ConfigurationError, OAuthCallbackServer
from pywry_auth_nb._io import loopback_server
from pywry_auth_nb._wire import pages
from tests.support.cases import case
from tests.support.waiting import until, within

if TYPE_CHECKING:
    from collections.abc import Iterator

GOOD = {"code": "CANARY-code", "state": "CANARY-state"}
#: The same as ``wait_for_callback`` returns it: the seed's four keys are always there.
TAKEN = {"error": None, "error_description": None, **GOOD}
GOOD_QUERY = "code=CANARY-code&state=CANARY-state"


@pytest.fixture
def server() -> Iterator[OAuthCallbackServer]:
    """A running one."""
    with OAuthCallbackServer() as running:
        yield running


def port_of(server: OAuthCallbackServer) -> int:
    """Where it listens."""
    port = urlsplit(server.redirect_uri).port
    assert port is not None
    return port


def visit(
    server: OAuthCallbackServer, target: str, method: str = "GET", **headers: str
) -> tuple[int, str, HTTPResponse]:
    """Be a browser: return the status, the text and the response."""
    connection = HTTPConnection(server.host, port_of(server), timeout=30)
    with contextlib.closing(connection):
        connection.request(method, target, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.read().decode(), response


def answer(server: OAuthCallbackServer, query: str = GOOD_QUERY, **headers: str) -> tuple[int, str]:
    """Bring an answer; return the status and the text of the page."""
    status, text, _ = visit(server, f"/callback?{query}", **headers)
    return status, text


def raw(server: OAuthCallbackServer, data: bytes = b"") -> socket.socket:
    """A connection that has sent ``data``."""
    connection = socket.create_connection((server.host, port_of(server)), timeout=30)
    connection.sendall(data)
    return connection


def takes(connection: socket.socket, data: bytes, times: int, pause: float = 0.0) -> bool:
    """Whether a connection takes ``data`` that often, and is not closed before."""
    try:
        for _ in range(times):
            connection.sendall(data)
            time.sleep(pause)
    except ConnectionError:
        return False
    return True


def waits_on(server: OAuthCallbackServer) -> bool:
    """Whether nothing has ended the waiting."""
    return server.wait_for_callback(0) is None


# -- what it is for ---------------------------------------------------------------------------------------------


def test_it_takes_an_answer(server: OAuthCallbackServer) -> None:
    """``start``, ``redirect_uri`` and ``wait_for_callback``: the browser brings an answer, and here it is (§7.3)."""
    got: list[dict[str, str | None] | None] = []
    waiting = threading.Thread(target=lambda: got.append(server.wait_for_callback(timeout=5)))
    waiting.start()
    status, text = answer(server)
    waiting.join(30)

    assert server.redirect_uri == f"http://127.0.0.1:{port_of(server)}/callback"
    assert got == [TAKEN]
    assert (status, "<h1>The provider&#x27;s answer has arrived</h1>" in text) == (200, True)


def test_all_that_came_is_kept(server: OAuthCallbackServer) -> None:
    """B4: ``iss`` (RFC 9207) and unknown parameters are kept; an error is not a success."""
    status, text = answer(server, "error=access_denied&error_description=No%20%C3%A9&state=s&iss=https://op&hd=x")

    assert server.wait_for_callback(0) == {
        "code": None,
        "error": "access_denied",
        "error_description": "No é",
        "state": "s",
        "iss": "https://op",
        "hd": "x",
    }
    assert (status, "Access was declined" in text, "No é" in text) == (400, True, False)


def test_an_error_may_come_without_a_state(server: OAuthCallbackServer) -> None:
    """Some providers send an error without a state; it ends the waiting."""
    answer(server, "error=server_error")

    assert server.wait_for_callback(0) == {
        "code": None,
        "state": None,
        "error": "server_error",
        "error_description": None,
    }


def test_no_answer_arrives(server: OAuthCallbackServer) -> None:
    """``wait_for_callback`` ends in time, with None."""
    began = time.monotonic()

    with within(4):
        assert server.wait_for_callback(timeout=0.2) is None
    assert time.monotonic() - began >= 0.2


def test_the_first_answer_counts(server: OAuthCallbackServer) -> None:
    """A second one, or a reload, gets a page that claims nothing."""
    answer(server)
    status, text = answer(server, "code=other&state=other")

    assert server.wait_for_callback(0) == TAKEN
    assert (status, "This sign-in is finished" in text) == (200, True)


def test_it_starts_and_stops() -> None:
    """``start`` twice is once; ``stop`` twice is once, frees the port, ends the waiting; and it can start again."""
    server = OAuthCallbackServer()
    for refused in (lambda: server.redirect_uri, server.wait_for_callback):
        with pytest.raises(AuthenticationError, match="start") as caught:
            refused()
        assert caught.value.code == "not_started"
    assert server.start() == server.start()
    port = port_of(server)
    waiting = threading.Thread(target=server.wait_for_callback)
    waiting.start()
    server.stop()
    server.stop()
    waiting.join(2)

    assert not waiting.is_alive()
    assert server.wait_for_callback() is None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", port))
    assert server.start() == server.redirect_uri
    answer(server)
    server.stop()
    assert server.wait_for_callback() == TAKEN, "what came is still there"


def test_a_port_of_ones_own() -> None:
    """A provider that wants one exact address gets it, again and again; a port that is taken is a readable error."""
    with OAuthCallbackServer() as server:
        port = port_of(server)
        with pytest.raises(ConfigurationError, match=f"port {port}") as caught:
            OAuthCallbackServer(port=port).start()
        assert caught.value.code == "port_unavailable"
    for _ in range(3):
        with OAuthCallbackServer(port=port) as server:
            assert server.redirect_uri == f"http://127.0.0.1:{port}/callback"
            assert answer(server)[0] == 200


def test_ipv6() -> None:
    """RFC 8252 §7.3: an IPv6 loopback address stands in brackets."""
    try:
        server = OAuthCallbackServer("::1")
        server.start()
    except ConfigurationError:
        pytest.skip("no IPv6 here")
    with server:
        assert server.redirect_uri == f"http://[::1]:{port_of(server)}/callback"
        assert answer(server)[0] == 200
    assert server.wait_for_callback() == TAKEN


OTHER_HOSTS = [
    "0.0.0.0",  # noqa: S104 - must be refused
    "",
    "::",
    "192.168.0.1",
    "example.org",
    "localhost.example",
    "[::1]",
    "::1%lo",
    "127.1",
    "::ffff:127.0.0.1",
]


def test_only_loopback() -> None:
    """RFC 8252 §8.3: other machines are never listened to."""
    for host in OTHER_HOSTS:
        with case(host), pytest.raises(ConfigurationError):
            OAuthCallbackServer(host)


def test_only_ports() -> None:
    """An invalid port is refused at once."""
    for port in [-1, 65536, "80", True, None]:
        with case(port), pytest.raises(ConfigurationError):
            OAuthCallbackServer(port=port)  # type: ignore[arg-type]


# -- pages ------------------------------------------------------------------------------------------------------


def test_every_page_is_locked_up(server: OAuthCallbackServer) -> None:
    """Pages are the Jupyter server's, headers too: no caching, no framing, no referrer, no version."""
    for target, status in [("/", 200), ("/callback", 400), ("/x", 404), (f"/callback?{GOOD_QUERY}", 200)]:
        got, text, response = visit(server, target)

        assert got == status
        assert {name: response.headers[name] for name in pages.HEADERS} == pages.HEADERS
        assert response.headers["Server"] is None
        assert "CANARY" not in text
        assert "{place}" not in text


REQUESTS = [
    ("GET", "/favicon.ico", 404),
    ("GET", "/callback/", 404),
    ("GET", "/Callback", 404),
    ("GET", "/callbackx", 404),
    ("GET", "//callback", 200),  # to the standard library that is the same path
    ("GET", "http://127.0.0.1/callback", 400),
    ("HEAD", "/callback", 405),
    ("POST", "/callback", 405),
    ("PUT", "/callback", 405),
    ("OPTIONS", "/callback", 405),
    ("BREW", "/callback", 405),
]


def test_one_path_and_one_method() -> None:
    """H032: link scanners, preflights and wrong addresses use nothing up."""
    for method, target, status in REQUESTS:
        with case(method, target), OAuthCallbackServer() as server:
            got, _, response = visit(server, f"{target}?{GOOD_QUERY}", method)

            assert got == status
            assert (response.headers["Allow"] == "GET") is (status == 405)
            assert waits_on(server) is (status != 200)


# -- who disturbs it --------------------------------------------------------------------------------------------


JUNK = [
    "",
    "code=c",
    "state=s",
    "code=&state=s",
    "code=c&state=",
    "code=c&error=access_denied&state=s",
    "code=c&code=d&state=s",
    "code=c&state=s&state=t",
    "code=c&state=s&iss=a&iss=b",
    "code=%ff&state=s",
    "code=c&state=s&more=" + "x" * 8192,
    "code=c&state=s&more=" + "x" * 200_000,
]


def test_junk_does_not_end_the_waiting() -> None:
    """B11, H017 to H020, H029: a malformed or ambiguous answer gets a page and changes nothing."""
    for query in JUNK:
        with case(query), OAuthCallbackServer() as server:
            with contextlib.suppress(ConnectionError):  # of 200 KB not all is read
                status, text = answer(server, query)
                assert (status, "This address is not complete" in text) == (400, True)

            assert waits_on(server)
            assert answer(server)[0] == 200


def test_a_prefetch_uses_nothing_up(server: OAuthCallbackServer) -> None:
    """H032: a browser that guesses ahead, or a page that embeds the answer, does not finish a sign-in."""
    for headers in (
        {"Sec_Purpose": "prefetch"},
        {"Sec_Purpose": "prefetch;prerender"},
        {"Purpose": "prefetch"},
        {"Sec_Fetch_Dest": "image"},
        {"Sec_Fetch_Dest": "iframe"},
    ):
        with case(str(headers)):
            assert answer(server, **headers)[0] == 400
            assert waits_on(server)


def test_another_host_name_is_refused(server: OAuthCallbackServer) -> None:
    """B11, T20: a request under another host name (DNS rebinding) is refused; loopback names are served."""
    port = port_of(server)
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port + 1}", f"127.0.0.2:{port}", ""):
        status, text = answer(server, Host=host)
        assert (status, "The host name is wrong" in text) == (400, True), host
    for head in (b"", b"Host: 127.0.0.1:%d\r\nHost: evil.example\r\n" % port):
        with raw(server, b"GET /callback?%s HTTP/1.1\r\n%s\r\n" % (GOOD_QUERY.encode(), head)) as connection:
            assert connection.recv(12) == b"HTTP/1.0 400"
    assert waits_on(server)

    assert answer(server, Host=f"localhost:{port}")[0] == 200


def test_idle_connections_hold_nothing_up(server: OAuthCallbackServer) -> None:
    """A12: fifty connections that say nothing, or half of it, neither delay an answer nor the end."""
    beginnings = [b"", b"GET", b"GET /callback?code=c HTTP/1.1\r\nHost: x", b"\x16\x03\x01\x02\x00"]
    idle = [raw(server, beginnings[number % len(beginnings)]) for number in range(50)]
    with within(5):
        assert answer(server)[0] == 200
        assert server.wait_for_callback(0) == TAKEN
        server.stop()

    for connection in idle:
        connection.settimeout(30)
        with contextlib.suppress(ConnectionError):
            assert connection.recv(1) == b"", "it is still open"
        connection.close()


def test_connections_are_counted(server: OAuthCallbackServer) -> None:
    """A12: however many come, there is a bound on threads: the oldest that has asked nothing gives way."""
    before = threading.active_count()
    idle = [raw(server) for _ in range(100)]
    for connection in idle[: -loopback_server._MAX_CONNECTIONS]:
        with contextlib.suppress(ConnectionError):
            assert connection.recv(1) == b"", "it has not given way"

    until(lambda: threading.active_count() - before <= loopback_server._MAX_CONNECTIONS + 1)
    assert answer(server)[0] == 200
    for connection in idle:
        connection.close()


def test_a_slow_request_is_given_up(server: OAuthCallbackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A12: the time for a whole request is bounded, not only the time between two bytes of it."""
    monkeypatch.setattr(loopback_server, "_READ_DEADLINE", 0.3)
    with raw(server, b"GET /callback?") as connection:
        assert not takes(connection, b"x", times=600, pause=0.05)
    assert waits_on(server)


def test_an_endless_request_is_given_up(server: OAuthCallbackServer) -> None:
    """A12: the size of a whole request is bounded: megabytes of headers are not read."""
    with raw(server, b"GET /callback HTTP/1.1\r\n") as connection:
        assert not takes(connection, b"X-Padding: " + b"x" * 8000 + b"\r\n", times=1000)
    assert waits_on(server)


def test_an_answer_under_way_is_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of the answer that ends the waiting is not cut off by ``stop``."""
    monkeypatch.setattr(loopback_server, "_FAREWELL", 5.0)

    def handle(params: dict[str, str]) -> tuple[pages.Page, bool]:
        threading.Thread(target=server.stop).start()
        time.sleep(0.3)
        return pages.signed_in("Ada"), True

    with OAuthCallbackServer(handle=handle) as server:
        status, text = answer(server)

    assert (status, "Signed in as Ada" in text) == (200, True)


def test_a_handler_that_hangs_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A12: ``stop`` waits a moment for an answer under way, and no longer."""
    monkeypatch.setattr(loopback_server, "_FAREWELL", 0.2)
    asked, never = threading.Event(), threading.Event()

    def handle(params: dict[str, str]) -> tuple[pages.Page, bool]:
        asked.set()
        never.wait(10)
        return pages.RECEIVED, True

    server = OAuthCallbackServer(handle=handle)
    server.start()
    connection = raw(
        server, f"GET /callback?{GOOD_QUERY} HTTP/1.1\r\nHost: 127.0.0.1:{port_of(server)}\r\n\r\n".encode()
    )
    assert asked.wait(30)
    with within(5):
        server.stop()

    never.set()
    connection.close()


# -- its hook ---------------------------------------------------------------------------------------------------


def test_the_hook_says_what_is_shown_and_when_the_waiting_ends() -> None:
    """``handle`` gets each well-formed query, on another thread, and only what it accepts ends the waiting."""
    seen: list[tuple[dict[str, str], str]] = []

    def handle(params: dict[str, str]) -> tuple[pages.Page, bool]:
        seen.append((params, threading.current_thread().name))
        mine = params.get("state") == "CANARY-state"
        return (pages.signed_in("Ada") if mine else pages.failed("unknown_flow")), mine

    with OAuthCallbackServer(handle=handle) as server:
        assert answer(server, "code=c&state=theirs")[0] == 404
        assert waits_on(server)
        status, text = answer(server)
        assert (status, "Signed in as Ada" in text) == (200, True)
        assert server.wait_for_callback(0) == TAKEN

    assert [params for params, _ in seen] == [{"code": "c", "state": "theirs"}, GOOD]
    assert threading.current_thread().name not in {name for _, name in seen}


def test_a_hook_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """What a hook raises is logged by type alone, and the browser gets a page."""

    def handle(params: dict[str, str]) -> tuple[pages.Page, bool]:
        raise ValueError(params)

    with OAuthCallbackServer(handle=handle) as server:
        assert answer(server)[0] == 400
        assert waits_on(server)
    assert "ValueError" in caplog.text


def test_nothing_is_written_down(
    server: OAuthCallbackServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """B5: neither an answer nor what goes wrong with one is logged or printed, at any level."""
    caplog.set_level(logging.DEBUG)
    request = f"GET /callback?{GOOD_QUERY} HTTP/1.1\r\nHost: evil.example\r\n"
    for data in (request, request + "\r\n", request.replace("HTTP/1.1", "HTTP/9.9 CANARY") + "\r\n", "CANARY\r\n\r\n"):
        raw(server, data.encode()).close()
    answer(server)
    server.stop()
    printed = capfd.readouterr()

    assert "CANARY" not in caplog.text + printed.out + printed.err
