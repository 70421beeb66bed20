"""The notebooks we ship run from top to bottom, also where no user can sign in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pywry_auth_nb.demo.provider import running_provider

ROOT = Path(__file__).parents[2]
NBVAL = ["--nbval-lax", "--nbval-cell-timeout=20", "-p", "no:cacheprovider"]


def test_the_notebooks_run_without_a_front_end() -> None:
    """Nbval runs every cell: those that need a token raise ``LoginRequired`` at once, nothing hangs."""
    with running_provider([]) as issuer:
        run = subprocess.run(
            [sys.executable, "-m", "pytest", "notebooks", "-q", *NBVAL],
            cwd=ROOT,
            env={**os.environ, "PYWRY_AUTH_DEMO_ISSUER": issuer},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    assert run.returncode == 0, run.stdout[-3000:]
    assert "17 passed" in run.stdout
