"""Sign in from a notebook: OAuth 2.0 and OpenID Connect for Jupyter, with every secret kept in the kernel.

Names are imported when first used (PEP 562), so ``import pywry_auth_nb`` is cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .callback_server import OAuthCallbackServer
    from .errors import (
        AuthenticationError,
        AuthFlowCancelled,
        AuthFlowTimeout,
        ConfigurationError,
        InsufficientScopeError,
        LoginRequired,
        StepUpRequired,
        TokenError,
        TokenExchangeError,
        TokenExpiredError,
        TokenRefreshError,
        TokenStoreError,
    )
    from .exits.exits import Exits
    from .exits.presets import Audience, Role
    from .flow import AuthFlowManager, AuthFlowResult, AuthFlowState
    from .handle import TokenHandle
    from .pkce import PKCEChallenge
    from .providers import (
        AccessTokenSource,
        ClientAssertion,
        ClientCredentialsSource,
        ClientKey,
        GenericOIDCProvider,
        GitHubProvider,
        GoogleProvider,
        HubTokenSource,
        MicrosoftProvider,
        OAuthProvider,
        RefreshTokenSource,
        create_provider_from_settings,
    )
    from .session import LogoutResult, SessionManager
    from .settings import OAuth2Settings
    from .token_store import (
        FileTokenStore,
        KeyringTokenStore,
        MemoryTokenStore,
        RedisTokenStore,
        TokenStore,
        get_token_store,
        reset_token_store,
    )
    from .tokens import AccessToken, OAuthTokenSet
    from .widget import LoginWidget

__all__ = [
    "AccessToken",
    "AccessTokenSource",
    "Audience",
    "AuthFlowCancelled",
    "AuthFlowManager",
    "AuthFlowResult",
    "AuthFlowState",
    "AuthFlowTimeout",
    "AuthenticationError",
    "ClientAssertion",
    "ClientCredentialsSource",
    "ClientKey",
    "ConfigurationError",
    "Exits",
    "FileTokenStore",
    "GenericOIDCProvider",
    "GitHubProvider",
    "GoogleProvider",
    "HubTokenSource",
    "InsufficientScopeError",
    "KeyringTokenStore",
    "LoginRequired",
    "LoginWidget",
    "LogoutResult",
    "MemoryTokenStore",
    "MicrosoftProvider",
    "OAuth2Settings",
    "OAuthCallbackServer",
    "OAuthProvider",
    "OAuthTokenSet",
    "PKCEChallenge",
    "RedisTokenStore",
    "RefreshTokenSource",
    "Role",
    "SessionManager",
    "StepUpRequired",
    "TokenError",
    "TokenExchangeError",
    "TokenExpiredError",
    "TokenHandle",
    "TokenRefreshError",
    "TokenStore",
    "TokenStoreError",
    "__version__",
    "create_provider_from_settings",
    "get_token_store",
    "reset_token_store",
]

_HOME = {
    "errors": [name for name in __all__ if name.endswith(("Error", "Cancelled", "Timeout", "Required"))],
    "exits.exits": ["Exits"],
    "exits.presets": ["Audience", "Role"],
    "flow": ["AuthFlowManager", "AuthFlowResult", "AuthFlowState"],
    "handle": ["TokenHandle"],
    "pkce": ["PKCEChallenge"],
    "callback_server": ["OAuthCallbackServer"],
    "providers": [
        *(name for name in __all__ if name.endswith(("Provider", "Source"))),
        "ClientAssertion",
        "ClientKey",
        "create_provider_from_settings",
    ],
    "session": ["LogoutResult", "SessionManager"],
    "settings": ["OAuth2Settings"],
    "token_store": [*(name for name in __all__ if name.endswith("TokenStore")), "get_token_store", "reset_token_store"],
    "tokens": ["AccessToken", "OAuthTokenSet"],
    "widget": ["LoginWidget"],
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Return where jupyter-server finds the extension."""
    return [{"module": "pywry_auth_nb.server"}]
