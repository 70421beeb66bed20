"""Type-checked and never run: the public API as its users write it."""

from __future__ import annotations

from typing_extensions import assert_type

from pywry_auth_nb import (
    AuthenticationError,
    AuthFlowManager,
    AuthFlowResult,
    AuthFlowState,
    AuthFlowTimeout,
    GenericOIDCProvider,
    LoginRequired,
    LoginWidget,
    MemoryTokenStore,
    OAuthTokenSet,
    PKCEChallenge,
    SessionManager,
    TokenError,
    TokenRefreshError,
)

provider = GenericOIDCProvider(
    "client", "", "https://login.example.org", ["openid"], "", "", "", "", require_id_token_validation=True
)
session = SessionManager(provider, MemoryTokenStore(), "default", None, 60, lambda: None)
flow = AuthFlowManager(provider, MemoryTokenStore(), session, use_pkce=True, auth_timeout=120.0)
widget = LoginWidget(session)
challenge = PKCEChallenge.generate(64)


async def use() -> None:
    """Every method, with what it returns."""
    assert_type(await session.initialize(), OAuthTokenSet | None)
    assert_type(await session.get_access_token(), str)
    assert_type(await session.refresh(), OAuthTokenSet)
    assert_type(session.login(timeout=300), AuthFlowResult)
    assert_type(session.display_name, str)
    await session.save_tokens(OAuthTokenSet("token", expires_in=3600))
    await session.logout()
    request = await flow.begin("https://jupyter.example.org/pywry-auth/callback")
    assert_type(request.url, str)
    assert_type(await flow.complete({"code": "…", "state": request.state}), AuthFlowResult)
    assert_type(flow.flow_state, AuthFlowState)
    flow.cancel()
    assert_type(provider.build_authorize_url("https://…", "state", challenge, {"hd": "example.org"}), str)
    assert_type(await provider.exchange_code("code", "https://…", challenge.verifier, "nonce"), OAuthTokenSet)
    assert_type(await provider.revoke_token("token"), bool)
    await provider.close()


def fail(error: AuthenticationError) -> str:
    """Every error has a code."""
    if isinstance(error, AuthFlowTimeout):
        assert_type(error.timeout, float)
    if isinstance(error, (LoginRequired, TokenRefreshError)):
        return error.message
    if isinstance(error, TokenError):
        assert_type(error.retry_after, float | None)
    return error.code
