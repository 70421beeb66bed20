"""`RefreshTokenSource`: a sign-in that continues from a refresh token which was provided from outside."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .._io.loop import on_loop
from ..errors import ConfigurationError, TokenError, TokenRefreshError
from ..tokens import OAuthTokenSet, Secret
from .provided import Provided
from .token_source import ProviderTokenSource

if TYPE_CHECKING:
    from os import PathLike

    from .base import OAuthProvider

_NONE_YET = "none-yet"  # stands for the access token before the first refresh
_LONG_AGO = 3600.0  # seconds ago it has expired
_REFUSED = (
    "The provider no longer accepts the refresh token in {place}, nor one that has replaced it. Put a new one there. "
    "If the provider replaces it at each use, a token store keeps the latest: PYWRY_OAUTH2__TOKEN_STORE_BACKEND=file."
)


class RefreshTokenSource(ProviderTokenSource):
    """Signs in with a refresh token (RFC 6749 §6) that is provided from outside, without any interaction.

    Use it like a provider: ``SessionManager(RefreshTokenSource(provider, file="…"), FileTokenStore())``. The first
    refresh redeems it, in one kernel at a time. If the provider replaces it (rotation, RFC 9700 §2.2.2), the new one
    goes to the token store, where the next kernel finds it: the one that was provided is spent. Another one that is
    provided later begins a new sign-in.

    Args:
        provider: The provider that issued the token, with the client that it was issued to.
        refresh_token: The token. Read it from the environment, since cells are saved in the notebook.
        file: A file with the token and nothing else.

    Raises:
        ConfigurationError: Neither or both of the last two are given; the token is not one, or the file unreadable.
    """

    def __init__(self, provider: OAuthProvider, refresh_token: str = "", *, file: str | PathLike[str] = "") -> None:
        refresh_token = Secret(refresh_token)
        provided = Provided("refresh_token", refresh_token, file)
        self._place = provided.place
        try:
            seed = provided.read()
        except TokenError as error:
            raise ConfigurationError(error.message) from None
        self._seed = Provided("refresh_token", seed, "")
        super().__init__(provider)

    @property
    def identity(self) -> str:
        """Identifies provider, client and the token that was provided."""
        return json.dumps([self._provider.identity, "refresh_token", self._seed.fingerprint])

    @on_loop
    async def warm_up(self) -> None:
        """Fetch in advance what a refresh needs, the provider's keys among it.

        Raises:
            TokenError: Discovery failed, or the provider's metadata was refused.
        """
        await self._provider.warm_up()

    async def acquire_token_silent(self) -> tuple[OAuthTokenSet, dict[str, Any]]:
        """Return the refresh token, with an access token that has expired already.

        It is redeemed by the refresh that follows, under the lease of the store: of several kernels only one may.
        """
        seed, issued_at = self._seed.read(), time.time() - _LONG_AGO
        return OAuthTokenSet(_NONE_YET, refresh_token=seed, expires_in=0.0, issued_at=issued_at), {}

    @on_loop
    async def refresh_tokens(self, refresh_token: str) -> OAuthTokenSet:
        """Get new tokens for the refresh token; see :meth:`OAuthProvider.refresh_tokens`.

        Raises:
            TokenRefreshError: The refresh failed; code ``invalid_grant`` if another refresh token must be provided.
        """
        refresh_token = Secret(refresh_token)
        try:
            return await self._provider.refresh_tokens(refresh_token)
        except TokenRefreshError as error:
            if error.code != "invalid_grant":
                raise
            description = error.description
        raise TokenRefreshError(_REFUSED.format(place=self._place), code="invalid_grant", description=description)

    @on_loop
    async def revoke_tokens(self, tokens: OAuthTokenSet) -> dict[str, str]:
        """Revoke the tokens at the provider; see :meth:`OAuthProvider.revoke_tokens`."""
        there_is_one = tokens.access_token != _NONE_YET
        return await self._provider.revoke_tokens(tokens if there_is_one else replace(tokens, access_token=""))

    async def discard_tokens(self, tokens: OAuthTokenSet) -> None:
        """Revoke tokens that will not be used, but not the one that was provided."""
        if tokens.access_token != _NONE_YET:
            provided = await self._may_be_provided(tokens.refresh_token)
            await self._provider.discard_tokens(replace(tokens, refresh_token=None) if provided else tokens)

    async def _may_be_provided(self, refresh_token: str | None) -> bool:
        try:
            return refresh_token == await self._seed.read_soon()
        except TokenError:  # the file is gone
            return True

    def claims(self, tokens: OAuthTokenSet) -> dict[str, Any]:
        """Return the claims in the tokens about their owner; see :meth:`OAuthProvider.claims`."""
        return self._provider.claims(tokens)

    def no_id_token(self) -> TokenError:
        """Return the error that says why there is no ID token; see :meth:`OAuthProvider.no_id_token`."""
        return self._provider.no_id_token()

    async def confirm_id_token(self, id_token: str) -> None:
        """Check an ID token; see :meth:`OAuthProvider.confirm_id_token`.

        Raises:
            TokenError: It was refused.
        """
        await self._provider.confirm_id_token(id_token)

    def accept(self, old: OAuthTokenSet, new: OAuthTokenSet) -> OAuthTokenSet:
        """Return refreshed tokens as far as they continue the sign-in of ``old``.

        Raises:
            TokenRefreshError: Code ``identity_changed``.
        """
        return self._provider.accept(old, new)

    @on_loop
    async def get_userinfo(self, access_token: str) -> dict[str, Any]:
        """Return the profile of the token's owner; see :meth:`OAuthProvider.get_userinfo`.

        Raises:
            TokenError: The request failed.
        """
        access_token = Secret(access_token)
        return await self._provider.get_userinfo(access_token)

    @on_loop
    async def get_end_session_url(self) -> str:
        """Return the URL at which the user signs out of the provider; see :meth:`OAuthProvider.get_end_session_url`.

        Raises:
            TokenError: Discovery failed, or the URL is insecure.
        """
        return await self._provider.get_end_session_url()
