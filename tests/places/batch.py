"""Programs that run a notebook, or a file, without a user."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.e2e.processes import KEPT_ENV
from tests.support.waiting import patience

from .cells import login, write_notebook

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_DEADLINE = 60.0  # seconds, for the program and its kernel together
_NBCLIENT = "import sys, nbformat, nbclient; nbclient.NotebookClient(nbformat.read(sys.argv[1], 4)).execute()"


@dataclass(frozen=True)
class Runner:
    """A program that runs a notebook.

    Attributes:
        arguments: How Python is called; ``NOTEBOOK`` and ``COPY`` stand for paths.
        is_script: Whether it runs a file of Python instead.
    """

    arguments: tuple[str, ...]
    is_script: bool = False


RUNNERS = {
    "papermill": Runner(("-m", "papermill", "NOTEBOOK", "COPY")),
    "nbconvert": Runner(("-m", "nbconvert", "--execute", "--to", "notebook", "--output", "COPY", "NOTEBOOK")),
    "nbclient": Runner(("-c", _NBCLIENT, "NOTEBOOK")),
    "nbval": Runner(("-m", "pytest", "-p", "no:cacheprovider", "--nbval", "NOTEBOOK")),
    "jupyter run": Runner(("-m", "jupyter_client.runapp", "NOTEBOOK"), is_script=True),
}


@dataclass(frozen=True)
class Ended:
    """How a program ended.

    Attributes:
        status: Its exit status.
        text: All that it wrote.
        took: Seconds that the sign-in took in the kernel; None if no cell came that far.
    """

    status: int
    text: str
    took: float | None


def run(runner: Runner, folder: Path, setup: str, *cells: str, env: Mapping[str, str] | None = None) -> Ended:
    """Run a notebook, or the same as a file: ``setup``, a sign-in, and then ``cells``.

    Raises:
        subprocess.TimeoutExpired: It hangs.
    """
    took = folder / "took"
    path = _write(runner, folder, [setup, login(took), *cells])
    places = {"NOTEBOOK": str(path), "COPY": str(folder / "copy.ipynb")}
    ended = subprocess.run(
        [sys.executable, *(places.get(argument, argument) for argument in runner.arguments)],
        cwd=folder,
        env={**environment(folder), **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_DEADLINE * patience(),
        check=False,
    )
    text = ended.stdout.decode(errors="replace")
    return Ended(ended.returncode, text, float(took.read_text()) if took.exists() else None)


def environment(home: Path) -> dict[str, str]:
    """Return what a program may know of this machine: the PATH, this package, and a home of its own."""
    kept = {name: os.environ[name] for name in (*KEPT_ENV, "PYTHONPATH") if name in os.environ}
    own = {
        "HOME": str(home),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "JUPYTER_PLATFORM_DIRS": "1",
        "IPYTHONDIR": str(home / "ipython"),
    }
    return {**kept, **own, "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}


def _write(runner: Runner, folder: Path, cells: list[str]) -> Path:
    if not runner.is_script:
        return write_notebook(folder / "notebook.ipynb", cells)
    path = folder / "program.py"
    path.write_text("\n".join(cells), encoding="utf-8")
    return path
