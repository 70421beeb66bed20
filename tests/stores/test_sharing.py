"""What every store promises to kernels that share it: records in order, one change at a time, one lease at a time."""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pywry_auth_nb import OAuthTokenSet, TokenStore
from pywry_auth_nb._io.loop import run
from pywry_auth_nb.token_store import (
    NOTHING,
    Lease,
    MemoryTokenStore,
    Record,
    RedisTokenStore,
    lease,
    redis,
)
from tests.stores.asking import refused, said
from tests.stores.conftest import shared
from tests.support.stores import OwnStore
from tests.support.waiting import over, until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from pywry_auth_nb.token_store.base import PackedStore
    from tests.stores.conftest import Place

posix = pytest.mark.skipif(os.name != "posix", reason="Windows has no fork")

FIRST = NOTHING.signed_in(OAuthTokenSet("CANARY-first", refresh_token="CANARY-rt"), {"sub": "ada"})
SECOND = FIRST.renewed(OAuthTokenSet("CANARY-second", refresh_token="CANARY-rt2", expires_in=60))

HOLD = """
lease = asyncio.run(store.try_lease("default"))
print("held" if lease else "not held", flush=True)
time.sleep(60)
"""


def put(store: TokenStore, record: Record, key: str = "default") -> Record:
    """Put ``record`` in place of whatever is there, and return it as it is read back."""

    async def go() -> Record:
        assert await store.swap(key, await store.read(key), record)
        return await store.read(key)

    return asyncio.run(go())


def read(store: TokenStore, key: str = "default") -> Record:
    return asyncio.run(store.read(key))


def taken(store: TokenStore, key: str = "default") -> Lease | None:
    return asyncio.run(store.try_lease(key))


def revoke_tokens(lease: Lease | None) -> None:
    assert lease is not None
    asyncio.run(lease.release())


def held(program: subprocess.Popen[str]) -> subprocess.Popen[str]:
    """Wait until a program has the lease."""
    assert program.stdout is not None
    assert program.stdout.readline() == "held\n"
    return program


def counted(old: Record) -> Record:
    """Return the next record of ``old``, with new tokens."""
    return old.renewed(OAuthTokenSet(f"CANARY-{secrets.token_hex(4)}"))


def at_once(number: int, action: Callable[[], object]) -> None:
    """Run ``action`` in so many threads; whatever one of them raises fails the test."""
    problems: list[BaseException] = []

    def work() -> None:
        try:
            action()
        except BaseException as error:  # noqa: BLE001 - the test's thread raises it
            problems.append(error)

    threads = [threading.Thread(target=work) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []


# -- records ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "record", [FIRST, SECOND, SECOND.as_ended(), FIRST.signed_out()], ids=["sign-in", "refresh", "ended", "sign-out"]
)
def test_what_was_put_is_read(place: Place, record: Record) -> None:
    """Every kind of record comes back, also from another store object, and does not show what it holds."""
    assert put(place.store(), record) == record

    found = read(place.store())

    assert found == record
    assert "CANARY" not in repr(found)


def test_nothing_there(store: TokenStore) -> None:
    """An empty store reads as a record that comes before all others."""
    assert read(store) == NOTHING
    assert read(store).generation == 0


def test_what_was_saved_is_read(store: TokenStore, tokens: OAuthTokenSet) -> None:
    """Saving is a sign-in: later than what was there, a sign-out included."""
    asyncio.run(store.save("default", tokens))
    saved = read(store)
    out = put(store, saved.signed_out())
    asyncio.run(store.save("default", tokens))

    assert saved.tokens == tokens == read(store).tokens
    assert read(store).sign_in == read(store).generation > out.generation > saved.generation


def test_a_swap_needs_what_it_read(place: Place) -> None:
    """It is refused, without a change, when another record is there by now, whichever store object wrote it."""
    one, other = place.store(), place.store()
    first = put(one, FIRST)
    second = put(other, SECOND)

    for old in (NOTHING, first):
        for late in (FIRST.signed_out(), first.as_ended(), replace(SECOND, user={"sub": "eve"})):
            assert not asyncio.run(one.swap("default", old, late))

    assert read(one) == read(other) == SECOND
    assert asyncio.run(one.swap("default", second, SECOND.signed_out()))


def test_a_swap_after_a_removal(place: Place) -> None:
    """A swap based on a record that was removed meanwhile does not bring it back."""
    one, other = place.store(), place.store()
    first = put(one, FIRST)
    asyncio.run(other.delete("default"))

    assert not asyncio.run(one.swap("default", first, SECOND))
    assert read(one) == read(other) == NOTHING
    assert asyncio.run(one.swap("default", NOTHING, SECOND))


@shared
def test_a_swap_that_was_done_already(store: PackedStore) -> None:
    """A retry after a lost answer succeeds if the swap was done, and only then."""
    packed = [store._codec.encode(record, "name") for record in (FIRST, SECOND)]

    async def swapped(old: bytes | None, new: bytes) -> bool:
        return await store._swap("default", old, new, None)

    def go(old: bytes | None, new: bytes) -> bool:
        return run(swapped(old, new), 30)

    assert [go(None, packed[0]), go(None, packed[0])] == [True, True]
    assert [go(packed[0], packed[1]), go(packed[0], packed[1])] == [True, True]
    assert not go(None, packed[0])
    assert run(store._read("default"), 30) == packed[1]


@shared
@pytest.mark.parametrize("junk", [b"{}", b'{"v":2', b"junk"])
def test_what_cannot_be_read(store: PackedStore, junk: bytes) -> None:
    """A damaged record says so when it is read, counts as there, and can be replaced, but only if it is still that."""
    run(store._swap("default", None, junk, None), 30)

    found = read(store)

    assert found.problem is not None
    assert found.problem.code == refused(lambda: asyncio.run(store.load("default"))).code == "store_unreadable"
    assert found.generation == 0
    assert asyncio.run(store.exists("default"))
    assert asyncio.run(store.list_keys()) == ["default"]
    assert not asyncio.run(store.swap("default", NOTHING, FIRST))
    assert put(store, FIRST) == FIRST
    assert not asyncio.run(store.swap("default", found, SECOND))


@shared
def test_a_record_of_a_newer_version(store: PackedStore) -> None:
    """It raises an error with its own code; a sign-in replaces it."""
    run(store._swap("default", None, b'{"v":99,"generation":5}', None), 30)

    found = read(store)

    assert found.problem is not None
    assert found.problem.code == refused(lambda: asyncio.run(store.load("default"))).code == "store_version"
    asyncio.run(store.save("default", OAuthTokenSet("CANARY-at")))
    assert read(store).problem is None


def test_a_sign_out(place: Place, tokens: OAuthTokenSet) -> None:
    """``load`` returns None for it, while sessions that share the store can tell it from a lost record."""
    store = place.store()
    asyncio.run(store.save("other", tokens))
    gone = put(store, FIRST).signed_out()
    put(store, gone)

    assert asyncio.run(store.load("default")) is None
    assert not asyncio.run(store.exists("default"))
    assert asyncio.run(store.list_keys()) == ["other"]
    assert read(place.store()) == gone
    assert gone.generation > FIRST.generation


def test_removing_leaves_nothing(place: Place) -> None:
    """A removed record is not a sign-out: nothing is there, for any store object."""
    store = place.store()
    put(store, FIRST.signed_out())

    asyncio.run(store.delete("default"))

    assert read(store) == read(place.store()) == NOTHING


def test_threads_that_count(place: Place) -> None:
    """Every change of eight threads counts, each with a store object of its own; none is done twice."""
    put(place.store(), FIRST)
    stores = [place.store() for _ in range(8)]

    def count() -> None:
        store = stores.pop()
        for _ in range(2):
            asyncio.run(store.update("default", counted))

    at_once(8, count)

    assert read(place.store()).generation == FIRST.generation + 16


@shared
def test_processes_that_count(place: Place) -> None:
    """The same for processes."""
    program = """
def counted(old):
    return old.renewed(OAuthTokenSet(f"CANARY-{os.urandom(4).hex()}"))
for _ in range(4):
    asyncio.run(store.update("default", counted))
"""
    put(place.store(), FIRST)

    programs = [place.start(program) for _ in range(3)]

    assert [said(each) for each in programs] == [""] * 3
    assert read(place.store()).generation == FIRST.generation + 12


def test_one_of_many_swaps(place: Place) -> None:
    """Of eight threads that replace the same record at once, one succeeds."""
    first = put(place.store(), FIRST)
    done: list[bool] = []

    def swap() -> None:
        mine = FIRST.renewed(OAuthTokenSet(f"CANARY-{threading.get_ident()}"))
        done.append(asyncio.run(place.store().swap("default", first, mine)))

    at_once(8, swap)

    assert sorted(done) == [False] * 7 + [True]


def test_a_change_of_nothing(store: TokenStore) -> None:
    """A change that returns None writes nothing."""
    put(store, FIRST)
    before = asyncio.run(store.stamp("default"))

    assert asyncio.run(store.update("default", lambda _: None)) == FIRST
    assert asyncio.run(store.stamp("default")) == before


def test_too_many_others(store: TokenStore) -> None:
    """A change that loses every race gives up with its own error."""
    put(store, FIRST)
    calls = iter(range(10**6))

    async def swap(key: str, old: Record, new: Record) -> bool:
        next(calls)
        return False

    store.swap = swap  # type: ignore[method-assign]
    assert "Too many" in str(refused(lambda: asyncio.run(store.update("default", counted))))
    assert next(calls) > 10


# -- stamps -----------------------------------------------------------------------------------------------------------


def test_stamps(place: Place) -> None:
    """A stamp changes with every change of the record and only then, for any store object."""
    store, other = place.store(), place.store()
    seen: list[object] = []

    def note() -> None:
        stamps = {asyncio.run(each.stamp("default")) for each in (store, other, other, store, place.store())}
        assert len(stamps) == 1
        seen.extend(stamps)

    note()
    for record in (
        FIRST,
        SECOND,
        SECOND.as_ended(),
        FIRST.signed_out(),
        NOTHING.signed_in(OAuthTokenSet("CANARY"), None),
    ):
        put(store, record)
        note()
        asyncio.run(other.load("default"))
        put(store, SECOND, key="other")
        assert asyncio.run(other.stamp("default")) == seen[-1]
    asyncio.run(other.delete("default"))
    note()

    assert len(set(seen[:-1])) == 6
    assert seen[-1] != seen[-2]


@shared
def test_stamps_of_another_process(place: Place) -> None:
    """A change by another process changes the stamp."""
    store = place.store()
    put(store, FIRST)
    before = asyncio.run(store.stamp("default"))

    said(place.start("asyncio.run(store.save('default', OAuthTokenSet('CANARY-other')))"))

    assert asyncio.run(store.stamp("default")) != before
    assert str(read(store).tokens.access_token) == "CANARY-other"  # type: ignore[union-attr]


@pytest.mark.parametrize("place", ["file", "redis", "redis encrypted"], indirect=True)
def test_stamps_of_quick_changes(store: TokenStore) -> None:
    """Records of one length that follow each other as quickly as the store can still have stamps of their own."""
    record = put(store, Record(1, 1, OAuthTokenSet("CANARY-0", issued_at=1.0)))
    stamps = []
    for _ in range(30):
        record = put(store, record.renewed(OAuthTokenSet(f"CANARY-{record.generation % 10}", issued_at=1.0)))
        stamps.append(asyncio.run(store.stamp("default")))

    assert len(set(stamps)) == 30


# -- leases -----------------------------------------------------------------------------------------------------------


def test_one_lease(place: Place) -> None:
    """One caller at a time has the lease of a key, whichever store object it uses; released, it is free."""
    one, other = place.store(), place.store()
    mine = taken(one)
    assert mine is not None
    assert taken(one) is taken(other) is None
    revoke_tokens(taken(other, "another key"))
    assert taken(one) is None

    revoke_tokens(mine)

    theirs = taken(other)
    revoke_tokens(mine)  # once more, which does nothing
    assert taken(one) is None
    revoke_tokens(theirs)


def test_one_of_many_leases(place: Place) -> None:
    """Of eight threads that ask at once, one gets it."""
    leases: list[Lease | None] = []
    stores = [place.store() for _ in range(8)]

    at_once(8, lambda: leases.append(taken(stores.pop())))

    assert leases.count(None) == 7
    revoke_tokens(next(each for each in leases if each))


@shared
def test_a_lease_of_another_process(place: Place) -> None:
    """A program gets the lease when this one has given it back, and then this one has to wait."""
    mine = taken(place.store())
    assert said(place.start("print(asyncio.run(store.try_lease('default')))")) == "None"
    revoke_tokens(mine)

    held(place.start(HOLD))

    assert taken(place.store()) is None


@shared
def test_a_holder_that_is_killed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """R03: Its lease is free at once, where the operating system notices; in Redis when its term has ended."""
    holder = held(place.start(f"redis.LEASE = 1.5\n{HOLD}"))
    begun = time.monotonic()
    store = place.store()
    assert taken(store) is None

    holder.kill()
    holder.wait(10)

    if isinstance(store, RedisTokenStore):
        until(lambda: (got := taken(store)) and (revoke_tokens(got), True)[1], "the term did not end")
        assert not over(begun, 4)
    else:
        revoke_tokens(taken(store))


def test_a_lease_that_is_dropped(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease whose object is gone is free: at once, in Redis when its term has ended."""
    monkeypatch.setattr(redis, "LEASE", 0.5)
    store = place.store()
    assert taken(store) is not None
    gc.collect()

    until(lambda: (got := taken(store)) and (revoke_tokens(got), True)[1], "it stays")


@pytest.mark.parametrize("delay", [0.0, 0.0002, 0.0005, 0.001, 0.002, 0.005])
def test_a_caller_that_is_cancelled(place: Place, delay: float) -> None:
    """A caller that is cancelled while asking gets no lease, and leaves it free for others."""
    store = place.store()

    async def give_up() -> None:
        asking = asyncio.ensure_future(store.try_lease("default"))
        await asyncio.sleep(delay)
        asking.cancel()
        try:
            got = await asking
        except asyncio.CancelledError:
            return
        assert got is not None
        await got.release()

    run(give_up(), 30)

    until(lambda: (got := taken(store)) and (revoke_tokens(got), True)[1], "it stays")


@posix
@shared
def test_a_lease_and_a_fork(place: Place) -> None:
    """A child does not have its parent's lease, and its end does not free it."""
    program = """
import warnings
warnings.simplefilter("ignore")
lease = asyncio.run(store.try_lease("default"))
assert lease is not None
for _ in range(3):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        status = 1
        try:
            assert asyncio.run(store.try_lease("default")) is None
            del lease
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
print("held", flush=True)
time.sleep(60)
"""
    held(place.start(program))

    assert taken(place.store()) is None


def test_the_term_of_a_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease with a term knows how long it still lasts, also after the machine was asleep; one without lasts."""
    now = 1000.0
    monkeypatch.setattr(lease, "_now", lambda: now)
    with_term, without = Lease(seconds=30), Lease()
    assert with_term.lasts(29)
    assert not with_term.lasts(31)

    now += 25

    assert with_term.lasts(4)
    assert not with_term.lasts(6)
    assert without.lasts(10**9)


# -- a store of one's own ---------------------------------------------------------------------------------------------


async def test_an_own_store() -> None:
    """Five methods make a store that is good for one process: the rest follows from them."""
    store = OwnStore()
    assert await store.read("default") == NOTHING
    assert await store.swap("default", NOTHING, FIRST)
    assert not await store.swap("default", NOTHING, SECOND)
    first, stamp = await store.read("default"), await store.stamp("default")
    assert first.tokens == FIRST.tokens

    assert await store.swap("default", first, SECOND)
    assert not await store.swap("default", first, SECOND)
    assert await store.stamp("default") != stamp
    second = await store.read("default")
    assert second.generation >= first.generation
    await store.update("default", Record.signed_out)

    assert store.kept == {}
    assert not await store.swap("default", second, SECOND)


async def test_the_lease_of_an_own_store() -> None:
    """One at a time has it, in this process; two stores know nothing of each other."""
    store, other = OwnStore(), OwnStore()
    mine = await store.try_lease("default")

    assert mine is not None
    assert await store.try_lease("default") is None
    assert await other.try_lease("default") is not None
    await mine.release()
    assert await store.try_lease("default") is not None


async def test_two_stores_in_memory() -> None:
    """Each has a lease of its own, as it has tokens of its own."""
    one, other = MemoryTokenStore(), MemoryTokenStore()

    mine, theirs = await one.try_lease("default"), await other.try_lease("default")

    assert mine is not None
    assert theirs is not None
