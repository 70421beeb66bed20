"""Validation of ID tokens by the rules of OIDC Core §3.1.3.7 and RFC 8725, in pure steps.

``read`` parses the token and refuses malformed ones; ``verify_signature`` checks the signature against one key;
``check_claims`` validates the claims, ``check_userinfo`` those of a signed UserInfo response. PyJWT does the
cryptography; its own checks of claims are too lenient.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import math
import time
from base64 import b64decode, urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from .._io.strict_json import strict_json
from ..errors import TokenError
from ..tokens import as_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence

    from .._wire.error_codes import ErrorCode

#: Accepted algorithms, all asymmetric, with the hash for ``at_hash`` (Core §3.1.3.6). Metadata cannot extend the list.
#: ``Ed25519`` and ``Ed448`` are the names of RFC 9864 for what ``EdDSA`` leaves to the key.
ALGORITHMS = {
    "RS256": "sha256", "RS384": "sha384", "RS512": "sha512",
    "PS256": "sha256", "PS384": "sha384", "PS512": "sha512",
    "ES256": "sha256", "ES384": "sha384", "ES512": "sha512",
    "EdDSA": "sha512", "Ed25519": "sha512", "Ed448": "shake_256",
}  # fmt: skip
_CURVE_ALGORITHMS = frozenset({"Ed25519", "Ed448"})
_SHAKE_BYTES = 114  # of the hash in Ed448 (RFC 8032 §5.2)
LEEWAY = 30.0  # seconds of tolerated clock difference
MAX_AGE = 600.0  # seconds: an ID token from the token endpoint is new; an old one may be a replay
_END_OF_TIME = 1e12  # epoch seconds
_CODE_OF_TIME: Mapping[str, ErrorCode] = {"exp": "id_token_exp", "iat": "id_token_iat", "nbf": "id_token_nbf"}
_MAX_LENGTH = 64 * 1024
_MAX_SUBJECT = 255  # OIDC Core §2
_MIN_RSA_BITS = 2048
_SIGN = "set the client's ID token signature to RS256 or ES256 at the provider."
#: Algorithms that are not accepted, and why.
_REFUSED = {
    "none": f"The provider's ID token is not signed (algorithm none): {_SIGN}",
    **{
        alg: f"The provider's ID token is signed with {alg}, a shared secret: {_SIGN}"
        for alg in ("HS256", "HS384", "HS512")
    },
}
_ENCRYPTED = (
    "The provider's ID token is encrypted, and only signed ones can be read: turn the encryption of the client's ID "
    "tokens off at the provider."
)
_NOT_FOR_US = (
    "The provider's ID token is meant for another application (aud). Check client_id. If it is right, the provider's "
    "operator must let ID tokens name this client in aud."
)
_PARTS_OF_JWE = 5  # RFC 7516 §3.1
_TYPES = ("jwt", "application/jwt")
_SHOWN = 100  # characters of an audience in an error
_NAMED = 5  # audiences in an error


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

    A subject that is an integer (seen in the field) becomes its decimal text.

    Raises:
        TokenError: Code ``id_token_malformed`` or ``id_token_algorithm``.
    """
    if len(token) > _MAX_LENGTH:
        _malformed("it is too long")
    if token.count(".") + 1 == _PARTS_OF_JWE:
        raise TokenError(_ENCRYPTED, code="id_token_malformed")
    header, claims = _split(token)
    if not isinstance(header, dict) or not isinstance(claims, dict):
        _malformed("it is not a signed JSON Web Token")
    _check_header(header)
    return Unverified(token, header, with_text_subject(claims))


def with_text_subject(claims: dict[str, Any]) -> dict[str, Any]:
    """Return claims whose ``sub`` is its decimal text if it is an integer."""
    sub = claims.get("sub")
    return {**claims, "sub": str(sub)} if isinstance(sub, int) and not isinstance(sub, bool) else claims


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
        raise TokenError(_REFUSED.get(str(alg)), code="id_token_algorithm")
    if "crit" in header or "b64" in header:  # "zip" has no meaning in a signed token (RFC 7516 §4.1.3)
        _malformed("it needs extensions that are not understood")
    if not isinstance(header.get("kid", ""), str):
        _malformed("its key ID is not a string")
    if str(header.get("typ", "JWT")).lower() not in _TYPES or "cty" in header:
        _malformed("it is another kind of token")  # RFC 8725 §3.11


def verify_signature(token: Unverified, key: dict[str, Any]) -> bool:
    """Whether ``key`` (one JWK with its public members) signed the token."""
    import jwt

    public = {name: value for name, value in key.items() if name not in {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}}
    signed, _, signature = token.token.rpartition(".")
    try:
        algorithm = jwt.get_algorithm_by_name("EdDSA" if token.alg in _CURVE_ALGORITHMS else token.alg)
        verifier = algorithm.prepare_key(_certified_key(public) or algorithm.from_jwk(public))
        if getattr(verifier, "key_size", _MIN_RSA_BITS) < _MIN_RSA_BITS and token.alg[:2] in {"RS", "PS"}:
            return False
        return bool(algorithm.verify(signed.encode("ascii"), verifier, _decode(signature)))
    except (jwt.PyJWTError, ValueError, TypeError, LookupError, AttributeError):
        return False


def _certified_key(key: dict[str, Any]) -> Any:
    """Return the public key of a JWK that has it in a certificate only (``x5c``, RFC 7517 §4.7); else None."""
    if "x5c" not in key or not {"n", "x"}.isdisjoint(key):
        return None
    from cryptography import x509

    return x509.load_der_x509_certificate(b64decode(key["x5c"][0])).public_key()


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
        client_id: The client, which must be in ``aud``, and equal ``azp`` if that is present. Other audiences are
            allowed if ``azp`` is there.
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


def check_auth_time(claims: Mapping[str, Any], max_age: float) -> None:
    """Check that the user has authenticated within ``max_age`` seconds, and the leeway (OIDC Core §3.1.3.7, rule 13).

    Raises:
        TokenError: Code ``id_token_auth_time``: too long ago, or the claim is missing although it was asked for (§2).
    """
    when = as_seconds(claims.get("auth_time"))
    if when is None or not when + max_age + LEEWAY >= time.time():
        raise TokenError(code="id_token_auth_time")


def check_userinfo(claims: dict[str, Any], *, issuer: Callable[[dict[str, Any]], bool], client_id: str) -> None:
    """Check that a signed UserInfo response is from this issuer, for this client, and has not expired.

    Issuer and audience are optional, and checked if they are there (OIDC Core §5.3.2).

    Raises:
        TokenError: A rule is violated; the code names the claim.
    """
    if "iss" in claims and not issuer(claims):
        raise TokenError(code="id_token_iss")
    if "aud" in claims and client_id not in _audience(claims):
        raise TokenError(code="id_token_aud")
    if "exp" in claims and _seconds(claims, "exp") <= time.time() - LEEWAY:
        raise TokenError(code="id_token_exp")


def owner_of(claims: dict[str, Any]) -> tuple[str, str] | None:
    """Return issuer and subject, which together identify a user, each empty if it is missing; None without both."""
    said = (claims.get("iss"), claims.get("sub"))
    iss, sub = (value if isinstance(value, str) and value.strip() else "" for value in said)
    return (iss, sub) if iss or sub else None


def continues(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether the ID token of a refresh may replace that of the same user, ``before`` (OIDC Core §12.2).

    The audience must be equal; so must nonce and authorized party, if the new token has them, and the authentication
    time, if both have it. The new token must not be older than the old one.
    """
    return (
        _audience(before) == _audience(after)
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
    """Check ``aud`` and ``azp`` (OIDC Core §3.1.3.7, rules 3 to 5)."""
    aud = claims.get("aud")
    audiences: Sequence[Any] = aud if isinstance(aud, list) else [aud]
    if client_id not in audiences:
        raise TokenError(_NOT_FOR_US, code="id_token_aud")
    if "azp" in claims and claims["azp"] != client_id:
        raise TokenError(code="id_token_azp")
    if not all(isinstance(each, str) for each in audiences):
        raise TokenError(code="id_token_aud")
    strangers = [each for each in audiences if each != client_id and each not in trusted]
    if strangers and "azp" not in claims:
        raise _also_meant_for(strangers)


def _also_meant_for(audiences: Sequence[str]) -> TokenError:
    names = [repr("".join(filter(str.isprintable, each))[:_SHOWN]) for each in audiences[:_NAMED]]
    more = " and more" if len(audiences) > _NAMED else ""
    return TokenError(
        f"The provider's ID token is also meant for other applications: {', '.join(names)}{more}. If you trust them, "
        "add them to trusted_audiences; then sign in again.",
        code="id_token_aud",
    )


def _check_subject(sub: Any) -> None:
    if not isinstance(sub, str) or not sub.strip() or len(sub) > _MAX_SUBJECT:
        raise TokenError(code="id_token_sub")


def _check_times(claims: dict[str, Any], max_age: float) -> None:
    now = time.time()
    exp, iat = _seconds(claims, "exp"), _seconds(claims, "iat")
    if exp <= now - LEEWAY:
        raise TokenError(code="id_token_exp", ahead=exp - now)
    if not now - max_age <= iat <= now + LEEWAY:
        raise TokenError(code="id_token_iat", ahead=iat - now)
    if "nbf" in claims and _seconds(claims, "nbf") > now + LEEWAY:
        raise TokenError(code="id_token_nbf", ahead=_seconds(claims, "nbf") - now)


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
    hashed = hashlib.new(algorithm, value.encode("ascii"))
    digest = hashed.digest(_SHAKE_BYTES) if algorithm == "shake_256" else hashed.digest()  # type: ignore[call-arg]
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
