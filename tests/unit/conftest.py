"""What several unit test modules share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pywry_auth_nb._io.http import HttpClient
from tests.support.api import Api
from tests.support.clients import client_of
from tests.support.idp import Idp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pywry_auth_nb.providers import OAuthProvider


@pytest.fixture(scope="module")
def http() -> HttpClient:
    """One client for all providers of this module: making its TLS context takes longer than a test."""
    return HttpClient()


@pytest.fixture(scope="module")
def kind() -> type[Idp]:
    """Which provider this module's tests are about; a module about another one overrides this."""
    return Idp


@pytest.fixture(scope="module")
def shared_op(kind: type[Idp]) -> Iterator[Idp]:
    """One provider for all tests of this module."""
    with kind() as op:
        yield op


@pytest.fixture
def op(shared_op: Idp) -> Idp:
    """The provider, honest again."""
    shared_op.be_honest()
    return shared_op


@pytest.fixture
def client(op: Idp, http: HttpClient) -> Callable[..., OAuthProvider]:
    """Makes clients that have asked the provider nothing yet."""

    def make(*arguments: str, http: HttpClient = http, **options: object) -> OAuthProvider:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("pywry_auth_nb.providers.base.HttpClient", lambda: http)
            return client_of(op, *arguments, **options)

    return make


@pytest.fixture
def fresh(op: Idp, client: Callable[..., OAuthProvider]) -> Callable[..., OAuthProvider]:
    """Makes the provider honest again and a new client of it: for each round of a test that loops."""

    def make(*arguments: str, **options: object) -> OAuthProvider:
        op.be_honest()
        return client(*arguments, **options)

    return make


@pytest.fixture
def rp(client: Callable[..., OAuthProvider]) -> OAuthProvider:
    """A client as the provider's documentation recommends it."""
    return client()


@pytest.fixture
def api() -> Iterator[Api]:
    """An API that wants tokens."""
    with Api() as server:
        yield server
