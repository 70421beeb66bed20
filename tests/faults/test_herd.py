"""Many people's tokens end at the same time, and their kernels do not all ask in the same instant."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tests.faults.harness import Kernel, Place, Provider
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


def test_forty_sessions_do_not_ask_at_once(
    idp: Provider, start: Callable[..., list[Kernel]], capfd: pytest.CaptureFixture[str]
) -> None:
    """R22: forty sign-ins that end at the same time are renewed one after another, in the seconds before that."""
    [kernel] = start(Place(idp, kind="memory"), 1)
    kernel.ask("herd", sign_ins=[idp.tokens(left=67) for _ in range(40)])  # due a minute before the end
    until(lambda: len(idp.times) == 40, seconds=20)

    times = sorted(idp.times)
    spread = times[-1] - times[0]
    busiest = max(sum(moment <= other < moment + 1 for other in times) for moment in times)
    with capfd.disabled():
        sys.stdout.write(f"\n40 sessions ask over {spread:.1f} s, at most {busiest} of them in one second\n")
    assert spread > 3
    assert busiest < 20
