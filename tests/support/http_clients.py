"""The HTTP clients that `session.auth` is for, each used in the way of its own documentation.

Each is a context manager: it opens a client of a session and yields a function that sends one request and returns the
status of the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import httpx2
import pytest
import requests

from pywry_auth_nb.adapters import as_urllib3_pool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
    from contextlib import AbstractContextManager

    from pywry_auth_nb import SessionManager

Ask = Callable[..., int]  # ask(url, method="GET", content=None)
Opener = Callable[["SessionManager"], "AbstractContextManager[Ask]"]


@contextmanager
def with_httpx(session: SessionManager, library: Any = httpx) -> Iterator[Ask]:
    """``httpx.Client``."""
    with library.Client(auth=session.auth, follow_redirects=True) as client:
        yield lambda url, method="GET", content=None: client.request(method, url, content=content).status_code


@contextmanager
def with_httpx_async(session: SessionManager, library: Any = httpx) -> Iterator[Ask]:
    """``httpx.AsyncClient``."""
    with _loop() as run:
        client = library.AsyncClient(auth=session.auth, follow_redirects=True)

        async def ask(url: str, method: str = "GET", content: Any = None) -> int:
            status: int = (await client.request(method, url, content=_async(content))).status_code
            return status

        try:
            yield lambda *args, **options: run(ask(*args, **options))
        finally:
            run(client.aclose())


def with_httpx2(session: SessionManager) -> AbstractContextManager[Ask]:
    """``httpx2.Client``."""
    return with_httpx(session, httpx2)


def with_httpx2_async(session: SessionManager) -> AbstractContextManager[Ask]:
    """``httpx2.AsyncClient``."""
    return with_httpx_async(session, httpx2)


@contextmanager
def with_requests(session: SessionManager) -> Iterator[Ask]:
    """``requests.Session``."""
    with requests.Session() as client:
        client.auth = session.auth
        yield lambda url, method="GET", content=None: client.request(method, url, data=content, timeout=5).status_code


@contextmanager
def with_aiohttp(session: SessionManager, *others: Any, **options: Any) -> Iterator[Ask]:
    """``aiohttp.ClientSession``, with ``others`` as middlewares around the session's."""
    with _loop() as run:

        async def opened() -> aiohttp.ClientSession:
            return aiohttp.ClientSession(middlewares=(*others, session.auth))

        client = run(opened())

        async def ask(url: str, method: str = "GET", content: Any = None) -> int:
            async with client.request(method, url, data=_async(content), **options) as response:
                await response.read()
                return response.status

        try:
            yield lambda *args, **options: run(ask(*args, **options))
        finally:
            run(client.close())


@contextmanager
def with_urllib3(session: SessionManager) -> Iterator[Ask]:
    """A pool manager of urllib3."""
    with as_urllib3_pool(session) as pool:
        yield lambda url, method="GET", content=None: pool.request(method, url, body=content).status


@contextmanager
def _loop() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """A loop of its own, on which an asynchronous client lives."""
    loop = asyncio.new_event_loop()
    try:
        yield loop.run_until_complete
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _async(body: Any) -> Any:
    """Return an asynchronous generator in place of another one."""
    return _each(body) if isinstance(body, Generator) else body


async def _each(parts: Iterable[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def asking(opener: Opener) -> Callable[..., int]:
    """Return a function that opens a client of a session for one request."""

    def ask(session: SessionManager, url: str, **options: Any) -> int:
        with opener(session) as send:
            return send(url, **options)

    return ask


ask_httpx, ask_requests = asking(with_httpx), asking(with_requests)
OPENERS = [
    with_httpx, with_httpx_async, with_httpx2, with_httpx2_async, with_requests, with_aiohttp, with_urllib3
]  # fmt: skip
every_opener = pytest.mark.parametrize("opener", OPENERS)
every_client = pytest.mark.parametrize("ask", [pytest.param(asking(each), id=each.__name__) for each in OPENERS])
clients_that_take_files = pytest.mark.parametrize(
    "ask", [pytest.param(asking(each), id=each.__name__) for each in (with_requests, with_aiohttp, with_urllib3)]
)
