"""`create_provider_from_settings`: settings become a provider, or a sentence about what is missing."""

from __future__ import annotations

import asyncio
from itertools import product
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

import pywry_auth_nb.providers as package
from pywry_auth_nb import PKCEChallenge
from pywry_auth_nb.errors import AuthenticationError, ConfigurationError
from pywry_auth_nb.providers import (
    GenericOIDCProvider,
    GitHubProvider,
    GoogleProvider,
    MicrosoftProvider,
    OAuthProvider,
    create_provider_from_settings,
)
from tests.conftest import REDIRECT_URI
from tests.support.cases import case
from tests.support.idp import CLIENT

if TYPE_CHECKING:
    from tests.support.idp import Idp

URLS = {"authorize_url": "https://idp.example/a", "token_url": "https://idp.example/t"}
SEED_DEFAULTS: dict[str, Any] = {
    "provider": "custom",
    "client_id": "",
    "client_secret": "",
    "scopes": "openid email profile",
    "authorize_url": "",
    "token_url": "",
    "userinfo_url": "",
    "issuer_url": "",
    "tenant_id": "common",
    "use_pkce": True,
}


class SecretText:
    """Hides a secret as pydantic's ``SecretStr`` does."""

    def __init__(self, value: str) -> None:
        self._value = value

    def get_secret_value(self) -> str:
        """Reveal it."""
        return self._value


def made(provider: str = "", **settings: Any) -> OAuthProvider:
    """Make a provider from settings that hold nothing but these, and a client id."""
    given = {"client_id": CLIENT} | ({"provider": provider} if provider else {}) | settings
    return create_provider_from_settings(SimpleNamespace(**given))


def complaint(**settings: Any) -> str:
    """Return what is said about these settings."""
    with pytest.raises(ConfigurationError) as caught:
        create_provider_from_settings(SimpleNamespace(**settings))
    assert isinstance(caught.value, AuthenticationError), "the seed's error"
    assert isinstance(caught.value, ValueError)
    assert "CANARY" not in str(caught.value)
    return str(caught.value)


def test_everything_is_exported() -> None:
    """The names of the seed come from ``providers``, and the sources of tokens with them."""
    assert package.__all__ == [
        "AccessTokenSource",
        "ClientAssertion",
        "ClientCredentialsSource",
        "ClientKey",
        "GenericOIDCProvider",
        "GitHubProvider",
        "GoogleProvider",
        "HubTokenSource",
        "MicrosoftProvider",
        "OAuthProvider",
        "RefreshTokenSource",
        "create_provider_from_settings",
    ]


KINDS = [
    ("google", GoogleProvider),
    ("github", GitHubProvider),
    ("microsoft", MicrosoftProvider),
    ("GitHub", GitHubProvider),
]


def test_a_name_is_enough() -> None:
    """Each named provider needs its client alone; what is missing has a default."""
    for name, kind in KINDS:
        with case(name):
            rp = made(name, client_secret="CANARY-s")

            assert type(rp) is kind
            assert (rp.client_id, rp.client_secret) == (CLIENT, "CANARY-s")


OWN_SCOPES = {
    "google": ["openid", "email", "profile"],
    "github": ["read:user", "user:email"],
    "microsoft": ["openid", "email", "profile", "offline_access"],
    "oidc": ["openid", "email", "profile"],
    "custom": ["openid", "email", "profile"],
}


NO_CHOICE = ["openid email profile", ["openid", "email", "profile"], "", "  ", [], None, ...]


def test_the_default_of_the_setting_does_not_override_a_provider() -> None:
    """A7: it does not take GitHub's scopes from GitHub, nor ``offline_access`` from Microsoft."""
    for name, scopes in product(OWN_SCOPES, NO_CHOICE):
        with case(name, scopes):
            settings = (
                SEED_DEFAULTS | URLS | {"client_id": CLIENT, "provider": name, "issuer_url": "https://idp.example"}
            )
            settings.pop("scopes")
            given = {} if scopes is ... else {"scopes": scopes}

            assert create_provider_from_settings(SimpleNamespace(**settings, **given)).scopes == OWN_SCOPES[name]


def test_chosen_scopes_are_used() -> None:
    """A string is split at spaces; a list is taken as it is."""
    for scopes in ["repo  gist", ["repo", "gist"], ("repo", "gist")]:
        with case(scopes):
            assert made("github", scopes=scopes).scopes == ["repo", "gist"]
            assert made("custom", scopes=scopes, **URLS).scopes == ["repo", "gist"]


def test_microsoft_has_its_tenant() -> None:
    """``tenant_id`` is read; empty is ``common``; nonsense is refused as the provider refuses it."""
    for given, expected in (("contoso.example", "contoso.example"), ("", "common"), (None, "common")):
        rp = made("microsoft", tenant_id=given)
        assert isinstance(rp, MicrosoftProvider)
        assert rp.tenant_id == expected
    assert "tenant_id" in complaint(provider="microsoft", client_id=CLIENT, tenant_id="a/b")


def test_oidc_has_its_issuer() -> None:
    """Addresses beside it override discovery."""
    rp = made("oidc", issuer_url="https://idp.example/", userinfo_url="https://idp.example/me")

    assert isinstance(rp, GenericOIDCProvider)
    assert rp.issuer_url == "https://idp.example/"
    assert rp.userinfo_url == "https://idp.example/me"
    assert rp.authorize_url == ""
    assert rp.require_id_token_validation is True


def test_custom_has_its_addresses() -> None:
    """The default provider; also ``revocation_url``, which the seed's settings lack."""
    rp = made(userinfo_url="https://idp.example/u", revocation_url="https://idp.example/r", **URLS)

    assert isinstance(rp, GenericOIDCProvider)
    assert (rp.authorize_url, rp.token_url) == ("https://idp.example/a", "https://idp.example/t")
    assert (rp.userinfo_url, rp.revocation_url) == ("https://idp.example/u", "https://idp.example/r")
    assert rp.require_id_token_validation is False, "there is no issuer to validate against"


def test_validation_can_be_switched_off_in_so_many_words() -> None:
    """``require_id_token_validation`` is read where it is; only False switches it off, and an issuer switches it on."""
    for given, expected in [({}, True), (True, True), (False, False), (None, True)]:
        with case(given, expected):
            options = given if isinstance(given, dict) else {"require_id_token_validation": given}
            for name in ("oidc", "custom"):
                rp = made(name, issuer_url="https://idp.example", **URLS, **options)
                assert isinstance(rp, GenericOIDCProvider)
                assert rp.require_id_token_validation is expected


def test_custom_with_default_settings_signs_in(idp: Idp) -> None:
    """A4: the seed's default scopes make the provider send an ID token; without an issuer the sign-in succeeds."""
    settings = SEED_DEFAULTS | {
        "client_id": CLIENT,
        "authorize_url": f"{idp.issuer}/authorize",
        "token_url": f"{idp.issuer}/token",
        "userinfo_url": f"{idp.issuer}/userinfo",
    }
    rp = create_provider_from_settings(SimpleNamespace(**settings))
    pkce = PKCEChallenge.generate()

    async def go() -> dict[str, Any]:
        url = rp.build_authorize_url(REDIRECT_URI, "state", pkce, {"nonce": "n"})
        tokens = await rp.exchange_code(idp.authorize(url)["code"], REDIRECT_URI, pkce.verifier, "n")
        return await rp.fetch_user(tokens)

    assert asyncio.run(go())["name"] == "Ada Lovelace"


def test_a_secret_may_be_hidden() -> None:
    """``SecretStr`` is opened for the provider, which hides it again."""
    rp = made("github", client_secret=SecretText("CANARY-s"))

    assert rp.client_secret == "CANARY-s"
    assert "CANARY" not in repr(vars(rp))


def test_what_is_missing_is_named() -> None:
    """Each ``ConfigurationError`` names the setting."""
    assert "client_id" in complaint(provider="google")
    assert "No provider is set" in complaint(**SEED_DEFAULTS)
    assert "issuer_url" in complaint(provider="oidc", client_id=CLIENT)
    assert "'authorize_url' and 'token_url'" in complaint(client_id=CLIENT)
    assert "'token_url'" in complaint(client_id=CLIENT, authorize_url="https://idp.example/a")


def test_an_issuer_without_a_provider() -> None:
    """Endpoints are not what is missing: the setting that says what the issuer is for."""
    for where in ("issuer_url", "metadata_url"):
        with case(where):
            assert "PYWRY_OAUTH2__PROVIDER=oidc" in complaint(client_id=CLIENT, **{where: "https://idp.example"})


def test_an_unknown_provider_is_told_which_are_known() -> None:
    """The seed's ``AuthenticationError``; what was written is not repeated, it may be a secret in the wrong place."""
    said = complaint(provider="CANARY", client_id=CLIENT)

    assert "google, github, microsoft, jupyterhub, oidc, custom" in said


def test_a_setting_must_be_text() -> None:
    """A number or a list is named, not guessed at."""
    for name in ["provider", "client_id", "client_secret", "tenant_id"]:
        with case(name):
            assert name in complaint(**{"provider": "microsoft", "client_id": CLIENT} | {name: ["CANARY"]})


SENT: dict[str, Any] = {
    "authorize_params": {"hd": "example.org"},
    "token_params": {"x": "1"},
    "audience": "https://api.example",
    "resource": ["urn:a"],
    "prompt": "login",
    "login_hint": "ada",
    "client_auth": "post",
    "label": "Work",
}


@pytest.mark.parametrize("name", ["google", "microsoft", "github", "oidc", "custom"])
def test_what_a_sign_in_sends_reaches_every_provider(name: str) -> None:
    """H260: each setting is the argument of the same name."""
    rp = made(name, issuer_url="https://idp.example", **URLS, **SENT)

    assert rp.authorize_params.items() >= {
        "hd": "example.org", "audience": "https://api.example", "resource": ["urn:a"], "prompt": "login",
        "login_hint": "ada",
    }.items()  # fmt: skip
    assert rp.token_params == {"x": "1", "resource": ["urn:a"]}
    assert (rp.client_auth, rp.label) == ("post", "Work")


def test_lists_and_parameters_may_be_text() -> None:
    """H260: settings objects of others hold what they read from the environment."""
    rp = made("github", resource="urn:a, urn:b", authorize_params="x=1", token_params='{"y": "2"}')

    assert rp.authorize_params == {"x": "1", "resource": ["urn:a", "urn:b"]}
    assert rp.token_params["y"] == "2"
    lists, mappings = ("resource", "trusted_audiences"), ("authorize_params", "token_params")
    for name, wrong in [
        *product(lists, ['["CANARY', '[{"CANARY": 1}]', 5]),
        *product(mappings, ["CANARY", ["CANARY"]]),
    ]:
        with case(name, wrong):
            assert name in complaint(provider="google", client_id=CLIENT, **{name: wrong})
    assert "client_auth" in complaint(provider="github", client_id=CLIENT, client_auth="CANARY")


def test_settings_of_openid_connect_reach_its_providers() -> None:
    """H264, H265: where the metadata and keys are, and what of ID tokens may differ."""
    urls = {f"{name}_url": f"https://idp.example/{name}" for name in ("metadata", "jwks", "end_session")}
    rp = made("oidc", trusted_audiences="one two", check_nonce=False, **urls)

    assert isinstance(rp, GenericOIDCProvider)
    assert {name: getattr(rp, name) for name in urls} == urls
    assert (rp.trusted_audiences, rp.check_nonce) == ({"one", "two"}, False)
    assert rp.require_id_token_validation is True, "the metadata say who the issuer is"
    for name in ("google", "microsoft"):
        rp = made(name, trusted_audiences=["one"], check_nonce=False)
        assert isinstance(rp, GenericOIDCProvider)
        assert (rp.trusted_audiences, rp.check_nonce) == ({"one"}, False)
        assert made(name).check_nonce is True  # type: ignore[attr-defined]


def test_a_hub_has_a_label(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one thing that the hub does not provide."""
    for name in ("API_URL", "API_TOKEN", "USER"):
        monkeypatch.setenv(f"JUPYTERHUB_{name}", "https://hub.example/hub/api")

    assert made("jupyterhub", label="Science").label == "Science"
