"""Kernels as real processes, the stores that they share, and a provider that can be cut off."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pywry_auth_nb import GenericOIDCProvider, OAuthTokenSet, SessionManager
from pywry_auth_nb._io.loop import run
from tests.faults.worker import CLIENT, opened
from tests.support.idp import Idp, Request
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from pywry_auth_nb.token_store.base import PackedStore

ROOT = Path(__file__).parents[2]
SECONDS = 60.0  # that any answer may take
#: A lease of Redis that a test can wait for, and a refresh that fits into it.
SHORT: dict[str, float] = {"token_store.redis.LEASE": 2.0, "_session.refresher.REQUEST": 1.5}


class Kernel:
    """A process that obeys; see :mod:`tests.faults.worker`."""

    def __init__(self) -> None:
        mine, its = socket.socketpair()
        self._channel, self._read = mine, b""
        self.owes = 0  # answers
        self._log_start = 0
        self._log = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - as long as the process
        command = [sys.executable, "-m", "tests.faults.worker"]
        with its:
            self._process = subprocess.Popen(command, cwd=ROOT, stdin=its, stdout=self._log, stderr=self._log)

    def tell(self, do: str, **what: Any) -> None:
        """Give an order and do not wait."""
        self.owes += 1
        self._channel.sendall(json.dumps({"do": do, **what}).encode() + b"\n")

    def answer(self, seconds: float = SECONDS) -> dict[str, Any]:
        """Wait for the answer to the oldest order that has none."""
        end = time.monotonic() + seconds
        while b"\n" not in self._read:
            self._channel.settimeout(max(end - time.monotonic(), 0.01))
            piece = self._channel.recv(65536)
            assert piece, f"the kernel died:\n{self.log()}"
            self._read += piece
        line, _, self._read = self._read.partition(b"\n")
        self.owes -= 1
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, do: str, **what: Any) -> dict[str, Any]:
        """Give an order and wait for the answer."""
        self.tell(do, **what)
        return self.answer()

    def token(self) -> str:
        """Read the token, and return its hash."""
        answer = self.ask("read")
        assert "token" in answer, f"{answer}\n{self.log()}"
        return str(answer["token"])

    def reads(self, token: str) -> None:
        """Read until the token is this one: within two seconds on an idle machine."""
        until(lambda: self.ask("read").get("token") == token, "a read gave another token", seconds=5)

    def is_out(self) -> None:
        """Read until that raises ``LoginRequired``, with the same deadline."""
        until(lambda: self.ask("read").get("error") == "LoginRequired", "a read still gave a token", seconds=5)

    def becomes(self, status: str) -> dict[str, Any]:
        """Wait until the session shows ``status``, without reading the token."""
        until(lambda: self.ask("look")["status"] == status, f"the session never was {status}")
        return self.ask("look")

    def kill(self) -> None:
        """Kill it, and wait until it is dead."""
        self._process.kill()
        self._process.wait(10)

    def dies(self) -> None:
        """Wait until it has been killed."""
        assert self._process.wait(20) == -signal.SIGKILL

    def pause(self) -> None:
        """Stop it where it is."""
        self._process.send_signal(signal.SIGSTOP)
        self.pauses()

    def pauses(self) -> None:
        """Wait until it stands still."""
        _, status = os.waitpid(self._process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), "it ended instead"

    def resume(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def begin(self) -> None:
        """Note that another test has it now."""
        self._log_start = self._log.seek(0, os.SEEK_END)

    def log(self, start: int | None = None) -> str:
        """Return what it logged, for this test or since ``start``."""
        self._log.seek(self._log_start if start is None else start)
        return self._log.read().decode(errors="replace")

    def end(self) -> None:
        """Kill it, and see that it has logged no secret."""
        self.kill()
        self._channel.close()
        said = self.log(0)
        self._log.close()
        assert "CANARY" not in said


class Kernels:
    """Kernels that can be had quickly: one that a test has finished with becomes another test's."""

    def __init__(self) -> None:
        self._idle: list[Kernel] = []

    def take(self, count: int) -> list[Kernel]:
        """Return running processes without a session."""
        taken = [self._idle.pop() for _ in range(min(count, len(self._idle)))]
        return taken + [Kernel() for _ in range(count - len(taken))]

    def revoke_tokens(self, kernels: Iterable[Kernel]) -> None:
        """Keep those that live and have nothing more to say."""
        for kernel in kernels:
            if kernel.alive and not kernel.owes and "error" not in kernel.ask("close"):
                self._idle.append(kernel)
            else:
                kernel.end()

    def end(self) -> None:
        """End them all."""
        while self._idle:
            self._idle.pop().end()


class Place:
    """A store that several processes open, and what lies in it."""

    def __init__(self, idp: Provider, **store: Any) -> None:
        self.idp = idp
        self.store = store

    def kernels(self, kernels: Kernels, count: int, **options: Any) -> list[Kernel]:
        """Start kernels with a session on this store; they have read nothing yet."""
        taken = kernels.take(count)
        for start in range(0, count, 8):  # a keyring is slow, and is tried out by each of them
            few = taken[start : start + 8]
            for kernel in few:
                kernel.begin()
                kernel.tell("open", store=self.store, issuer=self.idp.issuer, env=environment(), **options)
            for kernel in few:
                answer = kernel.answer()
                assert "error" not in answer, answer
        return taken

    @property
    def folder(self) -> Path:
        """Where files are."""
        return Path(self.store["path"])

    @property
    def key(self) -> str:
        """The name of the record that the kernels share."""
        return SessionManager(GenericOIDCProvider(CLIENT, issuer_url=self.idp.issuer)).store_key

    def with_store(self, act: Callable[[PackedStore], Awaitable[Any]]) -> Any:
        """Do something with the store, here."""
        store: Any = opened(**self.store)

        async def go() -> Any:
            try:
                return await act(store)
            finally:
                if hasattr(store, "close"):
                    await store.close()

        return run(go(), 30)

    def lives(self) -> bool:
        """Whether the provider takes the refresh token that lies there."""
        kept = self.load()
        return kept is not None and kept.refresh_token in self.idp.alive()

    def load(self) -> OAuthTokenSet | None:
        """Return the tokens that lie there."""
        return self.with_store(lambda store: store.load(self.key))  # type: ignore[no-any-return]

    def raw(self) -> bytes:
        """Return the record as it lies there."""
        return bytes(self.with_store(lambda store: store.read(self.key)).version)

    def lay(self, record: bytes) -> None:
        """Put any bytes in place of the record."""
        old = self.raw()
        assert self.with_store(lambda store: store._swap(self.key, old, record, None))

    def sign_in(self, *, life: float = 3600, left: float = -400) -> str:
        """Keep a sign-in whose access token has ``left`` seconds left; return the refresh token."""
        tokens = self.idp.tokens(life=life, left=left)
        self.with_store(lambda store: store.save(self.key, OAuthTokenSet(**tokens)))
        return str(tokens["refresh_token"])


class Provider(Idp):
    """The provider of the tests, with a clock, a longer queue, and a plug to pull."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []  # of the requests to /token, in monotonic seconds
        self.cuts = 0  # answers of /token that will be lost
        self.rotates = True  # else a refresh token stays as it is
        self._server.socket.listen(128)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign] # a cut is no news
        self.token_extra = {"session_state": "s" * 1500}  # long enough for several entries of a keyring

    def tokens(self, *, life: float = 3600, left: float = 3600) -> dict[str, Any]:
        """Return tokens of a new sign-in, of which the access token has ``left`` seconds left."""
        mine = self._tokens(None)
        names = ("access_token", "refresh_token", "id_token")
        kept = {name: mine[name] for name in names} | {"raw": {"session_state": mine["session_state"]}}
        return kept | {"expires_in": life, "issued_at": time.time() + left - life}

    def alive(self) -> list[str]:
        """Return the refresh tokens that are good for a refresh."""
        return [token for token, good in self.refresh_tokens.items() if good]

    def asked(self) -> int:
        """How many refreshes were asked for."""
        return self.requests_to("/token")

    def _token(self, request: Request) -> tuple[int, Any]:
        status, body = super()._token(request)
        if status == 200 and not self.rotates:
            del self.refresh_tokens[body.pop("refresh_token")]
            self.refresh_tokens[request.form["refresh_token"]] = True
        return status, body

    def _respond(self, request: Request) -> tuple[int, bytes, dict[str, str]]:
        mine = request.path == "/token"
        if mine:
            self.times.append(time.monotonic())
        answer = super()._respond(request)
        if mine and self.cuts > 0:
            self.cuts -= 1
            raise ConnectionAbortedError
        return answer


def environment() -> dict[str, str | None]:
    """Return the environment that names the user, home and keyring of a kernel; None for unset."""
    names = ("HOME", "DBUS_SESSION_BUS_ADDRESS", "JUPYTERHUB_USER")
    return {name: os.environ.get(name) for name in names}


def unique(word: str) -> str:
    """Return a name that no other test uses."""
    return f"{word}-{secrets.token_hex(4)}"


def together(kernels: list[Kernel], do: str, **what: Any) -> list[dict[str, Any]]:
    """Let all do the same at once, and return the answers."""
    for kernel in kernels:
        kernel.tell(do, **what)
    return [kernel.answer() for kernel in kernels]


def took(answers: list[dict[str, Any]]) -> float:
    """Return the seconds from the first beginning to the last answer."""
    return max(answer["done"] for answer in answers) - min(answer["begun"] for answer in answers)


def taken_back(kernels: Kernels) -> Iterator[Callable[..., list[Kernel]]]:
    """Yield what starts kernels on a place; they go back after the test."""
    mine: list[Kernel] = []

    def start(place: Place, count: int, **options: Any) -> list[Kernel]:
        started = place.kernels(kernels, count, **options)
        mine.extend(started)
        return started

    yield start
    kernels.revoke_tokens(mine)
