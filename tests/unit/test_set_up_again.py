"""The set-up cell that is run again: sessions with other objects find the sign-in, and nothing of before is left."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import Any

import comm
import pytest

from pywry_auth_nb import (
    GenericOIDCProvider,
    LoginRequired,
    LoginWidget,
    MemoryTokenStore,
    SessionManager,
)
from pywry_auth_nb._io.loop import run
from pywry_auth_nb._sign_in import channel
from pywry_auth_nb.token_store import memory
from tests.support.clients import REDIRECT_URI
from tests.support.idp import CLIENT, Idp
from tests.support.people import Nowhere, sign_in_as
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def _no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comms lead nowhere."""
    monkeypatch.setattr(comm, "create_comm", Nowhere)


def set_up(idp: Idp) -> SessionManager:
    """Run the set-up cell: no object is the same as before."""
    return SessionManager(GenericOIDCProvider(CLIENT, issuer_url=idp.issuer))


def test_a_set_up_cell_that_is_run_again_is_signed_in(idp: Idp) -> None:
    """R54: it asks the provider nothing; a sign-out of a later run reaches an earlier one at once."""
    first = set_up(idp)
    sign_in_as("ada", first, idp)
    before = len(idp.requests)
    second = set_up(idp)
    assert second.access_token == first.access_token
    assert len(idp.requests) == before
    asyncio.run(second.logout())

    until(lambda: first.status == "signed_out", seconds=1.0)


def test_another_client_or_provider_finds_nothing(idp: Idp) -> None:
    """R54: the memory of a kernel is one, and its records are not."""
    sign_in_as("ada", set_up(idp), idp)

    for client_id, issuer in (("other", idp.issuer), (CLIENT, "https://login.example.org")):
        with pytest.raises(LoginRequired):
            _ = SessionManager(GenericOIDCProvider(client_id, issuer_url=issuer)).access_token


@pytest.mark.parametrize("displayed", [True, False])
def test_earlier_runs_leave_nothing_behind(idp: Idp, displayed: bool) -> None:
    """R54: ten runs of a cell, and of one that displays a widget: one session, no more threads, one record."""
    session = set_up(idp)
    sign_in_as("ada", session, idp)
    threads, token = threading.active_count(), session.access_token
    engines, widgets = [], []
    for _ in range(10):
        engines.append(weakref.ref(session._engine))
        session = set_up(idp)
        if displayed:
            widgets.append(LoginWidget(session))
        assert session.access_token == token

    until(lambda: gc.collect() >= 0 and not any(engine() for engine in engines))
    until(lambda: threading.active_count() <= threads)
    assert len(memory.default_store()._records) == 1
    assert all(widget.session is session for widget in widgets)


def test_a_widget_of_an_earlier_run_works_on(idp: Idp) -> None:
    """R54: it shows the session of the latest run, and its link and its buttons act on that one."""
    session = set_up(idp)
    widget = LoginWidget(session)
    path = "pywry-auth/login?kernel=k&flow=key"
    widget._login_path = path
    channel.lead_to(session._sign_ins, path)
    gone = weakref.ref(session)
    session = set_up(idp)
    later = LoginWidget(session)
    until(lambda: gc.collect() >= 0 and gone() is None)
    until(lambda: channel._sign_ins.get("key") is session._sign_ins)
    sign_in_as("ada", session, idp)

    until(lambda: (widget.status, widget.name) == ("signed_in", "Ada"))
    widget._on_message(widget, {"request": "logout", "id": "1"}, [])
    until(lambda: widget.status == later.status == "signed_out")


def test_a_session_that_is_still_there_keeps_its_widget(idp: Idp) -> None:
    """R54: two sessions that both live show each their own state."""
    first, second = set_up(idp), set_up(idp)
    widgets = LoginWidget(first), LoginWidget(second)

    assert [widget.session for widget in widgets] == [first, second]


def test_a_widget_of_another_key_keeps_its_session(idp: Idp) -> None:
    """R54: what is not another run of the same cell replaces nothing."""
    widget = LoginWidget(set_up(idp))
    provider = GenericOIDCProvider(CLIENT, issuer_url=idp.issuer)
    others = [LoginWidget(SessionManager(provider, session_key="work")), LoginWidget(SessionManager(provider, Other()))]
    gc.collect()

    assert widget.session not in [other.session for other in others]


class Other(MemoryTokenStore):
    """Another kind of store."""


def test_an_answer_that_comes_after_the_cell_was_run_again(idp: Idp) -> None:
    """R54: a sign-in that is open meanwhile completes, and the new session has it."""
    session = set_up(idp)
    channel._lead_to(session._sign_ins, "key")
    widget = LoginWidget(session)
    request, before = asyncio.run(session._sign_ins.begin(REDIRECT_URI)), weakref.ref(session._engine)
    session = set_up(idp)
    later = LoginWidget(session)
    gc.collect()
    assert before() is not None
    channel._lead_to(session._sign_ins, "key")  # as the link of the earlier widget does, in a kernel
    reply = run(channel._answer("pywry_auth_complete", {"protocol": 1, "params": idp.authorize(request.url)}), 10)

    assert reply["status"] == "ok"
    until(lambda: session.status == later.status == widget.status == "signed_in", seconds=5.0)
    del request
    until(lambda: gc.collect() >= 0 and before() is None)


# -- whose record it is ------------------------------------------------------------------------------------------------

GOOD, EVIL = "https://good.example", "https://evil.example"


def key(client_id: str, issuer_url: str = "", session_key: str = "default", **options: Any) -> str:
    """The name of a session's record."""
    return SessionManager(
        GenericOIDCProvider(client_id, issuer_url=issuer_url, **options), session_key=session_key
    ).store_key


#: Pairs of sessions, as parts of their names that read alike.
ALIKE = [
    (
        {"issuer_url": EVIL, "client_id": f"{GOOD} cid"},
        {"issuer_url": EVIL, "metadata_url": GOOD, "client_id": "cid"},
    ),
    (
        {"session_key": "a", "issuer_url": EVIL, "client_id": f"{GOOD} cid"},
        {"session_key": f"a {EVIL}", "issuer_url": GOOD, "client_id": "cid"},
    ),
    (
        {"issuer_url": GOOD, "client_id": "cid audience=x"},
        {"issuer_url": GOOD, "client_id": "cid", "audience": "x"},
    ),
    (
        {"token_url": f"{GOOD} b", "client_id": "a"},
        {"token_url": GOOD, "client_id": "b a"},
    ),
    (
        {"token_url": GOOD, "client_id": 'x", "y'},
        {"token_url": f'{GOOD}", "x', "client_id": "y"},
    ),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_no_two_sessions_have_one_name(one: dict[str, Any], other: dict[str, Any]) -> None:
    """T41: whatever is in its parts, so that no provider is sent the tokens of another."""
    assert key(**one) != key(**other)
    assert key(**one) == key(**one)


def test_a_name_begins_readable(idp: Idp) -> None:
    """T41: with the session key; the rest is of one length, and holds no address."""
    name = key(CLIENT, idp.issuer, "work")

    assert name.startswith("work-")
    assert len(name) == len("work-") + 32
    assert key("é\ud800", idp.issuer, "\ud800")
