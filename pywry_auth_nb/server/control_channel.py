"""The control channel of a kernel, which it serves even while a cell is running: that of a kernel on this machine."""

from __future__ import annotations

import queue
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

from jupyter_core.utils import ensure_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from .._wire.error_codes import ErrorCode

SLICE = 1.0  # seconds that ``receive`` waits


class KernelUnavailable(Exception):  # noqa: N818 - not an error of the program
    """The kernel cannot answer; ``code`` says why."""

    def __init__(self, code: ErrorCode) -> None:
        super().__init__(code)
        self.code = code


class ControlChannel(Protocol):
    """An open control channel, which receives only the answers to what it sent."""

    async def send(self, message_type: str, content: dict[str, Any]) -> str:
        """Send a message, and return its ID.

        Raises:
            KernelUnavailable: The way to the kernel is closed.
        """

    async def receive(self) -> dict[str, Any] | None:
        """Return the next message, or None if there is none for a second.

        Raises:
            KernelUnavailable: There will be none.
        """


class _LocalChannel:
    """The control channel of a kernel on this machine."""

    def __init__(self, client: Any, is_alive: Callable[[], Awaitable[bool]]) -> None:
        self._client = client
        self._is_alive = is_alive

    async def send(self, message_type: str, content: dict[str, Any]) -> str:
        message = self._client.session.msg(message_type, content)
        self._client.control_channel.send(message)
        return str(message["msg_id"])

    async def receive(self) -> dict[str, Any] | None:
        try:
            message: dict[str, Any] = await ensure_async(self._client.control_channel.get_msg(timeout=SLICE))
        except queue.Empty:
            if not await self._is_alive():
                raise KernelUnavailable("kernel_gone") from None
            return None
        return message


@asynccontextmanager
async def open_local(client: Any, is_alive: Callable[[], Awaitable[bool]]) -> AsyncIterator[ControlChannel]:
    """Open only the control channel of a kernel on this machine.

    Raises:
        KernelUnavailable: Code ``kernel_gone``.
    """
    if not await is_alive():
        raise KernelUnavailable("kernel_gone")
    await ensure_async(client.start_channels(shell=False, iopub=False, stdin=False, hb=False, control=True))
    try:
        yield _LocalChannel(client, is_alive)
    finally:
        client.stop_channels()
