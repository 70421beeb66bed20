"""The widget's panel for the ways besides the server's: a module that goes to a page when it begins one of them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_FILE = Path(__file__).parents[1] / "static" / "panel.js"


@cache
def panel() -> str:
    """Return the source of the module. It goes by message, so that no notebook file holds it."""
    return _FILE.read_text(encoding="utf-8")
