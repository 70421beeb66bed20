"""Every provider of the field, set up as its page says: sign-in, refreshes, odd inputs, the end, and sign-out."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from pywry_auth_nb import AuthenticationError, AuthFlowCancelled, OAuth2Settings, create_provider_from_settings
from pywry_auth_nb._sign_in import end_session
from tests.providers.recipes import text_of
from tests.support.aging import expire
from tests.support.cases import case
from tests.support.idp import Answer
from tests.support.quirks import OF_DATA, Odd, Quirks
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from pywry_auth_nb import OAuthProvider
    from tests.providers.user import User

each_provider = pytest.mark.parametrize("quirks", OF_DATA.values(), ids=OF_DATA)
each_that_refreshes = pytest.mark.parametrize(
    "quirks", [pytest.param(each, id=key) for key, each in OF_DATA.items() if each.refreshes]
)
#: Which setting sends a parameter of the authorize URL.
SENT_BY = {"scope": "SCOPES", "audience": "AUDIENCE", "access_type": "AUTHORIZE_PARAMS"}


# -- the page ---------------------------------------------------------------------------------------------------------


@each_provider
def test_the_cell_of_a_page_signs_in(quirks: Quirks, user: User) -> None:
    """With everything that this provider wants, and no token is kept twice."""
    user.sign_in()

    assert user.op.unmet == []
    assert user.session.status == "signed_in"
    assert "ada" in user.session.display_name.lower()
    assert user.session.access_token.startswith("CANARY-at")
    assert "CANARY" not in repr(user.tokens.raw)


@each_provider
def test_settings_of_a_page_make_the_same_client(user: User, use_settings: Callable[..., None]) -> None:
    """What an administrator sets in the environment is what the cell says."""
    use_settings()

    assert said(create_provider_from_settings(OAuth2Settings())) == said(user.session.provider)


def said(provider: OAuthProvider) -> dict[str, Any]:
    """What a provider object was told."""
    return {"class": type(provider)} | {
        name: list(value) if isinstance(value, (list, tuple)) else value
        for name, value in vars(provider).items()
        if not name.startswith("_") and name != "require_id_token_validation"  # without an issuer it means nothing
    }


@each_provider
def test_what_a_page_sets_is_needed(quirks: Quirks, user: User, use_settings: Callable[..., None]) -> None:
    """Without the setting the provider misses something; so the lookalike would notice."""
    for need in quirks.needs:
        with case(need.name, need.value):
            use_settings(SENT_BY[need.name])
            provider = create_provider_from_settings(OAuth2Settings())
            asyncio.run(provider.prepare())
            user.op.authorize(provider.build_authorize_url(quirks.redirect_uri, "state"))

            assert need in user.op.unmet


@each_provider
def test_a_page_says_what_was_tried(quirks: Quirks) -> None:
    """The redirect URI that the sign-in used, and how the provider was run."""
    page = text_of(quirks)

    assert quirks.redirect_uri in page or quirks.redirect_uri.replace("hub.example.org", "HUB") in page
    assert "lookalike" in page


# -- refresh ----------------------------------------------------------------------------------------------------------


@each_that_refreshes
def test_two_refreshes(quirks: Quirks, user: User) -> None:
    """Each gives a new access token, and the refresh token that this provider wants the next time."""
    user.sign_in()
    access, refresh = {user.session.access_token}, {user.refresh_token}
    for _ in range(2):
        user.refresh()
        access.add(user.session.access_token)
        refresh.add(user.refresh_token)

    assert len(access) == 3
    assert len(refresh) == (3 if quirks.rotates else 1)
    assert user.session.status == "signed_in"
    assert user.op.requests_to("/revoke") == 0


@each_that_refreshes
def test_a_dead_refresh_token_asks_for_a_new_sign_in(quirks: Quirks, user: User) -> None:
    """In this provider's own words: once the access token is over, the user is asked, once, and can sign in again."""
    asked: list[bool] = []
    user.session.on_reauth_required = lambda: asked.append(True)
    user.sign_in()
    user.op.answers["/token"] = Answer(quirks.dead["body"], status=quirks.dead["status"])

    assert_ends(user)
    until(lambda: asked == [True])
    user.op.answers.clear()
    user.sign_in()
    assert user.session.access_token


def assert_ends(user: User) -> None:
    """Once the access token is over, a new sign-in is needed, and nothing was revoked."""
    expire(user.session)
    with pytest.raises(AuthenticationError):
        _ = user.session.access_token
    until(lambda: user.session.status == "reauth_required", "the session does not say that it has ended", seconds=30)
    assert user.op.requests_to("/revoke") == 0


@pytest.mark.parametrize("quirks", [pytest.param(each, id=key) for key, each in OF_DATA.items() if not each.refreshes])
def test_without_a_refresh_token_the_sign_in_ends_with_its_token(quirks: Quirks, user: User) -> None:
    """Where a provider gives none, the user is asked when the access token is over."""
    user.op.token_extra = {"expires_in": 1}
    user.sign_in()

    assert user.refresh_token is None
    until(lambda: user.session.status == "reauth_required")


# -- odd inputs -------------------------------------------------------------------------------------------------------


@each_provider
def test_odd_inputs(quirks: Quirks, user: User) -> None:
    """Each has the right outcome; what only looks odd costs no user a sign-in."""
    for odd in quirks.odd:
        with case(odd.what):
            user.start_again()
            {"sign-in": odd_sign_in, "refresh": odd_refresh, "callback": odd_callback}[odd.at](user, odd)


def odd_sign_in(user: User, odd: Odd) -> None:
    disturb(user, odd)
    if odd.right != "accepted":
        assert_refused(odd, user.sign_in)
        return
    user.sign_in()

    assert user.session.access_token
    if odd.due_within is not None:
        assert due_in(user) < odd.due_within


def due_in(user: User) -> float:
    """In how many seconds the session renews its token."""
    return float(user.session._engine.state.refresh_due(user.session.refresh_buffer_seconds)) - time.time()


def odd_refresh(user: User, odd: Odd) -> None:
    user.sign_in()
    old = user.session.access_token
    disturb(user, odd)
    if odd.right == "sign in again":
        assert_ends(user)
        return
    user.refresh()

    assert user.session.access_token != old
    assert user.session.status == "signed_in"
    assert user.op.requests_to("/revoke") == 0


def odd_callback(user: User, odd: Odd) -> None:
    assert_refused(odd, lambda: user.decline(**odd.callback))


def assert_refused(odd: Odd, act: Callable[[], object]) -> None:
    """The error has the right code, and the words that help."""
    with pytest.raises(AuthenticationError) as caught:
        act()
    assert caught.value.code == odd.right
    assert odd.says in f"{caught.value} {caught.value.description}"


def disturb(user: User, odd: Odd) -> None:
    """Have the lookalike do the odd thing from now on."""
    user.op.claims, user.op.header, user.op.token_extra = dict(odd.claims), dict(odd.header), dict(odd.token)
    if odd.answer:
        user.op.answers["/token"] = Answer(odd.answer["body"], status=odd.answer["status"])


# -- the end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quirks", [pytest.param(each, id=key) for key, each in OF_DATA.items() if each.decline])
def test_declining_is_a_cancelled_sign_in(quirks: Quirks, user: User) -> None:
    """The user hears that they declined, with the provider's own words."""
    with pytest.raises(AuthFlowCancelled) as caught:
        user.decline(**quirks.decline)

    assert caught.value.code == quirks.decline["error"]
    assert caught.value.description == quirks.decline.get("error_description", "")
    assert user.session.status == "signed_out"


@each_provider
def test_a_sign_out_tells_what_the_provider_revoked(quirks: Quirks, user: User) -> None:
    """Signed out here in any case; for each kind of token, what became of it at the provider."""
    user.sign_in()
    outcome = asyncio.run(user.session.logout())

    assert {kind: getattr(outcome, kind) for kind in quirks.revocation} == quirks.revocation
    assert outcome.other_tokens_left == ("other_tokens" in quirks.token)
    assert user.session.status == "signed_out"


@each_provider
def test_a_sign_out_everywhere_offers_the_page_of_the_provider(
    quirks: Quirks, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the metadata have one (OIDC RP-Initiated Logout)."""
    opened: list[str] = []
    monkeypatch.setattr(end_session, "open_browser", lambda url, _: opened.append(url) or True)
    user.sign_in()
    outcome = asyncio.run(user.session.logout(everywhere=True))
    page = quirks.endpoints.get("end_session_endpoint")

    assert outcome.end_session == ("offered" if page else "no_endpoint")
    assert [url.partition("?")[0] for url in opened] == ([page] if page else [])
