"""Real processes with deadlines and logs: the OpenID provider and Jupyter servers."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import httpx

from tests.support.ports import free_port
from tests.support.waiting import over

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from typing_extensions import Self

HERE = Path(__file__).parent
START_TIMEOUT = 60.0
STOP_TIMEOUT = 10.0

# All that a server may know of the machine it runs on; HOME and the Jupyter folders are its own.
KEPT_ENV = ("PATH", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "LD_LIBRARY_PATH")

Kind = Literal["lab", "notebook"]


class HarnessError(Exception):
    """Something the tests stand on is missing, or did not answer in time; not a failure of what is tested."""


def poll(
    check: Callable[[], Any],
    timeout: float,
    failure: Callable[[], str],
    sleep: Callable[[float], None] = time.sleep,
) -> Any:
    """Return the first truthy value of ``check``; after ``timeout`` seconds raise HarnessError with ``failure()``.

    Those are seconds of an idle machine; a busy one gets more.
    """
    begun = time.monotonic()
    while True:
        if value := check():
            return value
        if over(begun, timeout):
            raise HarnessError(f"after {timeout:g} s: {failure()}")
        sleep(0.05)


class Process(ABC):
    """A child process in a group of its own, its output in ``log``; use as a context manager or call start and stop.

    It also gets our end of a pipe as standard input and ends when that closes, even if we are killed.
    """

    def __init__(self, log: Path) -> None:
        self.log = log
        self._child: subprocess.Popen[bytes] | None = None
        self._log_file: IO[bytes] | None = None
        self._log_start = 0

    @abstractmethod
    def command(self) -> list[str]:
        """Return the program and its arguments."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Return whether the started program can be used."""

    def env(self) -> dict[str, str]:
        """Return the whole environment of the program."""
        return {name: os.environ[name] for name in KEPT_ENV if name in os.environ}

    def start(self) -> Self:
        """Start, and return once it is ready."""
        self._log_file = self.log.open("ab")
        self._log_start = self._log_file.tell()
        self._child = subprocess.Popen(
            self.command(),
            env=self.env(),
            cwd=self.log.parent,
            stdin=subprocess.PIPE,
            stdout=self._log_file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            poll(self._is_ready_or_dead, START_TIMEOUT, lambda: f"not ready:\n{self.tail()}")
        except BaseException:
            self.stop()
            raise
        return self

    def _is_ready_or_dead(self) -> bool:
        if not self.alive:
            raise HarnessError(f"{self.command()[0]} ended at start:\n{self.tail()}")
        return self.is_ready()

    @property
    def alive(self) -> bool:
        """Whether the program runs."""
        return self._child is not None and self._child.poll() is None

    def stop(self) -> None:
        """End the program: politely, then for sure, with all that is in its process group."""
        child, self._child = self._child, None
        if child is not None:
            self._end(child)
        if self._log_file is not None:
            self._log_file.close()

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        child.terminate()
        try:
            child.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        if child.stdin is not None:
            child.stdin.close()

    def log_text(self) -> str:
        """Return what the program wrote since its last start."""
        return self.log.read_bytes()[self._log_start :].decode(errors="replace")

    def tail(self, lines: int = 40) -> str:
        """Return the last lines of the log."""
        return "\n".join(self.log_text().splitlines()[-lines:])

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()


class Provider(Process):
    """The OpenID provider of ``op.mjs``; keyword arguments are its options and switches.

    Clients: ``pywry`` (public) and ``pywry-conf`` (secret ``CLIENT_SECRET``), redirect URIs on any loopback port;
    ``pywry-web`` (public), redirect URIs as they are.
    """

    CLIENT_SECRET = "a-secret-that-only-these-tests-use"

    def __init__(self, directory: Path, *, redirect_uris: Sequence[str], **options: Any) -> None:
        super().__init__(directory / "op.log")
        defaults = {"port": free_port(), "issuer_host": "localhost", "redirect_uris": list(redirect_uris)}
        self.options = {**defaults, **options}
        self.issuer = f"http://{self.options['issuer_host']}:{self.options['port']}"

    def command(self) -> list[str]:
        """Return the node command line."""
        node = os.environ.get("NODE") or shutil.which("node")
        if node is None:
            raise HarnessError("the browser tests need Node.js: install it, or set NODE to its path")
        if not (HERE / "node_modules" / "oidc-provider").is_dir():
            raise HarnessError(f"oidc-provider is not installed: run `npm ci` in {HERE}")
        return [node, str(HERE / "op.mjs"), json.dumps(self.options)]

    def is_ready(self) -> bool:
        """Return whether the ready line was printed."""
        return '{"ready":true' in self.log_text()

    def journal(self) -> list[dict[str, Any]]:
        """Return all requests in order: at, method, path, status; and client_id, grant_type, error if any."""
        entries: list[dict[str, Any]] = self._backstage("GET", "/__journal")
        return entries

    def requests_to(self, path: str, **where: Any) -> int:
        """Count the requests to ``path`` such as "/token"; ``grant_type=…``, ``status=400`` and so on narrow it."""
        return sum(entry["path"] == path and where.items() <= entry.items() for entry in self.journal())

    def secrets(self) -> dict[str, list[str]]:
        """Return what it issued and was sent that no file may hold, by the names of OAuth."""
        found: dict[str, list[str]] = self._backstage("GET", "/__secrets")
        return found

    def control(self, **switches: Any) -> None:
        """Change how the provider behaves from now on; see SWITCHES in ``op.mjs``."""
        self._backstage("POST", "/__control", switches)

    def reset(self) -> None:
        """Put the switches back; forget the journal and the secrets."""
        self._backstage("DELETE", "/__control")
        self._backstage("DELETE", "/__journal")

    def _backstage(self, method: str, path: str, body: Any = None) -> Any:
        url = f"http://127.0.0.1:{self.options['port']}{path}"
        answer = httpx.request(method, url, json=body, timeout=10, trust_env=False)
        if answer.is_error:
            raise HarnessError(answer.text)
        return answer.json()


class JupyterServer(Process):
    """JupyterLab or Notebook 7 on 127.0.0.1, with a home, settings and notebooks of its own and token login.

    Args:
        kind: "lab" or "notebook".
        directory: An empty folder for all of it.
        base_url: Where the server lives, such as "/a/b/".
        config: Traits by class, as in a Jupyter configuration file: ``{"ServerApp": {…}}``.
        settings: User settings by plugin, over ours: ``{"@jupyterlab/…:plugin": {…}}``.
        env: More environment variables, which the kernels inherit.
    """

    def __init__(
        self,
        kind: Kind,
        directory: Path,
        *,
        base_url: str = "/",
        config: Mapping[str, Mapping[str, Any]] | None = None,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        super().__init__(directory / "jupyter.log")
        self.kind = kind
        self.base_url = base_url
        self.port = free_port()
        self.token = secrets.token_hex(16)
        self.root = directory / "notebooks"
        self._home = directory / "home"
        self._config = config or {}
        self._settings = {**QUIET_SETTINGS, **(settings or {})}
        self._more_env = env or {}

    @property
    def url(self) -> str:
        """Where the server lives, with a slash at the end."""
        return f"http://127.0.0.1:{self.port}{self.base_url}"

    def start(self) -> Self:
        """Write the configuration, start, and return once the server answers."""
        self.root.mkdir(exist_ok=True)
        write_json(self._home / "config" / "jupyter_server_config.json", self._full_config())
        for plugin, values in self._settings.items():
            package, name = plugin.split(":")
            folder = self._home / "config" / "lab" / "user-settings" / package
            write_json(folder / f"{name}.jupyterlab-settings", values)
        return super().start()

    def restart(self) -> None:
        """Stop (the kernels too) and start again at the same address, with the same token."""
        self.stop()
        self.start()

    def command(self) -> list[str]:
        """Return the command line; everything else is in the configuration file."""
        return [sys.executable, str(HERE / "jupyter_main.py"), self.kind]

    def env(self) -> dict[str, str]:
        """Return an environment in which only this server's own folders and the interpreter's are found."""
        jupyter = {f"JUPYTER_{name.upper()}_DIR": str(self._home / name) for name in ("config", "data", "runtime")}
        own = {"HOME": str(self._home), "JUPYTER_PLATFORM_DIRS": "1", "JUPYTER_PREFER_ENV_PATH": "1", **jupyter}
        return {**super().env(), **own, **self._more_env}

    def is_ready(self) -> bool:
        """Return whether the server answers with its token."""
        try:
            return self.api("GET", "api/status").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def api(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        """Make a request with the server's token; ``path`` is relative to the base URL."""
        headers = {"Authorization": f"token {self.token}", **kwargs.pop("headers", {})}
        return httpx.request(method, self.url + path, headers=headers, timeout=15, trust_env=False, **kwargs)

    def _full_config(self) -> dict[str, dict[str, Any]]:
        in_browser = {"expose_app_in_browser": True, "open_browser": False}
        base: dict[str, dict[str, Any]] = {
            "Application": {"log_level": "DEBUG"},
            "ServerApp": {
                "allow_root": getattr(os, "geteuid", lambda: 1)() == 0,
                "base_url": self.base_url,
                "ip": "127.0.0.1",
                "open_browser": False,
                "port": self.port,
                "port_retries": 0,
                "root_dir": str(self.root),
            },
            "IdentityProvider": {"token": self.token},
            "PywryAuth": {"max_logins_per_minute": 0},  # tests sign in more often than people
            "LabApp": in_browser,
            "JupyterNotebookApp": in_browser,
        }
        return {name: {**base.get(name, {}), **self._config.get(name, {})} for name in {*base, *self._config}}


# No news, no surprise saves, and every cell in the page so that it can be found by its number.
QUIET_SETTINGS: dict[str, dict[str, Any]] = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
}


def write_json(path: Path, value: Any) -> None:
    """Write a file, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
