"""marimo as a program: its editor, or a notebook of it as an app."""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING

import httpx

from tests.e2e.processes import Process
from tests.support.ports import free_port

from .batch import environment

if TYPE_CHECKING:
    from pathlib import Path

_CELL = "@app.cell\ndef _({needs}):\n{body}\n    return {gives}\n\n"


class Marimo(Process):
    """marimo with a notebook, whose cells are run when a page opens it.

    Args:
        command: ``"edit"`` or ``"run"``.
        folder: An empty folder for all of it.
        setup: The cell that makes ``session``.
        shows: The cell that shows something of it.
    """

    def __init__(self, command: str, folder: Path, setup: str, shows: str) -> None:
        super().__init__(folder / "marimo.log")
        self._command = command
        self._notebook = folder / "app.py"
        first = _CELL.format(needs="", body=textwrap.indent(setup, "    "), gives="(session,)")
        second = _CELL.format(needs="session", body=textwrap.indent(shows, "    "), gives="()")
        self._notebook.write_text(f"import marimo\n\napp = marimo.App()\n\n{first}{second}", encoding="utf-8")
        settings = "[tool.marimo.runtime]\nauto_instantiate = true\n"  # the editor runs no cell by itself otherwise
        (folder / "pyproject.toml").write_text(settings, encoding="utf-8")
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}/"

    def command(self) -> list[str]:
        """Return the command line."""
        options = ["--headless", "--no-token", "--host", "127.0.0.1", "--port", str(self._port)]
        return [sys.executable, "-m", "marimo", "-q", self._command, *options, str(self._notebook)]

    def env(self) -> dict[str, str]:
        """Return the environment."""
        return {**environment(self.log.parent), "MARIMO_SKIP_UPDATE_CHECK": "1"}

    def is_ready(self) -> bool:
        """Return whether it answers."""
        try:
            return httpx.get(f"{self.url}health", timeout=5, trust_env=False).is_success
        except httpx.TransportError:
            return False
