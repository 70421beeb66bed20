"""A home, settings in the environment, and a browser in which Ada signs in."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import urlopen

import pytest

from pywry_auth_nb import reset_token_store
from pywry_auth_nb.cli import main
from tests.support.idp import CLIENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.idp import Idp

ROOT = Path(__file__).parents[2]
ORIGIN = "https://git.example.org"
#: A browser for a real process: it signs in as Ada at the tests' provider, and follows its answer.
BROWSER = """\
import json, sys
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import urlopen
url = sys.argv[1]
params = json.load(urlopen(url, timeout=10))
redirect_uri = parse_qs(urlsplit(url).query)["redirect_uri"][0]
urlopen(f"{redirect_uri}?{urlencode(params)}", timeout=10).close()
"""


@dataclass
class Said:
    """What a command wrote, and its exit status."""

    status: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, idp: Idp) -> Iterator[pytest.MonkeyPatch]:
    """Settings for the provider of the tests, with a file store in a home of the test's own."""
    for name in [name for name in os.environ if name.startswith(("JUPYTER", "JPY_", "PYWRY_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    settings = {
        "PROVIDER": "oidc",
        "CLIENT_ID": CLIENT,
        "ISSUER_URL": idp.issuer,
        "TOKEN_STORE_BACKEND": "file",
        "ALLOWED_ORIGINS": ORIGIN,
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"PYWRY_OAUTH2__{name}", value)
    monkeypatch.setattr(webbrowser, "open", lambda url: sign_in(idp, url))
    yield monkeypatch
    reset_token_store()


def sign_in(idp: Idp, url: str, **change: str | None) -> bool:
    """Be the browser and Ada."""
    redirect_uri = parse_qs(urlsplit(url).query)["redirect_uri"][0]
    query = urlencode(idp.authorize(url, **change))
    with urlopen(f"{redirect_uri}?{query}", timeout=10):  # noqa: S310 - loopback
        return True


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str], environment: pytest.MonkeyPatch) -> Callable[..., Said]:
    """Run a command in this process, as a process of its own would."""

    def run(*arguments: str, stdin: str = "") -> Said:
        reset_token_store()
        capfd.readouterr()
        environment.setattr(sys, "stdin", io.StringIO(stdin))
        try:
            status = main(arguments)
        except SystemExit as ended:
            status = int(ended.code or 0)
        return Said(status, *capfd.readouterr())

    return run


@pytest.fixture
def signed_in(cli: Callable[..., Said]) -> Callable[..., Said]:
    """The same after ``pywry-auth login``."""
    assert cli("login").status == 0
    return cli


@pytest.fixture
def start(tmp_path: Path, environment: pytest.MonkeyPatch) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a command as a process of its own, with a browser that signs in."""
    (tmp_path / "browser.py").write_text(BROWSER)
    environment.setenv("BROWSER", f"{sys.executable} {tmp_path / 'browser.py'} %s")
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, **options: Any) -> subprocess.Popen[str]:
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        command = [sys.executable, "-m", "pywry_auth_nb", *arguments]
        started.append(subprocess.Popen(command, text=True, cwd=tmp_path, **(pipes | options)))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()
