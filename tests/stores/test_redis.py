"""Redis: a real server that is busy, strict, encrypted, full, slow, killed and started again."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pywry_auth_nb import OAuthTokenSet
from pywry_auth_nb.errors import ConfigurationError, TokenStoreError
from pywry_auth_nb.token_store import RedisTokenStore, make_encryption_key, redis
from tests.stores import asking
from tests.stores.asking import loaded
from tests.stores.servers import RedisServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DOCS = Path(__file__).parents[2] / "docs" / "token-stores.md"
NAME = "pywry:oauth:tokens:default"


@pytest.fixture
def store(redis_server: RedisServer) -> Iterator[RedisTokenStore]:
    """A store on the shared server."""
    store = RedisTokenStore(redis_server.url)
    yield store
    asyncio.run(store.close())


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server that this test may break."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def own_store(own_server: RedisServer) -> Iterator[RedisTokenStore]:
    """A store on that server."""
    store = RedisTokenStore(own_server.url)
    yield store
    asyncio.run(store.close())


def save(store: RedisTokenStore, text: str = "-at", key: str = "default", **fields: Any) -> None:
    asyncio.run(store.save(key, OAuthTokenSet(f"CANARY{text}", **fields)))


def refused(action: Callable[[], object]) -> TokenStoreError:
    """Return the error of ``action``, which carries nothing of redis-py's along."""
    error = asking.refused(action)
    assert error.__cause__ is error.__context__ is None
    return error


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# -- how long ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"expires_in": 60}, 30 * 86400),
        ({"expires_in": 60, "raw": {"refresh_expires_in": 1800}}, 1800),
        ({"expires_in": 60, "raw": {"refresh_token_expires_in": 15897600}}, 15897600),
        ({"expires_in": 60, "raw": {"refresh_token_expires_in": "15897600"}}, 15897600),
        ({"expires_in": 60, "raw": {"refresh_expires_in": 0}}, 30 * 86400),
        ({"expires_in": 60, "raw": {"refresh_expires_in": None}}, 30 * 86400),
        ({"expires_in": 60, "raw": {"refresh_expires_in": "junk"}}, 30 * 86400),
        ({"expires_in": 60, "raw": {"refresh_expires_in": 10**400}}, 30 * 86400),
        ({"expires_in": 60, "raw": {"refresh_expires_in": 1e300}}, 10 * 365 * 86400),
        ({"expires_in": 7200, "raw": {"refresh_expires_in": 1800}}, 7200),
        ({"expires_in": 60, "raw": {"refresh_expires_in": 1800}, "issued_at": -1000.0}, 800),
        ({"expires_in": 60, "raw": {"refresh_expires_in": 1800}, "issued_at": 0.0}, 60),
        ({"expires_in": 60.5}, 30 * 86400),
        ({}, 30 * 86400),
    ],
)
def test_how_long(store: RedisTokenStore, redis_server: RedisServer, fields: dict[str, Any], seconds: int) -> None:
    """A16: As long as the refresh token, if the provider says; never as short as the access token."""
    if fields.get("issued_at", 0) < 0:  # that long before the test
        fields = fields | {"issued_at": time.time() + fields["issued_at"]}
    save(store, **fields)

    assert int(redis_server.cli("ttl", NAME)) == pytest.approx(seconds, abs=10)


def test_idle_seconds(redis_server: RedisServer) -> None:
    """The limit for providers that say nothing can be set, and each save begins it anew."""
    store = RedisTokenStore(redis_server.url, idle_seconds=0.05)
    save(store)
    time.sleep(0.1)
    assert loaded(store) is None
    asyncio.run(store.close())
    with pytest.raises(ConfigurationError):
        RedisTokenStore(idle_seconds=0)
    with pytest.raises(ConfigurationError):
        RedisTokenStore(pool_size=0)


# -- how many ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool_size", [10, 2, 1])
def test_more_callers_than_connections(redis_server: RedisServer, pool_size: int) -> None:
    """32 callers at once all succeed, on no more connections than allowed: PyWry failed 21 of 32."""
    store = RedisTokenStore(redis_server.url, pool_size=pool_size)

    async def call(number: int) -> bool:
        tokens = OAuthTokenSet(f"CANARY-{number}", issued_at=0.0)
        await store.save(f"key-{number}", tokens)
        return await store.load(f"key-{number}") == tokens

    async def all_at_once() -> list[bool]:
        return await asyncio.gather(*(call(number) for number in range(32)))

    before = int(redis_server.cli("info", "stats").partition("total_connections_received:")[2].split()[0])
    assert asyncio.run(all_at_once()) == [True] * 32
    after = int(redis_server.cli("info", "stats").partition("total_connections_received:")[2].split()[0])

    assert after - before <= pool_size + 1  # the one that asks
    asyncio.run(store.close())


@pytest.mark.parametrize("prefix", ["pywry", "a*", "a?b", "[ab]", "a\\", "a-b", "^", "", "a:oauth:token:", "Ü\ud800"])
def test_a_prefix_is_literal(redis_server: RedisServer, prefix: str) -> None:
    """Characters that mean something in Redis patterns list no other prefix's keys, and none of one's own is missed."""
    others = [RedisTokenStore(redis_server.url, other) for other in ("ab", "a", "aXb", "b", "pywr", "a\\*", "pywry2")]
    store = RedisTokenStore(redis_server.url, prefix)
    for each in [*others, store]:
        save(each, key=f"of {each.prefix}")

    assert asyncio.run(store.list_keys()) == [f"of {prefix}"]

    for each in [*others, store]:
        asyncio.run(each.close())


def test_names_that_are_not_ours(store: RedisTokenStore, redis_server: RedisServer) -> None:
    """A thousand keys are listed once each, in several steps; what is no text is not ours."""
    command = f"for i = 1, 1000 do redis.call('set', '{NAME}' .. i, '') end redis.call('set', '{NAME}\\255', '')"
    redis_server.cli("eval", command, "0")

    assert len(asyncio.run(store.list_keys())) == 1000


# -- who --------------------------------------------------------------------------------------------------------------


def test_a_user_with_the_documented_permissions() -> None:
    """The ACL line of docs/token-stores.md suffices, and keeps users apart."""
    line = next(line for line in DOCS.read_text("utf-8").splitlines() if line.startswith("ACL SETUSER ada"))
    password = "CANARY p@ss/w:rd#%"
    with RedisServer() as server:
        command = [word.replace("ADAS-PASSWORD", password) for word in line.split()]
        assert server.cli(*command) == "OK"
        quoted = "CANARY%20p%40ss%2Fw%3Ard%23%25"
        store = RedisTokenStore(f"unix://ada:{quoted}@{server.socket}", prefix="pywry:ada")
        other = RedisTokenStore(f"unix://ada:{quoted}@{server.socket}", prefix="pywry:bob")

        save(store)
        assert loaded(store) == "CANARY-at"
        assert asyncio.run(store.list_keys()) == ["default"]
        asyncio.run(store.delete("default"))
        for action in (lambda: save(other), lambda: loaded(other)):
            assert refused(action).code == "store_forbidden"

        assert "CANARY" not in repr(store) + repr(store.__dict__)
        for each in (store, other):
            asyncio.run(each.close())


@pytest.mark.parametrize("user", ["", "ada:CANARY-wrong@", ":CANARY-wrong@"])
def test_wrong_password(user: str) -> None:
    """No password, or a wrong one, is a matter of permission, and nothing repeats it."""
    with RedisServer("--requirepass", "CANARY-right") as server:
        store = RedisTokenStore(f"unix://{user}{server.socket}")

        assert refused(lambda: save(store)).code == "store_forbidden"
        asyncio.run(store.close())


@pytest.mark.parametrize(
    "url",
    [
        "CANARY",
        "http://u:CANARY@host",
        "redis://",
        "redis://u:12/CANARY@host:6379/0",
        "redis://u:CANARY/x@host",
        "redis://u:CANARY#x@host",
        "redis://host?socket_timeout=CANARY",
        "redis://host?CANARY=1",
        "unix://",
        "redis://[CANARY",
    ],
)
def test_what_is_no_url(url: str) -> None:
    """It is refused at once; a password with special characters, too, of which a part would pass for the host."""
    with pytest.raises(ConfigurationError, match="%XX") as caught:
        RedisTokenStore(url)

    assert "CANARY" not in str(caught.value)


def test_a_moved_record(redis_server: RedisServer) -> None:
    """Whoever can write to the server cannot hand one user's encrypted tokens to another."""
    key = make_encryption_key()
    ada, bob = (RedisTokenStore(redis_server.url, prefix, encryption_key=key) for prefix in ("ada", "bob"))
    save(ada)
    assert "CANARY" not in redis_server.cli("get", "ada:oauth:tokens:default")
    redis_server.cli("rename", "ada:oauth:tokens:default", "bob:oauth:tokens:default")

    assert refused(lambda: loaded(bob)).code == "store_unreadable"
    for each in (ada, bob):
        asyncio.run(each.close())


def _certificate(folder: Path) -> None:
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


def test_tls(tmp_path: Path) -> None:
    """``rediss://`` is TLS, and a certificate that nobody vouches for is refused."""
    _certificate(tmp_path)
    port, cert, key = free_port(), str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    options = ["--tls-port", str(port), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert]
    with RedisServer("--bind", "127.0.0.1", *options, "--tls-auth-clients", "no"):
        trusting = RedisTokenStore(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={cert}")
        doubting = RedisTokenStore(f"rediss://127.0.0.1:{port}/0")

        save(trusting)
        assert loaded(trusting) == "CANARY-at"
        assert refused(lambda: loaded(doubting)).code == "store_unavailable"

        for each in (trusting, doubting):
            asyncio.run(each.close())


# -- when it fails ----------------------------------------------------------------------------------------------------


def test_nobody_there() -> None:
    """A server that does not run is said so at the first use, soon, and by its address."""
    store = RedisTokenStore(f"redis://:CANARY@127.0.0.1:{free_port()}/0")
    begun = time.monotonic()

    error = refused(lambda: loaded(store))

    assert error.code == "store_unavailable"
    assert "redis://127.0.0.1:" in str(error)
    assert time.monotonic() - begun < 3
    asyncio.run(store.close())


def test_killed_and_started_again(own_server: RedisServer, own_store: RedisTokenStore) -> None:
    """R23, R24: An outage is an error while it lasts, and nothing needs to be done after it; what is gone is gone."""
    save(own_store)

    own_server.stop(signal.SIGKILL)
    errors = [refused(lambda: save(own_store)), refused(lambda: asyncio.run(own_store.list_keys()))]
    own_server.start()

    assert {error.code for error in errors} == {"store_unavailable"}
    assert loaded(own_store) is None
    save(own_store)
    assert loaded(own_store) == "CANARY-at"


def test_restarted_between_two_uses(own_server: RedisServer, own_store: RedisTokenStore) -> None:
    """A restart that nobody saw is not noticed."""
    save(own_store)
    own_server.stop()
    own_server.start()

    save(own_store)


def test_out_of_memory(own_server: RedisServer, own_store: RedisTokenStore) -> None:
    """A full server refuses to write, and what it has can still be read."""
    save(own_store)
    own_server.cli("config", "set", "maxmemory", "1")

    assert refused(lambda: save(own_store, "-new")).code == "store_unavailable"
    assert loaded(own_store) == "CANARY-at"


def test_a_replica(own_server: RedisServer, own_store: RedisTokenStore) -> None:
    """A server that became a replica reads and does not write."""
    own_server.cli("replicaof", "127.0.0.1", str(free_port()))

    assert refused(lambda: save(own_store)).code == "store_unavailable"


def test_a_record_of_another_type(store: RedisTokenStore, redis_server: RedisServer) -> None:
    """Something else under our name is an error, and not of another kind than ours."""
    redis_server.cli("hset", NAME, "field", "CANARY")
    refused(lambda: loaded(store))

    save(store)
    assert loaded(store) == "CANARY-at"


def test_a_server_that_does_not_answer(
    own_server: RedisServer, own_store: RedisTokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P5: One that is stopped costs a deadline, for each of many callers; when it goes on, so do we."""
    monkeypatch.setattr(redis, "DEADLINE", 0.5)
    save(own_store)
    own_server.signal(signal.SIGSTOP)

    async def both() -> list[BaseException | OAuthTokenSet | None]:
        return await asyncio.gather(*(own_store.load("default") for _ in range(20)), return_exceptions=True)

    begun = time.monotonic()
    found = asyncio.run(both())
    took = time.monotonic() - begun
    own_server.signal(signal.SIGCONT)

    assert {getattr(error, "code", None) for error in found} == {"store_unavailable"}
    assert took < 2
    assert loaded(own_store) == "CANARY-at"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_fork(redis_server: RedisServer) -> None:
    """A forked child has connections of its own, and the parent's go on working."""
    program = """
import asyncio, os, signal, sys, warnings
from pywry_auth_nb import OAuthTokenSet
from pywry_auth_nb.token_store import RedisTokenStore
warnings.simplefilter("ignore")
store = RedisTokenStore(sys.argv[1])
asyncio.run(store.save("parent", OAuthTokenSet("CANARY-parent")))
child = os.fork()
if child == 0:
    signal.alarm(20)
    asyncio.run(store.save("child", OAuthTokenSet("CANARY-child")))
    assert str(asyncio.run(store.load("parent")).access_token) == "CANARY-parent"
    os._exit(0)
for _ in range(20):
    assert str(asyncio.run(store.load("parent")).access_token) == "CANARY-parent"
assert os.waitpid(child, 0)[1] == 0
assert str(asyncio.run(store.load("parent")).access_token) == "CANARY-parent"
print(asyncio.run(store.list_keys()))
asyncio.run(store.close())
"""
    run = subprocess.run(
        [sys.executable, "-c", program, redis_server.url], capture_output=True, text=True, check=False, timeout=60
    )

    assert (run.stdout.strip(), run.stderr) == ("['child', 'parent']", "")


def test_close(store: RedisTokenStore, redis_server: RedisServer) -> None:
    """Closing closes every connection, may be done twice, and ends nothing: the next use connects again."""
    save(store)
    asyncio.run(store.close())
    asyncio.run(store.close())
    assert redis_server.cli("client", "list").count("\n") == 0  # the one that asks

    assert loaded(store) == "CANARY-at"
