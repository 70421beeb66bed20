"""A product that runs, and people with browsers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .product import Person
from .scenarios import SHORT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .product import Product


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what asks for a ``kind`` once for each kind of client that the product offers."""
    if "kind" in metafunc.fixturenames:
        metafunc.parametrize("kind", metafunc.cls.Product.kinds)


@pytest.fixture(scope="class")
def product(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """The running product of a class of tests."""
    kind: type[Product] = request.cls.Product
    with kind(tmp_path_factory.mktemp(kind.__name__)) as running:
        yield running


@pytest.fixture
def person(product: Product) -> Iterator[Person]:
    """A user with a browser."""
    user = Person(product)
    yield user
    user.close()


@pytest.fixture
def elsewhere(product: Product) -> Iterator[Person]:
    """The same person at another machine: with a browser that the product does not know yet."""
    there = Person(product)
    yield there
    there.close()


@pytest.fixture
def short_lived(product: Product) -> Iterator[None]:
    """Have its access tokens last a few seconds."""
    product.restart(lifetime=SHORT)
    yield
    product.restart()
