"""Validation of ID tokens by the rules of OIDC Core §3.1.3.7 and RFC 8725, in pure steps.

``read`` parses the token and refuses malformed ones; ``verify_signature`` checks the signature against one key;
``check_claims`` validates the claims. PyJWT does the cryptography; its own checks of claims are too lenient.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import math
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from .._io.http import strict_json
from ..errors import TokenError

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from .._wire.error_codes import ErrorCode

#: Accepted algorithms, all asymmetric, with the hash for ``at_hash`` (Core §3.1.3.6). Metadata cannot extend the list.
ALGORITHMS = {
    "RS256": "sha256", "RS384": "sha384", "RS512": "sha512",
    "PS256": "sha256", "PS384": "sha384", "PS512": "sha512",
    "ES256": "sha256", "ES384": "sha384", "ES512": "sha512",
    "EdDSA": "sha512",
}  # fmt: skip
LEEWAY = 30.0  # seconds of tolerated clock difference
MAX_AGE = 600.0  # seconds: an ID token from the token endpoint is new; an old one may be a replay
_END_OF_TIME = 1e12  # epoch seconds
_CODE_OF_TIME: Mapping[str, ErrorCode] = {"exp": "id_token_exp", "iat": "id_token_iat", "nbf": "id_token_nbf"}
_MAX_LENGTH = 64 * 1024
_MAX_SUBJECT = 255  # OIDC Core §2
_MIN_RSA_BITS = 2048
_TYPES = ("jwt", "application/jwt")


@dataclass(frozen=True, repr=False)
class Unverified:
    """A parsed ID token whose signature and claims have not been verified."""

    token: str
    header: dict[str, Any]
    claims: dict[str, Any]

    @property
    def alg(self) -> str:
        """The algorithm in the header, one of ``ALGORITHMS``."""
        return str(self.header["alg"])

    @property
    def kid(self) -> str | None:
        """The key ID in the header, or None."""
        return self.header.get("kid")


def read(token: str) -> Unverified:
    """Parse a compact JWS (RFC 7515 §3.1) strictly: canonical base64url, unambiguous JSON.

    Raises:
        TokenError: Code ``id_token_malformed`` or ``id_token_algorithm``.
    """
    if len(token) > _MAX_LENGTH:
        _malformed("it is too long")
    header, claims = _split(token)
    if not isinstance(header, dict) or not isinstance(claims, dict):
        _malformed("it is not a signed JSON Web Token")
    _check_header(header)
    return Unverified(token, header, claims)


def _split(token: str) -> tuple[Any, Any]:
    """Return header and claims; None for both if they cannot be decoded."""
    with contextlib.suppress(ValueError):
        head, body, signature = token.split(".")
        _decode(signature)
        return strict_json(_decode(head)), strict_json(_decode(body))
    return None, None


def _check_header(header: dict[str, Any]) -> None:
    alg = header.get("alg")
    if not isinstance(alg, str) or alg not in ALGORITHMS:
        raise TokenError(code="id_token_algorithm")
    if "crit" in header or "b64" in header or "zip" in header:
        _malformed("it needs extensions that are not understood")
    if not isinstance(header.get("kid", ""), str):
        _malformed("its key ID is not a string")
    if str(header.get("typ", "JWT")).lower() not in _TYPES or "cty" in header:
        _malformed("it is another kind of token")  # RFC 8725 §3.11


def verify_signature(token: Unverified, key: dict[str, Any]) -> bool:
    """Whether ``key`` (one JWK with its public members) signed the token."""
    import jwt

    public = {name: value for name, value in key.items() if name not in {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}}
    try:
        jwk = jwt.PyJWK(public, algorithm=token.alg)
        if getattr(jwk.key, "key_size", _MIN_RSA_BITS) < _MIN_RSA_BITS and token.alg[:2] in {"RS", "PS"}:
            return False
        jwt.api_jws.decode(token.token, jwk, algorithms=[token.alg])
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError):
        return False
    return True


def check_claims(
    token: Unverified,
    *,
    issuer: str | Callable[[dict[str, Any]], bool],
    client_id: str,
    nonce: str | None,
    access_token: str | None = None,
    trusted_audiences: Container[str] = (),
) -> dict[str, Any]:
    """Validate the claims of a token for this client, and return them (OIDC Core §3.1.3.7).

    Args:
        token: The token, with a verified signature.
        issuer: The expected ``iss``, compared as a string, or a predicate for a provider with several issuers.
        client_id: The client, which must be in ``aud``, and equal ``azp`` if that is present.
        nonce: The nonce in the authorize URL; None for a refresh.
        access_token: The access token of the same response, to check ``at_hash``; the ID token must then be recent.
        trusted_audiences: Other audiences allowed in ``aud``.

    Raises:
        TokenError: A rule is violated; the code names the claim: ``id_token_iss``, ``id_token_aud``, ….
    """
    claims = token.claims
    iss = claims.get("iss")
    if not isinstance(iss, str) or not (issuer(claims) if callable(issuer) else iss == issuer):
        raise TokenError(code="id_token_iss")
    _check_audience(claims, client_id, trusted_audiences)
    _check_subject(claims.get("sub"))
    _check_times(claims, max_age=math.inf if access_token is None else MAX_AGE)
    if nonce is not None:
        _check_nonce(claims.get("nonce"), nonce)
    if "at_hash" in claims and access_token is not None:
        _check_hash(claims["at_hash"], access_token, ALGORITHMS[token.alg])
    return claims


def continues(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether the ID token of a refresh belongs to the sign-in that ``before`` came from (OIDC Core §12.2).

    Issuer, subject and audience must be equal; so must nonce and authorized party, if the new token has them, and the
    authentication time, if both have it. The new token must not be older than the old one.
    """
    return (
        all(before.get(name) == after.get(name) for name in ("iss", "sub"))
        and _audience(before) == _audience(after)
        and all(name not in after or after[name] == before.get(name) for name in ("nonce", "azp"))
        and ("auth_time" not in before or after.get("auth_time", before["auth_time"]) == before["auth_time"])
        and _issued_at(after) >= _issued_at(before) - LEEWAY
    )


def _issued_at(claims: dict[str, Any]) -> float:
    iat = claims.get("iat")
    return iat if isinstance(iat, (int, float)) else 0.0


def _audience(claims: dict[str, Any]) -> set[str]:
    """Return the audiences of a token; ``aud`` may be a string or a list (RFC 7519 §4.1.3)."""
    aud = claims.get("aud")
    return {each for each in (aud if isinstance(aud, list) else [aud]) if isinstance(each, str)}


def _check_audience(claims: dict[str, Any], client_id: str, trusted: Container[str]) -> None:
    aud = claims.get("aud")
    audiences = [aud] if isinstance(aud, str) else aud
    if not isinstance(audiences, list) or client_id not in audiences:
        raise TokenError(code="id_token_aud")
    if any(other != client_id and not (isinstance(other, str) and other in trusted) for other in audiences):
        message = "The provider's ID token is also meant for an application that is not trusted here. Sign in again."
        raise TokenError(message, code="id_token_aud")
    if "azp" in claims and claims["azp"] != client_id:
        raise TokenError(code="id_token_azp")


def _check_subject(sub: Any) -> None:
    if not isinstance(sub, str) or not sub.strip() or len(sub) > _MAX_SUBJECT:
        raise TokenError(code="id_token_sub")


def _check_times(claims: dict[str, Any], max_age: float) -> None:
    now = time.time()
    exp, iat = _seconds(claims, "exp"), _seconds(claims, "iat")
    if exp <= now - LEEWAY:
        raise TokenError(code="id_token_exp")
    if not now - max_age <= iat <= now + LEEWAY:
        raise TokenError(code="id_token_iat")
    if "nbf" in claims and _seconds(claims, "nbf") > now + LEEWAY:
        raise TokenError(code="id_token_nbf")


def _seconds(claims: dict[str, Any], name: str) -> float:
    value = claims.get(name)
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not 0 <= value < _END_OF_TIME
        or not math.isfinite(value)
    ):
        message = f"The provider's ID token has no usable time {name!r}. Sign in again."
        raise TokenError(message, code=_CODE_OF_TIME[name])
    return float(value)


def _check_nonce(given: Any, sent: str) -> None:
    if not isinstance(given, str) or not _equal(given, sent):
        raise TokenError(code="id_token_nonce")


def _check_hash(given: Any, value: str, algorithm: str) -> None:
    """Check ``at_hash``: the left half of the hash, base64url (OIDC Core §3.1.3.6)."""
    digest = hashlib.new(algorithm, value.encode("ascii")).digest()
    expected = urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode("ascii")
    if not isinstance(given, str) or not _equal(given, expected):
        raise TokenError(code="id_token_at_hash")


def _equal(given: str, expected: str) -> bool:
    """Compare in constant time; a JSON string may contain lone surrogates, which UTF-8 cannot encode."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode())


def _decode(segment: str) -> bytes:
    """Decode base64url, accepting only its canonical form (RFC 7515 §2)."""
    data = urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    if urlsafe_b64encode(data).rstrip(b"=").decode("ascii") != segment:
        raise ValueError("not canonical")
    return data


def _malformed(why: str) -> NoReturn:
    raise TokenError(code="id_token_malformed", reason=why)
