"""Stores that tests may write to: real servers of their own, and nothing of the developer's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keyring.backend
import keyring.core
import pytest
from hypothesis import settings

from pywry_auth_nb import OAuthTokenSet
from tests.stores.servers import RedisServer, SecretService

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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
