"""What a session's widget opens: pages that ask at once, and again."""

from __future__ import annotations

import asyncio
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from pywry_auth_nb import AuthFlowTimeout
from pywry_auth_nb._io.begun import Begun
from pywry_auth_nb._io.loop import run, submit
from pywry_auth_nb._sign_in.prompting import keep_asking
from pywry_auth_nb._sign_in.ways import offer
from tests.conftest import sign_in
from tests.support.idp import Answer
from tests.support.ports import free_port
from tests.support.waiting import until

if TYPE_CHECKING:
    from pywry_auth_nb import AuthFlowManager, SessionManager
    from tests.support.idp import Idp


class Page:
    """A page that shows the widget, and writes down what it is told."""

    comm = object()

    def __init__(self) -> None:
        self.heard: list[object] = []

    def send(self, message: object) -> None:
        """Take a message."""
        self.heard.append(message)


def test_pages_that_ask_at_once_get_one_sign_in(session: SessionManager, idp: Idp) -> None:
    """Each view of a widget is told to open a way, and all of them show the same code."""
    sign_ins = session._sign_ins

    async def ask_twice() -> list[dict[str, object]]:
        return await asyncio.gather(*(offer.start(sign_ins, "device") for _ in range(2)))

    first, second = run(ask_twice(), 10)

    assert first["user_code"] == second["user_code"]
    assert idp.requests_to("/device") == 1
    sign_ins.cancel()


def test_pages_are_told_that_a_newer_sign_in_has_taken_the_place(session: SessionManager, idp: Idp) -> None:
    """A page that shows the first code hears that it is no longer good; one that asks for the same gets the same."""
    sign_ins, page = session._sign_ins, Page()
    sign_ins.greetings.add(page)
    first = run(offer.start(sign_ins, "device"), 10)
    same = run(offer.start(sign_ins, "device"), 10)
    assert same["id"] == first["id"]
    assert page.heard == []
    other = run(offer.start(sign_ins, "device", prompt="select_account"), 10)
    sign_ins.cancel()

    assert page.heard == [{"superseded": first["id"]}]
    assert other["id"] != first["id"]
    assert idp.requests_to("/device") == 2


def test_a_page_and_a_cell_get_one_sign_in(session: SessionManager, idp: Idp) -> None:
    """A widget that greets after a cell has shown a code shows the same one; it lasts as long as the cell waits."""
    way = run(offer.open_way(session._sign_ins, "device", lifetime=60), 10).way
    shown = run(offer.start(session._sign_ins, "device"), 10)

    assert shown["user_code"] == way.details["user_code"]
    assert shown["expires_in"] <= 60
    assert idp.requests_to("/device") == 1
    session._sign_ins.cancel()


def test_a_cell_that_is_interrupted_leaves_no_sign_in_open(session: SessionManager, idp: Idp) -> None:
    """Ctrl-C while the provider is asked for a code: no code comes later that is polled for."""
    idp.answers["/device"] = Answer(delay=60)
    waiting = submit(offer.open_way(session._sign_ins, "device"))
    until(lambda: idp.requests_to("/device"))
    waiting.cancel()

    until(lambda: not session._sign_ins.is_open)


def test_a_cell_goes_on_waiting_when_its_sign_in_is_begun_anew(session: SessionManager) -> None:
    """What was open before another cell asked for something else ends quietly, and leaves its port to the next."""
    sign_ins = session._sign_ins
    run(offer.start(sign_ins, "loopback"), 10)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(run, session._engine.wait_signed_in(20), 30)
        with sign_ins.adding_params(prompt="login"):
            run(offer.start(sign_ins, "loopback"), 10)
        until(lambda: len(sign_ins._pending) == 1)
        assert not waiting.done()
        sign_ins.cancel()
        assert waiting.exception(20) is not None


def test_the_end_of_one_left_open_ends_no_wait_for_another(session: SessionManager, idp: Idp) -> None:
    """A sign-in that is left open times out while the user signs in by another way."""
    sign_ins = session._sign_ins
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(run, session._engine.wait_signed_in(20), 30)
        used = run(sign_ins.begin("http://127.0.0.1:8888/pywry-auth/callback"), 10)
        left = run(sign_ins.begin("http://127.0.0.1:8888/pywry-auth/callback", lifetime=0.01), 10)
        assert isinstance(left.outcome.exception(10), AuthFlowTimeout)
        run(sign_ins.complete(idp.authorize(used.url)), 10)
        waiting.result(20)

    assert session.status == "signed_in"


def test_a_code_is_good_while_it_is_polled_for(session: SessionManager, idp: Idp) -> None:
    """The page counts down to the end of the sign-in, which may be sooner than the code's; also the second time."""
    idp.device_extra = {"expires_in": 1800}
    first = run(offer.start(session._sign_ins, "device"), 10)
    second = run(offer.start(session._sign_ins, "device"), 10)

    assert second["expires_in"] < first["expires_in"] <= 600
    session._sign_ins.cancel()


def test_ctrl_c_at_a_prompt_shows_nothing_pasted() -> None:
    """A traceback with local variables has no frame in which the text was."""

    def ask(prompt: str, over: object, until: float) -> str:
        pasted = "CANARY-code"
        raise KeyboardInterrupt(len(pasted))

    with pytest.raises(KeyboardInterrupt) as caught:
        keep_asking(ask, "Address: ", lambda: False, time.monotonic() + 5, lambda _: None)

    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert "CANARY" not in "".join(shown.format())


def test_a_sign_out_may_be_awaited_in_several_loops(flow: AuthFlowManager, idp: Idp) -> None:
    """What ``logout()`` returns has one outcome, for each that awaits it."""
    sign_in(flow, idp)
    leaving = flow.session.logout()

    assert isinstance(leaving, Begun)
    assert asyncio.run(leaving) is asyncio.run(leaving)


def test_the_port_of_the_environment_counts_for_every_session(
    session: SessionManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider that compares the whole redirect URI: also a session that was made without settings has it."""
    monkeypatch.setenv("PYWRY_OAUTH2__LOOPBACK_PORT", str(port := free_port()))
    monkeypatch.setenv("PYWRY_OAUTH2__LOOPBACK_HOST", "localhost")

    assert session._sign_ins.loopback == ("localhost", port)
    run(offer.start(session._sign_ins, "loopback"), 10)
    [pending] = session._sign_ins._pending.values()
    assert pending.redirect_uri == f"http://localhost:{port}/callback"
    session._sign_ins.cancel()
