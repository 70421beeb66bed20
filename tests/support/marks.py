"""Which tests need more than Python: found by the folder they are in, and by what they or their fixtures start."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType

TESTS = Path(__file__).parents[1]
#: By place: a folder or a module.
PLACES = {
    "doctor/test_public.py": "jupyter",
    "documents/test_recipes.py": "slow",
    "e2e": "e2e",
    "exits/test_processes.py": "slow",
    "faults": "slow",
    "places": "places",
    "products": "slow",
    "soak": "slow",
    "stores/test_redis_many.py": "service",
    "unit/test_leaks.py": "slow",
    "unit/test_loop.py": "slow",
    "unit/test_machine.py": "slow",
    "unit/test_notebooks.py": "slow",
    "unit/test_packaging.py": "slow",
}
#: By a name in the code of a test, or of a fixture that it asks for.
NAMES = {
    "KernelGateway": "jupyter",
    "NotebookClient": "jupyter",
    "Recorder": "jupyter",
    "RedisCluster": "service",
    "RedisServer": "service",
    "SecretService": "service",
    "Watched": "jupyter",
    "WatchedRedis": "service",
    "start_kernel": "jupyter",
}
#: By the kind of store that a test is parametrized with.
STORES = ("keyring", "redis")
#: Of a browser test that `make places` runs in Firefox as well.
IN_FIREFOX_TOO = pytest.mark.parametrize(
    "engine", ["chromium", pytest.param("firefox", marks=pytest.mark.places)], indirect=True
)


def marks_of(item: pytest.Function) -> set[str]:
    """The markers of a test (their meaning stands in pyproject.toml)."""
    path = item.path.relative_to(TESTS)
    places = {path.as_posix(), *(folder.as_posix() for folder in path.parents)}
    found = {mark for place, mark in PLACES.items() if place in places}
    found |= {NAMES[name] for function in _functions(item) for name in _names(function) if name in NAMES}
    place = getattr(item, "callspec", None) and item.callspec.params.get("place", "")
    return found | ({"service"} if place and str(place).startswith(STORES) else set())


def _functions(item: pytest.Function) -> Iterator[Any]:
    """The test and all fixtures that it, or a fixture of it, asks for by name."""
    yield item.function
    for definitions in item._fixtureinfo.name2fixturedefs.values():
        yield from (definition.func for definition in definitions)


def _names(function: Any) -> Iterator[str]:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return _names_in(code) if code else iter(())


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if inspect.iscode(constant):
            yield from _names_in(constant)
