"""Stores that tests may write to: real servers of their own, and nothing of the developer's."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import keyring.backend
import keyring.core
import pytest
from hypothesis import settings

from pywry_auth_nb import OAuthTokenSet
from pywry_auth_nb.token_store import (
    FileTokenStore,
    KeyringTokenStore,
    MemoryTokenStore,
    RedisTokenStore,
    make_encryption_key,
)
from tests.stores.servers import Proxy, RedisServer, SecretService

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pywry_auth_nb import TokenStore

#: What programs begin with.
PRELUDE = """
import asyncio, os, signal, sys, time
from pywry_auth_nb import OAuthTokenSet
from pywry_auth_nb.token_store import NOTHING, FileTokenStore, KeyringTokenStore, Record, RedisTokenStore, redis
"""

# No folder of found examples in the repository, and no failure because the machine is busy.
settings.register_profile("pywry-auth-nb", database=None, deadline=None)
settings.load_profile("pywry-auth-nb")


@pytest.fixture(autouse=True)
def nothing_of_the_developer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of the test's own, no keyring chosen so far, and no encryption key configured."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("PYTHON_KEYRING_BACKEND", "PYWRY_AUTH_ENCRYPTION_KEY", "PYWRY_AUTH_ENCRYPTION_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(keyring.core, "_keyring_backend", None)
    look = keyring.backend.get_all_keyring.__wrapped__  # otherwise keyring looks once per process
    monkeypatch.setattr(keyring.backend, "get_all_keyring", look)


@pytest.fixture(scope="session")
def running_secret_service() -> Iterator[SecretService]:
    """One unlocked Secret Service for all tests."""
    with SecretService() as service:
        yield service


@pytest.fixture
def secret_service(running_secret_service: SecretService, monkeypatch: pytest.MonkeyPatch) -> SecretService:
    """The Secret Service, as the keyring of this process."""
    running_secret_service.revive()
    for name, value in running_secret_service.environment().items():
        monkeypatch.setenv(name, value)
    return running_secret_service


@pytest.fixture(scope="session")
def running_redis() -> Iterator[RedisServer]:
    """One redis-server for all tests that do it no harm."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_server(running_redis: RedisServer) -> RedisServer:
    """That server, empty."""
    running_redis.cli("flushall")
    return running_redis


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A redis-server that this test may break."""
    with RedisServer("--enable-debug-command", "yes") as server:
        yield server


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    """A network between us and that server."""
    with Proxy(server.socket) as proxy:
        yield proxy


@pytest.fixture
def opened() -> Iterator[Callable[..., RedisTokenStore]]:
    """Opens Redis stores, which are closed at the end."""
    stores: list[RedisTokenStore] = []

    def make(url: str, **arguments: Any) -> RedisTokenStore:
        stores.append(RedisTokenStore(url, **arguments))
        return stores[-1]

    yield make
    for store in stores:
        asyncio.run(store.close())


class Place:
    """Where one kind of store keeps things: every store object of it, and every program, finds the same there."""

    def __init__(self, kind: type[TokenStore], **arguments: Any) -> None:
        self.kind = kind
        self._arguments = arguments
        self._stores: list[TokenStore] = []
        self._programs: list[subprocess.Popen[str]] = []

    def store(self) -> TokenStore:
        """Return another store object."""
        if self.kind is MemoryTokenStore and self._stores:
            return self._stores[0]  # there is no other that sees the same
        self._stores.append(self.kind(**self._arguments))
        return self._stores[-1]

    def start(self, program: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a program that has such a store, called ``store``."""
        prelude = f"{PRELUDE}store = {self.kind.__name__}(**{self._arguments!r})\n"
        started = subprocess.Popen(
            [sys.executable, "-c", prelude + program, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._programs.append(started)
        return started

    def close(self) -> None:
        """Close what stores have open, and end the programs that were started."""
        for program in self._programs:
            program.kill()
            program.communicate(timeout=10)
        for store in self._stores:
            if isinstance(store, RedisTokenStore):
                asyncio.run(store.close())


@pytest.fixture(params=["memory", "file", "file encrypted", "keyring", "redis", "redis encrypted"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A place for each kind of store, empty."""
    kind, _, encrypted = request.param.partition(" ")
    key = make_encryption_key() if encrypted else None
    if kind == "memory":
        place = Place(MemoryTokenStore)
    elif kind == "file":
        place = Place(FileTokenStore, path=str(tmp_path / "tokens"), encryption_key=key)
    elif kind == "keyring":
        request.getfixturevalue("secret_service")
        place = Place(KeyringTokenStore, service_name=f"pywry-{tmp_path.name}")
    else:
        server: RedisServer = request.getfixturevalue("redis_server")
        place = Place(RedisTokenStore, redis_url=server.url, encryption_key=key)
    yield place
    place.close()


#: Only places that several processes may share.
shared = pytest.mark.parametrize(
    "place", ["file", "file encrypted", "keyring", "redis", "redis encrypted"], indirect=True
)


@pytest.fixture
def store(place: Place) -> TokenStore:
    """One store of each kind, empty."""
    return place.store()


@pytest.fixture
def tokens() -> OAuthTokenSet:
    """Tokens as a provider gives them: long enough for several entries of a keyring."""
    return OAuthTokenSet(
        "CANARY-access-" + "a" * 1500,
        refresh_token="CANARY-refresh-" + "r" * 1200,
        expires_in=3600,
        id_token="CANARY-id-" + "i" * 900,
        scope="openid profile",
        raw={"session_state": "CANARY-state", "not-before-policy": 0},
    )
