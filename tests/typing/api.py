"""Type-checked and never run: the public API as its users write it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import requests
from typing_extensions import assert_type

from pywry_auth_nb import (
    AccessToken,
    AccessTokenSource,
    Audience,
    AuthenticationError,
    AuthFlowManager,
    AuthFlowResult,
    AuthFlowState,
    AuthFlowTimeout,
    ClientAssertion,
    ClientCredentialsSource,
    ClientKey,
    ConfigurationError,
    Exits,
    FileTokenStore,
    GenericOIDCProvider,
    GitHubProvider,
    GoogleProvider,
    HubTokenSource,
    InsufficientScopeError,
    KeyringTokenStore,
    LoginRequired,
    LoginWidget,
    LogoutResult,
    MemoryTokenStore,
    MicrosoftProvider,
    OAuth2Settings,
    OAuthCallbackServer,
    OAuthProvider,
    OAuthTokenSet,
    PKCEChallenge,
    RedisTokenStore,
    RefreshTokenSource,
    Role,
    SessionManager,
    StepUpRequired,
    TokenError,
    TokenHandle,
    TokenRefreshError,
    TokenStore,
    TokenStoreError,
    create_provider_from_settings,
    get_token_store,
    reset_token_store,
)
from pywry_auth_nb._wire.error_codes import ErrorCode
from pywry_auth_nb.adapters import as_azure_credential, as_google_credentials, as_urllib3_pool
from pywry_auth_nb.auth import SessionAuth

if TYPE_CHECKING:
    from collections.abc import Mapping

provider = GenericOIDCProvider(
    "client",
    "",
    "https://login.example.org",
    ["openid"],
    "",
    "",
    "",
    "",
    require_id_token_validation=True,
    metadata_url="https://login.example.org/metadata",
    jwks_url="https://login.example.org/keys",
    end_session_url="https://login.example.org/logout",
    trusted_audiences=["other"],
    check_nonce=False,
    authorize_params={"hd": "example.org", "acr_values": ["one", "two"]},
    token_params={"audience": "https://api.example.org"},
    audience="https://api.example.org",
    resource=["https://api.example.org"],
    prompt="select_account",
    login_hint="ada@example.org",
    client_auth="post",
    label="Example",
)
GenericOIDCProvider("client", client_auth="client_secret_post")  # type: ignore[arg-type]
GoogleProvider("client", metadata_url="https://…")  # type: ignore[call-arg]


class Corporate(GenericOIDCProvider):
    """A subclass says what its provider wants."""

    authorize_params: Mapping[str, str] = {"hd": "example.org"}


providers: list[OAuthProvider] = [
    GoogleProvider("client", "secret", ["openid"], authorize_params={"hd": "example.org"}, check_nonce=True),
    GitHubProvider("client", "secret", "read:user repo", login_hint="ada", label="GitHub"),
    MicrosoftProvider("client", "", "common", ("openid",), prompt="select_account", trusted_audiences={"other"}),
    HubTokenSource("http://hub:8081/hub/api", "token", "alice", label="The hub"),
    create_provider_from_settings(OAuth2Settings(provider="github", client_id="client")),
]
stores: list[TokenStore] = [
    MemoryTokenStore(),
    KeyringTokenStore("pywry-oauth", encryption_key=None),
    FileTokenStore("~/tokens", encryption_key=None),
    RedisTokenStore("redis://localhost:6379/0", "pywry", 10, encryption_key=None),
    get_token_store("memory"),
]
session = SessionManager(
    provider, stores[0], "default", None, 60, lambda: None, allowed_origins=["https://api.example.org"]
)
flow = AuthFlowManager(provider, MemoryTokenStore(), session, use_pkce=True, auth_timeout=120.0)
widget = LoginWidget(session)
challenge = PKCEChallenge.generate(64)


async def use() -> None:
    """Every method, with what it returns."""
    assert_type(await session.initialize(), OAuthTokenSet | None)
    assert_type(await session.get_access_token(), str)
    assert_type(await session.refresh(), OAuthTokenSet)
    assert_type(session.login(timeout=300, prompt="login", login_hint="ada@example.org"), AuthFlowResult)
    assert_type(session.login(acr_values="phr", max_age=300), AuthFlowResult)
    session.require("files.read", "files.write mail", ["calendar"], timeout=60)
    assert_type(session.display_name, str)
    await session.save_tokens(OAuthTokenSet("token", expires_in=3600))
    assert_type(await session.logout(), LogoutResult)
    assert_type((await session.logout(everywhere=True)).end_session_url, str)
    assert_type(SessionManager.from_settings(OAuth2Settings(), session_key="mine"), SessionManager)
    request = await flow.begin("https://jupyter.example.org/pywry-auth/callback", prompt="login", login_hint="ada")
    assert_type(request.url, str)
    assert_type(await flow.complete({"code": "…", "state": request.state}), AuthFlowResult)
    assert_type(flow.flow_state, AuthFlowState)
    flow.cancel()
    assert_type(
        flow.run_native(lambda url, config: (url, config), str, {"title": "Sign In"}, max_age=0), AuthFlowResult
    )
    assert_type(flow.run_native(port=8400, host="localhost"), AuthFlowResult)
    assert_type(flow.run_deploy("/base"), str)
    assert_type(flow.authenticate(None, login_hint="ada"), AuthFlowResult)
    assert_type(provider.build_authorize_url("https://…", "state", challenge, {"hd": "example.org"}), str)
    assert_type(await provider.exchange_code("code", "https://…", challenge.verifier, "nonce"), OAuthTokenSet)
    assert_type(await provider.revoke_token("token"), bool)
    assert_type(await provider.get_userinfo("token"), dict[str, Any])
    assert_type(await provider.get_end_session_url(), str)
    assert_type(await provider.validate_id_token("token", "nonce"), dict[str, Any])
    await provider.close()


async def keep(store: TokenStore) -> None:
    """Every method of a store."""
    await store.save("key", OAuthTokenSet("token"))
    assert_type(await store.load("key"), OAuthTokenSet | None)
    assert_type(await store.exists("key"), bool)
    assert_type(await store.list_keys(), list[str])
    await store.delete("key")
    reset_token_store()


def send() -> None:
    """The token in the rest of the notebook."""
    assert_type(session.auth, SessionAuth)
    assert_type(session.headers, dict[str, str])
    assert_type(session.userinfo(), dict[str, Any])
    httpx.Client(auth=session.auth)
    httpx.AsyncClient(auth=session.auth)
    requests.get("https://api.example.org", auth=session.auth, timeout=5)
    SessionAuth(session, ["https://api.example.org"], renew_on={403})
    SessionManager(provider, renew_on={403, 419})
    assert_type(session.token_provider(), AccessToken)
    assert_type(session.id_token, str)
    as_google_credentials(session)
    as_azure_credential(session)
    as_urllib3_pool(session, maxsize=4)


async def share() -> None:
    """The token in other programs."""
    role = Role("arn:aws:iam::123456789012:role/reader", sts="https://sts.example.org", via="file")
    Role("arn:aws:iam::123456789012:role/reader", via="post")  # type: ignore[arg-type]
    with session.serve(
        aws=role, google=Audience("//iam.googleapis.com/…"), files={"~/.token": "id_token"}, environment=False
    ) as exits:
        assert_type(exits, Exits)
        assert_type(exits.url, str)
        assert_type(exits.environment, dict[str, str])
        assert_type(exits.files, list[Path])
    session.serve(files=["~/.token", Path("token")], anthropic=True, databricks=True).close()
    api = session.for_audience("api", resource=["https://api.example.org/"], scopes="read", grant="jwt-bearer")
    assert_type(api, SessionManager)
    assert_type(session.handle(audience="api"), TokenHandle)
    handle = session.handle(seconds=60)
    assert_type(handle, TokenHandle)
    assert_type(handle(), AccessToken)
    assert_type(await handle.get_access_token(), AccessToken)
    assert_type(handle.auth, SessionAuth)
    as_google_credentials(handle)
    as_azure_credential(handle)


def receive() -> None:
    """The loopback server by itself."""
    with OAuthCallbackServer("127.0.0.1", 0) as server:
        assert_type(server.redirect_uri, str)
        assert_type(server.wait_for_callback(timeout=120.0), dict[str, str | None] | None)


def fail(error: AuthenticationError) -> str:
    """Every error has a code, and the type checker knows them all."""
    AuthenticationError(code="network", host="op.example.org")
    AuthenticationError("The message alone.")
    TokenError(code="no_such_code")  # type: ignore[arg-type]
    AuthFlowTimeout(None, 5.0, code="no_such_code")  # type: ignore[arg-type]
    assert_type(error.code, ErrorCode)
    assert_type(error.description, str)
    if isinstance(error, AuthFlowTimeout):
        assert_type(error.timeout, float)
    if isinstance(error, (LoginRequired, TokenRefreshError)):
        return error.message
    if isinstance(error, (ConfigurationError, TokenStoreError)):
        return error.code
    if isinstance(error, InsufficientScopeError):
        session.require(*error.scopes)
    if isinstance(error, StepUpRequired):
        session.login(acr_values=error.acr_values, max_age=error.max_age)
    if isinstance(error, TokenError):
        assert_type(error.retry_after, float | None)
    return error.code


SessionManager(AccessTokenSource(file="/run/secrets/token", label="EGI"))
SessionManager(RefreshTokenSource(provider, file="/run/secrets/refresh-token"), FileTokenStore())
signing = GenericOIDCProvider("client", issuer_url="https://login.example.org", client_key=ClientKey("key.pem", "kid"))
SessionManager(ClientCredentialsSource(signing, scopes=["reports.write"]))
GoogleProvider("client", client_key=ClientAssertion("/run/secrets/assertion"))
