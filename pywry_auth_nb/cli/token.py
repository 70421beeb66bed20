"""``pywry-auth token``: a valid token for other programs."""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from ..tokens import bearer, jwt_claim
from .exits import DONE, WRONG_USAGE, say
from .sessions import add_options, open_session, read_token

if TYPE_CHECKING:
    import argparse

_ABOUT = """\
Print a valid access token for another program, renewing it first if necessary.
A terminal keeps what it shows, and so does the cell of a notebook: there it is
printed with --show only.
"""
_ON_SCREEN = (
    "pywry-auth: this is a terminal or a notebook's cell, which keeps what it shows. Let the program that needs the "
    "token read it (pywry-auth token | …), or add --show. In a notebook use session.access_token."
)
_KUBERNETES = "client.authentication.k8s.io/v1"
_VERSIONS = (_KUBERNETES, f"{_KUBERNETES}beta1")


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    token = commands.add_parser("token", help="print a valid token for another program", description=_ABOUT)
    add_options(token)
    token.add_argument("--id-token", action="store_true", help="the ID token instead: Kubernetes' API servers want it")
    form = token.add_mutually_exclusive_group()
    form.add_argument("--header", action="store_true", help="as a header, for curl -H @-")
    form.add_argument("--exec-credential", action="store_true", help="as kubectl's credential plugin")
    token.add_argument("--show", action="store_true", help="print it on a terminal as well")
    token.set_defaults(run=_token)


def may_print(options: argparse.Namespace) -> bool:
    """Whether a token may go to standard output. If not, say why."""
    if options.show or not sys.stdout.isatty():
        return True
    say(_ON_SCREEN)
    return False


def _token(options: argparse.Namespace) -> int:
    if not may_print(options):
        return WRONG_USAGE
    session, _ = open_session(options)
    token: str = read_token(session)
    end = session.expires_at
    if options.id_token:
        token = session.id_token
        end = jwt_claim(token, "exp")
    if options.exec_credential:
        print(json.dumps(_exec_credential(token, end)))
    else:
        print(f"Authorization: {bearer(token)}" if options.header else str(token))
    return DONE


def _exec_credential(token: str, end: float | None) -> dict[str, Any]:
    """Return a token as kubectl reads it from a credential plugin, in the version that it asks for."""
    status = {"token": str(token)}
    if end is not None:
        status["expirationTimestamp"] = datetime.fromtimestamp(end, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"apiVersion": _wanted_version(), "kind": "ExecCredential", "status": status}


def _wanted_version() -> str:
    """Return the version that kubectl names in KUBERNETES_EXEC_INFO, if it is known."""
    try:
        wanted = json.loads(os.environ.get("KUBERNETES_EXEC_INFO", "{}"))["apiVersion"]
    except (ValueError, KeyError, TypeError):
        return _KUBERNETES
    return wanted if wanted in _VERSIONS else _KUBERNETES
