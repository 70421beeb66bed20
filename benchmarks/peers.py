"""How other libraries read a token that is valid: what `read_token.py` compares this package with.

Each function signs in with tokens made here, without a network, and returns loops that read as the library's user does.
A loop returns what its last read gave, so that every measurement is checked. It raises ``ImportError`` where its
library is not installed.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from datetime import datetime, timedelta, timezone
from itertools import repeat
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    #: Loops by what is read and by which form of the limit they are compared with: property, headers or await.
    Loops = dict[tuple[str, str], Callable[[int], Any] | Callable[[int], Coroutine[Any, Any, Any]]]

TOKEN = "token"
LIFETIME = 3600  # seconds; longer than any run
ISSUER = "https://login.microsoftonline.com/tenant"  # known to msal, so that it need not ask whether it is genuine
SCOPE = "https://api.example.org/.default"


def google_auth() -> Loops:
    """google-auth: the check and the token that ``before_request`` reads, and all of ``before_request``.

    The latter writes into a dict that the caller has, where our ``headers`` makes one.
    """
    from google.oauth2.credentials import Credentials

    end = datetime.now(timezone.utc).replace(tzinfo=None) + timedelta(seconds=LIFETIME)  # it expects naive UTC
    credentials = Credentials(TOKEN, refresh_token="r", token_uri="https://127.0.0.1:1/", client_id="c", expiry=end)

    def token(times: int) -> Any:
        for _ in repeat(None, times):
            if not credentials.valid:
                credentials.refresh(None)
            found = credentials.token
        return found

    def before_request(times: int) -> Any:
        headers: dict[str, str] = {}
        for _ in repeat(None, times):
            credentials.before_request(None, "GET", "https://api.example.org/", headers)
        return {"Authorization": headers["authorization"]}

    return {("valid, token", "property"): token, ("before_request", "headers"): before_request}


def msal() -> Loops:
    """Msal: ``acquire_token_silent`` for an account whose token is in the cache in memory; it has no other way to read.

    The account is looked up once. Its end of the token is in the cache, so the clock is compared there, too.
    """
    from msal import PublicClientApplication

    app = PublicClientApplication("client", authority=ISSUER, http_client=LocalHttp(), instance_discovery=False)
    app.token_cache.add(
        {
            "client_id": "client",
            "scope": [SCOPE],
            "token_endpoint": f"{ISSUER}/token",
            "response": {
                **_ANSWER,
                "refresh_token": "r",
                "client_info": _base64({"uid": "user", "utid": "tenant"}),
                "id_token": f"{_base64({})}.{_base64({'aud': 'client', 'sub': 'user'})}.",
            },
        }
    )
    [account] = app.get_accounts()

    def acquire_token_silent(times: int) -> Any:
        for _ in repeat(None, times):
            result = app.acquire_token_silent([SCOPE], account)
        return result["access_token"]

    return {("acquire_token_silent", "property"): acquire_token_silent}


def authlib() -> Loops:
    """Authlib: the check that its client for requests makes before each request, and the token."""
    from authlib.integrations.requests_client import OAuth2Session

    token = {"access_token": TOKEN, "refresh_token": "r", "token_type": "Bearer", "expires_in": LIFETIME}
    session = OAuth2Session("client", token=token, token_endpoint="https://127.0.0.1:1/")

    def ensure_active_token(times: int) -> Any:
        for _ in repeat(None, times):
            session.ensure_active_token(session.token)
            found = session.token["access_token"]
        return found

    return {("ensure_active_token, token", "property"): ensure_active_token}


def azure_identity() -> Loops:
    """azure-identity: ``get_token`` of a credential that has the token in its cache in memory (which is msal's).

    And what a client of the Azure SDK does for each request: azure-core's policy keeps the token that the credential
    gave it, compares its end with the clock, and puts it into a request that is there already.
    """
    from azure.core.pipeline import PipelineContext, PipelineRequest
    from azure.core.pipeline.policies import BearerTokenCredentialPolicy
    from azure.core.rest import HttpRequest
    from azure.identity import ClientSecretCredential

    credential = ClientSecretCredential(
        "tenant", "client", "secret", transport=LocalTransport(), disable_instance_discovery=True
    )
    policy = BearerTokenCredentialPolicy(credential, SCOPE)

    def get_token(times: int) -> Any:
        for _ in repeat(None, times):
            found = credential.get_token(SCOPE)
        return found.token

    def on_request(times: int) -> Any:
        request = PipelineRequest(HttpRequest("GET", "https://api.example.org/"), PipelineContext(None))
        for _ in repeat(None, times):
            policy.on_request(request)
        return dict(request.http_request.headers)

    return {("get_token", "property"): get_token, ("BearerTokenCredentialPolicy", "headers"): on_request}


def pywry() -> Loops:
    """pywry: ``get_access_token`` of its session, whose store in memory it has read already, in the caller's loop."""
    from pywry.auth import GenericOIDCProvider, MemoryTokenStore, SessionManager
    from pywry.state.types import OAuthTokenSet

    provider = GenericOIDCProvider("client", authorize_url="https://127.0.0.1:1/", token_url="https://127.0.0.1:1/")
    session = SessionManager(provider, MemoryTokenStore())
    asyncio.run(session.save_tokens(OAuthTokenSet(TOKEN, refresh_token="r", expires_in=LIFETIME)))

    async def get_access_token(times: int) -> Any:
        for _ in repeat(None, times):
            found = await session.get_access_token()
        return found

    return {("await get_access_token()", "await"): get_access_token}


#: By the name of the package to install.
PEERS: dict[str, Callable[[], Loops]] = {
    "google-auth": google_auth,
    "msal": msal,
    "authlib": authlib,
    "azure-identity": azure_identity,
    "pywry": pywry,
}


# -- a provider without a network -------------------------------------------------------------------------------------

_ANSWER = {"access_token": TOKEN, "token_type": "Bearer", "expires_in": LIFETIME}
_METADATA = {
    "issuer": f"{ISSUER}/v2.0",
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
}


class LocalHttp:
    """The HTTP client that msal asks for the provider's metadata, and for nothing else."""

    def get(self, *_: Any, **__: Any) -> Any:
        """Answer with the metadata."""
        return SimpleNamespace(status_code=200, headers={}, text=json.dumps(_METADATA), raise_for_status=lambda: None)

    def post(self, url: str, **_: Any) -> Any:
        """Refuse: what is measured must come from the cache."""
        raise AssertionError(url)

    def close(self) -> None:
        """Do nothing."""


class LocalTransport:
    """The transport that azure-identity asks for metadata, and once for a token."""

    def __init__(self) -> None:
        self.asked_for_token = False

    def send(self, request: Any, **_: Any) -> Any:
        """Answer without a network."""
        if request.method == "GET":
            return _azure_answer(request, _METADATA)
        if self.asked_for_token:
            raise AssertionError(request.url)  # what is measured must come from the cache
        self.asked_for_token = True
        return _azure_answer(request, _ANSWER)

    def open(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def __enter__(self) -> LocalTransport:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""


def _azure_answer(request: Any, content: dict[str, Any]) -> Any:
    return SimpleNamespace(
        request=request,
        status_code=200,
        reason="OK",
        headers={"Content-Type": "application/json"},
        content_type="application/json",
        text=lambda encoding=None: json.dumps(content),  # noqa: ARG005 - azure-core names it
        read=lambda: None,
    )


def _base64(value: dict[str, Any]) -> str:
    claims = {"iss": ISSUER, "iat": int(time.time()), "exp": int(time.time()) + LIFETIME, **value}
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
