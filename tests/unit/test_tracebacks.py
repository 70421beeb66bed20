"""What a notebook shows for an error of ours: its sentence, its code and the user's own lines."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import traceback
from pathlib import Path

import nbclient
import nbformat
import pytest

from pywry_auth_nb import GenericOIDCProvider, LoginRequired, SessionManager

ROOT = Path(__file__).parents[2]

#: Runs cells in a real IPython, in every traceback mode. argv: a folder with a module of the user's; the cells.
SHELL = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
from pywry_auth_nb import *

class Shell(InteractiveShell):
    def init_history(self):
        super().init_history()
        self.history_manager.enabled = False

sys.path.insert(0, sys.argv[1])
session = SessionManager(GenericOIDCProvider("pywry", authorize_url="https://op/a", token_url="https://op/t"))
shell = Shell.instance(user_ns={"session": session, "SessionManager": SessionManager})
shell.colors = "NoColor"
shell.run_cell("import httpx, requests, theirs")
for mode in ("Plain", "Context", "Verbose", "Minimal", "Docs"):
    shell.run_line_magic("xmode", mode)
    for cell in json.loads(sys.argv[2]):
        print("===")
        shell.run_cell(cell, store_history=False)
    print("===")
"""
THEIRS = "def read(session):\n    return session.access_token\n"

#: Cells; the lines of the user's that are shown; the error.
CASES = [
    ("session.login()", ["Cell In[1], line 1: session.login()"], "LoginRequired [no_front_end]"),
    (
        "print(session.access_token)",
        ["Cell In[1], line 1: print(session.access_token)"],
        "LoginRequired [login_required]",
    ),
    (
        "x = 1\nawait session.get_access_token()",
        ["Cell In[1], line 2: await session.get_access_token()"],
        "LoginRequired [login_required]",
    ),
    (
        "httpx.get('https://op', auth=session.auth)",
        ["Cell In[1], line 1: httpx.get('https://op', auth=session.auth)"],
        "LoginRequired [login_required]",
    ),
    (
        "requests.get('https://op', auth=session.auth)",
        ["Cell In[1], line 1: requests.get('https://op', auth=session.auth)"],
        "LoginRequired [login_required]",
    ),
    (
        "SessionManager.from_settings()",
        ["Cell In[1], line 1: SessionManager.from_settings()"],
        "ConfigurationError [configuration]",
    ),
    (
        "def fetch(_):\n    return session.headers\nlist(map(fetch, [1]))",
        ["Cell In[1], line 3: list(map(fetch, [1]))", "Cell In[1], line 2: return session.headers"],
        "LoginRequired [login_required]",
    ),
    (
        "theirs.read(session)",
        ["Cell In[1], line 1: theirs.read(session)", "theirs.py, line 2: return session.access_token"],
        "LoginRequired [login_required]",
    ),
    (
        "try:\n    {}['x']\nexcept KeyError:\n    session.userinfo()",
        ["Cell In[1], line 4: session.userinfo()"],
        "LoginRequired [login_required]",
    ),
]


def test_ipython_shows_the_sentence_and_the_users_lines(tmp_path: Path) -> None:
    """In every traceback mode: no frame of this package, of an HTTP library or of Python itself."""
    (tmp_path / "theirs.py").write_text(THEIRS)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYWRY_")}
    done = subprocess.run(
        [sys.executable, "-c", SHELL, tmp_path, json.dumps([cell for cell, _, _ in CASES])],
        cwd=ROOT,
        env={**environment, "IPYTHONDIR": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    parts = [part.strip().splitlines() for part in done.stdout.split("===\n")]
    printed = [lines for lines in parts if lines and not lines[0].startswith("Exception reporting mode")]

    assert len(printed) == 5 * len(CASES)
    for number, shown in enumerate(printed):
        _, lines, error = CASES[number % len(CASES)]
        assert len(shown) == len(lines) + 1, shown
        for line, expected in zip(shown, lines, strict=False):
            assert line.endswith(expected), shown
        assert shown[-1].startswith(f"{error}: "), shown
        assert shown[-1].endswith((".", ")")), shown


def test_a_kernel_sends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a notebook keeps of it: the cell's name and line; name and value of the error are as ever."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    source = (
        "from pywry_auth_nb import GenericOIDCProvider, SessionManager\n"
        "session = SessionManager(GenericOIDCProvider('pywry', authorize_url='https://op/a', token_url='https://op/t'))\n"
        "session.access_token"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    nbclient.NotebookClient(notebook, timeout=60, allow_errors=True, kernel_name="python3").execute()
    [output] = notebook.cells[0].outputs

    assert output.ename == "LoginRequired"
    assert "\n".join(output.traceback).splitlines() == [
        "Cell In[1], line 3: session.access_token",
        f"LoginRequired [login_required]: {output.evalue}",
    ]


def test_plain_python_and_logs_show_everything(caplog: pytest.LogCaptureFixture) -> None:
    """Outside IPython's display a traceback is whole: for logs, for tests and for reports of bugs."""
    session = SessionManager(GenericOIDCProvider("pywry", authorize_url="https://op/a", token_url="https://op/t"))
    with pytest.raises(LoginRequired) as caught:
        session.userinfo()
    logging.getLogger("theirs").error("failed", exc_info=caught.value)
    for text in ("".join(traceback.format_exception(caught.value)), caplog.text):
        assert "session.py" in text
        assert "in userinfo" in text
        assert f"pywry_auth_nb.errors.LoginRequired: {caught.value}" in text


def test_an_error_that_was_never_raised_has_no_lines() -> None:
    """As ``session.error`` has been stripped of its frames."""
    assert LoginRequired(code="no_front_end")._render_traceback_() == [
        f"LoginRequired [no_front_end]: {LoginRequired(code='no_front_end')}"
    ]
