"""Identity providers: where one signs in, as data plus what differs."""

from .base import OAuthProvider
from .oidc import GenericOIDCProvider

__all__ = ["GenericOIDCProvider", "OAuthProvider"]
