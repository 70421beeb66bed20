"""The services that the recipes call, on loopback: S3, Google Cloud, Azure, GitHub, LLMs, databases, files and Git.

Each speaks as much of its product's wire as a page needs, and takes only tokens that have not been ended. They are
stand-ins: the clients are real, the products themselves were not tried.
"""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import trustme

from tests.documents.postgres import Postgres
from tests.exits.sts import ANSWER, NAMESPACE
from tests.support.idp import Request

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack
    from pathlib import Path

CSV = b"day,value\n1,2\n2,3\n"
DATABASE = "db.example.org"
GIT = "https://git.example.org"
AZURE = "https://ada.blob.core.windows.net"
BIGQUERY = "https://bigquery.googleapis.com"
STORAGE = "https://storage.googleapis.com"


@dataclass
class Reply:
    """What a service answers."""

    body: bytes | dict[str, Any] = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class Services:
    """Every service that a recipe names, started when its address stands in the page.

    Attributes:
        ended: Tokens that are refused.
        accepted: How many requests with a good token each service has had, by its address in the pages.
    """

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.ended: set[str] = set()
        self.accepted: Counter[str] = Counter()
        self.folder = folder
        self._stack = stack
        self._authority = trustme.CA()
        self._databases: list[Postgres] = []

    def blanks_in(self, text: str) -> dict[str, str]:
        """Start what a page names; return what to read in place of these addresses, on this machine."""
        blanks = {address: self._start(address) for address in PRODUCTS if address in text}
        if DATABASE in text:
            blanks |= self._start_database()
        return blanks

    def settings(self) -> dict[str, str]:
        """The variables of clients that have the address of their service in their code, or that trust certificates."""
        bundle = self.folder / "authority.pem"
        self._authority.cert_pem.write_to_path(str(bundle))
        return {
            "AWS_EC2_METADATA_DISABLED": "true",
            "BIGQUERY_EMULATOR_HOST": self._start(BIGQUERY),
            "REQUESTS_CA_BUNDLE": str(bundle),
            "STORAGE_EMULATOR_HOST": self._start(STORAGE),
        }

    def end(self, token: str) -> None:
        """Refuse a token from now on, and end the connections to databases."""
        self.ended.add(token)
        for database in self._databases:
            database.hang_up()

    def takes(self, token: str) -> bool:
        """Whether a token is good."""
        return token.startswith("CANARY-at") and token not in self.ended

    def _start(self, address: str) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, address))
        server.daemon_threads = True
        scheme = "http"
        if address == AZURE:  # its client sends tokens over https alone
            scheme, context = "https", ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._authority.issue_cert("127.0.0.1").configure_cert(context)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self._stack.callback(server.server_close)
        self._stack.callback(server.shutdown)
        return f"{scheme}://127.0.0.1:{server.server_port}"

    def _start_database(self) -> dict[str, str]:
        def takes(password: str) -> bool:
            self.accepted[DATABASE] += self.takes(password)
            return self.takes(password)

        self._databases.append(database := self._stack.enter_context(Postgres(takes)))
        return {DATABASE: f"127.0.0.1:{database.port}", '"verify-full"': '"disable"'}


def _handler(services: Services, address: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            headers = {name.lower(): value for name, value in self.headers.items()}
            parts = urlsplit(self.path)
            form = {} if sent.startswith("{") else dict(parse_qsl(sent))
            request = Request(self.command, parts.path, form, headers, parts.query, sent)
            is_allowed, answer = PRODUCTS[address]
            allowed = is_allowed(request, services)
            services.accepted[address] += allowed
            self._send(answer(request, services) if allowed else refusal(address))

        do_HEAD = do_POST = do_GET  # noqa: N815 - http.server looks for these names

        def _send(self, reply: Reply) -> None:
            body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            kind = "application/octet-stream" if isinstance(reply.body, bytes) else "application/json"
            self.send_response(reply.status)
            for name, value in ({"Content-Type": kind, "Content-Length": str(len(body))} | reply.headers).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


# -- who is let in ------------------------------------------------------------------------------------------------

#: As Azure's storage says it.
BEARER = (
    "Bearer authorization_uri=https://login.microsoftonline.com/contoso/oauth2/authorize "
    "resource_id=https://storage.azure.com"
)


def refusal(address: str) -> Reply:
    """Return the answer to a request without a good token."""
    challenge = 'Basic realm="Git"' if address == GIT else BEARER
    return Reply({"message": "Bad credentials"}, 401, {"WWW-Authenticate": challenge})


def with_token(request: Request, services: Services) -> bool:
    """Whether a request has a good token (RFC 6750)."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return scheme == "Bearer" and services.takes(token)


def with_password(request: Request, services: Services) -> bool:
    """Whether a request has a good token as its password (RFC 7617)."""
    _, _, pair = request.headers.get("authorization", "").partition(" ")
    return services.takes(base64.b64decode(pair).decode().partition(":")[2])


def with_keys(request: Request, _: Services) -> bool:
    """Whether a request is signed with temporary keys, or has an ID token to exchange for them."""
    signed = "Credential=id-1/" in request.headers.get("authorization", "")
    return signed or request.form.get("WebIdentityToken", "").startswith("eyJ")


# -- what they answer ---------------------------------------------------------------------------------------------


def files(request: Request, _: Services) -> Reply:
    """Files behind tokens."""
    return Reply(CSV)


def s3(request: Request, _: Services) -> Reply:
    """MinIO: objects, and temporary keys, at one address."""
    if request.method != "POST":
        return Reply(CSV, headers={"ETag": '"1"', "Last-Modified": "Mon, 05 Jan 2026 12:00:00 GMT"})
    end = f"{datetime.fromtimestamp(time.time() + 3600, timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
    answer = ANSWER.format(namespace=NAMESPACE, number=1, expiration=end)
    return Reply(answer.replace("CANARY-", "").encode(), headers={"Content-Type": "text/xml"})


def azure_blob(request: Request, _: Services) -> Reply:
    """A blob, in one part."""
    last = len(CSV) - 1
    headers = {"Content-Range": f"bytes 0-{last}/{len(CSV)}", "ETag": '"1"', "x-ms-blob-type": "BlockBlob"}
    return Reply(CSV, 206, headers | {"Last-Modified": "Mon, 05 Jan 2026 12:00:00 GMT"})


def bigquery(request: Request, _: Services) -> Reply:
    """The answer to a query that is done at once."""
    fields = [{"name": "value", "type": "INTEGER", "mode": "NULLABLE"}]
    job = {"projectId": "my-project", "jobId": "1", "location": "EU"}
    done = {"jobComplete": True, "jobReference": job, "schema": {"fields": fields}, "totalRows": "1"}
    return Reply({**done, "rows": [{"f": [{"v": "5"}]}]})


def github(request: Request, _: Services) -> Reply:
    """The signed-in user."""
    return Reply({"login": "ada", "id": 1, "url": "/user"})


def llm(request: Request, _: Services) -> Reply:
    """One word, in the form of OpenAI's or of Anthropic's API."""
    if request.path.endswith("/messages"):
        text = [{"type": "text", "text": "Yes."}]
        usage = {"input_tokens": 1, "output_tokens": 1}
        message = {"id": "1", "type": "message", "role": "assistant", "model": "m", "content": text, "usage": usage}
        return Reply({**message, "stop_reason": "end_turn", "stop_sequence": None})
    choice = {"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}
    return Reply({"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]})


def elasticsearch(request: Request, _: Services) -> Reply:
    """A search without hits."""
    hits = {"total": {"value": 0, "relation": "eq"}, "hits": list[Any]()}
    return Reply({"took": 1, "timed_out": False, "hits": hits}, headers={"X-Elastic-Product": "Elasticsearch"})


def git(request: Request, services: Services) -> Reply:
    """A repository, as plain files (Git's dumb HTTP protocol)."""
    bare = services.folder / "project.git"
    if not bare.exists():
        as_ada = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-C", str(services.folder)]
        for arguments in (
            ["init", "-q", "source"],
            ["-C", "source", "commit", "-q", "--allow-empty", "-m", "First"],
            ["clone", "-q", "--bare", "source", "project.git"],
            ["-C", "project.git", "update-server-info"],
        ):
            subprocess.run([*as_ada, *arguments], check=True)
    file = bare / request.path.partition("project.git/")[2]
    return Reply(file.read_bytes(), headers={"Content-Type": "text/plain"}) if file.is_file() else Reply(status=404)


#: Who is let in and what is answered, by the addresses that the pages name.
PRODUCTS: dict[str, tuple[Callable[[Request, Services], bool], Callable[[Request, Services], Reply]]] = {
    "https://data.example.org": (with_token, files),
    "https://minio.example.org": (with_keys, s3),
    BIGQUERY: (with_token, bigquery),
    STORAGE: (with_token, files),
    AZURE: (with_token, azure_blob),
    "https://api.github.com": (with_token, github),
    "https://llm.example.org": (with_token, llm),
    "https://search.example.org:9200": (with_token, elasticsearch),
    GIT: (with_password, git),
}
