"""The provider that the settings name: does it answer, does it know this client, and is a sign-in there safe?"""

from __future__ import annotations

import secrets
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from .._io.loop import run
from .._wire.hub_routing import CALLBACK
from ..errors import AuthenticationError
from . import clock
from .findings import Finding

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from ..providers.base import OAuthProvider
    from ..settings import OAuth2Settings
    from .http_probe import Asker

_READY = 25.0  # seconds: discovery, at two places
_TRIAL = 12.0
_NOWHERE = f"http://127.0.0.1/{CALLBACK}"
_NOBODY = "pywry-auth-doctor"  # in place of a client, where none is known
_finding = partial(Finding, "provider")

_CHECK_ISSUER = (
    "Check PYWRY_OAUTH2__ISSUER_URL: the address as the provider writes it, which it serves over https with "
    "/.well-known/openid-configuration behind it."
)
_TO_THE_FILE = (
    "Make a secret at the provider, and put it into the file that PYWRY_OAUTH2__CLIENT_SECRET_FILE names; or register "
    "the client as public, where the provider offers that."
)
#: Codes with which discovery, or a client's registration, stays wrong until somebody changes it.
_NEVER = {
    "insecure_url": _CHECK_ISSUER,
    "metadata_issuer": _CHECK_ISSUER,
    "discovery_failed": _CHECK_ISSUER,
    "missing_metadata": "The provider is not an OpenID Connect provider as it stands: ask its administrator.",
    "pkce_unsupported": "Ask the provider's administrator to allow PKCE with S256, or use another provider.",
    "client_auth_unsupported": "Leave the secret out, or register the client for client_secret_basic.",
    "network": "Check the address, the network, proxies (HTTPS_PROXY) and certificates (SSL_CERT_FILE).",
    "timeout": "Check the address, the network, proxies (HTTPS_PROXY) and certificates (SSL_CERT_FILE).",
}
#: What to do besides, where a client was named for this one time: its secret, if there is one, is not known here.
_IF_SECRET = {
    "client_secret_needed": "Then configure this client with it, and run this without --issuer and --client-id, "
    "which keep back every configured secret.",
    "client_refused": "With --issuer or --client-id no configured secret is sent: if this client has one, configure "
    "both, and run this without these options.",
}
_REFUSED = frozenset({"invalid_client", "unauthorized_client", "tenant_mismatch", "client_secret_unwanted"})


def check(settings: OAuth2Settings, asker: Asker, *, as_public: bool = False) -> Generator[Finding, None, None]:
    """Ask the provider for what it is, and try out the client (``as_public``: whose secret stays here)."""
    if not _is_chosen(settings):
        yield _finding(
            "note",
            "provider_unset",
            "No provider is configured here; perhaps it stands in the notebook.",
            "To look at one: pywry-auth doctor --issuer https://login.example.org --client-id ID",
        )
        return
    try:
        provider = _made(settings)
        run(provider.prepare(), asker.at_most(_READY))
        if not provider.interactive:
            run(provider.acquire_token_silent(), asker.at_most(_READY))
    except AuthenticationError as error:
        yield _failure(error)
        return
    if not provider.interactive:
        yield _finding("ok", "hub_token", "The hub gives its user's token: nobody has to sign in again.")
        return
    yield _finding("ok", "discovery", f"The provider at {provider.label} answers.")
    yield from _check_metadata(provider, getattr(provider, "metadata", {}))
    for finding in _check_client(provider, asker):
        more = _IF_SECRET.get(finding.code, "") if as_public else ""
        yield replace(finding, advice=f"{finding.advice} {more}".strip())
    yield from clock.check(provider, asker)


def wrong_settings(error: Exception) -> Generator[Finding, None, None]:
    """Say what is wrong with the settings, where the error is one of ours; else fail with it."""
    if not isinstance(error, AuthenticationError):
        raise error
    yield _failure(error)


def _is_chosen(settings: OAuth2Settings) -> bool:
    names = ("client_id", "issuer_url", "authorize_url", "token_url")
    return settings.provider != "custom" or any(getattr(settings, name) for name in names)


def _made(settings: OAuth2Settings) -> OAuthProvider:
    """Return the provider of the settings; its addresses can be looked at before a client is known."""
    from ..providers import create_provider_from_settings

    if settings.provider == "oidc" and settings.issuer_url and not settings.client_id:
        settings.client_id = _NOBODY
    return create_provider_from_settings(settings)


def _failure(error: AuthenticationError) -> Finding:
    advice = _NEVER.get(error.code, "Correct that in Jupyter's configuration or the environment, then look again.")
    if error.code.startswith("hub_"):
        advice = "docs/jupyterhub.md says what the hub's administrator sets."
    return _finding("error", error.code, error.message, advice)


# -- what it says of itself -------------------------------------------------------------------------------------------


def _check_metadata(provider: OAuthProvider, metadata: Mapping[str, Any]) -> Iterator[Finding]:
    if metadata:  # else it is plain OAuth
        yield _of_pkce(metadata)
        yield _of_iss(metadata)
        yield from _of_scopes(metadata, provider.scopes)


def _of_pkce(metadata: Mapping[str, Any]) -> Finding:
    if metadata.get("code_challenge_methods_supported") is None:
        return _finding(
            "warning",
            "pkce_unlisted",
            "The provider does not say that it supports PKCE. It is used all the same, and may be of no effect.",
            "Ask its administrator; many providers do and do not say it.",
        )
    return _finding("ok", "pkce", "The provider supports PKCE with S256.")


def _of_iss(metadata: Mapping[str, Any]) -> Finding:
    if metadata.get("authorization_response_iss_parameter_supported") is True:
        return _finding("ok", "iss", "The provider names itself in its answers (RFC 9207).")
    return _finding(
        "note",
        "iss_unlisted",
        "The provider does not name itself in its answers, so one that answers in the name of another is not seen.",
        "Nothing to do, as long as you trust all providers that you use.",
    )


def _of_scopes(metadata: Mapping[str, Any], asked: Sequence[str]) -> Iterator[Finding]:
    scopes = metadata.get("scopes_supported")
    if isinstance(scopes, list) and "offline_access" in scopes and "offline_access" not in asked:
        yield _finding(
            "note",
            "refresh_tokens",
            "The provider may give refresh tokens only on request, and none is asked for: then a sign-in ends with "
            "its first token.",
            "PYWRY_OAUTH2__SCOPES='openid email profile offline_access'",
        )


# -- the client -------------------------------------------------------------------------------------------------------


def _check_client(provider: OAuthProvider, asker: Asker) -> Iterator[Finding]:
    if provider.client_id == _NOBODY:
        yield _finding(
            "note",
            "client_unset",
            "No client is configured, so it was not tried whether the provider knows it.",
            "pywry-auth doctor --issuer … --client-id ID",
        )
    elif _needs_secret(provider):
        yield _secret_needed("error")
    else:
        yield _tried(provider, _try(provider, asker))


def _needs_secret(provider: OAuthProvider) -> bool:
    """Whether it is known beforehand that a secret is missing: Google wants one from every client (with PKCE, too)."""
    from ..providers import GitHubProvider, GoogleProvider

    return isinstance(provider, (GitHubProvider, GoogleProvider)) and not provider.client_secret


def _try(provider: OAuthProvider, asker: Asker) -> AuthenticationError | None:
    """Redeem a code that nobody issued, and return what the provider has against that.

    Metadata do not tell whether a client may go without a secret: several providers list no ``none`` and take public
    clients. They check the client first, and then the code (RFC 6749 §4.1.3).
    """
    try:
        run(provider.exchange_code("pywry-auth-doctor", _NOWHERE, secrets.token_urlsafe(32)), asker.at_most(_TRIAL))
    except AuthenticationError as error:
        return error
    return None


def _tried(provider: OAuthProvider, error: AuthenticationError | None) -> Finding:
    said = error.code if error is not None else ""
    if said == "invalid_grant":  # of the code, which is right: so the client is known
        return _finding("ok", "client", "The provider knows this client, and how it is registered.")
    unlisted = not provider.client_secret and not _lists_none(getattr(provider, "metadata", {}))
    if said == "client_secret_missing" or (said in _REFUSED and unlisted):
        return _secret_needed("error")
    if error is not None and said in _REFUSED:
        return _finding(
            "error",
            "client_refused",
            error.message,
            "Check PYWRY_OAUTH2__CLIENT_ID, and the client secret if there is one, against the registration.",
        )
    if unlisted:
        return _secret_needed("warning")
    return _finding(
        "note",
        "client_unknown",
        "It could not be tried whether the provider knows this client.",
        "Sign in once to see.",
    )


def _lists_none(metadata: Mapping[str, Any]) -> bool:
    """Whether the provider says, or leaves open, that it takes clients without a secret."""
    methods = metadata.get("token_endpoint_auth_methods_supported")
    return not isinstance(methods, list) or "none" in methods


def _secret_needed(level: Any) -> Finding:
    means = "wants" if level == "error" else "may want"
    return _finding(
        level,
        "client_secret_needed",
        f"The provider {means} a client secret, and this client is tried without one.",
        _TO_THE_FILE,
    )
