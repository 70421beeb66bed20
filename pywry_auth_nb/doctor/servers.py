"""Which Jupyter server this is about: the one whose terminal or kernel this runs in, else one that runs here."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._wire.hub_routing import is_on_a_hub
from ..tokens import Secret
from .addresses import host_of, is_address, is_insecure, on_this_machine, path_of
from .findings import Finding

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from .._io.http import Answer
    from .http_probe import Asker

_finding = partial(Finding, "server")
_PROBE = 3.0  # seconds
_MOST = 8  # records that are looked at
_WELCOME, _STRANGER = 200, frozenset({302, 401, 403})


@dataclass(frozen=True, repr=False)
class Server:
    """A Jupyter server and how to be let in there.

    Attributes:
        url: Where it is reached from here, with a slash at the end.
        token: A token of Jupyter's; empty where there is none.
    """

    url: str
    token: str

    def ask(self, asker: Asker, method: str, path: str, **options: Any) -> Answer | None:
        """Ask for something below its base URL; None when there is no answer."""
        return asker.ask(method, self.url + path, self.token, **options)


def find(environ: Mapping[str, str], asker: Asker) -> Generator[Finding, None, Server | None]:
    """Find the server on this machine that one signs in at."""
    answers: dict[Server, int] = {}
    for server in _candidates(environ):
        answers[server] = _knock(server, asker)
        if answers[server] == _WELCOME and is_on_a_hub(environ):
            break  # there is one, and nobody else needs its token
    welcome = [server for server, status in answers.items() if status == _WELCOME]
    if welcome:
        return (yield from _chosen(welcome, environ))
    stranger = [server for server, status in answers.items() if status in _STRANGER]
    if stranger:
        yield _not_let_in(stranger[0])
    elif answers:
        yield _silent(next(iter(answers)))
    elif _has_internal_ssl(environ):
        yield _only_for_the_hub()
    return None


def from_outside(url: str, environ: Mapping[str, str]) -> Server:
    """Return a server that is looked at from elsewhere, with a token that somebody set for this; never the hub's."""
    return Server(url, Secret(environ.get("JUPYTER_TOKEN", "")))


def missing() -> Finding:
    """Say that there is no server to look at."""
    return _finding(
        "warning",
        "server_missing",
        "No running Jupyter server was found here.",
        "Run this command in a terminal of Jupyter, or give the address: pywry-auth doctor https://hub.example.org/",
    )


def _chosen(welcome: list[Server], environ: Mapping[str, str]) -> Generator[Finding, None, Server]:
    server = welcome[0]
    yield _finding("ok", "server_found", f"The Jupyter server at {_name(server)} answers.")
    if len(welcome) > 1 and not is_on_a_hub(environ) and not _is_hinted(environ):
        others = ", ".join(_name(other) for other in welcome[1:])
        yield _finding(
            "note",
            "several_servers",
            f"Other Jupyter servers run here, too: {others}. This one was started last.",
            "To look at another one, run this command in a terminal of it.",
        )
    return server


def _not_let_in(server: Server) -> Finding:
    return _finding(
        "warning",
        "server_login",
        f"The Jupyter server at {_name(server)} runs, but does not let this command in.",
        "Run this command in a terminal of that server; or, if it wants a password, start it with a token as well "
        "(JUPYTER_TOKEN) and set the same here.",
    )


def _silent(server: Server) -> Finding:
    if is_insecure(server.url):
        return _finding(
            "warning",
            "server_insecure",
            f"The Jupyter server at {_name(server)} cannot be asked: no token is sent over plain http.",
            "Let it listen at 127.0.0.1, or everywhere (0.0.0.0) with a proxy before it that ends TLS.",
        )
    return _finding(
        "error" if server.url.startswith("http:") else "warning",  # or it has a certificate that is not known here
        "server_unreachable",
        f"The Jupyter server at {_name(server)} does not answer.",
        "Check that it runs. If it has a certificate of its own, name that in SSL_CERT_FILE.",
    )


def _only_for_the_hub() -> Finding:
    return _finding(
        "warning",
        "server_internal_ssl",
        "On this hub (internal_ssl) a server answers to the hub and its proxy alone, so this one was not looked at.",
        "Let the administrator set c.JupyterHub.public_url: then this command asks through the proxy.",
    )


def _name(server: Server) -> str:
    return host_of(server.url) + path_of(server.url)


def _knock(server: Server, asker: Asker) -> int:
    """Return the status with which a server answers who we are; 0 when it does not."""
    answer = server.ask(asker, "GET", "api/me", seconds=_PROBE)
    return 0 if answer is None else answer.status


def _candidates(environ: Mapping[str, str]) -> list[Server]:
    """Return the servers that it may be, the likeliest first."""
    records = [_as_server(record, environ) for record in _records(environ)]
    if not is_on_a_hub(environ):
        return [server for server in records if server is not None]
    token, prefix = Secret(environ.get("JUPYTERHUB_API_TOKEN", "")), environ["JUPYTERHUB_SERVICE_PREFIX"]
    if _has_internal_ssl(environ):
        own, records = environ.get("JUPYTERHUB_PUBLIC_URL", ""), []
    else:
        own = on_this_machine(environ.get("JUPYTERHUB_SERVICE_URL", ""))
    urls = [own, *(server.url for server in records if server is not None and path_of(server.url) == prefix)]
    return [Server(url.rstrip("/") + "/", token) for url in dict.fromkeys(urls) if is_address(url)]


def _has_internal_ssl(environ: Mapping[str, str]) -> bool:
    """Whether this server's certificate is one that only the hub and its proxy know."""
    return is_on_a_hub(environ) and "JUPYTERHUB_SSL_CERTFILE" in environ


def _as_server(record: dict[str, Any], environ: Mapping[str, str]) -> Server | None:
    """Return the server that a record describes; None where it is none, or listens on no port."""
    url, token = record.get("url"), record.get("token")
    if record.get("hostname") in {"", "0.0.0.0", "::", "*"} and is_address(url):  # noqa: S104 - it listens everywhere
        url = f"{str(url).partition('://')[0]}://127.0.0.1:{record.get('port')}{path_of(str(url))}"
    if not is_address(url):
        return None
    given = token if isinstance(token, str) and token else environ.get("JUPYTER_TOKEN", "")
    return Server(str(url).rstrip("/") + "/", Secret(given))


def _records(environ: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return what running servers wrote down about themselves: the one of this terminal first, then the latest."""
    from jupyter_core.paths import jupyter_runtime_dir

    found = [(record, written) for path in Path(jupyter_runtime_dir()).glob("jpserver-*.json")
             for record, written in _read(path)]  # fmt: skip
    found.sort(key=lambda one: (_is_named(one[0], environ), one[1]), reverse=True)
    return [record for record, _ in found][:_MOST]


def _read(path: Path) -> Iterator[tuple[dict[str, Any], float]]:
    """Yield the record of a server that lives, and when it was written (epoch seconds)."""
    try:
        record, written = json.loads(path.read_text("utf-8")), path.stat().st_mtime
    except (OSError, ValueError, RecursionError):
        return
    if isinstance(record, dict) and _lives(record.get("pid")):
        yield record, written


def _lives(pid: object) -> bool:
    """Whether a process may live: one that is gone may have left its port to somebody else, who must get no token."""
    if not isinstance(pid, int) or os.name != "posix":  # on Windows, to ask is to kill
        return isinstance(pid, int)
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return False  # another user's
    return True


def _is_hinted(environ: Mapping[str, str]) -> bool:
    """Whether this runs in a terminal or kernel, which know their server."""
    return "JPY_PARENT_PID" in environ or "JUPYTER_SERVER_URL" in environ


def _is_named(record: dict[str, Any], environ: Mapping[str, str]) -> bool:
    """Whether this is the server whose kernel or terminal this runs in."""
    return environ.get("JPY_PARENT_PID") == str(record.get("pid")) or (
        "JUPYTER_SERVER_URL" in environ and environ["JUPYTER_SERVER_URL"] == record.get("url")
    )
