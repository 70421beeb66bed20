"""The real components that the stores talk to, started for a test and gone with it."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import shutil
import signal
import subprocess
import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.ports import free_port
from tests.support.serving import ThreadServer
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable


def certificate(folder: Path) -> None:
    """Write a certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "redis of the tests")])
    now = datetime.now(timezone.utc)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(address, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    certificate = builder.sign(key, hashes.SHA256())
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


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
            program.send_signal(signal.SIGCONT)
            program.send_signal(number)
            program.wait(10)

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until ``condition`` holds; where it does not, the end of what the programs said is told.

        Programs begin late on a busy machine, and a Sentinel asks what is new every ten seconds only.
        """
        try:
            until(condition, what, seconds=30.0)
        except AssertionError as error:
            said = (self.folder / "said").read_text(errors="replace")[-3000:]
            raise AssertionError(f"{error}; they said:\n{said}") from None

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
        self.until(self.answers, "redis-server did not start")
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


class RedisServers(Server):
    """Several redis-servers on loopback, each on a port; over TLS where there is a folder with a certificate."""

    def __init__(self, *options: str, tls: Path | None = None) -> None:
        super().__init__()
        self.options = options
        self.tls = tls

    def start(self, port: int, *options: str) -> subprocess.Popen[bytes]:
        """Start one more."""
        folder = self.folder / str(port)
        folder.mkdir()
        where = [word for name, value in self.where(port).items() for word in (f"--{name}", value)]
        program = self.run("redis-server", "--dir", str(folder), "--save", "", *where, *self.options, *options)
        self.until(lambda: "PONG" in self.cli(port, "ping"), "redis-server did not start")
        return program

    def where(self, port: int) -> dict[str, str]:
        """Return how a server, or a Sentinel, is told its port."""
        if self.tls is None:
            return {"bind": "127.0.0.1", "port": str(port)}
        cert, key = str(self.tls / "cert.pem"), str(self.tls / "key.pem")
        files = {"tls-cert-file": cert, "tls-ca-cert-file": cert, "tls-key-file": key, "tls-auth-clients": "no"}
        return {"bind": "127.0.0.1", "port": "0", "tls-port": str(port), "tls-replication": "yes", **files}

    def cli(self, port: int, *command: str) -> str:
        """Give one of them a command as its administrator."""
        run = subprocess.run(
            ["redis-cli", "-p", str(port), *self._cli_options(), *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        return run.stdout.strip() + run.stderr.strip()

    def _cli_options(self) -> list[str]:
        return [] if self.tls is None else ["--tls", "--cacert", str(self.tls / "cert.pem")]


class RedisCluster(RedisServers):
    """Three that share the keys among them."""

    def __init__(self, *options: str, tls: Path | None = None) -> None:
        super().__init__(*options, tls=tls)
        self.ports = [free_port() for _ in range(3)]
        self.nodes = [f"127.0.0.1:{port}" for port in self.ports]

    def __enter__(self) -> RedisCluster:
        over_tls = [] if self.tls is None else ["--tls-cluster", "yes"]
        for port in self.ports:
            cluster = ["--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--cluster-node-timeout", "2000"]
            self.start(port, *cluster, *over_tls)
        made = self.cli(self.ports[0], "--cluster", "create", *self.nodes, "--cluster-yes")
        for port in self.ports:
            self.until(lambda port=port: "cluster_state:ok" in self.cli(port, "cluster", "info"), made)
        return self

    def everywhere(self, *command: str) -> list[str]:
        """Give all nodes a command, as their administrator."""
        return [self.cli(port, *command) for port in self.ports]


class WatchedRedis(RedisServers):
    """One, its replica, and a Sentinel that puts the replica in its place when it dies."""

    NAME = "notebooks"

    def __init__(self, *options: str, tls: Path | None = None, sentinel: str = "") -> None:
        super().__init__("--repl-diskless-sync-delay", "0", *options, tls=tls)
        self.configuration = sentinel
        self.first, self.second, self.sentinel = (free_port() for _ in range(3))
        self.master: subprocess.Popen[bytes]

    def __enter__(self) -> WatchedRedis:
        self.master = self.start(self.first)
        self.start(self.second, "--replicaof", "127.0.0.1", str(self.first))
        self.until(lambda: "master_link_status:up" in self.cli(self.second, "info", "replication"), "no replica")
        lines = [f"{name} {value}" for name, value in self.where(self.sentinel).items()]
        lines += [f"dir {self.folder}", f"sentinel monitor {self.NAME} 127.0.0.1 {self.first} 1"]
        lines += [f"sentinel down-after-milliseconds {self.NAME} 400", f"sentinel failover-timeout {self.NAME} 2000"]
        (self.folder / "sentinel.conf").write_text("\n".join([*lines, self.configuration, ""]))
        self.run("redis-server", str(self.folder / "sentinel.conf"), "--sentinel")
        said = self.folder / "said"
        self.until(lambda: b"+slave slave" in said.read_bytes(), "the Sentinel does not know the replica")
        return self

    def until_replicated(self) -> None:
        """Wait until the replica has all that the master has."""
        self.until(lambda: self.cli(self.first, "dbsize") == self.cli(self.second, "dbsize"), "the replica is behind")


class Proxy(ThreadServer):
    """Stands before a server on this machine and is the network: slow, leading elsewhere, or losing answers.

    Attributes:
        target: The socket of the server that new connections lead to.
        delay: Seconds by which each answer is late.
        loses: Beginnings of commands whose next answer is lost, with the connection; each once.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.delay = 0.0
        self.loses: list[bytes] = []

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what is said on either side, until one of them has nothing more to say.

        redis-py asks nothing before it has the whole answer, and that may come in parts: only the first one is late.
        """
        there, server = await asyncio.open_unix_connection(self.target)
        asked: list[bytes] = []

        async def ask() -> None:
            while question := await reader.read(2**20):
                asked[:] = [question]
                server.write(question)

        async def answer() -> None:
            while part := await there.read(2**20):
                if asked:
                    await asyncio.sleep(self.delay)
                    if self._is_lost(asked.pop()):
                        return
                writer.write(part)

        pumps = [asyncio.ensure_future(ask()), asyncio.ensure_future(answer())]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            server.close()
            await asyncio.gather(*pumps, return_exceptions=True)

    def _is_lost(self, question: bytes) -> bool:
        """Whether the answer to ``question`` is to be lost; says so once for each."""
        lost = [command for command in self.loses if command in question]
        if lost:
            self.loses.remove(lost[0])
        return bool(lost)


class SecretService(Server):
    """A D-Bus session bus with gnome-keyring on it, and no desktop that could ask for a password."""

    def environment(self) -> dict[str, str]:
        """Return the bus's address."""
        return {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={self.folder / 'bus'}"}

    def __enter__(self) -> SecretService:
        self._start()
        return self

    def revive(self) -> None:
        """Start it again if it has died: gnome-keyring 42 does so now and then, also where it is asked politely."""
        if not self._owned():
            self.stop(signal.SIGKILL)
            (self.folder / "bus").unlink(missing_ok=True)
            self._start()

    def _start(self) -> None:
        address = self.environment()["DBUS_SESSION_BUS_ADDRESS"]
        self.run("dbus-daemon", "--session", "--nofork", f"--address={address}")
        self.until((self.folder / "bus").exists, "dbus-daemon did not start")
        self.run("gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets", send=b"test")
        self.until(self._owned, "gnome-keyring-daemon did not start")

    def _owned(self) -> bool:
        ask = ["dbus-send", "--print-reply", "--dest=org.freedesktop.DBus", "/org/freedesktop/DBus"]
        name = ["org.freedesktop.DBus.NameHasOwner", "string:org.freedesktop.secrets"]
        run = subprocess.run(
            [*ask, *name], check=False, capture_output=True, env=os.environ | self.environment(), timeout=5
        )
        return b"true" in run.stdout
