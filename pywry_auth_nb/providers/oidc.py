"""`GenericOIDCProvider`: any OpenID Connect provider, configured by its issuer (OIDC Core, Discovery)."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from .._io.arguments import refuse_unknown
from .._io.loop import on_loop, run
from .._io.urls import check_url
from ..errors import ConfigurationError, TokenError, TokenRefreshError
from ..tokens import secret_or_empty
from . import client_auth as authentication
from . import discovery, registration, userinfo
from . import id_token as jws
from .base import OAuthProvider
from .jwks import KeyCache
from .metadata import MetadataCache
from .refusals import as_refresh_error
from .token_endpoint import code_form, refresh_form
from .verifier import IDTokenVerifier, without_id_token

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from typing_extensions import Never

    from ..pkce import PKCEChallenge
    from ..tokens import OAuthTokenSet
    from .client_auth import ClientCredential
    from .parameters import ClientAuth, Parameters, Value
    from .scopes import Scopes

_NOT_KEPT = "An ID token cannot be checked without an issuer, so it is not kept. Set issuer_url, then sign in again."

log = logging.getLogger("pywry_auth_nb")

_DISCOVERY_DEADLINE = 30.0  # seconds
_CHECK_DEADLINE = 5.0  # seconds for a refreshed ID token, while the lease of the store is held
_METHODS = "{}_endpoint_auth_methods_supported"
#: What else to do about metadata of another issuer: without, and with ``metadata_url``.
_OTHER_ISSUER = (
    "If they are not at the place that follows from it, give their address as metadata_url.",
    "If browsers do not reach that address, the provider's operator must set the right one (Keycloak: KC_HOSTNAME).",
)


class GenericOIDCProvider(OAuthProvider):
    """An OpenID Connect provider.

    Args:
        client_id: Client identifier registered with the provider.
        client_secret: The client's secret; empty for a public client.
        issuer_url: The issuer, exactly as the provider writes it (with or without a final slash); or the whole address
            of its metadata, which ends in ``/.well-known/openid-configuration``.
        scopes: Scopes to request; ``openid email profile`` when left out. Add ``offline_access`` if the provider
            requires it for a refresh token.
        authorize_url: Overrides discovery, as do the next three, ``jwks_url`` and ``end_session_url``.
        token_url: Token endpoint.
        userinfo_url: UserInfo endpoint.
        revocation_url: Revocation endpoint.
        require_id_token_validation: Whether a valid ID token is required. Turn it off only for a provider without
            OpenID Connect.
        metadata_url: Where the metadata are, if that does not follow from the issuer (Azure AD B2C; Keycloak in a
            container, which the kernel reaches at another host than the browser). They must name ``issuer_url``; if
            that is left out, the issuer that they name first is the one from then on.
        jwks_url: The provider's signing keys. With ``issuer_url``, ``authorize_url`` and ``token_url`` as well, no
            metadata are requested.
        end_session_url: Where users sign out of the provider (OIDC RP-Initiated Logout); overrides discovery.
        device_authorization_url: Device authorization endpoint (RFC 8628); overrides discovery.
        trusted_audiences: Applications for which an ID token may also be meant, if it does not name this client as the
            party that it was issued to (``azp``).
        check_nonce: Whether an ID token must repeat the nonce. Turn it off only for a provider that sends none
            (LinkedIn); a wrong one is refused all the same.
        authorize_params: As for :class:`OAuthProvider`, as are all that follow.
        token_params: Further parameters of token requests.
        audience: The API that the token is for.
        resource: The same by RFC 8707.
        prompt: What the provider must ask the user.
        login_hint: The user who is expected to sign in.
        client_auth: How ``client_secret`` is sent.
        client_key: What the client signs assertions with, instead of a secret.
        label: Name of the provider for display.

    Without ``issuer_url`` and ``metadata_url``, ID tokens cannot be validated. They are then neither required nor kept,
    and the UserInfo endpoint says who signed in. Without ``prompt``, the scope ``offline_access`` asks for consent
    (OIDC Core §11) if the metadata list that prompt.

    Raises:
        ConfigurationError: As for :class:`OAuthProvider`; there is neither an issuer nor another address, or
            ``jwks_url`` and no issuer; or ``issuer_url`` is not an https URL (code ``insecure_url``).
    """

    default_auth = authentication.BASIC  # the default of the specification
    #: Whether to ask for consent with ``offline_access`` where the provider lists that prompt (OIDC Core §11).
    offline_needs_consent: ClassVar[bool] = True

    def __init__(
        self,
        client_id: str,
        client_secret: str = "",
        issuer_url: str = "",
        scopes: Scopes | None = None,
        authorize_url: str = "",
        token_url: str = "",
        userinfo_url: str = "",
        revocation_url: str = "",
        *,
        require_id_token_validation: bool = True,
        metadata_url: str = "",
        jwks_url: str = "",
        end_session_url: str = "",
        device_authorization_url: str = "",
        trusted_audiences: Collection[str] | str = (),
        check_nonce: bool = True,
        authorize_params: Parameters | None = None,
        token_params: Parameters | None = None,
        audience: str = "",
        resource: Value = "",
        prompt: str = "",
        login_hint: str = "",
        client_auth: ClientAuth = "",
        client_key: ClientCredential | str | None = None,
        label: str = "",
        **unknown: Never,
    ) -> None:
        client_secret, misnamed = secret_or_empty(client_secret), [*unknown]
        unknown.clear()  # a value may be secret
        refuse_unknown(self, misnamed, issuer="issuer_url", discovery_url="metadata_url", url="issuer_url")
        endpoints = (authorize_url, token_url, userinfo_url, revocation_url)
        scopes = ["openid", "email", "profile"] if scopes is None else scopes
        super().__init__(
            client_id,
            client_secret,
            scopes,
            *endpoints,
            device_authorization_url=device_authorization_url,
            authorize_params=authorize_params,
            token_params=token_params,
            audience=audience,
            resource=resource,
            prompt=prompt,
            login_hint=login_hint,
            client_auth=client_auth,
            client_key=client_key,
            label=label,
        )
        issuer_url = registration.check_issuer(issuer_url)
        is_known = any((issuer_url, metadata_url, jwks_url, *endpoints))
        if type(self) is GenericOIDCProvider and not is_known:  # a subclass may have an address of its own
            raise registration.no_address()
        self._issuers = discovery.issuers_at(issuer_url)  # the metadata must name one of them; empty for any
        self.issuer_url = self._issuers[0] if self._issuers else ""
        self.metadata_url, self.jwks_url, self.end_session_url = metadata_url, jwks_url, end_session_url
        if jwks_url and not (issuer_url or metadata_url):
            raise ConfigurationError("Give issuer_url besides jwks_url: it says whose ID tokens the keys are for.")
        self.require_id_token_validation = require_id_token_validation
        names = [trusted_audiences] if isinstance(trusted_audiences, str) else trusted_audiences
        self.trusted_audiences = frozenset(filter(None, names))
        self.check_nonce = check_nonce
        self._configured = {name: getattr(self, name) for name in discovery.ENDPOINTS}
        self._metadata = MetadataCache(self._discover)
        self._keys = KeyCache(self._http)
        self._verifier = IDTokenVerifier(
            self._keys, lambda: self._keys_url, self, may_issue=self._may_issue, may_sign=self._may_sign
        )

    @property
    def _address(self) -> str:
        return self.issuer_url or self.authorize_url or self.metadata_url

    @property
    def _server(self) -> tuple[str, ...]:
        """The issuer, and where its metadata are: with one issuer for several policies, each has its own tokens."""
        return self.issuer_url, self.metadata_url, "" if self._has_issuer else self.token_url

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The provider's metadata (OIDC Discovery §3); empty before :meth:`prepare`."""
        return MappingProxyType(self._metadata.values)

    @property
    def _has_issuer(self) -> bool:
        return bool(self.issuer_url or self.metadata_url)

    @property
    def _validates(self) -> bool:
        return self.require_id_token_validation and self._has_issuer

    @property
    def _has_discovery(self) -> bool:
        """Whether metadata are requested: not if there is nowhere to, nor if all that they would say is given."""
        known = all(self._configured[name] for name in discovery.NEEDED_WITHOUT_METADATA)
        return bool(self.metadata_url or (self.issuer_url and not known))

    @on_loop
    async def prepare(self) -> None:
        """Fetch the provider's metadata, unless it was fetched within the last hour.

        Raises:
            TokenError: Code ``discovery_failed``, ``metadata_issuer``, ``missing_metadata``, ``pkce_unsupported`` or
                one of the HTTP client's; or ``client_auth_unsupported``.
        """
        if not self._has_issuer and not (self.authorize_url and self.token_url):
            message = "Give issuer_url (by name), or authorize_url and token_url."
            raise TokenError(message, code="missing_metadata")
        if self._has_discovery:
            await self._metadata.renew()

    async def _discover(self) -> None:
        if self.metadata_url:
            check_url(self.metadata_url)
        places = [self.metadata_url] if self.metadata_url else discovery.places_of(self.issuer_url)
        self._accept(await discovery.fetch(self._http, places))

    def _accept(self, metadata: dict[str, Any]) -> None:
        """Validate metadata and use it (OIDC Discovery §3, §4.3)."""
        issuer = metadata.get("issuer")
        if not self._is_own_metadata(issuer):
            message = f"The provider's metadata names another issuer. {self._issuer_advice(metadata)}"
            raise TokenError(message, code="metadata_issuer")
        methods = discovery.texts(metadata.get("code_challenge_methods_supported"))
        if methods and "S256" not in methods:
            raise TokenError(code="pkce_unsupported")
        if self.client_secret and not self.client_auth:  # refuse now, not after the user has signed in
            authentication.preferred(metadata.get(_METHODS.format("token")), self.client_id, self.client_secret)
        endpoints = discovery.endpoints(
            metadata,
            self._configured,
            needed=discovery.NEEDED_WITHOUT_METADATA if self.require_id_token_validation else discovery.NEEDED,
            loopback=(self.metadata_url or self.issuer_url).startswith("http:"),
        )
        keys = endpoints.pop("jwks_url")
        for name, url in endpoints.items():
            setattr(self, name, url)
        self._issuers = (str(issuer),)
        self._metadata.keep({**metadata, "jwks_uri": keys})

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
        if not self.authorize_url and self._has_discovery:
            run(self.prepare(), _DISCOVERY_DEADLINE)
        return super().build_authorize_url(redirect_uri, state, pkce, extra_params)

    async def _find_end_session_endpoint(self) -> str:
        """Return the configured endpoint, or else that of the metadata."""
        if not self.end_session_url:
            await self.prepare()
        return await super()._find_end_session_endpoint()

    def _default_params(self, scopes: Collection[str]) -> Mapping[str, str]:
        offline = "offline_access" in scopes and self.offline_needs_consent
        return {"prompt": "consent"} if offline and "consent" in self._prompts_offered() else {}

    def _prompts_offered(self) -> Collection[str]:
        return discovery.texts(self.metadata.get("prompt_values_supported"))

    def check_issuer(self, iss: str | None) -> None:
        """Check the ``iss`` of an authorization response, by simple string comparison (RFC 9207 §2.4).

        Raises:
            TokenError: Code ``issuer_mismatch``, or ``issuer_missing`` if the provider's metadata promises it.
        """
        if not self._has_issuer:
            super().check_issuer(iss)
        elif iss is None:
            if self.metadata.get("authorization_response_iss_parameter_supported") is True:
                raise TokenError(code="issuer_missing")
        elif not self._may_answer(iss):
            raise TokenError(code="issuer_mismatch")

    def _is_own_metadata(self, issuer: Any) -> bool:
        """Whether ``issuer`` is the one whose metadata was requested (OIDC Discovery §4.3), or the first that came."""
        return issuer in self._issuers if self._issuers else isinstance(issuer, str) and bool(issuer)

    def _issuer_advice(self, metadata: dict[str, Any]) -> str:
        """Return how to correct the issuer, without text from the provider."""
        if str(metadata.get("issuer")).rstrip("/") != self.issuer_url.rstrip("/"):
            return f"Write issuer_url exactly as in the metadata. {_OTHER_ISSUER[bool(self.metadata_url)]}"
        return f"Write issuer_url {'without' if self.issuer_url.endswith('/') else 'with'} a trailing slash."

    def _may_answer(self, issuer: str) -> bool:
        """Whether ``issuer`` may send an authorization response (RFC 9207 §2.4)."""
        return issuer in self._issuers

    def _may_issue(self, claims: dict[str, Any]) -> bool:
        """Whether an ID token with these claims has the expected issuer (OIDC Core §3.1.3.7)."""
        return claims.get("iss") in self._issuers

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
        form = code_form(code, redirect_uri, pkce_verifier)
        return await self._accepted(await self._grant(form, requested_scope=" ".join(self.scopes)), nonce)

    @on_loop
    async def redeem_device_code(self, device_code: str) -> OAuthTokenSet:
        """Ask once for the tokens of a device code (RFC 8628 §3.4), and validate their ID token, which has no nonce.

        Raises:
            TokenError: As for :meth:`OAuthProvider.redeem_device_code`; or the response was refused.
        """
        return await self._accepted(await super().redeem_device_code(device_code), None)

    async def _accepted(self, tokens: OAuthTokenSet, nonce: str | None) -> OAuthTokenSet:
        """Return the tokens of a new sign-in after validating their ID token; discard them if it is refused."""
        if tokens.refresh_token is None and "offline_access" in self.scopes:
            log.warning("%s: no refresh token came for offline_access; it may want prompt='consent'", self.label)
        try:
            await self._check_id_token(tokens, nonce)
        except TokenError:
            await self.discard_tokens(tokens)
            raise
        return tokens

    async def _grant(self, form: Parameters, *, requested_scope: str) -> OAuthTokenSet:
        """Send a token request. Without an issuer, the ID token in the response cannot be validated, and is dropped."""
        tokens = await super()._grant(form, requested_scope=requested_scope)
        return tokens if self._has_issuer else replace(tokens, id_token=None)

    async def _check_id_token(self, tokens: OAuthTokenSet, nonce: str | None) -> None:
        """Validate the ID token of a sign-in."""
        if not self._validates:
            return
        if tokens.id_token is None:
            raise TokenError(code="id_token_missing")
        await self._verifier.validate(tokens.id_token, nonce, tokens.access_token)

    @on_loop
    async def warm_up(self) -> None:
        """Fetch metadata and keys before a refresh token is used, which may be valid only once."""
        await self.prepare()
        if self._validates:
            await self._keys.warm(self._keys_url)

    @on_loop
    async def refresh_tokens(self, refresh_token: str) -> OAuthTokenSet:
        """Get new tokens for a refresh token, and validate their ID token, if any (OIDC Core §12.2).

        The refresh token may have been valid only once, so what can be kept is kept: an ID token that cannot be read,
        or checked for lack of keys, or that is not as it should be, is left out. One of another issuer is proof of
        another sign-in, and its tokens are revoked.

        Raises:
            TokenRefreshError: Discovery or the refresh failed; code ``invalid_grant`` means that the user must sign in
                again, ``id_token_iss`` and ``id_token_signature`` that the tokens were refused.
        """
        try:
            await self.warm_up()
            tokens = await self._grant(refresh_form(refresh_token), requested_scope="")
            return await self._validated_refresh(tokens)
        except TokenError as error:
            raise as_refresh_error(error) from None

    async def _validated_refresh(self, tokens: OAuthTokenSet) -> OAuthTokenSet:
        """Return refreshed tokens after validating their ID token, if there is one."""
        if tokens.id_token is None or not self._validates:
            return tokens
        try:
            return await asyncio.wait_for(self._verifier.refreshed(tokens, tokens.id_token), _CHECK_DEADLINE)
        except asyncio.TimeoutError:
            return without_id_token(tokens, self.label, "timeout")
        except TokenError as error:
            if error.code == "id_token_iss":
                await self.revoke_tokens(tokens)
            raise

    @on_loop
    async def validate_id_token(self, id_token: str, nonce: str | None = None) -> dict[str, Any]:
        """Validate signature, issuer, audience, times and nonce of an ID token, and return its claims.

        Raises:
            TokenError: Validation failed; the code names the rule.
        """
        await self.prepare()
        return await self._verifier.validate(id_token, nonce, None)

    def no_id_token(self) -> TokenError:
        """Return the error that says why there is no ID token."""
        return TokenError(None if self._has_issuer else _NOT_KEPT, code="id_token_missing")

    async def confirm_id_token(self, id_token: str) -> None:
        """Validate an ID token of a provider for which that is turned off at a sign-in.

        Raises:
            TokenError: Validation failed; the code names the rule.
        """
        if not self._validates:
            await self.validate_id_token(id_token)

    @property
    def _keys_url(self) -> str:
        return self.metadata.get("jwks_uri") or self.jwks_url

    def claims(self, tokens: OAuthTokenSet) -> dict[str, Any]:
        """Return the ID token's claims about its owner. The ID token was validated on arrival."""
        return userinfo.of_the_user(self._id_claims(tokens))

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
        return userinfo.combined(claims, profile)

    async def _profile(self, body: Any) -> dict[str, Any]:
        """Return the claims in a UserInfo response: a JSON object, or a signed token (OIDC Core §5.3.2).

        Raises:
            TokenError: Code ``userinfo_failed``: there are none, or they cannot be verified.
        """
        if not isinstance(body, str) or not self._has_issuer:
            return jws.with_text_subject(await super()._profile(body))
        return userinfo.of_the_user(await self._verifier.userinfo(body))

    def check_continuity(self, old: OAuthTokenSet, new: OAuthTokenSet) -> None:
        """Check that refreshed tokens belong to the same user: that their ID token has no other issuer or subject.

        Raises:
            TokenRefreshError: Code ``identity_changed``.
        """
        before, after = self._owner(old), self._owner(new)
        if before and after and any(a != b for a, b in zip(before, after, strict=True) if a and b):
            raise TokenRefreshError(code="identity_changed")

    def _owner(self, tokens: OAuthTokenSet) -> tuple[str, str] | None:
        return tokens.owner or jws.owner_of(self._readable_claims(tokens))

    def _readable_claims(self, tokens: OAuthTokenSet) -> dict[str, Any]:
        """Return the ID token's claims; ``{}`` if it cannot be read, as one that was stored without validation."""
        with suppress(TokenError):
            return self._id_claims(tokens)
        return {}

    def accept(self, old: OAuthTokenSet, new: OAuthTokenSet) -> OAuthTokenSet:
        """Return refreshed tokens, without an ID token that must not replace the old one (OIDC Core §12.2).

        Raises:
            TokenRefreshError: Code ``identity_changed``.
        """
        self.check_continuity(old, new)
        before, after = self._readable_claims(old), self._readable_claims(new)
        if before and after and not jws.continues(before, after):
            return without_id_token(new, self.label, "it does not continue the one before")
        return new

    def _listed_methods(self, endpoint: str) -> Any:
        return self.metadata.get(_METHODS.format(endpoint))
