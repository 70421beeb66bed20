"""The client's registration: does the provider begin a sign-in with this client ID and this redirect URI?

The authorize endpoint is asked with ``prompt=none``, so that the user is asked nothing (OIDC Core §3.1.2.1). Only a
provider that knows the redirect URI answers there (RFC 6749 §4.1.2.1).
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from ..pkce import PKCEChallenge
from .findings import Finding, found

if TYPE_CHECKING:
    from .._io.answers import Answer
    from ..providers.base import OAuthProvider
    from .http_probe import Probe

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REFUSED = frozenset({400, 401})  # 403 and 404 may be a firewall's
#: What a provider says to ``prompt=none`` that would sign the user in if it might ask (OIDC Core §3.1.2.6).
_WOULD_ASK = frozenset({"login_required", "interaction_required", "consent_required", "account_selection_required", ""})
_OF_THE_REQUEST = frozenset({
    "invalid_request", "invalid_scope", "unauthorized_client", "unsupported_response_type", "access_denied",
})  # fmt: skip


def check(provider: OAuthProvider, redirect_uri: str, probe: Probe) -> Finding:
    """Return whether the provider would begin a sign-in that comes back to ``redirect_uri``."""
    answer = None if _wants_more(provider) else probe.ask("GET", _authorize_url(provider, redirect_uri))
    if answer is None or answer.status not in _REDIRECTS | _REFUSED:
        return found("provider", "registration_unknown", uri=redirect_uri)
    if answer.status in _REFUSED:
        return found("provider", "registration_refused", uri=redirect_uri, status=answer.status)
    return _of_redirect(answer, redirect_uri)


def _wants_more(provider: OAuthProvider) -> bool:
    """Whether the provider refuses all authorization requests of this kind (RFC 9126 §5)."""
    return getattr(provider, "metadata", {}).get("require_pushed_authorization_requests") is True


def _authorize_url(provider: OAuthProvider, redirect_uri: str) -> str:
    state, pkce = secrets.token_urlsafe(32), PKCEChallenge.generate()
    extra = {"prompt": "none"} | ({"nonce": secrets.token_urlsafe(32)} if "openid" in provider.scopes else {})
    return provider.build_authorize_url(redirect_uri, state, pkce, extra)


def _of_redirect(answer: Answer, redirect_uri: str) -> Finding:
    """Return what a redirect says: only one to the redirect URI is an answer; one elsewhere is a page of its own."""
    there, _, query = (answer.location or "").partition("?")
    try:
        comes_back = urlsplit(there) == urlsplit(redirect_uri)
    except ValueError:
        comes_back = False
    if not comes_back:
        return found("provider", "registration_unknown", uri=redirect_uri)
    error = dict(parse_qsl(query)).get("error", "")
    if error in _OF_THE_REQUEST:
        return found("provider", "request_refused", error=error)
    if error in _WOULD_ASK:
        return found("provider", "registration", uri=redirect_uri)
    return found("provider", "registration_unknown", uri=redirect_uri)
