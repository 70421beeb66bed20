"""A kernel of the server: it is asked, and gone again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from pywry_auth_nb.doctor import kernel, main
from pywry_auth_nb.doctor.findings import Report
from pywry_auth_nb.doctor.http_probe import Probe
from pywry_auth_nb.doctor.server import Server
from tests.doctor.wire import Wire
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

    from tests.doctor.conftest import Visit, Watched

    Doctor = Callable[..., Visit]

ONCE_IMPORTED = "import pywry_auth_nb, pywry_auth_nb._sign_in.channel, pywry_auth_nb._wire.protocol\n"


def test_a_kernel_that_is_well(doctor: Doctor, plain: Watched) -> None:
    """The package is in the kernel, the server reaches it there, and no kernel is left."""
    said = doctor("--json", **plain.here)

    assert said.levels["kernel_package"] == said.levels["control_channel"] == "ok"
    assert plain.kernels() == []


@pytest.mark.parametrize(
    ("before", "code", "level"),
    [
        ("import sys; sys.modules['pywry_auth_nb'] = None", "kernel_package_missing", "error"),
        (ONCE_IMPORTED + "pywry_auth_nb.__version__ = '9.9.9'", "kernel_version", "warning"),
        (ONCE_IMPORTED + "pywry_auth_nb._wire.protocol.PROTOCOL = 99", "kernel_protocol", "error"),
        (ONCE_IMPORTED + "pywry_auth_nb.__version__ = 'CANARY <b>'", "kernel_failed", "error"),
        (ONCE_IMPORTED + "pywry_auth_nb._sign_in.channel.open_path = None", "kernel_failed", "error"),
        (ONCE_IMPORTED + "pywry_auth_nb._sign_in.channel._register = lambda kernel: None", "control_channel", "error"),
    ],
)
def test_a_kernel_that_is_not(doctor: Doctor, plain: Watched, before: str, code: str, level: str) -> None:
    """A package that is missing, another, broken, or out of reach is told apart, and the kernel is gone."""
    plain.set_kernel(before)
    said = doctor("--json", **plain.here)

    assert said.levels[code] == level
    assert said.status == (level == "error")
    assert said.finding(code)["advice"]
    assert plain.kernels() == []


def test_a_kernel_of_another_language(doctor: Doctor, plain: Watched) -> None:
    """A default kernel that is not one of Python is not started."""
    plain.set_kernel("raise SystemExit", language="R")

    assert doctor("--json", **plain.here).levels["kernel_not_python"] == "note"


def test_a_kernel_that_cannot_start(doctor: Doctor, plain: Watched) -> None:
    """A kernel that the server cannot start is an error."""
    plain.kernel_file.write_text(json.dumps({"argv": ["/no/such/python"], "display_name": "x", "language": "python"}))
    said = doctor("--json", **plain.here)

    assert (said.status, said.levels["kernel_start"]) == (1, "error")


def test_a_kernel_that_never_answers(doctor: Doctor, plain: Watched, clean: pytest.MonkeyPatch) -> None:
    """A kernel that hangs is an error once its time is up."""
    clean.setattr(kernel, "_ANSWER", 0.5)
    plain.set_kernel("import time; time.sleep(60)")
    said = doctor("--json", **plain.here)

    assert (said.status, said.levels["kernel_failed"]) == (1, "error")
    assert plain.kernels() == []


def test_no_time_is_left(plain: Watched) -> None:
    """What could not be deleted in time is not started."""
    probe = Probe(2)
    found = [finding.code for finding in kernel.check(Server(plain.url, plain.token, probe), through_server=False)]
    probe.close()

    assert found == ["kernel_unseen"]


def test_a_kernel_elsewhere(doctor: Doctor, on_hub: Watched, tmp_path: Path) -> None:
    """A kernel whose connection file is not here runs behind a gateway, perhaps: a note, and it is gone again."""
    said = doctor("--json", **on_hub.here_on_hub | {"JUPYTER_RUNTIME_DIR": str(tmp_path)})

    assert (said.status, said.levels["kernel_elsewhere"]) == (0, "note")
    assert on_hub.kernels() == []


class Slow(Wire):
    """A server that starts a kernel, and says so when the client has given up; or never does."""

    def __init__(self, *, starts: bool) -> None:
        super().__init__()
        spec = {"spec": {"language": "python"}}
        self.answers["/api/kernelspecs"] = (200, {}, {"default": "python3", "kernelspecs": {"python3": spec}})
        self._starts = starts

    def answer(self, request: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
        """Start what was asked for, beside what another user starts at the same time."""
        if request.command == "POST":
            path = json.loads(self.heard[-1].body)["path"] if self._starts else "a.ipynb"
            time.sleep(1)  # longer than the client waits
            both = [_session("theirs", "b.ipynb"), _session("ours" if self._starts else "later", path)]
            self.answers["/api/sessions"] = (200, {}, both)
            time.sleep(1)
        return super().answer(request)

    @property
    def deleted(self) -> list[str]:
        """What was deleted."""
        return [one.path for one in self.heard if one.method == "DELETE"]


def _session(name: str, path: str) -> dict[str, Any]:
    return {"id": name, "path": path, "kernel": {"id": f"kernel-of-{name}"}}


@pytest.mark.parametrize(("starts", "deleted"), [(True, ["/api/sessions/ours"]), (False, [])])
def test_a_kernel_that_comes_late(clean: pytest.MonkeyPatch, starts: bool, deleted: list[str]) -> None:
    """A kernel whose start is not heard of in time is found by its name and deleted, and no other one is."""
    clean.setattr(kernel, "_START", 0.1)
    clean.setattr(kernel, "_DELETE", 1.5)
    clean.setattr("pywry_auth_nb.doctor.kernel._LEAST", 0.0)
    probe = Probe(0.2)
    with Slow(starts=starts) as server:
        found = {one.code: one for one in kernel.check(Server(server.url, "CANARY", probe), through_server=False)}
        probe.close()

    assert found["kernel_slow"].level == "warning"
    assert "pywry-auth-doctor" in found["kernel_slow"].advice
    assert server.deleted == deleted


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT for a child there")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(clean: pytest.MonkeyPatch, plain: Watched, number: signal.Signals) -> None:
    """Ctrl-C, and a polite end, leave no kernel behind and no traceback."""
    plain.set_kernel("import time; time.sleep(60)")
    code = "import sys; from pywry_auth_nb.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "doctor", "--json"]
    child = subprocess.Popen(command, env=os.environ | plain.here, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    until(plain.kernels, "no kernel was started", 30)
    child.send_signal(number)
    out, _ = child.communicate(timeout=90)

    assert child.returncode == 130
    assert out == b""
    assert plain.kernels() == []


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT for a child there")
def test_an_interrupt_that_a_module_swallows(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C while a module with a bare ``except`` is imported is remembered, and no report is printed."""

    def swallow(*_: object) -> Report:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            return Report()
        raise AssertionError

    monkeypatch.setattr("pywry_auth_nb.doctor.examination.examine", swallow)
    before = signal.getsignal(signal.SIGINT)

    assert main(None, as_json=True, settings={}, seconds=1) == 130

    assert signal.getsignal(signal.SIGINT) is before
    assert capfd.readouterr().out == ""
