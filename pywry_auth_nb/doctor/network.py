"""The way to the provider: whose certificates are trusted, and which proxy is in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._io import proxies, tls
from .._io.loop import run
from .._io.urls import split_url
from ..errors import NetworkSettingError
from .findings import Check, found, found_error

if TYPE_CHECKING:
    from ..providers.base import OAuthProvider
    from ..settings import OAuth2Settings
    from .http_probe import Probe

_READ = 10.0  # seconds
_HTTPS = 443


def check(settings: OAuth2Settings | OAuthProvider, probe: Probe) -> Check[None]:
    """Say which variables decide; what is not set needs no finding."""
    try:
        trusted = tls.trust()
        run(tls.context(trusted), probe.at_most(_READ))
        if trusted.variable:
            yield found("network", "certificates", trusted=trusted)
        scheme, host, port = _provider(settings)
        if scheme == "https" and (proxy := proxies.find(scheme, host, port)):  # http is for this machine, without one
            yield found("network", "through_proxy", host=host, proxy=proxy.address, variable=proxy.variable)
    except NetworkSettingError as error:
        yield found_error("network", error, "settings")


def _provider(settings: OAuth2Settings | OAuthProvider) -> tuple[str, str, int]:
    """Return the origin of the provider that the settings name; of any provider, if they name none."""
    addresses = (getattr(settings, name, "") for name in ("metadata_url", "issuer_url", "token_url"))
    url = split_url(next(filter(None, addresses), ""))
    return (url.scheme, url.hostname or "", url.port or _HTTPS) if url else ("https", "the provider", _HTTPS)
