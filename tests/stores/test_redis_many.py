"""Redis on several servers: a cluster, and a master that Sentinels watch. Real ones."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pywry_auth_nb import OAuthTokenSet
from pywry_auth_nb.token_store import RedisTokenStore, make_encryption_key, redis_client
from tests.stores.asking import answer, loaded, refused, save
from tests.stores.permissions import LINE, QUOTED, everything, words
from tests.stores.servers import RedisCluster, RedisServer, WatchedRedis, certificate
from tests.support.ports import free_port
from tests.support.waiting import until, within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    """A cluster for all tests that do it no harm."""
    with RedisCluster() as cluster:
        yield cluster


@pytest.fixture
def url(cluster: RedisCluster) -> str:
    """Where it is; it is empty."""
    assert cluster.everywhere("flushall") == ["OK"] * 3
    return f"redis+cluster://{cluster.nodes[0]},{cluster.nodes[1]}"


# -- a cluster --------------------------------------------------------------------------------------------------------


def test_a_cluster(cluster: RedisCluster, url: str, opened: Callable[..., RedisTokenStore]) -> None:
    """Keys lie on all nodes and are listed from all; leases keep store objects apart, wherever they lie."""
    store = opened(url, encryption_key=make_encryption_key())
    names = [f"key-{number:02}" for number in range(20)]

    for name in names:
        save(store, f"-{name}", key=name)
        lease = asyncio.run(store.try_lease(name))
        assert lease is not None
        assert asyncio.run(opened(url).try_lease(name)) is None
        asyncio.run(lease.release())

    assert asyncio.run(store.list_keys()) == names
    assert [loaded(store, name) for name in names] == [f"CANARY-{name}" for name in names]
    assert all(int(size) > 0 for size in cluster.everywhere("dbsize"))
    assert repr(store) == f"<RedisTokenStore {url}, encrypted>"


def test_a_user_of_a_cluster(cluster: RedisCluster, url: str, opened: Callable[..., RedisTokenStore]) -> None:
    """The documented permissions suffice with the documented addition, and are named when they do not."""
    cluster.everywhere(*words())
    ada = opened(url.replace("//", f"//ada:{QUOTED}@"), prefix="pywry:ada")
    assert refused(lambda: everything(ada)).code == "store_forbidden"

    assert cluster.everywhere(*words(f"{LINE} +cluster|slots")) == ["OK"] * 3
    everything(ada)

    bobs = opened(url.replace("//", f"//ada:{QUOTED}@"), prefix="pywry:bob")
    assert refused(lambda: save(bobs)).code == "store_forbidden"
    cluster.everywhere("acl", "deluser", "ada")
    assert "CANARY" not in repr(ada) + repr(ada._redis.__dict__)


def test_many_callers_of_a_cluster(url: str, opened: Callable[..., RedisTokenStore]) -> None:
    """32 callers at once all succeed, also on one connection."""
    store = opened(url, pool_size=1)

    async def call(number: int) -> bool:
        tokens = OAuthTokenSet(f"CANARY-{number}", issued_at=0.0)
        await store.save(f"key-{number}", tokens)
        return await store.load(f"key-{number}") == tokens

    async def all_at_once() -> list[bool]:
        return await asyncio.gather(*(call(number) for number in range(32)))

    assert asyncio.run(all_at_once()) == [True] * 32


def test_the_wrong_kind_of_url(
    cluster: RedisCluster, redis_server: RedisServer, opened: Callable[..., RedisTokenStore]
) -> None:
    """Where a URL of one kind leads to a server of another, the error says what to write."""
    port = free_port()
    redis_server.cli("config", "set", "bind", "127.0.0.1")
    redis_server.cli("config", "set", "port", str(port))
    single = f"127.0.0.1:{port}"

    wrong = {
        f"redis://{cluster.nodes[0]}": "with redis+cluster://",
        f"redis+cluster://{single}": "with redis://",
        f"redis+sentinel://{single}/notebooks": "is no Sentinel",
    }
    for url, advice in wrong.items():
        assert advice in _complaint(opened(url))
    redis_server.cli("config", "set", "port", "0")


def _complaint(store: RedisTokenStore) -> str:
    keys = [f"key-{number}" for number in range(20)]
    refusing = next(key for key in keys if answer(store, key) == "store_missing")  # others may lie on this very node
    return str(refused(lambda: loaded(store, refusing)))


def test_a_node_that_dies(opened: Callable[..., RedisTokenStore], monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading its keys raises within the deadline; the first node of the URL need not be up."""
    monkeypatch.setattr(redis_client, "DEADLINE", 4.0)
    with RedisCluster("--cluster-require-full-coverage", "no") as cluster:
        store = opened(f"redis+cluster://{cluster.nodes[0]},{cluster.nodes[1]}")
        names = [f"key-{number}" for number in range(12)]
        for name in names:
            save(store, key=name)
        cluster._programs[0].kill()
        cluster._programs[0].wait(10)
        answers = []
        for name in names:
            with within(6):
                answers.append(answer(store, name))

        assert set(answers) == {"CANARY-at", "store_unavailable"}
        asyncio.run(store.close())


# -- Sentinels --------------------------------------------------------------------------------------------------------


def test_a_failover(opened: Callable[..., RedisTokenStore]) -> None:
    """When the master dies, the store uses the replica that takes its place."""
    with WatchedRedis() as servers:
        unused = free_port()
        url = f"redis+sentinel://127.0.0.1:{unused},127.0.0.1:{servers.sentinel}/{servers.NAME}/0"
        store = opened(url)
        everything(store)
        save(store)
        servers.until_replicated()

        servers.master.kill()
        servers.master.wait(10)
        error = refused(lambda: save(store, "-too early"))
        until(lambda: answer(store) == "CANARY-at", "no failover")

        assert error.code == "store_unavailable"
        save(store, "-new")
        assert "role:master" in servers.cli(servers.second, "info", "replication")
        assert loaded(store) == "CANARY-new"
        asyncio.run(store.close())
        clients = servers.cli(servers.sentinel, "client", "list", "type", "normal")
        assert clients.count("lib-name=redis-py") == clients.count("cmd=sentinel") == 0


def test_passwords_and_names_of_sentinels(opened: Callable[..., RedisTokenStore]) -> None:
    """Servers and Sentinels have users of their own; a name that they do not know is an error."""
    secret = "CANARY-of-the-sentinels"
    with WatchedRedis(sentinel=f"requirepass {secret}") as servers:
        for port in (servers.first, servers.second):
            assert servers.cli(port, *words()) == "OK"
        where = f"redis+sentinel://ada:{QUOTED}@127.0.0.1:{servers.sentinel}"
        login = f"?sentinel_username=default&sentinel_password={secret}"
        store = opened(f"{where}/{servers.NAME}{login}", prefix="pywry:ada")
        everything(store)

        bobs = opened(f"{where}/{servers.NAME}{login}", prefix="pywry:bob")
        assert refused(lambda: save(bobs)).code == "store_forbidden"
        for url in (f"{where}/nobody{login}", f"{where}/{servers.NAME}", f"{where}/{servers.NAME}{login}wrong"):
            assert refused(lambda url=url: loaded(opened(url))).code == "store_unavailable"
        assert "CANARY" not in repr(store) + repr(store._redis.__dict__)


# -- over TLS ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [RedisCluster, WatchedRedis])
def test_over_tls(
    kind: type[RedisCluster | WatchedRedis], tmp_path: Path, opened: Callable[..., RedisTokenStore]
) -> None:
    """``rediss`` is TLS to all of them, and a certificate of an unknown authority is refused."""
    certificate(tmp_path)
    with kind(tls=tmp_path) as servers:
        if isinstance(servers, RedisCluster):
            url = f"rediss+cluster://{','.join(servers.nodes)}"
        else:
            url = f"rediss+sentinel://127.0.0.1:{servers.sentinel}/{servers.NAME}"
        trusting = opened(f"{url}?ssl_ca_certs={tmp_path / 'cert.pem'}")
        doubting = opened(url)
        plain = opened(url.replace("rediss", "redis"))

        everything(trusting)

        assert refused(lambda: loaded(doubting)).code == "store_unavailable"
        assert refused(lambda: loaded(plain)).code == "store_unavailable"
        for store in (trusting, doubting, plain):
            asyncio.run(store.close())
