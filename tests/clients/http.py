"""Plain HTTP clients, and what is built on them: small enough for `make test`."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

import azure.core.pipeline.policies as azure_policies
import fsspec
import sqlalchemy
import trino
from azure.core.pipeline import Pipeline
from azure.core.pipeline.transport import RequestsTransport
from azure.core.rest import HttpRequest
from google.auth.transport.requests import AuthorizedSession

from pywry_auth_nb.adapters import (
    as_azure_credential,
    as_fsspec_client,
    as_google_credentials,
    as_sqlalchemy_listener,
    as_trino_auth,
)
from tests.clients.client import client
from tests.support import http_clients

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pywry_auth_nb import SessionManager
    from tests.clients.client import Ask, Opener
    from tests.clients.newest import Newest


def _plain(name: str, package: str, how: str, opener: http_clients.Opener) -> Opener:
    @client(name, package, how, light=True)
    @contextmanager
    def opened(session: SessionManager, server: Newest) -> Iterator[Ask]:
        with opener(session) as send:
            yield lambda: send(server.url)

    return opened


_plain("httpx", "httpx", "`httpx.Client(auth=session.auth)`", http_clients.with_httpx)
_plain("httpx, asynchronous", "httpx", "`httpx.AsyncClient(auth=session.auth)`", http_clients.with_httpx_async)
_plain("httpx2", "httpx2", "`httpx2.Client(auth=session.auth)`", http_clients.with_httpx2)
_plain("httpx2, asynchronous", "httpx2", "`httpx2.AsyncClient(auth=session.auth)`", http_clients.with_httpx2_async)
_plain("requests", "requests", "`requests.get(url, auth=session.auth)`", http_clients.with_requests)
_plain("aiohttp", "aiohttp", "`aiohttp.ClientSession(middlewares=(session.auth,))`", http_clients.with_aiohttp)
_plain("urllib3", "urllib3", "`as_urllib3_pool(session)`", http_clients.with_urllib3)


@client("google-auth", "google-auth", "`credentials=as_google_credentials(session)`", light=True)
@contextmanager
def google_auth(session: SessionManager, server: Newest) -> Iterator[Ask]:
    with AuthorizedSession(as_google_credentials(session)) as http:
        yield lambda: http.get(server.url).raise_for_status()


@client("Azure SDK", "azure-core", "`credential=as_azure_credential(session)`", light=True)
@contextmanager
def azure(session: SessionManager, server: Newest) -> Iterator[Ask]:
    policy = azure_policies.BearerTokenCredentialPolicy(as_azure_credential(session), "https://example.org/.default")
    with Pipeline(RequestsTransport(), [policy]) as pipeline:
        yield lambda: pipeline.run(HttpRequest("GET", server.url), enforce_https=False)


@client("fsspec over HTTP", "fsspec", "`fsspec.open(url, get_client=as_fsspec_client(session))`", light=True)
@contextmanager
def fsspec_http(session: SessionManager, server: Newest) -> Iterator[Ask]:
    files = fsspec.filesystem("http", get_client=as_fsspec_client(session), skip_instance_cache=True)
    yield lambda: files.cat(f"{server.url}/data")


@client(
    "fsspec over HTTP, with headers",
    "fsspec",
    '`client_kwargs={"headers": session.headers}` keeps its token: take `get_client`',
    light=True,
    follows=False,
)
@contextmanager
def fsspec_headers(session: SessionManager, server: Newest) -> Iterator[Ask]:
    files = fsspec.filesystem("http", client_kwargs={"headers": session.headers}, skip_instance_cache=True)
    yield lambda: files.cat(f"{server.url}/data")


@client("SQLAlchemy", "sqlalchemy", '`event.listen(engine, "do_connect", as_sqlalchemy_listener(session))`', light=True)
@contextmanager
def sqlalchemy_connect(session: SessionManager, server: Newest) -> Iterator[Ask]:
    engine = sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.NullPool)
    sqlalchemy.event.listen(engine, "do_connect", as_sqlalchemy_listener(session))

    @sqlalchemy.event.listens_for(engine, "do_connect")
    def be_a_driver(_dialect: object, _record: object, _arguments: object, parameters: dict[str, str]) -> object:
        assert server.take(parameters["password"])
        return sqlite3.connect(":memory:")

    def ask() -> None:
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("select 1"))

    yield ask


@client("trino", "trino", "`trino.dbapi.connect(…, auth=as_trino_auth(session))`", light=True)
@contextmanager
def trino_query(session: SessionManager, server: Newest) -> Iterator[Ask]:
    columns = [{"name": "n", "type": "integer", "typeSignature": {"rawType": "integer", "arguments": []}}]
    state = {"stats": {"state": "FINISHED"}, "infoUri": server.url, "columns": columns, "data": [[1]]}
    server.answers["/v1/statement"] = {"id": "1", **state}
    host, _, port = server.address.partition(":")
    connection = trino.dbapi.connect(
        host=host, port=int(port), user="ada", auth=as_trino_auth(session), allow_insecure_auth=True
    )
    yield lambda: connection.cursor().execute("select 1").fetchall()


@client("any other, by its own headers", "pip", "`headers=session.headers`, read again for each request", light=True)
@contextmanager
def urllib(session: SessionManager, server: Newest) -> Iterator[Ask]:
    yield lambda: urlopen(Request(server.url, headers=session.headers), timeout=10).close()  # noqa: S310


@client("a worker's httpx", "httpx", "`httpx.get(url, auth=session.handle().auth)`", light=True)
@contextmanager
def worker(session: SessionManager, server: Newest) -> Iterator[Ask]:
    code = (
        "import pickle, sys, httpx; auth = pickle.loads(bytes.fromhex(sys.stdin.readline())); print(flush=True)\n"
        "for url in sys.stdin: print(httpx.get(url.strip(), auth=auth).status_code, flush=True)"
    )
    pickled = _pickle(session.handle().auth)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def say(line: str) -> str:
            process.stdin.write(f"{line}\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            return process.stdout.readline()  # type: ignore[union-attr]

        say(pickled)
        yield lambda: say(server.url)
        process.stdin.close()


def _pickle(thing: object) -> str:
    import pickle

    return pickle.dumps(thing).hex()
