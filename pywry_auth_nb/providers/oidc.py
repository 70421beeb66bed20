"""`GenericOIDCProvider`: any OpenID Connect provider, configured by its issuer (OIDC Core, Discovery)."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit, urlunsplit

from .._io import fork
from .._io.http import check_url
from .._io.loop import ignore_result, on_loop, run
from ..errors import TokenError, TokenRefreshError
from ..tokens import Secret
from . import id_token as jws
from .base import OAuthProvider, as_refresh_error
from .jwks import KeyCache

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._io.http import Answer
    from .._wire.error_codes import ErrorCode
    from ..pkce import PKCEChallenge
    from ..tokens import OAuthTokenSet

log = logging.getLogger("pywry_auth_nb")

_NOT_FOUND = 404
_DISCOVERY_MAX_AGE = 3600.0  # seconds
_DISCOVERY_DEADLINE = 30.0
_ENDPOINTS = {
    "authorize_url": "authorization_endpoint",
    "token_url": "token_endpoint",
    "userinfo_url": "userinfo_endpoint",
    "revocation_url": "revocation_endpoint",
}
_BASIC, _POST = "client_secret_basic", "client_secret_post"
#: Temporary failures, such as a captive portal causes. Others are the provider's own response.
_TEMPORARY: frozenset[ErrorCode] = frozenset(
    {"network", "timeout", "discovery_failed", "bad_response", "redirect_refused", "too_large"}
)
#: Claims about the ID token itself, not about the user.
_ABOUT_THE_TOKEN = frozenset({"nonce", "at_hash", "c_hash", "s_hash", "aud", "azp", "exp", "iat", "nbf", "jti", "sid"})


class GenericOIDCProvider(OAuthProvider):
    """An OpenID Connect provider.

    Args:
        client_id: Client identifier registered with the provider.
        client_secret: The client's secret; empty for a public client.
        issuer_url: The issuer, exactly as the provider writes it (with or without a final slash).
        scopes: Scopes to request; ``openid email profile`` when left out. Add ``offline_access`` if the provider
            requires it for a refresh token.
        authorize_url: Overrides discovery, as do the next three.
        token_url: Token endpoint.
        userinfo_url: UserInfo endpoint.
        revocation_url: Revocation endpoint.
        require_id_token_validation: Whether a valid ID token is required. Turn it off only for a provider without
            OpenID Connect.

    Without ``issuer_url``, ID tokens cannot be validated. They are then neither required nor kept, and the UserInfo
    endpoint says who signed in.
    """

    #: Whether the provider gives refresh tokens only after a consent prompt (OIDC Core §11).
    offline_needs_consent: ClassVar[bool] = True

    def __init__(
        self,
        client_id: str,
        client_secret: str = "",
        issuer_url: str = "",
        scopes: list[str] | None = None,
        authorize_url: str = "",
        token_url: str = "",
        userinfo_url: str = "",
        revocation_url: str = "",
        *,
        require_id_token_validation: bool = True,
    ) -> None:
        client_secret = Secret(client_secret)
        scopes = ["openid", "email", "profile"] if scopes is None else scopes
        super().__init__(client_id, client_secret, scopes, authorize_url, token_url, userinfo_url, revocation_url)
        self.issuer_url = issuer_url
        self.require_id_token_validation = require_id_token_validation
        self._configured = {name: getattr(self, name) for name in _ENDPOINTS}
        self._metadata: dict[str, Any] = {}
        self._discovered_at = float("-inf")
        self._discovering: asyncio.Task[None] | None = None
        self._keys = KeyCache(self._http)
        fork.in_child(self._forget_discovery)
        if "offline_access" in self.scopes and self.offline_needs_consent:
            self.authorize_params = {"prompt": "consent", **self.authorize_params}  # type: ignore[misc]

    @property
    def label(self) -> str:
        """The host at which the user signs in, for display."""
        return urlsplit(self.issuer_url or self.authorize_url).hostname or ""

    @property
    def identity(self) -> str:
        """Identifies provider and client, so that tokens of one are never used for another."""
        return f"{self.issuer_url or self.token_url} {self.client_id}"

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The provider's metadata (OIDC Discovery §3); empty before :meth:`prepare`."""
        return MappingProxyType(self._metadata)

    @property
    def _validates(self) -> bool:
        return self.require_id_token_validation and bool(self.issuer_url)

    @on_loop
    async def prepare(self) -> None:
        """Fetch the provider's metadata, unless it was fetched within the last hour.

        Raises:
            TokenError: Code ``discovery_failed``, ``metadata_issuer``, ``missing_metadata``, ``pkce_unsupported`` or
                one of the HTTP client's; or ``client_auth_unsupported``.
        """
        if not self.issuer_url and not (self.authorize_url and self.token_url):
            message = "Give issuer_url (by name), or authorize_url and token_url."
            raise TokenError(message, code="missing_metadata")
        if not self.issuer_url or time.monotonic() - self._discovered_at < _DISCOVERY_MAX_AGE:
            return
        if self._discovering is None:
            self._discovering = ignore_result(asyncio.ensure_future(self._discover()))
        try:
            await asyncio.shield(self._discovering)
        except TokenError as error:
            if not self._metadata or error.code not in _TEMPORARY:
                raise  # else use the known metadata, and try again the next time
        finally:
            if self._discovering is not None and self._discovering.done():
                self._discovering = None

    def _forget_discovery(self) -> None:
        self._discovering = None

    async def _discover(self) -> None:
        check_url(self.issuer_url)
        if "?" in self.issuer_url:
            message = "An issuer is a URL without a query (OpenID Connect Discovery §3). Check issuer_url."
            raise TokenError(message, code="insecure_url")
        answer = await self._fetch_metadata()
        if not answer.ok or not isinstance(answer.body, dict):
            raise TokenError(
                code="discovery_failed", host=self.label, status=answer.status, retry_after=answer.retry_after
            )
        self._accept(answer.body)

    async def _fetch_metadata(self) -> Answer:
        """Request the metadata at the location of OIDC Discovery §4; after a 404, at that of RFC 8414 §3.1."""
        issuer = urlsplit(self.issuer_url.removesuffix("/"))
        answer = await self._http.request("GET", urlunsplit(issuer) + "/.well-known/openid-configuration")
        if answer.status != _NOT_FOUND:
            return answer
        path = f"/.well-known/oauth-authorization-server{issuer.path}"
        return await self._http.request("GET", urlunsplit(issuer._replace(path=path)))

    def _accept(self, metadata: dict[str, Any]) -> None:
        """Validate metadata and use it (OIDC Discovery §3, §4.3)."""
        if not self._is_own_metadata(metadata.get("issuer")):
            message = f"The provider's metadata names another issuer. {self._issuer_advice(metadata)}"
            raise TokenError(message, code="metadata_issuer")
        methods = metadata.get("code_challenge_methods_supported")
        if methods is not None and (not isinstance(methods, list) or "S256" not in methods):
            raise TokenError(code="pkce_unsupported")
        endpoints = {ours: self._configured[ours] or metadata.get(theirs) or "" for ours, theirs in _ENDPOINTS.items()}
        for name in ("authorize_url", "token_url"):
            if not endpoints[name]:
                message = f"The provider's metadata has no {_ENDPOINTS[name]}. Give {name} here."
                raise TokenError(message, code="missing_metadata")
        if self.require_id_token_validation and not metadata.get("jwks_uri"):
            message = "The provider's metadata has no jwks_uri. Ask its operator."
            raise TokenError(message, code="missing_metadata")
        if self.client_secret:
            _choose_auth(metadata, "token")  # refuse now, not after the user has signed in
        loopback = self.issuer_url.startswith("http:")  # otherwise metadata could direct requests to this machine
        for url in (*endpoints.values(), metadata.get("jwks_uri") or ""):
            if url:
                check_url(url if isinstance(url, str) else "", loopback=loopback)
        for name, url in endpoints.items():
            setattr(self, name, url)
        self._metadata, self._discovered_at = metadata, time.monotonic()

    def build_authorize_url(
        self,
        redirect_uri: str,
        state: str,
        pkce: PKCEChallenge | None = None,
        extra_params: dict[str, str] | None = None,
    ) -> str:
        """Return the URL at which the user signs in, discovering the endpoint first if necessary.

        Raises:
            ValueError: ``extra_params`` would override a parameter that ties the answer to the request.
            TokenError: Discovery failed.
        """
        if not self.authorize_url and self.issuer_url:
            run(self.prepare(), _DISCOVERY_DEADLINE)
        return super().build_authorize_url(redirect_uri, state, pkce, extra_params)

    def check_issuer(self, iss: str | None) -> None:
        """Check the ``iss`` of an authorization response, by simple string comparison (RFC 9207 §2.4).

        Raises:
            TokenError: Code ``issuer_mismatch``, or ``issuer_missing`` if the provider's metadata promises it.
        """
        if iss is None:
            if self._metadata.get("authorization_response_iss_parameter_supported") is True:
                raise TokenError(code="issuer_missing")
        elif self.issuer_url and not self._may_answer(iss):
            raise TokenError(code="issuer_mismatch")

    def _is_own_metadata(self, issuer: Any) -> bool:
        """Whether ``issuer`` is the issuer whose metadata was requested (OIDC Discovery §4.3)."""
        return bool(issuer == self.issuer_url)

    def _issuer_advice(self, metadata: dict[str, Any]) -> str:
        """Return how to correct the issuer, without text from the provider."""
        if str(metadata.get("issuer")).rstrip("/") != self.issuer_url.rstrip("/"):
            return "Write issuer_url exactly as in the metadata."
        return f"Write issuer_url {'without' if self.issuer_url.endswith('/') else 'with'} a trailing slash."

    def _may_answer(self, issuer: str) -> bool:
        """Whether ``issuer`` may send an authorization response (RFC 9207 §2.4)."""
        return issuer == self.issuer_url

    def _may_issue(self, claims: dict[str, Any]) -> bool:
        """Whether an ID token with these claims has the expected issuer (OIDC Core §3.1.3.7)."""
        return bool(claims.get("iss") == self.issuer_url)

    def _may_sign(self, key: dict[str, Any], claims: dict[str, Any]) -> bool:  # noqa: ARG002 - for keys with an issuer
        """Whether a published key may sign an ID token with these claims."""
        return True

    @on_loop
    async def exchange_code(
        self, code: str, redirect_uri: str, pkce_verifier: str | None = None, nonce: str | None = None
    ) -> OAuthTokenSet:
        """Exchange an authorization code for tokens, and validate their ID token.

        Args:
            code: The authorization code.
            redirect_uri: The redirect URI to which the code was sent.
            pkce_verifier: The code verifier of the code challenge.
            nonce: The nonce in the authorize URL, which the ID token must repeat.

        Raises:
            TokenError: Discovery or the exchange failed, or the response was refused.
        """
        await self.prepare()
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
        if pkce_verifier:
            form["code_verifier"] = pkce_verifier
        tokens = await self._grant(form, requested_scope=" ".join(self.scopes))
        try:
            self._require_id_token(tokens)
            return await self._checked(tokens, nonce)
        except TokenError:
            await self.revoke_tokens(tokens)
            raise

    def _require_id_token(self, tokens: OAuthTokenSet) -> None:
        if self._validates and tokens.id_token is None:
            raise TokenError(code="id_token_missing")

    async def _checked(self, tokens: OAuthTokenSet, nonce: str | None) -> OAuthTokenSet:
        """Return the tokens after validating their ID token, which is dropped if there is no issuer."""
        if tokens.id_token is not None and self._validates:
            await self._validate(tokens.id_token, nonce, tokens.access_token)
        return tokens if self.issuer_url else replace(tokens, id_token=None)

    @on_loop
    async def warm_up(self) -> None:
        """Fetch metadata and keys before a refresh token is used, which may be valid only once."""
        await self.prepare()
        if self._validates:
            await self._keys.warm(self._metadata.get("jwks_uri"))

    @on_loop
    async def refresh_tokens(self, refresh_token: str) -> OAuthTokenSet:
        """Get new tokens for a refresh token, and validate their ID token, if any (OIDC Core §12.2).

        If the provider's keys are unavailable, the ID token is dropped and the other tokens are kept: the refresh token
        may have been valid only once. Tokens with an invalid ID token are revoked.

        Raises:
            TokenRefreshError: Discovery or the refresh failed; code ``invalid_grant`` means that the user must sign in
                again.
        """
        try:
            await self.warm_up()
            form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
            return await self._checked_if_possible(await self._grant(form, requested_scope=""))
        except TokenError as error:
            raise as_refresh_error(error) from None

    async def _checked_if_possible(self, tokens: OAuthTokenSet) -> OAuthTokenSet:
        try:
            return await self._checked(tokens, None)
        except TokenError as error:
            if error.code.startswith("id_token_"):
                await self.revoke_tokens(tokens)
                raise
            log.warning("%s: the ID token of a refresh could not be checked (%s)", self.label, error.code)
            return replace(tokens, id_token=None)

    @on_loop
    async def validate_id_token(self, id_token: str, nonce: str | None = None) -> dict[str, Any]:
        """Validate signature, issuer, audience, times and nonce of an ID token, and return its claims.

        Raises:
            TokenError: Validation failed; the code names the rule.
        """
        await self.prepare()
        return await self._validate(id_token, nonce, None)

    async def _validate(self, id_token: str, nonce: str | None, access_token: str | None) -> dict[str, Any]:
        token = jws.read(id_token)
        uri = self._metadata.get("jwks_uri")
        if not uri:
            raise TokenError("There are no keys to check the ID token with. Set issuer_url.", code="jwks_failed")
        keys = await self._keys.candidates(uri, alg=token.alg, kid=token.kid)
        verified = self._is_signed(token, keys)
        if keys and not verified:  # the keys were rotated, with the same or no key ID
            verified = self._is_signed(token, await self._keys.refetched(uri, alg=token.alg, kid=token.kid))
        if not verified:
            raise TokenError(code="id_token_signature")
        return jws.check_claims(
            token, issuer=self._may_issue, client_id=self.client_id, nonce=nonce, access_token=access_token
        )

    def _is_signed(self, token: jws.Unverified, keys: list[dict[str, Any]]) -> bool:
        return any(self._may_sign(key, token.claims) and jws.verify_signature(token, key) for key in keys)

    def claims(self, tokens: OAuthTokenSet) -> dict[str, Any]:
        """Return the ID token's claims about its owner. The ID token was validated on arrival."""
        return {name: value for name, value in self._id_claims(tokens).items() if name not in _ABOUT_THE_TOKEN}

    def _id_claims(self, tokens: OAuthTokenSet) -> dict[str, Any]:
        if tokens.id_token is None or not self._validates:
            return {}
        return jws.read(tokens.id_token).claims

    async def fetch_user(self, tokens: OAuthTokenSet) -> dict[str, Any]:
        """Return the ID token's claims, with the UserInfo claims if that request succeeds.

        Raises:
            TokenError: Code ``userinfo_sub``: the UserInfo claims belong to another user (OIDC Core §5.3.2). Without an
                ID token also the failure of the UserInfo request.
        """
        claims = self.claims(tokens)
        try:
            profile = await self.get_userinfo(tokens.access_token)
        except TokenError:
            if not claims:
                raise
            profile = {}
        if claims and profile and profile.get("sub") != claims.get("sub"):
            raise TokenError(code="userinfo_sub")
        return claims | profile

    def check_continuity(self, old: OAuthTokenSet, new: OAuthTokenSet) -> None:
        """Check that a refreshed ID token belongs to the same sign-in (OIDC Core §12.2).

        Raises:
            TokenRefreshError: Code ``identity_changed``.
        """
        before, after = self._id_claims(old), self._id_claims(new)
        if before and after and not jws.continues(before, after):
            raise TokenRefreshError(code="identity_changed")

    def _client_auth_method(self, endpoint: str) -> str:
        return _choose_auth(self._metadata, endpoint) if self.client_secret else "none"


def _choose_auth(metadata: dict[str, Any], endpoint: str) -> str:
    """Return an authentication method for a client with a secret that the endpoint supports (RFC 8414 §2).

    Raises:
        TokenError: Code ``client_auth_unsupported``.
    """
    listed = metadata.get(f"{endpoint}_endpoint_auth_methods_supported")
    offered = [method for method in listed if isinstance(method, str)] if isinstance(listed, list) else []
    if not offered or _BASIC in offered:  # the default of the specification
        return _BASIC
    if _POST not in offered:
        raise TokenError(code="client_auth_unsupported")
    return _POST
