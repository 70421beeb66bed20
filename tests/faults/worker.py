"""One kernel: a process that does what it is told on its standard input, one JSON object a line, and answers likewise.

It never says a token, only its hash; what it logs goes to its standard error, at the finest level.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

sys.modules["httpx._main"] = None  # type: ignore[assignment] # httpx's command line is most of what importing it takes

from pywry_auth_nb import (  # noqa: E402 - after that
    AuthenticationError,
    FileTokenStore,
    GenericOIDCProvider,
    MemoryTokenStore,
    OAuthTokenSet,
    SessionManager,
)
from tests.faults.traps import TRAPS  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from pywry_auth_nb import TokenStore

CLIENT = "pywry"


class Worker:
    """The kernel of this process: its methods ``do_…`` are the orders that it takes."""

    def __init__(self) -> None:
        self._session: SessionManager | None = None
        self._patches = ExitStack()
        self._told = 0
        self._herd: list[SessionManager] = []
        self._later: dict[str, Any] = {}
        self._thread: threading.Thread | None = None

    def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """Do one thing, and say how it went, how long it took (in the machine's monotonic seconds) and what is now."""
        begun = time.monotonic()
        name = order.pop("do")
        try:
            result = getattr(self, f"do_{name}")(**order)
        except AuthenticationError as error:
            result = {"error": type(error).__name__, "code": error.code, "message": error.message}
        return {"begun": begun, "done": time.monotonic(), **self._state(), **(result or {})}

    def _state(self) -> dict[str, Any]:
        session = self._session
        if session is None:
            return {}
        problem, user = session.error, session.user or {}
        return {
            "status": session.status,
            "problem": problem and problem.code,
            "user": user.get("sub"),
            "told": self._told,
        }

    @property
    def session(self) -> SessionManager:
        """The session, whose background work begins when it is first asked for."""
        if self._session is None:
            self._session = self._begin()
        return self._session

    # -- a session ------------------------------------------------------------------------------------------------

    def do_open(
        self,
        store: dict[str, Any],
        issuer: str,
        env: dict[str, str | None],
        *,
        warm: bool = False,
        idle: bool = False,
        trap: tuple[str, int] | None = None,
        changes: dict[str, float] | None = None,
    ) -> None:
        """Begin anew, with a session on a store; from now on it refreshes by itself, as in a kernel.

        Args:
            store: Which; see :func:`opened`.
            issuer: The provider's.
            env: Variables of the environment; None for those that are not set.
            warm: Whether the provider's metadata is known already, as in a kernel that has run for a while.
            idle: Whether the session begins only when it is first asked for something.
            trap: Send this very process a signal when it comes to that point; see :mod:`tests.faults.traps`.
            changes: Other values for constants of the package, such as a shorter lease.
        """
        for name, value in env.items():
            os.environ.pop(name, None)
            os.environ.update({name: value} if value is not None else {})
        self._told = 0
        provider, place = GenericOIDCProvider(CLIENT, issuer_url=issuer), opened(**store)
        if warm:
            asyncio.run(provider.warm_up())
        for name, value in (changes or {}).items():
            self._patches.enter_context(patch(f"pywry_auth_nb.{name}", value))
        if trap is not None:
            point, number = trap
            self._patches.enter_context(TRAPS[point](provider, place, once(number)))
        self._begin = lambda: SessionManager(provider, place, on_reauth_required=self._tell)
        if not idle:
            self.session  # noqa: B018 - begins

    def do_close(self) -> None:
        """Drop the session and every change of the program, so that the process can be another kernel."""
        asyncio.run(_close(self.session))
        self._session = None
        self._herd.clear()
        del self._begin
        self._patches.close()
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        gc.collect()

    def _tell(self) -> None:
        self._told += 1

    def do_look(self) -> None:
        """Ask for nothing but the state, as a widget does."""

    def do_read(self) -> dict[str, Any]:
        """Read the token."""
        return {"token": hashed(self.session.access_token)}

    def do_read_for(self, audiences: list[str]) -> dict[str, Any]:
        """Read a token for each of several audiences, all at once."""
        with ThreadPoolExecutor(len(audiences)) as pool:
            tokens = pool.map(lambda audience: self.session.for_audience(audience).access_token, audiences)
            return {"tokens": dict(zip(audiences, map(hashed, tokens), strict=True))}

    def do_refresh(self) -> dict[str, Any]:
        """Renew the token now."""
        return {"token": hashed(asyncio.run(self.session.refresh()).access_token)}

    def do_logout(self) -> dict[str, Any]:
        """Sign out."""
        return vars(asyncio.run(self.session.logout()))

    def do_sign_in(self, **tokens: Any) -> None:
        """Begin a session, as a sign-in does."""
        asyncio.run(self.session.save_tokens(OAuthTokenSet(**tokens)))

    # -- things that go wrong -------------------------------------------------------------------------------------

    def do_limit(self, size: int) -> None:
        """Let no file grow larger than ``size`` bytes from now on; 0 for no limit."""
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size or hard, hard))

    def do_start(self, order: str) -> None:
        """Begin to do something; ``finish`` says how it went."""
        self._thread = threading.Thread(target=lambda: self._later.update(self.obey({"do": order})), daemon=True)
        self._thread.start()

    def do_finish(self) -> dict[str, Any]:
        """Wait for what was begun."""
        assert self._thread is not None
        self._thread.join()
        later, self._later = self._later, {}
        return later

    def do_fork(self, order: str) -> dict[str, Any]:
        """Fork a child that does one thing and ends, within ten seconds."""
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.write(writing, json.dumps(self.obey({"do": order})).encode())
            os._exit(0)
        os.close(writing)
        end = time.monotonic() + 10
        while not os.waitpid(child, os.WNOHANG)[0]:
            if time.monotonic() > end:
                os.kill(child, 9)
                os.waitpid(child, 0)
                break
            time.sleep(0.002)
        with open(reading, "rb") as stream:  # noqa: PTH123 - it has no path
            answer: dict[str, Any] = json.loads(stream.read() or b'{"error": "the child hangs"}')
        return answer

    def do_herd(self, sign_ins: list[dict[str, Any]]) -> None:
        """Begin a session of its own for each sign-in."""
        for number, tokens in enumerate(sign_ins):
            member = SessionManager(self.session.provider, MemoryTokenStore(), f"member {number}")
            asyncio.run(member.save_tokens(OAuthTokenSet(**tokens)))
            self._herd.append(member)


async def _close(session: SessionManager) -> None:
    close = getattr(session.token_store, "close", None)
    await session.provider.close()
    if close is not None:
        await close()


def opened(kind: str, **options: Any) -> TokenStore:
    """Open a store that a test has described."""
    if kind == "memory":
        return MemoryTokenStore()
    if kind == "file":
        return FileTokenStore(**options)
    if kind == "keyring":
        from pywry_auth_nb.token_store import KeyringTokenStore

        return KeyringTokenStore(**options)
    from pywry_auth_nb.token_store import RedisTokenStore

    return RedisTokenStore(**options)


def once(number: int) -> Callable[[], object]:
    """Return what sends this process a signal when it is first called: by its thread, which gets no further."""
    numbers = iter([number])
    return lambda: [signal.pthread_kill(threading.get_ident(), number) for number in numbers]


def hashed(token: str) -> str:
    """Return a token's hash, which is safe to log."""
    return hashlib.sha256(token.encode()).hexdigest()


def main() -> None:
    """Take orders until there are no more."""
    logging.basicConfig(level=logging.DEBUG)
    channel = socket.socket(fileno=os.dup(0))
    worker = Worker()
    for line in channel.makefile("rb"):
        channel.sendall(json.dumps(worker.obey(json.loads(line))).encode() + b"\n")


if __name__ == "__main__":
    main()
