"""django-oauth-toolkit: the scenarios, and what it does in a way of its own."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import httpx
import pytest

from pywry_auth_nb import AuthenticationError
from pywry_auth_nb._io.loop import run

from .django_toolkit import DjangoToolkit
from .scenarios import Scenarios

if TYPE_CHECKING:
    from .product import Person, Product


class TestDjangoToolkit(Scenarios):
    """The scenarios at django-oauth-toolkit."""

    Product = DjangoToolkit

    def test_client_without_an_algorithm(self, product: Product, person: Person) -> None:
        """A client as its form suggests has no algorithm for ID tokens: HTTP 500 in plain text, which is shown."""
        session = person.session("unsigned")

        with pytest.raises(AuthenticationError) as caught:
            person.sign_in(session)

        assert "500" in str(caught.value)
        assert "does not support signed tokens" in caught.value.description

    def test_revocation_that_the_metadata_do_not_name(self, product: Product, person: Person) -> None:
        """Its revocation endpoint is not in its metadata: without ``revocation_url`` a sign-out says so."""
        session = person.session(client=product.client("confidential", revocation_url=""))
        person.sign_in(session)

        result = run(session.logout(), 30)

        assert (result.refresh_token, result.access_token) == ("no_endpoint", "no_endpoint")

    def test_reads_while_tokens_are_renewed(self, product: Product, person: Person, short_lived: None) -> None:
        """It ends the old access token at a refresh; a client with ``session.auth`` sees HTTP 200 only."""
        session = person.signed_in()
        url, seen, tokens = session.provider.userinfo_url, [], {session.access_token}
        end = time.monotonic() + 10

        with httpx.Client(auth=session.auth, trust_env=False, timeout=30) as api:
            while len(tokens) < 3 and time.monotonic() < end:
                seen.append(api.get(url).status_code)
                tokens.add(session.access_token)

        assert len(tokens) == 3
        assert set(seen) == {httpx.codes.OK}
