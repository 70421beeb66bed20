"""Stores that several kernels share, and the kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.harness import Kernel, Kernels, Place, Provider, taken_back, unique
from tests.stores.conftest import (  # noqa: F401 - fixtures are found by name
    nothing_of_the_developer,
    redis_server,
    running_redis,
    running_secret_service,
    secret_service,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.stores.servers import RedisServer


@pytest.fixture
def idp() -> Iterator[Provider]:
    """A provider that rotates refresh tokens, and ends a sign-in when an old one comes back."""
    with Provider() as provider:
        yield provider


@pytest.fixture(scope="session")
def all_kernels() -> Iterator[Kernels]:
    """Processes for all tests."""
    kernels = Kernels()
    try:
        yield kernels
    finally:
        kernels.end()


@pytest.fixture
def start(all_kernels: Kernels) -> Iterator[Callable[..., list[Kernel]]]:
    """``start(place, count)`` returns so many kernels with a session on a store."""
    yield from taken_back(all_kernels)


@pytest.fixture
def on_file(idp: Provider, tmp_path: Path) -> Place:
    """A folder of files."""
    return Place(idp, kind="file", path=str(tmp_path / "tokens"))


@pytest.fixture
def on_keyring(idp: Provider, secret_service: object) -> Place:  # noqa: F811
    """A real keyring."""
    return Place(idp, kind="keyring", service_name=unique("faults"))


@pytest.fixture
def on_redis(idp: Provider, redis_server: RedisServer) -> Place:  # noqa: F811
    """A real Redis."""
    return Place(idp, kind="redis", redis_url=redis_server.url)


@pytest.fixture(params=["file", "keyring", "redis"])
def place(request: pytest.FixtureRequest) -> Any:
    """Each of the stores that kernels can share."""
    return request.getfixturevalue(f"on_{request.param}")
