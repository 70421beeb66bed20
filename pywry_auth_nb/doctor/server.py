"""Which Jupyter server this is about: the one whose terminal or kernel this runs in, else one of this machine."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._io.urls import is_safe
from .._wire.hub_routing import is_on_a_hub
from ..tokens import Secret
from .addresses import ALL_ADDRESSES, host_of, is_address, on_this_machine, path_of, scheme_of
from .findings import Check, found

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .._io.answers import Answer
    from .http_probe import Probe

_SECONDS = 3.0  # for each server
_MOST = 8  # records that are looked at
_WELCOME, _REFUSED = 200, frozenset({302, 401, 403})


@dataclass(frozen=True, repr=False)
class Server:
    """A Jupyter server and how to be let in there.

    Attributes:
        url: Where it is reached from here, with a slash at the end.
        token: A token of Jupyter's; may be empty.
        probe: What sends the requests.
    """

    url: str
    token: str
    probe: Probe

    @property
    def name(self) -> str:
        """Host, port and path."""
        return host_of(self.url) + path_of(self.url)

    def ask(self, method: str, path: str, **options: Any) -> Answer | None:
        """Send a request below its base URL; None when there is no answer."""
        return self.probe.ask(method, self.url + path, self.token, **options)

    def status(self) -> int:
        """Return the HTTP status with which it answers who the token's user is; 0 when it does not answer."""
        answer = self.ask("GET", "api/me", seconds=_SECONDS)
        return 0 if answer is None else answer.status


def find(environ: Mapping[str, str], probe: Probe) -> Check[Server | None]:
    """Find the server on this machine at which the user signs in."""
    statuses: dict[Server, int] = {}
    for server in _candidates(environ, probe):
        statuses[server] = server.status()
        if statuses[server] == _WELCOME and is_on_a_hub(environ):
            break  # the hub's token is for this server; the others must not get it
    welcome = [server for server, status in statuses.items() if status == _WELCOME]
    if welcome:
        yield found("server", "server_found", server=welcome[0].name)
        if len(welcome) > 1 and not is_on_a_hub(environ) and not _is_hinted(environ):
            yield found("server", "several_servers", others=", ".join(server.name for server in welcome[1:]))
        return welcome[0]
    for server, status in sorted(statuses.items(), key=lambda one: one[1] not in _REFUSED)[:1]:
        yield found("server", "server_login" if status in _REFUSED else _silent(server.url), server=server.name)
    if not statuses and _has_internal_ssl(environ):
        yield found("server", "server_internal_ssl")
    return None


def let_in(url: str, token: str, probe: Probe) -> Check[Server | None]:
    """Return the server at ``url``, with which the user gave ``token``, if it takes that; else None, and no finding."""
    server = Server(url, Secret(token), probe)
    if server.status() != _WELCOME:
        return None
    yield found("server", "server_found", server=server.name)
    return server


def from_outside(url: str, environ: Mapping[str, str], probe: Probe) -> Server:
    """Return a server that is looked at from elsewhere, with the token that was set for this; never the hub's."""
    return Server(url, Secret(environ.get("JUPYTER_TOKEN", "")), probe)


def _silent(url: str) -> str:
    """Return the finding's name for a server that does not answer."""
    if not is_safe(url):
        return "server_insecure"
    return "server_unreachable" if scheme_of(url) == "http" else "server_unreachable.https"


def _candidates(environ: Mapping[str, str], probe: Probe) -> list[Server]:
    """Return the servers that it may be, the likeliest first."""
    records = [server for record in _records(environ) for server in _from_record(record, environ, probe)]
    if not is_on_a_hub(environ):
        return records
    token, prefix = Secret(environ.get("JUPYTERHUB_API_TOKEN", "")), environ["JUPYTERHUB_SERVICE_PREFIX"]
    if _has_internal_ssl(environ):
        urls = [environ.get("JUPYTERHUB_PUBLIC_URL", "")]
    else:
        own = on_this_machine(environ.get("JUPYTERHUB_SERVICE_URL", ""))
        urls = [own, *(server.url for server in records if path_of(server.url) == prefix)]
    return [Server(url.rstrip("/") + "/", token, probe) for url in dict.fromkeys(urls) if is_address(url)]


def _has_internal_ssl(environ: Mapping[str, str]) -> bool:
    """Whether this server's certificate is known to the hub and its proxy alone."""
    return is_on_a_hub(environ) and "JUPYTERHUB_SSL_CERTFILE" in environ


def _from_record(record: dict[str, Any], environ: Mapping[str, str], probe: Probe) -> Iterator[Server]:
    """Yield the server that a record describes, if it listens on a port."""
    url, token = record.get("url"), record.get("token")
    if record.get("hostname") in ALL_ADDRESSES and is_address(url):
        url = f"{scheme_of(str(url))}://127.0.0.1:{record.get('port')}{path_of(str(url))}"
    if is_address(url):
        given = token if isinstance(token, str) and token else environ.get("JUPYTER_TOKEN", "")
        yield Server(str(url).rstrip("/") + "/", Secret(given), probe)


def _records(environ: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return what running servers wrote down about themselves: the one of this terminal first, then the latest."""
    from jupyter_core.paths import jupyter_runtime_dir

    written = [one for path in Path(jupyter_runtime_dir()).glob("jpserver-*.json") for one in _read(path)]
    written.sort(key=lambda one: (_is_named(one[0], environ), one[1]), reverse=True)
    return [record for record, _ in written][:_MOST]


def _read(path: Path) -> Iterator[tuple[dict[str, Any], float]]:
    """Yield the record of a server that lives, and when it was written (epoch seconds)."""
    try:
        record, written = json.loads(path.read_text("utf-8")), path.stat().st_mtime
    except (OSError, ValueError, RecursionError):
        return
    if isinstance(record, dict) and _lives(record.get("pid")):
        yield record, written


def _lives(pid: object) -> bool:
    """Whether a process of this user may live: the port of one that is gone may be another user's by now."""
    if not isinstance(pid, int) or os.name != "posix":  # on Windows, os.kill(pid, 0) ends the process
        return isinstance(pid, int)
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError, OverflowError):
        return False
    return True


def _is_hinted(environ: Mapping[str, str]) -> bool:
    """Whether this runs in a terminal or kernel, which know their server."""
    return "JPY_PARENT_PID" in environ or "JUPYTER_SERVER_URL" in environ


def _is_named(record: dict[str, Any], environ: Mapping[str, str]) -> bool:
    """Whether this is the server whose kernel or terminal this runs in."""
    return environ.get("JPY_PARENT_PID") == str(record.get("pid")) or (
        "JUPYTER_SERVER_URL" in environ and environ["JUPYTER_SERVER_URL"] == record.get("url")
    )
