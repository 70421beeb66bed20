"""Runs the demo and stops everything it started."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from .provider import running_provider

if TYPE_CHECKING:
    from collections.abc import Iterator

_START_DEADLINE = 60.0  # seconds
_STOP_DEADLINE = 10.0  # seconds for JupyterLab to end its kernels

_CONFIG = """
c.ServerApp.ip = "127.0.0.1"
c.ServerApp.base_url = "/"
c.ServerApp.port = {port}
c.ServerApp.port_retries = 0
c.ServerApp.root_dir = {folder!r}
c.ServerApp.allow_root = True
c.ServerApp.open_browser = {browser}
c.ServerApp.log_level = "WARN"
c.LabApp.log_level = "WARN"
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
c.LabApp.default_url = "/lab/tree/quickstart.ipynb"
c.IdentityProvider.token = {token!r}
"""


def main(port: int = 0, *, browser: bool = True) -> int:
    """Run the demo until it is interrupted; return the exit status.

    Args:
        port: JupyterLab's port on 127.0.0.1; 0 takes a free one.
        browser: Whether to open a browser.
    """
    missing = [package for package in ("jupyterlab", "nanoidp") if find_spec(package) is None]
    if missing:
        print(f"The demo needs {' and '.join(missing)}: pip install 'pywry-auth-nb[demo]'", file=sys.stderr)
        return 1
    try:
        port, loopback = _free_port(port), _free_port(0)
    except OSError:
        print(f"Port {port} is in use: choose another, or leave out --port.", file=sys.stderr)
        return 1
    callbacks = [f"http://{host}:{port}/pywry-auth/callback" for host in ("127.0.0.1", "localhost")]
    callbacks.append(f"http://127.0.0.1:{loopback}/callback")
    end_like_ctrl_c()
    try:
        with TemporaryDirectory(prefix="pywry-auth-demo-") as folder, running_provider(callbacks) as issuer:
            return _run_lab(Path(folder), port, issuer, loopback, browser=browser)
    except KeyboardInterrupt:
        print("\nStopped. Nothing is left running.")
        return 0


def _run_lab(folder: Path, port: int, issuer: str, loopback: int, *, browser: bool) -> int:
    work = folder / "work"
    work.mkdir()
    shutil.copy(quickstart(), work / "quickstart.ipynb")
    token = secrets.token_urlsafe(24)
    _silence_news(folder)
    config = folder / "jupyter_config.py"
    config.write_text(_CONFIG.format(port=port, folder=str(work), browser=browser, token=token))
    print("Starting JupyterLab and the provider …", flush=True)
    with _lab(config, issuer, loopback) as lab:
        if not _wait_for(lab, port):
            print("JupyterLab did not start; see above.", file=sys.stderr)
            return lab.poll() or 1
        print(
            f"\n    JupyterLab:  http://127.0.0.1:{port}/lab/tree/quickstart.ipynb?token={token}"
            f"\n    Provider:    {issuer}   (sign in as Ada or Grace, with one click)"
            f"\n    To stop:     press Ctrl-C here. The notebook is a copy and goes away with the demo.\n",
            flush=True,
        )
        return lab.wait()


def _silence_news(folder: Path) -> None:
    """Answer JupyterLab's question about news, which would stand over the first screen."""
    overrides = folder / "config" / "labconfig" / "default_setting_overrides.json"
    overrides.parent.mkdir(parents=True)
    overrides.write_text(json.dumps({"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}))


@contextmanager
def _lab(config: Path, issuer: str, loopback: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run JupyterLab in a process group of its own, apart from the user's own Jupyter, and end the whole group."""
    folders = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime"}
    own = {name: str(config.parent / folder) for name, folder in {**folders, "IPYTHONDIR": "ipython"}.items()}
    foreign = ("JUPYTERHUB_", "PYWRY_AUTH_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    lab = subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-m", "jupyterlab", f"--config={config}"],
        env={**env, **own, "PYWRY_AUTH_DEMO_ISSUER": issuer, "PYWRY_OAUTH2__LOOPBACK_PORT": str(loopback)},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield lab
    finally:
        lab.terminate()
        try:
            lab.wait(_STOP_DEADLINE)
        except subprocess.TimeoutExpired:
            if hasattr(os, "killpg"):
                os.killpg(lab.pid, signal.SIGKILL)
            lab.kill()


def _wait_for(lab: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until JupyterLab accepts connections, has ended, or a minute has passed; return whether it does."""
    deadline = time.monotonic() + _START_DEADLINE
    while lab.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        time.sleep(0.1)
    return False


def quickstart() -> Path:
    """Return the quickstart notebook: the packaged one, or the checkout's."""
    packaged = Path(__file__).with_name("quickstart.ipynb")
    return packaged if packaged.exists() else Path(__file__).parents[2] / "notebooks" / "quickstart.ipynb"


def end_like_ctrl_c() -> None:
    """Make SIGTERM and a closed terminal clean up as Ctrl-C does."""
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, signal.default_int_handler)


def _free_port(port: int) -> int:
    """Return ``port``, or a free one for 0; raise ``OSError`` if it is in use."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", port))
        return int(probe.getsockname()[1])
