"""The command itself: how it is called, what it prints, how it ends."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from pywry_auth_nb.cli import main
from pywry_auth_nb.doctor.addresses import hub_of, read_address, without_page
from pywry_auth_nb.doctor.findings import Finding, Report
from pywry_auth_nb.doctor.http_probe import Probe
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tests.doctor.conftest import Visit, Watched

    Doctor = Callable[..., Visit]


def test_all_is_well(doctor: Doctor, plain: Watched) -> None:
    """Where nothing is wrong the exit status is 0, and the redirect URI stands alone on a line before all findings.

    A provider that is not configured was not looked at, and the last line says so.
    """
    said = doctor(**plain.here)

    assert said.status == 0
    assert said.out.splitlines()[2].strip() == f"{plain.url}pywry-auth/callback"
    assert said.out.splitlines()[4].startswith("ok ")
    assert said.out.splitlines()[-1].endswith("1 thing could not be seen from here, as the notes say.")


def test_something_is_wrong(doctor: Doctor) -> None:
    """An error makes the exit status 1, has a mark that is seen, and advice on a line of its own."""
    said = doctor("http://hub.example.org/")
    lines = said.out.splitlines()
    (number,) = [number for number, line in enumerate(lines) if line.startswith("ERROR ")]

    assert said.status == 1
    assert lines[number + 1].strip().startswith("-> ")
    assert lines[-1] == "A sign-in would fail: 1 error."


def test_json(doctor: Doctor, plain: Watched) -> None:
    """For programs there is one JSON object, and nothing else, on standard output."""
    said = doctor("--json", **plain.here)

    assert said.report.keys() == {"ok", "redirect_uri", "findings"}
    assert said.report["ok"] is True
    for finding in said.report["findings"]:
        assert finding.keys() == {"check", "level", "code", "message", "advice"}
        assert finding["level"] in {"ok", "note", "warning", "error"}
        assert finding["code"].replace("_", "").isalnum()
        assert finding["advice"] or finding["level"] == "ok"


def test_json_of_an_error(doctor: Doctor) -> None:
    """A sign-in that would fail is not ``ok``; a redirect URI that is not known is null."""
    said = doctor("http://hub.example.org/", "--json")

    assert (said.status, said.report["ok"], said.report["redirect_uri"]) == (1, False, None)


BAD_USAGE = (
    "hub.example.org",
    "ftp://hub.example.org",
    "https://ada:CANARY@hub.example.org",
    "https://hub.example.org:CANARY",
    "https://hub.example.org/<CANARY>",
    "--timeout nan",
    "--timeout soon",
    "--timeout 1",
    "--nonsense",
)


def test_bad_usage(capfd: pytest.CaptureFixture[str]) -> None:
    """What cannot be understood ends with status 2, and a wrong URL is not repeated."""
    for arguments in BAD_USAGE:
        with pytest.raises(SystemExit) as ended:
            main(["doctor", *arguments.split()])

        assert ended.value.code == 2, arguments
    assert "CANARY" not in "".join(capfd.readouterr())


def test_an_address_out_of_the_browser() -> None:
    """Users copy the address of a page, and the server's is meant."""
    servers = {
        "https://hub.example.org": "https://hub.example.org/",
        "https://Hub.example.org/user/ada/lab/tree/a.ipynb?token=x#y": "https://hub.example.org/user/ada/",
        "http://localhost:8888/lab?token=x": "http://localhost:8888/",
        "https://j.example.org/a/b/tree": "https://j.example.org/a/b/",
    }

    assert {copied: without_page(read_address(copied)) for copied in servers} == servers


def test_the_hub_of_an_address() -> None:
    """Users copy the address of a page, and the hub's is meant."""
    hubs = {
        "https://hub.example.org/hub/home": "https://hub.example.org/",
        "https://hub.example.org/base/hub/": "https://hub.example.org/base/",
        "https://hub.example.org/base/user/hub/lab": "https://hub.example.org/base/",
        "https://hub.example.org/lab/": "https://hub.example.org/lab/",
    }

    assert {copied: hub_of(read_address(copied)) for copied in hubs} == hubs


def test_a_broken_check_hides_no_other() -> None:
    """A check that fails keeps what it found so far, and is reported without what its error says."""

    def broken() -> Generator[Finding, None, str]:
        yield Finding("kernel", "ok", "fine", "Fine.")
        raise ZeroDivisionError("CANARY")

    report = Report()

    assert report.collect("kernel", broken()) is None
    assert [finding.code for finding in report.findings] == ["fine", "check_failed"]
    assert "CANARY" not in report.as_json() + report.as_text()


def test_checks_that_could_not_be_made() -> None:
    """Where a check could not be made, the report does not say that all is well."""
    sums = {
        (): "A sign-in would work, as far as can be seen from here.",
        ("check_failed",): "A sign-in may work: 1 check could not be made.",
        ("check_failed", "kernel_slow"): "A sign-in may work: 2 checks could not be made.",
    }
    for codes, said in sums.items():
        well = Finding("server", "ok", "server_found", "It answers.")
        report = Report(findings=[well, *(Finding("kernel", "warning", code, "It did not.") for code in codes)])

        assert report.ok is (codes == ())
        assert report.as_text().splitlines()[-1] == said


def test_what_could_not_be_seen() -> None:
    """Where a sign-in depends on what could not be seen, the last line counts it, and nothing is called fine."""
    well = Finding("server", "ok", "server_found", "It answers.")
    report = Report(findings=[well, Finding("provider", "note", "registration_unknown", "It was not told.")])

    assert report.ok
    assert report.as_text().splitlines()[-1].startswith("Nothing was found that would make a sign-in fail; 1 thing")


def test_a_check_that_takes_too_long(doctor: Doctor, clean: pytest.MonkeyPatch, plain: Watched) -> None:
    """A check that is not done in time is neither well nor wrong, and the exit status is 1."""
    clean.setattr("pywry_auth_nb.doctor.examination._GRACE", 0.0)
    clean.setattr("pywry_auth_nb.doctor.store.check", _hang)
    said = doctor("--timeout", "5", **plain.here)

    assert said.status == 1
    assert said.out.splitlines()[-1] == "A sign-in may work: 1 check could not be made."


def _hang(*_: object, **__: object) -> Generator[Finding, None, None]:
    time.sleep(20)
    yield Finding("store", "ok", "store", "At last.")


def test_time_is_up() -> None:
    """What does not answer costs no more than the whole command may take."""
    start = time.monotonic()
    probe = Probe(0.2)
    answers = [probe.ask("GET", "https://192.0.2.1/") for _ in range(2)]
    probe.close()

    assert answers == [None, None]
    assert time.monotonic() - start < 5


def test_it_starts_fast() -> None:
    """Help, and bad usage, load neither HTTP nor cryptography nor Jupyter."""
    code = (
        "import sys; from pywry_auth_nb.cli import main\n"
        "try: main(['doctor', '--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'httpx', 'cryptography', 'jupyter_client', 'jupyter_server', 'keyring'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)

    assert done.stdout.splitlines()[-1] == "[]"


def test_as_a_module() -> None:
    """``python -m`` does the same as the command."""
    command = [sys.executable, "-m", "pywry_auth_nb", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)

    assert done.stdout.startswith("pywry-auth-nb ")


def test_nothing_is_here(doctor: Doctor) -> None:
    """Without any server there is a warning that says where to run the command, or what to give."""
    said = doctor("--json")

    assert said.levels["server_missing"] == "warning"
    assert (said.status, said.report["ok"], said.report["redirect_uri"]) == (1, False, None)
    assert doctor().out.splitlines()[-1].startswith("Nothing could be looked at. Run this in a terminal of Jupyter")


def test_an_address_without_a_server(doctor: Doctor) -> None:
    """An address where nothing answers is an error."""
    said = doctor(f"http://127.0.0.1:{free_port()}/", "--json")

    assert (said.status, said.levels["server_unreachable"]) == (1, "error")
