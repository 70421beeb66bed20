"""Revoking the tokens of a sign-in, and what became of them (RFC 7009)."""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from ..errors import TokenError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .._io.answers import Answer
    from ..tokens import OAuthTokenSet

log = logging.getLogger("pywry_auth_nb")

_DEADLINE = 5.0  # seconds for all tokens of a sign-in

REVOKED: Final = "revoked"
#: The provider said no, as with ``unsupported_token_type`` (§2.2.1).
REFUSED: Final = "refused"
#: The provider has no revocation endpoint, or none for this kind of token.
NO_ENDPOINT: Final = "no_endpoint"
#: The provider lets only clients with a secret revoke tokens.
PUBLIC_CLIENT: Final = "public_client"
#: The provider was not asked: a sign-out of the session that the token was exchanged from does that.
KEPT: Final = "kept"

_CLIENT_ERRORS = frozenset({"invalid_client", "unauthorized_client"})
_TRANSIENT = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})


def outcome_of(answer: Answer, *, public: bool) -> str:
    """Return what the answer of a revocation endpoint says became of the token.

    Args:
        answer: The answer. The body of a success is ignored (§2.2).
        public: Whether the request was that of a client without a secret.

    Returns:
        One of the above, or ``"provider_unavailable"``: the token may still be valid (§2.2.1).
    """
    if HTTPStatus(200) <= answer.status < HTTPStatus(300):
        return REVOKED
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status in _TRANSIENT:
        return "provider_unavailable"
    error = answer.body.get("error") if isinstance(answer.body, dict) else None
    if public and (answer.status == HTTPStatus.UNAUTHORIZED or error in _CLIENT_ERRORS):
        return PUBLIC_CLIENT
    return REFUSED


async def revoke_each(
    tokens: OAuthTokenSet, revoke: Callable[[str, str], Awaitable[str]], *, label: str
) -> dict[str, str]:
    """Revoke the access token, then the refresh token (RFC 7009 §2.1), within 5 s.

    In this order, since some providers refuse to revoke an access token whose refresh token is dead.

    Args:
        tokens: The tokens.
        revoke: Revokes a token of a kind, and returns what became of it.
        label: The provider's name for the log.

    Returns:
        What became of each, by its kind: one of the above, or an error code.
    """
    kinds = [kind for kind in ("access_token", "refresh_token") if getattr(tokens, kind)]
    outcome = {}
    for kind in kinds:
        outcome[kind] = await _within(_DEADLINE / len(kinds), revoke(getattr(tokens, kind), kind))
        if outcome[kind] != REVOKED:
            log.warning("%s: %s not revoked (%s)", label, kind, outcome[kind])
    return outcome


async def _within(seconds: float, outcome: Awaitable[str]) -> str:
    try:
        return await asyncio.wait_for(outcome, seconds)
    except asyncio.TimeoutError:
        return "timeout"
    except TokenError as error:
        return error.code
