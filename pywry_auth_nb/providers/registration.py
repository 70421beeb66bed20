"""A client's registration as people write it down: mistakes are found when the provider is made, before any request."""

from __future__ import annotations

from typing import Any

from .._io.urls import is_safe
from ..errors import ConfigurationError

_EXAMPLE = 'issuer_url="https://login.example.org"'


def check_client_id(client_id: Any) -> None:
    """Require a client ID (RFC 6749 §2.2).

    Raises:
        ConfigurationError: It is missing.
    """
    if not isinstance(client_id, str) or not client_id.strip():
        raise ConfigurationError(
            "client_id is missing. Give the client ID that the provider showed when this application was registered; "
            "if it comes from the environment, check the variable's name."
        )


def check_secret(client_secret: str) -> None:
    """Refuse a client secret that is an address: the issuer, given in the wrong place.

    Raises:
        ConfigurationError: It is an address.
    """
    if client_secret.startswith(("https://", "http://")):
        raise ConfigurationError(f"The client secret is an address. If it is the issuer, give it by name: {_EXAMPLE}.")


def check_issuer(issuer_url: Any) -> str:
    """Return the issuer (OIDC Discovery §3) without blanks and line ends around it; it may be empty.

    Raises:
        ConfigurationError: Code ``insecure_url``: it is not an https URL (or http to this machine) without a query.
    """
    issuer = issuer_url.strip() if isinstance(issuer_url, str) else issuer_url
    if issuer in (None, ""):
        return ""
    if not isinstance(issuer, str) or not issuer.startswith(("https://", "http://")):
        raise ConfigurationError(f"issuer_url must begin with https://, as in {_EXAMPLE}.", code="insecure_url")
    if "?" in issuer:
        raise ConfigurationError(
            "An issuer is a URL without a query (OpenID Connect Discovery §3). Check issuer_url, or give the address "
            "as metadata_url.",
            code="insecure_url",
        )
    if not is_safe(issuer):
        raise ConfigurationError(
            f"issuer_url must be an https:// URL, as in {_EXAMPLE}; http:// is accepted only for this machine, such as "
            "http://localhost:8080.",
            code="insecure_url",
        )
    return issuer


def no_address() -> ConfigurationError:
    """Return the error for a provider without any address."""
    return ConfigurationError(
        f"The provider has no address. Give its issuer, {_EXAMPLE}, or authorize_url and token_url."
    )
