"""JupyterHub as a provider: the scenarios, and what it does in a way of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pywry_auth_nb import AuthenticationError, TokenError
from pywry_auth_nb._io.loop import run

from .hub import Hub
from .scenarios import Scenarios

if TYPE_CHECKING:
    from .product import Person, Product


class TestHub(Scenarios):
    """The scenarios at a JupyterHub."""

    Product = Hub

    def test_decline(self, product: Product, person: Person) -> None:
        """A person cannot decline: the hub's page has one button, "Authorize"."""
        product.end_sign_in(person.signed_in(), person.browser)  # it asks who has a token no more
        session = person.session()
        url = session.provider.build_authorize_url("http://127.0.0.1:8888/pywry-auth/callback", "state")

        form = product.log_in(person.browser, person.browser.open(url)).form("scopes")

        assert form is not None
        assert len(form.buttons) == 1

    def test_sign_out_at_the_product(self, product: Product, person: Person) -> None:
        """A hub names no address for signing out, so nothing is opened."""
        result = run(person.signed_in().logout(everywhere=True), 30)

        assert (result.end_session, result.end_session_url) == ("no_endpoint", "")

    def test_public_client(self, product: Product, person: Person) -> None:
        """A client without its secret is refused: a sentence says that the client's registration is wrong."""
        session = person.session("public")

        with pytest.raises(TokenError) as caught:
            person.sign_in(session)

        assert caught.value.code == "invalid_client"
        assert "secret" in str(caught.value)

    def test_client_auth_is_found_out(self, product: Product, person: Person) -> None:
        """A client that is not told how to send its secret signs in: in the body, once the header was refused."""
        session = person.session(client=product.client("confidential", client_auth=""))

        assert person.sign_in(session).success

    def test_secret_in_the_header(self, product: Product, person: Person) -> None:
        """A right secret in the header is refused; the sentence names ``client_auth``."""
        session = person.session(client=product.client("confidential", client_auth="basic"))

        with pytest.raises(TokenError) as caught:
            person.sign_in(session)

        assert caught.value.code == "invalid_client"
        assert "client_auth" in str(caught.value)

    def test_scope_of_the_recipe(self, product: Product, person: Person) -> None:
        """The scope that docs/providers/jupyterhub.md asks for is enough to know who signed in."""
        session = person.session(client=product.client("confidential", scopes=["access:services!service=notebook"]))
        person.sign_in(session)

        assert session.display_name == "ada"

    def test_default_scopes(self, product: Product, person: Person) -> None:
        """The scopes of OpenID Connect are unknown to a hub; the sentence names ``scopes``."""
        session = person.session(client=product.client("confidential", scopes=None))

        with pytest.raises(AuthenticationError) as caught:
            person.sign_in(session)

        assert caught.value.code == "invalid_scope"
        assert "scope" in str(caught.value)
