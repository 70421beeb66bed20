"""The extension in the Jupyter server: is it there, and which redirect URI does it work out?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._version import __version__
from .._wire.protocol import PROTOCOL
from .addresses import is_address
from .findings import Check, Finding, found
from .http_probe import json_object

if TYPE_CHECKING:
    from .._io.answers import Answer
    from .server import Server

_CHECK = "pywry-auth/check"
_FORBIDDEN = 403
_VERSION = re.compile(r"[0-9A-Za-z.+!-]{1,40}", re.ASCII)
_TYPES = {"configured": bool, "hub": bool, "trust_xheaders": bool, "protocol": int, "base_url": str}


@dataclass(frozen=True)
class Extension:
    """What ``pywry-auth/check`` answers, once its types and addresses were checked."""

    version: str
    protocol: int
    redirect_uri: str
    configured: bool
    base_url: str
    hub: bool
    trust_xheaders: bool


def check(server: Server) -> Check[Extension | None]:
    """Check that the extension is in the server, and of a version that fits this one."""
    seen = _read(server.ask("GET", _CHECK))
    yield explain(seen)
    return seen if isinstance(seen, Extension) else None


def look_from_outside(server: Server) -> Extension | Answer | None:
    """Ask an address for the extension; return the answer where another program gave it, and None without an answer.

    The host gets the token only after it answered as the extension answers a stranger.
    """
    answer = server.probe.ask("GET", server.url + _CHECK)
    if server.token and answer is not None and answer.status == _FORBIDDEN and _error(answer) == "jupyter_login":
        answer = server.ask("GET", _CHECK)
    return _read(answer)


def explain(seen: Extension | Answer | None) -> Finding:
    """Return whether that is the extension, of a version that fits this one."""
    if isinstance(seen, Extension):
        other = "extension_version" if seen.version != __version__ else "extension"
        return found("extension", "extension_protocol" if seen.protocol != PROTOCOL else other, version=seen.version)
    if seen is None:
        return found("extension", "server_unreachable")
    return found("extension", "server_login" if is_login_needed(seen) else "extension_missing")


def is_version(text: object) -> bool:
    """Whether this can be shown as a version."""
    return isinstance(text, str) and _VERSION.fullmatch(text) is not None


def is_login_needed(answer: Answer) -> bool:
    """Whether the extension itself asks for a login to Jupyter, or for the server's owner."""
    return _error(answer) in {"jupyter_login", "forbidden"}


def _error(answer: Answer) -> str:
    return str(answer.body.get("error")) if isinstance(answer.body, dict) else ""


def _read(answer: Answer | None) -> Extension | Answer | None:
    body: dict[str, Any] = json_object(answer)
    readable = is_version(body.get("version")) and is_address(body.get("redirect_uri"))
    if readable and all(isinstance(body.get(name), kind) for name, kind in _TYPES.items()):
        return Extension(**{name: body[name] for name in ("version", "redirect_uri", *_TYPES)})
    return answer
