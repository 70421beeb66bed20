"""A warning about client secrets in notebook cells."""

from __future__ import annotations

import ast
import sys
import warnings
from typing import Any

_LONG = 8  # characters


def warn_if_in_a_cell(secret: str) -> None:
    """Warn if ``secret`` is in a cell of this notebook, and so in its file and in IPython's history."""
    if secret and any(_shows(literal, secret) for cell in _cells() for literal in _literals(cell)):
        warnings.warn(
            "The client secret is in a cell, so it is saved in the notebook. Read it from the environment "
            "(PYWRY_OAUTH2__CLIENT_SECRET), a file or the keyring, and have the provider issue a new one.",
            UserWarning,
            stacklevel=1,  # not the caller: Python would print its line, with the secret
        )


def _shows(literal: str, secret: str) -> bool:
    """Whether a string in a cell is the secret, or contains it. A short secret may be contained by chance."""
    return literal == secret or (len(secret) >= _LONG and secret in literal)


def _literals(cell: str) -> list[str]:
    """Return the string literals in a cell."""
    try:
        nodes = list(ast.walk(ast.parse(cell)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def _cells() -> list[str]:
    """Return the source of every cell that this kernel has run."""
    return list(getattr(getattr(shell(), "history_manager", None), "input_hist_parsed", []))


def shell() -> Any:
    """Return the IPython shell, or None in plain Python."""
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython

    return get_ipython()
