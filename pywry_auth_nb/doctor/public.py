"""The server at its public address, as the browser has it: a proxy may lose what a redirect URI is made of."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from .._wire.hub_routing import CALLBACK
from . import hub_environment
from .addresses import host_of, is_below_localhost, is_insecure, origin_of, path_of, user_in, without_page
from .extension import Extension, is_login_needed, look_from_outside
from .findings import Finding
from .servers import Server

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from .._io.http import Answer
    from .http_probe import Asker

_NOT_FOUND = 404
_finding = partial(Finding, "public")
_CONFIGURE = "Or write the whole address into c.PywryAuth.redirect_uri, which needs no header"
_CORRECT = "Correct c.PywryAuth.redirect_uri, or PYWRY_AUTH_REDIRECT_URI, in the server."
_PROTO = "Let the proxy that ends TLS send X-Forwarded-Proto: https"
_HOST = (
    "Let the proxy pass on the Host header as the browser sent it (nginx: proxy_set_header Host $http_host). "
    f"{_CONFIGURE}; on a hub, set c.JupyterHub.public_url."
)
_PATH = f"Let the proxy pass on the path unchanged, and set c.ServerApp.base_url to what the browser has. {_CONFIGURE}."


def check(
    server: Server, local: Extension, address: str | None, environ: Mapping[str, str], asker: Asker
) -> Generator[Finding, None, str | None]:
    """Compare the redirect URI that the server works out with the one for its public address, and return the latter.

    Args:
        server: The server, as it is reached from here.
        local: What the extension said there.
        address: The public address, if it was given.
        environ: Where a hub says what it is.
        asker: Asks.
    """
    if address is not None and not hub_environment.allows(address, environ):
        yield _other_address(address, environ)
        address = None
    there = hub_environment.of_server(address, environ)
    if there is None:
        return (yield from _without_address(local, environ))
    if address is not None and local.hub and user_in(address) not in {"", user_in(local.base_url)}:
        yield _other_user(local.base_url)
    there = server_at(there, local.base_url, hub=local.hub)
    expected = local.redirect_uri
    if not local.configured:
        expected = hub_environment.redirect_uri(origin_of(there), environ) if local.hub else there + CALLBACK
    if is_insecure(expected) or (is_insecure(there) and not is_below_localhost(there)):
        yield insecure(host_of(there))
        return None
    yield from _look(Server(there, server.token), expected, asker)
    return expected


def _look(public: Server, expected: str, asker: Asker) -> Iterator[Finding]:
    """Look at the server where browsers are."""
    seen = look_from_outside(public, asker)
    if isinstance(seen, Extension):
        yield from compare(public.url, seen, expected)
    else:
        yield _not_seen(public.url, seen)


def compare(address: str, seen: Extension, expected: str) -> Iterator[Finding]:
    """Say what differs between what the server works out at ``address`` and what is right there."""
    differences = list(_configured(address, seen) if seen.configured else _worked_out(seen, expected))
    yield from differences
    if not differences:
        yield _finding("ok", "redirect_uri", f"At {host_of(address)} the server works out the right redirect URI.")


def insecure(host: str) -> Finding:
    """Say that sign-ins are refused over plain http."""
    return _finding(
        "error",
        "insecure_redirect_uri",
        f"The address {host} is plain http, where anybody on the way can read a sign-in: it is refused there.",
        "Serve Jupyter over https. Plain http is for localhost and 127.0.0.1 alone.",
    )


def server_at(address: str, base_url: str, *, hub: bool) -> str:
    """Return where a server with this base URL is at a public address, of which people may have given less or more."""
    below = base_url != "/" and path_of(address).startswith(base_url)
    server = without_page(address)
    return origin_of(address) + base_url if hub or below or path_of(server) == "/" else server


def _other_address(address: str, environ: Mapping[str, str]) -> Finding:
    where = " and ".join(hub_environment.origins(environ)) or "an address that is none"
    return _finding(
        "error",
        "other_address",
        f"This hub is not at {origin_of(address)}: it says that it is at {where}. A "
        "sign-in that begins elsewhere comes back without the cookie that it needs.",
        "Open Jupyter at the hub's own address. If that is not what it says, correct c.JupyterHub.public_url, or "
        "subdomain_host.",
    )


def _other_user(base_url: str) -> Finding:
    return _finding(
        "warning",
        "other_users_server",
        f"The address is that of another user's server, and this command looked at {base_url}.",
        "Run it in a terminal of that server.",
    )


def _without_address(local: Extension, environ: Mapping[str, str]) -> Generator[Finding, None, str | None]:
    """Say what is known without a public address."""
    if not local.configured and not local.hub:
        yield from _on_this_machine(local.redirect_uri)
        return local.redirect_uri
    uri = local.redirect_uri
    if not local.configured:
        if (shape := hub_environment.outline(environ)) is not None:
            yield _unknown(shape)
            return None
        uri = hub_environment.redirect_uri(origin_of(uri), environ)
    if local.configured and not _ends_well(uri):
        yield _wrong_end()
    if is_insecure(uri):
        yield insecure(host_of(uri))
        return None
    yield _finding(
        "note",
        "public_address_unknown",
        "Whether this is the address in the browser was not checked.",
        "Give the address as the browser has it: pywry-auth doctor https://hub.example.org/",
    )
    return uri


def _unknown(outline: str) -> Finding:
    return _finding(
        "warning",
        "public_address_unknown",
        f"The hub does not tell its address to this server, so of the redirect URI only this is known: {outline}",
        f"Give the hub's address: pywry-auth doctor {hub_environment.hub_in(outline)} (or let its administrator set "
        "c.JupyterHub.public_url).",
    )


def _on_this_machine(uri: str) -> Iterator[Finding]:
    other = uri.replace("://localhost:", "://127.0.0.1:")
    other = uri.replace("://127.0.0.1:", "://localhost:") if other == uri else other
    yield _finding(
        "note",
        "port_in_uri",
        "The redirect URI has Jupyter's port in it, and Jupyter takes another port when that is in use.",
        "Start Jupyter with --ServerApp.port_retries=0, or register the address without a port where the provider "
        f"follows RFC 8252. Register {other} as well: to a browser it is another place.",
    )
    yield _finding(
        "note",
        "only_this_machine",
        "This redirect URI is for a browser on this machine.",
        "If Jupyter is opened at another address, give that: pywry-auth doctor https://jupyter.example.org/",
    )


def _not_seen(address: str, answer: Answer | None) -> Finding:
    """Say why the server could not be asked at its public address."""
    host = host_of(address)
    if answer is None:
        return _finding(
            "warning",
            "public_unreachable",
            f"The public address {host} cannot be reached from here, so the redirect URI was not checked.",
            "If the browser reaches it, this is fine. Check for a firewall, or a certificate that is not known here "
            "(SSL_CERT_FILE).",
        )
    if answer.status == _NOT_FOUND and not is_login_needed(answer):
        return _finding(
            "error",
            "proxy_base_url",
            f"The address {host} does not lead to this server's pywry-auth/.",
            f"Check that it is the address in the browser. {_PATH}",
        )
    return _finding(
        "warning",
        "public_login",
        f"The address {host} does not let this command in, so the redirect URI was not checked.",
        "Check that it is this server's address. A proxy that has a sign-in of its own is fine, if the browser passes.",
    )


def _worked_out(found: Extension, expected: str) -> Iterator[Finding]:
    uri = found.redirect_uri
    seen = f"The server works out {uri}, and in the browser it is {expected}"
    if uri.partition("://")[0] != expected.partition("://")[0]:
        yield _finding("error", "proxy_scheme", f"{seen}: https is lost on the way.", _scheme_advice(found))
    if host_of(uri) != host_of(expected):
        yield _finding("error", "proxy_host", f"{seen}: the host is lost on the way.", _HOST)
    if path_of(uri) != path_of(expected):
        yield _finding("error", "proxy_base_url", f"{seen}: the path changes on the way.", _PATH)


def _scheme_advice(found: Extension) -> str:
    if found.hub:
        return f"{_PROTO}, or set c.JupyterHub.public_url. {_CONFIGURE}."
    trust = "which this server believes" if found.trust_xheaders else "and set c.ServerApp.trust_xheaders = True"
    return f"{_PROTO}, {trust}. {_CONFIGURE}."


def _configured(address: str, seen: Extension) -> Iterator[Finding]:
    """Say what is wrong with a redirect URI that an administrator wrote down."""
    uri = seen.redirect_uri
    if not _ends_well(uri) or (not seen.hub and path_of(uri) != path_of(address) + CALLBACK):
        yield _wrong_end()
    if not seen.hub and origin_of(uri) != origin_of(address):
        yield _finding(
            "error",
            "configured_host",
            f"The configured redirect URI is at {host_of(uri)}, and the browser at {host_of(address)}: the sign-in "
            "would come back without the cookie that it needs.",
            _CORRECT,
        )


def _ends_well(uri: str) -> bool:
    return path_of(uri).endswith("/" + CALLBACK)


def _wrong_end() -> Finding:
    return _finding(
        "error", "configured_path", "The configured redirect URI does not end at this server's callback.", _CORRECT
    )
