"""Redis: how long, how many, for whom and how: with real servers."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pywry_auth_nb import OAuthTokenSet
from pywry_auth_nb.errors import ConfigurationError
from pywry_auth_nb.token_store import RedisTokenStore, make_encryption_key
from tests.stores.asking import loaded, refused_cleanly, save
from tests.stores.servers import RedisServer, certificate
from tests.support.cases import case
from tests.support.ports import free_port
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

DOCS = Path(__file__).parents[2] / "docs" / "token-stores.md"
NAME = "pywry:oauth:tokens:default"


@pytest.fixture
def store(redis_server: RedisServer, opened: Callable[..., RedisTokenStore]) -> RedisTokenStore:
    """A store on the shared server."""
    return opened(redis_server.url)


# -- how long ---------------------------------------------------------------------------------------------------------


LIFETIMES: list[tuple[dict[str, Any], int]] = [
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
]


def test_how_long(store: RedisTokenStore, redis_server: RedisServer) -> None:
    """A16: A record lives as long as the refresh token, if the provider says; never as briefly as the access token."""
    for fields, seconds in LIFETIMES:
        with case(fields):
            redis_server.cli("flushall")
            before = fields.get("issued_at", 0) < 0  # that long before the test
            save(store, **fields | ({"issued_at": time.time() + fields["issued_at"]} if before else {}))

            assert int(redis_server.cli("ttl", NAME)) == pytest.approx(seconds, abs=10)


def test_idle_seconds(redis_server: RedisServer) -> None:
    """The limit for providers that say nothing can be set, and each save begins it anew."""
    store = RedisTokenStore(redis_server.url, idle_seconds=0.05)
    save(store)
    until(lambda: loaded(store) is None, "it is still there")
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


def test_a_prefix_is_literal(redis_server: RedisServer) -> None:
    """Characters that mean something in Redis patterns list no other prefix's keys, and none of one's own is missed."""
    for prefix in ["pywry", "a*", "a?b", "[ab]", "a\\", "a-b", "^", "", "a:oauth", "Ü\ud800"]:
        with case(prefix):
            redis_server.cli("flushall")
            others = [
                RedisTokenStore(redis_server.url, other) for other in ("ab", "a", "aXb", "b", "pywr", "a\\*", "pywry2")
            ]
            store = RedisTokenStore(redis_server.url, prefix)
            for each in [*others, store]:
                save(each, key=f"of {each.prefix}")

            assert asyncio.run(store.list_keys()) == [f"of {prefix}"]

            for each in [*others, store]:
                asyncio.run(each.close())


def test_a_prefix_that_hides_in_another() -> None:
    """A prefix with which one user's key could equal another user's is refused."""
    for prefix in ["a:oauth:", ":oauth:tokens", "pywry:oauth:lock:x"]:
        with case(prefix), pytest.raises(ConfigurationError, match=":oauth:"):
            RedisTokenStore(prefix=prefix)


def test_names_that_are_not_ours(store: RedisTokenStore, redis_server: RedisServer) -> None:
    """A thousand keys are listed once each, in several steps; names that are not text are skipped."""
    command = f"for i = 1, 1000 do redis.call('set', '{NAME}' .. i, '') end redis.call('set', '{NAME}\\255', '')"
    redis_server.cli("eval", command, "0")

    assert len(asyncio.run(store.list_keys())) == 1000


# -- who --------------------------------------------------------------------------------------------------------------


def test_wrong_password() -> None:
    """A missing or wrong password is a permission error, and no message repeats it."""
    with RedisServer("--requirepass", "CANARY-right") as server:
        for user in ("", "ada:CANARY-wrong@", ":CANARY-wrong@"):
            with case(user):
                store = RedisTokenStore(f"unix://{user}{server.socket}")

                assert refused_cleanly(save, store).code == "store_forbidden"
                asyncio.run(store.close())


NO_URLS = [
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
    "redis://u:12?CANARY@host",
    "redis://u:12#CANARY@host",
    "redis+CANARY://host",
    "redis+unix:///CANARY",
    "redis+cluster://",
    "redis+cluster://u:CANARY/x@host",
    "redis+cluster://u:12/CANARY@host:6379/0",
    "redis+cluster://host:6379/1",
    "redis+cluster://host,other:CANARY",
    "redis+cluster://host?CANARY=1",
    "redis+sentinel://host",
    "redis+sentinel://host/",
    "redis+sentinel://host/name/CANARY",
    "redis+sentinel://u:CANARY/x@host/name/0",
    "redis+sentinel://u:12/CANARY@host/0",
    "redis+sentinel://u:12?x=/CANARY@host/name",
    "redis+sentinel://host,other:CANARY/name",
    "redis+sentinel://host/name?CANARY=1",
]


def test_an_invalid_url() -> None:
    """It is refused at once, also a password with unescaped characters, part of which would be read as the host."""
    for url in NO_URLS:
        with case(url):
            with pytest.raises(ConfigurationError, match="%XX") as caught:
                RedisTokenStore(url)

            frames = [
                frame
                for frame, _ in traceback.walk_tb(caught.value.__traceback__)
                if frame.f_code.co_filename != __file__
            ]
            shown = [repr(value) for frame in frames for name, value in frame.f_locals.items() if name != "self"]
            assert len(frames) > 1
            assert "CANARY" not in "".join(shown) + str(caught.value)


def test_a_moved_record(redis_server: RedisServer) -> None:
    """An encrypted record that is copied under another user's key does not open there."""
    key = make_encryption_key()
    ada, bob = (RedisTokenStore(redis_server.url, prefix, encryption_key=key) for prefix in ("ada", "bob"))
    save(ada)
    assert "CANARY" not in redis_server.cli("get", "ada:oauth:tokens:default")
    redis_server.cli("rename", "ada:oauth:tokens:default", "bob:oauth:tokens:default")

    assert refused_cleanly(loaded, bob).code == "store_unreadable"
    for each in (ada, bob):
        asyncio.run(each.close())


def test_tls(tmp_path: Path) -> None:
    """``rediss://`` is TLS, and a certificate of an unknown authority is refused."""
    certificate(tmp_path)
    port, cert, key = free_port(), str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    options = ["--tls-port", str(port), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert]
    with RedisServer("--bind", "127.0.0.1", *options, "--tls-auth-clients", "no"):
        trusting = RedisTokenStore(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={cert}")
        doubting = RedisTokenStore(f"rediss://127.0.0.1:{port}/0")

        save(trusting)
        assert loaded(trusting) == "CANARY-at"
        assert refused_cleanly(loaded, doubting).code == "store_unavailable"

        for each in (trusting, doubting):
            asyncio.run(each.close())


# -- how it is used ----------------------------------------------------------------------------------------------------


def test_a_record_of_another_type(store: RedisTokenStore, redis_server: RedisServer) -> None:
    """A value of another Redis type under our key is one of our errors."""
    redis_server.cli("hset", NAME, "field", "CANARY")

    assert refused_cleanly(loaded, store).code == "store_unreadable"
    assert asyncio.run(store.exists("default"))
    assert asyncio.run(store.stamp("default")) == asyncio.run(store.stamp("default"))
    save(store)
    assert loaded(store) == "CANARY-at"


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
