"""`LoginWidget`: what is synced to the page, and what the page can ask for."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import os
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import comm
import ipywidgets
import nbclient
import nbformat
import pytest
from comm.base_comm import BaseComm

from pywry_auth_nb import (
    AuthFlowManager,
    GenericOIDCProvider,
    LoginRequired,
    LoginWidget,
    MemoryTokenStore,
    OAuthTokenSet,
    SessionManager,
    TokenRefreshError,
)
from pywry_auth_nb._io.loop import submit
from pywry_auth_nb._sign_in import channel, front_end
from pywry_auth_nb.widget import widget_for
from tests.conftest import REDIRECT_URI, sign_in
from tests.support.idp import CLIENT, Answer, Idp
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]
OURS = {
    "status",
    "provider",
    "name",
    "expires_at",
    "renews",
    "stuck",
    "asks",
    "error_code",
    "error_text",
    "error_detail",
    "login_path",
    "account_path",
}
STATIC = ROOT / "pywry_auth_nb" / "static"
#: Bytes, minified and compressed.
LIMIT, PANEL_LIMIT = 9_500, 900
VIEW = "application/vnd.jupyter.widget-view+json"


class Page:
    """The other end of all comms: a page that writes down what it is sent."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, dict[str, Any]]] = []

    def create_comm(page, *args: Any, **kwargs: Any) -> BaseComm:  # noqa: N805 - the comm below has the self
        """Open a comm to this page."""

        class Wire(BaseComm):
            def publish_msg(self, msg_type: str, data: Any = None, *_: Any, **__: Any) -> None:
                page.messages.append((msg_type, data or {}))

        return Wire(*args, **kwargs)

    @property
    def opened(self) -> list[dict[str, Any]]:
        """The state that each new widget came with; layouts left out."""
        states = [data["state"] for kind, data in self.messages if kind == "comm_open"]
        return [state for state in states if state["_model_module"] == "anywidget"]

    @property
    def updates(self) -> list[dict[str, Any]]:
        """The changes that came after that."""
        return [data["state"] for kind, data in self.messages if kind == "comm_msg" and "state" in data]

    @property
    def details(self) -> list[dict[str, Any]]:
        """What was told beside the state, in messages that are saved nowhere."""
        told = [data.get("content", {}) for kind, data in self.messages if kind == "comm_msg"]
        return [content["details"] for content in told if "details" in content]

    @staticmethod
    def says(widget: LoginWidget, content: Any) -> None:
        """Send a custom message from the page."""
        message = {"content": {"data": {"method": "custom", "content": content}}, "buffers": []}
        widget.comm.handle_msg(message)


@pytest.fixture(autouse=True)
def page(monkeypatch: pytest.MonkeyPatch) -> Page:
    """A page that is connected to this process."""
    page = Page()
    monkeypatch.setattr(comm, "create_comm", page.create_comm)
    return page


def shown(widget: LoginWidget) -> dict[str, Any]:
    """What the widget shows."""
    return {name: value for name, value in widget.get_state().items() if name in OURS}


def begin(flow: AuthFlowManager) -> str:
    """Open a sign-in and return its URL."""
    return asyncio.run(flow.begin(REDIRECT_URI)).url


# -- what is synced ---------------------------------------------------------------------------------------------


def test_the_widget_is_small() -> None:
    """What every widget sends to the page, and saved notebooks hold, is within a limit; the panel has its own."""
    packed = {
        name: len(gzip.compress((STATIC / name).read_bytes(), 9)) for name in ("widget.js", "widget.css", "panel.js")
    }

    assert packed["widget.js"] + packed["widget.css"] <= LIMIT, packed
    assert packed["panel.js"] <= PANEL_LIMIT, packed


def test_the_synced_traits_are_these(session: SessionManager) -> None:
    """T07: every synced trait ends up in a notebook file, so the list is short and this test guards it."""
    base = set(ipywidgets.DOMWidget().keys) | {"_esm", "_css", "_anywidget_id"}
    widget = LoginWidget(session)

    assert set(widget.keys) == base | OURS
    assert set(widget.get_state()) == base | OURS


def test_the_page_cannot_be_told_more(session: SessionManager) -> None:
    """Our traits are read-only: no cell and no observer puts a token into one by accident."""
    widget = LoginWidget(session)
    for name in OURS:
        assert widget.traits()[name].read_only, name


def test_the_page_hears_no_secret(session: SessionManager, flow: AuthFlowManager, idp: Idp, page: Page) -> None:
    """T09: from the first message to the last, through a sign-in, a refresh, a failure and a sign-out."""
    widget = LoginWidget(session)
    sign_in(flow, idp)
    asyncio.run(session.refresh())
    begin(flow)
    flow.cancel()
    until(lambda: widget.error_code == "flow_cancelled")
    asyncio.run(session.logout())
    until(lambda: widget.status == "signed_out")
    said = json.dumps(page.messages)

    assert len(page.messages) > 5
    assert {secret for secret in idp.secrets() if secret in said} == set()


# -- what is shown ----------------------------------------------------------------------------------------------


def test_a_new_widget_says_where_to_sign_in(session: SessionManager) -> None:
    """A new widget is signed out, and without a Jupyter server it has no login path."""
    assert shown(LoginWidget(session)) == {
        "status": "signed_out",
        "provider": "127.0.0.1",
        "name": "",
        "expires_at": None,
        "renews": False,
        "stuck": False,
        "asks": "",
        "error_code": "",
        "error_text": "",
        "error_detail": "",
        "login_path": "",
        "account_path": "",
    }


def test_a_widget_shows_who_is_signed_in(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """A sign-in changes status, name and expiry."""
    widget = LoginWidget(session)
    sign_in(flow, idp)
    until(lambda: widget.status == "signed_in")

    assert shown(widget) == {
        "status": "signed_in",
        "provider": "127.0.0.1",
        "name": "Ada Lovelace",
        "expires_at": session.expires_at,
        "renews": True,
        "stuck": False,
        "asks": "",
        "error_code": "",
        "error_text": "",
        "error_detail": "",
        "login_path": "",
        "account_path": "",
    }


def test_a_widget_of_a_signed_in_session_shows_it_at_once(signed_in: SessionManager, page: Page) -> None:
    """A widget that is made after the sign-in shows it."""
    widget = LoginWidget(signed_in)

    assert (widget.status, widget.name) == ("signed_in", "Ada Lovelace")


def test_a_widget_finds_a_stored_session(provider: GenericOIDCProvider, idp: Idp) -> None:
    """Where the store knows a session, showing the widget loads it without a click."""
    store = MemoryTokenStore()
    sign_in(AuthFlowManager(provider, store), idp)
    widget = LoginWidget(SessionManager(provider, store))
    until(lambda: widget.status == "signed_in")

    assert widget.name == "Ada Lovelace"


def test_a_sign_in_overtakes_the_load_of_what_was_stored(session: SessionManager) -> None:
    """A sign-in while a new widget loads the store is not replaced by the stored session."""

    async def both() -> None:
        loading = asyncio.ensure_future(session.initialize())
        await asyncio.sleep(0)
        await session._engine.sign_in(OAuthTokenSet("CANARY-at"), {"name": "Ada"})
        await loading

    submit(both()).result(5)

    assert session.display_name == "Ada"


def test_mail_and_scopes_are_told_and_not_synced(session: SessionManager, page: Page) -> None:
    """A page learns them by message, so that no notebook file has them; the same is not told twice."""
    widget = LoginWidget(session)
    asyncio.run(session._engine.sign_in(OAuthTokenSet("CANARY-at"), {"name": "Ada", "email": "ada@example.org"}))
    until(lambda: page.details and page.details[-1]["email"])
    before = len(page.details)
    widget._mirror()

    assert page.details[-1] == session._sign_ins.profile.details()
    assert len(page.details) == before
    assert "ada@example.org" not in json.dumps(page.updates)
    assert "ada@example.org" not in json.dumps(widget.get_state(), default=str)


def test_a_sign_in_without_a_refresh_token_does_not_renew(session: SessionManager) -> None:
    """Then the page says when it ends."""
    widget = LoginWidget(session)
    asyncio.run(session.save_tokens(OAuthTokenSet("CANARY-at", expires_in=3600)))
    until(lambda: widget.status == "signed_in")

    assert widget.renews is False


@pytest.mark.parametrize(("failures", "stuck"), [(1, False), (2, True)])
def test_a_token_that_cannot_be_renewed_now(signed_in: SessionManager, idp: Idp, failures: int, stuck: bool) -> None:
    """One failure passes in silence while the token is good; with the second the widget says so, and why."""
    widget = LoginWidget(signed_in)
    idp.answers["/token"] = Answer(status=503)
    for _ in range(failures):
        with pytest.raises(TokenRefreshError):
            asyncio.run(signed_in.refresh())
    until(lambda: widget.stuck is stuck)

    assert (widget.status, widget.error_code) == ("signed_in", "provider_unavailable" if stuck else "")
    idp.answers.clear()
    asyncio.run(signed_in.refresh())
    until(lambda: not widget.stuck)
    assert widget.error_code == ""


def test_a_failure_is_shown_until_the_next_attempt(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """Code and sentence appear together, and go when a new sign-in begins."""
    widget = LoginWidget(session)
    begin(flow)
    until(lambda: widget.status == "authorizing")
    flow.cancel()
    until(lambda: widget.status == "signed_out")

    assert session.error is not None
    assert (widget.error_code, widget.error_text) == (session.error.code, session.error.message)
    begin(flow)
    until(lambda: widget.status == "authorizing")
    assert (widget.error_code, widget.error_text) == ("", "")


def test_an_ended_session_is_shown(signed_in: SessionManager, idp: Idp) -> None:
    """When only a new sign-in helps, the widget says so, and whose session it was."""
    widget = LoginWidget(signed_in)
    idp.refresh_tokens.clear()
    with pytest.raises(Exception, match="Sign in again"):
        asyncio.run(signed_in.refresh())
    until(lambda: widget.status == "reauth_required")

    assert (widget.error_code, widget.name) == ("invalid_grant", "Ada Lovelace")


def test_a_name_is_text(session: SessionManager) -> None:
    """T15: a name may look like HTML; it is passed on as the text that it is."""
    widget = LoginWidget(session)
    asyncio.run(session.initialize())
    tokens = OAuthTokenSet("CANARY-at")
    asyncio.run(session._engine.sign_in(tokens, {"name": "<img src=x onerror=alert(1)>\n\u202eadA"}))
    until(lambda: widget.name)

    assert widget.name == "<img src=x onerror=alert(1)>adA"


def test_one_change_is_one_message(session: SessionManager, flow: AuthFlowManager, idp: Idp, page: Page) -> None:
    """Traits that change together arrive together: a page never shows a status without its name."""
    widget = LoginWidget(session)
    url = begin(flow)
    until(lambda: {"status": "authorizing"} in page.updates)
    before = len(page.updates)
    asyncio.run(flow.complete(idp.authorize(url)))
    until(lambda: len(page.updates) > before)
    time.sleep(0.05)  # for more, which must not come

    assert page.updates[before:] == [
        {"status": "signed_in", "name": "Ada Lovelace", "expires_at": session.expires_at, "renews": True},
    ]
    assert widget.status == "signed_in"


def test_nothing_new_sends_no_message(signed_in: SessionManager, page: Page) -> None:
    """A read of the session sends no message."""
    widget = LoginWidget(signed_in)
    asyncio.run(signed_in.initialize())
    before = list(page.updates)
    assert signed_in.access_token
    widget._mirror()

    assert page.updates == before


class Hesitant(GenericOIDCProvider):
    """A provider whose label takes its time when the main thread asks, until a sign-in has happened elsewhere."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.asked, self.session = threading.Event(), None
        super().__init__(*args, **kwargs)

    @property
    def label(self) -> str:
        """The host, later."""
        session: SessionManager | None = self.session
        if session is not None and threading.current_thread() is threading.main_thread():
            self.asked.set()
            until(lambda: session.status == "signed_in")
            time.sleep(0.1)
        return super().label


def test_a_sign_in_while_the_widget_is_made_is_not_lost(idp: Idp) -> None:
    """What the background says meanwhile is not overwritten by what was true a moment before."""
    provider = Hesitant(CLIENT, issuer_url=idp.issuer)
    provider.session = session = SessionManager(provider)

    def elsewhere() -> None:
        provider.asked.wait(10)
        asyncio.run(session.save_tokens(OAuthTokenSet("CANARY-at")))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    widget = LoginWidget(session)
    thread.join()
    until(lambda: widget.status == session.status == "signed_in")


# -- what the page can ask for ----------------------------------------------------------------------------------


def test_the_page_can_cancel(session: SessionManager) -> None:
    """``{"request": "cancel", "id": "1"}`` gives up what is open."""
    widget = LoginWidget(session)
    begin(widget._sign_ins)
    Page.says(widget, {"request": "cancel", "id": "1"})
    until(lambda: widget.error_code == "flow_cancelled")

    assert session.status == "signed_out"


def test_the_page_can_sign_out(signed_in: SessionManager, idp: Idp) -> None:
    """``{"request": "logout", "id": "1"}`` ends the session and revokes its tokens."""
    widget = LoginWidget(signed_in)
    Page.says(widget, {"request": "logout", "id": "1"})
    until(lambda: widget.status == "signed_out")
    until(lambda: idp.requests_to("/revoke") == 2)

    assert widget.name == ""


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"request": "login"},
        {"request": "LOGOUT"},
        {"request": ["logout"]},
        {"request": {"logout": 1}},
        {"request": None},
        {"request": "complete", "params": {}},
        {"action": "logout"},
        {"access_token": 1},
        "logout",
        None,
        7,
        ["logout"],
    ],
)
def test_other_messages_are_ignored(signed_in: SessionManager, content: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever else a page sends changes nothing and breaks nothing."""
    widget = LoginWidget(signed_in)
    Page.says(widget, content)
    time.sleep(0.02)

    assert (widget.status, signed_in.status) == ("signed_in", "signed_in")
    assert not [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}]


# -- several, and their end -------------------------------------------------------------------------------------


def test_two_widgets_show_one_session(session: SessionManager, idp: Idp) -> None:
    """R12: they share the flow, so one signs in and both show it."""
    first, second = LoginWidget(session), LoginWidget(session)
    assert first._sign_ins is second._sign_ins
    sign_in(first._sign_ins, idp)
    until(lambda: first.status == second.status == "signed_in")

    Page.says(second, {"request": "logout", "id": "1"})
    until(lambda: first.status == second.status == "signed_out")


def test_two_sessions_do_not_mix(provider: GenericOIDCProvider, idp: Idp) -> None:
    """R13: each widget shows its own session."""
    first, second = (LoginWidget(SessionManager(provider, session_key=key)) for key in ("one", "other"))
    sign_in(first._sign_ins, idp)
    until(lambda: first.status == "signed_in")

    assert second.status == "signed_out"


def test_closing_a_widget_leaves_the_other(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """After closing one widget the session and its other widget go on."""
    closed, open_ = LoginWidget(session), LoginWidget(session)
    closed.close()
    sign_in(flow, idp)
    until(lambda: open_.status == "signed_in")


def test_a_session_shows_one_widget(session: SessionManager) -> None:
    """Displaying a session twice shows the same widget twice."""
    first, second = (session._repr_mimebundle_()[0][VIEW]["model_id"] for _ in range(2))

    assert first == second


def test_a_closed_widget_of_a_session_is_replaced(session: SessionManager, idp: Idp, page: Page) -> None:
    """``Widget.close_all()`` and display again: a new widget comes that works."""
    old = widget_for(session)
    old.close()
    bundle = session._repr_mimebundle_()[0]
    new = widget_for(session)

    assert new is not old
    assert bundle[VIEW]["model_id"] == new.model_id
    assert len(page.opened) == 2
    sign_in(new._sign_ins, idp)
    until(lambda: new.status == "signed_in")


def test_a_session_ends_with_its_closed_widgets(provider: GenericOIDCProvider) -> None:
    """R41: a session without references is collected, with its tokens, once its widgets are closed."""
    session = SessionManager(provider)
    asyncio.run(session.save_tokens(OAuthTokenSet("CANARY-at")))
    session._repr_mimebundle_()
    LoginWidget(session)
    ipywidgets.Widget.close_all()
    gone = weakref.ref(session)
    del session

    until(lambda: gc.collect() >= 0 and gone() is None)


def test_what_is_displayed_suits_every_front_end(session: SessionManager) -> None:
    """A widget for those who draw them, HTML for those who do not, and text for a terminal."""
    for shown in (session, LoginWidget(session)):
        bundle, metadata = shown._repr_mimebundle_()
        assert set(bundle) == {VIEW, "text/html", "text/plain"}
        assert bundle["text/plain"] == repr(shown)
        assert bundle["text/html"] == "<p>To sign in, run this cell in JupyterLab or Notebook 7.</p>"
        assert metadata == {}


def test_a_page_cannot_change_the_plain_link(session: SessionManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """The link is made from the kernel's own path, whatever a page puts into the trait of that name."""
    monkeypatch.setattr(channel, "open_path", lambda _: "pywry-auth/login?kernel=k")
    monkeypatch.setattr(front_end, "server_base_url", lambda: "/")
    widget = LoginWidget(session)
    widget.set_state({"login_path": "/evil.example"})

    assert '"/pywry-auth/login?kernel=k"' in widget._plain_link()


# -- without a front end ----------------------------------------------------------------------------------------


def over(store: MemoryTokenStore, provider: GenericOIDCProvider) -> None:
    """Store an expired token that cannot be refreshed."""
    old = OAuthTokenSet("CANARY-at", expires_in=10, issued_at=time.time() - 100)
    asyncio.run(store.save(SessionManager(provider).store_key, old))


@pytest.mark.parametrize("way", ["thread", "main", "loop", "old session", "ended session"])
def test_login_without_a_front_end_refuses_at_once(provider: GenericOIDCProvider, idp: Idp, way: str) -> None:
    """P5: in plain Python no user can click, so ``login()`` raises instead of waiting, wherever it is called."""
    store = MemoryTokenStore()
    if way in {"old session", "ended session"}:
        over(store, provider)
    session = SessionManager(provider, store)
    if way == "ended session":
        asyncio.run(session.initialize())
        until(lambda: session.status == "reauth_required")
    caught: list[LoginRequired] = []

    def call() -> None:
        try:
            session.login(timeout=30)
        except LoginRequired as error:
            caught.append(error)

    async def cell() -> None:
        call()

    started = time.monotonic()
    if way == "thread":
        thread = threading.Thread(target=call)
        thread.start()
        thread.join(5)
    elif way == "loop":
        asyncio.run(cell())
    else:
        call()

    assert time.monotonic() - started < 5
    assert [error.code for error in caught] == ["no_front_end"]
    assert idp.requests == []


def test_login_returns_the_session_that_is_there(signed_in: SessionManager, idp: Idp) -> None:
    """``login()`` returns a session that is signed in, also without a front end."""
    before = len(idp.requests)
    result = signed_in.login()

    assert result.success
    assert result.tokens is signed_in._engine.state.tokens
    assert result.user_info == signed_in.user
    assert len(idp.requests) == before


PROGRAM = """
import time
from pywry_auth_nb import GenericOIDCProvider, LoginRequired, SessionManager
session = SessionManager(GenericOIDCProvider("pywry", issuer_url="https://login.example.org"))
started = time.monotonic()
try:
    session.login(timeout=30)
except LoginRequired as error:
    print(error.code, time.monotonic() - started < 5)
"""


@pytest.mark.parametrize("program", [["-c"], ["-m", "IPython", "--no-banner", "--colors=NoColor", "-c"]])
def test_login_in_a_terminal_refuses_at_once(tmp_path: Path, program: list[str]) -> None:
    """Neither Python nor IPython in a terminal can show the widget."""
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, *program, PROGRAM],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (done.stdout.strip(), done.stderr) == ("no_front_end True", "")


# -- in a kernel ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A notebook run without a person, on a server whose base URL tries to break out of an attribute."""
    cells = [
        PROGRAM,
        "session",
        "from pywry_auth_nb import LoginWidget\nfirst, second = LoginWidget(session), LoginWidget(session)",
        "print(first.login_path)\nprint(second.login_path)",
        "import threading\nthread = threading.Thread(target=lambda: exec(PROGRAM))\nthread.start()\nthread.join()",
    ]
    cells[-1] = f"PROGRAM = {PROGRAM!r}\n{cells[-1]}"
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    client = nbclient.NotebookClient(notebook, kernel_name="python3", timeout=60)
    prefix = "/user/\"><img src=x onerror='alert(1)'>/"
    client.execute(env={**os.environ, "JUPYTERHUB_SERVICE_PREFIX": prefix}, cwd=str(tmp_path_factory.mktemp("run")))
    return notebook


def text_of(cell: Any) -> str:
    """What a cell printed."""
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


@pytest.mark.parametrize("cell", [0, 4], ids=["cell", "thread"])
def test_login_in_a_batch_run_refuses_at_once(notebook: Any, cell: int) -> None:
    """P5: papermill, nbconvert and nbval say that they take no input, so nothing waits for a person."""
    assert text_of(notebook.cells[cell]) == "no_front_end True\n"


def test_a_login_path_cannot_be_guessed(notebook: Any) -> None:
    """T19: it names the kernel and a random key, relative to the server's base URL, and each widget has its own."""
    first, second = text_of(notebook.cells[3]).split()
    keys = []
    for path in (first, second):
        route, _, query = path.partition("?")
        assert route == "pywry-auth/login"
        assert query.startswith("kernel=")
        keys.append(query.partition("&flow=")[2])

    assert keys[0] != keys[1]
    assert all(len(key) >= 22 for key in keys)


def test_the_plain_link_is_escaped(notebook: Any) -> None:
    """T15: whatever the base URL holds, the link stays one attribute of one element."""
    html = notebook.cells[1].outputs[0].data["text/html"]

    assert html.startswith('<p><a href="/user/&quot;&gt;&lt;img src=x onerror=&#x27;alert(1)&#x27;&gt;/pywry-auth/')
    assert html.count("<") == 4
    assert "&amp;flow=" in html
