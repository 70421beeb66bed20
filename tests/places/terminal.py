"""A terminal with a program in it, as a user sees and types it."""

from __future__ import annotations

import re
import shlex
import sys
from typing import TYPE_CHECKING

import pexpect

from tests.support.waiting import patience

from .batch import environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from typing_extensions import Self

#: What a shell over ssh has in its environment.
SSH = {"SSH_CONNECTION": "192.0.2.1 50000 192.0.2.2 22", "SSH_TTY": "/dev/pts/0"}
_CONTROLS = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_=>])|\r")
_ADDRESS = re.compile(r"https?://\S+/auth\?\S+")
_PATIENCE = 20.0  # seconds of an idle machine


class Terminal:
    """A terminal of 200 columns in which a program runs; a context manager that ends it.

    Args:
        arguments: Of this Python.
        folder: The home and the working directory.
        env: More variables.
    """

    def __init__(self, arguments: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> None:
        self._text = ""
        self._seen = 0
        self._child = pexpect.spawn(
            sys.executable,
            [*arguments],
            cwd=str(folder),
            env={**environment(folder), "TERM": "xterm", "NO_COLOR": "1", **(env or {})},  # type: ignore[arg-type]
            encoding="utf-8",
            codec_errors="replace",
            dimensions=(50, 200),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._child.close(force=True)

    def type(self, line: str) -> None:
        """Type a line and press Enter."""
        self._child.send(line + "\r")

    def paste(self, text: str) -> None:
        """Paste text, as a terminal does where the program has asked for brackets around it, and press Enter."""
        self._child.send(text)
        self._child.send("\r")

    def wait_for(self, text: str, seconds: float = _PATIENCE) -> str:
        """Wait until the program writes ``text``, which may be broken into lines; return all since the last wait."""
        pattern = re.compile(r"\s*".join(re.escape(letter) for letter in text if not letter.isspace()))
        begun = self._seen
        while not (found := pattern.search(self._text, begun)):
            try:
                self._text += _CONTROLS.sub("", self._child.read_nonblocking(65536, seconds * patience()))
            except (pexpect.TIMEOUT, pexpect.EOF):  # noqa: PERF203 - each read may be the last
                raise AssertionError(f"no {text!r} in:\n{self._text[-4000:]}") from None
        self._seen = found.end()
        return self._text[begun : found.end()]

    def address(self) -> str:
        """Return the address of the provider that the program has shown last."""
        joined = re.sub(r"(?<=\S)\n(?=\S)", "", self._text)  # a line is broken where the terminal ends
        return _ADDRESS.findall(joined)[-1]

    def wait_for_end(self, seconds: float = _PATIENCE) -> int:
        """Wait until the program has ended; return its exit status."""
        try:
            while True:
                self._text += _CONTROLS.sub("", self._child.read_nonblocking(65536, seconds * patience()))
        except pexpect.EOF:
            self._child.close()
            return int(self._child.exitstatus or 0)

    @property
    def text(self) -> str:
        """All that the program wrote, and what the terminal showed of what was typed."""
        return self._text


def browser_that_notes(folder: Path) -> str:
    """Return the value of $BROWSER for a browser that writes the address that it opens to ``folder / "opened"``."""
    script = folder / "browser.sh"
    script.write_text(f'#!/bin/sh\nprintf %s "$1" >{shlex.quote(str(folder / "opened"))}\n', encoding="utf-8")
    script.chmod(0o755)
    return f"{script} %s"
