"""A session as the credentials of other libraries, run with those libraries."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING

import pytest
from azure.core.credentials import TokenCredential
from azure.core.pipeline import Pipeline
from azure.core.pipeline.policies import BearerTokenCredentialPolicy
from azure.core.pipeline.transport import RequestsTransport
from azure.core.rest import HttpRequest
from google.auth.transport.requests import AuthorizedSession

from pywry_auth_nb import AuthenticationError, ConfigurationError, LoginRequired, SessionManager
from pywry_auth_nb.adapters import as_azure_credential, as_google_credentials, as_urllib3_pool
from tests.support.aging import expire

if TYPE_CHECKING:
    from tests.support.api import Api
    from tests.support.idp import Idp


def test_google_sends_the_token(signed_in: SessionManager, api: Api) -> None:
    """Google's own HTTP session sends what the session holds, also after a renewal."""
    with AuthorizedSession(as_google_credentials(signed_in)) as client:
        first = signed_in.access_token
        assert client.get(api.url).status_code == 200
        expire(signed_in)
        assert client.get(api.url).status_code == 200

    assert api.tokens() == [first, signed_in.access_token]
    assert first != signed_in.access_token


def test_google_renews_a_refused_token(signed_in: SessionManager, api: Api, idp: Idp) -> None:
    """On 401 Google's library asks for a refresh: that is the session's."""
    old = signed_in.access_token
    api.refuse = lambda token: token == old
    with AuthorizedSession(as_google_credentials(signed_in)) as client:
        assert client.get(api.url).status_code == 200

    assert api.tokens() == [old, signed_in.access_token]
    assert idp.requests_to("/token") == 2


def test_google_sends_the_token_to_allowed_origins_alone(signed_in: SessionManager, api: Api) -> None:
    """The session's rule holds here, too."""
    signed_in.allowed_origins = ["https://storage.googleapis.com"]
    with AuthorizedSession(as_google_credentials(signed_in)) as client, pytest.raises(AuthenticationError) as caught:
        client.get(api.url)

    assert caught.value.code == "origin_not_allowed"
    assert not api.seen


def test_google_does_not_renew_for_a_late_refusal(signed_in: SessionManager, idp: Idp) -> None:
    """A 401 for a token that has been renewed since, by another thread, costs no second refresh."""
    credentials = as_google_credentials(signed_in)
    old = credentials.token
    asyncio.run(signed_in.refresh())
    credentials.refresh(None)

    assert idp.requests_to("/token") == 2
    assert credentials.token == signed_in.access_token != old


def test_google_is_told_when_signed_out(session: SessionManager, api: Api) -> None:
    """The session's own error comes through."""
    with AuthorizedSession(as_google_credentials(session)) as client, pytest.raises(LoginRequired):
        client.get(api.url)


def test_azure_sends_the_token(signed_in: SessionManager, api: Api) -> None:
    """The pipeline of every Azure client takes the credential; it insists on https, and is told not to here."""
    policy = BearerTokenCredentialPolicy(as_azure_credential(signed_in), "https://example.org/.default")
    with Pipeline(RequestsTransport(), [policy]) as pipeline:
        response = pipeline.run(HttpRequest("GET", api.url), enforce_https=False)

    assert response.http_response.status_code == 200
    assert api.tokens() == [signed_in.access_token]


def test_azure_is_told_when_the_token_ends(signed_in: SessionManager) -> None:
    """Both forms of the protocol carry token and expiry in epoch seconds."""
    credential = as_azure_credential(signed_in)
    old, info = credential.get_token("scope"), credential.get_token_info("scope", options={})

    assert isinstance(credential, TokenCredential)
    assert (old.token, old.expires_on) == (info.token, info.expires_on)
    assert old.token == signed_in.access_token
    assert old.expires_on == pytest.approx(time.time() + 3600, abs=10)
    assert "CANARY" not in repr(credential) + repr(old) + repr(info)


@pytest.mark.parametrize(
    ("adapter", "module", "extra"),
    [
        (as_google_credentials, "google.auth.credentials", "google"),
        (as_azure_credential, "azure.core.credentials", "azure"),
        (as_urllib3_pool, "urllib3", "urllib3"),
    ],
)
def test_a_missing_package_is_named(
    signed_in: SessionManager, monkeypatch: pytest.MonkeyPatch, adapter: object, module: str, extra: str
) -> None:
    """Without the library the error says what to install."""
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(ConfigurationError, match=rf"pip install 'pywry-auth-nb\[{extra}\]'"):
        adapter(signed_in)  # type: ignore[operator]
