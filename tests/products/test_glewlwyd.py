"""Glewlwyd: the scenarios, and what it does in a way of its own. `make products` runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from .glewlwyd import Glewlwyd
from .scenarios import Scenarios

if TYPE_CHECKING:
    from .product import Person, Product

pytestmark = pytest.mark.debian


class TestGlewlwyd(Scenarios):
    """The scenarios at Glewlwyd."""

    Product = Glewlwyd

    def test_decline(self, person: Person) -> None:
        """A person cannot decline: who grants nothing is signed in, with ``openid`` alone."""
        session = person.session()

        person.sign_in(session, decline=True)

        assert session.status == "signed_in"
        assert session._engine.state.tokens.scope == "openid"

    def test_two_slashes(self, product: Product, person: Person) -> None:
        """Endpoints with two slashes in a row are used as the metadata have them."""
        session = person.signed_in()

        assert httpx.URL(session.provider.token_url).path == "//api/oidc/token"
