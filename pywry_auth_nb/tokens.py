"""Token values: immutable, validated on arrival, and hidden in reprs."""

from __future__ import annotations

import base64
import json
import math
import re
import time
import warnings
from dataclasses import dataclass, field, replace
from typing import Any

from ._sieve import Sieve
from ._yaml import write_as_text
from .errors import TokenError

_MAX_LIFETIME = 365 * 24 * 3600.0
END_OF_TIME = 1e11  # epoch seconds; larger values may be milliseconds
_OWN_TOKENS = frozenset({"access_token", "refresh_token", "id_token"})
_TYPE_WORD = re.compile(r"\w+")
#: Types of tokens that are worthless, or must not be used, as a bearer token.
_NOT_BEARER = frozenset({"dpop", "hawk", "mac", "n_a", "pop"})


class Secret(str):
    """A string whose repr is ``'***'``: in pprint, tracebacks and containers, too.

    Everything that *uses* it gets the real value: ``str()``, f-strings, concatenation, headers, JSON, YAML.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


write_as_text(Secret)  # to a YAML library, an unknown subclass of str is not a string


def secret_or_none(text: str | None) -> Secret | None:
    """Return ``text`` as a :class:`Secret`. Call it first, so that a traceback through the caller shows no secret."""
    return None if text is None else Secret(text)


def secret_or_empty(text: str | None) -> Secret:
    """Do the same with a client secret, which is empty if there is none."""
    return Secret(text or "")


class AccessToken(Secret):
    """An access token (RFC 6749 §1.4), whose repr does not contain it.

    Calling it returns the token itself. So ``session.access_token()`` works, with a warning; and so does whatever calls
    a value if it can, such as ``re.sub``, ``DataFrame.assign`` and OpenAI's ``api_key``.
    """

    __slots__ = ()

    def __call__(self, *arguments: object) -> AccessToken:
        """Return the token, and say without arguments that it is a value."""
        if not arguments:
            warnings.warn(
                "access_token is a value: leave out the parentheses, and write session.access_token.",
                UserWarning,
                stacklevel=2,
            )
        return self

    def __repr__(self) -> str:
        return "<AccessToken ***>"


class IDToken(Secret):
    """An ID token (OIDC Core §2), whose repr does not contain it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<IDToken ***>"


def bearer(token: str) -> str:
    """Return the value of the Authorization header (RFC 6750 §2.1), whose repr is ``'***'``."""
    return Secret(f"Bearer {token}")


@dataclass(frozen=True, repr=False)
class OAuthTokenSet:
    """The tokens of a token response (RFC 6749 §5.1).

    Attributes:
        access_token: The access token, converted to :class:`AccessToken`.
        token_type: The token type; ``"Bearer"``.
        refresh_token: The refresh token, or None.
        expires_in: Lifetime in seconds counted from ``issued_at``; None if the provider does not say.
        id_token: The OpenID Connect ID token (a JWT), converted to :class:`IDToken`, or None.
        scope: The granted scopes, separated by spaces.
        raw: The other members of the response, without tokens at any depth.
        issued_at: Epoch seconds when the token request was sent, so the computed expiry is never too late.
        refresh_expires_in: Lifetime of the refresh token in seconds counted from ``issued_at``; 0 if it has no end,
            None if the provider does not say. Read from ``raw`` when left out.
        has_other_tokens: Whether the response held further tokens, as Globus has for other APIs. They are not kept.
        owner: Issuer and subject in the response's ID token, if its signature was verified; empty if they are missing
            there. Not stored.
    """

    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - a scheme's name
    refresh_token: str | None = None
    expires_in: float | None = None
    id_token: str | None = None
    scope: str = ""
    raw: dict[str, Any] = field(default_factory=dict)
    issued_at: float = field(default_factory=time.time)
    refresh_expires_in: float | None = field(default=None, compare=False)
    has_other_tokens: bool = field(default=False, compare=False)
    owner: tuple[str, str] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        assign = object.__setattr__  # the dataclass is frozen
        assign(self, "access_token", AccessToken(self.access_token))
        assign(self, "refresh_token", Secret(self.refresh_token) if self.refresh_token else None)
        assign(self, "id_token", IDToken(self.id_token) if self.id_token else None)
        raw = {name: value for name, value in self.raw.items() if name not in _OWN_TOKENS}
        sieve = Sieve(self.access_token, self.refresh_token, self.id_token)
        assign(self, "raw", sieve.clean(raw))
        assign(self, "has_other_tokens", self.has_other_tokens or sieve.found_others)
        if self.refresh_expires_in is None:
            assign(self, "refresh_expires_in", _refresh_lifetime(self.raw))

    @property
    def expires_at(self) -> float | None:
        """Epoch seconds when the access token expires; None if the provider does not say."""
        return None if self.expires_in is None else self.issued_at + self.expires_in

    @property
    def refresh_expires_at(self) -> float | None:
        """Epoch seconds when the refresh token expires; None if it does not, or if the provider does not say."""
        return self.issued_at + self.refresh_expires_in if self.refresh_expires_in else None

    @property
    def is_expired(self) -> bool:
        """Whether the access token has expired, without any safety margin."""
        return self.expires_at is not None and time.time() >= self.expires_at

    def asked_for(self, scope: str) -> OAuthTokenSet:
        """Return these tokens of a request for ``scope``, which counts as granted if the response names no scope."""
        return self if "scope" in self.raw and (self.raw["scope"] or not self.scope) else replace(self, scope=scope)

    def succeed(self, old: OAuthTokenSet) -> OAuthTokenSet:
        """Return these refreshed tokens, with members that the response omitted taken from ``old``.

        An omitted refresh token or scope means "unchanged" (RFC 6749 §5.1, §6), and so does an omitted ID token
        (OIDC Core §12.2). An omitted lifetime is the last known one.
        """
        return replace(
            self,
            refresh_token=self.refresh_token or old.refresh_token,
            expires_in=old.expires_in if self.expires_in is None else self.expires_in,
            id_token=self.id_token or old.id_token,
            scope=self.scope or old.scope,
            refresh_expires_in=self._refresh_lifetime_after(old),
            has_other_tokens=self.has_other_tokens or old.has_other_tokens,
        )

    def with_refresh_token_of(self, newer: OAuthTokenSet) -> OAuthTokenSet:
        """Return these tokens with the refresh token of ``newer``, which has replaced theirs."""
        lifetime = newer._refresh_lifetime_after(self)
        return replace(
            self,
            refresh_token=newer.refresh_token or self.refresh_token,
            refresh_expires_in=lifetime and lifetime + newer.issued_at - self.issued_at,
        )

    def _refresh_lifetime_after(self, old: OAuthTokenSet) -> float | None:
        """Return the lifetime of the refresh token after ``old``; what remains of it if ``old``'s is still in use."""
        if self.refresh_expires_in is not None or not old.refresh_expires_in:
            return old.refresh_expires_in if self.refresh_expires_in is None else self.refresh_expires_in
        if self.refresh_token not in {None, old.refresh_token}:
            return old.refresh_expires_in
        left = old.issued_at + old.refresh_expires_in - self.issued_at
        return left if left > 0 else None  # the provider has just accepted it, so it was not over

    def __repr__(self) -> str:
        left = "unknown" if self.expires_at is None else f"{self.expires_at - time.time():.0f} s"
        renewable = "" if self.refresh_token is None else ", renewable"
        return f"<OAuthTokenSet {self.token_type}, expires in {left}{renewable}>"


def parse_token_response(
    answer: dict[str, Any],
    *,
    requested_scope: str,
    sent_at: float,
    ahead: float = 0.0,
    renewing: bool = False,
) -> OAuthTokenSet:
    """Parse a token response (RFC 6749 §5.1). Only ``access_token`` is needed; an unusable optional member is absent.

    Args:
        answer: The decoded JSON object of a successful response.
        requested_scope: The requested scope, which an omitted ``scope`` stands for (§5.1).
        sent_at: Epoch seconds when the request was sent.
        ahead: By how many seconds our clock is ahead of the provider's.
        renewing: Whether this is the response of a refresh. The old refresh token may be spent, so that malformed
            optional members count as absent, too; else they are an error.

    Raises:
        TokenError: There is no usable access token, or a member is malformed; code ``token_response`` or
            ``token_type``.
    """
    _check_type(answer.get("token_type"))
    access_token = _token(answer, "access_token", strict=True)
    if access_token is None:
        raise _malformed("access_token")
    hint = jwt_claim(access_token, "exp")
    return OAuthTokenSet(
        access_token=access_token,
        token_type="Bearer",  # noqa: S106 - a scheme's name
        refresh_token=_token(answer, "refresh_token", strict=not renewing),
        expires_in=_lifetime(answer.get("expires_in"), hint and hint + ahead - sent_at, strict=not renewing),
        id_token=_token(answer, "id_token", strict=not renewing),
        scope=_scope(answer.get("scope"), strict=not renewing) or requested_scope,
        raw=answer,
        issued_at=sent_at,
    )


def _check_type(value: Any) -> None:
    """Refuse a token that is known not to be a bearer token (RFC 6749 §7.1); some providers name no type."""
    words = _TYPE_WORD.findall(value.lower()) if isinstance(value, str) else ()
    if not _NOT_BEARER.isdisjoint(words):
        raise TokenError(code="token_type")


def _token(answer: dict[str, Any], name: str, *, strict: bool) -> Secret | None:
    """Return a token; None if it is absent, empty or no text, or if it is malformed and not ``strict``."""
    value = answer.get(name)
    if not isinstance(value, str) or not value.strip(" \t"):
        return None
    if value.isascii() and value.isprintable():
        return Secret(value)
    if strict:
        raise _malformed(name)
    return None


def _scope(value: Any, *, strict: bool) -> str:
    """Return the granted scopes separated by spaces: from a string, or from a list of strings (seen in the field)."""
    parts = value if isinstance(value, list) else [value]
    words = [word for part in parts if isinstance(part, str) for word in part.split()]
    if all(map(str.isprintable, words)):
        return " ".join(words)
    if strict:
        raise _malformed("scope")
    return ""


def _lifetime(value: Any, hint: float | None, *, strict: bool) -> float | None:
    """Return the lifetime of an access token, at most a year; ``hint`` if ``expires_in`` is absent or unusable."""
    seconds = as_seconds(value)
    if seconds == math.inf:
        if strict:
            raise _malformed("expires_in")
        seconds = None
    if seconds is None and hint is not None:
        seconds = max(hint, 0.0)
    return None if seconds is None else min(seconds, _MAX_LIFETIME)


def _refresh_lifetime(raw: dict[str, Any]) -> float | None:
    """Return the lifetime of the refresh token; 0 if it has no end (Keycloak), None if it is unknown.

    No RFC defines a name: Keycloak has ``refresh_expires_in``, GitHub and Microsoft have ``refresh_token_expires_in``.
    """
    known = (as_seconds(raw.get(member)) for member in ("refresh_expires_in", "refresh_token_expires_in"))
    return next((seconds for seconds in known if seconds is not None and seconds < math.inf), None)


def as_seconds(value: Any) -> float | None:
    """Parse seconds: a number, or a decimal string of one (seen in the field).

    Returns:
        The seconds; infinity for a number too large for a float; None for a negative number, and for anything else.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        seconds = float(value)
    except ValueError:
        return None
    except OverflowError:
        seconds = math.inf if int(value) > 0 else -math.inf
    return seconds if seconds >= 0 else None


def jwt_claim(token: Any, name: str) -> float | None:
    """Return a time in epoch seconds from the payload of a JWT, unverified: a hint. None if there is none.

    Whatever decodes as a JWT will do, also an access token (``at+jwt``), and one that is signed with a shared secret.
    """
    try:
        _, body, _ = str(token).split(".")
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        time_of = as_seconds(claims.get(name))
    except (ValueError, AttributeError, RecursionError):
        return None
    return time_of if time_of is not None and time_of < END_OF_TIME else None


def _malformed(name: str) -> TokenError:
    return TokenError(code="token_response", member=name)
