"""The short form of the soak; `make soak MINUTES=60` is the long one."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 40  # of trouble; a minute with what comes before and after
DEADLINE = 180


@pytest.mark.timeout(DEADLINE + 60)
def test_four_kernels_keep_their_session_under_faults(capfd: pytest.CaptureFixture[str]) -> None:
    """Kernels are killed and paused, network and Redis fail: every read gives a valid token, and no sign-in is lost."""
    # In a process of its own: jupyter_client leaves an event loop behind in every thread that uses it.
    command = [sys.executable, "-m", "tests.soak.run", "--minutes", str(SECONDS / 60)]
    run = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        report, _ = run.communicate(timeout=DEADLINE)
    except subprocess.TimeoutExpired:
        run.send_signal(signal.SIGINT)  # so that it stops what it has started
        report, _ = run.communicate(timeout=30)

    with capfd.disabled():
        print(f"\n{report}")  # noqa: T201 - the figures are what one wants to know
    assert run.returncode == 0, report
