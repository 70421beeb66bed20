"""Tokens for another audience, in exchange for those of a session.

The default is token exchange (RFC 8693, with the resources of RFC 8707). Two dialects have the same purpose:
Microsoft's on-behalf-of flow, and the JWT bearer grant (RFC 7523 §2.1).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from .._io.loop import on_loop
from ..errors import ConfigurationError, TokenError, TokenExchangeError
from ..tokens import OAuthTokenSet, Secret
from .refusals import REGISTRATION_ERRORS, as_refresh_error
from .revocation import KEPT
from .scopes import read
from .token_source import ProviderTokenSource

if TYPE_CHECKING:
    from .base import OAuthProvider
    from .parameters import Parameters, Value
    from .scopes import Scopes

Grant = Literal["token-exchange", "on-behalf-of", "jwt-bearer"]
SubjectToken = Literal["access_token", "id_token"]

_TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - a grant type
_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_TYPE = "urn:ietf:params:oauth:token-type:{}"  # RFC 8693 §3
_ASK_AGAIN = Secret("exchange another one")  # stands for a refresh token
_NONE_YET = "none-yet"  # stands for the access token before the first exchange
_UNKNOWN_LIFETIME = 300.0  # seconds after which a token without an expiry is exchanged anew
_NO_ID_TOKEN = "An exchanged token comes without an ID token. Use that of the session that it comes from."  # noqa: S105
#: Refusals that the provider may also mean otherwise than their names say: the token, or the user, does not qualify.
_OF_THE_TOKEN = frozenset({"invalid_grant", "invalid_request", "token_refused", "access_denied"})


class State(Protocol):
    """What a sign-in is at one moment."""

    @property
    def tokens(self) -> OAuthTokenSet | None:
        """Its tokens; None when signed out."""

    @property
    def user(self) -> dict[str, Any] | None:
        """Claims about its user."""


class Subject(Protocol):
    """The session whose tokens are exchanged."""

    @property
    def state(self) -> State:
        """The state of now."""

    async def load(self) -> None:
        """Read the store, unless it has been read before."""

    async def get_access_token(self) -> str:
        """Return a valid access token."""

    async def get_id_token(self) -> str:
        """Return a valid ID token."""


class Target:
    """What a token is exchanged for, and how.

    Args:
        audience: The API's name at the provider.
        resource: Its address, or several (RFC 8707 §2).
        scopes: Scopes to request.
        grant: The dialect.
        subject_token: Which token is exchanged.

    Raises:
        ConfigurationError: There is neither an audience nor a resource, or an argument is not what it must be.
    """

    def __init__(
        self, audience: str, *, resource: Value, scopes: Scopes | None, grant: Grant, subject_token: SubjectToken
    ) -> None:
        self.audience = audience
        self.resource = [each for each in ([resource] if isinstance(resource, str) else resource) if each]
        self.scopes = read([] if scopes is None else scopes)
        self.grant = grant
        self.subject_token = subject_token
        _check_choice("grant", grant, get_args(Grant))
        _check_choice("subject_token", subject_token, get_args(SubjectToken))
        other = self.scopes if grant == "on-behalf-of" else self.resource
        if not isinstance(audience, str) or not (audience or other):
            otherwise = "scopes" if grant == "on-behalf-of" else "its address as resource"
            raise ConfigurationError(f"Say which API the token is for: its audience as text, or {otherwise}.")

    @property
    def name(self) -> str:
        """The API, for messages."""
        return self.audience or " ".join(self.resource or self.scopes)

    @property
    def scope(self) -> str:
        """The scopes to request; of Microsoft all that the application is registered for at the API."""
        default = f"{self.audience}/.default" if self.grant == "on-behalf-of" else ""
        return " ".join(self.scopes) or default

    def identity(self, provider: OAuthProvider) -> str:
        """Identify the target at ``provider`` among all of one session."""
        wanted = [self.audience, sorted(self.resource), sorted(self.scopes)]
        return json.dumps([provider.identity, self.grant, self.subject_token, *wanted])

    def digest(self, provider: OAuthProvider) -> str:
        """Return a short name for the same."""
        return hashlib.sha256(self.identity(provider).encode()).hexdigest()[:32]

    def form(self, token: str) -> Parameters:
        """Return the request that exchanges ``token``. Empty values take those of the provider's own requests away."""
        purpose = {"audience": self.audience, "resource": self.resource, "scope": self.scope}
        if self.grant == "token-exchange":  # RFC 8693 §2.1
            return {
                "grant_type": _TOKEN_EXCHANGE,
                "subject_token": token,
                "subject_token_type": _TYPE.format(self.subject_token),
                "requested_token_type": _TYPE.format("access_token"),
                **purpose,
            }
        if self.grant == "jwt-bearer":  # RFC 7523 §2.1
            return {"grant_type": _JWT_BEARER, "assertion": token, **purpose}
        obo = {"requested_token_use": "on_behalf_of", "audience": "", "resource": ""}
        return {"grant_type": _JWT_BEARER, "assertion": token, "scope": self.scope, **obo}


class ExchangedTokenSource(ProviderTokenSource):
    """Exchanges the tokens of a session for tokens for another audience; ``session.for_audience`` makes it.

    Args:
        subject: The session.
        provider: The provider that exchanges, with the client that asks.
        target: What for.
        store_key: What the tokens are called in the store.
    """

    refusal = "token_exchanged"

    def __init__(self, subject: Subject, provider: OAuthProvider, target: Target, store_key: str = "") -> None:
        super().__init__(provider, target.scopes)
        self.store_key = store_key
        self._subject = subject
        self._target = target

    @property
    def identity(self) -> str:
        """Identifies the provider, the client and the target."""
        return self._target.identity(self._provider)

    async def settle(self) -> None:
        """Load the session whose tokens are exchanged: it says whose tokens these are."""
        await self._subject.load()

    @on_loop
    async def warm_up(self) -> None:
        """Have the token that is exchanged renewed first, if it must be: no other kernel waits for that.

        Raises:
            TokenError: Discovery failed, or there is no such token now.
            LoginRequired: The user has signed out.
        """
        await self._provider.prepare()
        await self._subject_token()

    async def _subject_token(self) -> str:
        subject = self._subject
        by_id = self._target.subject_token == "id_token"  # noqa: S105 - a kind
        return await (subject.get_id_token() if by_id else subject.get_access_token())

    @on_loop
    async def acquire_token_silent(self) -> tuple[OAuthTokenSet, dict[str, Any]]:
        """Return an access token that has expired already: the refresh that follows exchanges one, in one kernel.

        Raises:
            LoginRequired: The session whose tokens are exchanged is signed out.
            TokenError: It has no token now.
        """
        if self._subject.state.tokens is None:
            await self._subject.get_access_token()  # raises, and says why
        return not_yet_exchanged(), self._subject.state.user or {}

    @on_loop
    async def refresh_tokens(self, refresh_token: str) -> OAuthTokenSet:  # noqa: ARG002 - the session has tokens
        """Exchange a token. The argument is not used.

        Raises:
            TokenExchangeError: The provider refused.
            TokenRefreshError: It did not answer.
            LoginRequired: The user has signed out.
            TokenError: There is no token to exchange now.
        """
        token = Secret(await self._subject_token())
        try:
            tokens = await self._provider.exchange_token(self._target.form(token), self._target.scope)
        except TokenError as error:
            failure = self._failure(error)
        else:
            lifetime = _UNKNOWN_LIFETIME if tokens.expires_in is None else tokens.expires_in
            return replace(tokens, refresh_token=_ASK_AGAIN, id_token=None, expires_in=lifetime)
        raise failure

    def _failure(self, error: TokenError) -> TokenError:
        """Return a refusal as one of the exchange, which is none of the sign-in; else the error of a refresh."""
        if error.code in _OF_THE_TOKEN:
            words = ": ".join(filter(None, ["" if error.code == "token_refused" else error.code, error.description]))
            return TokenExchangeError(audience=self._target.name, description=words, retry_after=error.retry_after)
        if error.code not in REGISTRATION_ERRORS:
            return as_refresh_error(error)
        return TokenExchangeError(
            error.message, code=error.code, description=error.description, retry_after=error.retry_after
        )

    def no_id_token(self) -> TokenError:
        """Return the error that says why there is no ID token."""
        return TokenError(_NO_ID_TOKEN, code="id_token_missing")

    @on_loop
    async def get_userinfo(self, access_token: str) -> dict[str, Any]:  # noqa: ARG002 - it is for another API
        """Return nothing: the token is not for the provider."""
        return {}

    @on_loop
    async def revoke_tokens(self, tokens: OAuthTokenSet) -> dict[str, str]:  # noqa: ARG002 - as said
        """Revoke nothing: exchanged tokens are revoked when the session that they come from is signed out."""
        return {"access_token": KEPT}

    async def discard_tokens(self, tokens: OAuthTokenSet) -> None:
        """Revoke tokens that came too late, if the session that they come from is signed out."""
        if self._subject.state.tokens is None:
            await end_tokens(tokens, self._provider)


def not_yet_exchanged() -> OAuthTokenSet:
    """Return tokens that have expired already. They are the same in every kernel."""
    return OAuthTokenSet(_NONE_YET, refresh_token=_ASK_AGAIN, expires_in=0.0, issued_at=0.0)


async def end_tokens(tokens: OAuthTokenSet, provider: OAuthProvider) -> None:
    """Revoke exchanged tokens at their provider, since the sign-in that they come from has ended."""
    if tokens.access_token != _NONE_YET:
        await provider.discard_tokens(replace(tokens, refresh_token=None))


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigurationError(f"{name} must be {', '.join(map(repr, choices[:-1]))} or {choices[-1]!r}.")
