"""Real kernels that share one session, where they keep it, and the person who signs in."""

from __future__ import annotations

import asyncio
import html
import json
import os
import re
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urljoin, urlsplit

import httpx
import psutil
from jupyter_client.manager import KernelManager

from pywry_auth_nb import FileTokenStore, KeyringTokenStore, RedisTokenStore
from tests.e2e.processes import KEPT_ENV, HarnessError, poll
from tests.stores.servers import RedisServer, SecretService
from tests.support.ports import free_port

from .proxy import HOST, Proxy, fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self

    from pywry_auth_nb import TokenStore
    from tests.stores.servers import Server

ROOT = Path(__file__).parents[2]
REDIRECT_URI = "http://127.0.0.1/cb"
START = 60.0  # seconds
QUICK = 10.0

SETUP = """
from pywry_auth_nb import *
from tests.soak.reader import Reader
from tests.support.ports import free_port
provider = GenericOIDCProvider("pywry", issuer_url={issuer!r}, scopes=["openid", "profile", "offline_access"],
    prompt="consent")
session = SessionManager(provider, {store})
reader = Reader(session, {api!r}, {diary!r})
print(session.store_key)
"""
BEGIN = """
flow = AuthFlowManager(provider, session_manager=session)
print((await flow.begin({redirect_uri!r})).url)
"""
COMPLETE = "_ = await flow.complete({params!r})"

# ---- where the session is kept --------------------------------------------------------------------------------------


class Place:
    """A store for the kernels, what it runs on, and a way for us to look into it that no chaos troubles.

    Args:
        kind: "file", "keyring", "redis" (every write is on disk before it is answered) or "forgetful" (a Redis whose
            data are gone when it restarts).
        folder: For files.
    """

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.folder = folder
        self.env: dict[str, str] = {}
        self.server: Server | None = None
        self.proxy: Proxy | None = None
        self._view: TokenStore

    def __enter__(self) -> Self:
        if self.kind == "file":
            self.code, self._view = f"FileTokenStore({str(self.folder)!r})", FileTokenStore(self.folder)
        elif self.kind == "keyring":
            self.server = SecretService().__enter__()
            self.env = self.server.environment()
            os.environ.update(self.env)  # for our own look; this process is the soak's alone when it uses a keyring
            self.code, self._view = "KeyringTokenStore()", KeyringTokenStore()
        else:
            keeps = ["--appendonly", "yes", "--appendfsync", "always"] if self.kind == "redis" else []
            self.server = redis = RedisServer(*keeps).start()
            self.proxy = Proxy(free_port(), lambda: asyncio.open_unix_connection(str(redis.socket))).__enter__()
            self.code = f"RedisTokenStore('redis://{HOST}:{self.proxy.port}/0')"
            self._view = RedisTokenStore(redis.url)
        return self

    def __exit__(self, *exc: object) -> None:
        if isinstance(self._view, RedisTokenStore):
            asyncio.run(self._view.close())
        if self.proxy is not None:
            self.proxy.__exit__(*exc)
        if self.server is not None:
            self.server.__exit__(*exc)

    def stored(self, key: str) -> str | None:
        """Return the fingerprint of the access token in the store; None also when it cannot be asked."""
        with suppress(Exception):
            tokens = asyncio.run(self._view.load(key))
            return tokens and fingerprint(tokens.access_token)
        return None


# ---- kernels --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Load:
    """What a process holds."""

    threads: int
    sockets: int
    files: int
    megabytes: float


class Kernel:
    """One kernel, started anew after each kill, with one diary for all its lives."""

    def __init__(self, name: str, place: Place, issuer: str, api: str, folder: Path) -> None:
        self.name = name
        self.place = place
        self.diary = folder / f"{name}.diary"
        self.store_key = ""
        self.pid = 0
        self.paused: list[tuple[float, float]] = []
        self.failed_cells: list[str] = []
        self._setup = {"issuer": issuer, "api": api, "diary": str(self.diary), "store": place.code}
        self._log = folder / f"{name}.log"
        self._told: list[dict[str, Any]] = []
        self._heard = 0  # bytes of the diary
        self._manager: Any = None
        self._client: Any = None

    def start(self) -> None:
        """Start the process and make its session; nothing has been read yet."""
        poll(self._start, START, lambda: f"{self.name}: {self.failed_cells}")

    def _start(self) -> bool:
        """Try it; a person would restart the kernel and try again, if the store is away just now."""
        self._launch()
        try:
            self.store_key = self.run(SETUP.format(**self._setup))
        except HarnessError as error:
            self.failed_cells.append(str(error))
            self.end()
            return False
        return True

    def _launch(self) -> None:
        env = {name: os.environ[name] for name in KEPT_ENV if name in os.environ}
        env |= {"HOME": str(self._log.parent), "PYTHONPATH": str(ROOT), **self.place.env}
        self._manager = KernelManager()
        with self._log.open("ab") as log:
            self._manager.start_kernel(stdout=log, stderr=log, env=env)
        self.pid = self._manager.provisioner.process.pid
        self._client = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=START)

    def run(self, code: str) -> str:
        """Run a cell and return what it printed."""
        printed: list[str] = []

        def hear(message: dict[str, Any]) -> None:
            printed.append(message["content"].get("text", "") if message["msg_type"] == "stream" else "")

        reply = self._client.execute_interactive(code, allow_stdin=False, output_hook=hear, timeout=START)["content"]
        if reply["status"] != "ok":
            raise HarnessError(f"{reply['ename']}: {reply['evalue']}")
        return "".join(printed).strip()

    def read(self) -> None:
        """Let the first cell get a token, and the next read to the end; wait for neither."""
        self._client.execute("reader.first()")
        self._client.execute("reader.run()")

    def wait_for_token(self, seconds: float) -> None:
        """Wait until the kernel of this life has read a token."""
        poll(lambda: self._newest("first") > self._newest("born"), seconds, lambda: f"{self.name} gets no token")

    def _newest(self, what: str) -> float:
        return max((entry["at"] for entry in self.told() if entry["what"] == what), default=0.0)

    def kill(self) -> None:
        """End it in the middle of whatever it does."""
        self._manager.provisioner.process.send_signal(signal.SIGKILL)
        poll(lambda: self._manager.provisioner.process.poll() is not None, QUICK, lambda: f"{self.name} will not die")
        self._clean()

    def pause(self, seconds: float) -> None:
        """Stop the process for a while."""
        begun = time.time()
        os.kill(self.pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(self.pid, signal.SIGCONT)
        self.paused.append((begun, time.time()))

    def wait(self) -> None:
        """Wait until the cells have ended, which they do when told to stop."""
        self.run("pass")

    def end(self) -> None:
        """End it whatever it does."""
        if self._manager is not None and self._manager.has_kernel:
            self._manager.shutdown_kernel(now=True)
            self._clean()

    def _clean(self) -> None:
        self._client.stop_channels()
        self._manager.cleanup_resources()
        self._manager = None

    def load(self) -> Load:
        """Return what the process holds now."""
        process = psutil.Process(self.pid)
        sockets = [each for each in process.net_connections("inet") if each.status != psutil.CONN_LISTEN]
        return Load(process.num_threads(), len(sockets), process.num_fds(), process.memory_info().rss / 2**20)

    def told(self) -> list[dict[str, Any]]:
        """Return the diary so far."""
        if self.diary.exists():
            with self.diary.open("rb") as diary:
                diary.seek(self._heard)
                lines = diary.readlines()
                self._heard = diary.tell()
            self._told += map(json.loads, lines)
        return self._told


# ---- the person -----------------------------------------------------------------------------------------------------


def sign_in(kernel: Kernel) -> None:
    """Go through a whole sign-in in this kernel, clicking through the provider's own pages."""
    url = kernel.run(BEGIN.format(redirect_uri=REDIRECT_URI))
    kernel.run(COMPLETE.format(params=dict(parse_qsl(urlsplit(_answer_of(url)).query))))


def _answer_of(url: str) -> str:
    """Log in, consent, and return the address that the browser would be sent to in the end."""
    forms: Iterator[dict[str, str]] = iter(
        [{"prompt": "login", "login": "ada", "password": "any"}, {"prompt": "consent"}]
    )
    with httpx.Client(trust_env=False, timeout=QUICK) as browser:
        answer = browser.get(url)
        while not (target := answer.headers.get("location", "")).startswith(REDIRECT_URI):
            if target:
                answer = browser.get(urljoin(str(answer.url), target))
            else:
                action = re.search(r'action="([^"]+)" method="post"', answer.text)
                assert action is not None, answer.text
                answer = browser.post(html.unescape(action[1]), data=next(forms))
    return str(target)
