"""The provider: discovery, PKCE, the client and its secret, the clock."""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING, Any

import pytest

from tests.doctor.wire import EarlyIdp, Wire
from tests.support.idp import CLIENT, Answer, Idp
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.doctor.conftest import Visit

    Doctor = Callable[..., Visit]

BASIC_ONLY = {"token_endpoint_auth_methods_supported": ["client_secret_basic"]}
SECRET = "CANARY-secret"


def visit(doctor: Doctor, idp: Idp, **environ: str) -> Visit:
    """Look at a provider."""
    return doctor("--json", "--issuer", idp.issuer, "--client-id", CLIENT, **environ)


def test_a_provider_that_is_well(doctor: Doctor, idp: Idp) -> None:
    """Discovery, PKCE, issuer in the answers, client and clock are fine."""
    said = visit(doctor, idp)

    assert said.status == 0
    for code in ("discovery", "pkce", "iss", "client", "clock"):
        assert said.levels[code] == "ok"


def test_none_is_configured(doctor: Doctor) -> None:
    """Without a provider a note says how to name one: it may stand in the notebook."""
    assert doctor("--json").levels["provider_unset"] == "note"


def test_a_configured_one(doctor: Doctor, idp: Idp) -> None:
    """The settings of the environment count."""
    said = doctor("--json", **configured(idp))

    assert said.levels["discovery"] == said.levels["client"] == "ok"
    assert has_heard(idp, SECRET)


def configured(idp: Idp) -> dict[str, str]:
    """Settings of the environment: a provider, a client and its secret."""
    return {
        "PYWRY_OAUTH2__PROVIDER": "oidc",
        "PYWRY_OAUTH2__ISSUER_URL": idp.issuer,
        "PYWRY_OAUTH2__CLIENT_ID": CLIENT,
        "PYWRY_OAUTH2__CLIENT_SECRET": SECRET,
    }


@pytest.mark.parametrize(
    ("status", "content", "code", "level"),
    [
        (200, {"auth_state": {"access_token": "CANARY-at"}}, "hub_token", "ok"),
        (200, {"auth_state": None}, "hub_auth_state_missing", "error"),
        (404, {"message": "CANARY"}, "hub_refused", "error"),
    ],
)
def test_a_hub_that_signs_people_in(doctor: Doctor, status: int, content: Any, code: str, level: str) -> None:
    """Where the hub has a token of its user, it is asked whether it gives it."""
    hub = {"JUPYTERHUB_API_TOKEN": "CANARY", "JUPYTERHUB_USER": "ada", "PYWRY_OAUTH2__PROVIDER": "jupyterhub"}
    with Wire() as wire:
        wire.answers["/hub/api/users/ada"] = (status, {}, content)
        said = doctor("--json", JUPYTERHUB_API_URL=f"{wire.url}hub/api", **hub)

    assert said.levels[code] == level
    assert said.status == (level == "error")


def test_tokens_without_a_user(doctor: Doctor, idp: Idp) -> None:
    """The client's own token is asked for; a token that is provided is there; a refresh token is not spent."""
    own = doctor("--json", **configured(idp), PYWRY_OAUTH2__GRANT_TYPE="client_credentials")
    asked = idp.requests_to("/token")
    renewable = doctor("--json", PYWRY_OAUTH2__REFRESH_TOKEN="CANARY-rt")
    provided = doctor("--json", PYWRY_OAUTH2__ACCESS_TOKEN="CANARY-at")

    assert own.levels["token_source"] == provided.levels["token_source"] == "ok"
    assert renewable.levels["refresh_token_untried"] == "note"
    assert idp.requests_to("/token") == asked == 1


def test_an_issuer_without_a_client(doctor: Doctor, idp: Idp) -> None:
    """A provider can be looked at before a client is registered; the client is not tried out then."""
    said = doctor("--json", "--issuer", idp.issuer)

    assert said.levels["discovery"] == "ok"
    assert said.levels["client_unset"] == "note"
    assert idp.requests[-1].method == "GET"


@pytest.mark.parametrize(
    "environ",
    [
        {"PYWRY_OAUTH2__PROVIDER": "oidc", "PYWRY_OAUTH2__CLIENT_ID": CLIENT},
        {"PYWRY_OAUTH2__PROVIDER": "CANARY"},
        {"PYWRY_OAUTH2__AUTH_TIMEOUT_SECONDS": "CANARY"},
        {"PYWRY_OAUTH2__PROVIDER": "google", "PYWRY_OAUTH2__CLIENT_ID": "x", "PYWRY_OAUTH2__CLIENT_SECRET_FILE": "/no"},
    ],
)
def test_settings_that_are_wrong(doctor: Doctor, environ: dict[str, str]) -> None:
    """A setting that is missing or wrong is an error, with the sentence that a notebook would show, not its value."""
    said = doctor("--json", **environ)

    assert (said.status, said.levels["configuration"]) == (1, "error")


def test_metadata_that_forbid_signing_in(doctor: Doctor, idp: Idp) -> None:
    """What would end a sign-in is an error by the same name, with advice."""
    wrong: dict[str, dict[str, Any]] = {
        "pkce_unsupported": {"code_challenge_methods_supported": ["plain"]},
        "metadata_issuer": {"issuer": "https://CANARY.example.org"},
        "insecure_url": {"token_endpoint": "http://CANARY.example.org/token"},
        "missing_metadata": {"authorization_endpoint": ...},
    }
    for code, metadata in wrong.items():
        idp.metadata = metadata
        said = visit(doctor, idp)

        assert (said.status, said.levels[code]) == (1, "error")
        assert said.finding(code)["advice"].isprintable(), "it is on one line"


def test_metadata_that_are_worth_knowing(doctor: Doctor, idp: Idp) -> None:
    """What does not end a sign-in is not an error."""
    wanting: list[tuple[dict[str, Any], str, str]] = [
        ({"code_challenge_methods_supported": ...}, "pkce_unlisted", "warning"),
        ({"authorization_response_iss_parameter_supported": ...}, "iss_unlisted", "note"),
        ({"scopes_supported": ["openid", "offline_access"]}, "refresh_tokens", "note"),
    ]
    for metadata, code, level in wanting:
        idp.metadata = metadata
        said = visit(doctor, idp)

        assert (said.status, said.levels[code]) == (0, level)


def test_scopes_are_kept_where_refresh_tokens_are_not_asked_for(doctor: Doctor, idp: Idp) -> None:
    """What is to be set has the scopes that are set already."""
    idp.metadata = {"scopes_supported": ["offline_access"]}
    said = visit(doctor, idp, PYWRY_OAUTH2__SCOPES="openid read:all")

    assert said.finding("refresh_tokens")["advice"].endswith("PYWRY_OAUTH2__SCOPES='openid read:all offline_access'")


def test_refresh_tokens_that_are_asked_for(doctor: Doctor, idp: Idp) -> None:
    """Where offline access is requested, a note about it is not needed."""
    idp.metadata = {"scopes_supported": ["offline_access"]}

    assert "refresh_tokens" not in visit(doctor, idp, PYWRY_OAUTH2__SCOPES="openid offline_access").levels


def test_a_provider_out_of_reach(doctor: Doctor) -> None:
    """A provider that does not answer is an error."""
    said = doctor("--json", "--issuer", f"http://127.0.0.1:{free_port()}", "--client-id", CLIENT)

    assert (said.status, said.levels["connection_refused"]) == (1, "error")


def test_no_provider_at_all(doctor: Doctor, idp: Idp) -> None:
    """A server that knows nothing of OpenID Connect is an error, and what it says is not shown."""
    idp.answers["/.well-known/openid-configuration"] = Answer({"error": "CANARY"}, 404)

    assert visit(doctor, idp).levels["discovery_failed"] == "error"


# -- the client -------------------------------------------------------------------------------------------------


def test_a_client_that_needs_a_secret(doctor: Doctor, idp: Idp) -> None:
    """A client that is refused without a secret, where the provider lists no other way, needs one."""
    idp.metadata = BASIC_ONLY
    idp.answers["/token"] = Answer({"error": "invalid_client", "error_description": "CANARY"}, 401)
    said = visit(doctor, idp)

    assert (said.status, said.levels["client_secret_needed"]) == (1, "error")
    assert "CLIENT_SECRET_FILE" in said.finding("client_secret_needed")["advice"]


def test_a_public_client_that_is_not_listed(doctor: Doctor, idp: Idp) -> None:
    """Providers that take public clients often do not list them: what counts is that this one is taken."""
    idp.metadata = BASIC_ONLY

    assert visit(doctor, idp).levels["client"] == "ok"


def test_a_client_that_may_need_a_secret(doctor: Doctor, idp: Idp) -> None:
    """Where trying it out says nothing, what the provider lists is a warning."""
    idp.metadata = BASIC_ONLY
    idp.answers["/token"] = Answer({"error": "invalid_request"}, 400)
    said = visit(doctor, idp)

    assert (said.status, said.levels["client_secret_needed"]) == (0, "warning")


def test_a_client_that_is_refused(doctor: Doctor, idp: Idp) -> None:
    """A client that the provider does not know, or whose secret is wrong, is an error."""
    for error in ("invalid_client", "unauthorized_client"):
        idp.answers["/token"] = Answer({"error": error, "error_description": "CANARY"}, 401)
        said = doctor("--json", **configured(idp))
        as_public = visit(doctor, idp)

        assert (said.status, said.levels["client_refused"]) == (1, "error")
        assert "--client-id" not in said.finding("client_refused")["advice"]
        assert "--client-id no configured secret is sent" in as_public.finding("client_refused")["advice"]


def test_a_client_that_cannot_be_tried(doctor: Doctor, idp: Idp) -> None:
    """A token endpoint that is out of order says nothing about the client."""
    idp.answers["/token"] = Answer({"error": "CANARY"}, 503)
    said = visit(doctor, idp)

    assert (said.status, said.levels["client_unknown"]) == (0, "note")


def test_a_secret_that_is_not_taken(doctor: Doctor, idp: Idp) -> None:
    """A secret that the provider takes in no way we know is an error."""
    idp.metadata = {"token_endpoint_auth_methods_supported": ["private_key_jwt"]}
    said = doctor("--json", **configured(idp))

    assert (said.status, said.levels["client_auth_unsupported"]) == (1, "error")


# -- the secret -------------------------------------------------------------------------------------------------


def has_heard(idp: Idp, secret: str) -> bool:
    """Whether a secret came over the wire: in a form, or in a header as it is or encoded (RFC 6749 §2.3.1)."""
    basic = [one.headers.get("authorization", "").rpartition(" ")[2] for one in idp.requests]
    told = [base64.b64decode(one) for one in basic if one]
    return secret in f"{idp.requests} {told}"


@pytest.mark.parametrize("option", ["--issuer", "--client-id"])
def test_a_secret_of_another_client(doctor: Doctor, option: str) -> None:
    """With another provider or client named, the configured secret goes nowhere, and the client is tried without."""
    with Idp() as theirs, Idp() as other:
        at = other if option == "--issuer" else theirs
        said = doctor("--json", option, other.issuer if at is other else "another", **configured(theirs))
        heard = [has_heard(idp, "CANARY") for idp in (theirs, other)]

    assert said.levels["client"] == "ok"
    assert "POST" in [one.method for one in at.requests if one.path == "/token"]
    assert heard == [False, False]


@pytest.mark.parametrize("place", ["FILE", "KEYRING"])
def test_a_secret_that_is_kept_elsewhere(doctor: Doctor, idp: Idp, place: str) -> None:
    """With another client named, the secret's file or keyring, which might ask the user something, is not read."""
    said = visit(doctor, idp, **{f"PYWRY_OAUTH2__CLIENT_SECRET_{place}": "/no/such"})

    assert (said.status, said.levels["client"]) == (0, "ok")


def test_a_secret_of_the_configuration_file(doctor: Doctor, idp: Idp, tmp_path: Path) -> None:
    """With another client named, a secret in one of Jupyter's configuration files is not sent."""
    folder = tmp_path / "home"
    folder.mkdir(exist_ok=True)
    (folder / "jupyter_pywry_auth_config.py").write_text(f"c.OAuth2Settings.client_secret = {SECRET!r}\n")
    said = visit(doctor, idp)

    assert said.levels["client"] == "ok"
    assert not has_heard(idp, SECRET)


# -- the clock --------------------------------------------------------------------------------------------------


def test_clocks_apart(doctor: Doctor) -> None:
    """A provider that is ahead by more than ID tokens may be, or far behind, is an error; half of it a warning."""
    levels = {2: "ok", 20: "warning", 90: "error", -120: "warning", -900: "error"}
    for seconds, level in levels.items():
        with EarlyIdp(seconds) as idp:
            said = visit(doctor, idp)

        assert said.levels["clock" if level == "ok" else "clock_skew"] == level
        assert said.status == (level == "error")


def test_a_provider_without_a_clock(doctor: Doctor) -> None:
    """Where the provider does not tell its time, that is a note."""
    with EarlyIdp(math.nan) as idp:
        said = visit(doctor, idp)

    assert (said.status, said.levels["clock_unknown"]) == (0, "note")


def test_a_provider_without_id_tokens(doctor: Doctor) -> None:
    """Where no ID token is checked, a wrong clock does not make a sign-in fail."""
    with EarlyIdp(90) as idp:
        said = doctor(
            "--json",
            PYWRY_OAUTH2__CLIENT_ID=CLIENT,
            PYWRY_OAUTH2__AUTHORIZE_URL=f"{idp.issuer}/authorize",
            PYWRY_OAUTH2__TOKEN_URL=f"{idp.issuer}/token",
        )

    assert (said.status, said.levels["clock_skew"]) == (0, "warning")


def test_a_configuration_file(doctor: Doctor, idp: Idp, tmp_path: Path) -> None:
    """Settings of Jupyter's configuration files count, too."""
    folder = tmp_path / "home"
    folder.mkdir(exist_ok=True)
    (folder / "jupyter_pywry_auth_config.py").write_text(
        f"c.OAuth2Settings.provider = 'oidc'\nc.OAuth2Settings.issuer_url = {idp.issuer!r}\n"
        f"c.OAuth2Settings.client_id = {CLIENT!r}\n"
    )

    assert doctor("--json").levels["discovery"] == "ok"
