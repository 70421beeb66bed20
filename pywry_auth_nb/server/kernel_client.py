"""Requests to a kernel on its control channel, which it serves even while a cell is running."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

from jupyter_core.utils import ensure_async
from jupyter_server.gateway.managers import GatewayKernelClient

from .._wire import protocol
from .control_channel import ControlChannel, KernelUnavailable, open_local
from .gateway import open_gateway

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

_ACCEPT_DEADLINE = 5.0  # seconds: a healthy kernel accepts in milliseconds, even while a cell is running


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
            not accept in time), ``kernel_slow`` (it accepted, and may still finish), ``gateway_refused`` or
            ``gateway_unavailable``.
    """
    async with _open(kernels, kernel_id) as channel:
        await _ensure_known(channel, f"{request}_request")
        message = await channel.send(f"{request}_request", {"protocol": protocol.PROTOCOL, **content})
        until = time.monotonic() + _ACCEPT_DEADLINE
        accepted = False
        while time.monotonic() < until:
            reply = await channel.receive()
            if reply is None or reply["parent_header"].get("msg_id") != message:
                continue
            if reply["msg_type"] != f"{request}_accepted":
                return dict(reply["content"])
            accepted, until = True, time.monotonic() + deadline
    raise KernelUnavailable("kernel_slow" if accepted else "kernel_busy")


async def _ensure_known(channel: ControlChannel, message_type: str) -> None:
    """Wait until the kernel shows that it knows a request, by its answer to an empty one.

    At DEBUG, a kernel logs a request that it does not know in full, and a gateway one that it cannot pass on.
    """
    empty = await channel.send(message_type, {})
    probe = await channel.send("kernel_info_request", {})  # every kernel answers it, and answers in order
    until = time.monotonic() + _ACCEPT_DEADLINE
    while time.monotonic() < until:
        reply = await channel.receive()
        parent = reply and reply["parent_header"].get("msg_id")
        if parent == empty:
            return
        if parent == probe:
            raise KernelUnavailable("no_session")
    raise KernelUnavailable("kernel_busy")


def _open(kernels: Any, kernel_id: str) -> AbstractAsyncContextManager[ControlChannel]:
    """Open the control channel of a kernel of this server, local or behind a gateway.

    It uses a new session ID: a kernel routes replies by session, so a client with the same ID as another would receive
    the other's replies.
    """
    if kernel_id not in kernels:  # a gateway may have kernels of other users
        raise KernelUnavailable("kernel_gone")
    kernel = kernels.get_kernel(kernel_id)
    session = kernel.session.clone()
    session.session = uuid.uuid4().hex
    client = kernel.client(session=session)
    if isinstance(client, GatewayKernelClient):
        return open_gateway(client)
    return open_local(client, lambda: _is_alive(kernels, kernel_id))


async def _is_alive(kernels: Any, kernel_id: str) -> bool:
    return kernel_id in kernels and bool(await ensure_async(kernels.is_alive(kernel_id)))
