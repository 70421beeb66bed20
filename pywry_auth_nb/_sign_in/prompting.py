"""Asking a user for the address at which the browser ended, until the sign-in has."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .._io.loop import run
from ..errors import AuthenticationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .ways.loopback import Loopback

    #: Asks with a prompt, until something is true or a time in monotonic seconds has come; returns a line, or None.
    Ask = Callable[[str, Callable[[], bool], float], str | None]

_REDEEM = 60.0  # seconds that the provider may take to redeem an answer
_NOT_YET = "You are not signed in yet."
#: Says what to paste where the browser cannot come back by itself.
PASTE = (
    "If the browser ends at a page that it cannot open, copy the address of that page, paste it here and press Enter.\n"
    "{more}Address: "
)
#: What a terminal does with it. Consoles of Jupyter differ: qtconsole shows it, and says so.
HIDDEN = "It is not shown. "


def keep_asking(
    ask: Ask, prompt: str, over: Callable[[], bool], until: float, take: Callable[[str], str | None]
) -> None:
    """Ask until ``over``, or the time is up.

    Args:
        ask: Asks once.
        prompt: The first prompt.
        over: Whether the sign-in has ended.
        until: Monotonic seconds.
        take: Uses a line, and returns the next prompt; None if there is nothing more to ask.

    Raises:
        EOFError: The user has ended the input, or there is none.
    """
    question: str | None = prompt
    try:
        while question is not None and not over() and time.monotonic() < until:
            line = ask(question, over, until)
            question = None if line is None else take(line)
    except KeyboardInterrupt as interrupt:  # a traceback with local variables would show what was pasted
        line = None
        raise interrupt.with_traceback(None) from None


def take_address(way: Loopback, line: str) -> str | None:
    """Finish a sign-in with what was pasted; return the next prompt, or None if the sign-in has ended with it."""
    if not line.strip():
        return f"{_NOT_YET} Address: "
    try:
        run(way.paste(line), _REDEEM)
    except AuthenticationError as error:
        return f"{error.message}\nAddress: " if error.code == "paste_unusable" else None
    return None


def take_nothing(_line: str) -> str:
    """Return the prompt after Enter was pressed too early."""
    return f"{_NOT_YET} Press Enter when you are. "
