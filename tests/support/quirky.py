"""`QuirkyIdp`: a provider of the field on loopback, made of its entry in the table of quirks."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from tests.support.idp import CLIENT, Idp, Request
from tests.support.lookalikes import SECRET, credentials
from tests.support.quirks import filled, present

if TYPE_CHECKING:
    from tests.support.quirks import Need, Quirks

Reply = tuple[int, Any]
#: Who answers at which endpoint: its path at the plain provider.
_PATHS = {
    "metadata": "/.well-known/openid-configuration",
    "authorization_endpoint": "/authorize",
    "token_endpoint": "/token",
    "userinfo_endpoint": "/userinfo",
    "revocation_endpoint": "/revoke",
    "jwks_uri": "/jwks",
}


class QuirkyIdp(Idp):
    """Answers at the provider's own addresses, and does everything as the table says; odd inputs are the test's.

    Attributes:
        unmet: What the latest sign-in should have sent, and did not.
    """

    def __init__(self, quirks: Quirks) -> None:
        self.quirks = quirks
        self.client_id = CLIENT
        self.unmet: list[Need] = []
        self._signed_in_at = time.time()
        super().__init__()
        self.issuer = quirks.issuer

    def authorize(self, url: str, **overrides: str | None) -> dict[str, str]:
        """Be the browser and the person, at the provider's own address."""
        parts = urlsplit(url)
        assert parts._replace(query="").geturl() == self.quirks.endpoints["authorization_endpoint"]
        asked = dict(parse_qsl(parts.query))
        self.client_id, self._signed_in_at = asked["client_id"], time.time()
        self.unmet = [need for need in self.quirks.needs if not _met(need, asked)]
        own = {} if self.quirks.names_itself else {"iss": None}
        params = super().authorize(url, **own | overrides)
        return self._with_long_code(params) if "code" in params else params

    def id_token(self, access_token: str = "", nonce: str | None = None, **claims: Any) -> str:
        """Sign an ID token with the provider's claims."""
        own = {"aud": self.client_id} | self._filled(self.quirks.claims, self._signed_in_at)
        return super().id_token(access_token, nonce, **own | self._filled(self.claims) | claims)

    def _with_long_code(self, params: dict[str, str]) -> dict[str, str]:
        code = params["code"].ljust(self.quirks.code_length, "x")
        self._codes[code] = self._codes.pop(params["code"])
        return params | {"code": code}

    def _filled(self, members: dict[str, Any], now: float | None = None) -> dict[str, Any]:
        return dict(filled(members, self.client_id, time.time() if now is None else now))

    def _respond(self, request: Request) -> tuple[int, bytes, dict[str, str]]:
        name = self.quirks.urls.get(f"https://{request.headers['host']}{request.path}", "nothing")
        request = replace(request, path=_PATHS.get(name, f"/{name}"))
        self.requests.append(request)
        return super()._respond(request)

    def _metadata(self, request: Request) -> Reply:
        _, plain = super()._metadata(request)
        kept = {"code_challenge_methods_supported": plain["code_challenge_methods_supported"]}
        listed = {name: url for name, url in self.quirks.endpoints.items() if name not in self.quirks.unlisted}
        iss = {"authorization_response_iss_parameter_supported": True} if self.quirks.names_itself else {}
        own = {"issuer": self.issuer, **kept, **listed, **iss, **self.quirks.metadata, **self.metadata}
        return 200, present(self._filled(own))

    def _token(self, request: Request) -> Reply:
        if not self._authenticates(request):
            return 401, {"error": "invalid_client"}
        old = request.form.get("refresh_token", "")
        status, body = super()._token(request)
        if not old:
            return status, self._shaped(body) if status == 200 else body
        if status != 200:
            return self.quirks.dead["status"], self.quirks.dead["body"]
        if not self.quirks.rotates:
            self.refresh_tokens[old] = True
            del body["refresh_token"]
        return 200, self._shaped(body)

    def _shaped(self, body: dict[str, Any]) -> dict[str, Any]:
        """Give a token answer the provider's shape."""
        without = [need.without for need in self.unmet]
        if not self.quirks.refreshes:
            without.append({"refresh_token": "(absent)"})
        for members in ({"expires_in": self.quirks.lifetime}, self.quirks.token, *without):
            body = {**body, **self._filled(members)}
        return present({**body, **self._filled(self.token_extra)})

    def _authenticates(self, request: Request) -> bool:
        """Whether the client sends its secret, and where this provider takes it."""
        if self.quirks.client == "none":
            return credentials(request) == (self.client_id, "")
        by_header = "authorization" in request.headers
        return credentials(request) == (self.client_id, SECRET) and by_header == (
            self.quirks.client == "client_secret_basic"
        )

    def _userinfo(self, request: Request) -> Reply:
        status, body = super()._userinfo(request)
        subject = {"sub": self.quirks.claims.get("sub", "ada")}
        return status, present({**body, **subject, **self._filled(self.quirks.userinfo)}) if status == 200 else body

    def _revoke(self, request: Request) -> Reply:
        kind = "access_token" if request.form["token"].startswith("CANARY-at") else "refresh_token"
        refusal = self.quirks.refuses.get(kind)
        return (refusal["status"], refusal["body"]) if refusal else super()._revoke(request)


def _met(need: Need, asked: dict[str, str]) -> bool:
    sent = asked.get(need.name, "")
    return need.value in sent.split() if need.name == "scope" else need.value == sent
