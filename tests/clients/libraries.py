"""Clients of services, each against the part of its service that the request needs: `make clients` installs them."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from pywry_auth_nb.adapters import (
    as_aiokafka_provider,
    as_databricks_credentials,
    as_flight_middleware,
    as_fsspec_client,
    as_google_credentials,
    as_grpc_credentials,
    as_iceberg_auth,
    as_kafka_callback,
    as_kubernetes_hook,
)
from pywry_auth_nb.adapters.mlflow import session_of_settings
from pywry_auth_nb.token_store import factory
from tests.clients.client import client, renew
from tests.support.aging import expire
from tests.support.idp import CLIENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pywry_auth_nb import SessionManager
    from tests.clients.client import Ask
    from tests.clients.newest import Newest


@client("openai", "openai", "`OpenAI(api_key=session.token_provider)`")
@contextmanager
def openai(session: SessionManager, server: Newest) -> Iterator[Ask]:
    from openai import OpenAI

    server.answers["/models"] = {"object": "list", "data": []}
    with OpenAI(api_key=session.token_provider, base_url=server.url, max_retries=0) as api:
        yield api.models.list


@client("openai, asynchronous", "openai", "`AsyncOpenAI(api_key=session.get_access_token)`")
@contextmanager
def openai_async(session: SessionManager, server: Newest) -> Iterator[Ask]:
    from openai import AsyncOpenAI

    server.answers["/models"] = {"object": "list", "data": []}
    with _Loop() as loop:
        api = AsyncOpenAI(api_key=session.get_access_token, base_url=server.url, max_retries=0)

        async def ask() -> None:
            await api.models.list()

        yield lambda: loop.run(ask())
        loop.run(api.close())


@client("openai, by its HTTP client", "openai", "`OpenAI(…, http_client=httpx2.Client(auth=session.auth))`")
@contextmanager
def openai_http(session: SessionManager, server: Newest) -> Iterator[Ask]:
    import httpx2
    from openai import OpenAI

    server.answers["/models"] = {"object": "list", "data": []}
    http = httpx2.Client(auth=session.auth)
    with OpenAI(api_key="-", base_url=server.url, max_retries=0, http_client=http) as api:
        yield api.models.list


@client("anthropic", "anthropic", "`Anthropic(credentials=lambda **_: AccessToken(session.access_token, 0))`")
@contextmanager
def anthropic(session: SessionManager, server: Newest) -> Iterator[Ask]:
    from anthropic import Anthropic
    from anthropic.lib.credentials import AccessToken

    server.answers["/models"] = {"data": [], "has_more": False, "first_id": None, "last_id": None}
    credentials: Any = lambda **_: AccessToken(session.access_token, 0)  # noqa: E731
    with Anthropic(credentials=credentials, base_url=server.url, max_retries=0) as api:
        yield api.models.list


@client("qdrant", "qdrant-client", "`QdrantClient(url, auth_token_provider=session.token_provider)`")
@contextmanager
def qdrant(session: SessionManager, server: Newest) -> Iterator[Ask]:
    from qdrant_client import QdrantClient

    server.answers["/collections"] = {"result": {"collections": []}, "status": "ok", "time": 0}
    api = QdrantClient(url=server.url, auth_token_provider=session.token_provider, check_compatibility=False)
    yield api.get_collections
    api.close()


@client("openEO", "openeo", "a `BearerAuth` whose `bearer` is a property: `connection.auth = Auth()`")
@contextmanager
def openeo(session: SessionManager, server: Newest) -> Iterator[Ask]:
    from openeo.rest._connection import RestApiConnection
    from openeo.rest.auth.auth import BearerAuth

    class Auth(BearerAuth):  # type: ignore[misc]
        def __init__(self) -> None:
            pass

        @property
        def bearer(self) -> str:
            return f"oidc/egi/{session.access_token!s}"

    connection = RestApiConnection(server.url, auth=Auth())
    yield lambda: connection.get("/me")


@client(
    "pystac-client", "pystac-client", "`Client.open(url, request_modifier=…)`, a function that adds `session.headers`"
)
@contextmanager
def pystac(session: SessionManager, server: Newest) -> Iterator[Ask]:
    from pystac_client.stac_api_io import StacApiIO

    def modify(request: Any) -> Any:
        request.headers.update(session.headers)
        return request

    io = StacApiIO(request_modifier=modify)
    yield lambda: io.request(server.url)


@client(
    "huggingface_hub", "huggingface-hub", '`session.serve(files=["~/.token"])`, `HF_TOKEN_PATH=~/.token`', rotate=renew
)
@contextmanager
def huggingface(session: SessionManager, server: Newest) -> Iterator[Ask]:
    from huggingface_hub import HfApi, constants

    path = Path(os.environ["XDG_RUNTIME_DIR"], "hf-token")
    server.answers["/whoami-v2"] = {"name": "ada"}
    with session.serve(files=[path]), mock.patch.object(constants, "HF_TOKEN_PATH", str(path)):
        api = HfApi(endpoint=server.url)
        yield api.whoami


@client("PyIceberg", "pyiceberg", '`load_catalog("lake", type="rest", uri=…, auth=as_iceberg_auth(session))`')
@contextmanager
def iceberg(session: SessionManager, server: Newest) -> Iterator[Ask]:
    from pyiceberg.catalog import load_catalog

    server.answers |= {"/config": {"defaults": {}, "overrides": {}}, "/namespaces": {"namespaces": [["a"]]}}
    catalog = load_catalog("lake", type="rest", uri=server.url, auth=as_iceberg_auth(session))  # type: ignore[arg-type]
    yield catalog.list_namespaces


@client(
    "Databricks SDK",
    "databricks-sdk",
    "`WorkspaceClient(host=…, credentials_strategy=as_databricks_credentials(session))`",
)
@contextmanager
def databricks(session: SessionManager, server: Newest) -> Iterator[Ask]:
    from databricks.sdk import WorkspaceClient

    server.answers["/clusters/list"] = {"clusters": []}
    workspace = WorkspaceClient(host=server.url, credentials_strategy=as_databricks_credentials(session))
    yield lambda: list(workspace.clusters.list())


@client(
    "Databricks SQL (its headers)",
    "databricks-sql-connector",
    "`sql.connect(…, credentials_provider=as_databricks_credentials(session))`",
)
@contextmanager
def databricks_sql(session: SessionManager, server: Newest) -> Iterator[Ask]:
    from databricks.sql.auth.authenticators import ExternalAuthProvider

    provider = ExternalAuthProvider(as_databricks_credentials(session))

    def ask() -> None:
        headers: dict[str, str] = {}
        provider.add_headers(headers)
        assert server.take(headers["Authorization"].removeprefix("Bearer "))

    yield ask


@client(
    "MLflow",
    "mlflow-skinny",
    "`MLFLOW_TRACKING_AUTH=pywry-auth`, and nothing in the notebook",
    rotate=lambda _: expire(session_of_settings()),
)
@contextmanager
def mlflow(session: SessionManager, server: Newest) -> Iterator[Ask]:
    from mlflow import MlflowClient

    server.answers["/experiments/search"] = {"experiments": []}
    settings = {
        "MLFLOW_TRACKING_AUTH": "pywry-auth",
        "PYWRY_OAUTH2__PROVIDER": "oidc",
        "PYWRY_OAUTH2__CLIENT_ID": CLIENT,
        "PYWRY_OAUTH2__ISSUER_URL": session.provider.issuer_url,  # type: ignore[attr-defined]
    }
    session_of_settings.cache_clear()
    with (
        mock.patch.dict(os.environ, settings),
        mock.patch.multiple(factory._the, store=session.token_store, request=("memory", {})),
    ):
        api = MlflowClient(tracking_uri=server.url)
        yield api.search_experiments
    session_of_settings.cache_clear()


@client("kubernetes", "kubernetes", "`configuration.refresh_api_key_hook = as_kubernetes_hook(session)`", rotate=renew)
@contextmanager
def kubernetes(session: SessionManager, server: Newest) -> Iterator[Ask]:
    from kubernetes.client import ApiClient, Configuration, CoreV1Api

    server.answers["/namespaces"] = {"kind": "NamespaceList", "items": []}
    configuration = Configuration(host=server.url)
    configuration.refresh_api_key_hook = as_kubernetes_hook(session)
    configuration.refresh_api_key_hook(configuration)
    with ApiClient(configuration) as api:
        yield lambda: CoreV1Api(api).list_namespace()


@client("gRPC", "grpcio", "`grpc.composite_channel_credentials(…, as_grpc_credentials(session))`")
@contextmanager
def grpc_call(session: SessionManager, server: Newest) -> Iterator[Ask]:
    import grpc

    from tests.clients.brokers import grpc_server

    with grpc_server(server) as (address, authority):
        tls = grpc.ssl_channel_credentials(authority)
        credentials = grpc.composite_channel_credentials(tls, as_grpc_credentials(session))
        with grpc.secure_channel(address, credentials) as channel:
            call = channel.unary_unary("/a/b")
            yield lambda: call(b"", timeout=30)


@client("Arrow Flight", "pyarrow", "`FlightClient(url, middleware=[as_flight_middleware(session)])`")
@contextmanager
def arrow_flight(session: SessionManager, server: Newest) -> Iterator[Ask]:
    from pyarrow import flight

    from tests.clients.brokers import flight_server

    with (
        flight_server(server) as address,
        flight.FlightClient(address, middleware=[as_flight_middleware(session)]) as api,
    ):
        yield lambda: api.do_get(flight.Ticket(b"n")).read_all()


@client("aiokafka", "aiokafka", "`sasl_oauth_token_provider=as_aiokafka_provider(session)`, at each connection")
@contextmanager
def aiokafka(session: SessionManager, server: Newest) -> Iterator[Ask]:
    from aiokafka.client import AIOKafkaClient

    from tests.clients.brokers import kafka

    provider = as_aiokafka_provider(session)

    async def connect(address: str) -> None:
        api = AIOKafkaClient(
            bootstrap_servers=address,
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="OAUTHBEARER",
            sasl_oauth_token_provider=provider,
        )
        await api.bootstrap()
        await api.close()

    with kafka(server) as address, _Loop() as loop, _at_info("aiokafka"):  # at DEBUG it logs the token
        yield lambda: loop.run(connect(address))


@client("confluent-kafka", "confluent-kafka", "`oauth_cb=as_kafka_callback(session)`, at each connection")
@contextmanager
def confluent(session: SessionManager, server: Newest) -> Iterator[Ask]:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    from tests.clients.brokers import kafka

    def connect(address: str) -> None:
        api = AdminClient(
            {
                "bootstrap.servers": address,
                "security.protocol": "SASL_PLAINTEXT",
                "sasl.mechanisms": "OAUTHBEARER",
                "oauth_cb": as_kafka_callback(session),
            }
        )
        with suppress(KafkaException):  # the broker has no more to say
            api.list_topics(timeout=10)

    with kafka(server) as address:
        yield lambda: connect(address)


@client("dask-gateway", "dask-gateway", "a `GatewayAuth` whose `pre_request` returns `session.headers, None`")
@contextmanager
def dask_gateway(session: SessionManager, server: Newest) -> Iterator[Ask]:
    from dask_gateway import Gateway
    from dask_gateway.auth import GatewayAuth

    class Auth(GatewayAuth):  # type: ignore[misc]
        def pre_request(self, _: Any) -> tuple[dict[str, str], None]:
            return session.headers, None

    server.answers["/clusters/"] = {}
    with Gateway(server.url, auth=Auth()) as gateway:
        yield gateway.list_clusters


@client("PyGithub", "pygithub", "an `Auth.Token` whose `token` is a property that returns `session.access_token`")
@contextmanager
def github(session: SessionManager, server: Newest) -> Iterator[Ask]:
    from github import Auth, Github

    class Fresh(Auth.Token):
        token = property(lambda _: str(session.access_token))  # type: ignore[assignment]

    server.answers["/user"] = {"login": "ada"}
    with Github(auth=Fresh("-"), base_url=server.url, retry=None, seconds_between_requests=0) as api:
        yield lambda: api.get_user().login


@client(
    "PyGithub, with a token", "pygithub", "`Auth.Token(session.access_token)` keeps its token: see above", follows=False
)
@contextmanager
def github_token(session: SessionManager, server: Newest) -> Iterator[Ask]:
    from github import Auth, Github

    server.answers["/user"] = {"login": "ada"}
    with Github(
        auth=Auth.Token(str(session.access_token)), base_url=server.url, retry=None, seconds_between_requests=0
    ) as api:
        yield lambda: api.get_user().login


@client("Elasticsearch", "elasticsearch", "`client.options(headers=session.headers).search(…)`, for each request")
@contextmanager
def elasticsearch(session: SessionManager, server: Newest) -> Iterator[Ask]:
    from elasticsearch import Elasticsearch

    with Elasticsearch(server.url, max_retries=0) as api:
        yield lambda: api.options(headers=session.headers).info()


@client(
    "Elasticsearch, with a token",
    "elasticsearch",
    "`bearer_auth=session.access_token` keeps its token: see above",
    follows=False,
)
@contextmanager
def elasticsearch_token(session: SessionManager, server: Newest) -> Iterator[Ask]:
    from elasticsearch import Elasticsearch

    with Elasticsearch(server.url, bearer_auth=str(session.access_token), max_retries=0) as api:
        yield api.info


@client("pandas", "pandas", "`pd.read_csv(url, storage_options=session.headers)`, read again for each call")
@contextmanager
def pandas(session: SessionManager, server: Newest) -> Iterator[Ask]:
    import pandas as pd

    server.answers["/table.csv"] = ("text/csv", b"n\n1\n")
    yield lambda: pd.read_csv(f"{server.url}/table.csv", storage_options=session.headers)


@client("zarr", "zarr", '`zarr.open(url, storage_options={"get_client": as_fsspec_client(session)})`')
@contextmanager
def zarr(session: SessionManager, server: Newest) -> Iterator[Ask]:
    import json

    import zarr as library
    from zarr.storage import MemoryStore

    memory: dict[str, Any] = {}
    library.create_array(MemoryStore(memory), shape=(2,), dtype="int8", fill_value=0)[:] = 7
    for name, buffer in memory.items():
        server.answers[f"/a/{name}"] = ("application/octet-stream", buffer.to_bytes())
    assert json.loads(server.answers["/a/zarr.json"][1])
    array = library.open_array(f"{server.url}/a", mode="r", storage_options={"get_client": as_fsspec_client(session)})

    def ask() -> None:
        assert list(array[:]) == [7, 7]

    yield ask


@client("gcsfs", "gcsfs", "`gcsfs.GCSFileSystem(token=as_google_credentials(session))`")
@contextmanager
def gcsfs(session: SessionManager, server: Newest) -> Iterator[Ask]:
    with mock.patch.dict(os.environ, GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT="false"):  # which asks Google at once
        import gcsfs as library

    server.answers["/o"] = {"items": [{"name": "a", "bucket": "b", "size": 1}]}
    files = library.GCSFileSystem(
        token=as_google_credentials(session), endpoint_url=server.url, skip_instance_cache=True, project="p"
    )

    def ask() -> None:
        files.invalidate_cache()
        files.ls("b")

    yield ask


@client("pip", "pip", "`--keyring-provider import`, as said below; started anew each time")
@contextmanager
def pip(session: SessionManager, server: Newest) -> Iterator[Ask]:
    yield _installing(
        session,
        server,
        "import",
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--no-cache-dir",
        "--no-input",
        "--disable-pip-version-check",
    )


@client(
    "uv",
    "uv",
    "`--keyring-provider subprocess`, as said below; started anew each time",
)
@contextmanager
def uv(session: SessionManager, server: Newest) -> Iterator[Ask]:
    yield _installing(
        session, server, "subprocess", "uv", "pip", "install", "--dry-run", "--no-cache", "--python", sys.executable
    )


def _installing(session: SessionManager, server: Newest, keyring: str, *command: str) -> Ask:
    """Return what asks a private index for a package that it does not have."""
    folder = os.environ["XDG_RUNTIME_DIR"]
    token = Path(folder, "token")
    index = f"http://oauth2@{server.address}/simple/"
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "PYWRY_"))
    } | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYWRY_OAUTH2__PROVIDER": "oidc",
        "PYWRY_OAUTH2__CLIENT_ID": CLIENT,
        "PYWRY_OAUTH2__ISSUER_URL": session.provider.issuer_url,  # type: ignore[attr-defined]
        "PYWRY_OAUTH2__ACCESS_TOKEN_FILE": str(token),
        "PYWRY_OAUTH2__ALLOWED_ORIGINS": server.url,
        "PIP_CONFIG_FILE": os.devnull,
    }
    server.answers["/simple/pywry-auth-nb-private/"] = ("text/html", b"<!DOCTYPE html><html></html>")

    def ask() -> None:
        token.write_text(session.access_token, encoding="utf-8")
        done = subprocess.run(
            [*command, "--keyring-provider", keyring, "--index-url", index, "pywry-auth-nb-private"],
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert "CANARY" not in done.stdout + done.stderr
        assert "401" not in done.stderr, done.stderr

    return ask


@contextmanager
def _at_info(logger: str) -> Iterator[None]:
    with mock.patch.object(logging.getLogger(logger), "level", logging.INFO):
        logging.getLogger(logger).manager._clear_cache()
        yield


class _Loop:
    """A loop on a thread of its own, on which an asynchronous client lives."""

    def __enter__(self) -> _Loop:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        return self

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
