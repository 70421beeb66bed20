"""Scopes: how people write them, what a session says was granted, and what the provider left out."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pywry_auth_nb import (
    AuthFlowManager,
    ConfigurationError,
    GenericOIDCProvider,
    GitHubProvider,
    GoogleProvider,
    MemoryTokenStore,
    MicrosoftProvider,
    OAuth2Settings,
    OAuthTokenSet,
    SessionManager,
    create_provider_from_settings,
)
from tests.conftest import sign_in
from tests.support.cases import case
from tests.support.idp import CLIENT
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from pywry_auth_nb import OAuthProvider
    from tests.support.idp import Idp

WRITTEN: dict[str, Any] = {
    "text": "openid profile files.read",
    "text with more space": "  openid\tprofile\n files.read ",
    "text with commas": "openid, profile, files.read",
    "a list": ["openid", "profile", "files.read"],
    "a tuple": ("openid", "profile", "files.read"),
    "a list of several": ["openid profile", "files.read"],
    "each twice": "openid openid profile files.read profile",
    "JSON": '["openid", "profile", "files.read"]',
}
NO_SCOPES: dict[str, Any] = {
    "a number": 3,
    "bytes": b"openid",
    "a mapping": {"openid": True},
    "a list of numbers": ["openid", 3],
    "a list in a list": [["openid"]],
    "broken JSON": '["openid"',
    "True": True,
}
PROVIDERS: dict[str, Callable[[Any], OAuthProvider]] = {
    "any": lambda scopes: GenericOIDCProvider("id", issuer_url="https://login.example.org", scopes=scopes),
    "google": lambda scopes: GoogleProvider("id", "secret", scopes),
    "github": lambda scopes: GitHubProvider("id", "secret", scopes),
    "microsoft": lambda scopes: MicrosoftProvider("id", scopes=scopes),
    "settings": lambda scopes: create_provider_from_settings(
        SimpleNamespace(provider="microsoft", client_id="id", scopes=scopes)
    ),
}


# -- as people write them ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", PROVIDERS.values(), ids=PROVIDERS)
def test_scopes_may_be_written_as_text_or_as_a_list(make: Callable[[Any], OAuthProvider]) -> None:
    """H401: text is split at spaces, and not into letters; each scope is asked for once."""
    for name, written in WRITTEN.items():
        with case(name):
            names = [scope.rpartition("/")[2] for scope in make(written).scopes]
            assert names == ["openid", "profile", "files.read"]


def test_a_set_is_asked_for_in_one_order() -> None:
    """So that the address is the same in every kernel."""
    assert PROVIDERS["any"]({"b", "openid", "a"}).scopes == ["a", "b", "openid"]
    assert PROVIDERS["any"](frozenset({"openid"})).scopes == ["openid"]


def test_a_comma_inside_a_word_belongs_to_it() -> None:
    """Strava has one scope that is a list."""
    assert PROVIDERS["any"]("read,activity:read_all").scopes == ["read,activity:read_all"]


@pytest.mark.parametrize("make", PROVIDERS.values(), ids=PROVIDERS)
def test_what_is_no_scopes_is_refused_at_once(make: Callable[[Any], OAuthProvider]) -> None:
    """H401: at the constructor, in a sentence that says how to write them."""
    for name, written in NO_SCOPES.items():
        with case(name), pytest.raises(ConfigurationError, match="scopes='openid profile'"):
            make(written)


def test_without_scopes_the_provider_has_its_own() -> None:
    """None is the default of the class, and an empty list is none at all."""
    assert PROVIDERS["any"](None).scopes == ["openid", "email", "profile"]
    assert PROVIDERS["microsoft"](None).scopes == ["openid", "email", "profile", "offline_access"]
    assert PROVIDERS["github"](None).scopes == ["read:user", "user:email"]
    assert PROVIDERS["any"]([]).scopes == PROVIDERS["any"]("").scopes == []
    assert PROVIDERS["settings"]("").scopes == PROVIDERS["microsoft"](None).scopes


def test_settings_take_a_list_and_keep_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """H401: ``settings.scopes`` is text, as in PyWry, however it was written."""
    for name, written in WRITTEN.items():
        with case(name):
            assert OAuth2Settings(scopes=written).scopes == "openid profile files.read"
            monkeypatch.setenv("PYWRY_OAUTH2__SCOPES", str(written) if isinstance(written, str) else "openid profile")
            assert OAuth2Settings().scopes.startswith("openid profile")
    assert OAuth2Settings(scopes="").scopes == ""
    with pytest.raises(ConfigurationError, match="separated by spaces"):
        OAuth2Settings(scopes=3)


def test_google_scopes_may_be_short() -> None:
    """All but three have one and the same address in front; what has an address keeps it."""
    provider = GoogleProvider("id", scopes="openid email drive.readonly https://mail.google.com/ offline_access")

    drive = "https://www.googleapis.com/auth/drive.readonly"
    assert provider.scopes == ["openid", "email", drive, "https://mail.google.com/"]


# -- what was granted -------------------------------------------------------------------------------------------------


def session_at(idp: Idp, scopes: Any, grants: Callable[[str], str] = str) -> SessionManager:
    """Return a session that is signed in with ``scopes``, as far as the provider grants them."""
    idp.grants = grants
    flow = AuthFlowManager(GenericOIDCProvider(CLIENT, issuer_url=idp.issuer, scopes=scopes), MemoryTokenStore())
    sign_in(flow, idp)
    return flow.session


def test_a_session_says_what_was_granted(idp: Idp) -> None:
    """H402: as a tuple, in the provider's order; nothing before the sign-in and after the sign-out."""
    session = session_at(idp, "openid profile files.read", lambda _: "files.read openid")

    assert session.scopes == ("files.read", "openid")
    asyncio.run(session.logout())
    assert session.scopes == ()


@pytest.mark.parametrize("answered", [..., None, "", []])
def test_a_response_that_names_no_scope_grants_what_was_asked_for(idp: Idp, answered: Any) -> None:
    """H402: RFC 6749 §5.1."""
    idp.token_extra = {"scope": answered}

    assert session_at(idp, "openid files.read").scopes == ("openid", "files.read")


def test_scopes_of_a_response_may_have_commas_or_be_a_list(idp: Idp) -> None:
    """H402: LinkedIn and GitHub; Twitch."""
    for answered in ("openid,email", ["openid", "email"], "openid, email"):
        idp.token_extra = {"scope": answered}
        assert session_at(idp, "openid email").scopes == ("openid", "email")


def test_observers_hear_of_other_scopes(session: SessionManager, idp: Idp, flow: AuthFlowManager) -> None:
    """H402: ``scopes`` is a trait as the others are."""
    heard: list[Any] = []
    session.observe(lambda change: heard.append(change["new"]), names="scopes")
    sign_in(flow, idp)
    until(lambda: heard)

    assert heard == [("openid",)]


def test_another_kernel_sees_the_scopes(idp: Idp) -> None:
    """H402: they are stored with the tokens."""
    idp.grants = str
    provider, store = GenericOIDCProvider(CLIENT, issuer_url=idp.issuer, scopes="openid x"), MemoryTokenStore()
    sign_in(AuthFlowManager(provider, store), idp)
    other = SessionManager(provider, store)
    asyncio.run(other.initialize())

    assert other.scopes == ("openid", "x")


# -- what was left out ------------------------------------------------------------------------------------------------


def test_scopes_that_the_provider_left_out_are_named_once(idp: Idp, caplog: pytest.LogCaptureFixture) -> None:
    """H403: one warning, and none at the next sign-in."""
    session = session_at(idp, "openid profile nonsense files.raed", lambda _: "openid profile")
    sign_in(AuthFlowManager(session.provider, session_manager=session), idp)

    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert warnings == ["127.0.0.1 did not grant nonsense, files.raed: session.scopes has what it granted"]


def test_what_tokens_show_is_not_called_left_out(idp: Idp, caplog: pytest.LogCaptureFixture) -> None:
    """H403: an ID token and a refresh token came, though the answer names neither scope."""
    session_at(idp, "openid offline_access files.read", lambda _: "files.read")

    assert "did not grant" not in caplog.text


Covered = tuple["OAuthProvider", str, str, list[str]]
GRAPH = "https://graph.microsoft.com/"
GOOGLE = "https://www.googleapis.com/auth/"
COVERED: dict[str, Covered] = {
    "the same": (PROVIDERS["any"](None), "a b", "b a", []),
    "not there": (PROVIDERS["any"](None), "a b", "a", ["b"]),
    "in another case": (PROVIDERS["any"](None), "Files", "files", ["Files"]),
    "one scope that is a list": (PROVIDERS["any"](None), "read,write", "write,read", []),
    "Google's long names": (
        PROVIDERS["google"](None),
        "email profile",
        f"openid {GOOGLE}userinfo.email {GOOGLE}userinfo.profile",
        [],
    ),
    "Google's short names": (PROVIDERS["google"](None), "drive calendar", f"{GOOGLE}drive", ["calendar"]),
    "Microsoft Graph": (PROVIDERS["microsoft"](None), "User.Read mail.read", f"{GRAPH}User.Read", ["mail.read"]),
    "Microsoft's OpenID scopes": (PROVIDERS["microsoft"](None), "openid profile offline_access", "User.Read", []),
    "all of Microsoft Graph": (PROVIDERS["microsoft"](None), f"{GRAPH}.default", "User.Read", []),
    "all of an API": (PROVIDERS["microsoft"](None), "api://a/.default", "api://a/Read", []),
    "all of another API": (PROVIDERS["microsoft"](None), "api://b/.default", "api://a/Read", ["api://b/.default"]),
    "GitHub's wider scope": (PROVIDERS["github"](None), "user:email public_repo read:org", "user,repo", ["read:org"]),
    "GitHub's levels": (PROVIDERS["github"](None), "read:org write:org", "admin:org", []),
    "the narrower of them": (PROVIDERS["github"](None), "repo", "public_repo", ["repo"]),
}  # fmt: skip


@pytest.mark.parametrize(("provider", "wanted", "answered", "missing"), COVERED.values(), ids=COVERED)
def test_providers_answer_with_names_of_their_own(
    provider: OAuthProvider, wanted: str, answered: str, missing: list[str]
) -> None:
    """H403: what is granted under another name, or as a part of more, is not missing."""
    tokens = OAuthTokenSet("CANARY", scope=answered)

    assert provider.missing_scopes(wanted.split(), tokens) == missing


def test_a_github_app_has_no_scopes() -> None:
    """H402: it has permissions instead, and its empty scope does not mean what was asked for."""
    tokens = OAuthTokenSet("CANARY", scope="", raw={"scope": ""}).asked_for("read:user")
    session = SessionManager(PROVIDERS["github"](None))
    asyncio.run(session.save_tokens(tokens))

    assert session.scopes == ()
