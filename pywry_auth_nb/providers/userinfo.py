"""What a provider says of a token's owner: UserInfo responses, beside the ID token (OIDC Core §5.3)."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from ..errors import TokenError

if TYPE_CHECKING:
    from .._io.answers import Answer

#: Statuses of a resource that rejects the token (RFC 6750 §3.1); 403 is what JupyterHub answers to one that has ended.
_REJECTED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
#: Claims about the ID token itself, not about the user.
_ABOUT_THE_TOKEN = frozenset({"nonce", "at_hash", "c_hash", "s_hash", "aud", "azp", "exp", "iat", "nbf", "jti", "sid"})


class TokenRejected(TokenError):  # noqa: N818 - says what happened
    """The provider rejected an access token; a renewed one may work."""


def body_of(answer: Answer) -> Any:
    """Return the body of a UserInfo response.

    Raises:
        TokenRejected: The provider refused the token.
        TokenError: Code ``userinfo_failed``: the request failed.
    """
    if not answer.ok or answer.body is None:
        error = TokenRejected if answer.status in _REJECTED else TokenError
        raise error(code="userinfo_failed", status=answer.status, retry_after=answer.retry_after)
    return answer.body


def plain_claims(body: Any) -> dict[str, Any]:
    """Return the claims in a UserInfo response that is not signed.

    Raises:
        TokenError: Code ``userinfo_failed``: there are none, or they are signed.
    """
    if isinstance(body, dict):
        return body
    if isinstance(body, str):
        raise TokenError(
            "The provider's UserInfo is a signed token, and there are no keys to check it with. Set issuer_url.",
            code="userinfo_failed",
        )
    raise TokenError(code="userinfo_failed")


def of_the_user(claims: dict[str, Any]) -> dict[str, Any]:
    """Return the claims in a signed token that are about its owner."""
    return {name: value for name, value in claims.items() if name not in _ABOUT_THE_TOKEN}


def combined(claims: dict[str, Any], profile: dict[str, Any]) -> dict[str, Any]:
    """Return an ID token's claims with those of the UserInfo response, if that says whose they are (§5.3.2).

    Raises:
        TokenError: Code ``userinfo_sub``: they are another user's.
    """
    if claims and profile.get("sub") in (None, ""):
        return claims
    if claims and profile["sub"] != claims.get("sub"):
        raise TokenError(code="userinfo_sub")
    return claims | profile
