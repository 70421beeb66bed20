"""Token values: immutable, validated on arrival, and hidden in reprs."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import Any

from .errors import TokenError

_MAX_LIFETIME = 365 * 24 * 3600.0
_SECRET_MEMBERS = frozenset({"access_token", "refresh_token", "id_token"})


class Secret(str):
    """A string whose repr is ``'***'``: in pprint, tracebacks and containers, too.

    Everything that *uses* it gets the real value: ``str()``, f-strings, concatenation, headers, JSON.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def secret_or_none(text: str | None) -> Secret | None:
    """Return ``text`` as a :class:`Secret`. Call it first, so that a traceback through the caller shows no secret."""
    return None if text is None else Secret(text)


class AccessToken(Secret):
    """An access token (RFC 6749 §1.4), whose repr does not contain it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<AccessToken ***>"


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
        id_token: The OpenID Connect ID token (a JWT), or None.
        scope: The granted scopes, separated by spaces.
        raw: The other members of the response, without the tokens.
        issued_at: Epoch seconds when the token request was sent, so the computed expiry is never too late.
    """

    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - a scheme's name
    refresh_token: str | None = None
    expires_in: float | None = None
    id_token: str | None = None
    scope: str = ""
    raw: dict[str, Any] = field(default_factory=dict)
    issued_at: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        assign = object.__setattr__  # the dataclass is frozen
        assign(self, "access_token", AccessToken(self.access_token))
        assign(self, "refresh_token", Secret(self.refresh_token) if self.refresh_token else None)
        assign(self, "id_token", Secret(self.id_token) if self.id_token else None)
        assign(self, "raw", {name: value for name, value in self.raw.items() if name not in _SECRET_MEMBERS})

    @property
    def expires_at(self) -> float | None:
        """Epoch seconds when the access token expires; None if the provider does not say."""
        return None if self.expires_in is None else self.issued_at + self.expires_in

    @property
    def is_expired(self) -> bool:
        """Whether the access token has expired, without any safety margin."""
        return self.expires_at is not None and time.time() >= self.expires_at

    def succeed(self, old: OAuthTokenSet) -> OAuthTokenSet:
        """Return these refreshed tokens, with members that the response omitted taken from ``old``.

        An omitted refresh token or scope means "unchanged" (RFC 6749 §5.1, §6), and so does an omitted ID token
        (OIDC Core §12.2).
        """
        return replace(
            self,
            refresh_token=self.refresh_token or old.refresh_token,
            id_token=self.id_token or old.id_token,
            scope=self.scope or old.scope,
        )

    def __repr__(self) -> str:
        left = "unknown" if self.expires_at is None else f"{self.expires_at - time.time():.0f} s"
        renewable = "" if self.refresh_token is None else ", renewable"
        return f"<OAuthTokenSet {self.token_type}, expires in {left}{renewable}>"


def parse_token_response(answer: dict[str, Any], *, requested_scope: str, sent_at: float) -> OAuthTokenSet:
    """Parse and validate a token response (RFC 6749 §5.1).

    Args:
        answer: The decoded JSON object of a 200 response.
        requested_scope: The requested scope, which an omitted ``scope`` stands for (§5.1).
        sent_at: Epoch seconds when the request was sent.

    Raises:
        TokenError: A member is missing or has the wrong type; code ``token_response`` or ``token_type``.
    """
    token_type = _string(answer, "token_type")
    if token_type.lower() != "bearer":  # case-insensitive (§7.1), and an unknown type must not be used
        raise TokenError(code="token_type")
    return OAuthTokenSet(
        access_token=_string(answer, "access_token"),
        token_type="Bearer",  # noqa: S106 - a scheme's name
        refresh_token=_string(answer, "refresh_token") if answer.get("refresh_token") is not None else None,
        expires_in=_lifetime(answer.get("expires_in")),
        id_token=_string(answer, "id_token") if answer.get("id_token") is not None else None,
        scope=requested_scope if answer.get("scope") in (None, "") else _string(answer, "scope"),
        raw=answer,
        issued_at=sent_at,
    )


def _string(answer: dict[str, Any], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable() or value.isspace():
        raise _malformed(name)
    return value


def _lifetime(value: Any) -> float | None:
    """Parse ``expires_in``: seconds, or a decimal string of seconds (seen in the field), capped at a year."""
    if value is None:
        return None
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        raise _malformed("expires_in") from None
    if not math.isfinite(seconds) or seconds < 0:
        raise _malformed("expires_in")
    return min(seconds, _MAX_LIFETIME)


def _malformed(name: str) -> TokenError:
    return TokenError(code="token_response", member=name)
