"""Google, GitHub and Microsoft on loopback: the wire in the shape of theirs, with the same refusals.

What they answer follows their documentation and what people report of them; nothing here was recorded from a live
account. Their texts are abridged. What a token endpoint says is ``WORDS``, which come out in ``error.description``, the
kernel's log and the widget only; all other texts carry ``CANARY``: no word of them may come out again.
"""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from tests.support.idp import CLIENT, Idp, Request

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "CANARY-secret"
WORDS = "Mallory says: call 555-0100."
PERSONAL = "9188040d-6c67-4c5b-b112-36a304b66dad"
CONTOSO = "11111111-2222-3333-4444-555555555555"
Reply = tuple[int, Any]


class Refused(Exception):  # noqa: N818 - what the person sees
    """The sign-in page shows an error and sends the browser nowhere."""


class GoogleLookalike(Idp):
    """Refuses the scope offline_access and clients without a secret; revoking one token ends the whole grant."""

    def be_honest(self) -> None:
        """Forget what a test did."""
        super().be_honest()
        self._grants: dict[str, str] = {}

    def authorize(self, url: str, **overrides: str | None) -> dict[str, str]:
        """Be the browser; Google gives refresh tokens only for offline access, and surely only with consent."""
        asked = dict(parse_qsl(urlsplit(url).query))
        if "offline_access" in asked["scope"].split():
            raise Refused("invalid_scope")
        offline = asked.get("access_type") == "offline" and asked.get("prompt") == "consent"
        self.token_extra = {} if offline else {"refresh_token": ...}
        return super().authorize(url, **{"iss": None} | overrides)

    def _metadata(self, request: Request) -> Reply:
        status, metadata = super()._metadata(request)
        methods = ["client_secret_post", "client_secret_basic"]
        metadata["token_endpoint_auth_methods_supported"] = methods
        metadata.pop("authorization_response_iss_parameter_supported")
        return status, metadata

    def _token(self, request: Request) -> Reply:
        client, secret = credentials(request)
        if not secret:
            return 400, {"error": "invalid_request", "error_description": f"client_secret is missing. {WORDS}"}
        if (client, secret) != (CLIENT, SECRET):
            return 401, {"error": "invalid_client", "error_description": f"Unauthorized {WORDS}"}
        if request.form["grant_type"] == "refresh_token":  # never rotated
            if request.form["refresh_token"] not in self._grants:
                return 400, {"error": "invalid_grant", "error_description": f"Token has been revoked. {WORDS}"}
            body = self._tokens(None)
            del body["refresh_token"]
            self._grants[body["access_token"]] = self._grants[request.form["refresh_token"]]
            return 200, body
        status, body = super()._token(request)
        if status == 200:
            grant = secrets.token_hex(4)
            self._grants.update({body[name]: grant for name in ("access_token", "refresh_token") if name in body})
        return status, body

    def _revoke(self, request: Request) -> Reply:
        grant = self._grants.get(request.form["token"])
        if grant is None:
            return 400, {"error": "invalid_token", "error_description": "Token expired or revoked CANARY"}
        self._grants = {token: each for token, each in self._grants.items() if each != grant}
        return 200, {}


class GitHubLookalike(Idp):
    """An Enterprise Server: the web at ``issuer``, the API under ``/api/v3``.

    It insists on secret, callback URL and code verifier, and answers 200 to nearly everything. ``expiring`` makes it
    the server of a GitHub App; ``as_form`` makes it ignore that JSON was asked for.
    """

    def be_honest(self) -> None:
        """Forget what a test did."""
        super().be_honest()
        self.expiring = self.as_form = False
        self.granted = "read:user,user:email"
        self.profile: dict[str, Any] = {"login": "ada", "id": 1815, "name": "Ada Lovelace", "email": None}
        self.emails: Reply = (
            200,
            [
                {"email": "old@example.org", "primary": False, "verified": True},
                {"email": "ada@example.org", "primary": True, "verified": True},
            ],
        )
        self.alive: set[str] = set()

    def authorize(self, url: str, **overrides: str | None) -> dict[str, str]:
        """Be the browser: GitHub names itself in the answer."""
        return super().authorize(url, **{"iss": f"{self.issuer}/login/oauth"} | overrides)

    def _routes(self) -> dict[str, Callable[[Request], Reply]]:
        return {
            "/login/oauth/access_token": self._access_token,
            "/api/v3/user": self._user,
            "/api/v3/user/emails": self._emails,
            f"/api/v3/applications/{CLIENT}/token": self._delete_token,
        }

    def _access_token(self, request: Request) -> Reply:
        status, body = self._issue(request.form)
        wants_json = "application/json" in request.headers.get("accept", "") and not self.as_form
        return status, body if wants_json else urlencode(body).encode()

    def _issue(self, form: dict[str, str]) -> Reply:
        if form.get("client_id") != CLIENT:
            return 404, {"error": "Not Found"}
        if form.get("client_secret") != SECRET:
            return 200, _said("incorrect_client_credentials")
        if form.get("grant_type") == "refresh_token":
            if not self.refresh_tokens.pop(form["refresh_token"], False):
                return 200, _said("bad_refresh_token")
            self.alive.clear()  # the old access token ends with its refresh token
            return 200, self._token_answer()
        return self._redeem(form)

    def _redeem(self, form: dict[str, str]) -> Reply:
        asked = self._codes.get(form.get("code", ""))
        if asked is not None and asked["redirect_uri"] != form.get("redirect_uri"):
            return 200, _said("redirect_uri_mismatch")
        status, _ = self._token(Request("POST", "", form, {}))
        return (200, self._token_answer()) if status == 200 else (200, _said("bad_verification_code"))

    def _token_answer(self) -> dict[str, Any]:
        token = f"CANARY-at-{secrets.token_hex(8)}"
        self.alive.add(token)
        body = {"access_token": token, "scope": self.granted, "token_type": "bearer"}
        if not self.expiring:
            return body
        refresh = f"CANARY-rt-{secrets.token_hex(8)}"
        self.refresh_tokens[refresh] = True
        return body | {"expires_in": 28800, "refresh_token": refresh, "refresh_token_expires_in": 15811200, "scope": ""}

    def _user(self, request: Request) -> Reply:
        return self._api(request, (200, self.profile))

    def _emails(self, request: Request) -> Reply:
        return self._api(request, self.emails)

    def _api(self, request: Request, answer: Reply) -> Reply:
        if not request.headers.get("user-agent"):
            return 403, {"message": "Request forbidden by administrative rules. CANARY"}
        known = request.headers.get("authorization", "").removeprefix("Bearer ") in self.alive
        return answer if known else (401, {"message": "Bad credentials CANARY"})

    def _delete_token(self, request: Request) -> Reply:
        token = request.form.get("access_token", "")
        if request.method != "DELETE" or credentials(request) != (CLIENT, SECRET) or token not in self.alive:
            return 404, {"message": "Not Found CANARY"}
        self.alive.remove(token)
        return 204, None


class MicrosoftLookalike(Idp):
    """One authority with many tenants: ``tid`` is whose person signs in, ``platform`` how the client is registered."""

    def be_honest(self) -> None:
        """Forget what a test did."""
        super().be_honest()
        self.tid = CONTOSO
        self.platform = "public"
        self.key_owner: Any = ...

    def issuer_of(self, tenant: str) -> str:
        """The issuer of one tenant."""
        return f"{self.issuer}/{tenant}/v2.0"

    def authorize(self, url: str, **overrides: str | None) -> dict[str, str]:
        """Be the browser."""
        return super().authorize(url, **{"iss": None} | overrides)

    def id_token(self, access_token: str = "", nonce: str | None = None, **claims: Any) -> str:
        """Sign an ID token of the person's tenant."""
        own = {"iss": self.issuer_of(self.tid), "tid": self.tid}
        return super().id_token(access_token, nonce, **own | self.claims | claims)

    def jwk(self) -> dict[str, Any]:
        """The public signing key, with its owner, and without ``alg``."""
        key = super().jwk() | {"issuer": self.issuer_of("{tenantid}") if self.key_owner is ... else self.key_owner}
        del key["alg"]
        return key

    def _routes(self) -> dict[str, Callable[[Request], Reply]]:
        tenants = ("common", "organizations", "consumers", CONTOSO, PERSONAL, "contoso.example")
        return {
            **{f"/{name}/v2.0/.well-known/openid-configuration": self._metadata for name in tenants},
            **{f"/{name}/oauth2/v2.0/token": self._token for name in tenants},
            "/keys": self._jwks,
            "/oidc/userinfo": self._userinfo,
        }

    def _metadata(self, request: Request) -> Reply:
        name = request.path.split("/")[1]
        owners = {"consumers": PERSONAL, "contoso.example": CONTOSO, "common": "{tenantid}"}
        honest = {
            "issuer": self.issuer_of(owners.get(name, "{tenantid}" if name == "organizations" else name)),
            "authorization_endpoint": f"{self.issuer}/{name}/oauth2/v2.0/authorize",
            "token_endpoint": f"{self.issuer}/{name}/oauth2/v2.0/token",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            "userinfo_endpoint": f"{self.issuer}/oidc/userinfo",
            "jwks_uri": f"{self.issuer}/keys",
        }
        return 200, honest | self.metadata

    def _token(self, request: Request) -> Reply:
        _, secret = credentials(request)
        if self.platform == "spa":
            return _aadsts(400, "invalid_request", 9002327)
        if self.platform == "web" and not secret:
            return _aadsts(401, "invalid_client", 7000218)
        if self.platform == "web" and secret != SECRET:
            return _aadsts(401, "invalid_client", 7000215)
        if self.platform == "public" and secret:
            return _aadsts(401, "invalid_client", 700025)
        return super()._token(request)


def credentials(request: Request) -> tuple[str, str]:
    """The client's name and secret, wherever they stand."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme != "Basic":
        return request.form.get("client_id", ""), request.form.get("client_secret", "")
    user, _, password = base64.b64decode(value).decode().partition(":")
    return unquote(user), unquote(password)


def _said(error: str) -> dict[str, str]:
    return {"error": error, "error_description": WORDS, "error_uri": "https://docs.example/CANARY"}


def _aadsts(status: int, error: str, number: int) -> Reply:
    text = f"AADSTS{number}: {WORDS}\r\nTrace ID: 0\r\nTimestamp: 2026-01-01 00:00:00Z"
    return status, {"error": error, "error_description": text, "error_codes": [number], "trace_id": "0"}
