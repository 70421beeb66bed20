"""Requests to a kernel on its control channel, which it serves even while a cell is running."""

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

_SLICE = 1.0  # seconds between checks that the kernel is alive
_ACCEPT_DEADLINE = 5.0  # seconds: a healthy kernel accepts in milliseconds, even while a cell is running


class KernelUnavailable(Exception):  # noqa: N818 - not an error of the program
    """The kernel cannot answer; ``code`` says why."""

    def __init__(self, code: ErrorCode) -> None:
        super().__init__(code)
        self.code = code


async def ask(kernels: Any, kernel_id: str, request: str, content: dict[str, Any], deadline: float) -> dict[str, Any]:
    """Send ``request`` to a kernel and return the content of its reply.

    Args:
        kernels: The server's kernel manager (``MappingKernelManager`` or the gateway's).
        kernel_id: ID of the kernel.
        request: A request of :mod:`pywry_auth_nb._wire.protocol`.
        content: Its content, which jupyter_client does not log.
        deadline: Seconds to wait for the reply, once the kernel has accepted.

    Raises:
        KernelUnavailable: Code ``kernel_gone``, ``no_session`` (it does not know the request), ``kernel_busy`` (it did
            not accept in time) or ``kernel_slow`` (it accepted, and may still finish).
    """
    if not await _is_alive(kernels, kernel_id):
        raise KernelUnavailable("kernel_gone")
    async with _control_channel(kernels.get_kernel(kernel_id)) as client:
        message = client.session.msg(f"{request}_request", {"protocol": protocol.PROTOCOL, **content})
        probe = client.session.msg("kernel_info_request", {})
        client.control_channel.send(message)
        client.control_channel.send(probe)  # every kernel answers it, in order: so an unknown request is noticed
        until = time.monotonic() + _ACCEPT_DEADLINE
        accepted = False
        while time.monotonic() < until:
            reply = await _receive(client)
            parent = reply["parent_header"].get("msg_id") if reply else None
            if reply is None:
                if not await _is_alive(kernels, kernel_id):
                    raise KernelUnavailable("kernel_gone")
            elif parent == message["msg_id"] and reply["msg_type"] == f"{request}_accepted":
                accepted, until = True, time.monotonic() + deadline
            elif parent == message["msg_id"]:
                return dict(reply["content"])
            elif parent == probe["msg_id"] and not accepted:
                raise KernelUnavailable("no_session")
    raise KernelUnavailable("kernel_slow" if accepted else "kernel_busy")


async def _is_alive(kernels: Any, kernel_id: str) -> bool:
    return kernel_id in kernels and bool(await ensure_async(kernels.is_alive(kernel_id)))


@asynccontextmanager
async def _control_channel(kernel: Any) -> AsyncIterator[Any]:
    """Open only the control channel of a kernel, local or behind a gateway.

    It uses a new session ID: a kernel routes replies by session, so a client with the same ID as another would receive
    the other's replies.
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
    """Return the next message, or None if there is none for a second."""
    try:
        message: dict[str, Any] = await ensure_async(client.control_channel.get_msg(timeout=_SLICE))
    except queue.Empty:
        return None
    return message
