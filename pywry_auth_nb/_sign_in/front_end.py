"""The environment: the running kernel, its Jupyter server, and whether there is a front end."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def current_kernel() -> Any:
    """Return the running ipykernel, or None in plain Python and terminal IPython."""
    if "ipykernel" not in sys.modules:
        return None
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None)


def has_front_end() -> bool:
    """Whether a user can interact: batch runners (nbclient, papermill, nbval) declare that they allow no input."""
    kernel = current_kernel()
    if kernel is None:
        return False
    parent = kernel.get_parent("shell") or {}
    return bool(parent.get("content", {}).get("allow_stdin", False))


def server_base_url() -> str | None:
    """Return the base URL of the Jupyter server that started this kernel, or None if it is unknown."""
    prefix = os.environ.get("JUPYTERHUB_SERVICE_PREFIX")
    if prefix:
        return prefix
    record = _connection_file().parent / f"jpserver-{os.environ.get('JPY_PARENT_PID', 'none')}.json"
    try:
        base_url = json.loads(record.read_text())["base_url"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return base_url if isinstance(base_url, str) else None


def kernel_id() -> str:
    """Return this kernel's ID at the Jupyter server."""
    return _connection_file().stem.removeprefix("kernel-")


def _connection_file() -> Path:
    from ipykernel.connect import get_connection_file

    try:
        return Path(get_connection_file())
    except RuntimeError:  # an embedded kernel has none
        return Path()
