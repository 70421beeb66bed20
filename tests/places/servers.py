"""Servers of other kinds than JupyterLab and Notebook 7, or with other settings."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from tests.e2e.driver import log_in
from tests.e2e.processes import HarnessError, JupyterServer, Process, write_json
from tests.support.ports import free_port

from . import cells
from .batch import environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from playwright.sync_api import BrowserContext, Page

_MAIN = Path(__file__).parents[1] / "e2e" / "jupyter_main.py"
#: Server extensions that only some places have; without them JupyterLab edits a notebook alone.
_TOGETHER = ("jupyter_server_ydoc", "jupyter_server_fileid")
_TOGETHER_IN_PAGE = ("@jupyter/collaboration-extension", "@jupyter/docprovider-extension")


def lab_4_2() -> str:
    """Return the interpreter that has JupyterLab 4.2."""
    python = os.environ.get("LAB42_PYTHON")
    if python is None:
        raise HarnessError("run `make places`, or set LAB42_PYTHON to a Python that has JupyterLab 4.2")
    return python


class Place(JupyterServer):
    """A Jupyter server with notebooks, made from what pip installs.

    Args:
        kind: What to start; see jupyter_main.py.
        directory: An empty folder for all of it.
        ours: Whether the server has our extension.
        together: Whether several people can edit a notebook at once.
        python: The interpreter of the server and its kernels.
        arguments: Of the command line.
        settings: See JupyterServer.
    """

    def __init__(
        self,
        kind: str,
        directory: Path,
        *,
        ours: bool = True,
        together: bool = False,
        python: str = sys.executable,
        arguments: Sequence[str] = (),
        settings: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        extensions = {"pywry_auth_nb": ours, **({} if together else dict.fromkeys(_TOGETHER, False))}
        config: dict[str, dict[str, Any]] = {"ServerApp": {"jpserver_extensions": extensions}}
        path = {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
        super().__init__(kind, directory, config=config, env=path, settings=settings)  # type: ignore[arg-type]
        self._python, self._arguments = python, arguments
        if not together:
            disabled = {"disabledExtensions": dict.fromkeys(_TOGETHER_IN_PAGE, True)}
            write_json(self._home / "config" / "labconfig" / "page_config.json", disabled)

    def command(self) -> list[str]:
        """Return the command line."""
        return [self._python, str(_MAIN), self.kind, *self._arguments]

    def write(self, name: str, *sources: str) -> Path:
        """Write a notebook into the server's folder."""
        self.root.mkdir(exist_ok=True)
        return cells.write_notebook(self.root / name, sources)

    def visit(self, context: BrowserContext, path: str) -> Page:
        """Open a page of the server with its login cookie."""
        log_in(context, self)
        page = context.new_page()
        page.goto(self.url + path)
        return page


class Voila(Process):
    """Voilà as a program of its own, which shows one notebook.

    Args:
        folder: An empty folder for all of it.
        sources: The notebook's cells.
    """

    def __init__(self, folder: Path, *sources: str) -> None:
        super().__init__(folder / "voila.log")
        self._notebook = cells.write_notebook(folder / "n.ipynb", sources)
        self._port, self._token = free_port(), secrets.token_hex(16)
        self.url = f"http://127.0.0.1:{self._port}/?token={self._token}"

    def command(self) -> list[str]:
        """Return the command line."""
        options = {"ip": "127.0.0.1", "port": self._port, "open_browser": False, "token": self._token}
        arguments = [f"--Voila.{name}={value}" for name, value in options.items()]
        return [sys.executable, str(_MAIN), "voila", str(self._notebook), *arguments]

    def env(self) -> dict[str, str]:
        """Return the environment."""
        return environment(self.log.parent)

    def is_ready(self) -> bool:
        """Return whether it serves files of its own."""
        try:
            url = f"http://127.0.0.1:{self._port}/voila/static/voila.js"
            return httpx.get(url, timeout=5, trust_env=False).status_code < httpx.codes.INTERNAL_SERVER_ERROR
        except httpx.TransportError:
            return False
