"""`get_token_store`: one store per process, and never another one than was asked for."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from pywry_auth_nb import MemoryTokenStore, TokenStore
from pywry_auth_nb.errors import ConfigurationError
from pywry_auth_nb.token_store import (
    FileTokenStore,
    RedisTokenStore,
    factory,
    get_token_store,
    make_encryption_key,
    reset_token_store,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def no_store_so_far() -> Iterator[None]:
    """Begin and end without a store."""
    reset_token_store()
    yield
    reset_token_store()


def test_one_store() -> None:
    """The same request gives the same store; naming a default changes nothing."""
    assert isinstance(get_token_store(), MemoryTokenStore)
    assert get_token_store("memory") is get_token_store()
    reset_token_store()
    redis = get_token_store("redis", redis_url="redis://127.0.0.1:1/0")
    assert isinstance(redis, RedisTokenStore)
    assert get_token_store("redis", redis_url="redis://127.0.0.1:1/0", pool_size=10) is redis


@pytest.mark.parametrize(
    ("backend", "arguments"), [("memory", {}), ("file", {"path": "/elsewhere"}), ("redis", {}), ("file", {})]
)
def test_something_else(backend: str, arguments: dict[str, Any], tmp_path: Path) -> None:
    """A17: Another backend, or the same with other arguments, is refused and not ignored."""
    get_token_store("file", path=tmp_path)

    with pytest.raises(ConfigurationError, match=r"reset_token_store\(\)"):
        get_token_store(backend, **arguments)

    reset_token_store()
    assert get_token_store(backend, **arguments) is get_token_store(backend, **arguments)


def test_unknown_backend() -> None:
    """A17: A misspelt backend is refused, also when there is a store already; it is a ValueError as in PyWry."""
    for _ in range(2):
        with pytest.raises(ValueError, match="file, keyring, memory, redis"):
            get_token_store("CANARY-nonsense")
        get_token_store()


def test_unknown_argument() -> None:
    """An argument that the store does not take is named by what it does take; values are not repeated."""
    with pytest.raises(ConfigurationError, match="path, encryption_key"):
        get_token_store("file", redis_url="redis://:CANARY@host")


def test_a_failure_leaves_no_store(tmp_path: Path) -> None:
    """A store that could not be made is not kept: the corrected call makes one."""
    with pytest.raises(Exception, match="not 32 bytes"):
        get_token_store("file", path=tmp_path, encryption_key="CANARY")

    assert isinstance(get_token_store("file", path=tmp_path, encryption_key=make_encryption_key()), FileTokenStore)


def test_many_threads_get_one_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that ask at once get one store."""
    made: list[TokenStore] = []
    start = threading.Barrier(8)

    def ask() -> None:
        start.wait()
        made.append(get_token_store())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(made) == 8
    assert len(set(map(id, made))) == 1


@pytest.mark.parametrize("module", ["pywry_auth_nb.token_store", "pywry_auth_nb.token_store.file"])
def test_importing_is_light(module: str) -> None:
    """The stores' own packages are imported by those who use them."""
    heavy = {"redis", "keyring", "cryptography", "filelock", "platformdirs"}
    program = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)

    assert run.stdout.strip() == "[]"


def test_without_the_redis_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said how to install it."""
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)

    with pytest.raises(ConfigurationError, match=r"pip install 'pywry-auth-nb\[redis\]'"):
        get_token_store("redis")


def test_every_name_is_there() -> None:
    """The package exports what it says."""
    from pywry_auth_nb import token_store

    assert all(getattr(token_store, name) for name in dir(token_store))
    assert factory.get_token_store is get_token_store
    with pytest.raises(AttributeError):
        _ = token_store.NoSuchStore
