"""Many kernels find the tokens for many APIs expired at the same moment, and the one that they are exchanged for."""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.harness import Kernel, Place, Provider, together, took
from tests.support.idp import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from pywry_auth_nb.token_store import TokenStore

    Start = Callable[..., list[Kernel]]

AUDIENCES = [f"api-{number}" for number in range(5)]
ROUND_TRIP = 0.3  # seconds


async def grow_old(store: TokenStore) -> int:
    """Let all tokens in a store expire; return how many there are."""
    keys = await store.list_keys()
    for key in keys:
        await store.update(key, lambda there: there.tokens and there.renewed(replace(there.tokens, issued_at=1.0)))
    return len(keys)


def asked(idp: Provider) -> tuple[int, Counter[str]]:
    """How many refreshes and how many exchanges for each audience the provider was asked for."""
    grants = [request.form.get("grant_type") for request in idp.requests if request.path == "/token"]
    return grants.count("refresh_token"), Counter(form["audience"] for form in idp.exchanges())


@pytest.mark.timeout(240)
@pytest.mark.parametrize("count", [8, 64])
def test_all_kernels_share_one_refresh_and_one_exchange_for_each_audience(
    on_file: Place, idp: Provider, start: Start, capfd: pytest.CaptureFixture[str], count: int
) -> None:
    """64 kernels find everything expired: one refresh, and one exchange for each of five APIs."""
    idp.answers["/token"] = Answer(delay=ROUND_TRIP)
    on_file.sign_in(left=3600)
    [earlier] = start(on_file, 1)
    before = earlier.ask("read_for", audiences=AUDIENCES)["tokens"]
    assert asked(idp) == (0, Counter(AUDIENCES))
    earlier.kill()
    assert on_file.with_store(grow_old) == 1 + len(AUDIENCES)
    idp.requests.clear()

    answers = race(start(on_file, count, idle=True, warm=True), capfd)

    assert asked(idp) == (1, Counter(AUDIENCES))
    assert len({tuple(answer["tokens"].items()) for answer in answers}) == 1
    assert len({*before.values(), *answers[0]["tokens"].values()}) == 2 * len(AUDIENCES)
    assert on_file.lives()


def test_kernels_that_use_an_api_first_at_the_same_moment_exchange_once(
    on_file: Place, idp: Provider, start: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where the store has nothing for these APIs, eight kernels exchange once for each as well."""
    idp.answers["/token"] = Answer(delay=ROUND_TRIP)
    on_file.sign_in()

    race(start(on_file, 8, idle=True, warm=True), capfd)

    assert asked(idp) == (1, Counter(AUDIENCES))


def race(kernels: list[Kernel], capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Let all of them read at once, and print how long that took."""
    begun = time.monotonic()
    answers = together(kernels, "read_for", audiences=AUDIENCES)
    with capfd.disabled():
        sys.stdout.write(f"\n{len(kernels)} kernels have tokens for {len(AUDIENCES)} APIs after {took(answers):.2f} s")
        sys.stdout.write(f" ({time.monotonic() - begun:.2f} s here)\n")
    refused = [answer for answer in answers if "tokens" not in answer]
    assert not refused, refused[:3]
    return answers
