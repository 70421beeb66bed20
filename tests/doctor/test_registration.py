"""The redirect URI at the provider: the authorize endpoint is asked with ``prompt=none``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import pytest

from pywry_auth_nb import GenericOIDCProvider, MemoryTokenStore, SessionManager, doctor
from pywry_auth_nb._io.loop import run
from pywry_auth_nb.doctor import registration
from pywry_auth_nb.doctor.http_probe import Probe
from tests.support.cases import case
from tests.support.idp import CLIENT, Answer, Idp

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.doctor.conftest import Visit, Watched

    Doctor = Callable[..., Visit]

SECRET_NEEDED = "client_secret_needed"
URI = "https://hub.example.org/pywry-auth/callback"

#: What the authorize endpoint answers; the finding's code and level.
ANSWERS: list[tuple[Answer, str, str]] = [
    (Answer(status=303, headers={"Location": f"{URI}?error=login_required&state=x"}), "registration", "ok"),
    (Answer(status=302, headers={"Location": f"{URI}?code=x&state=x"}), "registration", "ok"),
    (Answer(status=303, headers={"Location": f"{URI}?error=invalid_scope"}), "request_refused", "error"),
    (Answer(status=303, headers={"Location": f"{URI}?error=odd"}), "registration_unknown", "note"),
    (Answer({"error": "CANARY"}, 400), "registration_refused", "error"),
    (Answer({"error": "CANARY"}, 401), "registration_refused", "error"),
    (Answer({"error": "CANARY"}, 403), "registration_unknown", "note"),
    (Answer(b"<h1>Sign in</h1>", 200), "registration_unknown", "note"),
    (Answer(status=302, headers={"Location": "https://login.example.org/login"}), "registration_unknown", "note"),
    (Answer(status=302, headers={"Location": f"{URI}/other?code=x"}), "registration_unknown", "note"),
    (Answer(status=302, headers={"Location": "https://[bad"}), "registration_unknown", "note"),
    (Answer(status=502), "registration_unknown", "note"),
]


def provider(idp: Idp) -> GenericOIDCProvider:
    """A client that knows the provider's addresses."""
    rp = GenericOIDCProvider(CLIENT, issuer_url=idp.issuer)
    run(rp.prepare(), 10)
    return rp


def test_what_the_authorize_endpoint_answers(idp: Idp) -> None:
    """Only an answer at the redirect URI says that it is registered; a page of the provider's own says nothing."""
    rp, probe = provider(idp), Probe(30)
    for answer, code, level in ANSWERS:
        with case(answer):
            idp.answers["/authorize"] = answer
            finding = registration.check(rp, URI, probe)

            assert (finding.code, finding.level) == (code, level)
            assert "CANARY" not in finding.message + finding.advice


def test_what_it_is_asked(idp: Idp) -> None:
    """The request is one of a sign-in, with PKCE and the redirect URI that is named, and asks the user nothing."""
    registration.check(provider(idp), URI, Probe(30))
    asked = dict(parse_qsl(idp.last("/authorize").query))

    assert (asked["prompt"], asked["redirect_uri"], asked["client_id"]) == ("none", URI, CLIENT)
    assert asked.keys() >= {"state", "nonce", "code_challenge", "scope"}


def test_a_provider_that_wants_pushed_requests(idp: Idp) -> None:
    """Where a refusal would say nothing about the redirect URI (RFC 9126), the provider is not asked."""
    idp.metadata = {"require_pushed_authorization_requests": True}

    assert registration.check(provider(idp), URI, Probe(30)).code == "registration_unknown"
    assert idp.requests_to("/authorize") == 0


def test_the_whole_command(doctor: Doctor, idp: Idp, plain: Watched) -> None:
    """An unregistered redirect URI is an error, though the provider knows the client."""
    idp.answers["/authorize"] = Answer({"error": "invalid_request"}, 400)
    said = doctor("--json", "--issuer", idp.issuer, "--client-id", CLIENT, **plain.here)

    assert (said.status, said.levels["client"], said.levels["registration_refused"]) == (1, "ok", "error")
    assert f"{plain.url}pywry-auth/callback" in said.finding("registration_refused")["message"]


@pytest.mark.parametrize(
    ("metadata", "client", "asked"),
    [({}, "client_refused", 0), ({"token_endpoint_auth_methods_supported": ["client_secret_basic"]}, SECRET_NEEDED, 1)],
    ids=["unknown", "without its secret"],
)
def test_a_client_that_is_refused(
    doctor: Doctor, idp: Idp, plain: Watched, metadata: dict[str, Any], client: str, asked: int
) -> None:
    """An unknown client is one finding; one that lacks its secret has its redirect URI looked at, which needs none."""
    idp.metadata = metadata
    idp.answers["/token"] = Answer({"error": "invalid_client"}, 401)
    idp.answers["/authorize"] = Answer({"error": "invalid_request"}, 400)
    said = doctor("--json", "--issuer", idp.issuer, "--client-id", CLIENT, **plain.here)

    assert (said.levels[client], idp.requests_to("/authorize")) == ("error", asked)
    assert ("registration_refused" in said.levels) is bool(asked)


def test_a_redirect_uri_that_is_not_known(doctor: Doctor, idp: Idp) -> None:
    """Without a server the redirect URI is not known, and that it was not looked at is a note."""
    said = doctor("--json", "--issuer", idp.issuer, "--client-id", CLIENT)

    assert said.levels["registration_unknown"] == "note"
    assert idp.requests_to("/authorize") == 0


@pytest.mark.parametrize("listed", [["HS256"], ["none", "HS512"], ["CANARY"]])
def test_id_tokens_that_are_not_accepted(doctor: Doctor, idp: Idp, listed: list[str]) -> None:
    """A provider that signs in no way that is accepted is an error."""
    idp.metadata = {"id_token_signing_alg_values_supported": listed}
    said = doctor("--json", "--issuer", idp.issuer, "--client-id", CLIENT)

    assert (said.status, said.levels["id_token_algorithm"]) == (1, "error")


def test_id_tokens_that_are_accepted_among_others(doctor: Doctor, idp: Idp) -> None:
    """One way that is accepted is enough."""
    idp.metadata = {"id_token_signing_alg_values_supported": ["HS256", "ES256"]}

    assert "id_token_algorithm" not in doctor("--json", "--issuer", idp.issuer, "--client-id", CLIENT).levels


def test_the_address_of_the_metadata(doctor: Doctor, idp: Idp) -> None:
    """``--metadata-url`` is enough, whatever issuer is configured."""
    url = f"{idp.issuer}/.well-known/openid-configuration"
    said = doctor(
        "--json", "--metadata-url", url, "--client-id", CLIENT, PYWRY_OAUTH2__ISSUER_URL="https://other.example.org"
    )

    assert said.levels["discovery"] == said.levels["client"] == "ok"


def test_the_address_that_jupyter_prints(doctor: Doctor, plain: Watched) -> None:
    """A URL with its token lets the command in, from anywhere."""
    said = doctor(f"{plain.url}lab/tree/quickstart.ipynb?token={plain.token}", "--json")

    assert said.report["redirect_uri"] == f"{plain.url}pywry-auth/callback"
    assert {said.levels[code] for code in ("server_found", "extension", "redirect_uri")} == {"ok"}


# -- in a notebook ----------------------------------------------------------------------------------------------------


@pytest.fixture
def session(idp: Idp) -> SessionManager:
    """A session in the notebook; no settings name its provider."""
    return SessionManager(GenericOIDCProvider(CLIENT, issuer_url=idp.issuer), MemoryTokenStore())


@pytest.mark.usefixtures("clean")
def test_the_session_of_a_notebook(session: SessionManager) -> None:
    """``session.doctor()`` looks at the session's own provider and store; its text is what the command prints."""
    report = session.doctor()
    codes = {finding.code: finding.level for finding in report.findings}

    assert codes["discovery"] == codes["client"] == "ok"
    assert codes["store_memory"] == "note"
    assert repr(report) == report.as_text()


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("named", ["session", "provider"])
def test_the_doctor_of_a_notebook(session: SessionManager, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """``doctor()`` looks at the session, or the provider, that the notebook has a name for."""
    value = session if named == "session" else session.provider
    shell: Any = type("Shell", (), {"user_ns": {"x": 1, "mine": value}})
    monkeypatch.setattr("pywry_auth_nb._io.cells.shell", lambda: shell)
    report = doctor()  # type: ignore[operator]

    assert "discovery" in [finding.code for finding in report.findings]


@pytest.mark.usefixtures("clean")
def test_the_doctor_of_a_notebook_without_any() -> None:
    """Without a session or a provider it looks at what the settings name."""
    assert "provider_unset" in [finding.code for finding in doctor().findings]  # type: ignore[operator]
