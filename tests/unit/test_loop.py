"""The background loop: callable from any thread and loop, without frames in its errors, and never blocking a caller."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pywry_auth_nb import AuthenticationError, AuthFlowManager, OAuthTokenSet, SessionManager, TokenError
from pywry_auth_nb._io.loop import Serial, get_loop, on_background, on_loop, run, submit
from tests.conftest import REDIRECT_URI, sign_in
from tests.support.idp import Answer, Idp
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

ROOT = Path(__file__).parents[2]
posix = pytest.mark.skipif(os.name != "posix", reason="Windows has no fork, and no SIGINT for one process")

#: The beginning of every program that the tests run: a session that is signed in, without a request so far.
PRELUDE = """
import asyncio, contextlib, json, os, signal, sys, threading, time
from pywry_auth_nb import *
from pywry_auth_nb._io import loop as _loop

def until(condition):
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)

def tokens(**changes):
    given = {"access_token": "CANARY-at-1", "refresh_token": "CANARY-rt-1", "expires_in": 3600}
    return OAuthTokenSet(**given | changes)

def over():
    return tokens(expires_in=10, issued_at=time.time() - 100)

def code_of(call):
    try:
        call()
    except AuthenticationError as error:
        return f"{type(error).__name__} {error.code}"

def in_child(report):
    # Call report in a forked child and return what it returned; a child that hangs is killed.
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(8)
        os.write(writing, json.dumps(report()).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the child ended with {status}"
    return json.loads(said)

provider = GenericOIDCProvider("pywry", issuer_url=sys.argv[1])
session = SessionManager(provider)
asyncio.run(session.save_tokens(tokens()))
"""


@pytest.fixture
def idp(idp: Idp) -> Idp:
    """The provider, which knows the refresh token of the programs."""
    idp.refresh_tokens["CANARY-rt-1"] = True
    return idp


@contextmanager
def program(code: str, idp: Idp) -> Iterator[subprocess.Popen[str]]:
    """A Python program that begins with ``PRELUDE``."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        # Python 3.12 and later warn of what these tests do on purpose
        [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", PRELUDE + code, idp.issuer],
        cwd=ROOT,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def said_by(code: str, idp: Idp) -> Any:
    """Run a program and return what its last line says, as JSON."""
    with program(code, idp) as process:
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    late = "not revoked (timeout)"  # on a busy machine
    assert [line for line in err.splitlines() if not line.endswith(late)] == []
    return json.loads(out.splitlines()[-1])


class Where:
    """Something with an async method that says which thread it runs on."""

    @on_loop
    async def thread(self) -> str:
        """Return the thread's name."""
        await asyncio.sleep(0)
        return threading.current_thread().name

    @on_loop
    async def nested(self) -> str:
        """Call the other one from the loop itself."""
        return await self.thread()


# -- run() ------------------------------------------------------------------------------------------------------


def test_run_waits_on_a_plain_thread() -> None:
    """A thread without a loop gets the result; the work is done on the background thread."""
    assert run(Where().thread(), 5) == "pywry-auth"
    assert threading.current_thread().name != "pywry-auth"


def test_run_waits_inside_a_running_loop() -> None:
    """R35: an async cell may make a plain call; its own loop need not do anything for that."""

    async def cell() -> str:
        return run(Where().thread(), 5)

    assert asyncio.run(cell()) == "pywry-auth"


def test_run_on_the_background_loop_is_refused() -> None:
    """R35: waiting there could never end, so it is an error that says what to do."""

    async def on_the_loop() -> AuthenticationError:
        with pytest.raises(AuthenticationError) as caught:
            run(Where().thread(), 5)
        return caught.value

    error = submit(on_the_loop()).result(5)

    assert error.code == "wrong_thread"
    assert "async" in error.message


def test_reading_an_old_token_on_the_background_loop_is_refused(session: SessionManager) -> None:
    """A store or provider that reads ``access_token`` from within gets an error and no deadlock."""

    async def on_the_loop() -> AuthenticationError:
        with pytest.raises(AuthenticationError) as caught:
            _ = session.access_token
        return caught.value

    assert submit(on_the_loop()).result(5).code == "wrong_thread"


def test_run_has_a_deadline_and_cancels() -> None:
    """When time is up the work is cancelled, and the error says so without an inner one."""
    cancelled = threading.Event()

    async def slow() -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with pytest.raises(AuthenticationError) as caught:
        run(slow(), 0.05)

    assert caught.value.code == "timeout"
    assert caught.value.__suppress_context__
    assert cancelled.wait(5)


def test_a_time_out_of_the_work_itself_is_not_ours() -> None:
    """A ``TimeoutError`` that the work raises arrives as what it is."""

    async def fail() -> None:
        raise asyncio.TimeoutError("mine")

    with pytest.raises(asyncio.TimeoutError, match="mine"):
        run(fail(), 5)


# -- on_loop ----------------------------------------------------------------------------------------------------


def test_an_async_method_runs_on_the_background_from_everywhere() -> None:
    """R34: from any loop, from several loops at once, and from the background loop itself."""
    where = Where()
    names: list[str] = []
    threads = [threading.Thread(target=lambda: names.append(asyncio.run(where.thread()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)

    assert names == ["pywry-auth"] * 8
    assert asyncio.run(where.nested()) == "pywry-auth"
    assert sum(thread.name == "pywry-auth" for thread in threading.enumerate()) == 1


def test_giving_up_an_awaited_call_cancels_it() -> None:
    """Cancelling an awaited call cancels its work."""
    cancelled = threading.Event()

    class Slow:
        @on_loop
        async def sleep(self) -> None:
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                cancelled.set()
                raise

    async def impatient() -> None:
        await asyncio.wait_for(Slow().sleep(), 0.05)

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(impatient())

    assert cancelled.wait(5)


def test_the_callers_loop_is_not_the_background() -> None:
    """Only the background loop counts as one."""

    async def ask() -> bool:
        return on_background()

    assert not asyncio.run(ask())
    assert submit(ask()).result(5)
    assert not on_background()


# -- errors -----------------------------------------------------------------------------------------------------


async def dead_refresh(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """A refresh token that the provider no longer takes."""
    await flow.complete(idp.authorize((await flow.begin(REDIRECT_URI)).url))
    idp.refresh_tokens.clear()
    await session.refresh()


async def awaited_reading(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """An expired token with a revoked refresh token, read with await."""
    await session.save_tokens(OAuthTokenSet("CANARY-at", refresh_token="CANARY-no", expires_in=10, issued_at=1))
    await session.get_access_token()


async def plain_reading(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """The same, read as an attribute."""
    await session.save_tokens(OAuthTokenSet("CANARY-at", refresh_token="CANARY-no", expires_in=10, issued_at=1))
    _ = session.access_token


async def bad_code(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """A code that the provider does not know."""
    await flow.complete(idp.authorize((await flow.begin(REDIRECT_URI)).url) | {"code": "CANARY-code"})


async def bad_id_token(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """Tokens came, and the ID token among them is not valid."""
    idp.claims = {"aud": "somebody else"}
    await flow.complete(idp.authorize((await flow.begin(REDIRECT_URI)).url))


async def bad_token_answer(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """Tokens came in an answer that is malformed."""
    idp.token_extra = {"access_token": "CANARY\n"}
    await flow.complete(idp.authorize((await flow.begin(REDIRECT_URI)).url))


async def no_provider(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """The provider hangs up in the middle of its answer."""
    await flow.begin(REDIRECT_URI)
    idp.answers["/token"] = Answer(b"{", headers={"Content-Length": "9"})
    await flow.provider.exchange_code("CANARY-code", REDIRECT_URI, "CANARY-verifier")


@pytest.mark.parametrize(
    "fail", [dead_refresh, awaited_reading, plain_reading, bad_code, bad_id_token, bad_token_answer, no_provider]
)
def test_an_error_leaves_without_the_frames_that_did_the_work(
    session: SessionManager, flow: AuthFlowManager, idp: Idp, fail: Any
) -> None:
    """Finding 0.10: what a traceback shows of us is the border alone; cause and context are gone as well."""
    with pytest.raises(TokenError) as caught:
        asyncio.run(fail(session, flow, idp))

    error = caught.value
    ours = {Path(file).name for file, _ in frames(error.__traceback__) if "pywry_auth_nb" in file}
    assert error.__cause__ is None
    assert error.__context__ is None
    assert ours <= {"loop.py", "session.py"}
    for file, variables in frames(error.__traceback__):
        if "tests" not in Path(file).parts:
            assert "CANARY" not in repr(variables)


def test_an_error_that_others_see_later_has_no_frames_either(signed_in: SessionManager, idp: Idp) -> None:
    """``session.error`` is a plain value: it does not keep alive what its frames knew."""
    idp.refresh_tokens.clear()
    with pytest.raises(TokenError):
        asyncio.run(signed_in.refresh())
    error = signed_in.error

    assert error is not None
    assert (error.__traceback__, error.__cause__, error.__context__) == (None, None, None)


def frames(traceback: TracebackType | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """File and variables of each frame."""
    while traceback is not None:
        yield traceback.tb_frame.f_code.co_filename, dict(traceback.tb_frame.f_locals)
        traceback = traceback.tb_next


# -- Serial -----------------------------------------------------------------------------------------------------


def test_a_queue_keeps_its_order() -> None:
    """Functions run one after another, in the order they were queued, and the caller does not wait."""
    serial, done, running, queued = Serial(), list[int](), threading.Lock(), threading.Event()

    def work(number: int) -> None:
        with running:
            queued.wait(10)
            time.sleep(0.01)
            done.append(number)

    for number in range(20):
        serial(lambda number=number: work(number))  # type: ignore[misc]
        assert done == [], "the caller waits"
    queued.set()
    until(lambda: len(done) == 20)

    assert done == list(range(20))


def test_a_blocked_queue_blocks_itself_alone() -> None:
    """An observer that never returns holds up neither the loop nor another queue."""
    release, reached = threading.Event(), threading.Event()
    Serial()(release.wait)
    Serial()(reached.set)

    assert reached.wait(5)
    assert run(Where().thread(), 5) == "pywry-auth"
    release.set()


def test_a_broken_function_does_not_silence_the_next(caplog: pytest.LogCaptureFixture) -> None:
    """What it raised is logged by its type alone: the message may hold anything."""
    serial, reached = Serial(), threading.Event()

    def broken() -> None:
        raise ValueError("do not write me down")

    with caplog.at_level(logging.DEBUG):
        serial(broken)
        serial(reached.set)
        assert reached.wait(5)

    assert "ValueError" in caplog.text
    assert "write me down" not in caplog.text


def test_an_idle_queue_has_no_thread() -> None:
    """R41: threads live while there is work."""
    before = threading.active_count()
    queues = [Serial() for _ in range(50)]
    for serial in queues:
        serial(lambda: None)
    until(lambda: threading.active_count() <= before)


# -- interrupts, exits and forks: in programs of their own ------------------------------------------------------


@posix
def test_an_interrupt_ends_the_waiting_and_not_the_work(idp: Idp) -> None:
    """R42: Ctrl-C while a token is renewed goes to the cell; the new token is there a moment later."""
    gate = threading.Event()
    idp.answers["/token"] = Answer(gate=gate)
    code = """
asyncio.run(session.save_tokens(over()))
try:
    print("reading", flush=True)
    session.access_token
except KeyboardInterrupt:
    print("interrupted", session.status, flush=True)
until(lambda: session.status == "signed_in")
print(json.dumps([session.access_token != "CANARY-at-1", code_of(lambda: session.access_token)]))
"""
    with program(code, idp) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "reading\n"
        until(lambda: idp.requests_to("/token") == 1, seconds=20)
        time.sleep(0.2)
        interrupted = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted refreshing\n"
        assert time.monotonic() - interrupted < 5
        gate.set()
        out, err = process.communicate(timeout=20)

    assert (json.loads(out), err) == ([True, None], "")
    assert idp.requests_to("/token") == 1


def test_leaving_does_not_wait_for_the_name_of_a_host(idp: Idp) -> None:
    """R40: nor for a name server that does not answer."""
    code = """
import socket
socket.getaddrinfo = lambda *_, **__: time.sleep(15)
provider = GenericOIDCProvider("me", issuer_url="https://slow.example.org")
print(code_of(lambda: _loop.run(provider.prepare(), 0.5)), flush=True)
"""
    with program(code, idp) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "AuthenticationError timeout\n"
        leaving = time.monotonic()
        _, err = process.communicate(timeout=20)

    assert time.monotonic() - leaving < 6
    assert err == ""


@pytest.mark.parametrize(
    "way",
    [
        "pass",
        "sys.exit(0)",
        "threading.Thread(target=lambda: code_of(lambda: session.access_token), daemon=True).start(); time.sleep(0.1)",
        "asyncio.run(asyncio.wait_for(session.refresh(), 0.1))",
    ],
    ids=["end", "exit", "reader", "awaiter"],
)
def test_leaving_does_not_wait_for_a_refresh(idp: Idp, way: str) -> None:
    """R40: a process that ends while a refresh hangs is gone at once and writes nothing about it."""
    idp.answers["/token"] = Answer(delay=15)
    code = f"""
asyncio.run(session.save_tokens(over()))
sys.stdin.readline()
with contextlib.suppress(asyncio.TimeoutError):
    {way}
"""
    with program(code, idp) as process:
        until(lambda: idp.requests_to("/token") == 1, seconds=20)
        leaving = time.monotonic()
        _, err = process.communicate("leave\n", timeout=20)

    assert time.monotonic() - leaving < 6
    assert err == ""


@posix
def test_a_forked_child_reads_and_asks_on_a_loop_of_its_own(idp: Idp) -> None:
    """R38: the parent's thread is not there, so the child starts one: it reads the token and talks to the provider."""
    report = said_by(
        """
parents = _loop.get_loop()
def report():
    return [
        session.access_token == "CANARY-at-1",
        asyncio.run(session.get_access_token()) == "CANARY-at-1",
        asyncio.run(provider.get_userinfo(session.access_token))["name"],
        _loop.get_loop() is not parents,
        session.status,
    ]
print(json.dumps([in_child(report), _loop.get_loop() is parents]))
""",
        idp,
    )

    assert report == [[True, True, "Ada Lovelace", True, "signed_in"], True]


@posix
def test_a_forked_child_renews_nothing(idp: Idp) -> None:
    """R38: a refresh token that two processes use is revoked as stolen, so the child refuses with a code."""
    report = said_by(
        """
def report():
    refused = code_of(lambda: asyncio.run(session.refresh()))
    status = session.status
    asyncio.run(session.save_tokens(over()))
    return [refused, status, code_of(lambda: session.access_token)]
child = in_child(report)
print(json.dumps([child, session.access_token == "CANARY-at-1", code_of(lambda: asyncio.run(session.refresh()))]))
""",
        idp,
    )

    assert report == [["TokenRefreshError forked", "signed_in", "TokenExpiredError forked"], True, None]
    assert idp.requests_to("/token") == 1, "the parent's own"


@posix
def test_a_child_that_is_forked_during_a_refresh_does_not_hang(idp: Idp) -> None:
    """R38: the parent's refresh is not the child's: the child reads, refuses to renew, and the parent goes on."""
    gate = threading.Event()
    idp.answers["/token"] = Answer(gate=gate)
    code = """
refreshing = threading.Thread(target=lambda: asyncio.run(session.refresh()))
refreshing.start()
until(lambda: session.status == "refreshing")
time.sleep(0.2)
def report():
    return [session.access_token == "CANARY-at-1", code_of(lambda: asyncio.run(session.refresh()))]
print(json.dumps(in_child(report)), flush=True)
refreshing.join(15)
print(json.dumps([session.access_token != "CANARY-at-1", session.status]))
"""
    with program(code, idp) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline() or "null") == [True, "TokenRefreshError forked"]
        gate.set()
        out, err = process.communicate(timeout=20)

    assert (json.loads(out), err) == ([True, "signed_in"], "")
    assert idp.requests_to("/token") == 1


#: What a child may do with a session before it reads a token.
FIRST_DEEDS = {
    "read": "session.access_token",
    "hand a token in that an API rejected": "run(session._engine.refresh_rejected('CANARY-other'), 5)",
    "change a setting": "session.refresh_buffer_seconds = 30; time.sleep(0.1)",
    "load": "asyncio.run(session.initialize())",
}


@posix
@pytest.mark.parametrize("deed", FIRST_DEEDS.values(), ids=FIRST_DEEDS)
def test_a_forked_child_hears_of_the_parents_sign_out(idp: Idp, deed: str) -> None:
    """R38: the child watches the store on a loop of its own, whatever it does first."""
    report = said_by(
        f"""
from pywry_auth_nb._io.loop import run
import tempfile
session = SessionManager(session.provider, FileTokenStore(tempfile.mkdtemp() + "/tokens"))
asyncio.run(session.save_tokens(tokens()))
told, tell = os.pipe()
def report():
    {deed}
    os.write(tell, b"x")
    end = time.monotonic() + 7
    while time.monotonic() < end:
        try:
            session.access_token
        except LoginRequired:
            return True
        time.sleep(0.05)
    return False
def sign_out():
    os.read(told, 1)
    asyncio.run(session.logout())
threading.Thread(target=sign_out).start()
print(json.dumps(in_child(report)))
""",
        idp,
    )

    assert report is True


@posix
@pytest.mark.parametrize("moment", ["busy", "locked"])
def test_a_forked_child_has_its_own_queues(idp: Idp, moment: str) -> None:
    """R38: whatever the parent's observers were doing, a change in the child is heard there and hangs nothing."""
    report = said_by(
        f"""
moment = {moment!r}
forked, heard = threading.Event(), []
session.observe(lambda change: heard.append(change.new), names="status")
if moment == "busy":
    session._engine.notifier._observers(lambda: forked.wait(10))
else:
    def hold():
        with session._engine.notifier._observers._lock:
            forked.wait(10)
    threading.Thread(target=hold).start()
time.sleep(0.1)
def report():
    asyncio.run(session.logout())
    until(lambda: heard)
    return heard
child = in_child(report)
forked.set()
print(json.dumps(child))
""",
        idp,
    )

    assert report == ["signed_out"]


@posix
def test_a_child_can_have_a_session_of_its_own(idp: Idp) -> None:
    """R38: a session that is made in the child is renewed there."""
    report = said_by(
        """
def report():
    mine = SessionManager(provider)
    asyncio.run(mine.save_tokens(tokens()))
    asyncio.run(mine.refresh())
    return mine.access_token != "CANARY-at-1"
print(json.dumps(in_child(report)))
""",
        idp,
    )

    assert report is True


def test_the_background_loop_is_made_once() -> None:
    """However many threads ask first, they all get the same loop."""
    loops: list[object] = []
    threads = [threading.Thread(target=lambda: loops.append(get_loop())) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)

    assert len(loops) == 16
    assert set(map(id, loops)) == {id(get_loop())}


def test_the_provider_is_asked_from_three_loops(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """Finding 0.5: three loops in three threads share one session; none of them hangs or is told of another loop."""
    sign_in(flow, idp)
    threads = [threading.Thread(target=lambda: asyncio.run(session.refresh()), daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)

    assert not any(thread.is_alive() for thread in threads)
    assert session.error is None
    assert idp.requests_to("/token") <= 4
