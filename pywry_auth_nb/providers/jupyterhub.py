"""`HubTokenSource`: the token that a JupyterHub obtained when it signed its user in, and renews.

The hub must sign users in at a provider and keep their tokens (``c.Authenticator.enable_auth_state``), and must allow
a user's server to read them (scope ``admin:auth_state!user``).
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import time
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote, urlsplit

from .._io.http import HttpClient
from .._io.loop import backoff, on_loop
from ..errors import ConfigurationError, TokenError, TokenRefreshError
from ..tokens import END_OF_TIME, OAuthTokenSet, Secret, as_seconds, jwt_claim
from .refusals import as_refresh_error
from .revocation import NO_ENDPOINT
from .token_source import TokenSource

if TYPE_CHECKING:
    from .._io.answers import Answer

SCOPE = "admin:auth_state!user"

_UNKNOWN_LIFETIME = 300.0  # seconds after which the hub is asked again for a token without a known expiry
_PATIENCE = 20.0  # seconds to wait for the hub to renew an expired token; a reader waits 30
_PAUSES = (0.5, 3.0)  # seconds between two polls: first, and at most
_DELAY = 1.0  # seconds after the expiry: the hub renews a token only once its provider refuses it
_MIN_LIFETIME = 2.0  # seconds that a token must still be valid to be returned
_HELD_BY_HUB = Secret("the hub has it")  # stands for the refresh token, which never leaves the hub
_FORBIDDEN, _NOT_FOUND = 403, 404
_TOKEN = re.compile("[\x21-\x7e]+")
_SUBJECT = "hub_subject"
_IDENTIFIERS = ("sub", "id", "login", "email", "preferred_username")


class HubTokenSource(TokenSource):
    """Uses the token that the hub obtained when its user signed in there, without any interaction.

    Use it like a provider: ``SessionManager(HubTokenSource())``. The hub renews the token, and keeps the refresh token
    to itself. It checks at most every ``c.Authenticator.auth_refresh_age`` seconds, and renews an expired token.

    Args:
        api_url: The hub's API; ``JUPYTERHUB_API_URL`` when left out. Any other must be https.
        api_token: This server's token for the API; ``JUPYTERHUB_API_TOKEN`` when left out.
        user: The hub user whose token to read; ``JUPYTERHUB_USER`` when left out.
        label: Name of the hub for display; "JupyterHub" when left out.

    Raises:
        ConfigurationError: Code ``no_hub``: this is not a hub user's server.
    """

    refresh_only_after_expiry = True
    refusal = "hub_signs_in"

    def __init__(self, api_url: str = "", api_token: str = "", user: str = "", *, label: str = "") -> None:
        api_token = Secret(api_token or os.environ.get("JUPYTERHUB_API_TOKEN", ""))
        super().__init__("jupyterhub", label=label or "JupyterHub")
        self._url = (api_url or os.environ.get("JUPYTERHUB_API_URL", "")).rstrip("/")
        self._token = api_token
        self._user = user or os.environ.get("JUPYTERHUB_USER", "")
        if not (self._url and self._token and self._user):
            raise ConfigurationError(code="no_hub")
        # a hub's internal network is often plain http, which is allowed if the address comes from the hub
        own = self._url == os.environ.get("JUPYTERHUB_API_URL", "").rstrip("/")
        self._http = HttpClient(hub_origin=_origin_of(self._url) if own else "")
        self._expiry = math.inf  # of the token that was returned last, in epoch seconds
        self._patience = _PATIENCE

    @property
    def identity(self) -> str:
        """Identifies hub and user, so that tokens of one are never used for another."""
        return json.dumps([self._url, self._user, "jupyterhub"])

    # -- the hub's API ------------------------------------------------------------------------------------------------

    @on_loop
    async def acquire_token_silent(self) -> tuple[OAuthTokenSet, dict[str, Any]]:
        """Return the hub's token and claims about its owner; wait up to 20 s if the hub must renew the token first.

        Raises:
            TokenError: Code ``hub_scope_missing``, ``hub_auth_state_missing``, ``hub_token_expired`` or
                ``hub_refused``, or one of the HTTP client's.
        """
        until, pauses = time.monotonic() + self._patience, backoff(*_PAUSES)
        while True:
            state, ahead = await self._auth_state()
            expiry = _expiry_in(state)
            expiry = None if expiry is None else expiry + ahead
            if expiry is None or expiry - time.time() >= _MIN_LIFETIME:
                self._expiry, self._patience = math.inf if expiry is None else expiry, _PATIENCE
                claims = _claims_in(state, self._user)
                return _tokens_in(state, expiry, claims), claims
            if time.monotonic() >= until:
                self._patience = 0.0  # the hub no longer renews: from now on, do not wait
                raise TokenError(code="hub_token_expired")
            await asyncio.sleep(next(pauses))

    async def _auth_state(self) -> tuple[dict[str, Any], float]:
        """Return the user's auth state at the hub, and by how many seconds our clock is ahead of the hub's."""
        answer = await self._ask(f"users/{quote(self._user, safe='@~')}")
        model = answer.body if isinstance(answer.body, dict) else {}
        if answer.status in {_FORBIDDEN, _NOT_FOUND} or (answer.ok and "auth_state" not in model):
            await self._refuse_scope()
        if not answer.ok:
            raise TokenError(code="hub_refused", status=answer.status, retry_after=answer.retry_after)
        state = model["auth_state"]
        if not isinstance(state, dict) or not _is_token(state.get("access_token")):
            raise TokenError(code="hub_auth_state_missing")
        return state, answer.ahead

    async def _refuse_scope(self) -> NoReturn:
        """Raise, naming the scope that this server's token lacks."""
        answer = await self._ask("user")  # which every token may read
        scopes = answer.body.get("scopes") if answer.ok and isinstance(answer.body, dict) else None
        if answer.ok and not isinstance(scopes, list):
            raise TokenError(
                "The server at the address of the hub's API is not a JupyterHub 2 or newer. Check api_url, or "
                "JUPYTERHUB_API_URL.",
                code="hub_refused",
            )
        if not isinstance(scopes, list):
            raise TokenError(
                f"The hub no longer knows this server (HTTP {answer.status}). Restart the server.",
                code="hub_refused",
            )
        may = any(str(scope).startswith("admin:auth_state") for scope in scopes)
        raise TokenError(code="hub_scope_missing", scope="read:users:name!user" if may else SCOPE)

    async def _ask(self, path: str) -> Answer:
        headers = {"Authorization": f"token {self._token}"}
        return await self._http.request("GET", f"{self._url}/{path}", headers=headers, expect_json=False)

    # -- as a provider ------------------------------------------------------------------------------------------------

    @on_loop
    async def refresh_tokens(self, refresh_token: str) -> OAuthTokenSet:  # noqa: ARG002 - the hub has its own
        """Return the hub's token once the hub has renewed it. The argument is not used.

        Raises:
            TokenRefreshError: As :meth:`acquire_token_silent`.
        """
        delay = self._expiry + _DELAY - time.time()
        if 0 < delay <= 2 * _DELAY:
            await asyncio.sleep(delay)
        try:
            return (await self.acquire_token_silent())[0]
        except TokenError as error:
            raise as_refresh_error(error) from None

    @on_loop
    async def get_userinfo(self, access_token: str) -> dict[str, Any]:  # noqa: ARG002 - the hub knows
        """Return the user's profile at the hub.

        Raises:
            TokenError: As :meth:`acquire_token_silent`.
        """
        return _claims_in((await self._auth_state())[0], self._user)

    def check_continuity(self, old: OAuthTokenSet, new: OAuthTokenSet) -> None:
        """Check that the hub still has the tokens of the same person.

        Raises:
            TokenRefreshError: Code ``identity_changed``.
        """
        if old.raw.get(_SUBJECT) != new.raw.get(_SUBJECT):
            raise TokenRefreshError(
                "Another person has signed in to the hub as this user. Sign in again: session.login().",
                code="identity_changed",
            )

    @on_loop
    async def revoke_tokens(self, tokens: OAuthTokenSet) -> dict[str, str]:  # noqa: ARG002 - the hub's
        """Revoke nothing: the hub and every other kernel use the same token."""
        return {"access_token": NO_ENDPOINT}


def _origin_of(url: str) -> str:
    try:
        return "{0.scheme}://{0.netloc}/".format(urlsplit(url))
    except ValueError:
        raise ConfigurationError(
            "The address of the hub's API is not a URL. Check api_url, or JUPYTERHUB_API_URL."
        ) from None


# -- reading auth state -----------------------------------------------------------------------------------------------


def _is_token(value: Any) -> bool:
    """Whether ``value`` can be sent as a token (RFC 6750 §2.1)."""
    return isinstance(value, str) and _TOKEN.fullmatch(value) is not None


def _tokens_in(state: dict[str, Any], expiry: float | None, claims: dict[str, Any]) -> OAuthTokenSet:
    """Return the tokens in a hub's auth state, whose form depends on the authenticator."""
    scope, now = state.get("scope") or _response_in(state).get("scope") or "", time.time()
    return OAuthTokenSet(
        state["access_token"],
        refresh_token=_HELD_BY_HUB,
        expires_in=_UNKNOWN_LIFETIME if expiry is None else expiry - now,
        scope=" ".join(map(str, scope)) if isinstance(scope, list) else str(scope),
        raw={_SUBJECT: next((str(claims[name]) for name in _IDENTIFIERS if claims.get(name)), "")},
        issued_at=now,
    )


def _response_in(state: dict[str, Any]) -> dict[str, Any]:
    """Return the token response that the hub received."""
    response = state.get("token_response")
    return response if isinstance(response, dict) else {}


def _expiry_in(state: dict[str, Any]) -> float | None:
    """Return the expiry of the access token in epoch seconds, or None if it is unknown.

    A lifetime counts only with the ID token of the same response, which says when it began.
    """
    response = _response_in(state)
    for known in (state.get("expires_at"), response.get("expires_at")):
        expiry = as_seconds(known)
        if expiry is not None and expiry < END_OF_TIME:
            return expiry
    hint = jwt_claim(state["access_token"], "exp")
    issued, lifetime = jwt_claim(response.get("id_token"), "iat"), as_seconds(response.get("expires_in"))
    if hint is not None or issued is None or lifetime is None or lifetime > END_OF_TIME:
        return hint
    return issued + lifetime


def _claims_in(state: dict[str, Any], user: str) -> dict[str, Any]:
    """Return the profile in a hub's auth state: authenticators call it ``oauth_user``, ``github_user`` or ``user``."""
    profiles = (value for name, value in state.items() if name.endswith("user") and isinstance(value, dict))
    return {"preferred_username": user, **next(profiles, {})}
