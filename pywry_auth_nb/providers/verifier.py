"""`IDTokenVerifier`: verifies what a provider has signed for a client: ID tokens, and UserInfo responses."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import TokenError, TokenRefreshError
from . import id_token as jws
from .jwks import RefetchLimitError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..tokens import OAuthTokenSet
    from .jwks import KeyCache

    Claims = dict[str, Any]

log = logging.getLogger("pywry_auth_nb")

_NO_NONCE = (
    "The provider's ID token has no nonce. Sign in again; if this provider never sends one (as LinkedIn), set "
    "check_nonce=False."
)


class Audience(Protocol):
    """The client that ID tokens are for; its attributes are described at :class:`GenericOIDCProvider`."""

    client_id: str
    trusted_audiences: frozenset[str]
    check_nonce: bool

    @property
    def label(self) -> str:
        """Name of the provider for the log."""


class IDTokenVerifier:
    """Verifies signatures and claims.

    Args:
        keys: The provider's signing keys.
        keys_url: Returns where they are; empty if that is unknown.
        client: The client, which is read at each verification.
        may_issue: Whether claims have the expected issuer (OIDC Core §3.1.3.7).
        may_sign: Whether a published key may sign a token with these claims.
    """

    def __init__(
        self,
        keys: KeyCache,
        keys_url: Callable[[], str],
        client: Audience,
        *,
        may_issue: Callable[[Claims], bool],
        may_sign: Callable[[Claims, Claims], bool],
    ) -> None:
        self._keys = keys
        self._keys_url = keys_url
        self._client = client
        self._may_issue = may_issue
        self._may_sign = may_sign

    async def validate(self, id_token: str, nonce: str | None, access_token: str | None) -> Claims:
        """Validate an ID token, and return its claims.

        Args:
            id_token: The ID token.
            nonce: The nonce in the authorize URL; None if it is not known.
            access_token: The access token of the same response, if the ID token has just come.

        Raises:
            TokenError: Validation failed; the code names the rule.
        """
        return self._check(await self._verified(id_token), nonce, access_token)

    async def refreshed(self, tokens: OAuthTokenSet, id_token: str) -> OAuthTokenSet:
        """Return refreshed tokens with the owner in their ID token, and without that if it is not valid.

        Raises:
            TokenError: Code ``id_token_iss`` or ``id_token_signature``.
        """
        try:
            token = await self._verified(id_token)
        except TokenError as error:
            if error.code == "id_token_signature" or isinstance(error, RefetchLimitError):
                raise _refused(tokens) from None
            return without_id_token(tokens, self._client.label, error.code)
        if isinstance(token.claims.get("iss"), str) and not self._may_issue(token.claims):
            raise TokenError(code="id_token_iss")
        tokens = replace(tokens, owner=jws.owner_of(token.claims))
        try:
            self._check(token, None, tokens.access_token)
        except TokenError as error:
            return without_id_token(tokens, self._client.label, error.code)
        return tokens

    async def userinfo(self, text: str) -> Claims:
        """Return the claims in a signed UserInfo response (OIDC Core §5.3.2).

        Raises:
            TokenError: Code ``userinfo_failed``: they cannot be verified.
        """
        try:
            claims = (await self._verified(text)).claims
            jws.check_userinfo(claims, issuer=self._may_issue, client_id=self._client.client_id)
        except TokenError as error:
            log.warning("%s: the signed UserInfo is not used (%s)", self._client.label, error.code)
            raise TokenError(
                "The provider's signed UserInfo could not be verified. Ask its operator.", code="userinfo_failed"
            ) from None
        return claims

    async def _verified(self, text: str) -> jws.Unverified:
        """Parse a signed token of the provider, and verify its signature.

        Raises:
            TokenError: Code ``id_token_signature`` if it matches none of the keys, and others.
        """
        token, uri = jws.read(text), self._keys_url()
        if not uri:
            raise TokenError("There are no keys to check the ID token with. Set issuer_url.", code="jwks_failed")
        keys = await self._keys.candidates(uri, alg=token.alg, kid=token.kid)
        verified = self._is_signed(token, keys)
        if keys and not verified:  # the keys were rotated, with the same or no key ID
            verified = self._is_signed(token, await self._keys.refetched(uri, alg=token.alg, kid=token.kid))
        if not verified:
            raise TokenError(code="id_token_signature")
        return token

    def _is_signed(self, token: jws.Unverified, keys: list[dict[str, Any]]) -> bool:
        return any(self._may_sign(key, token.claims) and jws.verify_signature(token, key) for key in keys)

    def _check(self, token: jws.Unverified, nonce: str | None, access_token: str | None) -> Claims:
        no_nonce = nonce is not None and token.claims.get("nonce") is None
        claims = jws.check_claims(
            token,
            issuer=self._may_issue,
            client_id=self._client.client_id,
            nonce=None if no_nonce else nonce,
            access_token=access_token,
            trusted_audiences=self._client.trusted_audiences,
        )
        if no_nonce and self._client.check_nonce:
            raise TokenError(_NO_NONCE, code="id_token_nonce")
        return claims


def without_id_token(tokens: OAuthTokenSet, label: str, why: str) -> OAuthTokenSet:
    """Return refreshed tokens of the provider called ``label`` without their ID token, and log why."""
    log.warning("%s: the ID token of a refresh is not used (%s); the other tokens are", label, why)
    return replace(tokens, id_token=None)


def _refused(tokens: OAuthTokenSet) -> TokenRefreshError:
    """Return the error for refreshed tokens with a wrong signature, whose refresh token has replaced the old one."""
    error = TokenRefreshError(code="id_token_signature")
    error.refused = tokens
    return error
