"""The encoding of records in persistent stores.

A record is one JSON object in ASCII::

    {"v": 2, "generation": 7, …, "tokens": {…}, "sha256": "…"}   without a key
    {"v": 2, "kid": "…", "nonce": "…", "data": "…"}              AES-256-GCM of the same

Unknown members are ignored, and another ``v`` is refused. The record's name is authenticated together with the
ciphertext, so that a record copied to another user's name cannot be decrypted.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import TokenStoreError
from ..tokens import OAuthTokenSet, Secret, secret_or_none
from .record import Record

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_VARIABLE = "PYWRY_AUTH_ENCRYPTION_KEY"
KEY_FILE_VARIABLE = "PYWRY_AUTH_ENCRYPTION_KEY_FILE"

_VERSION = 2
_KEY_BYTES = 32
_MAX_COUNT = 2**53  # integers that every JSON reader represents exactly
_NONCE_BYTES = 12  # the standard size for AES-GCM; random nonces are safe for 2³² records of one key


def make_encryption_key() -> str:
    """Return a new random key for ``encryption_key``: 32 bytes as URL-safe base64."""
    return base64.urlsafe_b64encode(os.urandom(_KEY_BYTES)).decode()


class Codec:
    """Encodes records as bytes, and decodes them.

    Args:
        encryption_key: One key, or several separated by commas or newlines: the first encrypts, all decrypt. When left
            out, read from ``PYWRY_AUTH_ENCRYPTION_KEY`` or the file named by ``PYWRY_AUTH_ENCRYPTION_KEY_FILE``; if
            neither is set, records are plain text.

    Raises:
        TokenStoreError: Code ``store_key``: a key is invalid, or a variable is set but empty, which must not mean
            plain text.
    """

    def __init__(self, encryption_key: str | None = None) -> None:
        encryption_key = secret_or_none(encryption_key)
        text = _configured(encryption_key)
        self._keys: dict[str, AESGCM] = {} if text is None else _parse_keys(text)

    @property
    def encrypts(self) -> bool:
        """Whether records are encrypted."""
        return bool(self._keys)

    def encode(self, record: Record, name: str) -> bytes:
        """Encode the record called ``name``.

        Raises:
            TokenStoreError: Code ``store_value``: its claims, or ``tokens.raw``, cannot be represented in JSON.
        """
        body = _members(record)
        if not self._keys:
            return _dump({"v": _VERSION, **body, "sha256": _checksum(body)})
        kid, cipher = next(iter(self._keys.items()))
        nonce = os.urandom(_NONCE_BYTES)
        data = cipher.encrypt(nonce, _dump(body), _context(name))
        return _dump({"v": _VERSION, "kid": kid, "nonce": _to_text(nonce), "data": _to_text(data)})

    def decode(self, packed: bytes, name: str) -> Record:
        """Decode the record called ``name``.

        Raises:
            TokenStoreError: The only error for any bytes. Code ``store_key``: the key is not configured;
                ``store_version``: stored by a newer version; ``store_unreadable``: damaged, tampered with, of another
                name, or plain text although a key is configured.
        """
        envelope = _parse(packed)
        _check_version(envelope.get("v"))
        if self._keys:
            envelope = _parse(self._decrypt(envelope, _context(name)))
        elif "data" in envelope:
            raise TokenStoreError(
                f"These tokens are encrypted, and no key is configured. Set {KEY_VARIABLE} to the key that they were "
                "stored with.",
                code="store_key",
            )
        elif envelope.pop("sha256", None) != _checksum(envelope):
            raise _damaged()
        return _record(envelope)

    def _decrypt(self, envelope: dict[str, Any], context: bytes) -> bytes:
        if "data" not in envelope:  # an attacker who can write must not bypass the encryption
            raise TokenStoreError(
                "These tokens were stored without encryption, and an encryption key is configured. Sign in again to "
                "replace them.",
                code="store_unreadable",
            )
        kid = envelope.get("kid")
        if not isinstance(kid, str) or kid not in self._keys:
            raise TokenStoreError(
                "These tokens are encrypted with a key that is not configured. Add that key after the current one, "
                "or sign in again to replace them.",
                code="store_key",
            )
        return _open(self._keys[kid], _from_text(envelope.get("nonce")), _from_text(envelope["data"]), context)

    def __repr__(self) -> str:
        return f"<Codec, {'encrypted' if self._keys else 'plain text'}>"


def _configured(argument: str | None) -> Secret | None:
    """Return the configured keys as text, or None if there are none."""
    if argument is not None:
        return Secret(argument)
    if KEY_VARIABLE in os.environ:
        return Secret(os.environ[KEY_VARIABLE])
    if KEY_FILE_VARIABLE in os.environ:
        return _read_key_file(os.environ[KEY_FILE_VARIABLE])
    return None


def _read_key_file(path: str) -> Secret:
    try:
        return Secret(Path(path).read_text("ascii"))
    except OSError as error:
        problem = error.strerror or type(error).__name__
    except ValueError:
        problem = "it is not a text file of keys"
    raise TokenStoreError(
        f"The file named by {KEY_FILE_VARIABLE} could not be read: {problem}. Name a file with one key per line.",
        code="store_key",
    )


def _parse_keys(text: Secret) -> dict[str, AESGCM]:
    parts = [Secret(part.strip()) for part in text.replace("\n", ",").split(",")]
    keys = dict(_parse_key(part) for part in parts if part)
    if not keys:
        _refuse_key()
    return keys


def _parse_key(text: Secret) -> tuple[str, AESGCM]:
    """Return the key ID, a hash of the key, and the cipher."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    raw = _unpadded(text)
    if raw is None or len(raw) != _KEY_BYTES:
        _refuse_key()
    return hashlib.sha256(b"pywry-auth-nb key id:" + raw).hexdigest()[:16], AESGCM(raw)


def _refuse_key() -> NoReturn:
    raise TokenStoreError(
        "The encryption key is not 32 bytes in URL-safe base64. Make one with "
        'python -c "from pywry_auth_nb.token_store import make_encryption_key as make; print(make())"',
        code="store_key",
    )


def _context(name: str) -> bytes:
    """Return the associated data for GCM (NIST SP 800-38D)."""
    return f"pywry-auth-nb:record:{_VERSION}:{name}".encode("utf-8", "surrogatepass")  # a key may be any string


def _open(cipher: AESGCM, nonce: bytes, data: bytes, context: bytes) -> bytes:
    from cryptography.exceptions import InvalidTag

    try:
        return cipher.decrypt(nonce, data, context)
    except (InvalidTag, ValueError):  # ValueError: a nonce of an invalid length
        raise _damaged() from None


def _members(record: Record) -> dict[str, Any]:
    """Return the members to store."""
    return {
        "generation": record.generation,
        "sign_in": record.sign_in,
        "ended": record.ended,
        "user": record.user,
        "tokens": record.tokens and _members_of(record.tokens),
    }


def _members_of(tokens: OAuthTokenSet) -> dict[str, Any]:
    """Return the members of tokens to store, each secret once, since ``raw`` contains none."""
    return {
        "access_token": tokens.access_token,
        "token_type": tokens.token_type,
        "refresh_token": tokens.refresh_token,
        "expires_in": tokens.expires_in,
        "id_token": tokens.id_token,
        "scope": tokens.scope,
        "raw": tokens.raw,
        "issued_at": tokens.issued_at,
        "refresh_expires_in": tokens.refresh_expires_in,
        "has_other_tokens": tokens.has_other_tokens,
    }


def _record(members: dict[str, Any]) -> Record:
    """Build a record from its members, which must have the types that were written."""
    return Record(
        generation=_count(members.get("generation")),
        sign_in=_count(members.get("sign_in")),
        tokens=None if members.get("tokens") is None else _tokens(members["tokens"]),
        user=_optional(dict, members.get("user")),
        ended=_as(bool, members.get("ended")),
    )


def _tokens(value: Any) -> OAuthTokenSet:
    """Build tokens from their members, which must have the types that were written."""
    members = _as(dict, value)
    return OAuthTokenSet(
        access_token=_as(str, members.get("access_token")) or _refuse(),
        token_type=_as(str, members.get("token_type")),
        refresh_token=_optional(str, members.get("refresh_token")),
        expires_in=_optional_number(members.get("expires_in")),
        id_token=_optional(str, members.get("id_token")),
        scope=_as(str, members.get("scope")),
        raw=_as(dict, members.get("raw")),
        issued_at=_number(members.get("issued_at")),
        refresh_expires_in=_optional_number(members.get("refresh_expires_in")),  # this and the next one came later
        has_other_tokens=_as(bool, members.get("has_other_tokens", False)),
    )


def _as(kind: type, value: Any) -> Any:
    return value if isinstance(value, kind) else _refuse()


def _optional(kind: type, value: Any) -> Any:
    return None if value is None else _as(kind, value)


def _count(value: Any) -> int:
    return value if type(value) is int and 0 < value < _MAX_COUNT else _refuse()


def _optional_number(value: Any) -> float | None:
    return None if value is None else _number(value)


def _number(value: Any) -> float:
    """Return a finite number; Python's JSON also reads integers too large for a float."""
    try:
        finite = type(value) in (int, float) and math.isfinite(value)
    except OverflowError:
        finite = False
    number: float = value if finite else _refuse()
    return number


def _check_version(value: Any) -> None:
    if type(value) is int and value > _VERSION:
        raise TokenStoreError(code="store_version")
    if type(value) is not int or value != _VERSION:
        _refuse()


def _dump(value: dict[str, Any]) -> bytes:
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
    except (TypeError, ValueError, RecursionError):
        raise TokenStoreError(code="store_value") from None


def _parse(packed: bytes) -> dict[str, Any]:
    """Parse one JSON object in ASCII, without NaN."""
    try:
        value = json.loads(packed.decode("ascii"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise _damaged() from None
    return value if isinstance(value, dict) else _refuse()


def _checksum(envelope: dict[str, Any]) -> str:
    """Return a checksum of all members except the version."""
    return hashlib.sha256(_dump({name: value for name, value in envelope.items() if name != "v"})).hexdigest()


def _to_text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode()


def _from_text(value: Any) -> bytes:
    raw = _unpadded(value) if isinstance(value, str) else None
    return _refuse() if raw is None else raw


def _unpadded(text: str) -> bytes | None:
    """Decode URL-safe base64 strictly, with or without padding; None if it is invalid."""
    try:
        return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None


def _damaged() -> TokenStoreError:
    return TokenStoreError(code="store_unreadable")


def _refuse(_: object = None) -> NoReturn:
    raise _damaged()
