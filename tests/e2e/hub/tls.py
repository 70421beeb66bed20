"""A proxy that ends TLS before a hub, as nginx or an ingress does."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING

from tests.stores.servers import certificate
from tests.support.ports import free_port
from tests.support.serving import ThreadServer

if TYPE_CHECKING:
    from pathlib import Path


_OURS = ("connection", "x-forwarded-proto")  # what a proxy writes itself, whatever the browser sent
_CHUNK = 2**16


class TlsProxy(ThreadServer):
    """``https://127.0.0.1:PORT/`` before a server on this machine: it keeps the Host header, and tells the scheme.

    One request per connection; a WebSocket keeps its own.

    Args:
        folder: For its certificate, ``cert.pem``.
        tells_scheme: Whether it sends ``X-Forwarded-Proto: https``.
        base_url: Of the hub behind it.

    Attributes:
        target: The port on this machine that requests go to.
    """

    def __init__(self, folder: Path, *, tells_scheme: bool = True, base_url: str = "/") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        certificate(folder)
        self.certificate = folder / "cert.pem"
        self.target = free_port()
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}{base_url}"
        self._scheme = ["X-Forwarded-Proto: https"] if tells_scheme else []
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(self.certificate, folder / "key.pem")

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one request on, then whatever comes from either side, until the server has said all."""
        head = self._rewritten(await reader.readuntil(b"\r\n\r\n"))
        there, server = await asyncio.open_connection("127.0.0.1", self.target)
        server.write(head)
        upload = asyncio.ensure_future(_pour(reader, server))
        try:
            await _pour(there, writer)
        finally:
            upload.cancel()
            server.close()

    def _rewritten(self, head: bytes) -> bytes:
        first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        upgrade = any(line.lower().startswith("upgrade:") for line in lines)
        kept = [line for line in lines if line.partition(":")[0].lower() not in _OURS]
        connection = f"Connection: {'upgrade' if upgrade else 'close'}"
        return "\r\n".join([first, *kept, connection, *self._scheme, "", ""]).encode("latin-1")


async def _pour(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await source.read(_CHUNK):
            target.write(chunk)
            await target.drain()
