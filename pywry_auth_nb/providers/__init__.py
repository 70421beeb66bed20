"""Identity providers."""

from .access_token_source import AccessTokenSource
from .base import OAuthProvider
from .client_credentials import ClientCredentialsSource
from .client_key import ClientAssertion, ClientKey
from .factory import create_provider_from_settings
from .github import GitHubProvider
from .google import GoogleProvider
from .jupyterhub import HubTokenSource
from .microsoft import MicrosoftProvider
from .oidc import GenericOIDCProvider
from .refresh_token_source import RefreshTokenSource

__all__ = [
    "AccessTokenSource",
    "ClientAssertion",
    "ClientCredentialsSource",
    "ClientKey",
    "GenericOIDCProvider",
    "GitHubProvider",
    "GoogleProvider",
    "HubTokenSource",
    "MicrosoftProvider",
    "OAuthProvider",
    "RefreshTokenSource",
    "create_provider_from_settings",
]
