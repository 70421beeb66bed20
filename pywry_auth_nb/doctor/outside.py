"""A hub, or a server, looked at from outside: by an administrator, from any machine."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urljoin

from .._io.urls import is_safe
from .._wire.hub_routing import CALLBACK, HUB_CALLBACK
from . import extension, public
from .addresses import host_of, hub_of, is_address, is_same_origin, user_in, without_page
from .findings import Check, Finding, found
from .http_probe import json_object
from .server import from_outside

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .._io.answers import Answer
    from .http_probe import Probe

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REFUSED = _REDIRECTS | {401, 403}


def find_hub(url: str, probe: Probe) -> str | None:
    """Return the address of the hub that answers at ``url``, or whose page that is; None where no hub answers."""
    readings = dict.fromkeys((hub_of(url), hub_of(without_page(url))))
    return next((reading for reading in readings if is_safe(reading) and _is_hub(reading, probe)), None)


def _is_hub(url: str, probe: Probe) -> bool:
    return extension.is_version(json_object(probe.ask("GET", f"{url}hub/api")).get("version"))


def check(url: str, environ: Mapping[str, str], probe: Probe) -> Check[str | None]:
    """Look at ``url`` as a browser would that is not signed in, and return the redirect URI."""
    if not is_safe(url):
        yield found("public", "insecure_redirect_uri", host=host_of(url))
        return None
    hub = find_hub(url, probe)
    uri = None if hub is None else f"{hub}hub/{HUB_CALLBACK}"
    if uri is not None:
        yield found("public", "hub_found", host=host_of(url))
        yield found("public", _login_of_hub(uri, probe.ask("GET", uri)), host=host_of(url))
    if uri is None or user_in(url):
        return (yield from _check_server(without_page(url), uri, environ, probe))
    yield found("public", "user_server_unseen.on_hub")
    return uri


def _login_of_hub(uri: str, answer: Answer | None) -> str:
    """Return the finding's name: does the hub send a browser that is not signed in to its own login page?"""
    if answer is None or answer.status not in _REDIRECTS or not answer.location:
        return "hub_redirect"
    there = _joined(uri, answer.location).partition("?")[0]
    if uri.startswith("https:") and there.startswith("http:"):
        return "proxy_scheme.of_hub"
    return "hub_login" if is_address(there) and is_same_origin(there, uri) else "hub_login_elsewhere"


def _joined(uri: str, location: str) -> str:
    """Return where a redirect leads; empty where that cannot be read."""
    try:
        return urljoin(uri, location)
    except ValueError:
        return ""


def _check_server(url: str, uri: str | None, environ: Mapping[str, str], probe: Probe) -> Check[str | None]:
    """Look at one server, as far as it lets us in."""
    seen = extension.look_from_outside(from_outside(url, environ, probe))
    if seen is None:
        yield found("public", "server_unreachable", host=host_of(url))
        return uri
    if not isinstance(seen, extension.Extension):
        yield from _not_let_in(host_of(url), seen)
        return uri or (url + CALLBACK if seen.status in _REFUSED else None)
    yield extension.explain(seen)
    expected = seen.redirect_uri if seen.configured else uri or url + CALLBACK
    yield from public.compare(url, seen, expected)
    yield found("public", "user_server_unseen")
    return expected


def _not_let_in(host: str, answer: Answer) -> Iterator[Finding]:
    """Yield what can be known of a server that does not let us in: whether the extension is there."""
    if extension.is_login_needed(answer):
        yield found("public", "extension_answers", host=host)
        yield found("public", "token_needed", host=host)
    elif answer.status in _REFUSED:
        yield found("public", "login_before_server", host=host)
    else:
        yield extension.explain(answer)
