"""What must come out right at every product, or end in a sentence that says what to do."""

from __future__ import annotations

import time
import webbrowser
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import httpx
import pytest

from pywry_auth_nb import AuthenticationError, AuthFlowCancelled, LoginRequired, TokenError
from pywry_auth_nb._io.loop import run
from tests.support.waiting import until

if TYPE_CHECKING:
    from pywry_auth_nb import SessionManager

    from .browser import Page
    from .product import Person, Product

SHORT = 4  # seconds


class Scenarios:
    """The scenarios of one product; a class for each product inherits them."""

    Product: ClassVar[type[Product]]

    def test_sign_in(self, product: Product, person: Person, kind: str) -> None:
        """A person signs in, and the product accepts the token."""
        session = person.signed_in(kind)

        assert session.status == "signed_in"
        assert session.display_name
        assert product.accepts(session.access_token, session)

    def test_two_refreshes(self, product: Product, person: Person, kind: str) -> None:
        """Two refreshes give two new access tokens for the same person; without a refresh token a sentence says so."""
        session = person.signed_in(kind)
        name, seen = session.display_name, {session.access_token}

        for _ in range(2 if product.refreshes else 0):
            run(session.refresh(), 30)
            seen.add(session.access_token)

        assert len(seen) == (3 if product.refreshes else 1)
        assert (session.status, session.display_name) == ("signed_in", name)
        assert product.accepts(session.access_token, session)

    def test_second_sign_in_elsewhere(self, product: Product, person: Person, elsewhere: Person) -> None:
        """A later sign-in of the same person at another machine leaves both sessions signed in, and refreshing."""
        here = person.signed_in()
        begun = time.time()
        until(lambda: time.time() > begun + 1.1)  # ID tokens tell the time of a sign-in in seconds
        there = elsewhere.signed_in()

        for session in (here, there, here):
            if product.refreshes:
                run(session.refresh(), 30)
            assert (session.status, session.display_name) == ("signed_in", here.display_name)
            assert product.accepts(session.access_token, session)

    def test_expiry(self, product: Product, person: Person, short_lived: None) -> None:
        """Once a token has expired by its own ``expires_at``, a read returns a new one, or says to sign in again."""
        session = person.signed_in()
        first, end = session.access_token, session.expires_at
        until(lambda: time.time() > end, seconds=2 * SHORT)

        if product.refreshes:
            assert session.access_token != first
            assert session.expires_at > time.time()
            assert product.accepts(session.access_token, session)
        else:
            assert_says_sign_in_again(lambda: session.access_token)
        until(lambda: not product.accepts(first, session), seconds=2)  # the product counts whole seconds

    def test_new_keys_after_a_restart(self, product: Product, person: Person, kind: str) -> None:
        """A product that has new signing keys after a restart ends no session, and takes new sign-ins."""
        session = person.signed_in(kind)

        product.restart(new_key=True)

        if product.refreshes:
            run(session.refresh(), 30)
        assert product.accepts(session.access_token, session)
        assert person.sign_in(session).success
        assert session.status == "signed_in"

    def test_decline(self, product: Product, person: Person, kind: str) -> None:
        """A person who declines has cancelled, and can sign in afterwards."""
        session = person.session(kind)

        with pytest.raises(AuthFlowCancelled) as caught:
            person.sign_in(session, decline=True)

        assert caught.value.code == product.declined
        assert session.status == "signed_out"
        assert person.sign_in(session).success

    def test_sign_in_ended_at_the_product(self, product: Product, person: Person, kind: str) -> None:
        """A refresh token that is dead at the product ends in ``reauth_required``, said once, and in a new sign-in."""
        asked: list[None] = []
        session = person.signed_in(kind, on_reauth_required=lambda: asked.append(None))
        product.end_sign_in(session, person.browser)
        assert not product.refreshes or product.answer_to_refresh(session) == product.dead_refresh
        shorten(session)

        until(lambda: status_after_a_read(session) == "reauth_required", f"it is {session.status}", seconds=15)

        until(lambda: asked)
        until(lambda: time.time() > session.expires_at)  # the last access token is good until then
        assert_says_sign_in_again(lambda: session.access_token)
        assert asked == [None]
        assert person.sign_in(session).success
        assert product.accepts(session.access_token, session)

    def test_userinfo_with_a_token_that_was_ended(self, product: Product, person: Person) -> None:
        """``userinfo()`` renews once a token that the product has ended, as ``session.auth`` does."""
        session = person.signed_in()
        first = session.access_token
        product.end_access_token(session, person.browser)
        assert not product.accepts(first, session)

        if not product.refreshes:
            assert_says_sign_in_again(session.userinfo)
            return
        assert session.userinfo()
        assert session.access_token != first

    def test_sign_out(self, product: Product, person: Person, kind: str) -> None:
        """Signing out says what became of each token, and what is revoked is no longer accepted."""
        session = person.signed_in(kind)
        token = session.access_token

        result = run(session.logout(), 30)

        assert (result.refresh_token, result.access_token) == product.signed_out[kind]
        assert (session.status, result.store) == ("signed_out", "deleted")
        assert product.accepts(token, session) == (result.access_token != "revoked")

    def test_sign_out_at_the_product(self, product: Product, person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
        """``logout(everywhere=True)`` opens the product's own page; who agrees there must log in the next time."""
        pages: list[Page] = []
        monkeypatch.setattr(webbrowser, "open", lambda url: pages.append(person.browser.open(url)) or True)
        session = person.signed_in()

        result = run(session.logout(everywhere=True), 30)

        assert result.end_session == "offered"
        assert pages[0].status == httpx.codes.OK
        assert product.agree_to_sign_out(person.browser, pages[0])


def shorten(session: SessionManager) -> None:
    """Have the session believe that its tokens end in two seconds: the product says longer."""
    tokens = session._engine.state.tokens
    run(session.save_tokens(replace(tokens, expires_in=2, issued_at=time.time())), 10)


def status_after_a_read(session: SessionManager) -> str:
    """Read the access token, which may fail, and return the session's status."""
    with suppress(TokenError, LoginRequired):
        session.access_token  # noqa: B018 - the read is the point
    return str(session.status)


def assert_says_sign_in_again(read: Any) -> None:
    """Check that ``read`` raises a typed error, whose message says that the person must sign in again."""
    with pytest.raises(AuthenticationError) as caught:
        read()
    assert "sign in again" in str(caught.value).lower(), repr(caught.value)
