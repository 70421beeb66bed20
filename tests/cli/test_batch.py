"""Real papermill runs a notebook without a person: with a stored sign-in, with a provided token, with neither."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import nbformat
import pytest
from nbformat import v4

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Said
    from tests.support.idp import Idp

    Cli = Callable[..., Said]
    Papermill = Callable[[], tuple[subprocess.CompletedProcess[str], str]]


DEADLINE = 120  # seconds: a kernel starts
#: What docs/batch.md says, and a request with the token.
CELLS = (
    "from pywry_auth_nb import SessionManager\n\nsession = SessionManager.from_settings()",
    "import httpx\n\nhttpx.get('{issuer}/userinfo', auth=session.auth).json()['name']",
    "session",
)


@pytest.fixture
def papermill(tmp_path: Path, idp: Idp, environment: pytest.MonkeyPatch) -> Papermill:
    """Run the notebook; return how papermill ended, and the notebook that it has saved."""
    environment.setenv("PYWRY_OAUTH2__ALLOWED_ORIGINS", idp.issuer)

    def run() -> tuple[subprocess.CompletedProcess[str], str]:
        cells = [v4.new_code_cell(cell.replace("{issuer}", idp.issuer)) for cell in CELLS]
        notebook = v4.new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python"}})
        nbformat.write(notebook, tmp_path / "report.ipynb")
        command = [sys.executable, "-m", "papermill", "--progress-bar", "report.ipynb", "out.ipynb"]
        environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=DEADLINE, check=False
        )
        return done, (tmp_path / "out.ipynb").read_text()

    return run


def test_a_stored_sign_in(signed_in: Cli, papermill: Papermill) -> None:
    """After ``pywry-auth login`` the job is signed in as Ada; the saved notebook has no token."""
    done, saved = papermill()

    assert done.returncode == 0, done.stderr
    assert "Ada Lovelace" in saved
    assert "signed_in as" in saved
    assert "CANARY" not in saved + done.stdout + done.stderr


def test_a_token_from_the_environment(
    environment: pytest.MonkeyPatch,
    tmp_path: Path,
    papermill: Papermill,
) -> None:
    """A token in a file is enough; no provider and no store are set."""
    for name in [name for name in os.environ if name.startswith("PYWRY_OAUTH2__")]:
        environment.delenv(name)
    (tmp_path / "token").write_text("CANARY-at-provided\n")
    environment.setenv("PYWRY_OAUTH2__ACCESS_TOKEN_FILE", str(tmp_path / "token"))

    done, saved = papermill()

    assert done.returncode == 0, done.stderr
    assert "Ada Lovelace" in saved
    assert "CANARY" not in saved + done.stdout + done.stderr


def test_neither(papermill: Papermill) -> None:
    """The job fails at once, and says what is missing."""
    begun = time.monotonic()
    done, saved = papermill()

    assert done.returncode != 0
    assert "LoginRequired" in saved
    assert "pywry-auth login" in saved
    assert time.monotonic() - begun < DEADLINE / 2
