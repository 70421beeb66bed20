"""The HTTP clients that `session.auth` is for: each asks once, in the way of its own documentation."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import httpx2
import pytest
import requests

from pywry_auth_nb.adapters import as_urllib3_pool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from pywry_auth_nb import SessionManager


def ask_httpx(session: SessionManager, url: str, *, library: Any = httpx, **options: Any) -> int:
    """Ask with ``httpx.Client``."""
    with library.Client(auth=session.auth, follow_redirects=True) as client:
        status: int = client.request(options.pop("method", "GET"), url, **options).status_code
        return status


def ask_httpx_async(session: SessionManager, url: str, *, library: Any = httpx, **options: Any) -> int:
    """Ask with ``httpx.AsyncClient``."""

    async def ask() -> int:
        async with library.AsyncClient(auth=session.auth, follow_redirects=True) as client:
            status: int = (await client.request(options.pop("method", "GET"), url, **_async(options))).status_code
            return status

    return asyncio.run(ask())


def ask_httpx2(session: SessionManager, url: str, **options: Any) -> int:
    """Ask with ``httpx2.Client``."""
    return ask_httpx(session, url, library=httpx2, **options)


def ask_httpx2_async(session: SessionManager, url: str, **options: Any) -> int:
    """Ask with ``httpx2.AsyncClient``."""
    return ask_httpx_async(session, url, library=httpx2, **options)


def ask_requests(session: SessionManager, url: str, **options: Any) -> int:
    """Ask with requests."""
    options["data"] = options.pop("content", None)
    return requests.request(options.pop("method", "GET"), url, auth=session.auth, timeout=5, **options).status_code


def ask_aiohttp(session: SessionManager, url: str, **options: Any) -> int:
    """Ask with ``aiohttp.ClientSession``."""
    options = _async(options)
    options["data"] = options.pop("content", None)

    async def ask() -> int:
        async with (
            aiohttp.ClientSession(middlewares=(session.auth,)) as client,
            client.request(options.pop("method", "GET"), url, **options) as response,
        ):
            await response.read()
            return response.status

    return asyncio.run(ask())


def ask_urllib3(session: SessionManager, url: str, **options: Any) -> int:
    """Ask with a pool manager of urllib3."""
    options["body"] = options.pop("content", None)
    with as_urllib3_pool(session) as pool:
        status: int = pool.request(options.pop("method", "GET"), url, **options).status
        return status


def _async(options: dict[str, Any]) -> dict[str, Any]:
    """Return options whose body is an asynchronous generator if it is another one."""
    body = options.get("content")
    return {**options, "content": _each(body)} if isinstance(body, Generator) else options


async def _each(parts: Iterable[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


CLIENTS = [ask_httpx, ask_httpx_async, ask_httpx2, ask_httpx2_async, ask_requests, ask_aiohttp, ask_urllib3]
every_client = pytest.mark.parametrize("ask", CLIENTS)
clients_that_take_files = pytest.mark.parametrize("ask", [ask_requests, ask_aiohttp, ask_urllib3])
