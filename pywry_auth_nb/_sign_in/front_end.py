"""The environment: the running kernel, its Jupyter server, and whether there is a front end."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from .._io.cells import shell

_JUPYTER_CLIENT = re.compile(r"[0-9a-f]{8}-[0-9a-f]{24}")  # how jupyter_client names a session
_RUN_MODULE = ["-m", "jupyter_client.runapp"]


def current_kernel() -> Any:
    """Return the running ipykernel, or None in plain Python, terminal IPython and other kernels."""
    if "ipykernel" not in sys.modules:
        return None
    from IPython import get_ipython

    kernel = getattr(get_ipython(), "kernel", None)
    return kernel if hasattr(kernel, "control_handlers") else None


def unable_place() -> str:
    """Return why no cell can wait for a sign-in here, if this is a notebook without ipykernel; else ``""``."""
    marimo = sys.modules.get("marimo")
    if marimo is not None and getattr(marimo, "running_in_notebook", lambda: False)():
        return "A cell of marimo"
    ipython = shell()
    if (
        ipython is None
        or current_kernel() is not None
        or "TerminalInteractiveShell" in map(_name, type(ipython).__mro__)
    ):
        return ""
    return "A cell of this kernel"


def _name(kind: type) -> str:
    return kind.__name__


def has_front_end() -> bool:
    """Whether to display what only a user needs: batch runners (papermill, nbval) say that they take no input.

    It does not say that a user can click: whether to wait for one is found out by the widget's greeting.
    """
    return bool(_request().get("content", {}).get("allow_stdin", False)) and not _is_jupyter_run(_launcher())


def is_console() -> bool:
    """Whether the running cell came from jupyter console, qtconsole or the like, which draw no widgets.

    They are made with jupyter_client, whose sessions have names of another form than those of pages.
    """
    return bool(_JUPYTER_CLIENT.fullmatch(str(_request().get("header", {}).get("session", ""))))


def page_base_url() -> str | None:
    """Return the base URL of the Jupyter server whose page runs this cell, or None: for a console, for example."""
    return server_base_url() if has_front_end() and not is_console() else None


def _request() -> dict[str, Any]:
    """Return the message that runs this cell; empty if there is none."""
    kernel = current_kernel()
    return (kernel and kernel.get_parent("shell")) or {}


def _launcher() -> list[str]:
    """Return the command line of the program that started this kernel; empty where the system does not tell."""
    try:
        said = Path("/proc", os.environ.get("JPY_PARENT_PID", "none"), "cmdline").read_text(errors="replace")
    except OSError:
        return []
    return said.split("\0")


def _is_jupyter_run(command: list[str]) -> bool:
    """Whether this is ``jupyter run``: it says that it takes input, and fails when it is asked for some."""
    program, *arguments = command or [""]
    return "jupyter-run" in map(os.path.basename, (program, *arguments[:1])) or arguments[:2] == _RUN_MODULE


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
    """Return this kernel's ID at the Jupyter server: a UUID, to which Enterprise Gateway's launchers add ``_…``."""
    return _connection_file().stem.removeprefix("kernel-").partition("_")[0]


def _connection_file() -> Path:
    from ipykernel.connect import get_connection_file

    try:
        return Path(get_connection_file())
    except RuntimeError:  # an embedded kernel has none
        return Path()
