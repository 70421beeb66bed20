"""Proxies on loopback between the kernels and what they talk to, which fail on request.

``Proxy`` passes bytes on (to Redis). ``ProviderProxy`` passes HTTP requests on (to the provider) and knows which kernel
has asked for tokens and which tokens it was given: a kernel that vanishes between the provider's rotation and its own
save takes the only copy of the new refresh token along, which no client can prevent. So a careful proxy never cuts a
token request that it has passed on, and keeps one back on request.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import psutil

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator

    from typing_extensions import Self

    Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]

#: Not 127.0.0.1: what is behind may then have the same port, and so the same address but for that digit.
HOST = "127.0.0.2"
LENGTH = re.compile(rb"^content-length: *(\d+)", re.IGNORECASE | re.MULTILINE)
PATIENCE = 10.0  # seconds
DISTANCE = 0.005  # seconds that bytes travel: what happens between two questions does happen on a real network
EVERYBODY = 0  # in place of a kernel's process id

Flap = Literal["cut", "refuse", "silence"]


@dataclass(eq=False)
class Connection:
    """A kernel's connection."""

    source: asyncio.StreamReader
    target: asyncio.StreamWriter
    task: asyncio.Task[Any]
    asking: bool = False  # a token request of it is at the provider, or the answer on its way back
    doomed: bool = False  # was to be cut meanwhile
    pid: int | None = None


class Proxy:
    """Passes bytes on, in a thread of its own, except while a ``flap`` is on."""

    def __init__(self, port: int, connect: Connect) -> None:
        self.port = port
        self._connect = connect
        self._silent = False
        self._connections: set[Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy {port}")
        self._server: asyncio.Server | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def flap(self, kind: Flap, seconds: float) -> None:
        """Fail for some seconds: connections are cut and refused, or stay open and nothing passes ("silence").

        "cut" takes no time: connections are cut, and new ones are welcome at once.
        """
        self._do(self._flap(kind, seconds), seconds)

    def _do(self, work: Coroutine[Any, Any, None], seconds: float = 0.0) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds + PATIENCE)

    async def _flap(self, kind: Flap, seconds: float) -> None:
        if kind == "silence":
            self._silent = True
            await asyncio.sleep(seconds)
            self._silent = False
        self._cut()
        if kind == "refuse":
            await self._unlisten()
            await asyncio.sleep(seconds)
            await self._listen()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, HOST, self.port)

    async def _unlisten(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _end(self) -> None:
        await self._unlisten()
        tasks = [connection.task for connection in self._connections]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _cut(self) -> None:
        for connection in self._connections:
            connection.doomed = True
            if not self._spares(connection):
                connection.task.cancel()

    def _spares(self, connection: Connection) -> bool:  # noqa: ARG002 - ours to answer for those below
        """Whether a connection must outlive a cut until its answer has arrived."""
        return False

    async def _accept(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        """Serve one connection to its end; nothing that goes wrong with it is an error."""
        task = asyncio.current_task()
        assert task is not None
        connection = Connection(source, target, task)
        self._connections.add(connection)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._serve(connection)
        finally:
            self._connections.discard(connection)
            target.close()

    async def _serve(self, connection: Connection) -> None:
        source, target = await self._connect()
        there = asyncio.ensure_future(self._pass_on(connection.source, target))
        back = asyncio.ensure_future(self._pass_on(source, connection.target))
        try:
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (there, back):
                each.cancel()
            await asyncio.gather(there, back, return_exceptions=True)
            target.close()

    async def _pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while some := await source.read(65536):
            await asyncio.sleep(DISTANCE)
            await self._wait_out_silence()
            target.write(some)
            await target.drain()

    async def _wait_out_silence(self) -> None:
        """Stop here for good when nothing may pass: the silence ends by cutting every connection."""
        if self._silent:
            await asyncio.get_running_loop().create_future()


class ProviderProxy(Proxy):
    """Passes HTTP requests on to the provider.

    Args:
        port: Of the provider at 127.0.0.1, and ours.
        pids: Whose connections these may be.
        cruel: Cut token requests, too, that were passed on already.
    """

    def __init__(self, port: int, pids: Callable[[], Collection[int]], *, cruel: bool = False) -> None:
        super().__init__(port, lambda: asyncio.open_connection("127.0.0.1", port))
        self._pids = pids
        self._cruel = cruel
        self._kept_back: int | None = None  # whose token requests wait here: a kernel's, or EVERYBODY's
        self._issued: dict[str, tuple[int, int | None]] = {}  # by fingerprint: a running number, and to whom

    # -- what the chaos must know -------------------------------------------------------------------------------------

    def asking(self) -> set[int | None]:
        """Return who has a token request at the provider, or the answer on its way."""
        return {each.pid for each in tuple(self._connections) if each.asking}

    def is_asking(self, pid: int) -> bool:
        """Whether a kernel (or EVERYBODY: any) may be among those."""
        return bool(self.asking() if pid == EVERYBODY else self.asking() & {pid, None})

    def has_saved(self, stored: str | None, pid: int) -> bool:
        """Whether a store in which the token ``stored`` was found has the newest that a kernel (or any) got."""
        issued = self._issued.copy()
        newest = max((number for number, to in issued.values() if pid == EVERYBODY or to in {None, pid}), default=0)
        return newest == 0 or issued.get(stored or "", (-1, None))[0] >= newest

    @contextmanager
    def keeping_back(self, pid: int) -> Iterator[None]:
        """Keep token requests of a kernel (or EVERYBODY) here. If its sender dies meanwhile, it goes nowhere."""
        self._kept_back = pid
        try:
            yield
        finally:
            time.sleep(0.05)  # so that the end of a dead sender's connection is known here
            self._kept_back = None

    # -- passing on ---------------------------------------------------------------------------------------------------

    def _spares(self, connection: Connection) -> bool:
        return connection.asking and not self._cruel

    def _keeps_back(self, connection: Connection) -> bool:
        kept = self._kept_back
        return kept is not None and (kept == EVERYBODY or connection.pid in {None, kept})

    async def _serve(self, connection: Connection) -> None:
        while (request := await _message(connection.source)) and not connection.doomed:
            if request.startswith(b"POST /token "):
                await self._pass_token_request(connection, request)
            else:
                await self._wait_out_silence()
                connection.target.write(await self._answer(request))
            await connection.target.drain()

    async def _pass_token_request(self, connection: Connection, request: bytes) -> None:
        connection.pid = connection.pid or self._owner(connection)
        while self._keeps_back(connection):  # noqa: ASYNC110 - another thread says when
            await asyncio.sleep(0.01)
        if connection.source.at_eof() or connection.source.exception():
            raise ConnectionError
        await self._wait_out_silence()
        connection.asking = True
        try:
            answer = await self._answer(request)
            self._note(answer, connection.pid)
            connection.target.write(answer)
            await connection.target.drain()
        finally:
            connection.asking = False

    async def _answer(self, request: bytes) -> bytes:
        source, target = await self._connect()
        try:
            target.write(request)
            return await _message(source)
        finally:
            target.close()

    def _owner(self, connection: Connection) -> int | None:
        port = connection.target.get_extra_info("peername")[1]
        for pid in self._pids():
            with suppress(psutil.Error):
                if any(each.laddr.port == port for each in psutil.Process(pid).net_connections("tcp")):
                    return pid
        return None

    def _note(self, answer: bytes, pid: int | None) -> None:
        with suppress(ValueError, AttributeError):
            token = json.loads(answer.partition(b"\r\n\r\n")[2]).get("access_token")
            if token is not None:
                self._issued[fingerprint(token)] = (len(self._issued) + 1, pid)


def fingerprint(token: str) -> str:
    """Return what tells tokens apart and gives nothing away; ``op.mjs`` computes the same."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]


async def _message(source: asyncio.StreamReader) -> bytes:
    """Read a whole HTTP request or answer; b"" at the end."""
    try:
        head = await source.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    length = LENGTH.search(head)
    return head + (await source.readexactly(int(length[1])) if length else b"")
