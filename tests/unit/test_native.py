"""`AuthFlowManager.run_native`, `authenticate` and `run_deploy`: signing in with a window or browser of this machine.

``show_window`` is the browser here: it signs in at a real provider on loopback, and brings the answer over real HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import webbrowser
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import psutil
import pytest

from pywry_auth_nb import (
    AuthenticationError,
    AuthFlowCancelled,
    AuthFlowManager,
    AuthFlowResult,
    AuthFlowState,
    AuthFlowTimeout,
    ConfigurationError,
    GenericOIDCProvider,
    LoginRequired,
    MemoryTokenStore,
    SessionManager,
    TokenError,
)
from pywry_auth_nb._io.loop import submit
from pywry_auth_nb._io.loopback_server import LoopbackServer
from pywry_auth_nb._sign_in import browser as browser_module
from pywry_auth_nb._sign_in import channel, front_end, terminal
from pywry_auth_nb._sign_in import notebook as notebook_module
from tests.conftest import REDIRECT_URI, sign_in
from tests.support.idp import CLIENT, Answer, Idp
from tests.support.stores import GatedStore
from tests.support.waiting import patience, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from pywry_auth_nb.token_store import Record

DEFAULT_CONFIG = {"title": "Sign In", "width": 500, "height": 700, "center": True, "resizable": True}


class Window:
    """A browser window: opens the address, signs in, follows back, and remembers the page it ends on.

    ``change`` alters the provider's answer, ``before`` is done with the redirect URI first. The person thinks for
    ``wait`` seconds; a window that is closed meanwhile brings no answer.
    """

    def __init__(
        self, idp: Idp, before: Callable[[str], object] = lambda _: None, *, wait: float = 0.0, **change: str | None
    ) -> None:
        self.idp, self.before, self.wait, self.change = idp, before, wait, change
        self.url = self.redirect_uri = self.page = ""
        self.status = 0
        self.config: dict[str, Any] = {}
        self.closed: list[object] = []
        self._gone = threading.Event()
        self._thread = threading.Thread(target=self._go, daemon=True)

    def show(self, url: str, config: dict[str, Any]) -> str:
        """Open, and return at once as a window does."""
        self.url, self.config = str(url), config
        self.redirect_uri = dict(parse_qsl(urlsplit(url).query))["redirect_uri"]
        self._thread.start()
        return "label"

    def close(self, label: object) -> None:
        """Close."""
        self.closed.append(label)
        self._gone.set()

    def _go(self) -> None:
        self.before(self.redirect_uri)
        if self.wait and self._gone.wait(self.wait):
            return
        with contextlib.suppress(OSError):  # in some tests the server has stopped
            self.status, self.page = visit(self.redirect_uri, self.idp.authorize(self.url, **self.change))

    def read(self) -> tuple[int, str]:
        """The status and the heading of the page that the person is left with."""
        self._thread.join(5)
        return self.status, self.page.partition("<h1>")[2].partition("</h1>")[0]


def visit(redirect_uri: str, params: dict[str, str], **headers: str) -> tuple[int, str]:
    """Go to the callback, and return the status and the page."""
    request = urllib.request.Request(f"{redirect_uri}?{urlencode(params)}", headers=headers)  # noqa: S310 - loopback
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            return response.status, response.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


def is_free(redirect_uri: str) -> bool:
    """Whether no program listens at the port."""
    parts = urlsplit(redirect_uri)
    with socket.socket() as probe:
        return probe.connect_ex((parts.hostname, parts.port)) != 0


def has_closed(redirect_uri: str) -> bool:
    """Whether this process does not listen at the port; another one may have taken it at once."""
    port, all_ports = urlsplit(redirect_uri).port, psutil.Process().net_connections("tcp")
    return not any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in all_ports)


def impatient(flow: AuthFlowManager, seconds: float) -> AuthFlowManager:
    """The same with an ``auth_timeout``."""
    return AuthFlowManager(flow.provider, session_manager=flow.session, auth_timeout=seconds)


def fails(flow: AuthFlowManager, window: Window) -> tuple[AuthenticationError, float]:
    """Sign in in a way that must fail, and return the error and the seconds it took."""
    began = time.monotonic()
    with pytest.raises(AuthenticationError) as caught:
        flow.run_native(window.show, window.close)
    return caught.value, time.monotonic() - began


def meanwhile(condition: Callable[[], object], act: Callable[[], object]) -> None:
    """Do something, on another thread, as soon as ``condition`` holds."""

    def work() -> None:
        until(condition)
        act()

    threading.Thread(target=work, daemon=True).start()


def nothing(*_: object) -> str:
    """A window whose user does nothing."""
    return "label"


# -- it works ---------------------------------------------------------------------------------------------------


def test_run_native_signs_in(flow: AuthFlowManager, idp: Idp) -> None:
    """A window opens at the provider, the answer comes to loopback (RFC 8252 §7.3), the page says who signed in."""
    window = Window(idp)
    result = flow.run_native(window.show, window.close)

    assert result.success
    assert result.tokens is flow.session._engine.state.tokens
    assert result.user_info == flow.session.user
    assert (flow.flow_state, flow.session.status) == (AuthFlowState.COMPLETED, "signed_in")
    assert window.read() == (200, "Signed in as Ada Lovelace")
    assert (window.config, window.closed) == (DEFAULT_CONFIG, ["label"])
    assert urlsplit(window.redirect_uri).hostname == "127.0.0.1"
    assert has_closed(window.redirect_uri)


def test_run_native_checks_what_the_notebook_checks(flow: AuthFlowManager, idp: Idp) -> None:
    """B2, B4: the native flow, too, sends state, nonce and PKCE, and the verifier goes to the provider alone."""
    window = Window(idp)
    flow.run_native(window.show)
    asked = dict(parse_qsl(urlsplit(window.url).query))

    assert asked.keys() >= {"state", "nonce", "code_challenge"}
    assert asked["code_challenge_method"] == "S256"
    assert idp.last("/token").form["redirect_uri"] == window.redirect_uri
    assert idp.last("/token").form["code_verifier"] not in window.url


@pytest.mark.parametrize(
    ("change", "claims", "code", "status"),
    [
        ({"code": None, "error": "access_denied"}, {}, "access_denied", 400),
        ({"code": None, "error": "server_error"}, {}, "server_error", 400),
        ({"code": None, "error": "<b>Mallory"}, {}, "provider_error", 400),
        ({"iss": "https://evil.example"}, {}, "issuer_mismatch", 400),
        ({"iss": None}, {}, "issuer_missing", 400),
        ({"code": None}, {}, "invalid_response", 400),
        ({"error": "access_denied"}, {}, "invalid_response", 400),
        ({"code": "stolen"}, {}, "invalid_grant", 400),
        ({}, {"nonce": "another"}, "id_token_nonce", 400),
    ],
)
def test_run_native_raises_what_went_wrong(
    flow: AuthFlowManager, idp: Idp, change: dict[str, str | None], claims: dict[str, str], code: str, status: int
) -> None:
    """B2, B4: an answer that is refused ends it with its error, which the page shows too; nothing is left open."""
    idp.claims = dict(claims)
    window = Window(idp, **change)
    error, _ = fails(flow, window)
    cancelled = code == "access_denied"

    assert error.code == code
    assert isinstance(error, AuthFlowCancelled) is cancelled
    assert flow.flow_state is (AuthFlowState.CANCELLED if cancelled else AuthFlowState.FAILED)
    assert window.read()[0] == status
    assert f"<code>{code}</code>" in window.page
    assert "Mallory" not in window.page
    assert window.closed == ["label"]
    assert flow.session.status == "signed_out"
    assert has_closed(window.redirect_uri)


def test_run_native_raises_what_the_provider_s_being_down_is(idp: Idp) -> None:
    """Where the provider cannot even be asked, no window opens."""
    flow = AuthFlowManager(GenericOIDCProvider(CLIENT, issuer_url="http://127.0.0.1:1"))
    window = Window(idp)
    error, _ = fails(flow, window)

    assert isinstance(error, TokenError)
    assert (error.code, window.url, window.closed) == ("connection_refused", "", [])
    assert flow.flow_state is AuthFlowState.FAILED


def test_window_config_is_merged(flow: AuthFlowManager, idp: Idp) -> None:
    """``window_config`` changes what it names, and adds what it likes."""
    window = Window(idp)
    flow.run_native(window.show, window_config={"width": 900, "frameless": True})

    assert window.config == {**DEFAULT_CONFIG, "width": 900, "frameless": True}


def test_signing_in_again_waits_for_that(flow: AuthFlowManager, idp: Idp) -> None:
    """An earlier sign-in does not count as the one that ``run_native`` waits for."""
    sign_in(flow, idp)
    old = flow.session.access_token
    result = flow.run_native(Window(idp, wait=0.2).show)

    assert result.tokens is not None
    assert result.tokens.access_token == flow.session.access_token != old


def test_declining_again_keeps_the_session(flow: AuthFlowManager, idp: Idp) -> None:
    """A session that is signed in stays so when another attempt fails, and the attempt raises."""
    sign_in(flow, idp)
    error, _ = fails(flow, Window(idp, code=None, error="access_denied"))

    assert error.code == "access_denied"
    assert flow.session.status == "signed_in"


def test_another_sign_in_that_is_faster_is_a_success(flow: AuthFlowManager, idp: Idp) -> None:
    """A sign-in with the widget meanwhile makes ``run_native`` succeed with its tokens."""
    window = Window(idp, lambda _: sign_in(flow, idp), wait=0.1)
    result = flow.run_native(window.show)

    assert result.success
    assert result.tokens is flow.session._engine.state.tokens
    assert idp.requests_to("/token") == 1


def test_two_at_once(provider: GenericOIDCProvider, idp: Idp) -> None:
    """Two managers sign in at the same time, each with its own port and its own answer."""
    flows = [AuthFlowManager(provider, MemoryTokenStore()) for _ in range(2)]
    windows = [Window(idp, wait=0.3), Window(idp, wait=0.1)]
    threads = [
        threading.Thread(target=flow.run_native, args=(window.show,))
        for flow, window in zip(flows, windows, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert [flow.session.status for flow in flows] == ["signed_in", "signed_in"]
    assert len({window.redirect_uri for window in windows}) == 2
    assert flows[0].session.access_token != flows[1].session.access_token


def test_inside_a_running_event_loop(flow: AuthFlowManager, idp: Idp) -> None:
    """A notebook's cell runs inside a loop of its own: it is blocked meanwhile, and nothing more."""

    async def cell() -> AuthFlowResult:
        return flow.run_native(Window(idp).show)

    assert asyncio.run(cell()).success


def test_on_the_background_thread(flow: AuthFlowManager) -> None:
    """A11: where waiting could never end, it says so at once, and nothing is opened."""

    async def work() -> AuthFlowResult:
        return flow.run_native(nothing)

    with pytest.raises(AuthenticationError) as caught:
        submit(work()).result(5)

    assert caught.value.code == "wrong_thread"
    assert flow.flow_state is AuthFlowState.PENDING


# -- who disturbs it --------------------------------------------------------------------------------------------


def test_junk_does_not_end_it(flow: AuthFlowManager, provider: GenericOIDCProvider, idp: Idp) -> None:
    """B11, H020: a request without the right state can neither finish the sign-in nor end it."""
    seen: list[tuple[int, bool]] = []
    notebook = idp.authorize(asyncio.run(flow.begin(REDIRECT_URI)).url)
    other = idp.authorize(asyncio.run(AuthFlowManager(provider).begin(REDIRECT_URI)).url)
    junk: list[dict[str, str]] = [
        {"error": "access_denied"},
        {"error": "access_denied", "state": "guessed"},
        {"code": "c", "state": "guessed"},
        other,
        notebook,  # of this very manager, but it was to come to Jupyter
    ]

    def disturb(redirect_uri: str) -> None:
        for params in junk:
            status, page = visit(redirect_uri, params)
            seen.append((status, "No such sign-in is open" in page))

    window = Window(idp, disturb)
    result = flow.run_native(window.show)

    assert seen == [(404, True)] * len(junk)
    assert result.success
    assert idp.requests_to("/token") == 1


def test_another_host_name_does_not_end_it(flow: AuthFlowManager, idp: Idp) -> None:
    """B11, T20: even the right answer is refused under another host name (DNS rebinding)."""
    seen: list[int] = []

    def rebind(redirect_uri: str) -> None:
        seen.append(visit(redirect_uri, idp.authorize(window.url), Host="evil.example")[0])

    window = Window(idp, rebind)

    assert flow.run_native(window.show).success
    assert seen == [400]


def test_a_reload_is_told_that_it_is_one(flow: AuthFlowManager, idp: Idp) -> None:
    """H014: the same answer twice at once is exchanged once; both pages tell the truth."""
    gate = threading.Event()
    idp.answers["/token"] = Answer(gate=gate)
    pages: list[tuple[int, str]] = []

    def both(redirect_uri: str) -> None:
        params = idp.authorize(window.url)
        threads = [threading.Thread(target=lambda: pages.append(visit(redirect_uri, params))) for _ in range(2)]
        for thread in threads:
            thread.start()
        until(lambda: pages, "no page says that it is finished")
        gate.set()
        for thread in threads:
            thread.join(5)

    window = Window(idp, both)
    result = flow.run_native(window.show)
    window.read()

    assert result.success
    assert idp.requests_to("/token") == 1
    assert sorted(("Signed in as Ada" in page, "This sign-in is finished" in page) for _, page in pages) == [
        (False, True),
        (True, False),
    ]


def test_idle_connections_do_not_hold_it_up(flow: AuthFlowManager, idp: Idp) -> None:
    """A12: fifty connections that a browser or a scanner opens and leaves idle delay neither the answer nor the end."""
    idle: list[socket.socket] = []

    def connect(redirect_uri: str) -> None:
        parts = urlsplit(redirect_uri)
        idle.extend(socket.create_connection((parts.hostname, parts.port)) for _ in range(50))

    window = Window(idp, connect)
    began = time.monotonic()
    result = flow.run_native(window.show)

    assert result.success
    assert time.monotonic() - began < 5
    for connection in idle:
        connection.close()


# -- giving up --------------------------------------------------------------------------------------------------


def test_run_native_ends_in_time(flow: AuthFlowManager, idp: Idp) -> None:
    """A12: AuthFlowTimeout after ``auth_timeout`` seconds of real time, also with connections held open."""
    limit = min(0.5 * patience(), 4.0)
    flow = impatient(flow, limit)
    idle: list[socket.socket] = []

    def connect(redirect_uri: str) -> None:
        parts = urlsplit(redirect_uri)
        idle.extend(socket.create_connection((parts.hostname, parts.port)) for _ in range(5))

    window = Window(idp, connect, wait=limit + 8.0)
    error, took = fails(flow, window)

    assert isinstance(error, AuthFlowTimeout)
    assert (error.code, error.timeout) == ("flow_timeout", limit)
    assert limit <= took < limit + 3.5 * patience()
    assert flow.flow_state is AuthFlowState.TIMED_OUT
    assert (flow.session.status, window.closed) == ("signed_out", ["label"])
    assert has_closed(window.redirect_uri)
    for connection in idle:
        connection.close()


@pytest.mark.parametrize("endpoint", ["/.well-known/openid-configuration", "/token"])
def test_a_provider_that_hangs_does_not_hold_it_up(flow: AuthFlowManager, idp: Idp, endpoint: str) -> None:
    """The time counts for all of it: also for asking the provider, before and after. Late tokens are revoked."""
    limit, gate = min(patience(), 4.0), threading.Event()  # less than a request may take
    flow = impatient(flow, limit)
    idp.answers[endpoint] = Answer(gate=gate)
    window = Window(idp)
    error, took = fails(flow, window)

    assert isinstance(error, AuthFlowTimeout)
    assert limit <= took < limit + 4 * patience()
    assert (flow.flow_state, flow.session.status) == (AuthFlowState.TIMED_OUT, "signed_out")
    if endpoint == "/token":
        assert window.read() == (400, "The sign-in took too long")
        gate.set()
        until(lambda: idp.requests_to("/revoke") == 2)
        assert [request.form["token_type_hint"] for request in idp.requests if request.path == "/revoke"] == [
            "access_token",
            "refresh_token",
        ]
    assert flow.session.status == "signed_out"


def test_a_window_that_waits_does_not_keep_it_open(flow: AuthFlowManager, idp: Idp) -> None:
    """A ``show_window`` that blocks cannot be interrupted, but an answer after ``auth_timeout`` is refused."""
    asyncio.run(flow.provider.prepare())  # its time counts, too
    flow = impatient(flow, 0.3)
    seen: list[int] = []

    def show(url: str, config: dict[str, Any]) -> str:
        until(lambda: flow.flow_state is AuthFlowState.TIMED_OUT)
        seen.append(visit(dict(parse_qsl(urlsplit(url).query))["redirect_uri"], idp.authorize(url))[0])
        return "label"

    with pytest.raises(AuthFlowTimeout):
        flow.run_native(show)

    assert seen == [200], "the neutral page for a sign-in that has ended"
    assert idp.requests_to("/token") == 0


@pytest.mark.parametrize("moment", ["asking the provider", "at the provider", "exchanging the code"])
def test_cancel_ends_it_at_once(flow: AuthFlowManager, idp: Idp, moment: str) -> None:
    """A21: ``cancel`` from another thread raises AuthFlowCancelled in the one that waits, whatever it waits for."""
    window = Window(idp, wait=8.0 if moment == "at the provider" else 0.0)
    endpoint = {"asking the provider": "/.well-known/openid-configuration", "exchanging the code": "/token"}.get(moment)
    if endpoint is not None:
        idp.answers[endpoint] = Answer(delay=8)
    meanwhile(lambda: idp.requests_to(endpoint) if endpoint else window.url, flow.cancel)
    error, took = fails(flow, window)

    assert isinstance(error, AuthFlowCancelled)
    assert error.code == "flow_cancelled"
    assert took < 4
    assert (flow.flow_state, flow.session.status) == (AuthFlowState.CANCELLED, "signed_out")
    assert window.closed == ([] if moment == "asking the provider" else ["label"])
    if moment == "exchanging the code":
        assert window.read() == (400, "The sign-in was cancelled")


def test_signing_out_ends_it(flow: AuthFlowManager, idp: Idp) -> None:
    """T33: a sign-out also ends the sign-in that is open."""
    window = Window(idp, wait=8.0)
    meanwhile(lambda: window.url, lambda: asyncio.run(flow.session.logout()))
    error, took = fails(flow, window)

    assert error.code == "flow_cancelled"
    assert took < 4


def test_good_tokens_are_not_given_up(provider: GenericOIDCProvider, idp: Idp) -> None:
    """A time-out while a slow store saves good tokens does not revoke them: the sign-in succeeds."""
    store = GatedStore()
    flow = AuthFlowManager(provider, store, auth_timeout=1.0)
    store.gate.clear()
    threading.Timer(1.2, store.gate.set).start()

    assert flow.run_native(Window(idp).show).success
    assert flow.session.status == "signed_in"


def test_signing_out_while_tokens_are_stored(provider: GenericOIDCProvider, idp: Idp) -> None:
    """B10: signing out wins over a sign-in whose tokens are being saved, and the waiting call raises."""
    store = GatedStore()
    flow = AuthFlowManager(provider, store)
    store.gate.clear()

    def sign_out() -> None:
        leaving = submit(flow.session.logout())
        until(lambda: flow.session.status == "signed_out")
        store.gate.set()
        leaving.result(10)

    meanwhile(lambda: store.waiting, sign_out)
    error, _ = fails(flow, Window(idp))

    assert isinstance(error, AuthFlowCancelled)
    assert (flow.flow_state, flow.session.status) == (AuthFlowState.CANCELLED, "signed_out")


def test_it_works_again_after_each_ending(flow: AuthFlowManager, idp: Idp) -> None:
    """No ending of one sign-in is in the way of the next."""
    fails(impatient(flow, 0.1), Window(idp, wait=8.0))
    fails(flow, Window(idp, code=None, error="access_denied"))
    window = Window(idp, wait=8.0)
    meanwhile(lambda: window.url, flow.cancel)
    fails(flow, window)

    assert flow.run_native(Window(idp).show).success
    assert flow.session.error is None


SCRIPT = """
import sys, threading, time, traceback
from pywry_auth_nb import AuthFlowManager, GenericOIDCProvider
flow = AuthFlowManager(GenericOIDCProvider({client!r}, issuer_url={issuer!r}))
def show(url, config):
    from urllib.parse import parse_qsl, urlsplit
    redirect_uri = dict(parse_qsl(urlsplit(url).query))["redirect_uri"]
    threading.Thread(target=tell, args=(redirect_uri,), daemon=True).start()
def calls_of_main():
    stack = traceback.extract_stack(sys._current_frames()[threading.main_thread().ident])
    return {{frame.name for frame in stack}}
def tell(redirect_uri):  # only when the window is open, and has the label to be closed by
    while "wait" not in (calls := calls_of_main()) or "show" in calls:
        time.sleep(0.05)
    print(redirect_uri, flush=True)
try:
    flow.run_native(show, lambda label: print("closed", flush=True))
except KeyboardInterrupt:
    alive = [thread.name for thread in threading.enumerate() if "callback" in thread.name]
    print(flow.flow_state.value, flow.session.status, alive, flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGINT")
def test_ctrl_c_leaves_nothing_open(idp: Idp) -> None:
    """KeyboardInterrupt comes through: port free, window closed, the sign-in given up, the program can go on."""
    command = [sys.executable, "-c", SCRIPT.format(client=CLIENT, issuer=idp.issuer)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        redirect_uri = process.stdout.readline().strip()
        assert not is_free(redirect_uri)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        lines = [process.stdout.readline().strip() for _ in range(2)]
        took = time.monotonic() - began
        free = is_free(redirect_uri)
        process.communicate("", timeout=10)

    assert lines == ["closed", "cancelled signed_out []"]
    assert took < 4
    assert free
    assert process.returncode == 0


# -- windows and browsers ---------------------------------------------------------------------------------------


def test_a_window_that_cannot_be_opened(flow: AuthFlowManager) -> None:
    """What ``show_window`` raises comes out as it is; nothing is left open, and nothing to close."""
    closed: list[object] = []

    def show(url: str, config: dict[str, Any]) -> str:
        raise RuntimeError("no display")

    with pytest.raises(RuntimeError, match="no display"):
        flow.run_native(show, closed.append)

    assert (flow.flow_state, flow.session.status, closed) == (AuthFlowState.CANCELLED, "signed_out", [])


def test_a_window_that_cannot_be_closed(flow: AuthFlowManager, idp: Idp, caplog: pytest.LogCaptureFixture) -> None:
    """What ``close_window`` raises does not fail the sign-in, and is logged by type alone."""

    def close(label: object) -> None:
        raise ValueError("CANARY")

    assert flow.run_native(Window(idp).show, close).success
    assert "ValueError" in caplog.text


def test_the_default_browser(flow: AuthFlowManager, idp: Idp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ``show_window`` the default browser is opened, and there is no window to close."""
    window = Window(idp)
    monkeypatch.setattr(webbrowser, "open", lambda url: bool(window.show(url, {})))

    assert flow.run_native(close_window=window.close).success
    assert window.closed == []


def test_a_text_browser(flow: AuthFlowManager, idp: Idp, monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser whose starter returns only when one quits it holds nothing up."""
    monkeypatch.setattr(browser_module, "_DEADLINE", 0.1)
    never = threading.Event()
    window = Window(idp)

    def start(url: str) -> bool:
        window.show(url, {})
        return never.wait(10)

    monkeypatch.setattr(webbrowser, "open", start)

    assert flow.run_native().success
    never.set()


def broken_browser(url: str) -> bool:
    """Fail as :mod:`webbrowser` does."""
    raise webbrowser.Error("could not locate runnable browser")


@pytest.mark.parametrize("browser", [lambda _: False, broken_browser], ids=["none", "broken"])
def test_no_browser_in_a_terminal(
    flow: AuthFlowManager,
    idp: Idp,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    browser: Callable[[str], bool],
) -> None:
    """Where no browser can be opened, the address is printed for the person to open; and works."""
    monkeypatch.setattr(webbrowser, "open", browser)
    printed: list[str] = []

    def read() -> None:
        while not (text := capfd.readouterr().out):
            time.sleep(0.02)
        printed.append(text)
        Window(idp).show(text.split()[-1], {})

    threading.Thread(target=read, daemon=True).start()

    assert flow.run_native().success
    assert "open this address" in printed[0]


def test_no_browser_in_a_notebook(
    flow: AuthFlowManager, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In a kernel the output is saved, so the address is not printed: the error says what to do instead."""
    monkeypatch.setattr(webbrowser, "open", lambda _: False)
    monkeypatch.setattr(terminal, "current_kernel", SimpleNamespace)
    with pytest.raises(AuthenticationError, match=r"session\.login\(\)") as caught:
        flow.run_native()

    assert caught.value.code == "no_browser"
    assert capfd.readouterr().out == ""
    assert (flow.flow_state, flow.session.status) == (AuthFlowState.FAILED, "signed_out")


# -- AuthFlowManager(…) -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), float("inf")])
def test_auth_timeout_is_a_time(provider: GenericOIDCProvider, seconds: float) -> None:
    """``auth_timeout`` is a number of seconds above 0 that one can wait."""
    with pytest.raises(ConfigurationError):
        AuthFlowManager(provider, auth_timeout=seconds)


def test_pkce_is_for_public_clients(idp: Idp) -> None:
    """RFC 9700 §2.1.1: a client without a secret cannot do without PKCE; one with a secret may."""
    with pytest.raises(ConfigurationError):
        AuthFlowManager(GenericOIDCProvider(CLIENT, issuer_url=idp.issuer), use_pkce=False)

    assert AuthFlowManager(GenericOIDCProvider(CLIENT, "CANARY-secret", issuer_url=idp.issuer), use_pkce=False)


# -- authenticate -----------------------------------------------------------------------------------------------


def test_authenticate_a_browser_app(flow: AuthFlowManager) -> None:
    """PyWry's browser mode signs people in on pages of its own: the result says where, and nothing is opened."""
    result = flow.authenticate(SimpleNamespace(_mode_enum=SimpleNamespace(name="BROWSER")), nothing)

    assert not result.success
    assert (result.error or "").startswith("Navigate to ")
    assert flow.flow_state is AuthFlowState.PENDING


@pytest.mark.parametrize("mode", ["NATIVE", "NOTEBOOK", None])
def test_authenticate_with_a_window(flow: AuthFlowManager, idp: Idp, mode: str | None) -> None:
    """With ``show_window`` it is ``run_native``, for any application and for none."""
    app = mode and SimpleNamespace(_mode_enum=SimpleNamespace(name=mode))
    window = Window(idp)
    result = flow.authenticate(app, window.show, window.close, {"title": "Hello"})

    assert result.success
    assert (window.config["title"], window.closed) == ("Hello", ["label"])


def test_authenticate_in_a_terminal(flow: AuthFlowManager, idp: Idp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside a notebook it is ``run_native`` with the default browser."""
    window = Window(idp)
    monkeypatch.setattr(webbrowser, "open", lambda url: bool(window.show(url, {})))

    assert flow.authenticate(None).success


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Pretend that a user sits in front of a notebook; return what is displayed there."""
    displayed: list[Any] = []
    monkeypatch.setattr(front_end, "has_front_end", lambda: True)
    monkeypatch.setattr(notebook_module, "has_front_end", lambda: True)
    monkeypatch.setattr("IPython.display.display", lambda each, **_: displayed.append(each))
    return displayed


def test_authenticate_in_a_notebook(flow: AuthFlowManager, idp: Idp, notebook: list[Any]) -> None:
    """There it shows the widget and waits for the sign-in, with this manager as the session's flow."""

    def click() -> None:
        until(lambda: notebook)
        sign_in(AuthFlowManager(flow.provider, session_manager=flow.session), idp)  # as the widget does

    threading.Thread(target=click, daemon=True).start()
    result = flow.authenticate(None)

    assert result.success
    assert notebook == [flow.session]
    assert flow.flow_state is AuthFlowState.COMPLETED


def test_authenticate_when_already_signed_in(flow: AuthFlowManager, idp: Idp, notebook: list[Any]) -> None:
    """In a notebook, a user who is signed in is not asked again, and sees the name."""
    sign_in(flow, idp)

    assert flow.authenticate(None).tokens is flow.session._engine.state.tokens
    assert len(notebook) == 1


# -- login ------------------------------------------------------------------------------------------------------


def test_login_keeps_its_time(session: SessionManager, notebook: list[Any]) -> None:
    """``session.login(timeout)`` returns within that time, and a moment."""
    began = time.monotonic()
    with pytest.raises(AuthFlowTimeout):
        session.login(timeout=0.4)

    assert 0.4 <= time.monotonic() - began < 4


class HangingStore(MemoryTokenStore):
    """A store that does not answer."""

    async def read(self, key: str) -> Record:
        """Take longer than any caller waits."""
        await asyncio.sleep(8)
        return await super().read(key)


def test_login_keeps_its_time_with_a_store_that_hangs(provider: GenericOIDCProvider, notebook: list[Any]) -> None:
    """``login(timeout)`` also keeps its time when the store hangs before a widget is shown."""
    session = SessionManager(provider, HangingStore())
    began = time.monotonic()
    with pytest.raises(AuthFlowTimeout):
        session.login(timeout=0.4)

    assert 0.4 <= time.monotonic() - began < 4


def test_login_returns_what_it_was_given(session: SessionManager, idp: Idp, notebook: list[Any]) -> None:
    """``login()`` returns tokens that expire in a moment as they came, without a refresh."""
    idp.lifetime = 1
    idp.token_extra = {"refresh_token": ...}
    flow = AuthFlowManager(session.provider, session_manager=session)

    def click() -> None:
        until(lambda: notebook)
        time.sleep(0.05)
        sign_in(flow, idp)

    threading.Thread(target=click, daemon=True).start()
    result = session.login(timeout=5)

    assert result.success
    assert result.tokens is not None
    assert idp.requests_to("/token") == 1


def test_login_without_a_user(session: SessionManager) -> None:
    """``login()`` raises LoginRequired at once where no user can click."""
    with pytest.raises(LoginRequired) as caught:
        session.login(timeout=5)

    assert caught.value.code == "no_front_end"


# -- run_deploy -------------------------------------------------------------------------------------------------


@pytest.fixture
def in_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that this is a kernel of a server at ``/user/ada/``."""
    fake = SimpleNamespace(control_handlers={}, log=SimpleNamespace(filters=[], addFilter=lambda _: None))
    for module in (channel, front_end):
        monkeypatch.setattr(module, "current_kernel", lambda: fake)
    monkeypatch.setattr(channel, "kernel_id", lambda: "some-kernel")
    monkeypatch.setattr(front_end, "server_base_url", lambda: "/user/ada/")


@pytest.mark.parametrize(
    ("base_url", "expected"),
    [
        ("", "/user/ada"),
        ("/", ""),
        ("/lab", "/lab"),
        ("/lab/", "/lab"),
        ("https://hub.example/user/ada/", "https://hub.example/user/ada"),
    ],
)
def test_run_deploy(flow: AuthFlowManager, in_kernel: None, base_url: str, expected: str) -> None:
    """The address at the Jupyter server: under the base URL that is named or the kernel's own, with a key for this."""
    url = flow.run_deploy(base_url)
    path, _, query = url.partition("?")
    asked = dict(parse_qsl(query))

    assert path == f"{expected}/pywry-auth/login"
    assert asked.keys() == {"kernel", "flow"}
    assert asked["kernel"] == "some-kernel"
    assert channel._sign_ins[asked["flow"]] is flow.session._sign_ins
    assert flow.run_deploy(base_url) != url


def test_run_deploy_at_an_unknown_server(
    flow: AuthFlowManager, in_kernel: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the base URL cannot be known, it is taken to be the root, as everywhere."""
    monkeypatch.setattr(front_end, "server_base_url", lambda: None)

    assert flow.run_deploy().startswith("/pywry-auth/login?")


def test_run_deploy_outside_a_kernel(flow: AuthFlowManager) -> None:
    """Without a kernel there is no server to sign in at, and the error names another way."""
    with pytest.raises(AuthenticationError, match=r"run_native\(\)") as caught:
        flow.run_deploy()

    assert caught.value.code == "no_kernel"


def test_authenticate_a_browser_app_in_a_kernel(flow: AuthFlowManager, in_kernel: None) -> None:
    """In a kernel the result names the very address."""
    result = flow.authenticate(SimpleNamespace(_mode_enum=SimpleNamespace(name="BROWSER")))

    assert (result.error or "").startswith("Navigate to /user/ada/pywry-auth/login?kernel=some-kernel&flow=")


@pytest.mark.parametrize("moment", ["shutdown", "server_close"])
def test_ctrl_c_while_cleaning_up(
    flow: AuthFlowManager, idp: Idp, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """KeyboardInterrupt during the clean-up leaves no port busy and no window open."""
    window = Window(idp)
    original = getattr(LoopbackServer, moment)

    def interrupted(server: LoopbackServer) -> None:
        monkeypatch.setattr(LoopbackServer, moment, original)
        original(server)
        raise KeyboardInterrupt  # a moment too late for it, and too early for what comes next

    monkeypatch.setattr(LoopbackServer, moment, interrupted)
    with pytest.raises(KeyboardInterrupt):
        flow.run_native(window.show, window.close)

    assert has_closed(window.redirect_uri)
    assert window.closed == ["label"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_does_not_keep_the_port(flow: AuthFlowManager, idp: Idp) -> None:
    """R38: a child that is forked while a sign-in is open, and lives on, has no part in its server."""
    children: list[int] = []
    window = Window(idp)

    def show(url: str, config: dict[str, Any]) -> str:
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        children.append(child)
        return window.show(url, config)

    try:
        assert flow.run_native(show).success
        until(lambda: is_free(window.redirect_uri))  # the child closes it when it first runs
    finally:
        os.kill(children[0], signal.SIGKILL)
        os.waitpid(children[0], 0)
