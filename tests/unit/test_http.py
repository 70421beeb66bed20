"""The bounds of the HTTP client: time, bytes, redirects, cookies, JSON and addresses."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import gzip
import ipaddress
import json
import re
import socket
import ssl
import struct
import threading
import time
import tracemalloc
import zlib
from email.utils import format_datetime
from itertools import product
from typing import TYPE_CHECKING, Any

import brotli
import pytest
import zstandard
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pywry_auth_nb import TokenError
from pywry_auth_nb._io.answers import Answer, _retry_after
from pywry_auth_nb._io.http import HttpClient
from pywry_auth_nb._io.inflate import inflated
from pywry_auth_nb._io.loop import run
from pywry_auth_nb._io.strict_json import strict_json
from pywry_auth_nb._io.urls import check_url, is_internal, is_loopback
from tests.support.cases import case
from tests.support.clients import once
from tests.support.idp import Answer as Told
from tests.support.idp import Idp
from tests.support.ports import free_port
from tests.support.waiting import patience, within

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def reply(body: bytes, *headers: str, status: str = "200 OK", media_type: str | None = "application/json") -> bytes:
    """One whole HTTP answer."""
    types = [f"Content-Type: {media_type}"] if media_type is not None else []
    lines = [f"HTTP/1.1 {status}", *types, f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class RawServer:
    """Says exactly these bytes, or lets ``talk`` do what it likes with the socket. One request per connection."""

    def __init__(self, talk: bytes | Callable[[socket.socket], None], tls: ssl.SSLContext | None = None) -> None:
        self.heard: list[bytes] = []
        self._talk = talk if callable(talk) else lambda connection: connection.sendall(talk)
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._listener.getsockname()[1]}/"

    def __enter__(self) -> RawServer:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                if self._tls is not None:
                    connection = self._tls.wrap_socket(connection, server_side=True)
                self.heard.append(whole_request(connection))
                self._talk(connection)
            except OSError:
                pass  # the client has had enough, which is the point
            finally:
                connection.close()


def whole_request(connection: socket.socket) -> bytes:
    """Read one request with its body."""
    data = connection.recv(65536)
    announced = re.search(rb"(?i)content-length: (\d+)", data)
    while announced and len(data.partition(b"\r\n\r\n")[2]) < int(announced[1]):
        data += connection.recv(65536)
    return data


def in_turn(replies: list[bytes]) -> Callable[[socket.socket], None]:
    """Give the first connection the first of these replies, the second the second, …."""
    waiting = iter(replies)
    return lambda connection: connection.sendall(next(waiting))


@functools.cache
def bounded(deadline: float, max_bytes: int) -> HttpClient:
    """One client for all that ask with these bounds: making its TLS context takes longer than a test."""
    return HttpClient(deadline=deadline, max_bytes=max_bytes)


def ask(url: str, method: str = "GET", *, deadline: float = 5.0, max_bytes: int = 10_000, **options: Any) -> Answer:
    """Send one request, from the background loop as the package does."""
    return run(bounded(deadline, max_bytes).request(method, url, **options), 30)


def outcome(url: str, **options: Any) -> str:
    """Send one request and return the code of its failure, or its status."""
    try:
        return str(ask(url, **options).status)
    except TokenError as error:
        return error.code


def refused(url: str, **options: Any) -> TokenError:
    """Send one request that must fail, and return how it failed."""
    with pytest.raises(TokenError) as caught:
        ask(url, **options)
    return caught.value


def answering(body: bytes, *headers: str, **options: Any) -> Answer:
    """Ask a server that says this."""
    with RawServer(reply(body, *headers, **options)) as server:
        return ask(server.url)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback is asked directly, also on a machine behind a proxy."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


# -- the honest case ----------------------------------------------------------------------------------------------


def test_an_answer_is_status_value_and_time() -> None:
    """A JSON answer arrives decoded, with the time when the request left."""
    before = time.time()
    answer = answering(b'{"a": [1, null, "\\u00e9"]}')

    assert (answer.status, answer.ok, answer.body, answer.retry_after) == (200, True, {"a": [1, None, "é"]}, None)
    assert before <= answer.sent_at <= time.time()


def test_a_request_says_what_it_accepts() -> None:
    """H051, H063: it asks for JSON, uncompressed, and sends a form as a form."""
    with RawServer(reply(b"{}")) as server:
        ask(server.url, "POST", form={"a b": "c&d"}, headers={"X-Ours": "1"})

    head, _, body = server.heard[0].partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    assert lines[0] == "post / http/1.1"
    assert {"accept: application/json", "accept-encoding: identity", "x-ours: 1"} <= set(lines)
    assert "content-type: application/x-www-form-urlencoded" in lines
    assert body == b"a+b=c%26d"


def test_a_repr_shows_no_body() -> None:
    """An answer of a token endpoint is not shown by its repr."""
    assert "CANARY" not in repr(Answer(200, {"access_token": "CANARY"}, None, 0.0))


def test_a_client_is_usable_after_it_was_closed() -> None:
    """It opens itself anew; closing it twice does no harm."""
    client = HttpClient()
    with RawServer(reply(b"{}")) as server:

        async def go() -> None:
            for _ in range(2):
                assert (await client.request("GET", server.url)).ok
                await client.close()
                await client.close()

        asyncio.run(go())


def test_connections_of_another_loop_are_left_alone() -> None:
    """In a forked child there is a new loop, and the parent's open connections are not the child's to use."""

    def talk(connection: socket.socket) -> None:
        connection.sendall(reply(b"{}"))
        connection.settimeout(1)
        connection.recv(1)  # keep it open

    client, loops = HttpClient(deadline=5.0), [asyncio.new_event_loop() for _ in range(2)]
    with RawServer(talk) as server:
        clients = []
        for loop in loops:
            client._forget_client()  # as a forked child does
            assert loop.run_until_complete(client.request("GET", server.url)).ok
            clients.append(client._client)
        for loop, used in zip(loops, clients, strict=True):
            assert used is not None
            loop.run_until_complete(used.aclose())
            loop.close()

    assert len(server.heard) == 2


# -- time ---------------------------------------------------------------------------------------------------------


def drip(first: bytes, each: bytes) -> Callable[[socket.socket], None]:
    """Say something every 20 ms, so that a timeout between bytes never strikes."""

    def talk(connection: socket.socket) -> None:
        connection.sendall(first)
        for _ in range(500):
            connection.sendall(each)
            time.sleep(0.02)

    return talk


SLOW = {
    "H059-silence": lambda _: time.sleep(8),
    "H060-body-drip": drip(HEAD + b"Content-Length: 9999\r\n\r\n", b" "),
    "H060-chunk-drip": drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "H061-header-drip": drip(HEAD, b"X-A: b\r\n"),
    "H061-status-line-drip": drip(b"HTTP/1.1 200 ", b"O"),
    "H061-one-endless-header": drip(HEAD + b"X-A: ", b"b"),
    "H065-endless-100-continue": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}


@pytest.mark.parametrize("talk", SLOW.values(), ids=SLOW)
def test_a_whole_request_has_a_deadline(talk: Callable[[socket.socket], None]) -> None:
    """H059 to H061: however the bytes are spread over time, the request ends at its deadline."""
    with RawServer(talk) as server:
        started = time.monotonic()
        with within(4):
            error = refused(server.url, deadline=0.25)

    assert error.code == "timeout"
    assert time.monotonic() - started > 0.2


def test_one_request_may_have_a_deadline_of_its_own() -> None:
    """H245: longer or shorter than the client's; it is the one that the error names."""
    slow = RawServer(lambda connection: (time.sleep(0.6), connection.sendall(reply(b"{}")))[-1])
    with slow as server:
        assert refused(server.url, deadline=0.2).code == "timeout"
        assert run(once(HttpClient(deadline=0.2), server.url, deadline=20.0), 30).ok


def test_the_deadline_counts_from_each_request() -> None:
    """Requests of one client that take 0.4 s each all fit into a deadline of 1.5 s."""
    unit = patience()

    def talk(connection: socket.socket) -> None:
        time.sleep(0.4 * unit)
        connection.sendall(reply(b"{}", "Connection: close"))

    with RawServer(talk) as server:
        answers = [ask(server.url, deadline=1.5 * unit) for _ in range(4)]

    assert all(answer.ok for answer in answers)


def test_a_client_is_usable_after_a_timeout() -> None:
    """I5: after a request that timed out, the next one with the same client succeeds."""
    slow, over, deadline = threading.Event(), threading.Event(), 0.7 * patience()

    def talk(connection: socket.socket) -> None:
        if not slow.is_set():
            slow.set()
            over.wait(60)
        connection.sendall(reply(b"{}"))

    with RawServer(talk) as server:
        assert refused(server.url, deadline=deadline).code == "timeout"
        over.set()
        assert ask(server.url, deadline=deadline).ok


# -- bytes --------------------------------------------------------------------------------------------------------


def flood(first: bytes, each: bytes) -> Callable[[socket.socket], None]:
    """Say something, then the same for ever."""

    def talk(connection: socket.socket) -> None:
        connection.sendall(first)
        while True:
            connection.sendall(each)

    return talk


LARGE = {
    "H062-content-length": flood(HEAD + b"Content-Length: 10000000000\r\n\r\n", b" " * 4096),
    "H062-chunked": flood(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b" " * 4096 + b"\r\n"),
    "H062-one-byte-chunks": flood(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n" * 500),
    "H062-until-close": flood(HEAD + b"\r\n", b" " * 4096),
    "H062-error-body": flood(b"HTTP/1.1 500 Oops\r\nContent-Type: text/html\r\n\r\n", b"x" * 4096),
    "H062-redirect-body": flood(b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", b"x" * 4096),
}


@pytest.mark.parametrize("talk", LARGE.values(), ids=LARGE)
def test_an_answer_has_a_largest_size(talk: Callable[[socket.socket], None]) -> None:
    """H062: reading stops at the cap, long before the deadline, whether or not a length was announced."""
    with RawServer(talk) as server, within(3):
        error = refused(server.url, deadline=20.0, max_bytes=10_000)

    assert error.code == "too_large"


def test_an_answer_of_exactly_the_largest_size_is_fine() -> None:
    """The cap itself is allowed, one byte more is not."""
    body = json.dumps("x" * 998).encode()
    with RawServer(reply(body)) as server:
        assert ask(server.url, max_bytes=1000).ok
        assert refused(server.url, max_bytes=999).code == "too_large"


LARGE_HEADS = {
    "H067-one-header-1-MB": HEAD + b"X-A: " + b"a" * 1_000_000 + b"\r\n\r\n",
    "H067-many-headers": HEAD + b"X-A: b\r\n" * 100_000 + b"\r\n",
}


@pytest.mark.parametrize("head", LARGE_HEADS.values(), ids=LARGE_HEADS)
def test_a_large_head_is_a_typed_error(head: bytes) -> None:
    """H067: headers are bounded too."""
    with RawServer(head) as server:
        assert refused(server.url).code == "network"


def bare_deflate(data: bytes) -> bytes:
    """DEFLATE without the frame of zlib, as some servers send it."""
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(data) + deflater.flush()


COMPRESSIONS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "upper-case": ("GZIP", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "gzip-in-two-members": ("gzip", lambda data: gzip.compress(data[:5]) + gzip.compress(data[5:])),
    "deflate": ("deflate", zlib.compress),
    "deflate-bare": ("deflate", bare_deflate),
    "br": ("br", brotli.compress),
    "zstd": ("zstd", zstandard.compress),
    "twice": ("deflate, gzip", lambda data: gzip.compress(zlib.compress(data))),
    "identity-too": ("identity, gzip", gzip.compress),
}


def test_a_compressed_answer_is_inflated() -> None:
    """H241, H063: a proxy may compress although it was asked not to."""
    for name, (encoding, compress) in COMPRESSIONS.items():
        with case(name):
            body = {"access_token": "x" * 3000}

            assert answering(compress(json.dumps(body).encode()), f"Content-Encoding: {encoding}").body == body


def test_a_bomb_goes_off_within_the_cap() -> None:
    """H063: inflating stops at the size limit, however small the answer was on the wire."""
    for name, (encoding, compress) in COMPRESSIONS.items():
        with case(name):
            bomb = compress(b"[" + b" " * 1_000_000 + b"]")
            bomb = bomb if len(bomb) < 10_000 else compress(b" " * 100_000)
            with RawServer(reply(bomb, f"Content-Encoding: {encoding}")) as server:
                assert refused(server.url).code == "too_large"


def test_inflating_takes_no_more_memory_than_the_cap() -> None:
    """H063: of 8 MB there are never two in memory, not even with two layers."""
    bombs = {name: compress(bytes(8_000_000)) for name, (_, compress) in COMPRESSIONS.items() if name != "twice"}
    for name, bomb in bombs.items():
        with case(name):
            tracemalloc.start()
            inflated(bomb, COMPRESSIONS[name][0], 500_000)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()

            assert peak < 2_000_000


UNREADABLE: dict[str, tuple[str, bytes]] = {
    "gzip-truncated": ("gzip", gzip.compress(b"{}")[:-3]),
    "deflate-truncated": ("deflate", zlib.compress(b"{}")[:-3]),
    "br-truncated": ("br", brotli.compress(b"{}")[:-1]),
    "zstd-truncated": ("zstd", zstandard.compress(b"{}")[:-1]),
    "unknown": ("made-up", gzip.compress(b"{}")),
    "four-layers": ("gzip, gzip, gzip, gzip", gzip.compress(b"{}")),
}


def test_a_compressed_answer_that_cannot_be_inflated_is_no_json() -> None:
    """H063: damaged or unknown compression is a typed error; an error status stays what it is."""
    for name, (encoding, body) in UNREADABLE.items():
        with case(name):
            with RawServer(reply(body, f"Content-Encoding: {encoding}")) as server:
                assert refused(server.url).code == "bad_response"
            with RawServer(reply(body, f"Content-Encoding: {encoding}", status="503 Busy")) as server:
                assert (ask(server.url).status, ask(server.url).body) == (503, None)


def test_a_label_does_not_make_an_answer_compressed() -> None:
    """H241: JSON is what parses as such: some servers name a character set, and some proxies inflate it themselves."""
    for label in ("Identity", "UTF-8", "none", "binary", "gzip", "br", "zstd", "deflate", "gzip, gzip, gzip, gzip"):
        with case(label):
            assert answering(b'{"a": 1}', f"Content-Encoding: {label}").body == {"a": 1}


# -- elsewhere ----------------------------------------------------------------------------------------------------


def test_a_redirect_is_never_followed() -> None:
    """H041, H053 to H057: 307 and 308 would carry a code elsewhere; the other server hears nothing."""
    for status, method in product([301, 302, 303, 307, 308, 300, 304, 399], ["GET", "POST"]):
        with (
            case(status, method),
            RawServer(reply(b"{}")) as other,
            RawServer(reply(b"", f"Location: {other.url}", status=f"{status} X")) as one,
        ):
            error = refused(one.url, method=method)

            assert error.code == "redirect_refused"
            assert len(one.heard) == 1
            assert other.heard == []


def test_cookies_are_not_sent_back(idp: Idp) -> None:
    """H078: a provider cannot recognise the kernel by a cookie, and no login session sticks to it."""
    idp.answers["/jwks"] = Told({}, headers={"Set-Cookie": "sid=1; Path=/"})

    for _ in range(2):
        ask(f"{idp.issuer}/jwks")

    assert idp.requests_to("/jwks") == 2
    assert all("cookie" not in request.headers for request in idp.requests)


def test_netrc_is_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, idp: Idp) -> None:
    """H077: a password that lies in ``~/.netrc`` for this host is not sent."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1\nlogin ada\npassword CANARY\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))

    ask(f"{idp.issuer}/jwks")

    assert "authorization" not in idp.last("/jwks").headers


def test_an_unknown_certificate_is_refused(tmp_path: Path) -> None:
    """H058: a self-signed certificate ends the request before a byte of it is sent."""
    with RawServer(reply(b"{}"), tls=self_signed(tmp_path)) as server:
        error = refused(server.url)

    assert (error.code, "self-signed" in str(error)) == ("certificate", True)
    assert server.heard == []


def self_signed(folder: Path) -> ssl.SSLContext:
    """A server's TLS context with a self-signed certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.timezone.utc)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now.replace(year=2099))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "pem").write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "pem")
    return context


# -- broken -------------------------------------------------------------------------------------------------------


def reset(connection: socket.socket) -> None:
    """Close with RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def reset_after(said: bytes) -> Callable[[socket.socket], None]:
    """Say something, then reset."""

    def talk(connection: socket.socket) -> None:
        connection.sendall(said)
        time.sleep(0.05)
        reset(connection)

    return talk


BROKEN = {
    "H064-closed-at-once": lambda _: None,
    "H064-reset-at-once": reset,
    "H064-reset-in-head": reset_after(b"HTTP/1.1 20"),
    "H064-reset-in-body": reset_after(HEAD + b"Content-Length: 10\r\n\r\n{}"),
    "H064-truncated": lambda connection: connection.sendall(HEAD + b"Content-Length: 10\r\n\r\n{}"),
    "H064-truncated-chunk": lambda connection: connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{}"),
    "H064-two-lengths": lambda c: c.sendall(HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
    "H064-bad-length": lambda c: c.sendall(HEAD + b"Content-Length: -2\r\n\r\n{}"),
    "H064-not-http": lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "H067-bad-header": lambda connection: connection.sendall(HEAD + b"X A: b\r\n\r\n{}"),
    "H067-NUL-in-header": lambda connection: connection.sendall(HEAD + b"X-A: \0\r\n\r\n{}"),
}


def test_a_broken_connection_is_a_typed_error() -> None:
    """H064, H067: whatever breaks on the way is ``network``, and the request is not sent again."""
    for name, talk in BROKEN.items():
        with case(name), RawServer(talk) as server:
            error = refused(server.url, method="POST")

            assert error.code == "network"
            assert len(server.heard) == 1


def test_a_refused_connection_is_a_typed_error() -> None:
    """H076: no server listens at the address."""
    error = refused(f"http://127.0.0.1:{free_port()}/")

    assert error.code == "connection_refused"
    assert "127.0.0.1" in str(error)


def test_an_error_never_quotes_the_request_or_the_answer() -> None:
    """I4: host and kind of failure are all that an error tells."""
    with RawServer(reply(b"CANARY", media_type="text/html")) as server:
        error = refused(server.url + "path?code=hush", method="POST")

    assert not any(word in str(error) + repr(error) for word in ("CANARY", "path", "hush"))


# -- JSON ---------------------------------------------------------------------------------------------------------

NO_JSON = {
    "H043-html": b"<html>",
    "H043-empty": b"",
    "H043-space": b"  ",
    "H043-invalid-UTF-8": b'{"a": "\xff"}',
    "H043-overlong-UTF-8": b'{"a": "\xc0\xaf"}',
    "H043-surrogate-in-UTF-8": b'{"a": "\xed\xa0\x80"}',
    "H043-UTF-16": '{"a": 1}'.encode("utf-16"),
    "H043-UTF-16-without-BOM": '{"a": 1}'.encode("utf-16-le"),
    "H043-UTF-32": '{"a": 1}'.encode("utf-32"),
    "H043-latin-1": '{"a": "é"}'.encode("latin-1"),
    "H043-NaN": b'{"a": NaN}',
    "H043-Infinity": b"[Infinity]",
    "H043-minus-Infinity": b"-Infinity",
    "H043-200000-brackets": b"[" * 200_000,
    "H043-200000-braces": b'{"a":' * 200_000,
    "H043-deep-and-closed": b"[" * 100_000 + b"]" * 100_000,
    "H043-5000-digits": b"1" * 5000,
    "H043-trailing": b"{} {}",
    "H043-trailing-comma": b'{"a": 1,}',
    "H043-single-quotes": b"{'a': 1}",
    "H043-comment": b"{} // yes",
    "H043-control-character": b'{"a": "\n"}',
    "H098-duplicate": b'{"access_token": "a", "access_token": "b"}',
    "H098-duplicate-deep": b'[{"a": {"b": 1, "b": 1}}]',
    "H098-duplicate-escaped": b'{"a": 1, "\\u0061": 2}',
}


def test_ambiguous_json_is_refused() -> None:
    """H043, H098: only one clear JSON value in UTF-8 (RFC 8259 §8.1) is decoded; all else is a ``ValueError``."""
    for name, body in NO_JSON.items():
        with case(name), pytest.raises(ValueError):  # noqa: PT011 - which of json's it is does not matter
            strict_json(body)


def test_a_success_without_json_is_a_typed_error() -> None:
    """H043, H098: what ``strict_json`` refuses, and ``null``, is refused with a code."""
    bodies = NO_JSON | {"H043-null": b"null"}
    with RawServer(in_turn([reply(body, "Connection: close") for body in bodies.values()])) as server:
        codes = {name: outcome(server.url, max_bytes=2_000_000) for name in bodies}

    assert codes == dict.fromkeys(bodies, "bad_response")


def test_an_error_without_json_is_an_error_without_body() -> None:
    """H071: a failure keeps its status; a body that is not JSON is None."""
    replies = [reply(body, "Connection: close", status="503 Busy") for body in NO_JSON.values()]
    with RawServer(in_turn(replies)) as server:
        answers = [ask(server.url, max_bytes=2_000_000) for _ in replies]

    assert {(answer.status, answer.ok, str(answer.body)) for answer in answers} == {(503, False, "None")}


def test_a_success_may_be_empty_where_the_caller_says_so() -> None:
    """A revocation endpoint answers 200 and nothing (RFC 7009 §2.2)."""
    for body in [b"", b"<html>"]:
        with case(body):
            with RawServer(reply(body, media_type="text/html")) as server:
                answer = ask(server.url, expect_json=False)

            assert (answer.ok, answer.body) == (True, None)
    with RawServer(b"HTTP/1.1 204 No Content\r\n\r\n") as server:
        assert ask(server.url, expect_json=False).ok, "so do Salesforce and Ory, with 204"


def test_any_json_value_is_decoded() -> None:
    """Any JSON value is decoded; the caller checks that it is an object."""
    for body in [b"[]", b'"x"', b"1", b"true", b'\n\t {"a": 1e3}\r\n']:
        with case(body):
            assert answering(body).body == json.loads(body)


JSON_TYPES = ["application/json", "Application/JSON; charset=utf-8", "application/jwk-set+json", "application/json;"]


def test_json_says_that_it_is_json() -> None:
    """H066, H171: both JSON media types are read, whatever their case and parameters."""
    for media_type in JSON_TYPES:
        with case(media_type):
            assert answering(b"{}", media_type=media_type).body == {}


OTHER_TYPES = [
    None,
    "",
    "text/html",
    "text/plain",
    "text/json",
    "application/jwt",
    "application/jsonp",
    "x, application/json",
]


def test_an_object_is_json_whatever_its_label() -> None:
    """H241, H066: a JSON object is read under any media type, also with a byte order mark."""
    for media_type in [*OTHER_TYPES, "application/json"]:
        with case(media_type):
            assert answering(b'{"a": 1}', media_type=media_type).body == {"a": 1}
            assert answering(b'\xef\xbb\xbf {"a": 1}\n', media_type=media_type).body == {"a": 1}


def test_what_is_no_object_needs_its_label() -> None:
    """H066, H188: a page, a number or a token under another media type is not JSON."""
    for media_type, body in product(
        OTHER_TYPES, [b"<html>", b"1", b'"eyJ.e30.x"', b"[]", b"eyJ.e30.x", b'{"a":1,"a":2}']
    ):
        with case(media_type, body), RawServer(reply(body, media_type=media_type)) as server:
            assert refused(server.url).code == "bad_response"


def test_a_json_web_token_is_text_where_one_may_come() -> None:
    """H244: signed or encrypted, it is returned as it is; a page is not one."""
    for body, expected in [(b"eyJ.e30.x\n", "eyJ.e30.x"), (b"a.b.c.d.e", "a.b.c.d.e"), (b'{"a": 1}', {"a": 1})]:
        with case(body), RawServer(reply(body, media_type="application/jwt")) as server:
            assert ask(server.url, jwt_answer=True).body == expected
    with RawServer(reply(b"<html>\xff.x.y", media_type="text/html")) as server:
        assert refused(server.url, jwt_answer=True).code == "bad_response"


def test_every_2xx_is_success() -> None:
    """H241, H065: some providers answer 201; other statuses are returned with their JSON, and are not a success."""
    for status in [200, 201, 202, 206, 226, 400, 401, 403, 404, 408, 418, 429, 500, 502, 503, 504]:
        with case(status):
            answer = answering(b'{"error": "x"}', status=f"{status} X")

            assert (answer.status, answer.ok, answer.body) == (status, status < 300, {"error": "x"})


@pytest.mark.parametrize(("shift", "ahead"), [(0, 0), (1, 0), (-600, 600), (600, -600)])
def test_an_answer_says_how_far_our_clock_is_ahead(shift: float, ahead: float) -> None:
    """H243: by the server's ``Date``; less than two seconds may be the duration of the request."""
    date = format_datetime(dt.datetime.now(dt.timezone.utc) + dt.timedelta(seconds=shift), usegmt=True)

    assert answering(b"{}", f"Date: {date}").ahead == pytest.approx(ahead, abs=3 if ahead else 0)


# -- Retry-After --------------------------------------------------------------------------------------------------


RETRY_AFTER: list[tuple[str | None, float | None]] = [
    ("0", 0.0),
    ("7", 7.0),
    (" 7 ", 7.0),
    ("3600", 3600.0),
    ("3601", 3600.0),
    ("1000000000", 3600.0),
    ("9" * 400, 3600.0),
    ("", None),
    ("-5", None),
    ("1.5", None),
    ("soon", None),
    ("0x10", None),
    ("\xb2", None),
    (None, None),
    ("Wed, 99 Oct 2015 07:28:00 GMT", None),
    ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    ("Fri, 31 Dec 9999 23:59:59 GMT", 3600.0),
    ("Fri, 31 Dec 9999 23:59:59 -2300", 3600.0),
]


def test_retry_after_is_read_and_clamped() -> None:
    """H073: seconds or a date, at most an hour; a past date means now, garbage means nothing."""
    for value, expected in RETRY_AFTER:
        with case(value):
            assert _retry_after(value) == expected


def test_retry_after_may_be_a_date() -> None:
    """H073: an HTTP date is the time until then."""
    when = dt.datetime.now(dt.timezone.utc) + dt.timedelta(seconds=90)

    answer = answering(b"{}", f"Retry-After: {format_datetime(when, usegmt=True)}", status="429 Slow")

    assert answer.retry_after == pytest.approx(90, abs=3)


# -- addresses ----------------------------------------------------------------------------------------------------

GOOD_URLS = [
    "https://idp.example",
    "https://idp.example/",
    "https://idp.example:8443/realms/x?p=a&b=",
    "HTTPS://IDP.EXAMPLE/",
    "https://xn--bcher-kva.example/",
    "https://192.0.2.1/",
    "https://[2001:db8::1]/",
    "http://localhost/",
    "http://LOCALHOST:8080/",
    "http://127.0.0.1:1/a",
    "http://127.8.8.8/",
    "http://[::1]:8080/",
]


def test_a_good_address_is_accepted() -> None:
    """Https anywhere, and http where it does not leave the machine."""
    for url in GOOD_URLS:
        with case(url):
            check_url(url)


BAD_URLS = [
    "",
    " ",
    "https://",
    "https:///path",
    "https:idp.example",
    "https://:443/",
    "//idp.example/",
    "/token",
    "token",
    "idp.example",
    "http://idp.example/",
    "http://127.0.0.1.evil.example/",
    "http://localhost.evil.example/",
    "http://evil.example/localhost",
    "http://evil.example?@localhost/",
    "http://evil.example#@localhost/",
    "http://0.0.0.0/",
    "http://10.0.0.1/",
    "http://2130706433/",
    "http://[::]/",
    "https://user@idp.example/",
    "https://user:pass@idp.example/",
    "https://:pass@idp.example/",
    "https://@idp.example/",
    "https://idp.example\\@evil.example/",
    "https://idp.example\\.evil.example/",
    "https://idp.example/#x",
    "https://idp.example/#",
    "https://idp.example/?a#b",
    "https://idp.example/a b",
    "https://idp example/",
    " https://idp.example/",
    "https://idp.example/ ",
    "https://idp.example/\n",
    "https://idp.example/\r\nHost: evil.example",
    "https://idp\t.example/",
    "https://idp.example/\0",
    "\0https://idp.example/",
    "https://idp.example/\x7f",
    "https://idp.éxample/",
    "https://idp.example/é",
    "https://[::1",
    "https://[::zz]/",
    "https://idp.example:x/",
    "https://idp.example:65536/",
    "file:///etc/passwd",
    "file://localhost/etc/passwd",
    "data:application/json,{}",
    "javascript:alert(1)",
    "javascript://localhost/%0aalert(1)",
    "ftp://localhost/",
    "ws://localhost/",
    "unix:///run/x",
]


def test_a_bad_address_is_refused() -> None:
    """H038 to H040: no other scheme, no http beyond this machine, nothing that hides or that parsers disagree about."""
    for url in BAD_URLS:
        with case(url):
            with pytest.raises(TokenError) as caught:
                check_url(url)

            assert caught.value.code == "insecure_url"


def test_a_bad_address_is_refused_before_anything_is_sent() -> None:
    """A request checks its address itself."""
    with RawServer(reply(b"{}")) as server:
        for url in [server.url + "#x", server.url.replace("127.0.0.1", "ada:pw@127.0.0.1")]:
            assert refused(url).code == "insecure_url"

    assert server.heard == []


IMPOSSIBLE_URLS = [
    "https://xn--/",
    "https://xn--a.invalid/",
    f"https://{'a' * 70}.invalid/",
    "https://a..invalid/",
    "https://%00/",
]


def test_an_impossible_host_is_a_typed_error() -> None:
    """A host that no resolver can look up is ``insecure_url``, or cannot be reached; not a crash."""
    for url in IMPOSSIBLE_URLS:
        with case(url):
            assert refused(url).code in {"insecure_url", "unknown_host", "network"}


def test_a_header_that_cannot_be_sent_is_a_typed_error() -> None:
    """H079: a token from a damaged store adds no header, crashes nothing, and is not in httpcore's debug log either."""
    for token in ["CANARY\r\nX-Evil: 1", "CANARY\0", "CANARYé", "CANARY\ud800"]:
        with case(token):
            with RawServer(reply(b"{}")) as server:
                assert not outcome(server.url, headers={"Authorization": f"Bearer {token}"}).isdigit()

            assert b"".join(server.heard) == b""


HOSTS = [
    ("localhost", True),
    ("127.0.0.1", True),
    ("127.255.255.254", True),
    ("::1", True),
    ("", False),
    ("localhost.", False),
    ("keycloak.localhost", True),
    ("a.b.localhost", True),
    ("xlocalhost", False),
    ("localhost.example", False),
    ("0.0.0.0", False),  # noqa: S104 - no binding
    ("128.0.0.1", False),
    ("::", False),
    ("::2", False),
    ("idp.example", False),
]


INTERNAL = [
    "localhost", "localhost.", "LOCALHOST", "api.localhost", "printer.local", "metadata.google.internal",
    "intranet", "db01", "127.0.0.1", "127.1", "127.0.0.1.", "2130706433", "0x7f.1", "0x7f000001", "0177.0.0.1",
    "1.2.3.4.5", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "192.0.2.1",  # noqa: S104 - no binding
    "224.0.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "::ffff:10.0.0.1", "ff02::1",
]  # fmt: skip
PUBLIC = [
    "idp.example.org", "localhost.example.org", "10.example.org", "8.8.8.8", "8.8.8.8.", "::ffff:8.8.8.8",
    "2606:4700::1111", "a.1x",
]  # fmt: skip


def test_internal_hosts_are_known_by_name() -> None:
    """Private, loopback and link-local addresses in every notation, and names that only a private network resolves."""
    for host in (*INTERNAL, *PUBLIC):
        with case(host):
            assert is_internal(host) is (host in INTERNAL)


def test_loopback_is_known_by_name() -> None:
    """H269: ``localhost``, names below it and loopback addresses are this machine, not what DNS could point here."""
    for host, expected in HOSTS:
        with case(host):
            assert is_loopback(host) is expected
