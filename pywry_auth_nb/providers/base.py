"""`OAuthProvider`: the endpoints of an OAuth 2.0 provider, and the requests to them (RFC 6749)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from base64 import b64encode
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qsl, quote_plus, urlencode, urlsplit, urlunsplit

from .._io.cells import warn_if_in_a_cell
from .._io.http import Answer, HttpClient, check_url
from .._io.loop import on_loop
from .._wire.error_codes import is_known
from ..errors import TokenError, TokenRefreshError
from ..tokens import Secret, parse_token_response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._wire.error_codes import ErrorCode
    from ..pkce import PKCEChallenge
    from ..tokens import OAuthTokenSet

log = logging.getLogger("pywry_auth_nb")

#: Parameters that callers may not override: these tie the answer to the request (RFC 9700 §2.1.1).
_PROTECTED = frozenset(
    {"response_type", "response_mode", "client_id", "redirect_uri", "state", "nonce", "code_challenge"}
    | {"code_challenge_method", "request", "request_uri", "client_secret"}
)

#: OAuth errors (RFC 6749 §5.2) of the client's registration, which neither a retry nor a new sign-in can fix.
_MISCONFIGURED: frozenset[ErrorCode] = frozenset(
    {"invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope", "invalid_request"}
)
#: Error codes of this package for the same.
_OWN_CODES: frozenset[ErrorCode] = frozenset({
    "client_auth_unsupported", "client_secret_missing", "client_secret_unwanted", "redirect_uri_mismatch",
    "registered_as_spa", "tenant_mismatch",
})  # fmt: skip
#: Codes after which a retry cannot help until the registration, or the settings here, have been changed.
REGISTRATION_ERRORS = _MISCONFIGURED | _OWN_CODES
REVOKED = "revoked"
_REVOKE_DEADLINE = 5.0  # seconds


class OAuthProvider(ABC):
    """An OAuth 2.0 provider, and a client registered there.

    Args:
        client_id: Client identifier registered with the provider.
        client_secret: The client's secret; empty for a public client. Read it from the environment or a file, since
            cells are saved in the notebook.
        scopes: Scopes to request.
        authorize_url: Authorization endpoint (RFC 6749 §3.1).
        token_url: Token endpoint (§3.2).
        userinfo_url: UserInfo endpoint, if there is one (OIDC Core §5.3).
        revocation_url: Revocation endpoint, if there is one (RFC 7009).

    Every async method may be awaited from any event loop.
    """

    #: Additional parameters of every authorize URL.
    authorize_params: ClassVar[Mapping[str, str]] = {}
    #: Error names specific to this provider, and their equivalents in RFC 6749.
    error_names: ClassVar[Mapping[str, ErrorCode]] = {}
    #: Whether the token endpoint may answer with a form instead of JSON.
    form_answers: ClassVar[bool] = False
    #: Whether the user must sign in; otherwise tokens come from :meth:`acquire_token_silent`.
    interactive: ClassVar[bool] = True
    #: Whether a token can be renewed only after its expiry.
    refresh_only_after_expiry: ClassVar[bool] = False
    #: Whether revoking one token revokes all others of the same user and client.
    revokes_consent: ClassVar[bool] = False
    #: Additional headers of API requests.
    api_headers: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self,
        client_id: str,
        client_secret: str = "",
        scopes: list[str] | None = None,
        authorize_url: str = "",
        token_url: str = "",
        userinfo_url: str = "",
        revocation_url: str = "",
    ) -> None:
        self.client_id = client_id
        client_secret = Secret(client_secret)  # first: a traceback through this frame must not show it
        warn_if_in_a_cell(client_secret)
        self.client_secret = client_secret
        self.scopes = list(scopes or [])
        self.authorize_url = authorize_url
        self.token_url = token_url
        self.userinfo_url = userinfo_url
        self.revocation_url = revocation_url
        self._http = HttpClient()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.label or 'without address'}, client {self.client_id!r}>"

    @property
    def label(self) -> str:
        """The host at which the user signs in, for display."""
        return urlsplit(self.authorize_url).hostname or ""

    @property
    def identity(self) -> str:
        """Identifies provider and client, so that tokens of one are never used for another."""
        return f"{self.token_url} {self.client_id}"

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
        extra = {**self.authorize_params, **(extra_params or {})}
        forbidden = sorted(_PROTECTED.intersection(extra) - {"nonce"})
        if forbidden:
            raise ValueError(f"extra_params must not set {', '.join(forbidden)}")
        check_url(self.authorize_url)
        ours = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": redirect_uri,
            "state": state,
            **({"scope": " ".join(self.scopes)} if self.scopes else {}),
            **({"code_challenge": pkce.challenge, "code_challenge_method": pkce.method} if pkce else {}),
        }
        parts = urlsplit(self.authorize_url)
        taken = _PROTECTED | ours.keys() | extra.keys()
        kept = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in taken]
        return urlunsplit(parts._replace(query=urlencode([*kept, *(ours | extra).items()])))

    def check_issuer(self, iss: str | None) -> None:
        """Check the ``iss`` of an authorization response (RFC 9207 §2.4). Plain OAuth has no issuer to compare.

        Raises:
            TokenError: Code ``issuer_mismatch`` or ``issuer_missing``.
        """

    @abstractmethod
    async def exchange_code(
        self, code: str, redirect_uri: str, pkce_verifier: str | None = None, nonce: str | None = None
    ) -> OAuthTokenSet:
        """Exchange an authorization code for tokens (RFC 6749 §4.1.3).

        Raises:
            TokenError: The exchange failed, or its response was refused.
        """

    @abstractmethod
    async def refresh_tokens(self, refresh_token: str) -> OAuthTokenSet:
        """Get new tokens for a refresh token (RFC 6749 §6).

        Raises:
            TokenRefreshError: The refresh failed; code ``invalid_grant`` if the refresh token is no longer valid.
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

    def check_continuity(self, old: OAuthTokenSet, new: OAuthTokenSet) -> None:
        """Check that refreshed tokens continue the same sign-in. Plain OAuth has nothing to compare.

        Raises:
            TokenRefreshError: Code ``identity_changed``.
        """

    @on_loop
    async def get_userinfo(self, access_token: str) -> dict[str, Any]:
        """Return the profile of the token's owner; ``{}`` without a UserInfo endpoint.

        Raises:
            TokenError: The request failed, or the token was refused.
        """
        await self.prepare()
        if not self.userinfo_url:
            return {}
        answer = await self._get(self.userinfo_url, access_token)
        if not answer.ok or not isinstance(answer.body, dict):
            raise TokenError(code="userinfo_failed", status=answer.status, retry_after=answer.retry_after)
        return answer.body

    @on_loop
    async def revoke_token(self, token: str, token_type_hint: str = "access_token") -> bool:  # noqa: S107 - a kind, no token
        """Revoke a token at the provider (RFC 7009 §2.1).

        Args:
            token: The token to revoke.
            token_type_hint: ``"access_token"`` or ``"refresh_token"``.

        Returns:
            Whether the provider confirmed it; False if it has no revocation endpoint.
        """
        try:
            await self.prepare()
        except TokenError:
            if not self.revocation_url:
                raise
        if not self.revocation_url:
            return False
        form = {"token": token, "token_type_hint": token_type_hint}
        method = self._client_auth_method("revocation")
        answer = await self._post(self.revocation_url, form, method, expect_json=False)  # §2.2: the body is ignored
        return answer.ok

    @on_loop
    async def revoke_tokens(self, tokens: OAuthTokenSet) -> dict[str, str]:
        """Revoke the refresh token, then the access token (RFC 7009 §2.1), within 5 s.

        Returns:
            What became of each, by its kind: ``"revoked"``, ``"not_revoked"`` (refused, or not offered), or an error
            code.
        """
        outcome = {kind: "timeout" for kind in ("refresh_token", "access_token") if getattr(tokens, kind)}
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._revoke_all(tokens, outcome), _REVOKE_DEADLINE)
        for kind, became in outcome.items():
            if became != REVOKED:
                log.warning("%s: %s not revoked (%s)", self.label, kind, became)
        return outcome

    async def _revoke_all(self, tokens: OAuthTokenSet, outcome: dict[str, str]) -> None:
        """Revoke the tokens whose kinds are in ``outcome``, and record the results there."""
        for kind in outcome:
            outcome[kind] = await self._revoke_one(getattr(tokens, kind), kind)

    async def _revoke_one(self, token: str, kind: str) -> str:
        try:
            return REVOKED if await self.revoke_token(token, kind) else "not_revoked"
        except TokenError as error:
            return error.code

    async def _grant(self, form: dict[str, str], *, requested_scope: str) -> OAuthTokenSet:
        """Send a token request, and return the tokens of the response."""
        answer = await self._post(self.token_url, form, self._client_auth_method("token"))
        body = answer.body if isinstance(answer.body, dict) else {}
        if answer.ok and body and body.get("error") is None:
            return parse_token_response(body, requested_scope=requested_scope, sent_at=answer.sent_at)
        raise self.explain(body) or _refused(answer, self.error_names.get(str(body.get("error")), body.get("error")))

    def explain(self, body: dict[str, Any]) -> TokenError | None:  # noqa: ARG002 - for providers that say more
        """Return a more specific error for a refusal of the token endpoint, or None."""
        return None

    async def _get(self, url: str, access_token: str) -> Answer:
        """GET a resource of the token's owner (RFC 6750 §2.1)."""
        headers = {**self.api_headers, "Authorization": f"Bearer {access_token}"}
        return await self._http.request("GET", url, headers=headers)

    async def _post(self, url: str, form: dict[str, str], method: str, *, expect_json: bool = True) -> Answer:
        """POST a form as this client: with its secret in the header or the body, or only its ID (RFC 6749 §2.3.1)."""
        headers = {}
        if method == "client_secret_basic":
            headers["Authorization"] = self._basic()
        else:
            form = {**form, "client_id": self.client_id}
            if method == "client_secret_post":
                form["client_secret"] = self.client_secret
        return await self._http.request(
            "POST", url, form=form, headers=headers, expect_json=expect_json, form_answer=self.form_answers
        )

    def _basic(self) -> str:
        """Return this client's credentials as a Basic header: form-encoded, then base64 (RFC 6749 §2.3.1)."""
        pair = f"{quote_plus(self.client_id)}:{quote_plus(self.client_secret)}".encode("ascii")
        return f"Basic {b64encode(pair).decode('ascii')}"

    def _client_auth_method(self, endpoint: str) -> str:  # noqa: ARG002 - for providers with metadata
        """Return how to authenticate the client at the ``"token"`` or the ``"revocation"`` endpoint (OIDC Core §9)."""
        return "client_secret_post" if self.client_secret else "none"


def _refused(answer: Answer, error: Any) -> TokenError:
    """Return the error for a refusal of the token endpoint (RFC 6749 §5.2), without text from the provider."""
    if is_known(error) and (error == "invalid_grant" or error in _MISCONFIGURED):
        return TokenError(code=error)
    return TokenError(code="provider_unavailable", status=answer.status, retry_after=answer.retry_after)


def as_refresh_error(error: TokenError) -> TokenRefreshError:
    """Return ``error`` as the failure of a refresh, with the same code."""
    if isinstance(error, TokenRefreshError):
        return error
    return TokenRefreshError(error.message, code=error.code, retry_after=error.retry_after, **error.context)
