"""Identity providers."""

from .base import OAuthProvider
from .factory import create_provider_from_settings
from .github import GitHubProvider
from .google import GoogleProvider
from .jupyterhub import HubTokenSource
from .microsoft import MicrosoftProvider
from .oidc import GenericOIDCProvider

__all__ = [
    "GenericOIDCProvider",
    "GitHubProvider",
    "GoogleProvider",
    "HubTokenSource",
    "MicrosoftProvider",
    "OAuthProvider",
    "create_provider_from_settings",
]
