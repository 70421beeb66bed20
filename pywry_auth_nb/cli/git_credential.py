"""``pywry-auth git-credential``: Git's helper (gitcredentials(7)) for the origins in ``allowed_origins``."""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import time
from typing import TYPE_CHECKING, TextIO

from .._io.urls import is_safe, origin
from ..errors import ConfigurationError
from ..tokens import Secret
from .exits import DONE, WRONG_USAGE
from .sessions import add_options, open_session, read_token
from .token import may_print

if TYPE_CHECKING:
    from ..session import SessionManager

_GIT = """\
Answer Git's questions for credentials with the access token: only over https
(or on this machine), and only for the origins in the setting ALLOWED_ORIGINS.
Set it up with: git config --global credential.https://git.example.org.helper
'!pywry-auth git-credential'
"""
_NO_ORIGINS = (
    "Set PYWRY_OAUTH2__ALLOWED_ORIGINS to the Git servers that may get the token, such as https://git.example.org."
)
_HOST = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_MAX_LINE, _MAX_LINES = 64 * 1024, 256
_JUST_NOW = 30.0  # seconds: a token of this age was refused for another reason than its end


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    git = commands.add_parser("git-credential", help="hand the token to Git, as its helper", description=_GIT)
    add_options(git)
    git.add_argument("operation", choices=["get", "store", "erase"], help="what Git asks for")
    git.add_argument("--username", default="oauth2", help="the user name for the server (default: %(default)s)")
    git.add_argument("--show", action="store_true", help=argparse.SUPPRESS)
    git.set_defaults(run=_git)


def _git(options: argparse.Namespace) -> int:
    asked = read_request(sys.stdin)
    if options.operation == "store":  # the session renews its token by itself
        return DONE
    if not may_print(options):
        return WRONG_USAGE
    session, settings = open_session(options)
    if not settings.allowed_origins:
        raise ConfigurationError(_NO_ORIGINS)
    if not is_allowed(asked, settings.allowed_origins):
        return DONE  # without an answer, Git goes on to its next helper
    if options.operation == "get":
        print(_answer(session, asked.get("username") or options.username))
    else:
        _renew_refused(session, Secret(asked.get("password", "")))
    return DONE


def read_request(stream: TextIO) -> dict[str, str]:
    """Return what Git asks, one attribute on each line until an empty one.

    Raises:
        ConfigurationError: It is malformed: a line without a name, a control character, or a name that stands twice,
            with which a crafted address could smuggle in another host (CVE-2020-5260, CVE-2024-52006).
    """
    asked: dict[str, str] = {}
    for _ in range(_MAX_LINES):
        line = stream.readline(_MAX_LINE).removesuffix("\n")
        if not line:
            return asked
        name, equals, value = line.partition("=")
        if not equals or not line.isprintable() or name in asked:
            break
        if not name.endswith("[]"):
            asked[name] = Secret(value)
    raise ConfigurationError("Git's question is malformed, so it gets no answer.")


def is_allowed(asked: dict[str, str], origins: list[str]) -> bool:
    """Whether the server of a question is one of ``origins``, and the token does not go there in plain text."""
    host = asked.get("host", "")
    url = f"{asked.get('protocol', '')!s}://{host!s}"
    return bool(_HOST.fullmatch(host)) and is_safe(url) and origin(url) in map(origin, origins)


def _answer(session: SessionManager, username: str) -> str:
    lines = [f"username={username}", f"password={read_token(session)!s}"]
    if session.expires_at is not None:
        lines.append(f"password_expiry_utc={session.expires_at:.0f}")
    return "\n".join(lines)


def _renew_refused(session: SessionManager, refused: Secret) -> None:
    """Renew the token that a server has refused, unless it is new or has been replaced already."""
    tokens = asyncio.run(session.initialize())
    if tokens is not None and tokens.access_token == refused and time.time() - tokens.issued_at > _JUST_NOW:
        asyncio.run(session.refresh())
