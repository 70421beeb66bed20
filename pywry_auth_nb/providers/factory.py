"""`create_provider_from_settings`: creates a provider from settings."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from .._io.values import read_list, read_parameters
from ..errors import ConfigurationError
from .access_token_source import AccessTokenSource
from .client_credentials import ClientCredentialsSource
from .client_key import ClientAssertion, ClientKey
from .github import GitHubProvider
from .google import GoogleProvider
from .jupyterhub import HubTokenSource
from .microsoft import MicrosoftProvider
from .oidc import GenericOIDCProvider
from .refresh_token_source import RefreshTokenSource
from .scopes import read

if TYPE_CHECKING:
    from collections.abc import Callable

    from .base import OAuthProvider
    from .client_auth import ClientCredential
    from .parameters import OIDCOptions, ProviderOptions

V = TypeVar("V")
_DEFAULT_SCOPES = ["openid", "email", "profile"]  # the default of the setting, which stands for the provider's own


_CUSTOM = ("client_id", "issuer_url", "metadata_url", "authorize_url", "token_url")


def create_provider_from_settings(settings: Any) -> OAuthProvider:
    """Return the provider that ``settings`` describe, or the source of tokens without a user.

    The first of these that is set counts: ``access_token``, ``access_token_file``, ``refresh_token``,
    ``refresh_token_file``, ``grant_type``. The first two need no provider.

    Args:
        settings: Any object with some of these attributes: ``provider`` (``google``, ``github``, ``microsoft``,
            ``jupyterhub``, which needs none of the others, ``oidc``, or ``custom``, the default),
            ``client_id``, ``client_secret`` (or pydantic's ``SecretStr``), ``scopes`` (text separated by spaces, or
            a list), ``tenant_id``, ``issuer_url``, ``authorize_url``, ``token_url``, ``userinfo_url``,
            ``revocation_url``, ``require_id_token_validation``, and the keyword arguments of the providers, such as
            ``audience``. Lists may be text separated by spaces or commas, or JSON; ``authorize_params`` and
            ``token_params`` may be JSON or a query (``a=b&c=d``). Empty scopes, and ``openid email profile``, stand for
            the provider's own default.

    Raises:
        ConfigurationError: The provider is unknown, or a setting it needs is missing or not a string.
    """
    if any(_text(settings, name) for name in ("access_token", "access_token_file")):
        return _of_access_token(settings)
    make = _MAKERS.get(_text(settings, "provider").lower() or "custom")
    if make is None:
        raise ConfigurationError(f"The setting 'provider' must be one of {', '.join(_MAKERS)}.")
    if make is _jupyterhub:
        return make(settings)
    if make is _custom and not any(_text(settings, name) for name in _CUSTOM):
        raise ConfigurationError(
            "No provider is set. Set PYWRY_OAUTH2__PROVIDER to google, microsoft, github or jupyterhub, or to oidc "
            "with PYWRY_OAUTH2__ISSUER_URL, in the environment or c.OAuth2Settings.provider in Jupyter's configuration."
        )
    _need(settings, "client_id")
    return _without_user(settings, make(settings))


def _of_access_token(settings: Any) -> OAuthProvider:
    token, file, label = (_text(settings, name) for name in ("access_token", "access_token_file", "label"))
    return AccessTokenSource(token, file="" if token else file, label=label)


def _without_user(settings: Any, provider: OAuthProvider) -> OAuthProvider:
    """Return ``provider``, or the source that the settings make of it: of a refresh token, or of the client itself."""
    token, file = _text(settings, "refresh_token"), _text(settings, "refresh_token_file")
    if token or file:
        return RefreshTokenSource(provider, token, file="" if token else file)
    grant_type = _text(settings, "grant_type")
    if grant_type not in {"", "authorization_code", "client_credentials"}:
        raise ConfigurationError("The setting 'grant_type' must be 'authorization_code' or 'client_credentials'.")
    return ClientCredentialsSource(provider) if grant_type == "client_credentials" else provider


def _google(settings: Any) -> OAuthProvider:
    return GoogleProvider(*_client(settings), _scopes(settings), **_oidc_options(settings))


def _github(settings: Any) -> OAuthProvider:
    return GitHubProvider(*_client(settings), _scopes(settings), **_options(settings))


def _microsoft(settings: Any) -> OAuthProvider:
    tenant = _text(settings, "tenant_id") or "common"
    return MicrosoftProvider(*_client(settings), tenant, _scopes(settings), **_oidc_options(settings))


def _jupyterhub(settings: Any) -> OAuthProvider:  # the hub provides everything else
    return HubTokenSource(label=_text(settings, "label"))


def _oidc(settings: Any) -> OAuthProvider:
    if not _text(settings, "metadata_url"):
        _need(settings, "issuer_url")
    return _generic(settings)


def _custom(settings: Any) -> OAuthProvider:
    has_issuer = any(_text(settings, name) for name in ("issuer_url", "metadata_url"))
    if has_issuer and not any(_text(settings, name) for name in ("authorize_url", "token_url")):
        raise ConfigurationError(
            "The setting 'provider' is 'custom', its default, which needs both endpoints. For a provider with an "
            "issuer, set PYWRY_OAUTH2__PROVIDER=oidc in the environment, or c.OAuth2Settings.provider in Jupyter's "
            "configuration."
        )
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
    names = ("authorize_url", "token_url", "userinfo_url", "revocation_url")
    issuer, metadata = _text(settings, "issuer_url"), _text(settings, "metadata_url")
    return GenericOIDCProvider(
        *_client(settings),
        issuer,
        _scopes(settings),
        *(_text(settings, name) for name in names),
        # without a known issuer, an ID token cannot be validated
        require_id_token_validation=bool(issuer or metadata) and _is_on(settings, "require_id_token_validation"),
        metadata_url=metadata,
        jwks_url=_text(settings, "jwks_url"),
        end_session_url=_text(settings, "end_session_url"),
        **_oidc_options(settings),
    )


def _options(settings: Any) -> ProviderOptions:
    """Return the keyword arguments of every provider."""
    return {
        "device_authorization_url": _text(settings, "device_authorization_url"),
        "authorize_params": _read(settings, "authorize_params", read_parameters),
        "token_params": _read(settings, "token_params", read_parameters),
        "audience": _text(settings, "audience"),
        "resource": _read(settings, "resource", read_list),
        "prompt": _text(settings, "prompt"),
        "login_hint": _text(settings, "login_hint"),
        "client_auth": _text(settings, "client_auth"),  # type: ignore[typeddict-item] # the provider checks it
        "client_key": _client_key(settings),
        "label": _text(settings, "label"),
    }


def _oidc_options(settings: Any) -> OIDCOptions:
    """Return the keyword arguments of every OpenID Connect provider."""
    return {
        **_options(settings),
        "trusted_audiences": _read(settings, "trusted_audiences", read_list),
        "check_nonce": _is_on(settings, "check_nonce"),
    }


def _client(settings: Any) -> tuple[str, str]:
    return _text(settings, "client_id"), _text(settings, "client_secret")


def _client_key(settings: Any) -> ClientCredential | None:
    """Return what the client proves itself with instead of a secret, or None."""
    if file := _text(settings, "client_key_file"):
        return ClientKey(file, _text(settings, "client_key_id"), _text(settings, "client_assertion_audience"))
    file = _text(settings, "client_assertion_file")
    return ClientAssertion(file) if file else None


def _scopes(settings: Any) -> list[str] | None:
    """Return the configured scopes; None for the provider's default."""
    given = getattr(settings, "scopes", None)
    scopes = read([] if given is None else given)
    return None if scopes in ([], _DEFAULT_SCOPES) else scopes


def _is_on(settings: Any, name: str) -> bool:
    """Whether a setting that is on by default is not switched off."""
    return getattr(settings, name, True) is not False


def _read(settings: Any, name: str, read: Callable[[Any], V]) -> V:
    """Return a list or mapping as ``read`` understands it; empty if it is missing."""
    with suppress(ValueError):
        return read(getattr(settings, name, None) or "")
    raise ConfigurationError(f"The setting {name!r} cannot be read. Check how it is written.")


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
