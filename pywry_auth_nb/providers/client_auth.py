"""How a client authenticates itself to a provider (RFC 6749 §2.3.1, OIDC Core §9)."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote_plus

from ..errors import ConfigurationError, TokenError
from .discovery import texts

if TYPE_CHECKING:
    from .._io.answers import Answer
    from ..tokens import Secret

BASIC, POST, NONE = "client_secret_basic", "client_secret_post", "none"
PRIVATE_KEY = "private_key_jwt"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
#: The argument ``client_auth``, and the method's name in metadata.
METHODS = {"basic": BASIC, "post": POST, "none": NONE}
_UNAUTHORIZED = 401


class ClientCredential(Protocol):
    """What a client proves itself with instead of a secret: a :class:`ClientKey` or a :class:`ClientAssertion`."""

    def assertion(self, client_id: str, url: str) -> Secret:
        """Return the assertion to send to ``url`` (RFC 7523 §2.2).

        Raises:
            TokenError: There is none.
        """


def key_of(client_key: ClientCredential | str | None, client_secret: str, client_auth: str) -> ClientCredential | None:
    """Return the argument ``client_key`` as an object; a path is that of a :class:`ClientKey`.

    Raises:
        ConfigurationError: There is another way to authenticate as well, or the key is unusable.
    """
    from .client_key import ClientKey

    if client_key and (client_secret or client_auth):
        raise ConfigurationError("Give either a client key, or a client secret and client_auth.")
    return ClientKey(client_key) if isinstance(client_key, str) and client_key else client_key or None


def check_choice(client_auth: str) -> None:
    """Check the argument ``client_auth``.

    Raises:
        ConfigurationError: It is not one of the methods, nor empty.
    """
    if client_auth and client_auth not in METHODS:
        raise ConfigurationError(
            f"client_auth must be one of {', '.join(METHODS)}, or empty to decide by the metadata."
        )


def preferred(listed: Any, client_id: str, client_secret: str, *, default: str = BASIC) -> str:
    """Return the method for a client with a secret at an endpoint (RFC 8414 §2).

    Args:
        listed: The methods that the metadata list.
        client_id: The client.
        client_secret: Its secret.
        default: The method if none is listed.

    Raises:
        TokenError: Code ``client_auth_unsupported``: the endpoint supports neither of the two.
    """
    offered = texts(listed)
    if not offered:
        return default
    if BASIC in offered and not (POST in offered and _encoding_changes(client_id, client_secret)):
        return BASIC
    if POST not in offered:
        raise TokenError(code="client_auth_unsupported")
    return POST


def alternative(method: str, listed: Any) -> str:
    """Return the method to try after ``method`` was refused; empty if there is none."""
    other = {BASIC: POST, POST: BASIC}.get(method, "")
    offered = texts(listed)
    return other if not offered or other in offered else ""


def is_client_refused(answer: Answer) -> bool:
    """Whether a token endpoint did not recognize the client (RFC 6749 §5.2); 401 without a word means that as well."""
    error = answer.body.get("error") if isinstance(answer.body, dict) else None
    return error == "invalid_client" or (answer.status == _UNAUTHORIZED and not error)


def basic(client_id: str, client_secret: str) -> str:
    """Return a client's credentials as a Basic header: form-encoded, then base64 (RFC 6749 §2.3.1)."""
    pair = f"{quote_plus(client_id)}:{quote_plus(client_secret)}".encode("ascii")
    return f"Basic {b64encode(pair).decode('ascii')}"


def _encoding_changes(*credentials: str) -> bool:
    """Whether a provider that does not decode the Basic header, as some do not, would read other credentials."""
    return any(quote_plus(text) != text for text in credentials)
