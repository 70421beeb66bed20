"""qtconsole as a program that types what it is sent, and writes what it shows to a file."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tests.e2e.processes import Process

from .batch import environment

_MAIN = Path(__file__).parent / "qtconsole_main.py"
_ADDRESS = re.compile(r"https?://\S+/auth\?\S+")


class QtConsole(Process):
    """qtconsole with a kernel.

    Args:
        folder: An empty folder for all of it.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "qtconsole.log")
        self._shows = folder / "shows"

    def command(self) -> list[str]:
        """Return the command line."""
        return [sys.executable, str(_MAIN), str(self._shows)]

    def env(self) -> dict[str, str]:
        """Return the environment, in which no screen is."""
        return {**environment(self.log.parent), "QT_QPA_PLATFORM": "offscreen", "QT_API": "pyside6"}

    def is_ready(self) -> bool:
        """Return whether it shows its first prompt."""
        return "In [1]:" in self.text()

    def text(self) -> str:
        """Return all that its window shows."""
        return self._shows.read_text(encoding="utf-8") if self._shows.exists() else ""

    def address(self) -> str:
        """Return the address of the provider that it shows."""
        return _ADDRESS.findall(self.text())[-1]

    def type(self, line: str) -> None:
        """Type a line, once there is a prompt for it, and press Enter."""
        assert self._child is not None
        assert self._child.stdin is not None
        self._child.stdin.write(line.encode() + b"\n")
        self._child.stdin.flush()
