"""A hub, or a server, looked at from outside: by an administrator, from any machine."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from .._wire.hub_routing import CALLBACK, HUB_CALLBACK
from . import extension, public
from .addresses import host_of, hub_of, is_address, is_insecure, is_same_origin, user_in, without_page
from .extension import Extension, is_login_needed, is_version
from .findings import Finding
from .servers import from_outside

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from .._io.http import Answer
    from .http_probe import Asker

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SHUT = _REDIRECTS | {401, 403}
_finding = partial(Finding, "public")
_IN_A_TERMINAL = "For that, run this command in a terminal of a user's server."


def find(url: str, asker: Asker) -> str | None:
    """Return the address of the hub that answers at ``url``, or whose page that is; None where there is none."""
    readings = dict.fromkeys((hub_of(url), hub_of(without_page(url))))
    return next((reading for reading in readings if not is_insecure(reading) and _is_hub(reading, asker)), None)


def _is_hub(url: str, asker: Asker) -> bool:
    answer = asker.ask("GET", url + "hub/api")
    body = answer.body if answer is not None and answer.ok and isinstance(answer.body, dict) else {}
    return is_version(body.get("version"))


def check(url: str, environ: Mapping[str, str], asker: Asker) -> Generator[Finding, None, str | None]:
    """Look at ``url`` as a browser would that is not signed in, and return the redirect URI."""
    if is_insecure(url):
        yield public.insecure(host_of(url))
        return None
    hub = find(url, asker)
    uri = None if hub is None else f"{hub}hub/{HUB_CALLBACK}"
    if uri is not None:
        yield _finding("ok", "hub_found", f"A JupyterHub answers at {host_of(url)}.")
        yield _check_login(uri, asker.ask("GET", uri))
    if uri is None or user_in(url):
        return (yield from _check_server(without_page(url), uri, environ, asker))
    yield _finding(
        "note",
        "user_server_unseen",
        "Users' servers, their kernels and what proxies do to them cannot be seen from here.",
        _IN_A_TERMINAL,
    )
    return uri


def _check_login(uri: str, answer: Answer | None) -> Finding:
    """Say whether the hub sends somebody who is not signed in to its own login page."""
    if answer is None or answer.status not in _REDIRECTS or not answer.location:
        return _finding(
            "error",
            "hub_redirect",
            f"The hub at {host_of(uri)} does not lead from the redirect URI to its login page.",
            "Check that a proxy before it passes on all that is below hub/, and that the hub is JupyterHub 2 or newer.",
        )
    return _led(uri, _joined(uri, answer.location))


def _joined(uri: str, location: str) -> str:
    """Return where a redirect leads; empty where that is nowhere."""
    try:
        return urljoin(uri, location)
    except ValueError:
        return ""


def _led(uri: str, there: str) -> Finding:
    where = there.partition("?")[0]
    if uri.startswith("https:") and there.startswith("http:"):
        return _finding(
            "error",
            "proxy_scheme",
            "The hub leads from https to http: it does not know that the browser came over https.",
            "Let the proxy that ends TLS send X-Forwarded-Proto: https, or set c.JupyterHub.public_url.",
        )
    if not is_address(where) or not is_same_origin(where, uri):
        return _finding(
            "warning",
            "hub_login_elsewhere",
            "The hub, or a proxy before it, sends who is not signed in to another host.",
            "Fine if that is a sign-in before the hub, which the browser passes. Else let the proxy pass on the Host "
            "header as the browser sent it.",
        )
    return _finding("ok", "hub_login", "The redirect URI leads to the hub's login page, and from there on.")


def _check_server(
    url: str, uri: str | None, environ: Mapping[str, str], asker: Asker
) -> Generator[Finding, None, str | None]:
    """Look at one server, as far as it lets us in."""
    seen = extension.look_from_outside(from_outside(url, environ), asker)
    if seen is None:
        yield _finding(
            "error",
            "server_unreachable",
            f"Nothing answers at {host_of(url)}.",
            "Check the address, the network, and whether its certificate is known here (SSL_CERT_FILE).",
        )
        return uri
    if not isinstance(seen, Extension):
        yield from _not_let_in(url, seen)
        return uri or (url + CALLBACK if seen.status in _SHUT else None)
    yield extension.explain(seen)
    expected = seen.redirect_uri if seen.configured else uri or url + CALLBACK
    yield from public.compare(url, seen, expected)
    yield _finding("note", "user_server_unseen", "Kernels cannot be seen from here.", _IN_A_TERMINAL)
    return expected


def _not_let_in(url: str, answer: Answer) -> Iterator[Finding]:
    """Say what can be known of a server that does not let us in: whether the extension is there."""
    host = host_of(url)
    if is_login_needed(answer):
        yield _finding("ok", "extension_answers", f"The server at {host} has the extension.")
        yield _finding(
            "note",
            "token_needed",
            f"The server at {host} does not let this command in, so no more can be seen from here.",
            "Run this command in a terminal of that server; or set JUPYTER_TOKEN to a token that it accepts.",
        )
    elif answer.status in _SHUT:
        yield _finding(
            "note",
            "login_before_server",
            f"At {host} a sign-in comes before the server, and no token was sent there, so no more can be seen.",
            _IN_A_TERMINAL,
        )
    else:
        yield extension.explain(answer)
