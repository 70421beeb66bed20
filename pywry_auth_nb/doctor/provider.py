"""The provider that the settings name: does it answer, does it know this client, and is a sign-in there safe?"""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .._io.loop import run
from .._wire.hub_routing import CALLBACK
from ..errors import AuthenticationError, NetworkSettingError
from ..providers.id_token import ALGORITHMS
from . import clock
from .findings import TABLE, Check, Finding, found, found_error, words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..providers.base import OAuthProvider
    from ..settings import OAuth2Settings
    from .http_probe import Probe

_READY = 25.0  # seconds: discovery, at two places
_TRIAL = 12.0
_REDIRECT_URI = f"http://127.0.0.1/{CALLBACK}"
_NO_CLIENT = "pywry-auth-doctor"  # in place of a client ID, where none is known
_REFUSED = frozenset({"invalid_client", "unauthorized_client", "tenant_mismatch", "client_secret_unwanted"})


def check(settings: OAuth2Settings, probe: Probe, *, as_public: bool = False) -> Check[OAuthProvider | None]:
    """Look at the provider that the settings name (``as_public``: without its secret, which stays here)."""
    if not _is_chosen(settings):
        yield found("provider", "provider_unset")
        return None
    try:
        provider = _create(settings)
    except AuthenticationError as error:
        yield _error(error)
        return None
    return (yield from check_provider(provider, probe, as_public=as_public))


def check_provider(provider: OAuthProvider, probe: Probe, *, as_public: bool = False) -> Check[OAuthProvider | None]:
    """Read the provider's metadata, and try out the client; return the provider if its registration can be tried."""
    try:
        run(provider.prepare(), probe.at_most(_READY))
        if not provider.interactive:
            run(provider.acquire_token_silent(), probe.at_most(_READY))
    except NetworkSettingError:
        return None  # the network's check says so
    except AuthenticationError as error:
        yield _error(error)
        return None
    if not provider.interactive:
        yield found("provider", _source(provider), host=provider.label)
        return None
    yield found("provider", "discovery", host=provider.label)
    yield from _check_metadata(getattr(provider, "metadata", {}), provider)
    client = _check_client(provider, probe)
    more = words("without a secret", client.code) if as_public and client.code in TABLE["without a secret"] else ""
    yield replace(client, advice=f"{client.advice} {more}".strip())
    yield from clock.check(provider, probe)
    # the authorize endpoint would refuse such a client for the same reason
    return None if client.code in {"client_unset", "client_refused"} else provider


def wrong_settings(error: Exception) -> Check[None]:
    """Yield what is wrong with the settings, where the error is one of ours; else fail with it."""
    if not isinstance(error, AuthenticationError):
        raise error
    yield _error(error)


def _error(error: AuthenticationError) -> Finding:
    return found_error("provider", error, "hub" if error.code.startswith("hub_") else "settings")


def _source(provider: OAuthProvider) -> str:
    """Return the finding for a provider whose tokens come without a user."""
    from ..providers import HubTokenSource, RefreshTokenSource

    if isinstance(provider, RefreshTokenSource):
        return "refresh_token_untried"
    return "hub_token" if isinstance(provider, HubTokenSource) else "token_source"


def _is_chosen(settings: OAuth2Settings) -> bool:
    names = (
        "client_id",
        "issuer_url",
        "metadata_url",
        "authorize_url",
        "token_url",
        "access_token",
        "access_token_file",
    )
    return settings.provider != "custom" or any(getattr(settings, name) for name in names)


def _create(settings: OAuth2Settings) -> OAuthProvider:
    """Return the provider of the settings; its metadata can be read before a client is known."""
    from ..providers import create_provider_from_settings

    if settings.provider == "oidc" and (settings.issuer_url or settings.metadata_url) and not settings.client_id:
        settings.client_id = _NO_CLIENT
    return create_provider_from_settings(settings)


def _check_metadata(metadata: Mapping[str, Any], provider: OAuthProvider) -> Iterator[Finding]:
    """Yield what the provider says of itself; plain OAuth has no metadata."""
    if not metadata:
        return
    says_pkce = metadata.get("code_challenge_methods_supported") is not None
    yield found("provider", "pkce" if says_pkce else "pkce_unlisted")
    says_iss = metadata.get("authorization_response_iss_parameter_supported") is True
    yield found("provider", "iss" if says_iss else "iss_unlisted")
    listed, requested = metadata.get("id_token_signing_alg_values_supported"), provider.scopes
    if getattr(provider, "require_id_token_validation", False) and listed and _accepts_none_of(listed):
        known = [each for each in listed if each in {"HS256", "HS384", "HS512", "none"}]
        yield found("provider", "id_token_algorithm", algorithms=", ".join(known) or "others")
    scopes = metadata.get("scopes_supported")
    if isinstance(scopes, list) and "offline_access" in scopes and "offline_access" not in requested:
        yield found("provider", "refresh_tokens", scopes=" ".join(requested))


def _accepts_none_of(listed: Any) -> bool:
    return isinstance(listed, list) and ALGORITHMS.keys().isdisjoint(each for each in listed if isinstance(each, str))


def _check_client(provider: OAuthProvider, probe: Probe) -> Finding:
    """Return whether the provider knows the client, and takes it with or without a secret."""
    from ..providers import GitHubProvider, GoogleProvider

    if provider.client_id == _NO_CLIENT:
        return found("provider", "client_unset")
    if isinstance(provider, (GitHubProvider, GoogleProvider)) and not provider.client_secret:  # needed with PKCE, too
        return found("provider", "client_secret_needed")
    error = _try_code(provider, probe)
    return found("provider", _tried(provider, error.code if error else ""), sentence=error.message if error else "")


def _try_code(provider: OAuthProvider, probe: Probe) -> AuthenticationError | None:
    """Redeem a code that the provider never issued, and return its error.

    Metadata do not tell whether a client may go without a secret: several providers list no ``none`` and take public
    clients. They check the client first, and then the code (RFC 6749 §4.1.3).
    """
    exchange = provider.exchange_code("pywry-auth-doctor", _REDIRECT_URI, secrets.token_urlsafe(32))
    try:
        run(exchange, probe.at_most(_TRIAL))
    except AuthenticationError as error:
        return error
    return None


def _tried(provider: OAuthProvider, code: str) -> str:
    """Return the finding's name for the error code with which the provider refused a code."""
    if code == "invalid_grant":  # of the code, which is right: so the client is known
        return "client"
    methods = getattr(provider, "metadata", {}).get("token_endpoint_auth_methods_supported")
    unlisted = not provider.client_secret and isinstance(methods, list) and "none" not in methods
    if code == "client_secret_missing" or (code in _REFUSED and unlisted):
        return "client_secret_needed"
    if code in _REFUSED:
        return "client_refused"
    return "client_secret_needed.perhaps" if unlisted else "client_unknown"
