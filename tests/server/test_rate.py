"""How many sign-ins a user may begin in a minute, and that one user's many do not block another's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pywry_auth_nb.server import PywryAuth, rate
from pywry_auth_nb.server.rate import LoginRate

from .conftest import Browser, Kernel, callback, outcome, with_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.idp import Idp


class Clock:
    """A clock that goes when it is told to."""

    now = 1000.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The limit's clock."""
    clock = Clock()
    monkeypatch.setattr(rate, "time", clock)
    return clock


def test_ten_in_a_minute(clock: Clock) -> None:
    """The eleventh must wait until the first is a minute old; to be refused does not count."""
    limit = LoginRate(10)
    for _ in range(10):
        assert limit.wait("ada") == 0
        clock.now += 1
    assert [limit.wait("ada") for _ in range(20)] == [50.0] * 20
    clock.now += 50

    assert limit.wait("ada") == 0
    assert limit.wait("ada") == 1


def test_one_does_not_block_another(clock: Clock) -> None:
    """B15: each Jupyter user has a count of their own, also behind a proxy where all have one address."""
    limit = LoginRate(2)
    assert [limit.wait("mallory") > 0 for _ in range(100)] == [False] * 2 + [True] * 98

    assert limit.wait("ada") == 0


def test_it_forgets(clock: Clock) -> None:
    """B15: five thousand users leave nothing behind, and a crowd within one minute has a bound."""
    limit = LoginRate(10)
    for number in range(5000):
        limit.wait(f"user-{number}")
    assert len(limit._begun) <= 1000
    clock.now += 61
    limit.wait("ada")

    assert list(limit._begun) == ["ada"]


def test_it_can_be_turned_off(clock: Clock) -> None:
    """``c.PywryAuth.max_logins_per_minute = 0``; the default is 10."""
    limit = LoginRate(0)

    assert not any(limit.wait("ada") for _ in range(1000))
    assert not limit._begun
    assert PywryAuth().max_logins_per_minute == 10


@with_settings(max_logins_per_minute=3)
async def test_too_many_get_a_page(
    cookie_browser: Browser, new_browser: Callable[..., Browser], kernel: Kernel, login_path: str, idp: Idp
) -> None:
    """B15: the answer is 429, readable, and says when; what is open already still ends well, and others may begin."""
    urls = [await cookie_browser.begin(login_path) for _ in range(3)]
    refused = await cookie_browser.open(login_path)
    other = await new_browser().open(login_path)
    finished = await cookie_browser.open(callback(idp.authorize(urls[0])))

    assert outcome(refused) == (429, "rate_limited")
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert other.code == 302, "another user from the same address"
    assert outcome(finished) == (200, "")


async def test_a_flood_evicts_no_other_session(browser: Browser, kernel: Kernel, login_path: str, idp: Idp) -> None:
    """B15: a session keeps at most eight sign-ins, and none of another session gives way to them."""
    victim = idp.authorize(await browser.begin(login_path))
    flooded = await kernel.offer(idp.issuer, "other")
    for _ in range(20):
        await browser.begin(flooded)

    assert await kernel.run("print(len(other_widget._sign_ins._pending))") == "8"
    browser.cookies.clear()
    assert await kernel.run("print(session.status)") == "authorizing"
    assert (await kernel.run(COMPLETE.format(params=victim))).splitlines()[-1] == "signed_in"


COMPLETE = """
import asyncio
await session_widget._sign_ins.complete({params!r})
print(session.status)
"""


@with_settings(max_logins_per_minute=3)
async def test_tokens_are_counted_together(browser: Browser, login_path: str) -> None:
    """B15: Jupyter gives each request with its token another name; all of them count together."""
    codes = [(await browser.open(login_path)).code for _ in range(5)]

    assert codes == [302, 302, 302, 429, 429]


@with_settings(max_logins_per_minute=3)
async def test_links_that_lead_nowhere_count_for_nothing(cookie_browser: Browser, login_path: str) -> None:
    """Another page, or a link of a kernel that is gone, cannot use up a user's sign-ins."""
    for path in ("pywry-auth/login?kernel=x&flow=y", login_path[:-3] + "xyz") * 5:
        assert (await cookie_browser.open(path)).code == 404

    assert (await cookie_browser.open(login_path)).code == 302
