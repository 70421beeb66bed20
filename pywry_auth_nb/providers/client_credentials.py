"""`ClientCredentialsSource`: tokens of a client itself, without a user (RFC 6749 §4.4)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .._io.loop import on_loop
from ..errors import ConfigurationError, TokenError
from ..tokens import OAuthTokenSet, Secret
from .refusals import as_refresh_error
from .scopes import read
from .token_source import ProviderTokenSource

if TYPE_CHECKING:
    from .base import OAuthProvider
    from .scopes import Scopes

#: Scopes that ask for claims about a user, or for a refresh token (OIDC Core §5.4, §11): there is neither.
_OF_A_USER = frozenset({"openid", "profile", "email", "address", "phone", "offline_access"})
_ASK_AGAIN = Secret("the client asks again")  # stands for a refresh token


class ClientCredentialsSource(ProviderTokenSource):
    """Gets tokens for the client itself, without a user (RFC 6749 §4.4): for services, batch jobs and CI.

    Use it like a provider: ``SessionManager(ClientCredentialsSource(provider))``. A new token is requested when the old
    one is about to expire. Scopes, ``audience``, ``resource`` and ``token_params`` of ``provider`` are sent, but not
    the scopes about users, such as ``openid``.

    Args:
        provider: The provider, with a client that has a secret or a :class:`ClientKey`.
        scopes: Scopes to request; those of ``provider`` when left out.

    Raises:
        ConfigurationError: The client has neither a secret nor a key.
    """

    def __init__(self, provider: OAuthProvider, scopes: Scopes | None = None) -> None:
        if not (provider.client_secret or provider.client_key):
            raise ConfigurationError(
                "Client credentials need a client secret or a key: set PYWRY_OAUTH2__CLIENT_SECRET_FILE, or "
                "PYWRY_OAUTH2__CLIENT_KEY_FILE."
            )
        wanted = read(provider.scopes if scopes is None else scopes)
        super().__init__(provider, [scope for scope in wanted if scope not in _OF_A_USER])

    @property
    def identity(self) -> str:
        """Identifies provider, client, audience and scopes: these tokens belong to the client."""
        return json.dumps([self._provider.identity, "client_credentials", sorted(self.scopes)])

    @on_loop
    async def acquire_token_silent(self) -> tuple[OAuthTokenSet, dict[str, Any]]:
        """Request a token, and return it with the client as its subject (RFC 9068 §2.2).

        Raises:
            TokenError: The request failed; code ``unauthorized_client`` if the client is not registered for this.
        """
        await self._provider.prepare()
        tokens = await self._provider.grant_client_credentials(" ".join(self.scopes))
        return replace(tokens, refresh_token=_ASK_AGAIN, id_token=None), {"sub": self.client_id}

    @on_loop
    async def refresh_tokens(self, refresh_token: str) -> OAuthTokenSet:  # noqa: ARG002 - there is none (§4.4.3)
        """Request another token. The argument is not used.

        Raises:
            TokenRefreshError: As :meth:`acquire_token_silent`.
        """
        try:
            return (await self.acquire_token_silent())[0]
        except TokenError as error:
            raise as_refresh_error(error) from None

    @on_loop
    async def get_userinfo(self, access_token: str) -> dict[str, Any]:  # noqa: ARG002 - of the client
        """Return nothing: the token is not a user's."""
        return {}

    @on_loop
    async def revoke_tokens(self, tokens: OAuthTokenSet) -> dict[str, str]:
        """Revoke the access token; there is no other."""
        return await self._provider.revoke_tokens(replace(tokens, refresh_token=None))
