"""`OAuthProvider`: the endpoints of an OAuth 2.0 provider, and the requests to them (RFC 6749)."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from .._io.cells import warn_if_in_a_cell
from .._io.http import HttpClient
from .._io.loop import on_loop
from .._io.urls import check_url, origin
from .._io.values import read_label
from ..errors import TokenError
from ..tokens import secret_or_empty
from . import client_auth as authentication
from . import parameters, registration, userinfo
from . import scopes as scope_lists
from .device import device_form, parse_device_code
from .revocation import NO_ENDPOINT, REFUSED, REVOKED, outcome_of, revoke_each
from .token_endpoint import TokenEndpoint

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from .._io.answers import Answer
    from .._wire.error_codes import ErrorCode
    from ..pkce import PKCEChallenge
    from ..tokens import OAuthTokenSet
    from .client_auth import ClientCredential
    from .device import DeviceCode
    from .exchange import Grant
    from .parameters import ClientAuth, Parameters, Value
    from .scopes import Scopes

_UNKNOWN_ISSUER = (
    "The answer names an issuer at another address than this provider's, which was set up without one. If it is the "
    "right one, give issuer_url."
)


class OAuthProvider(ABC):
    """An OAuth 2.0 provider, and a client registered there.

    Args:
        client_id: Client identifier registered with the provider.
        client_secret: The client's secret; empty for a public client. Read it from the environment or a file, since
            cells are saved in the notebook.
        scopes: Scopes to request: text separated by spaces, or a list, tuple or set.
        authorize_url: Authorization endpoint (RFC 6749 §3.1).
        token_url: Token endpoint (§3.2).
        userinfo_url: UserInfo endpoint, if there is one (OIDC Core §5.3).
        revocation_url: Revocation endpoint, if there is one (RFC 7009).
        device_authorization_url: Device authorization endpoint, if there is one (RFC 8628 §3.1).
        authorize_params: Further parameters of the authorize URL, by name. They are added to those of the class; an
            empty value takes one away, and a list repeats it.
        token_params: Further parameters of token requests: of the code's exchange and of refreshes.
        audience: The API that the token is for, where the provider wants to be told so (Auth0).
        resource: The same by RFC 8707: the address of one API, or a list; also sent with token requests.
        prompt: What the provider must ask the user (OIDC Core §3.1.2.1): ``"login"``, ``"consent"``,
            ``"select_account"``.
        login_hint: The user who is expected to sign in, such as an e-mail address.
        client_auth: How ``client_secret`` is sent: ``"basic"`` (in a header), ``"post"`` (in the body) or ``"none"``.
            When left out, the provider's metadata decide; and if the provider does not accept the client, the other
            of the first two is tried once.
        client_key: What the client signs assertions with, instead of sending a secret: a :class:`ClientKey`, or the
            path of its file (``private_key_jwt``, RFC 7523 §2.2).
        label: Name of the provider for display; the host when left out.

    Every async method may be awaited from any event loop.

    Raises:
        ConfigurationError: ``client_id`` is missing; ``client_secret`` is an address; ``scopes`` are neither text nor a
            list of text; a parameter would override what ties the answer to the request; ``client_auth`` is unknown;
            there are both a secret and a key, or the key is unusable.
    """

    #: Additional parameters of every authorize URL.
    authorize_params: Mapping[str, Value] = {}
    #: Additional parameters of every token request.
    token_params: Mapping[str, Value] = {}
    #: Additional parameters of the authorize URL of a sign-in that asks for more scopes than the one before.
    incremental_params: ClassVar[Mapping[str, str]] = {}
    #: How a client with a secret authenticates where the provider does not say.
    default_auth: ClassVar[str] = authentication.POST
    #: Error names specific to this provider, and their equivalents in RFC 6749.
    error_names: ClassVar[Mapping[str, ErrorCode]] = {}
    #: Whether the token endpoint may answer with a form instead of JSON.
    form_answers: ClassVar[bool] = False
    #: Whether the user must sign in; otherwise tokens come from :meth:`acquire_token_silent`.
    interactive: ClassVar[bool] = True
    #: Whether tokens may go to the token store that the settings name; otherwise they stay in memory.
    kept_in_store: ClassVar[bool] = True
    #: Whether a token can be renewed only after its expiry.
    refresh_only_after_expiry: ClassVar[bool] = False
    #: What its tokens are called in a store; this follows from :attr:`identity` where it is empty.
    store_key: str = ""
    #: How the provider exchanges a token for one for another audience.
    exchange_grant: ClassVar[Grant] = "token-exchange"
    #: Whether revoking one token revokes all others of the same user and client.
    revokes_consent: ClassVar[bool] = False
    #: Where users sign out of the provider itself, if it has such a page.
    end_session_url: str = ""
    #: Additional headers of API requests.
    api_headers: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self,
        client_id: str,
        client_secret: str = "",
        scopes: Scopes | None = None,
        authorize_url: str = "",
        token_url: str = "",
        userinfo_url: str = "",
        revocation_url: str = "",
        *,
        device_authorization_url: str = "",
        authorize_params: Parameters | None = None,
        token_params: Parameters | None = None,
        audience: str = "",
        resource: Value = "",
        prompt: str = "",
        login_hint: str = "",
        client_auth: ClientAuth = "",
        client_key: ClientCredential | str | None = None,
        label: str = "",
    ) -> None:
        registration.check_client_id(client_id)
        self.client_id = client_id
        client_secret = secret_or_empty(client_secret)  # first: a traceback through this frame must not show it
        registration.check_secret(client_secret)
        warn_if_in_a_cell(client_secret)
        self.client_secret = client_secret
        self.scopes = [*map(self.scope_name, scope_lists.read([] if scopes is None else scopes))]
        self.authorize_url = authorize_url
        self.token_url = token_url
        self.userinfo_url = userinfo_url
        self.revocation_url = revocation_url
        self.device_authorization_url = device_authorization_url
        named = {"audience": audience, "resource": resource, "prompt": prompt, "login_hint": login_hint}
        self.authorize_params = parameters.of_authorize_url(
            self.authorize_params, authorize_params, parameters.given(named)
        )
        resources = {"resource": self.authorize_params.get("resource", "")}  # also with the code (RFC 8707 §2.2)
        self.token_params = parameters.of_token_requests(resources, self.token_params, token_params)
        authentication.check_choice(client_auth)
        self.client_auth = client_auth
        self.client_key = authentication.key_of(client_key, client_secret, client_auth)
        self._label = read_label(label)
        self._http = HttpClient()
        self._token_endpoint = TokenEndpoint(self._http, self, self._listed_methods)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.label or 'without address'}, client {self.client_id!r}>"

    @property
    def label(self) -> str:
        """Name of the provider for display, as plain text: the argument, or the host at which the user signs in."""
        return self._label or urlsplit(self._address).hostname or ""

    @property
    def identity(self) -> str:
        """Identifies provider, client and audience, so that tokens of one are never used for another."""
        purpose = parameters.purpose(self.authorize_params, self.token_params)
        return json.dumps([*self._server, self.client_id, purpose])

    @property
    def exchanger(self) -> OAuthProvider | None:
        """The provider that can exchange these tokens for tokens for another audience; None if it is not known."""
        return self

    def scope_name(self, scope: str) -> str:
        """Return the full name of a scope, for a provider that has short names in its documentation."""
        return scope

    def covers(self, granted: Collection[str], scope: str) -> bool:
        """Whether ``scope`` is among the ``granted`` ones, under any of its names, or part of one of them."""
        return scope in granted

    def missing_scopes(self, wanted: Iterable[str], tokens: OAuthTokenSet) -> list[str]:
        """Return those of the ``wanted`` scopes that ``tokens`` were not granted."""
        granted = scope_lists.granted(tokens)
        return [scope for scope in wanted if not all(self.covers(granted, word) for word in scope_lists.words(scope))]

    @property
    def _address(self) -> str:
        """The address where the user signs in, or one at the same host."""
        return self.authorize_url

    @property
    def _server(self) -> tuple[str, ...]:
        """What identifies the provider; known before any request, and always of one length in a class."""
        return (self.token_url,)

    @on_loop
    async def close(self) -> None:
        """Close the connections to the provider."""
        await self._http.close()

    @on_loop
    async def prepare(self) -> None:
        """Discover what :meth:`build_authorize_url` needs. Does nothing for plain OAuth.

        Raises:
            TokenError: Discovery failed, or the provider's metadata was refused.
        """

    @on_loop
    async def warm_up(self) -> None:
        """Fetch in advance what a refresh needs, so that other kernels wait for a single request only.

        Raises:
            TokenError: Discovery failed, or the provider's metadata was refused.
        """
        await self.prepare()

    async def settle(self) -> None:
        """Wait until it is known which record of a store has the tokens. Does nothing for a provider."""

    async def acquire_token_silent(self) -> tuple[OAuthTokenSet, dict[str, Any]]:
        """Return tokens, and claims about their owner, without interaction; for providers with ``interactive = False``.

        Raises:
            TokenError: There are no tokens; code ``person_needed`` if the provider is interactive.
        """
        raise TokenError(code="person_needed")

    def build_authorize_url(
        self,
        redirect_uri: str,
        state: str,
        pkce: PKCEChallenge | None = None,
        extra_params: dict[str, str] | None = None,
    ) -> str:
        """Return the URL at which the user signs in (RFC 6749 §4.1.1, RFC 7636 §4.3).

        A query that ``authorize_url`` already has is kept (§3.1).

        Raises:
            ValueError: ``extra_params`` would override a parameter that ties the answer to the request.
            TokenError: The authorize URL is missing or insecure.
        """
        scopes = (extra_params or {}).get("scope", "").split() or self.scopes
        extra = parameters.given({**self._default_params(scopes), **self.authorize_params, **(extra_params or {})})
        forbidden = sorted(parameters.PROTECTED.intersection(extra) - {"nonce"})
        if forbidden:
            raise ValueError(f"extra_params must not set {', '.join(forbidden)}")
        check_url(self.authorize_url)
        ours = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": redirect_uri,
            "state": state,
            **({"scope": " ".join(scopes)} if scopes else {}),
            **({"code_challenge": pkce.challenge, "code_challenge_method": pkce.method} if pkce else {}),
        }
        return parameters.add_to_query(self.authorize_url, ours | extra, dropped=parameters.PROTECTED)

    @property
    def account_prompt(self) -> str:
        """The ``prompt`` that lets the user choose another account (OIDC Core §3.1.2.1).

        It asks for consent as well if every sign-in does, since some providers give a refresh token only then.
        """
        usual = {**self._default_params(self.scopes), **self.authorize_params}.get("prompt", "")
        return parameters.account_prompt(usual, self._prompts_offered())

    def _prompts_offered(self) -> Collection[str]:
        """Return the prompts that the provider's metadata list; empty if they do not say."""
        return ()

    def _default_params(self, scopes: Collection[str]) -> Mapping[str, str]:  # noqa: ARG002 - for providers with metadata
        """Return parameters of the authorize URL that follow from the provider's metadata; all others override them."""
        return {}

    @on_loop
    async def get_end_session_url(self) -> str:
        """Return the URL at which the user signs out of the provider (OIDC RP-Initiated Logout §2); empty if none.

        It names this client, and has no ID token as a hint: the user confirms instead. A query that the endpoint
        already has is kept.

        Raises:
            TokenError: Discovery failed, or the URL is insecure.
        """
        url = await self._find_end_session_endpoint()
        return parameters.add_to_query(url, {"client_id": self.client_id}) if url else ""

    async def _find_end_session_endpoint(self) -> str:
        """Return the configured endpoint; empty if there is none."""
        if self.end_session_url:
            check_url(self.end_session_url)
        return self.end_session_url

    def check_issuer(self, iss: str | None) -> None:
        """Check the ``iss`` of an authorization response (RFC 9207 §2.4).

        A provider without an issuer accepts none at another origin than its own, so that no code of another provider
        is sent to it.

        Raises:
            TokenError: Code ``issuer_mismatch`` or ``issuer_missing``.
        """
        if iss is not None and (origin(iss) or iss) not in {origin(self.authorize_url), origin(self.token_url)}:
            raise TokenError(_UNKNOWN_ISSUER, code="issuer_mismatch")

    @abstractmethod
    async def exchange_code(
        self, code: str, redirect_uri: str, pkce_verifier: str | None = None, nonce: str | None = None
    ) -> OAuthTokenSet:
        """Exchange an authorization code for tokens (RFC 6749 §4.1.3).

        Raises:
            TokenError: The exchange failed, or its response was refused.
        """

    @on_loop
    async def request_device_code(self, extra_params: Mapping[str, str] | None = None) -> DeviceCode:
        """Ask for a code that the user enters at the provider with any browser (RFC 8628 §3.1).

        Args:
            extra_params: Further parameters, such as ``scope``, which replaces the provider's own.

        Raises:
            TokenError: Code ``device_unsupported``: the provider has no endpoint for that; or the request failed.
        """
        await self.prepare()
        if not self.device_authorization_url:
            raise TokenError(code="device_unsupported")
        check_url(self.device_authorization_url)
        purpose = {name: self.authorize_params.get(name, "") for name in ("audience", "resource")}
        form = {"scope": " ".join(self.scopes), **purpose, **(extra_params or {})}
        url = self.device_authorization_url
        return parse_device_code(await self._token_endpoint.ask(url, parameters.given(form)))

    @on_loop
    async def redeem_device_code(self, device_code: str) -> OAuthTokenSet:
        """Ask once for the tokens of a device code (RFC 8628 §3.4); poll no more often than its ``interval``.

        Raises:
            TokenError: Code ``authorization_pending`` or ``slow_down``: ask again later; ``access_denied`` or
                ``expired_token``: the sign-in has ended (§3.5). Another one: the request failed.
        """
        return await self._grant(device_form(device_code), requested_scope=" ".join(self.scopes))

    @abstractmethod
    async def refresh_tokens(self, refresh_token: str) -> OAuthTokenSet:
        """Get new tokens for a refresh token (RFC 6749 §6).

        Raises:
            TokenRefreshError: The refresh failed; code ``invalid_grant`` if the refresh token is no longer valid,
                ``token_refused`` if the provider refused it in other words.
        """

    def claims(self, tokens: OAuthTokenSet) -> dict[str, Any]:  # noqa: ARG002 - for providers with ID tokens
        """Return the claims in the tokens about their owner, without a request; ``{}`` for plain OAuth."""
        return {}

    async def fetch_user(self, tokens: OAuthTokenSet) -> dict[str, Any]:
        """Return claims about the tokens' owner: the UserInfo claims, or ``{}`` without a UserInfo endpoint.

        Raises:
            TokenError: The request failed, or the claims contradict the ID token.
        """
        return await self.get_userinfo(tokens.access_token)

    def no_id_token(self) -> TokenError:
        """Return the error that says why there is no ID token. Plain OAuth has none."""
        return TokenError(f"{self.label} gives no ID token.", code="id_token_missing")

    async def confirm_id_token(self, id_token: str) -> None:
        """Check an ID token before it is used, unless it was checked when it came.

        Raises:
            TokenError: It was refused; the code names the rule.
        """

    def check_continuity(self, old: OAuthTokenSet, new: OAuthTokenSet) -> None:
        """Check that refreshed tokens belong to the same user. Plain OAuth has nothing to compare.

        Raises:
            TokenRefreshError: Code ``identity_changed``.
        """

    def accept(self, old: OAuthTokenSet, new: OAuthTokenSet) -> OAuthTokenSet:
        """Return refreshed tokens as far as they continue the sign-in of ``old``.

        Raises:
            TokenRefreshError: Code ``identity_changed``.
        """
        self.check_continuity(old, new)
        return new

    @on_loop
    async def get_userinfo(self, access_token: str) -> dict[str, Any]:
        """Return the profile of the token's owner; ``{}`` without a UserInfo endpoint.

        Raises:
            TokenRejected: The provider refused the token.
            TokenError: The request failed.
        """
        await self.prepare()
        if not self.userinfo_url:
            return {}
        return await self._profile(userinfo.body_of(await self._get(self.userinfo_url, access_token, jwt_answer=True)))

    async def _profile(self, body: Any) -> dict[str, Any]:
        """Return the claims in a UserInfo response (OIDC Core §5.3.2).

        Raises:
            TokenError: Code ``userinfo_failed``: there are none, or they cannot be verified.
        """
        return userinfo.plain_claims(body)

    @on_loop
    async def revoke_token(self, token: str, token_type_hint: str = "access_token") -> bool:  # noqa: S107 - a kind, no token
        """Revoke a token at the provider (RFC 7009 §2.1).

        Args:
            token: The token to revoke.
            token_type_hint: ``"access_token"`` or ``"refresh_token"``.

        Returns:
            Whether the provider confirmed it; False if it has no revocation endpoint.
        """
        return await self._revoke(token, token_type_hint) == REVOKED

    @on_loop
    async def revoke_tokens(self, tokens: OAuthTokenSet) -> dict[str, str]:
        """Revoke the access token, then the refresh token (RFC 7009 §2.1), within 5 s.

        In this order, since some providers refuse to revoke an access token whose refresh token is dead.

        Returns:
            What became of each, by its kind: ``"revoked"``, ``"refused"``, ``"no_endpoint"``, ``"public_client"`` (the
            provider lets only clients with a secret revoke tokens), or an error code.
        """
        return await revoke_each(tokens, self._revoke_as_defined, label=self.label)

    async def discard_tokens(self, tokens: OAuthTokenSet) -> None:
        """Revoke tokens that will not be used, unless that would end the user's other sign-ins as well."""
        if not self.revokes_consent:
            await self.revoke_tokens(tokens)

    async def _revoke_as_defined(self, token: str, kind: str) -> str:
        """Revoke a token with :meth:`revoke_token` if a subclass outside this package has defined its own."""
        if type(self).revoke_token is OAuthProvider.revoke_token:
            return await self._revoke(token, kind)
        return REVOKED if await self.revoke_token(token, kind) else REFUSED

    async def _revoke(self, token: str, kind: str) -> str:
        """Revoke a token (RFC 7009 §2.1), and return what became of it.

        Raises:
            TokenError: The request failed.
        """
        try:
            await self.prepare()
        except TokenError:
            if not self.revocation_url:
                raise
        if not self.revocation_url:
            return NO_ENDPOINT
        form = {"token": token, "token_type_hint": kind}
        answer = await self._token_endpoint.request("revocation", self.revocation_url, form, expect_json=False)
        return outcome_of(answer, public=self._client_auth_method("revocation") == authentication.NONE)

    @on_loop
    async def grant_client_credentials(self, scope: str) -> OAuthTokenSet:
        """Request a token for the client itself (RFC 6749 §4.4). Call :meth:`prepare` first.

        Args:
            scope: The scopes to request, separated by spaces; empty for the client's own.

        Raises:
            TokenError: The request failed.
        """
        wanted = {"scope": scope, "audience": self.authorize_params.get("audience", "")}
        form = {name: value for name, value in wanted.items() if isinstance(value, str) and value}
        return await self._grant({"grant_type": "client_credentials", **form}, requested_scope=scope)

    @on_loop
    async def exchange_token(self, form: Parameters, scope: str) -> OAuthTokenSet:
        """Request a token in exchange for another (RFC 8693 §2, RFC 7523 §2.1). Call :meth:`prepare` first.

        Args:
            form: The request.
            scope: The scopes that it asks for, separated by spaces.

        Raises:
            TokenError: The request failed.
        """
        return await self._grant(form, requested_scope=scope)

    async def _grant(self, form: Parameters, *, requested_scope: str) -> OAuthTokenSet:
        """Send a token request, and return the tokens of the response."""
        return await self._token_endpoint.grant(form, requested_scope=requested_scope)

    def explain(self, body: dict[str, Any]) -> TokenError | None:  # noqa: ARG002 - for providers that say more
        """Return a more specific error for a refusal of the token endpoint, or None."""
        return None

    async def _get(self, url: str, access_token: str, *, jwt_answer: bool = False) -> Answer:
        """GET a resource of the token's owner (RFC 6750 §2.1)."""
        headers = {**self.api_headers, "Authorization": f"Bearer {access_token}"}
        return await self._http.request("GET", url, headers=headers, jwt_answer=jwt_answer)

    def _client_auth_method(self, endpoint: str) -> str:
        """Return how the client authenticates at an endpoint; see :meth:`TokenEndpoint.auth_method`."""
        return self._token_endpoint.auth_method(endpoint)

    def _listed_methods(self, endpoint: str) -> Any:  # noqa: ARG002 - for providers with metadata
        """Return the authentication methods that the metadata list for an endpoint."""
        return None
