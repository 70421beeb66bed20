"""The extension's settings, and the redirect URI: as configured, the hub's, or this server's own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import traitlets as t
from traitlets.config import LoggingConfigurable

from .._wire.hub_routing import CALLBACK, hub_redirect_uri, is_on_a_hub

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tornado.httputil import HTTPServerRequest


class PywryAuth(LoggingConfigurable):
    """Settings of the server extension (``c.PywryAuth…``)."""

    redirect_uri = t.Unicode(
        help="The redirect URI registered at the provider, where it cannot be worked out from the request: behind a "
        "proxy that hides the public address. Also PYWRY_AUTH_REDIRECT_URI in the server's environment."
    ).tag(config=True)

    max_logins_per_minute = t.Int(
        10,
        min=0,
        help="How many sign-ins one Jupyter user may begin in a minute; 0 for any number. Above it, the answer is 429.",
    ).tag(config=True)

    @t.default("redirect_uri")
    def _default_redirect_uri(self) -> str:
        return os.environ.get("PYWRY_AUTH_REDIRECT_URI", "")


def redirect_uri(
    configured: str, request: HTTPServerRequest, base_url: str, environ: Mapping[str, str] = os.environ
) -> str:
    """Return the redirect URI for the browser that sent ``request``.

    Under JupyterHub it is the hub's one address for all users, which routes by the browser's user: the callback address
    of one user's server could be given to another user. Otherwise it has the browser's own origin, since ``localhost``
    and ``127.0.0.1`` are different origins.
    """
    if configured:
        return configured
    if is_on_a_hub(environ):
        return hub_redirect_uri(f"{_outermost_scheme(request)}://{request.host}", environ)
    return f"{request.protocol}://{request.host}{base_url}{CALLBACK}"


def _outermost_scheme(request: HTTPServerRequest) -> str:
    """Return the scheme that the browser used: tornado trusts the innermost proxy, which on a hub is the hub's own.

    A forged header changes only the sender's own redirect URI, which the provider checks.
    """
    named = request.headers.get("X-Scheme") or request.headers.get("X-Forwarded-Proto") or ""
    scheme = named.partition(",")[0].strip().lower()
    return scheme if scheme in {"http", "https"} else request.protocol
