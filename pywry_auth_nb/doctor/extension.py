"""The extension in the Jupyter server: is it there, and which redirect URI does it work out?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from .._version import __version__
from .._wire.protocol import PROTOCOL
from .addresses import is_address
from .findings import Finding

if TYPE_CHECKING:
    from collections.abc import Generator

    from .._io.http import Answer
    from .http_probe import Asker
    from .servers import Server

_CHECK = "pywry-auth/check"
_FORBIDDEN = 403
_VERSION = re.compile(r"[0-9A-Za-z.+!-]{1,40}", re.ASCII)
_finding = partial(Finding, "extension")


@dataclass(frozen=True)
class Extension:
    """What ``pywry-auth/check`` answers, as far as it makes sense."""

    version: str
    protocol: int
    redirect_uri: str
    configured: bool
    base_url: str
    hub: bool
    trust_xheaders: bool


def check(server: Server, asker: Asker) -> Generator[Finding, None, Extension | None]:
    """Say whether the extension is in the server, and of a version that fits this one."""
    found = _read(server.ask(asker, "GET", _CHECK))
    yield explain(found)
    return found if isinstance(found, Extension) else None


def look_from_outside(server: Server, asker: Asker) -> Extension | Answer | None:
    """Ask an address for the extension; return the answer where it is another one, and None where there is none.

    Whoever is there gets the token only after having answered as the extension answers a stranger.
    """
    answer = asker.ask("GET", server.url + _CHECK)
    if server.token and answer is not None and _is_to_stranger(answer):
        answer = server.ask(asker, "GET", _CHECK)
    return _read(answer)


def explain(found: Extension | Answer | None) -> Finding:
    """Say whether that is the extension, of a version that fits this one."""
    return _fit(found) if isinstance(found, Extension) else _absent(found)


def is_version(text: object) -> bool:
    """Whether this can be shown as a version."""
    return isinstance(text, str) and _VERSION.fullmatch(text) is not None


def is_login_needed(answer: Answer) -> bool:
    """Whether the extension itself wants somebody who is signed in to Jupyter, or the owner of the server."""
    return _error(answer) in {"jupyter_login", "forbidden"}


def _is_to_stranger(answer: Answer) -> bool:
    return answer.status == _FORBIDDEN and _error(answer) == "jupyter_login"


def _error(answer: Answer) -> str:
    return str(answer.body.get("error")) if isinstance(answer.body, dict) else ""


def _read(answer: Answer | None) -> Extension | Answer | None:
    return answer if answer is None else _understood(answer) or answer


def _understood(answer: Answer) -> Extension | None:
    body: dict[str, Any] = answer.body if answer.ok and isinstance(answer.body, dict) else {}
    kinds = {"configured": bool, "hub": bool, "trust_xheaders": bool, "protocol": int, "base_url": str}
    if not is_version(body.get("version")) or not is_address(body.get("redirect_uri")):
        return None
    if not all(isinstance(body.get(name), kind) for name, kind in kinds.items()):
        return None
    return Extension(**{name: body[name] for name in ("version", "redirect_uri", *kinds)})


def _fit(found: Extension) -> Finding:
    same = "Install the same version of pywry-auth-nb in both places, and restart the server."
    if found.protocol != PROTOCOL:
        return _finding(
            "error",
            "extension_protocol",
            f"The server has version {found.version}, which does not understand version {__version__} here.",
            same,
        )
    if found.version != __version__:
        return _finding(
            "warning",
            "extension_version",
            f"The server has version {found.version}, and here is {__version__}.",
            same,
        )
    return _finding("ok", "extension", f"The server has the extension, version {found.version}.")


def _absent(answer: Answer | None) -> Finding:
    if answer is None:
        return _finding(
            "error",
            "server_unreachable",
            "The server did not answer about the extension.",
            "Check that it runs and is not overloaded, then try again.",
        )
    if is_login_needed(answer):
        return _finding(
            "warning",
            "server_login",
            "The server has the extension, but does not take this token for its owner's.",
            "Run this command in a terminal of that server, as its owner.",
        )
    return _finding(
        "error",
        "extension_missing",
        "The server does not have the extension, or an older version of it.",
        "Install pywry-auth-nb where the server runs, restart the server, and look for pywry_auth_nb in the output of: "
        "jupyter server extension list",
    )
