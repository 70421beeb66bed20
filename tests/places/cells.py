"""What a user writes in a notebook or a program, and that notebook or program as a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import nbformat.v4

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.e2e.processes import Provider

_SESSION = """\
from pywry_auth_nb import GenericOIDCProvider, MemoryTokenStore, SessionManager
provider = GenericOIDCProvider("pywry", issuer_url={issuer!r}, scopes=["openid", "profile", "email"])
session = SessionManager(provider, MemoryTokenStore())
"""
#: Where a user is sent who cannot be asked: how long it took stands in the file ``took``.
_LOGIN = """\
import pathlib, time
begun = time.monotonic()
try:
    session.login()
finally:
    pathlib.Path({took!r}).write_text(str(time.monotonic() - begun))
"""
#: What the token is for.
CALL = 'import httpx\nprint("status", httpx.get(provider.userinfo_url, auth=session.auth).status_code)'
WAIT = 'print("signed in as", session.login(timeout=60).user_info["name"])'


#: The same, from settings.
FROM_SETTINGS = "from pywry_auth_nb import SessionManager\nsession = SessionManager.from_settings()"
_CALL_AT = "import httpx\nassert httpx.get({url!r}, headers=session.headers).status_code == 200"


def session(provider: Provider) -> str:
    """Return the code that makes a session."""
    return _SESSION.format(issuer=provider.issuer)


def call(provider: Provider) -> str:
    """Return the code that uses the token, and fails unless the provider takes it."""
    return _CALL_AT.format(url=f"{provider.issuer}/me")


def login(took: Path) -> str:
    """Return the code that signs in and notes how long that took, in seconds."""
    return _LOGIN.format(took=str(took))


def write_notebook(path: Path, cells: Sequence[str]) -> Path:
    """Write a notebook of code cells for Python 3."""
    v4: Any = nbformat.v4  # is not typed
    notebook = v4.new_notebook(cells=[v4.new_code_cell(source) for source in cells])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path.write_text(str(v4.writes(notebook)), encoding="utf-8")
    return path
