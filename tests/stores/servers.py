"""The real components that the stores talk to, started for a test and gone with it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def until(condition: Callable[[], object], what: str = "it did not happen") -> None:
    """Wait until ``condition`` holds, for ten seconds at most."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


class Server:
    """Programs of one folder that are stopped and deleted on leaving."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pywry-auth-"))
        self._programs: list[subprocess.Popen[bytes]] = []

    def run(self, *command: str, send: bytes = b"") -> subprocess.Popen[bytes]:
        """Start a program with a home of its own; what it says goes to a file."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "XDG_RUNTIME_DIR": str(self.folder)}
        with (self.folder / "said").open("ab") as said:
            program = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=said, stderr=said, env=environment | self.environment()
            )
        self._programs.append(program)
        assert program.stdin is not None
        program.stdin.write(send)
        program.stdin.close()
        return program

    def environment(self) -> dict[str, str]:
        """Return what programs need to find this server."""
        return {}

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop all programs with a signal and wait for their end."""
        while self._programs:
            program = self._programs.pop()
            program.send_signal(number)
            program.wait(10)

    def signal(self, number: int) -> None:
        """Send a signal to all programs, which go on living."""
        for program in self._programs:
            program.send_signal(number)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder)


class RedisServer(Server):
    """A redis-server on a socket in a folder of its own; more options are given as for the program."""

    def __init__(self, *options: str) -> None:
        super().__init__()
        self.options = options
        self.socket = self.folder / "redis.sock"
        self.url = f"unix://{self.socket}"

    def start(self) -> RedisServer:
        """Start it, or start it again."""
        where = ["--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder)]
        self.run("redis-server", *where, "--save", "", "--appendonly", "no", *self.options)
        until(self.answers, "redis-server did not start")
        return self

    def answers(self) -> bool:
        """Whether it is up (an answer that asks for a password is one)."""
        return "refused" not in (answer := self.cli("ping")) and "No such file" not in answer

    def cli(self, *command: str) -> str:
        """Give it one command as its administrator."""
        run = subprocess.run(
            ["redis-cli", "-s", str(self.socket), *command], capture_output=True, text=True, check=False, timeout=5
        )
        return run.stdout.strip() + run.stderr.strip()

    def __enter__(self) -> RedisServer:
        return self.start()


class SecretService(Server):
    """A D-Bus session bus with gnome-keyring on it, and no desktop that could ask anybody for a password."""

    def environment(self) -> dict[str, str]:
        """Return the bus's address."""
        return {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={self.folder / 'bus'}"}

    def __enter__(self) -> SecretService:
        address = self.environment()["DBUS_SESSION_BUS_ADDRESS"]
        self.run("dbus-daemon", "--session", "--nofork", f"--address={address}")
        until((self.folder / "bus").exists, "dbus-daemon did not start")
        self.run("gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets", send=b"test")
        until(self._owned, "gnome-keyring-daemon did not start")
        return self

    def _owned(self) -> bool:
        ask = ["dbus-send", "--print-reply", "--dest=org.freedesktop.DBus", "/org/freedesktop/DBus"]
        name = ["org.freedesktop.DBus.NameHasOwner", "string:org.freedesktop.secrets"]
        run = subprocess.run(
            [*ask, *name], check=False, capture_output=True, env=os.environ | self.environment(), timeout=5
        )
        return b"true" in run.stdout
