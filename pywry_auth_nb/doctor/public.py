"""The server at its public address, as the browser has it: a proxy may lose what a redirect URI is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._io.urls import is_safe
from .._wire.hub_routing import CALLBACK
from . import hub_environment
from .addresses import host_of, origin_of, path_of, scheme_of, user_in, without_page
from .extension import Extension, is_login_needed, look_from_outside
from .findings import Check, Finding, found
from .server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .._io.answers import Answer

_NOT_FOUND = 404


def check(server: Server, local: Extension, address: str | None, environ: Mapping[str, str]) -> Check[str | None]:
    """Compare the redirect URI that the server works out with the one for its public address, and return the latter.

    ``local`` is what the extension said to a request from this machine; ``address`` the public address, if given.
    """
    if address is not None and not hub_environment.allows(address, environ):
        origins = " and ".join(hub_environment.origins(environ)) or "an address that cannot be read here"
        yield found("public", "other_address", origin=origin_of(address), origins=origins)
        address = None
    there = hub_environment.address_of_server(address, environ)
    if there is None:
        return (yield from _check_without_address(local, environ))
    if address is not None and local.hub and user_in(address) not in {"", user_in(local.base_url)}:
        yield found("public", "other_users_server", base_url=local.base_url)
    there = server_at(there, local.base_url, hub=local.hub)
    expected = local.redirect_uri
    if not local.configured:
        expected = hub_environment.redirect_uri(origin_of(there), environ) if local.hub else there + CALLBACK
    if not is_safe(expected) or not is_safe(there):
        yield found("public", "insecure_redirect_uri", host=host_of(there))
        return None
    seen = look_from_outside(Server(there, server.token, server.probe))
    yield from compare(there, seen, expected) if isinstance(seen, Extension) else [_not_seen(there, seen)]
    return expected


def compare(address: str, seen: Extension, expected: str) -> Iterator[Finding]:
    """Yield what differs between what the server works out at ``address`` and what is right there."""
    differences = list(_check_configured(address, seen) if seen.configured else _check_worked_out(seen, expected))
    yield from differences or [found("public", "redirect_uri", host=host_of(address))]


def server_at(address: str, base_url: str, *, hub: bool) -> str:
    """Return where a server with this base URL is at a public address, of which people may have given less or more."""
    below = base_url != "/" and path_of(address).startswith(base_url)
    server = without_page(address)
    return origin_of(address) + base_url if hub or below or path_of(server) == "/" else server


def _check_without_address(local: Extension, environ: Mapping[str, str]) -> Check[str | None]:
    """Yield what is known without a public address."""
    uri = local.redirect_uri
    if not local.configured and not local.hub:
        yield found("public", "port_in_uri", other=_other_loopback(uri))
        yield found("public", "only_this_machine")
        return uri
    if local.configured and not _ends_at_callback(uri):
        yield found("public", "configured_path")
    if not local.configured:
        if (outline := hub_environment.outline(environ)) is not None:
            yield found("public", "public_address_unknown.on_hub", outline=outline, hub=hub_environment.hub_in(outline))
            return None
        uri = hub_environment.redirect_uri(origin_of(uri), environ)
    if not is_safe(uri):
        yield found("public", "insecure_redirect_uri", host=host_of(uri))
        return None
    yield found("public", "public_address_unknown")
    return uri


def _other_loopback(uri: str) -> str:
    """Return the same address with the other name of this machine."""
    other = uri.replace("://localhost:", "://127.0.0.1:")
    return other if other != uri else uri.replace("://127.0.0.1:", "://localhost:")


def _not_seen(address: str, answer: Answer | None) -> Finding:
    """Return why the server could not be asked at its public address."""
    if answer is None:
        return found("public", "public_unreachable", host=host_of(address))
    missing = answer.status == _NOT_FOUND and not is_login_needed(answer)
    return found("public", "proxy_base_url.not_found" if missing else "public_login", host=host_of(address))


def _check_worked_out(seen: Extension, expected: str) -> Iterator[Finding]:
    """Yield what is lost on the way to the server, part by part of the redirect URI."""
    scheme = "proxy_scheme" if seen.trust_xheaders else "proxy_scheme.not_trusted"
    parts = {
        "proxy_scheme.on_hub" if seen.hub else scheme: scheme_of,
        "proxy_host": host_of,
        "proxy_base_url": path_of,
    }
    for name, part in parts.items():
        if part(seen.redirect_uri) != part(expected):
            yield found("public", name, uri=seen.redirect_uri, expected=expected)


def _check_configured(address: str, seen: Extension) -> Iterator[Finding]:
    """Yield what is wrong with a redirect URI that an administrator wrote down."""
    uri = seen.redirect_uri
    if not _ends_at_callback(uri) or (not seen.hub and path_of(uri) != path_of(address) + CALLBACK):
        yield found("public", "configured_path")
    if not seen.hub and origin_of(uri) != origin_of(address):
        yield found("public", "configured_host", configured=host_of(uri), host=host_of(address))


def _ends_at_callback(uri: str) -> bool:
    return path_of(uri).endswith("/" + CALLBACK)
