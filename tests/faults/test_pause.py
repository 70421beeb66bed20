"""A kernel that stands still (a laptop asleep, a debugger, a machine that swaps) and then goes on."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.faults.harness import SHORT, Kernel, Place, Provider
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    Start = Callable[..., list[Kernel]]


@pytest.mark.parametrize("point", ["locked", "looked"])
def test_a_kernel_that_outslept_its_lease_adopts_what_another_has_renewed(
    on_redis: Place, idp: Provider, start: Start, point: str
) -> None:
    """P2: the term of a lock ends while its holder is paused: another renews, and the woken one sends nothing."""
    on_redis.sign_in()
    [sleeper] = start(on_redis, 1, changes=SHORT, trap=(point, signal.SIGSTOP))
    sleeper.tell("read")
    sleeper.pauses()
    [other] = start(on_redis, 1, changes=SHORT)

    token = other.token()
    sleeper.resume()

    assert sleeper.answer()["token"] == token
    assert idp.asked() == 1
    assert on_redis.lives()


def test_a_holder_that_wakes_in_time_goes_on(place: Place, idp: Provider, start: Start) -> None:
    """A short pause of the holder costs nothing: the others wait for it."""
    place.sign_in()
    [sleeper] = start(place, 1, trap=("locked", signal.SIGSTOP))
    sleeper.tell("read")
    sleeper.pauses()
    [other] = start(place, 1)
    other.ask("start", order="read")
    other.becomes("refreshing")
    sleeper.resume()

    assert sleeper.answer()["token"] == other.ask("finish")["token"]
    assert idp.asked() == 1


def test_a_file_lock_whose_holder_stands_still(on_file: Place, idp: Provider, start: Start) -> None:
    """The old token is used as long as it is good; then reads say ``refresh_busy``, until the holder goes on."""
    on_file.sign_in(left=6)
    [sleeper] = start(on_file, 1, trap=("locked", signal.SIGSTOP))
    sleeper.pauses()
    [other] = start(on_file, 1, changes={"_session.refresher.LEASE_DEADLINE": 1.0, "_session.reader.PATIENCE": 0.5})

    old = other.token()
    assert idp.asked() == 0
    until(lambda: "code" in other.ask("read"), seconds=15)
    assert other.ask("read")["code"] == "refresh_busy"
    sleeper.resume()

    new = sleeper.token()
    assert new != old
    until(lambda: other.ask("read").get("token") == new)
    assert idp.asked() == 1


def test_a_kernel_that_slept_reads_what_others_have_renewed(place: Place, idp: Provider, start: Start) -> None:
    """A paused idle kernel wakes with old tokens: soon a read gives the stored ones, without a request."""
    place.sign_in(left=3600)
    sleeper, other = start(place, 2)
    assert sleeper.token() == other.token()
    sleeper.pause()
    new = other.ask("refresh")["token"]
    sleeper.resume()

    sleeper.reads(new)
    assert idp.asked() == 1
