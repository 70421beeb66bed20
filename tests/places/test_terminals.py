"""In a terminal: open an address, or find it open, sign in; a browser on another machine ends with a paste."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.e2e.saved import kept_in
from tests.e2e.sign_in import answer_of, sign_in
from tests.support.waiting import until

from . import cells
from .servers import Place
from .terminal import SSH, Terminal, browser_that_notes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.e2e.processes import Provider

pytestmark = pytest.mark.timeout(600)
PASTE = "paste it here and press Enter"


@pytest.fixture
def program(provider: Provider, tmp_path: Path) -> Path:
    """A file of Python that makes a session."""
    path = tmp_path / "program.py"
    path.write_text(cells.session(provider), encoding="utf-8")
    return path


@pytest.fixture
def ipython(program: Path, tmp_path: Path) -> Iterator[Terminal]:
    """IPython, with a session."""
    with Terminal(["-m", "IPython", "--no-banner", "-i", str(program)], tmp_path, SSH) as terminal:
        terminal.wait_for("In [1]:")
        yield terminal


def history(home: Path) -> Path:
    """Return the folder of what was typed in IPython, or in a console of Jupyter."""
    folder = home / "ipython" / "profile_default"
    assert b"session.login" in (folder / "history.sqlite").read_bytes()
    return folder


def test_ipython(ipython: Terminal, provider: Provider, page: Page, tmp_path: Path) -> None:
    """IPython shows the address; the browser comes back by itself, and the prompt goes away without a key."""
    ipython.type(cells.WAIT)
    ipython.wait_for(PASTE)
    page.goto(ipython.address())
    sign_in(page)
    page.get_by_role("heading", name="Signed in as ada").wait_for()
    ipython.wait_for("signed in as ada")
    ipython.type(cells.CALL.replace("\n", "; "))
    ipython.wait_for("status 200")
    ipython.type("exit")
    ipython.wait_for_end()
    assert kept_in(history(tmp_path), provider) == []


def test_over_ssh(program: Path, provider: Provider, page: Page, tmp_path: Path) -> None:
    """A script over ssh: the browser elsewhere cannot come back; its address is pasted, a wrong one costs nothing."""
    program.write_text("\n".join([cells.session(provider), cells.WAIT, cells.CALL]), encoding="utf-8")
    with Terminal([str(program)], tmp_path, SSH) as terminal:
        terminal.wait_for(PASTE)
        page.goto(terminal.address())
        answer = answer_of(page)
        terminal.paste(terminal.address())
        terminal.wait_for("That is the address to sign in at")
        terminal.paste(answer)
        terminal.wait_for("signed in as ada")
        terminal.wait_for("status 200")
        assert terminal.wait_for_end() == 0
        assert answer not in terminal.text


def test_script_with_a_browser(program: Path, provider: Provider, page: Page, tmp_path: Path) -> None:
    """A script on a machine with a browser opens it, and goes on when the user has signed in there."""
    program.write_text("\n".join([cells.session(provider), cells.WAIT, cells.CALL]), encoding="utf-8")
    opened = tmp_path / "opened"
    with Terminal([str(program)], tmp_path, {"BROWSER": browser_that_notes(tmp_path)}) as terminal:
        until(lambda: opened.exists() and opened.read_text(), "no browser was opened", 20)
        page.goto(opened.read_text())
        sign_in(page)
        page.get_by_role("heading", name="Signed in as ada").wait_for()
        terminal.wait_for("status 200")
        assert terminal.wait_for_end() == 0


def test_jupyter_console(program: Path, provider: Provider, page: Page, tmp_path: Path) -> None:
    """``jupyter console``: the address stands above a prompt, and what the user pastes there is not shown."""
    with Terminal(["-m", "jupyter_console"], tmp_path, SSH) as terminal:
        by_paste_in_a_console(terminal, program, page)
    assert kept_in(history(tmp_path), provider) == []


def test_jupyter_console_on_a_servers_kernel(program: Path, page: Page, tmp_path: Path) -> None:
    """``jupyter console --existing`` on a kernel that JupyterLab has started: it is no page, so it is asked as well."""
    with Place("lab", tmp_path / "server") as server:
        kernel = server.api("POST", "api/kernels", json={"name": "python3"}).json()["id"]
        connection = server.env()["JUPYTER_RUNTIME_DIR"] + f"/kernel-{kernel}.json"
        with Terminal(["-m", "jupyter_console", "--existing", connection], tmp_path, SSH) as terminal:
            by_paste_in_a_console(terminal, program, page)


def by_paste_in_a_console(terminal: Terminal, program: Path, page: Page) -> None:
    """Sign in at a prompt of a console, and call an API."""
    terminal.wait_for("In [1]:")
    terminal.type(f"%run {program}")
    terminal.wait_for("In [2]:")
    terminal.type(cells.WAIT)
    terminal.wait_for(PASTE)
    page.goto(terminal.address())
    answer = answer_of(page)
    terminal.paste(answer)
    terminal.wait_for("signed in as ada")
    terminal.wait_for("In [3]:")
    terminal.type(cells.CALL.replace("\n", "; "))
    terminal.wait_for("status 200")
    assert answer not in terminal.text


def test_script_without_a_terminal(program: Path, provider: Provider, tmp_path: Path) -> None:
    """A script in cron or a container has no terminal: LoginRequired, which says how to give a token."""
    import subprocess

    from .batch import environment

    program.write_text("\n".join([cells.session(provider), "session.login()"]), encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, str(program)],
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
        text=True,
    )

    assert ended.returncode == 1
    assert "LoginRequired" in ended.stderr.splitlines()[-1]
    assert "PYWRY_OAUTH2__ACCESS_TOKEN_FILE" in ended.stderr.splitlines()[-1]
