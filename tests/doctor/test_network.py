"""The way to the provider: certificates and proxies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.idp import CLIENT, Idp
from tests.support.networks import PASSWORD, Company, HttpProxy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.doctor.conftest import Visit

    Doctor = Callable[..., Visit]

LOGIN = "https://login.corp.invalid"


def test_nothing_is_set(doctor: Doctor, idp: Idp) -> None:
    """Without variables there is nothing to tell."""
    said = doctor("--json", "--issuer", idp.issuer, "--client-id", CLIENT)

    assert not {"certificates", "through_proxy"} & set(said.levels)


def test_a_network_that_inspects_tls(doctor: Doctor, idp: Idp, tmp_path: Path) -> None:
    """Whose certificates are trusted and which proxy is in between is told, without its password."""
    idp.issuer, company = LOGIN, Company(idp)
    ca = company.certificate(tmp_path)
    with HttpProxy(company) as proxy:
        proxy.password = PASSWORD
        variables = {"REQUESTS_CA_BUNDLE": ca, "HTTPS_PROXY": proxy.at()}
        said = doctor("--json", "--issuer", LOGIN, "--client-id", CLIENT, **variables)

        assert (said.status, said.levels["discovery"], said.levels["client"]) == (0, "ok", "ok")
        assert f"REQUESTS_CA_BUNDLE ({ca})" in said.finding("certificates")["message"]
        assert f"{proxy.address} (HTTPS_PROXY)" in said.finding("through_proxy")["message"]
        said = doctor("--json", "--issuer", LOGIN, "--client-id", CLIENT, HTTPS_PROXY=proxy.at("CANARY-wrong"))

        assert (said.status, said.levels["proxy"]) == (1, "error")


@pytest.mark.parametrize(
    ("variable", "value"),
    [("SSL_CERT_FILE", "/nowhere/corp.pem"), ("CURL_CA_BUNDLE", "/nowhere/corp.pem"), ("HTTPS_PROXY", "CANARY://x")],
)
def test_a_variable_that_cannot_be_used(doctor: Doctor, variable: str, value: str) -> None:
    """It is told once, by name, with or without a provider."""
    for provider in ([], ["--issuer", LOGIN, "--client-id", CLIENT]):
        said = doctor("--json", *provider, **{variable: value})

        assert (said.status, said.levels["configuration"]) == (1, "error")
        assert said.finding("configuration")["message"].startswith(variable)
        assert "discovery_failed" not in said.levels


def test_metadata_at_another_host(doctor: Doctor) -> None:
    """The way that counts is the one to where the metadata are, not the issuer's: Keycloak in a container."""
    said = doctor(
        "--json",
        PYWRY_OAUTH2__PROVIDER="oidc",
        PYWRY_OAUTH2__CLIENT_ID=CLIENT,
        PYWRY_OAUTH2__ISSUER_URL=LOGIN,
        PYWRY_OAUTH2__METADATA_URL="https://keycloak.invalid/metadata",
        HTTPS_PROXY="http://127.0.0.1:1",
        NO_PROXY="login.corp.invalid",
    )

    assert "Requests to keycloak.invalid go through" in said.finding("through_proxy")["message"]


def test_a_provider_on_this_machine(doctor: Doctor, idp: Idp) -> None:
    """Plain http takes no proxy, so none is told of; an address that cannot be read is the provider's check's."""
    proxy = {"HTTPS_PROXY": "http://127.0.0.1:1"}
    said = doctor("--json", "--issuer", idp.issuer, "--client-id", CLIENT, **proxy)

    assert "through_proxy" not in said.levels
    assert said.levels["discovery"] == "ok"
    said = doctor("--json", "--issuer", "https://login.corp.invalid:x", "--client-id", CLIENT, **proxy)

    assert "check_failed" not in said.levels


def test_a_host_without_a_proxy(doctor: Doctor) -> None:
    """NO_PROXY counts as it does in a sign-in, in every form."""
    for no_proxy, told in (("[::1], *.corp.invalid", False), ("fe80::/10,[::1]", True)):
        proxies = {"HTTPS_PROXY": "http://127.0.0.1:1", "NO_PROXY": no_proxy}
        said = doctor("--json", "--issuer", LOGIN, "--client-id", CLIENT, **proxies)

        assert ("through_proxy" in said.levels) is told
        assert said.levels["proxy" if told else "unknown_host"] == "error"
