"""A program in a terminal of its own, as over ssh: it has no browser, and a person types."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.waiting import over

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

ROOT = Path(__file__).parents[2]
#: Makes its standard input the terminal of the program that it then becomes.
_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
_URL = re.compile(r"^(https?://\S+\?\S+)\s*$", re.MULTILINE)


class Terminal:
    """A running program; use it as a context manager.

    Attributes:
        shown: All that the terminal has shown.
    """

    def __init__(self, *command: str, env: Mapping[str, str] | None = None) -> None:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "PYTHONPATH") if name in os.environ}
        self._env = {**kept, "TERM": "xterm", **(env or {})}
        self._command = [sys.executable, "-c", _TAKE_TERMINAL, sys.executable, *command]
        self.shown = ""

    def __enter__(self) -> Self:
        self._ours, theirs = pty.openpty()
        self._process = subprocess.Popen(
            self._command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, env=self._env, start_new_session=True
        )
        os.close(theirs)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)

    def read_until(self, words: str, seconds: float = 20.0) -> str:
        """Return what is shown up to ``words``, and since the last call."""
        begun, start = time.monotonic(), getattr(self, "_seen", 0)
        while words not in self.shown[start:]:
            assert not over(begun, seconds), f"{words!r} is not in {self.shown[start:]!r}"
            if select.select([self._ours], [], [], 0.1)[0]:
                self.shown += self._read()
        self._seen = self.shown.index(words, start) + len(words)
        return self.shown[start : self._seen]

    def _read(self) -> str:
        try:
            return os.read(self._ours, 65536).decode(errors="replace")
        except OSError:  # Linux: the program has ended
            time.sleep(0.05)
            return ""

    def type(self, keys: str) -> None:
        """Type, or paste, as fast as the terminal takes it."""
        data = keys.encode()
        while data:
            data = data[os.write(self._ours, data[:1024]) :]

    def url(self) -> str:
        """Wait for the address to open, and the prompt after it; return the address."""
        return _URL.findall(self.read_until("Address: ").replace("\r", ""))[-1]
