"""Proof Key for Code Exchange (RFC 7636): the secret that makes a stolen authorization code worthless."""

from __future__ import annotations

import hashlib
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass

from .tokens import Secret

_MIN_BYTES, _MAX_BYTES = 32, 96  # base64url makes them 43 and 128 characters, the bounds of RFC 7636 §4.1


@dataclass(frozen=True, repr=False)
class PKCEChallenge:
    """A code verifier and its S256 challenge.

    Attributes:
        verifier: 43 to 128 unreserved characters; never leaves the kernel except to the token endpoint.
        challenge: base64url of the verifier's SHA-256 hash, without padding; sent in the authorize URL.
        method: Always ``"S256"``; ``plain`` offers no protection and is never used.
    """

    verifier: str
    challenge: str
    method: str = "S256"

    @classmethod
    def generate(cls, length: int = 64) -> PKCEChallenge:
        """Return a new verifier of ``length`` random bytes (32 to 96; 64 give 86 characters), and its challenge.

        Raises:
            ValueError: ``length`` gives a verifier of a length that RFC 7636 §4.1 does not allow.
        """
        if not _MIN_BYTES <= length <= _MAX_BYTES:
            raise ValueError(f"length must be {_MIN_BYTES} to {_MAX_BYTES} bytes, so that RFC 7636 allows the verifier")
        verifier = secrets.token_urlsafe(length)
        digest = hashlib.sha256(verifier.encode("ascii")).digest()
        return cls(Secret(verifier), urlsafe_b64encode(digest).rstrip(b"=").decode("ascii"))

    def __repr__(self) -> str:
        return f"<PKCEChallenge {self.method} {self.challenge[:8]}…>"
