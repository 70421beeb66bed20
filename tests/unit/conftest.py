"""What several unit test modules share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pywry_auth_nb._io.http import HttpClient
from tests.support.api import Api
from tests.support.idp import Idp

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def http() -> HttpClient:
    """One client for all providers of this module: making its TLS context takes longer than a test."""
    return HttpClient()


@pytest.fixture(scope="module")
def shared_op() -> Iterator[Idp]:
    """One provider for all tests of this module."""
    with Idp() as op:
        yield op


@pytest.fixture
def api() -> Iterator[Api]:
    """An API that wants tokens."""
    with Api() as server:
        yield server
