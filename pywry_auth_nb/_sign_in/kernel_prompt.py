"""A prompt in a kernel's front end, by an ``input_request`` of Jupyter messaging.

ipykernel's own `input()` can be ended by an interrupt only. Here the kernel stops waiting when the sign-in has ended;
the front end still shows its prompt until the user presses Enter, and ipykernel drops such a late reply. The request
is for a password, since a front end may show what is typed, or save it in a notebook. JupyterLab saves the prompt.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from .front_end import current_kernel, has_front_end

if TYPE_CHECKING:
    from collections.abc import Callable

_SLICE = 0.2  # seconds
_END = "\x04"  # how front ends report the end of their input


def has_input() -> bool:
    """Whether the front end that runs this cell takes input: it says so, and this is the thread that runs the cell."""
    is_main = threading.current_thread() is threading.main_thread()
    return is_main and has_front_end() and getattr(current_kernel(), "stdin_socket", None) is not None


def ask(prompt: str, over: Callable[[], bool], until: float) -> str | None:
    """Return what the user types or pastes in the front end; see :func:`_io.terminal_prompt.ask`.

    Raises:
        EOFError: The front end has no input.
    """
    kernel = current_kernel()
    socket = kernel.stdin_socket
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    _drop_replies(socket)
    kernel.session.send(
        socket,
        "input_request",
        {"prompt": prompt, "password": True},
        parent=kernel.get_parent("shell"),
        ident=_sender(kernel),
    )
    while not over() and (left := until - time.monotonic()) > 0:
        if socket.poll(int(min(left, _SLICE) * 1000)):
            return _value(kernel.session.recv(socket)[1])
    return None


def _value(reply: Any) -> str:
    try:
        value = str(reply["content"]["value"])
    except (KeyError, TypeError):
        return ""
    if value == _END:
        raise EOFError
    return value


def _drop_replies(socket: Any) -> None:
    """Drop replies to prompts of before."""
    with contextlib.suppress(Exception):  # zmq.Again: nothing is waiting; ipykernel does the same
        while socket.poll(0):
            socket.recv_multipart()


def _sender(kernel: Any) -> Any:
    """Return where the request of the running cell came from; ipykernel 7 has it in a context variable."""
    if hasattr(kernel, "_shell_parent_ident"):
        return kernel._get_shell_context_var(kernel._shell_parent_ident)  # noqa: SLF001 - as raw_input() does
    return kernel._parent_ident["shell"]  # noqa: SLF001 - as raw_input() does
