"""Asks a kernel something on its control channel, which it serves while a cell is running."""

from __future__ import annotations

import queue
import time
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from jupyter_core.utils import ensure_async

from .._wire import protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .._wire.error_codes import ErrorCode

_SLICE = 1.0  # seconds between looks at whether the kernel lives
_ACCEPT_DEADLINE = 5.0  # seconds: a healthy kernel accepts in milliseconds, also while a cell is running


class KernelUnavailable(Exception):  # noqa: N818 - a state of affairs
    """The kernel cannot answer; ``code`` says why."""

    def __init__(self, code: ErrorCode) -> None:
        super().__init__(code)
        self.code = code


async def ask(kernels: Any, kernel_id: str, request: str, content: dict[str, Any], deadline: float) -> dict[str, Any]:
    """Send ``request`` to a kernel and return the content of its reply.

    Args:
        kernels: The server's kernel manager (``MappingKernelManager`` or the gateway's).
        kernel_id: Which kernel.
        request: One of :mod:`pywry_auth_nb._protocol`.
        content: Its content; no secret in a log: jupyter_client writes none down.
        deadline: Seconds to wait for the reply.

    Raises:
        KernelUnavailable: Code ``kernel_gone``, ``no_session`` (it does not know such requests), ``kernel_busy`` (it
            does not even accept) or ``kernel_slow`` (it accepted, and may still finish).
    """
    if not await _lives(kernels, kernel_id):
        raise KernelUnavailable("kernel_gone")
    async with _control_channel(kernels.get_kernel(kernel_id)) as client:
        message = client.session.msg(f"{request}_request", {"protocol": protocol.PROTOCOL, **content})
        probe = client.session.msg("kernel_info_request", {})
        client.control_channel.send(message)
        client.control_channel.send(probe)  # every kernel answers it, in order: tells a stranger from a busy one
        until = time.monotonic() + _ACCEPT_DEADLINE
        accepted = False
        while time.monotonic() < until:
            reply = await _receive(client)
            parent = reply["parent_header"].get("msg_id") if reply else None
            if reply is None:
                if not await _lives(kernels, kernel_id):
                    raise KernelUnavailable("kernel_gone")
            elif parent == message["msg_id"] and reply["msg_type"] == f"{request}_accepted":
                accepted, until = True, time.monotonic() + deadline
            elif parent == message["msg_id"]:
                return dict(reply["content"])
            elif parent == probe["msg_id"] and not accepted:
                raise KernelUnavailable("no_session")
    raise KernelUnavailable("kernel_slow" if accepted else "kernel_busy")


async def _lives(kernels: Any, kernel_id: str) -> bool:
    return kernel_id in kernels and bool(await ensure_async(kernels.is_alive(kernel_id)))


@asynccontextmanager
async def _control_channel(kernel: Any) -> AsyncIterator[Any]:
    """Open just the control channel of a kernel, here or behind a gateway.

    With a session of our own: a kernel knows its clients by their session's name, and a second client of the same name
    would take the first one's replies.
    """
    session = kernel.session.clone()
    session.session = uuid.uuid4().hex
    client = kernel.client(session=session)
    await ensure_async(client.start_channels(shell=False, iopub=False, stdin=False, hb=False, control=True))
    try:
        yield client
    finally:
        client.stop_channels()


async def _receive(client: Any) -> dict[str, Any] | None:
    """Return the next message, or None when a second has passed without one."""
    try:
        message: dict[str, Any] = await ensure_async(client.control_channel.get_msg(timeout=_SLICE))
    except queue.Empty:
        return None
    return message
