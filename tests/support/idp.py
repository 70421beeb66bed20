"""An OpenID provider on loopback that does as it is told, also wrong things: the wire that the unit tests fake.

It signs with real keys and answers over real HTTP. ``answers`` replaces what one path returns, ``claims`` and
``header`` change the next ID tokens, ``forge`` makes them itself, ``delay`` makes it slow; ``requests`` is the journal.
Who still waits for an answer when it is closed has it then: an answer may be very late in a test that is not.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

if TYPE_CHECKING:
    from collections.abc import Callable

CLIENT = "pywry"
_spare_keys: list[rsa.RSAPrivateKey] = []  # of providers that are gone: a new one costs a tenth of a second


@dataclass
class Request:
    """One request that arrived."""

    method: str
    path: str
    form: dict[str, str]
    headers: dict[str, str]
    query: str = ""
    body: str = ""


@dataclass
class Answer:
    """What to answer instead of the honest thing, or when: ``delay`` seconds later, or once the ``gate`` is open."""

    body: bytes | dict[str, Any] | list[Any] | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    gate: threading.Event | None = None
    times: int = 10**9


class Idp:
    """The provider. Use it as a context manager."""

    def __init__(self, path: str = "") -> None:
        self.be_honest()
        self.kid = "key-1"
        self.key = self._first_key = _spare_keys.pop() if _spare_keys else new_key()
        self.refresh_tokens: dict[str, bool] = {}
        self.issued: set[str] = set()  # access tokens
        self._scopes: dict[str, str] = {}  # by refresh token
        self._codes: dict[str, dict[str, str]] = {}
        self._devices: dict[str, dict[str, str]] = {}  # by device code: what was asked, and the user's verdict
        self._closed = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.issuer = f"http://127.0.0.1:{self._server.server_port}{path}"
        self._path = path.removesuffix("/")

    def be_honest(self) -> None:
        """Forget the journal and whatever else a test asked for; keys stay."""
        self.requests: list[Request] = []
        self.answers: dict[str, Answer] = {}
        self.metadata: dict[str, Any] = {}
        self.claims: dict[str, Any] = {}
        self.header: dict[str, Any] = {}
        self.forge: Callable[[dict[str, Any], dict[str, Any]], str] | None = None
        self.token_extra: dict[str, Any] = {}
        self.device_extra: dict[str, Any] = {}
        self.grants: Callable[[str], str] | None = None  # what is granted of what was asked for; None: only openid
        self.lifetime: float | None = 3600
        self.delay = 0.0

    def __enter__(self) -> Idp:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()
        _spare_keys.append(self._first_key)

    # -- what the tests ask -------------------------------------------------------------------------------------

    def requests_to(self, path: str) -> int:
        """How many requests arrived at ``path``."""
        return sum(request.path == self._path + path for request in self.requests)

    def last(self, path: str) -> Request:
        """The latest request to ``path``."""
        return next(request for request in reversed(self.requests) if request.path == self._path + path)

    def exchanges(self) -> list[dict[str, str]]:
        """What was asked for in exchange for a token."""
        return [request.form for request in self.requests if {"subject_token", "assertion"} & request.form.keys()]

    def secrets(self) -> set[str]:
        """Everything that came over the wire and must be seen nowhere else, and how tokens begin."""
        names = {"state", "nonce", "code", "code_verifier", "device_code", "refresh_token", "token", "client_secret"}
        asked = [dict(parse_qsl(request.query)) | request.form for request in self.requests]
        basic = [request.headers.get("authorization", "").rpartition(" ")[2] for request in self.requests]
        seen = {value for params in asked for name, value in params.items() if name in names} | set(basic)
        return {"CANARY", "eyJ"} | (seen - {""})

    def authorize(self, url: str, **overrides: str | None) -> dict[str, str]:
        """Be the browser and the person: open an authorize URL, consent, and return the callback's parameters."""
        asked = dict(parse_qsl(urlsplit(url).query))
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        params = {"code": code, "state": asked["state"], "iss": self.issuer} | overrides
        return {name: value for name, value in params.items() if value is not None}

    def decide(self, user_code: str, verdict: str = "approved") -> None:
        """Be the person who enters a device's code: ``approved``, or the error that the next poll gets."""
        device = next(each for each in self._devices.values() if each["user_code"] == user_code)
        device["verdict"] = verdict

    def id_token(self, access_token: str = "", nonce: str | None = None, **claims: Any) -> str:
        """Sign an ID token for Ada."""
        now = int(time.time())
        payload = {"iss": self.issuer, "aud": CLIENT, "sub": "ada", "name": "Ada", "iat": now, "exp": now + 300}
        if access_token:
            payload["at_hash"] = b64(hashlib.sha256(access_token.encode()).digest()[:16])
        if nonce is not None:
            payload["nonce"] = nonce
        merged = payload | self.claims | claims
        kept = {name: value for name, value in merged.items() if value is not ...}
        merged = {"alg": "RS256", "typ": "JWT", "kid": self.kid} | self.header
        header = {name: value for name, value in merged.items() if value is not ...}
        return self.forge(header, kept) if self.forge else compact(header, kept, self.key)

    def rotate_key(self, kid: str | None = None) -> None:
        """Publish a new signing key in place of the old one."""
        self.key = new_key()
        self.kid = kid or f"key-{secrets.token_hex(4)}"

    def jwk(self) -> dict[str, Any]:
        """The public signing key."""
        key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        return {**key, "kid": self.kid, "use": "sig", "alg": "RS256"}

    # -- what it answers ----------------------------------------------------------------------------------------

    def _metadata(self, _: Request) -> tuple[int, Any]:
        base = self.issuer.removesuffix("/")
        honest = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{base}/authorize",
            "token_endpoint": f"{base}/token",
            "userinfo_endpoint": f"{base}/userinfo",
            "revocation_endpoint": f"{base}/revoke",
            "device_authorization_endpoint": f"{base}/device",
            "jwks_uri": f"{base}/jwks",
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }
        return 200, {name: value for name, value in (honest | self.metadata).items() if value is not ...}

    def _authorize(self, request: Request) -> tuple[int, Any]:
        return 200, self.authorize(f"{self.issuer}/authorize?{request.query}")  # for programs without a browser

    def _jwks(self, _: Request) -> tuple[int, Any]:
        return 200, {"keys": [self.jwk()]}

    def _device(self, request: Request) -> tuple[int, Any]:
        code, user_code = f"CANARY-dc-{secrets.token_hex(8)}", secrets.token_hex(4).upper()
        self._devices[code] = {**request.form, "user_code": user_code, "verdict": "authorization_pending"}
        page = f"{self.issuer}/enter"
        body = {"device_code": code, "user_code": user_code, "verification_uri": page, "expires_in": 600, "interval": 5}
        body["verification_uri_complete"] = f"{page}?user_code={user_code}"
        return 200, {name: value for name, value in (body | self.device_extra).items() if value is not ...}

    def _redeem_device(self, code: str) -> tuple[int, Any]:
        device = self._devices.get(code, {"verdict": "invalid_grant"})
        if device["verdict"] != "approved":
            return 400, {"error": device["verdict"]}
        scope = self.grants(device.get("scope", "")) if self.grants else "openid"
        del self._devices[code]
        return 200, self._granted(self._tokens(None), scope)

    def _token(self, request: Request) -> tuple[int, Any]:  # noqa: PLR0911 - one for each grant
        form = request.form
        if "device_code" in form:
            return self._redeem_device(form["device_code"])
        if form.get("grant_type") == "refresh_token":
            if not self.refresh_tokens.get(form["refresh_token"]):
                self.refresh_tokens = dict.fromkeys(self.refresh_tokens, False)  # reuse: the family dies
                return 400, {"error": "invalid_grant"}
            self.refresh_tokens[form["refresh_token"]] = False
            return 200, self._granted(self._tokens(None), self._scopes.get(form["refresh_token"], "openid"))
        if "subject_token" in form or "assertion" in form:
            return self._exchange(form)
        if form.get("grant_type") == "client_credentials":
            return 200, self._access_token(form)
        asked = self._codes.pop(form.get("code", ""), None)
        if asked is None or asked["redirect_uri"] != form.get("redirect_uri") or not _pkce(asked, form):
            return 400, {"error": "invalid_grant"}
        scope = self.grants(asked.get("scope", "")) if self.grants else "openid"
        return 200, self._granted(self._tokens(asked.get("nonce")), scope)

    def _exchange(self, form: dict[str, str]) -> tuple[int, Any]:
        if form.get("subject_token", form.get("assertion", "")) not in self.issued:
            return 400, {"error": "invalid_request", "error_description": "subject_token is not a token of ours"}
        body = {**self._access_token(form), "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}
        return 200, {name: value for name, value in (body | self.token_extra).items() if value is not ...}

    def _access_token(self, form: dict[str, str]) -> dict[str, Any]:
        kept = {name: value for name, value in self._tokens(None).items() if name in {"access_token", "expires_in"}}
        return {**kept, "token_type": "Bearer", "scope": form.get("scope", "")}

    def _granted(self, body: dict[str, Any], scope: str) -> dict[str, Any]:
        self._scopes[str(body.get("refresh_token"))] = scope
        return body if "scope" in self.token_extra else {**body, "scope": scope}

    def _tokens(self, nonce: str | None) -> dict[str, Any]:
        access, refresh = f"CANARY-at-{secrets.token_hex(8)}", f"CANARY-rt-{secrets.token_hex(8)}"
        self.refresh_tokens[refresh] = True
        self.issued.add(access)
        body = {"access_token": access, "refresh_token": refresh, "token_type": "Bearer", "scope": "openid"}
        body["id_token"] = self.id_token(self.token_extra.get("access_token", access), nonce)
        if self.lifetime is not None:
            body["expires_in"] = self.lifetime
        return {name: value for name, value in (body | self.token_extra).items() if value is not ...}

    def _userinfo(self, request: Request) -> tuple[int, Any]:
        if not request.headers.get("authorization", "").startswith("Bearer CANARY-at-"):
            return 401, {"error": "invalid_token"}
        return 200, {"sub": "ada", "name": "Ada Lovelace"}

    def _revoke(self, request: Request) -> tuple[int, Any]:
        self.refresh_tokens.pop(request.form.get("token", ""), None)
        return 200, None

    def _routes(self) -> dict[str, Callable[[Request], tuple[int, Any]]]:
        """Who answers at which path."""
        return {
            "/.well-known/openid-configuration": self._metadata,
            "/authorize": self._authorize,
            "/device": self._device,
            "/jwks": self._jwks,
            "/token": self._token,
            "/userinfo": self._userinfo,
            "/revoke": self._revoke,
        }

    def _respond(self, request: Request) -> tuple[int, bytes, dict[str, str]]:
        path, routes = request.path.removeprefix(self._path), self._routes()
        answer = self.answers.get(path)
        self._closed.wait(self.delay)
        if answer is None or answer.times <= 0:
            answer = Answer()
        answer.times -= 1
        if answer.body is not None or answer.status != 200 or answer.headers:
            self._hold_back(answer)
            body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            return answer.status, body, {"Content-Type": "application/json"} | answer.headers
        status, content = routes[path](request) if path in routes else (404, {})
        self._hold_back(answer)  # done, but not yet said
        if content is None:
            return status, b"", {}
        if isinstance(content, bytes):  # a form
            return status, content, {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
        return status, json.dumps(content).encode(), {"Content-Type": "application/json"}

    def _hold_back(self, answer: Answer) -> None:
        """Wait as ``answer`` wants it; for ten seconds at most where the gate stays shut."""
        self._closed.wait(answer.delay)
        end = time.monotonic() + 10
        while answer.gate is not None and not answer.gate.is_set() and time.monotonic() < end:
            if self._closed.wait(0.005):
                return

    def _handler(idp) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - the handler below has the self
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._serve({}, "")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                as_json = self.headers.get("Content-Type") == "application/json"
                self._serve(json.loads(body) if as_json else dict(parse_qsl(body)), body)

            do_DELETE = do_POST  # noqa: N815 - http.server looks for this name

            def _serve(self, form: dict[str, str], sent: str) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                parts = urlsplit(self.path)
                request = Request(self.command, parts.path, form, headers, parts.query, sent)
                idp.requests.append(request)
                status, body, reply_headers = idp._respond(request)
                self.send_response(status)
                for name, value in reply_headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in reply_headers:
                    self.send_header("Content-Length", str(len(body)))
                with contextlib.suppress(ConnectionError):  # a client may give up waiting
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def new_key() -> rsa.RSAPrivateKey:
    """Make a signing key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def b64(data: bytes) -> str:
    """Encode as JOSE does: base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def compact(header: dict[str, Any] | bytes, payload: dict[str, Any] | bytes, key: Any, alg: str = "RS256") -> str:
    """Sign a compact JWS with ``alg``, whatever the header says: PyJWT would not sign half of what the tests need."""
    head, body = (part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload))
    signed = f"{b64(head)}.{b64(body)}"
    return f"{signed}.{b64(jwt.get_algorithm_by_name(alg).sign(signed.encode(), key))}"


def _pkce(asked: dict[str, str], form: dict[str, str]) -> bool:
    return asked.get("code_challenge") == b64(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
