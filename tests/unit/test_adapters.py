"""A session as the credentials of other libraries, run with those libraries."""

from __future__ import annotations

import asyncio
import pickle
import sys
import time
from typing import TYPE_CHECKING

import fsspec
import pytest
from azure.core.credentials import TokenCredential
from azure.core.pipeline import Pipeline
from azure.core.pipeline.policies import BearerTokenCredentialPolicy
from azure.core.pipeline.transport import RequestsTransport
from azure.core.rest import HttpRequest
from google.auth.transport.requests import AuthorizedSession

from pywry_auth_nb import (
    AuthenticationError,
    ConfigurationError,
    LoginRequired,
    MemoryTokenStore,
    SessionManager,
    adapters,
)
from pywry_auth_nb.adapters import (
    as_aiokafka_provider,
    as_azure_credential,
    as_databricks_credentials,
    as_flight_middleware,
    as_fsspec_client,
    as_google_credentials,
    as_grpc_credentials,
    as_iceberg_auth,
    as_kafka_callback,
    as_trino_auth,
    as_urllib3_pool,
)
from pywry_auth_nb.adapters.mlflow import MlflowAuthProvider, session_of_settings
from tests.support.aging import expire
from tests.support.idp import CLIENT

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


def test_two_sessions_never_share_a_file_system(signed_in: SessionManager) -> None:
    """Such as fsspec: it keeps file systems by the repr of their arguments, and two accounts may look alike."""
    other = SessionManager(signed_in.provider, MemoryTokenStore())
    for adapter in (as_fsspec_client, as_google_credentials):
        assert repr(adapter(signed_in)) != repr(adapter(other))
        assert repr(adapter(signed_in)) == repr(adapter(signed_in))
    first, again, another = (
        fsspec.filesystem("http", get_client=as_fsspec_client(each)) for each in (signed_in, signed_in, other)
    )
    fsspec.filesystem("http").clear_instance_cache()

    assert first is again
    assert first is not another


def test_fsspec_renews_a_refused_token(signed_in: SessionManager, api: Api) -> None:
    """By the rules of `session.auth`."""
    old = signed_in.access_token
    api.refuse = lambda token: token == old
    files = fsspec.filesystem("http", get_client=as_fsspec_client(signed_in), skip_instance_cache=True)

    assert files.cat(f"{api.url}/data") == b""
    assert api.tokens() == [old, signed_in.access_token]


def test_the_fsspec_client_of_a_handle_can_be_sent(signed_in: SessionManager, api: Api) -> None:
    """To dask's workers; that of a session says that it cannot."""
    client = pickle.loads(pickle.dumps(as_fsspec_client(signed_in.handle())))  # noqa: S301 - our own
    fsspec.filesystem("http", get_client=client, skip_instance_cache=True).cat(f"{api.url}/data")

    assert api.tokens() == [signed_in.access_token]
    with pytest.raises(TypeError, match=r"session\.handle\(\)"):
        pickle.dumps(as_fsspec_client(signed_in))


def test_kafka_is_told_when_the_token_ends(signed_in: SessionManager) -> None:
    """confluent-kafka wants a plain string and epoch seconds, and calls again before that."""
    token, expiry = as_kafka_callback(signed_in)("")

    assert (token, type(token)) == (signed_in.access_token, str)
    assert expiry == pytest.approx(time.time() + 3600, abs=10)


def test_mlflow_finds_the_session_of_the_settings(idp: Idp, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow asks for each request: the session is one."""
    monkeypatch.setenv("PYWRY_OAUTH2__PROVIDER", "oidc")
    monkeypatch.setenv("PYWRY_OAUTH2__CLIENT_ID", CLIENT)
    monkeypatch.setenv("PYWRY_OAUTH2__ISSUER_URL", idp.issuer)
    session_of_settings.cache_clear()
    provider = MlflowAuthProvider()

    assert provider.get_name() == "pywry-auth"
    assert provider.get_auth()._session is provider.get_auth()._session
    session_of_settings.cache_clear()


def test_every_name_is_there() -> None:
    """Each is imported when it is used."""
    assert {getattr(adapters, name).__name__ for name in dir(adapters)} == set(adapters.__all__)
    with pytest.raises(AttributeError, match="as_gogle"):
        _ = adapters.as_gogle


@pytest.mark.parametrize(
    ("adapter", "module", "extra"),
    [
        (as_aiokafka_provider, "aiokafka.abc", "aiokafka"),
        (as_databricks_credentials, "databricks.sdk.credentials_provider", "databricks"),
        (as_flight_middleware, "pyarrow.flight", "flight"),
        (as_fsspec_client, "aiohttp", "fsspec"),
        (as_grpc_credentials, "grpc", "grpc"),
        (as_iceberg_auth, "pyiceberg.catalog.rest.auth", "iceberg"),
        (as_trino_auth, "trino.auth", "trino"),
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
