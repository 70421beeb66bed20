"""How a session hears what other kernels did: one look every two seconds for all of them; from Redis, at once."""

from __future__ import annotations

import asyncio
import copy
import gc
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from pywry_auth_nb import (
    FileTokenStore,
    GenericOIDCProvider,
    MemoryTokenStore,
    OAuthTokenSet,
    RedisTokenStore,
    SessionManager,
)
from pywry_auth_nb._session import watcher
from tests.stores.permissions import DOCS, LINE, QUOTED, words
from tests.support.waiting import over, until

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from pywry_auth_nb import TokenStore
    from tests.stores.servers import RedisServer

PROVIDER = GenericOIDCProvider("client", authorize_url="https://op.example/a", token_url="https://op.example/t")
TOKENS = OAuthTokenSet("CANARY-at", expires_in=3600)
#: What docs/token-stores.md adds to the permissions of a user who is to be told at once.
MORE = "&pywry:ada:oauth:changed +subscribe +unsubscribe +publish"


class Counting(MemoryTokenStore):
    """A store that counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.looks: list[int] = []
        self.fails = False

    async def stamps(self, keys: Collection[str]) -> dict[str, object]:
        """Count how many are asked for."""
        self.looks.append(len(keys))
        if self.fails:
            raise OSError("CANARY")
        return await super().stamps(keys)


def session(store: TokenStore, key: str = "default") -> SessionManager:
    """A session, as another kernel has it."""
    return SessionManager(PROVIDER, store, key)


def sign_in(session: SessionManager) -> float:
    """Sign in, and return when."""
    asyncio.run(session.save_tokens(TOKENS))
    return time.monotonic()


def test_the_documented_permissions() -> None:
    """They are those of this module."""
    assert f"{MORE}" in DOCS.read_text("utf-8")


def test_within_two_seconds(tmp_path: Path) -> None:
    """A sign-in and a sign-out of another kernel are seen in that time, whatever is read meanwhile."""
    one, other = session(FileTokenStore(tmp_path)), session(FileTokenStore(tmp_path))
    until(lambda: other._engine._records.loaded)
    begun = sign_in(one)
    until(lambda: other.status == "signed_in")
    assert not over(begun, 2.3)
    asyncio.run(one.logout())
    begun = time.monotonic()
    until(lambda: other.status == "signed_out")

    assert not over(begun, 2.3)


def test_a_thousand_sessions_look_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One look for all sessions of a store and process, for each of their records once."""
    monkeypatch.setattr(watcher, "WATCH", 0.3)
    store = Counting()
    sessions = [session(store, f"key {number % 10}") for number in range(1000)]
    until(lambda: all(each._engine._records.loaded for each in sessions), seconds=30)
    begun, before = time.monotonic(), len(store.looks)
    until(lambda: len(store.looks) >= before + 3)

    assert time.monotonic() - begun >= 2 * 0.3 * 0.8
    assert set(store.looks[before:]) == {10}
    sign_in(sessions[0])
    until(lambda: all(each.status == "signed_in" for each in sessions[::10]))
    assert {each.status for each in sessions[1::10]} == {"signed_out"}


def test_a_look_that_fails_is_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is away is looked at again, and sessions say that it is."""
    monkeypatch.setattr(watcher, "WATCH", 0.1)
    store = Counting()
    idle = session(store)
    until(lambda: store.looks)
    store.fails = True
    until(lambda: idle.error is not None)
    assert idle.error.code == "store_failed"
    store.fails = False

    until(lambda: idle.error is None)


def test_nothing_stays_of_sessions_that_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """R41: the watcher keeps neither its sessions nor its store alive, and stops looking."""
    monkeypatch.setattr(watcher, "WATCH", 0.1)
    store = Counting()
    looks, held = store.looks, [session(store) for _ in range(3)]
    until(lambda: looks)
    gone = [weakref.ref(thing) for thing in (store, *held)]
    del store, held
    until(lambda: gc.collect() >= 0 and not any(ref() for ref in gone))
    seen = len(looks)
    time.sleep(0.5)  # several looks' time

    assert len(looks) == seen


class Slow(Counting):
    """A store whose looks take a while."""

    async def stamps(self, keys: Collection[str]) -> dict[str, object]:
        """Take three times as long as there is between two looks."""
        await asyncio.sleep(0.3)
        return await super().stamps(keys)


def test_sessions_made_during_a_look_make_no_more_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """One chain of looks, however many sessions are made while one is under way."""
    monkeypatch.setattr(watcher, "WATCH", 0.1)
    store, sessions = Slow(), []
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        sessions.append(session(store, f"key {len(sessions)}"))
        time.sleep(0.05)
    before, begun = len(store.looks), time.monotonic()
    time.sleep(1.5)

    assert len(store.looks) - before <= (time.monotonic() - begun) / 0.3 + 1


class Damaged(MemoryTokenStore):
    """A store of one's own, in which one record cannot be looked at."""

    async def stamp(self, key: str) -> object:
        """Fail for that one."""
        if key.startswith("damaged"):
            raise KeyError("CANARY")
        return await super().stamp(key)


def test_one_record_that_fails_is_the_trouble_of_its_sessions_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others hear of sign-outs, and renew, as if it were not there."""
    monkeypatch.setattr(watcher, "WATCH", 0.1)
    store = Damaged()
    damaged, one, other = session(store, "damaged"), session(store), session(store)
    until(lambda: damaged.error is not None)
    sign_in(one)
    until(lambda: other.status == "signed_in")
    asyncio.run(one.logout())

    until(lambda: other.status == "signed_out")
    assert not other._engine._records.store_unavailable


class Deaf(Counting):
    """A store of one's own whose method has the name of ours."""

    def listen_for_changes(self, changed: object) -> Any:  # noqa: ARG002 - the name and no more
        """Mean something else by it."""
        raise ZeroDivisionError


def test_a_store_that_cannot_be_listened_to_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever that raises, the looks go on."""
    monkeypatch.setattr(watcher, "WATCH", 0.1)
    store = Deaf()
    idle = session(store)

    until(lambda: len(store.looks) > 3)
    assert idle.status == "signed_out"


def test_a_store_can_be_sent_to_other_processes_as_before(tmp_path: Path) -> None:
    """A session leaves nothing in its store that cannot be pickled or copied."""
    store = FileTokenStore(tmp_path)
    watched = session(store)
    until(lambda: watched._engine._records.loaded)

    assert vars(store).keys() == vars(FileTokenStore(tmp_path)).keys()
    assert copy.copy(store).path == store.path


# -- what Redis tells -----------------------------------------------------------------------------------------------


Kernels = Callable[..., tuple[SessionManager, SessionManager]]


@pytest.fixture
def kernels(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernels]:
    """Make two kernels on a server; they look too rarely to see anything by themselves."""
    monkeypatch.setattr(watcher, "WATCH", 3600.0)
    stores: list[RedisTokenStore] = []

    def make(channel: str, url: str = server.url, prefix: str = "pywry") -> tuple[SessionManager, SessionManager]:
        """Make them, and wait until they listen to that channel, if any."""
        stores.extend(RedisTokenStore(url, prefix) for _ in range(2))
        one, other = (session(store) for store in stores[-2:])
        until(lambda: other._engine._records.loaded)
        until(lambda: channels(server) == channel)
        return one, other

    yield make
    for store in stores:
        asyncio.run(store.close())


def channels(server: RedisServer) -> str:
    """Return to what anything listens."""
    return server.cli("pubsub", "channels")


def test_redis_tells(kernels: Kernels) -> None:
    """A sign-in and a sign-out are heard, without a look at the store."""
    one, other = kernels("pywry:oauth:changed")
    sign_in(one)
    until(lambda: other.status == "signed_in")
    asyncio.run(one.logout())

    until(lambda: other.status == "signed_out")


def test_redis_tells_those_who_may_hear(server: RedisServer, kernels: Kernels) -> None:
    """The permissions that docs/token-stores.md adds are enough; without them the two seconds are what counts."""
    ada = f"unix://ada:{QUOTED}@{server.socket}", "pywry:ada"
    assert server.cli(*words(LINE)) == "OK"
    one, other = kernels("", *ada)
    until(lambda: not one._engine._records.store._may_listen)  # type: ignore[attr-defined]
    denied = server.cli("acl", "log").count("username")
    sign_in(one)
    assert other.status == "signed_out"
    other._engine._begin_watching()  # as it does within two seconds
    until(lambda: other.status == "signed_in")
    assert server.cli("acl", "log").count("username") == denied, "it is not asked for again and again"

    assert server.cli(*words(f"{LINE} {MORE}")) == "OK"
    one, other = kernels("pywry:ada:oauth:changed", *ada)
    until(lambda: other.status == "signed_in")
    asyncio.run(one.logout())
    until(lambda: other.status == "signed_out")


def test_a_connection_that_breaks_is_opened_again(server: RedisServer, kernels: Kernels) -> None:
    """Redis is heard again soon; what was said meanwhile is seen within two seconds, as ever."""
    one, other = kernels("pywry:oauth:changed")
    server.cli("client", "kill", "type", "pubsub")
    until(lambda: channels(server) == "pywry:oauth:changed")
    for each in (one, other):
        until(lambda: not each._engine.is_doing("sync"))  # noqa: B023 - waited for here
    sign_in(one)

    until(lambda: other.status == "signed_in")
