"""The provider rotates a refresh token, and its answer is lost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.harness import Kernel, Place, Provider


def test_a_lost_answer_costs_one_sign_in_and_no_storm(
    on_redis: Place, idp: Provider, start: Callable[..., list[Kernel]]
) -> None:
    """R20, R48: asked once more, the provider sees reuse and ends the sign-in; all kernels say so, and ask no more."""
    on_redis.sign_in()
    idp.cuts = 1
    kernels = start(on_redis, 3)

    answers = [kernel.ask("read") for kernel in kernels]

    assert {answer["code"] for answer in answers} == {"invalid_grant"}
    for kernel in kernels:
        kernel.becomes("reauth_required")
        until(lambda kernel=kernel: kernel.ask("look")["told"] == 1)
    end = time.monotonic() + 4
    while time.monotonic() < end:
        assert {kernel.ask("read")["code"] for kernel in kernels} == {"invalid_grant"}
        time.sleep(0.2)
    assert idp.asked() == 2
    assert [kernel.ask("look")["told"] for kernel in kernels] == [1, 1, 1]


def test_an_answer_lost_by_a_provider_that_forgives(
    on_file: Place, idp: Provider, start: Callable[..., list[Kernel]]
) -> None:
    """R20: where an old refresh token is good for a second try, no session shows that an answer was lost."""
    on_file.sign_in()
    idp.cuts, idp.rotates = 1, False
    first, second = start(on_file, 2)

    assert first.token() == second.token()
    assert idp.asked() == 2
    assert on_file.lives()
