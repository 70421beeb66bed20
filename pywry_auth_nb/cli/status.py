"""``pywry-auth status``: who is signed in, where, and until when."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from ..errors import AuthenticationError
from .exits import DONE, report, status_of
from .sessions import add_options, open_session, read_token

if TYPE_CHECKING:
    import argparse

    from ..session import SessionManager

_STATUS = """\
Say who is signed in, where, until when, and where the tokens are kept. A token
that has expired is renewed first: the exit status is 0 if there is one to use.
"""
_CLAIMS = ("sub", "name", "preferred_username", "login", "email")


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    status = commands.add_parser("status", help="say who is signed in, where, and until when", description=_STATUS)
    add_options(status)
    status.add_argument("--json", action="store_true", help="print one JSON object")
    status.set_defaults(run=_status)


def _status(options: argparse.Namespace) -> int:
    session, settings = open_session(options)
    problem = None
    try:
        read_token(session)
    except AuthenticationError as error:
        problem = error
    store = settings.token_store_backend if session.provider.kept_in_store else "memory"
    facts = _facts(session, store, problem)
    if options.json:
        print(json.dumps(facts, indent=2))
    elif problem is None:
        print(_text(facts))
    else:
        report(problem)
    return DONE if problem is None else status_of(problem)


def _facts(session: SessionManager, store: str, problem: AuthenticationError | None) -> dict[str, Any]:
    tokens = session._engine.state.tokens
    user = session.user or {}
    return {
        "signed_in": problem is None,
        "status": session.status,
        "name": session.display_name,
        "user": {name: user[name] for name in _CLAIMS if isinstance(user.get(name), str)},
        "provider": session.provider.label,
        "scopes": list(session.scopes),
        "expires_at": session.expires_at,
        "renewable": tokens is not None and tokens.refresh_token is not None,
        "store": store,
        "error": problem and {"code": problem.code, "message": problem.message},
    }


def _text(facts: dict[str, Any]) -> str:
    """Return the same for people, without characters that a terminal would obey."""
    mail = facts["user"].get("email", "")
    who = " ".join(filter(None, [facts["name"], f"({mail})" if mail and mail != facts["name"] else ""]))
    end = facts["expires_at"]
    until = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(end)) if end else "not known"
    lines = [
        f"Signed in{f' as {who}' if who else ''} at {facts['provider']}",
        f"Token ends: {until}{' (renews by itself)' if facts['renewable'] else ''}",
        f"Scopes:     {' '.join(facts['scopes']) or 'not known'}",
        f"Kept in:    {facts['store']}",
    ]
    return "\n".join("".join(filter(str.isprintable, line)) for line in lines)
