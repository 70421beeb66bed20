"""LemonLDAP::NG: the scenarios, and what it does in a way of its own. `make products` runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pywry_auth_nb import TokenError

from .lemonldap import LemonLDAP
from .scenarios import Scenarios

if TYPE_CHECKING:
    from .product import Person

pytestmark = pytest.mark.debian


class TestLemonLDAP(Scenarios):
    """The scenarios at LemonLDAP::NG."""

    Product = LemonLDAP

    def test_shared_secret_signature(self, person: Person) -> None:
        """A new client's ID tokens are signed with HS512: the sentence names it, and what to choose instead."""
        with pytest.raises(TokenError) as caught:
            person.sign_in(person.session("shared"))

        assert caught.value.code == "id_token_algorithm"
        assert "HS512" in str(caught.value)
        assert "RS256" in str(caught.value)
