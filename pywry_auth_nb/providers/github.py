"""`GitHubProvider`: OAuth apps and GitHub Apps, with their deviations from RFC 6749."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from .._io.loop import on_loop
from ..errors import TokenError
from ..tokens import secret_or_empty
from .base import OAuthProvider
from .client_auth import basic
from .device import device_form
from .refusals import as_refresh_error
from .revocation import NO_ENDPOINT, PUBLIC_CLIENT, REFUSED, REVOKED, outcome_of
from .token_endpoint import code_form, refresh_form

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from typing_extensions import Unpack

    from .._wire.error_codes import ErrorCode
    from ..tokens import OAuthTokenSet
    from .parameters import Parameters, ProviderOptions
    from .scopes import Scopes

log = logging.getLogger("pywry_auth_nb")

_NO_CONTENT = 204
_MANAGED = ("org", "public_key", "repo_hook", "gpg_key", "ssh_signing_key")
#: Scopes that contain others: GitHub's answer names only the wider one.
_CONTAINS: Mapping[str, Collection[str]] = {
    "repo": ("repo:status", "repo_deployment", "public_repo", "repo:invite", "security_events"),
    "user": ("read:user", "user:email", "user:follow"),
    "project": ("read:project",),
    "write:discussion": ("read:discussion",),
    "write:packages": ("read:packages",),
    **{f"admin:{of}": (f"write:{of}", f"read:{of}") for of in _MANAGED},
    **{f"write:{of}": (f"read:{of}",) for of in _MANAGED},
}


class GitHubProvider(OAuthProvider):
    """GitHub.

    Args:
        client_id: Client identifier of the OAuth app or GitHub App.
        client_secret: The app's secret, which GitHub requires from every app that signs users in with a browser.
        scopes: Scopes to request; ``read:user user:email`` when left out. A GitHub App ignores them: it has permissions
            instead.
        options: ``authorize_params``, ``login_hint``, ``label`` and others, as for :class:`OAuthProvider`. GitHub calls
            the user who is expected ``login``: ``authorize_params={"login": "octocat"}``.

    Tokens of OAuth apps do not expire. Those of GitHub Apps do, unless the app has opted out, and are renewed. For
    GitHub Enterprise Server, define a subclass with its ``web_url`` and ``api_url``.
    """

    #: Where users sign in.
    web_url: ClassVar[str] = "https://github.com"
    #: Where the REST API is; ``https://HOST/api/v3`` on GitHub Enterprise Server.
    api_url: ClassVar[str] = "https://api.github.com"

    form_answers = True
    api_headers: ClassVar[Mapping[str, str]] = {
        "Accept": "application/vnd.github+json",
        "X-GitHub-Api-Version": "2022-11-28",
    }
    error_names: ClassVar[Mapping[str, ErrorCode]] = {
        "bad_verification_code": "invalid_grant",
        "bad_refresh_token": "invalid_grant",
        "incorrect_client_credentials": "invalid_client",
        "Not Found": "invalid_client",  # the answer to an unknown client ID
        "redirect_uri_mismatch": "invalid_request",
        "application_suspended": "unauthorized_client",
        "incorrect_device_code": "invalid_grant",
    }

    def __init__(
        self,
        client_id: str,
        client_secret: str = "",
        scopes: Scopes | None = None,
        **options: Unpack[ProviderOptions],
    ) -> None:
        client_secret = secret_or_empty(client_secret)
        options.setdefault("device_authorization_url", f"{self.web_url}/login/device/code")
        super().__init__(
            client_id,
            client_secret,
            ["read:user", "user:email"] if scopes is None else scopes,
            f"{self.web_url}/login/oauth/authorize",
            f"{self.web_url}/login/oauth/access_token",
            f"{self.api_url}/user",
            f"{self.api_url}/applications/{quote(client_id, safe='')}/token",
            **options,
        )

    def check_issuer(self, iss: str | None) -> None:
        """Check the ``iss`` of an authorization response (RFC 9207 §2.4), which GitHub sends without promising it.

        Raises:
            TokenError: Code ``issuer_mismatch``.
        """
        if iss is not None and iss not in {self.web_url, f"{self.web_url}/login/oauth"}:
            raise TokenError(code="issuer_mismatch")

    def covers(self, granted: Collection[str], scope: str) -> bool:
        """Whether ``scope`` is granted, or part of a wider one that is."""
        return scope in granted or any(scope in _CONTAINS.get(wider, ()) for wider in granted)

    @on_loop
    async def exchange_code(
        self,
        code: str,
        redirect_uri: str,
        pkce_verifier: str | None = None,
        nonce: str | None = None,  # noqa: ARG002 - GitHub has no ID tokens
    ) -> OAuthTokenSet:
        """Exchange an authorization code for an access token.

        Args:
            code: The authorization code.
            redirect_uri: The redirect URI to which the code was sent.
            pkce_verifier: The code verifier; GitHub requires it if a challenge was sent.
            nonce: Not used: there is no ID token to repeat it.

        Raises:
            TokenError: The exchange failed; GitHub answers 200 even then.
        """
        # GitHub always returns the granted scopes; "" means none
        return await self._grant(code_form(code, redirect_uri, pkce_verifier), requested_scope="")

    @on_loop
    async def refresh_tokens(self, refresh_token: str) -> OAuthTokenSet:
        """Get new tokens for the refresh token of a GitHub App, which invalidates the old ones.

        Raises:
            TokenRefreshError: The refresh failed; code ``invalid_grant`` means that the user must sign in again.
        """
        try:
            return await self._grant(refresh_form(refresh_token), requested_scope="")
        except TokenError as error:
            raise as_refresh_error(error) from None

    @on_loop
    async def redeem_device_code(self, device_code: str) -> OAuthTokenSet:
        """Ask once for the token of a device code (RFC 8628 §3.4). It needs no client secret.

        Raises:
            TokenError: As for :meth:`OAuthProvider.redeem_device_code`; GitHub answers 200 even then.
        """
        return await self._grant(device_form(device_code), requested_scope="")

    async def _grant(self, form: Parameters, *, requested_scope: str) -> OAuthTokenSet:
        tokens = await super()._grant(form, requested_scope=requested_scope)
        return replace(tokens, scope=tokens.scope.replace(",", " "))

    def explain(self, body: dict[str, Any]) -> TokenError | None:
        """Return the error for refusals that RFC 6749 does not name, or names misleadingly."""
        error = body.get("error")
        if error == "incorrect_client_credentials" and not self.client_secret:
            return TokenError(
                "GitHub requires a client secret. Generate one on the app's page in GitHub's developer settings and "
                "pass it as client_secret.",
                code="client_secret_missing",
            )
        if error == "device_flow_disabled":
            return TokenError(
                "The app does not allow this. Check 'Enable Device Flow' on its page in GitHub's developer settings.",
                code="unauthorized_client",
            )
        if error == "redirect_uri_mismatch":
            return TokenError(
                "The redirect URI is not the app's callback URL. Register it on the app's page in GitHub's developer "
                "settings.",
                code="invalid_request",
            )
        if error == "unverified_user_email":
            return TokenError(
                "GitHub signs in users with a verified e-mail address only. Verify it in GitHub's settings, then sign "
                "in again.",
                code="unverified_email",
            )
        return None

    @on_loop
    async def get_userinfo(self, access_token: str) -> dict[str, Any]:
        """Return the user's profile, with the primary e-mail address even if it is private, if the token may read it.

        Raises:
            TokenError: The request failed, or GitHub refused the token.
        """
        profile = await super().get_userinfo(access_token)
        email = None if profile.get("email") else await self._primary_email(access_token)
        return {**profile, "email": email} if email else profile

    async def _primary_email(self, access_token: str) -> str | None:
        """Return the primary, verified address; None if there is none, or the request fails."""
        with contextlib.suppress(TokenError):  # optional: the profile identifies the user
            answer = await self._get(f"{self.api_url}/user/emails", access_token)
            if answer.ok and isinstance(answer.body, list):
                return next((entry["email"] for entry in answer.body if _is_primary(entry)), None)
        return None

    async def _revoke(self, token: str, kind: str) -> str:
        """Revoke an access token. GitHub allows that only for apps with a secret, and not for refresh tokens."""
        if kind == "refresh_token":
            return NO_ENDPOINT
        if not self.client_secret:
            log.warning("%s: a token can be revoked only with client_secret", self.label)
            return PUBLIC_CLIENT
        headers = {**self.api_headers, "Authorization": basic(self.client_id, self.client_secret)}
        answer = await self._http.request(
            "DELETE", self.revocation_url, json={"access_token": str(token)}, headers=headers, expect_json=False
        )
        outcome = outcome_of(answer, public=False)
        return REFUSED if outcome == REVOKED and answer.status != _NO_CONTENT else outcome


def _is_primary(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and entry.get("primary") is True
        and entry.get("verified") is True
        and isinstance(entry.get("email"), str)
    )
