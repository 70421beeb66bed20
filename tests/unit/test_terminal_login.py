"""`session.login()` in a terminal, as over ssh: real programs with a terminal of their own, and a person who types."""

from __future__ import annotations

import sqlite3
import sys
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit
from urllib.request import urlopen

import pytest

from tests.support.terminal import Terminal
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.idp import Idp

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal is POSIX")

PROGRAM = """
import sys
from pywry_auth_nb import AuthenticationError, GenericOIDCProvider, SessionManager
session = SessionManager(GenericOIDCProvider("pywry", issuer_url=sys.argv[1]))
try:
    print("result", session.login({arguments}).user_info["name"])
except (AuthenticationError, KeyboardInterrupt) as error:
    print("raised", type(error).__name__, getattr(error, "code", ""))
"""


def program(idp: Idp, arguments: str = "", **env: str) -> Terminal:
    """A script that signs in."""
    return Terminal("-c", PROGRAM.format(arguments=arguments), idp.issuer, env=env)


def answer(idp: Idp, url: str) -> str:
    """Be the browser on another machine, which keeps the address that it cannot open."""
    redirect_uri = dict(parse_qsl(urlsplit(url).query))["redirect_uri"]
    return f"{redirect_uri}?{urlencode(idp.authorize(url))}"


@pytest.mark.parametrize("part", ["address", "query", "wrapped"])
def test_paste(idp: Idp, part: str) -> None:
    """The whole address, its query alone, or one that was wrapped on its way; none of it is shown."""
    with program(idp) as terminal:
        pasted = answer(idp, terminal.url())
        if part == "query":
            pasted = pasted.partition("?")[2]
        elif part == "wrapped":
            pasted = f"  <{pasted[:40]} {pasted[40:]}>"
        terminal.type(f"{pasted}\n")
        terminal.read_until("result Ada Lovelace")

    assert dict(parse_qsl(pasted.partition("?")[2] or pasted)).get("code", "-") not in terminal.shown


def test_what_is_no_answer_uses_nothing_up(idp: Idp) -> None:
    """The authorize URL, another sign-in's answer, and nonsense: each time it says what to paste, and goes on."""
    with program(idp) as terminal:
        url = terminal.url()
        good = answer(idp, url)
        for wrong in (url, good.replace("state=", "state=x"), "hello", ""):
            terminal.type(f"{wrong}\n")
            said = terminal.read_until("Address: ")
            assert "paste the whole address" in said or "not signed in yet" in said
        assert idp.requests_to("/token") == 0
        terminal.type(f"\x1b[200~{good}\x1b[201~\n")
        terminal.read_until("result Ada Lovelace")


def test_the_prompt_ends_when_the_browser_comes_back(idp: Idp) -> None:
    """A browser on the same machine finishes by itself: the program goes on without a key."""
    with program(idp) as terminal:
        with urlopen(answer(idp, terminal.url()), timeout=10) as page:  # noqa: S310 - loopback
            assert "Signed in as Ada Lovelace" in page.read().decode()
        terminal.read_until("result Ada Lovelace")


def test_a_long_code(idp: Idp) -> None:
    """A code of 5,000 characters (Azure AD B2C) is more than a terminal takes in one line otherwise."""
    with program(idp) as terminal:
        url = terminal.url()
        params = idp.authorize(url)
        long = params["code"].ljust(5000, "x")
        idp._codes[long] = idp._codes.pop(params["code"])
        terminal.type(f"{urlencode(params | {'code': long})}\n")
        terminal.read_until("result Ada Lovelace")


@pytest.mark.parametrize(
    ("keys", "raised"), [("\x03", "KeyboardInterrupt"), ("\x04", "AuthFlowCancelled flow_cancelled")], ids=["c", "d"]
)
def test_giving_up(idp: Idp, keys: str, raised: str) -> None:
    """Ctrl-C interrupts, as everywhere; Ctrl-D cancels. The terminal shows again what is typed."""
    with program(idp) as terminal:
        terminal.url()
        terminal.type(keys)
        terminal.read_until(f"raised {raised}")


def test_its_time_is_up(idp: Idp) -> None:
    """The prompt has the deadline of ``login(timeout)``."""
    with program(idp, "2") as terminal:
        terminal.read_until("raised AuthFlowTimeout flow_timeout", 20)


def test_declining(idp: Idp) -> None:
    """A pasted refusal ends the sign-in, as in a browser."""
    with program(idp) as terminal:
        url = terminal.url()
        state = dict(parse_qsl(urlsplit(url).query))["state"]
        terminal.type(f"{urlencode({'error': 'access_denied', 'state': state, 'iss': idp.issuer})}\n")
        terminal.read_until("raised AuthFlowCancelled access_denied")


def test_a_code(idp: Idp) -> None:
    """``via="device"``: what to enter is printed, and the program goes on when the user has approved."""
    idp.device_extra = {"interval": 1}
    with program(idp, 'via="device"') as terminal:
        until(lambda: idp._devices, seconds=30)
        (device,) = idp._devices.values()
        said = terminal.read_until(device["user_code"])
        assert f"open {idp.issuer}/enter" in said
        idp.decide(device["user_code"])
        terminal.read_until("result Ada Lovelace")

    assert "CANARY" not in terminal.shown


def test_a_ci_service_has_a_terminal_and_no_user(idp: Idp) -> None:
    """Where ``CI`` is set, a terminal does not mean that a person looks."""
    with program(idp, CI="true") as terminal:
        terminal.read_until("raised LoginRequired no_front_end")


def test_ipython_keeps_no_pasted_text(idp: Idp, tmp_path: Path) -> None:
    """What is pasted stands neither in IPython's history nor on the screen."""
    line = (
        "from pywry_auth_nb import GenericOIDCProvider, SessionManager; "
        f"print('result', SessionManager(GenericOIDCProvider('pywry', issuer_url='{idp.issuer}')).login().success)\n"
    )
    command = ("-m", "IPython", "--simple-prompt", "--no-banner", "--colors=NoColor", "--no-confirm-exit")
    with Terminal(*command, env={"IPYTHONDIR": str(tmp_path)}) as terminal:
        terminal.read_until("In [1]:")
        terminal.type(line)
        pasted = answer(idp, terminal.url())
        terminal.type(f"{pasted}\n")
        terminal.read_until("result True")
        terminal.read_until("In [2]:")
        terminal.type("exit\n")
        history = tmp_path / "profile_default" / "history.sqlite"
        until(lambda: history.exists() and _lines(history), seconds=20)
        kept = " ".join(_lines(history))

    code = dict(parse_qsl(urlsplit(pasted).query))["code"]
    assert "login()" in kept
    assert code not in kept + terminal.shown


def _lines(history: Path) -> list[str]:
    with sqlite3.connect(history) as connection:
        found = [row[0] for row in connection.execute("select source from history")]
    connection.close()
    return found
