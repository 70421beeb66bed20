"""`pywry-auth doctor` as people run it: in a terminal of a user's server, and where nothing is known of the hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .hub import HubKernel

if TYPE_CHECKING:
    from .hub import Hub

COMMAND = [str(Path(sys.executable).with_name("pywry-auth")), "doctor", "--json"]
SECONDS = 45
#: What a terminal of the server would do: its programs have the server's environment.
TERMINAL = f"""
import json, os, subprocess
def doctor(*arguments, **environment):
    run = subprocess.run([*{COMMAND}, *arguments], env=os.environ | environment, capture_output=True, timeout={SECONDS})
    print(json.dumps([run.returncode, run.stdout.decode(), run.stderr.decode()]))
"""


class Report(NamedTuple):
    """What the command said: its exit status, the redirect URI, and the findings by code."""

    status: int
    redirect_uri: str | None
    levels: dict[str, str]
    advice: dict[str, str]

    @classmethod
    def read(cls, status: int, printed: str, complained: str) -> Report:
        """Read the one JSON object; there must be nothing else."""
        assert complained == ""
        report: dict[str, Any] = json.loads(printed)
        assert report["ok"] is (status == 0)
        levels = {finding["code"]: finding["level"] for finding in report["findings"]}
        advice = {finding["code"]: finding["advice"] for finding in report["findings"]}
        return cls(status, report["redirect_uri"], levels, advice)

    def having(self, level: str) -> set[str]:
        """Return the codes of that level."""
        return {code for code, found in self.levels.items() if found == level}


def in_terminal(hub: Hub, *arguments: str, name: str = "", **environment: str) -> Report:
    """Run the command as alice, in a terminal of her server."""
    kernel = HubKernel(hub.server("alice", name), TERMINAL)
    try:
        printed = kernel.run(f"doctor(*{arguments!r}, **{environment!r})", SECONDS + 5)
    finally:
        kernel.close()
    return Report.read(*json.loads(printed))


def outside(home: Path, *arguments: str, **environment: str) -> Report:
    """Run the command where nothing is known of the hub."""
    env = {"PATH": os.environ["PATH"], "HOME": str(home), **environment}
    run = subprocess.run([*COMMAND, *arguments], env=env, capture_output=True, timeout=SECONDS, check=False)
    return Report.read(run.returncode, run.stdout.decode(), run.stderr.decode())
