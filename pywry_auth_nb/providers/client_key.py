"""`ClientKey`: a client that signs assertions instead of sending a secret (RFC 7523 §2.2, OIDC Core §9)."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ..errors import ConfigurationError, TokenError
from ..tokens import Secret
from .provided import Provided

if TYPE_CHECKING:
    from os import PathLike

_LIFETIME = 60  # seconds: it is used at once
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_FORMS = "an unencrypted private key: PEM, or one JWK"


class ClientKey:
    """A private key with which a client signs assertions (``private_key_jwt``).

    It is read for each request, so that a new key may be put in its place.

    Args:
        file: The path of a file with an RSA, EC or Ed25519 private key, as PEM or as a JWK (RFC 7517).
        key_id: The key's ``kid`` at the provider, if it wants to know; that of the JWK when left out.
        audience: Whom the assertion is for; the address that it is sent to when left out, so that no other server can
            use it. Some providers want their issuer instead.

    Raises:
        ConfigurationError: The file cannot be read, or holds no such key.
    """

    def __init__(self, file: str | PathLike[str], key_id: str = "", audience: str = "") -> None:
        self._file = Path(file).expanduser()
        self._key_id = key_id
        self._audience = audience
        self._read()

    def __repr__(self) -> str:
        return f"<ClientKey {self._file}>"

    def assertion(self, client_id: str, url: str) -> Secret:
        """Return an assertion that is sent to ``url``, good for a minute and for one request (RFC 7523 §3).

        Raises:
            TokenError: Code ``client_key_unusable``: the key cannot be read any more.
        """
        try:
            key, key_id = self._read()
        except ConfigurationError as error:
            raise TokenError(error.message, code="client_key_unusable") from None
        now = int(time.time())
        claims = {"iss": client_id, "sub": client_id, "aud": self._audience or url, "jti": secrets.token_urlsafe(16)}
        lifetime = {"iat": now, "exp": now + _LIFETIME}
        headers = {"kid": key_id} if key_id else None
        return Secret(jwt.encode(claims | lifetime, key, _algorithm_for(key), headers))

    def _read(self) -> tuple[Any, str]:
        """Return the key, and its ID."""
        try:
            text = Secret(self._file.read_text(encoding="utf-8-sig").strip())
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not text"
        else:
            reason = f"it must hold {_FORMS}"
            key, key_id = _parsed(text)
            if _algorithm_for(key):
                return key, self._key_id or key_id
        raise ConfigurationError(f"The client's key cannot be read from {self._file} ({reason}).")


class ClientAssertion:
    """A client's assertion that something else signs, such as Kubernetes: workload identity federation.

    Args:
        file: The path of a file with the assertion and nothing else, which is read for each request.
    """

    def __init__(self, file: str | PathLike[str]) -> None:
        self._provided = Provided("client_assertion", "", file)

    def __repr__(self) -> str:
        return f"<ClientAssertion in {self._provided.place}>"

    def assertion(self, client_id: str, url: str) -> Secret:  # noqa: ARG002 - it says both itself
        """Return the assertion as it is now.

        Raises:
            TokenError: Code ``token_not_provided``: the file is missing, unreadable, or holds something else.
        """
        return self._provided.read()


def _parsed(text: str) -> tuple[Any, str]:
    """Return a private key and its ID; None for anything else, without a word about it."""
    try:
        if text.startswith("{"):
            key = jwt.PyJWK.from_json(text)
            return key.key, key.key_id or ""
        return load_pem_private_key(text.encode(), password=None), ""
    except Exception:  # noqa: BLE001 - the libraries raise a dozen kinds, whose texts may quote the key
        return None, ""


def _algorithm_for(key: Any) -> str:
    """Return the algorithm to sign with (RFC 7518 §3.1, RFC 8037 §3.1); empty if there is none for ``key``."""
    if isinstance(key, rsa.RSAPrivateKey):
        return "RS256"
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return _CURVES.get(key.curve.name, "")
    return "EdDSA" if isinstance(key, ed25519.Ed25519PrivateKey) else ""
