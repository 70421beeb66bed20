"""A hub, or a server, looked at from outside: by an administrator, from any machine."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from .._servers import CALLBACK
from . import extension, public
from .addresses import host_of, hub_of, is_address, is_insecure, is_users_server, origin_of, without_page
from .extension import is_version
from .findings import Finding
from .servers import from_outside

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from .._http import Answer
    from .asking import Asker

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_STRANGER = frozenset({401, 403})
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
    uri = None if hub is None else hub + "hub/user-redirect/" + CALLBACK
    if uri is not None:
        yield _finding("ok", "hub_found", f"A JupyterHub answers at {host_of(url)}.")
        yield from _check_login(uri, asker.ask("GET", uri))
    if uri is None or is_users_server(url):
        return (yield from _check_server(without_page(url), uri, environ, asker))
    yield _finding(
        "note",
        "user_server_unseen",
        "Users' servers, their kernels and what proxies do to them cannot be seen from here.",
        _IN_A_TERMINAL,
    )
    return uri


def _check_login(uri: str, answer: Answer | None) -> Iterator[Finding]:
    """Check that the hub sends somebody who is not signed in to its own login page."""
    if answer is None or answer.status not in _REDIRECTS or not answer.location:
        yield _finding(
            "error",
            "hub_redirect",
            f"The hub at {host_of(uri)} does not lead from the redirect URI to its login page.",
            "Check that a proxy before it passes on all that is below hub/, and that the hub is JupyterHub 2 or newer.",
        )
        return
    there = urljoin(uri, answer.location)
    where = there.partition("?")[0]
    if uri.startswith("https:") and there.startswith("http:"):
        yield _finding(
            "error",
            "proxy_scheme",
            "The hub leads from https to http: it does not know that the browser came over https.",
            "Let the proxy that ends TLS send X-Forwarded-Proto: https, or set c.JupyterHub.public_url.",
        )
    elif not is_address(where) or origin_of(where) != origin_of(uri):
        yield _finding(
            "warning",
            "hub_login_elsewhere",
            "The hub, or a proxy before it, sends who is not signed in to another host.",
            "Fine if that is a sign-in before the hub, which the browser passes. Else let the proxy pass on the Host "
            "header as the browser sent it.",
        )
    else:
        yield _finding("ok", "hub_login", "The redirect URI leads to the hub's login page, and from there on.")


def _check_server(
    url: str, uri: str | None, environ: Mapping[str, str], asker: Asker
) -> Generator[Finding, None, str | None]:
    """Look at one server, as far as it lets us in."""
    server = from_outside(url, environ)
    answer = asker.ask("GET", url + "api/me", server.token)
    if answer is None:
        yield _finding(
            "error",
            "server_unreachable",
            f"Nothing answers at {host_of(url)}.",
            "Check the address, the network, and whether its certificate is known here (SSL_CERT_FILE).",
        )
        return uri
    if answer.status in _STRANGER or answer.status in _REDIRECTS:
        yield _token_needed(url)
        return uri or url + CALLBACK
    found = yield from extension.check(server, asker)
    if found is None:
        return uri
    expected = found.redirect_uri if found.configured else uri or url + CALLBACK
    yield from public.compare(url, found, expected)
    yield _finding("note", "user_server_unseen", "Kernels cannot be seen from here.", _IN_A_TERMINAL)
    return expected


def _token_needed(url: str) -> Finding:
    return _finding(
        "note",
        "token_needed",
        f"The server at {host_of(url)} does not let this command in, so no more can be seen from here.",
        "Run this command in a terminal of that server; or set JUPYTER_TOKEN to a token that it accepts.",
    )
