"""A page of another origin than the Jupyter server's, which shows widgets with html-manager."""

from __future__ import annotations

import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import anywidget

from tests.e2e.processes import HarnessError

if TYPE_CHECKING:
    from typing_extensions import Self

    from .servers import Place

_SOURCE = Path(__file__).parent / "page"


class OtherPage:
    """Serves the page at ``localhost``; a context manager.

    Args:
        folder: An empty folder for the page's files.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        _bundle(folder / "bundle.js")
        shutil.copy(_SOURCE / "index.html", folder)
        shutil.copy(Path(anywidget.__file__).parent / "nbextension" / "index.js", folder / "anywidget.js")
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def url(self, jupyter: Place, *, control: bool) -> str:
        """Return the page's address.

        Args:
            jupyter: Where it starts its kernel.
            control: Whether widgets can reach the kernel's control channel.
        """
        query = {"server": jupyter.url, "token": jupyter.token, **({"control": ""} if control else {})}
        return f"http://localhost:{self._server.server_port}/index.html?{urlencode(query)}"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Write nothing."""


def _bundle(path: Path) -> None:
    esbuild = _SOURCE / "node_modules" / ".bin" / "esbuild"
    if not esbuild.exists():
        raise HarnessError(f"run `make places`, or `npm ci` in {_SOURCE}")
    options = [f"--loader:.{suffix}=dataurl" for suffix in ("svg", "woff", "woff2", "ttf", "eot")]
    options.append('--banner:js=var __webpack_public_path__ = "";')  # html-manager is made for webpack
    arguments = ["page.mjs", "--bundle", "--format=esm", "--target=es2022", "--log-level=error", f"--outfile={path}"]
    subprocess.run([str(esbuild.resolve()), *arguments, *options], cwd=_SOURCE, check=True, timeout=120)
