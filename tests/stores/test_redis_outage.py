"""A Redis server that is down, full, slow, busy, replaced or back again: a typed error, soon, and no lost record."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from pywry_auth_nb.token_store import NOTHING, RedisTokenStore, redis, redis_client
from tests.stores.asking import loaded, refused_cleanly, save
from tests.stores.servers import Proxy, RedisServer
from tests.support.ports import free_port
from tests.support.waiting import until, within

if TYPE_CHECKING:
    from collections.abc import Callable

    from pywry_auth_nb import OAuthTokenSet
    from pywry_auth_nb.token_store import Record

NAME = "pywry:oauth:tokens:default"


@pytest.fixture
def store(server: RedisServer, opened: Callable[..., RedisTokenStore]) -> RedisTokenStore:
    """A store on that server."""
    return opened(server.url)


@pytest.fixture
def far_store(proxy: Proxy, opened: Callable[..., RedisTokenStore]) -> RedisTokenStore:
    """A store on that server, over that network."""
    return opened(f"redis://127.0.0.1:{proxy.port}")


def changes(store: RedisTokenStore) -> list[Callable[[], object]]:
    """Return everything that must write."""
    asking_for_it = lambda: asyncio.run(store.try_lease("default"))  # noqa: E731 - as short as the others
    return [lambda: save(store, "-new"), lambda: asyncio.run(store.delete("default")), asking_for_it]


def looks(store: RedisTokenStore) -> list[Callable[[], object]]:
    """Return everything that only looks."""
    calls = (store.load, store.exists, store.read, store.stamp)
    return [lambda call=call: asyncio.run(call("default")) for call in calls] + [lambda: asyncio.run(store.list_keys())]


def read(store: RedisTokenStore) -> Record:
    return asyncio.run(store.read("default"))


# -- away -------------------------------------------------------------------------------------------------------------


def test_a_server_that_is_not_running() -> None:
    """A server that is not running is reported at the first use, soon, with its address."""
    store = RedisTokenStore(f"redis://:CANARY@127.0.0.1:{free_port()}/0")
    actions = (*changes(store), *looks(store))

    with within(3 * len(actions)):
        errors = [refused_cleanly(action) for action in actions]

    assert {error.code for error in errors} == {"store_unavailable"}
    assert all("redis://127.0.0.1:" in str(error) for error in errors)
    asyncio.run(store.close())


def test_killed_and_started_again(server: RedisServer, store: RedisTokenStore) -> None:
    """R23, R24: An outage is an error while it lasts; then the store works again, without the lost records."""
    save(store)

    server.stop(signal.SIGKILL)
    errors = [refused_cleanly(action) for action in (*changes(store), *looks(store))]
    server.start()

    assert {error.code for error in errors} == {"store_unavailable"}
    assert read(store) == NOTHING
    save(store)
    assert loaded(store) == "CANARY-at"


def test_restarted_between_two_uses(server: RedisServer, store: RedisTokenStore) -> None:
    """A restart between two uses raises no error."""
    save(store)
    server.stop()
    server.start()

    save(store)


def test_a_server_that_keeps_a_log() -> None:
    """What the documentation advises, `appendonly yes`, keeps the tokens when the server is killed."""
    with RedisServer("--appendonly", "yes", "--appendfsync", "always") as server:
        store = RedisTokenStore(server.url)
        save(store)
        server.stop(signal.SIGKILL)
        server.start()

        assert loaded(store) == "CANARY-at"
        asyncio.run(store.close())


def test_while_it_loads() -> None:
    """A server that is reading its file says so; that is an error like an outage, and ends by itself."""
    with RedisServer("--loading-process-events-interval-bytes", "1024") as server:
        store = RedisTokenStore(server.url)
        save(store)
        server.cli("eval", "for i = 1, 6000 do redis.call('set', 'x' .. i, i) end", "0")
        server.cli("save")
        server.stop(signal.SIGKILL)
        server.options += ("--key-load-delay", "200")  # microseconds
        server.start()
        assert "LOADING" in server.cli("ping")

        errors = [refused_cleanly(action) for action in (changes(store)[0], looks(store)[0])]

        assert {error.code for error in errors} == {"store_unavailable"}
        until(lambda: "LOADING" not in server.cli("ping"), "it loads for ever")
        assert loaded(store) == "CANARY-at"
        asyncio.run(store.close())


# -- refusing to write ------------------------------------------------------------------------------------------------


def test_out_of_memory(server: RedisServer, store: RedisTokenStore) -> None:
    """A full server refuses to write, and what it has can still be read and removed."""
    save(store)
    server.cli("config", "set", "maxmemory", "1")
    keep, remove, lease = changes(store)

    assert {refused_cleanly(action).code for action in (keep, lease)} == {"store_unavailable"}
    assert loaded(store) == "CANARY-at"
    remove()
    assert read(store) == NOTHING


def test_eviction(server: RedisServer, store: RedisTokenStore) -> None:
    """R24: A record that the server evicted reads as missing: neither as a sign-out nor as an error."""
    save(store)
    server.cli("config", "set", "maxmemory-policy", "allkeys-lru")
    server.cli("config", "set", "maxmemory", "1")

    until(lambda: server.cli("dbsize") == "0", "it forgets nothing")

    assert read(store) == NOTHING
    assert loaded(store) is None


def test_a_replica(server: RedisServer, store: RedisTokenStore) -> None:
    """A server that became a replica reads and does not write; promoted again, it does, on the same connections."""
    save(store)
    port = free_port()
    server.cli("config", "set", "bind", "127.0.0.1")
    with RedisServer() as other:
        other.cli("config", "set", "bind", "127.0.0.1")
        assert other.cli("config", "set", "port", str(port)) == "OK"
        before = RedisTokenStore(other.url)
        save(before, "-of the master")
        server.cli("replicaof", "127.0.0.1", str(port))
        until(lambda: loaded(store) == "CANARY-of the master", "it does not follow")

        errors = [refused_cleanly(action) for action in changes(store)]
        for action in looks(store):
            action()
        assert {error.code for error in errors} == {"store_unavailable"}
        assert loaded(store) == "CANARY-of the master"

        server.cli("replicaof", "no", "one")
        save(store, "-promoted")
        assert loaded(store) == "CANARY-promoted"
        assert loaded(before) == "CANARY-of the master"
        asyncio.run(before.close())


def test_a_name_that_leads_elsewhere_by_now(server: RedisServer, far_store: RedisTokenStore, proxy: Proxy) -> None:
    """After a failover behind one name, an open connection to the old server is given up at its first refusal."""
    save(far_store)
    with RedisServer() as other:
        proxy.target = other.socket
        server.cli("replicaof", "127.0.0.1", str(free_port()))

        assert refused_cleanly(lambda: save(far_store, "-new")).code == "store_unavailable"
        save(far_store, "-new")

        assert loaded(far_store) == "CANARY-new"
        assert other.cli("dbsize") == "1"


# -- slow -------------------------------------------------------------------------------------------------------------


def _paused(server: RedisServer) -> Callable[[], object]:
    server.cli("client", "pause", "3000", "all")
    return lambda: None  # it does so by itself: who may not ask anything cannot ask for the end of that


def _asleep(server: RedisServer) -> Callable[[], object]:
    sleeping = threading.Thread(target=server.cli, args=["debug", "sleep", "3"])
    sleeping.start()
    until(lambda: _is_silent(server), "it does not sleep")
    return sleeping.join


def _is_silent(server: RedisServer) -> bool:
    """Whether a simple question stays without an answer for a while."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(0.2)
        connection.connect(str(server.socket))
        connection.sendall(b"PING\r\n")
        try:
            return not connection.recv(1)
        except TimeoutError:
            return True


def _stopped(server: RedisServer) -> Callable[[], object]:
    server.signal(signal.SIGSTOP)
    return lambda: server.signal(signal.SIGCONT)


@pytest.mark.parametrize("still", [_paused, _asleep, _stopped], ids=["pause", "sleep", "stop"])
def test_a_server_that_does_not_answer(
    server: RedisServer,
    store: RedisTokenStore,
    monkeypatch: pytest.MonkeyPatch,
    still: Callable[[RedisServer], Callable[[], object]],
) -> None:
    """P5: Each of many callers waits for one deadline; when it answers again, calls succeed and no lease is left."""
    monkeypatch.setattr(redis_client, "DEADLINE", 0.5)
    save(store)
    goes_on = still(server)

    async def all_at_once() -> list[BaseException | OAuthTokenSet | None]:
        return await asyncio.gather(*(store.load("default") for _ in range(20)), return_exceptions=True)

    with within(3):
        found = asyncio.run(all_at_once())
        errors = {refused_cleanly(lambda: asyncio.run(store.try_lease("default"))).code}

    assert {getattr(error, "code", None) for error in found} | errors == {"store_unavailable"}
    goes_on()
    monkeypatch.undo()
    until(lambda: loaded(store) == "CANARY-at", "it does not come back")
    until(lambda: asyncio.run(store.try_lease("default")), "a lease that is free")


def test_slow_answers(far_store: RedisTokenStore, proxy: Proxy) -> None:
    """A slow network causes no error."""
    proxy.delay = 0.3
    save(far_store)

    assert loaded(far_store) == "CANARY-at"
    lease = asyncio.run(far_store.try_lease("default"))
    assert lease is not None
    assert lease.lasts(redis.LEASE - 5)
    asyncio.run(lease.release())


def test_pausing_writes_only(server: RedisServer, store: RedisTokenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """During a planned failover Redis makes writers wait: reads succeed, and writes raise within their deadline."""
    save(store)
    monkeypatch.setattr(redis_client, "DEADLINE", 0.3)
    server.cli("client", "pause", "1500", "write")

    assert refused_cleanly(changes(store)[1]).code == "store_unavailable"
    assert loaded(store) == "CANARY-at"


def test_closed_during_a_request(server: RedisServer, store: RedisTokenStore) -> None:
    """A request that waits when the store is closed fails at once, and no connection is made for it."""
    save(store)
    server.signal(signal.SIGSTOP)
    codes: list[str] = []
    reader = threading.Thread(target=lambda: codes.append(refused_cleanly(looks(store)[0]).code))
    reader.start()
    until(lambda: store._redis._requests, "nothing waits")

    with within(2):
        asyncio.run(store.close())
        reader.join()
    server.signal(signal.SIGCONT)

    assert codes == ["store_unavailable"]
    assert server.cli("client", "list").count("lib-name=redis-py") == 0


# -- answers that are lost --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [1, 2])
def test_a_lost_answer_to_a_swap(far_store: RedisTokenStore, proxy: Proxy, lost: int) -> None:
    """A swap that was done, but whose answer was lost, is found to be done when it is tried again."""
    save(far_store)
    old = read(far_store)
    proxy.loses = [b"EVAL"] * lost

    assert asyncio.run(far_store.swap("default", old, old.signed_out()))

    assert proxy.loses == []
    assert read(far_store).generation > old.generation
    assert not asyncio.run(far_store.swap("default", old, old.as_ended()))


def test_a_lost_answer_to_a_lease(far_store: RedisTokenStore, store: RedisTokenStore, proxy: Proxy) -> None:
    """A lease that was granted, but whose answer was lost, is recognised as this store's own."""
    proxy.loses = [b"EVAL"]

    lease = asyncio.run(far_store.try_lease("default"))

    assert proxy.loses == []
    assert lease is not None
    assert asyncio.run(store.try_lease("default")) is None
    asyncio.run(lease.release())
    assert asyncio.run(store.try_lease("default")) is not None


def test_a_lease_whose_term_has_ended(
    store: RedisTokenStore, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Releasing a lease whose term has ended does not release it for its new holder."""
    monkeypatch.setattr(redis, "LEASE", 0.2)
    mine = asyncio.run(store.try_lease("default"))
    assert mine is not None
    until(lambda: server.cli("dbsize") == "0", "its term does not end")
    server.cli("set", "pywry:oauth:lock:default", "somebody else")

    asyncio.run(mine.release())

    assert server.cli("get", "pywry:oauth:lock:default") == "somebody else"
    assert asyncio.run(store.try_lease("default")) is None
    assert not mine.lasts(0)
