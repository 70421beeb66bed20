"""`create_provider_from_settings`: creates a provider from settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from .github import GitHubProvider
from .google import GoogleProvider
from .jupyterhub import HubTokenSource
from .microsoft import MicrosoftProvider
from .oidc import GenericOIDCProvider

if TYPE_CHECKING:
    from collections.abc import Callable

    from .base import OAuthProvider

_DEFAULT_SCOPES = ["openid", "email", "profile"]  # the default of the setting, which stands for the provider's own


def create_provider_from_settings(settings: Any) -> OAuthProvider:
    """Return the provider that ``settings`` describe.

    Args:
        settings: Any object with some of these attributes: ``provider`` (``google``, ``github``, ``microsoft``,
            ``jupyterhub``, which needs none of the others, ``oidc``, or ``custom``, the default),
            ``client_id``, ``client_secret`` (or pydantic's ``SecretStr``), ``scopes`` (a list, or a string
            separated by spaces), ``tenant_id``, ``issuer_url``, ``authorize_url``, ``token_url``, ``userinfo_url``,
            ``revocation_url``, ``require_id_token_validation``. Empty scopes, and ``openid email profile``, stand for
            the provider's own default.

    Raises:
        ConfigurationError: The provider is unknown, or a setting it needs is missing or not a string.
    """
    make = _MAKERS.get(_text(settings, "provider").lower() or "custom")
    if make is None:
        raise ConfigurationError(f"The setting 'provider' must be one of {', '.join(_MAKERS)}.")
    if make is not _jupyterhub:
        _need(settings, "client_id")
    return make(settings)


def _google(settings: Any) -> OAuthProvider:
    return GoogleProvider(*_client(settings), _scopes(settings))


def _github(settings: Any) -> OAuthProvider:
    return GitHubProvider(*_client(settings), _scopes(settings))


def _microsoft(settings: Any) -> OAuthProvider:
    return MicrosoftProvider(*_client(settings), _text(settings, "tenant_id") or "common", _scopes(settings))


def _jupyterhub(settings: Any) -> OAuthProvider:  # noqa: ARG001 - the hub provides everything
    return HubTokenSource()


def _oidc(settings: Any) -> OAuthProvider:
    _need(settings, "issuer_url")
    return _generic(settings)


def _custom(settings: Any) -> OAuthProvider:
    _need(settings, "authorize_url", "token_url")
    return _generic(settings)


_MAKERS: dict[str, Callable[[Any], OAuthProvider]] = {
    "google": _google,
    "github": _github,
    "microsoft": _microsoft,
    "jupyterhub": _jupyterhub,
    "oidc": _oidc,
    "custom": _custom,
}


def _generic(settings: Any) -> OAuthProvider:
    issuer = _text(settings, "issuer_url")
    urls = ("authorize_url", "token_url", "userinfo_url", "revocation_url")
    return GenericOIDCProvider(
        *_client(settings),
        issuer,
        _scopes(settings),
        *(_text(settings, name) for name in urls),
        # without a known issuer, an ID token cannot be validated
        require_id_token_validation=bool(issuer)
        and getattr(settings, "require_id_token_validation", True) is not False,
    )


def _client(settings: Any) -> tuple[str, str]:
    return _text(settings, "client_id"), _text(settings, "client_secret")


def _scopes(settings: Any) -> list[str] | None:
    """Return the configured scopes; None for the provider's default."""
    given = getattr(settings, "scopes", None) or []
    scopes = given.split() if isinstance(given, str) else list(given)
    return None if scopes in ([], _DEFAULT_SCOPES) else scopes


def _text(settings: Any, name: str) -> str:
    """Return a setting as a string; empty if it is missing."""
    value = getattr(settings, name, None)
    reveal = getattr(value, "get_secret_value", None)
    if reveal is not None:
        value = reveal()
    if value is not None and not isinstance(value, str):
        raise ConfigurationError(f"The setting {name!r} must be text.")
    return (value or "").strip()


def _need(settings: Any, *names: str) -> None:
    missing = [name for name in names if not _text(settings, name)]
    if missing:
        variables = " and ".join(f"PYWRY_OAUTH2__{name.upper()}" for name in missing)
        raise ConfigurationError(
            f"This provider needs {' and '.join(map(repr, missing))}: set {variables} in the environment, or "
            f"c.OAuth2Settings.{missing[0]} in Jupyter's configuration. (The setting 'provider' is "
            f"{_text(settings, 'provider') or 'custom'!r}.)"
        )
