"""A prompt in a terminal that ends by itself: what is typed or pasted is not shown, and stands in no history.

`input()` and `getpass` wait until Enter is pressed, and a terminal in its usual mode cuts a line at 4,095 characters,
which an authorization code may exceed.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SLICE = 0.2  # seconds
_MAX_LINE = 65_536  # characters
_BRACKETS = re.compile(r"\x1b\[20[01]~")  # around what is pasted, where the terminal was told to mark it
_ERASE, _KILL, _END = "\x7f\x08", "\x15", "\x04"


def has_terminal() -> bool:
    """Whether a user can answer at a prompt: this is the main thread of a program in the foreground of a terminal.

    A program in the background would be stopped when it reads. CI services have terminals, too, and say what they are.
    """
    if threading.current_thread() is not threading.main_thread() or os.environ.get("CI"):
        return False
    try:
        ours = sys.stdin.fileno()
        return os.isatty(ours) and os.isatty(sys.stdout.fileno()) and _is_in_foreground(ours)
    except (AttributeError, OSError, ValueError):  # replaced, or closed
        return False


def _is_in_foreground(terminal: int) -> bool:
    return os.name == "nt" or os.tcgetpgrp(terminal) == os.getpgrp()


def ask(prompt: str, over: Callable[[], bool], until: float) -> str | None:
    """Return a line that the user types or pastes, without showing it.

    Args:
        prompt: Printed first.
        over: Whether there is nothing more to ask; looked at five times a second.
        until: Monotonic seconds when to give up.

    Returns:
        The line; None if ``over`` became true, or the time is up.

    Raises:
        EOFError: The user pressed Ctrl-D (Windows: Ctrl-Z) on an empty line, or the terminal is gone.
    """
    line = ""
    with _reader() as read:
        print(prompt, end="", flush=True)  # noqa: T201 - the user reads it; what is typed from now on is not shown
        while not over() and (left := until - time.monotonic()) > 0:
            line, finished = _edited(line, _BRACKETS.sub("", read(min(left, _SLICE))))
            if finished:
                print(flush=True)  # noqa: T201
                return line
    print(flush=True)  # noqa: T201
    return None


def _edited(line: str, typed: str) -> tuple[str, bool]:
    """Return the line after the keys that were typed, and whether one of them was Enter."""
    for key in typed:
        if key in "\r\n":
            return line, True
        if key == _END and not line:
            raise EOFError
        if key in _ERASE:
            line = line[:-1]
        elif key == _KILL:
            line = ""
        elif len(line) < _MAX_LINE:
            line += key
    return line, False


if sys.platform == "win32":

    @contextlib.contextmanager
    def _reader() -> Iterator[Callable[[float], str]]:
        """Yield a function that returns what was typed within some seconds."""
        import msvcrt

        def read(seconds: float) -> str:
            if not msvcrt.kbhit():
                time.sleep(min(seconds, _SLICE / 4))
            keys = ""
            while msvcrt.kbhit():
                keys += msvcrt.getwch()
            if "\x03" in keys:
                raise KeyboardInterrupt
            return keys.replace("\x1a", _END)

        yield read

else:

    @contextlib.contextmanager
    def _reader() -> Iterator[Callable[[float], str]]:
        """Yield a function that returns what was typed within some seconds. Ctrl-C works as always."""
        import codecs
        import select
        import termios

        terminal = sys.stdin.fileno()
        before: list[Any] = termios.tcgetattr(terminal)
        quiet = [*before]
        quiet[3] &= ~(termios.ICANON | termios.ECHO)
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode

        def read(seconds: float) -> str:
            if not select.select([terminal], [], [], seconds)[0]:
                return ""
            typed = os.read(terminal, 4096)
            if not typed:
                raise EOFError
            return decode(typed)

        termios.tcsetattr(terminal, termios.TCSADRAIN, quiet)
        try:
            yield read
        finally:  # what was pasted too late must not go to the shell
            termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
