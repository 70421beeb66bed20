"""Servers of other protocols that take only the newest token: Kafka, gRPC, Arrow Flight."""

from __future__ import annotations

import socketserver
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pyarrow as pa
import trustme
from pyarrow import flight

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.clients.newest import Newest

_API_VERSIONS, _METADATA, _HANDSHAKE, _AUTHENTICATE = 18, 3, 17, 36
_UNSUPPORTED, _REFUSED = 35, 58  # Kafka's error codes
_VERSIONS = {_API_VERSIONS: (0, 0), _METADATA: (0, 1), _HANDSHAKE: (1, 1), _AUTHENTICATE: (0, 0)}


@contextmanager
def kafka(server: Newest) -> Iterator[str]:
    """Serve as much of Kafka as a client needs to authenticate with SASL/OAUTHBEARER and to ask for metadata."""

    class Broker(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while len(size := self.rfile.read(4)) == 4:
                request = self.rfile.read(struct.unpack(">i", size)[0])
                api, number, correlation, name = struct.unpack(">hhih", request[:10])
                body = self._answer(api, number, request[10 + max(name, 0) :])
                self.wfile.write(struct.pack(">ii", len(body) + 4, correlation) + body)

        def _answer(self, api: int, number: int, request: bytes) -> bytes:
            if api == _API_VERSIONS:
                listed = b"".join(struct.pack(">hhh", key, *span) for key, span in _VERSIONS.items())
                return struct.pack(">hi", _UNSUPPORTED if number else 0, len(_VERSIONS)) + listed
            if api == _HANDSHAKE:
                return struct.pack(">hi", 0, 1) + _text("OAUTHBEARER")
            if api == _AUTHENTICATE:  # RFC 7628 §3.1
                token = request.partition(b"auth=Bearer ")[2].partition(b"\x01")[0].decode()
                return struct.pack(">hhi", 0 if server.take(token) else _REFUSED, -1, 0)
            broker = struct.pack(">ii", 1, 0) + _text("127.0.0.1") + struct.pack(">i", self.server.server_address[1])
            return broker + (struct.pack(">hi", -1, 0) if number else b"") + struct.pack(">i", 0)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Broker) as broker:
        broker.daemon_threads = True
        threading.Thread(target=broker.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"127.0.0.1:{broker.server_address[1]}"
        broker.shutdown()


def _text(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


@contextmanager
def grpc_server(server: Newest) -> Iterator[tuple[str, bytes]]:
    """Serve ``/a/b`` over TLS; yield the address, and the certificate of the authority."""

    class Calls(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, _: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(self._answer)

        def _answer(self, request: bytes, context: Any) -> bytes:
            token = dict(context.invocation_metadata()).get("authorization", "").removeprefix("Bearer ")
            if not server.take(token):
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "not the newest")
            return request

    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    pair = certificate.private_key_pem.bytes(), b"".join(each.bytes() for each in certificate.cert_chain_pems)
    with ThreadPoolExecutor(2) as pool:
        served = grpc.server(pool, handlers=[Calls()])
        port = served.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
        served.start()
        yield f"127.0.0.1:{port}", authority.cert_pem.bytes()
        served.stop(None).wait()


@contextmanager
def flight_server(server: Newest) -> Iterator[str]:
    """Serve one table."""
    tables = pa.table({"n": [1]})

    class Check(flight.ServerMiddlewareFactory):  # type: ignore[misc]
        def start_call(self, _info: Any, headers: dict[str, list[str]]) -> None:
            [value] = headers.get("authorization", [""])
            if not server.take(value.removeprefix("Bearer ")):
                raise flight.FlightUnauthenticatedError("not the newest")

    class Tables(flight.FlightServerBase):  # type: ignore[misc]
        def do_get(self, _context: Any, _ticket: Any) -> Any:
            return flight.RecordBatchStream(tables)

    with Tables("grpc://127.0.0.1:0", middleware={"check": Check()}) as served:
        yield f"grpc://127.0.0.1:{served.port}"
