"""A token service on loopback that gives temporary keys for a token, in the words of AWS, MinIO and Ceph."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl

NAMESPACE = 'xmlns="https://sts.amazonaws.com/doc/2011-06-15/"'
ANSWER = """<?xml version="1.0" encoding="UTF-8"?>
<AssumeRoleWithWebIdentityResponse {namespace}><AssumeRoleWithWebIdentityResult>
<Credentials><AccessKeyId>CANARY-id-{number}</AccessKeyId><SecretAccessKey>CANARY-secret-{number}</SecretAccessKey>
<SessionToken>CANARY-session-{number}</SessionToken><Expiration>{expiration}</Expiration></Credentials>
<SubjectFromWebIdentityToken>ada</SubjectFromWebIdentityToken></AssumeRoleWithWebIdentityResult>
<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></AssumeRoleWithWebIdentityResponse>"""
REFUSAL = """<ErrorResponse {namespace}><Error><Type>Sender</Type><Code>AccessDenied</Code>
<Message>Not authorized: {words}</Message></Error><RequestId>1</RequestId></ErrorResponse>"""


class Sts:
    """The service. Use it as a context manager.

    Attributes:
        forms: What was asked.
        refuses: Whether it refuses.
        body: What it answers instead.
        lifetime: How many seconds its keys are good.
        gate: Answers wait until it is open.
    """

    def __init__(self, namespace: str = NAMESPACE) -> None:
        self.namespace = namespace
        self.forms: list[dict[str, str]] = []
        self.refuses = False
        self.body: bytes | None = None
        self.lifetime = 3600.0
        self.gate = threading.Event()
        self.gate.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Sts:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, form: dict[str, str]) -> tuple[int, bytes]:
        """Answer one request."""
        self.forms.append(form)
        number = len(self.forms)
        self.gate.wait(10)
        if self.refuses:
            words = form["WebIdentityToken"]
            return 403, REFUSAL.format(namespace=self.namespace, words=words).encode()
        if self.body is not None:
            return 200, self.body
        end = datetime.fromtimestamp(time.time() + self.lifetime, timezone.utc)
        answer = ANSWER.format(namespace=self.namespace, number=number, expiration=f"{end:%Y-%m-%dT%H:%M:%SZ}")
        return 200, answer.encode()

    def _handler(sts) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - the handler has the self
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                status, answer = sts.answer(dict(parse_qsl(body)))
                self.send_response(status)
                self.send_header("Content-Type", "text/xml")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
