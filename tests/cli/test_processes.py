"""The command as a process of its own: signals, pipes, terminals, and what other programs of the machine can see."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import sign_in
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Said
    from tests.support.idp import Idp

    Start = Callable[..., subprocess.Popen[str]]
    Cli = Callable[..., Said]

DEADLINE = 60  # seconds


def test_all_of_it(start: Start, tmp_path: Path, idp: Idp) -> None:
    """Signed in with a real browser process, read from another process, signed out from a third."""
    login = start("login")
    _, err = login.communicate(timeout=DEADLINE)
    assert login.returncode == 0, err
    assert "Signed in as Ada" in err

    status = start("status", "--json")
    out, _ = status.communicate(timeout=DEADLINE)
    assert json.loads(out)["name"] == "Ada Lovelace"

    logout = start("logout")
    logout.communicate(timeout=DEADLINE)
    assert logout.returncode == 0
    assert start("token").wait(DEADLINE) == 1
    assert secrets_in_files(tmp_path) == set()


def test_jobs_that_begin_at_once_redeem_a_refresh_token_once(
    start: Start, idp: Idp, tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    """Six processes with an empty store and one provided refresh token: one request, one token for all."""
    idp.refresh_tokens["CANARY-rt-provided"] = True
    (tmp_path / "refresh-token").write_text("CANARY-rt-provided\n")
    environment.setenv("PYWRY_OAUTH2__REFRESH_TOKEN_FILE", str(tmp_path / "refresh-token"))

    said = [job.communicate(timeout=DEADLINE) for job in [start("token") for _ in range(6)]]

    assert len({out for out, _ in said}) == 1, [err for _, err in said]
    assert said[0][0].startswith("CANARY-at-")
    assert idp.requests_to("/token") == 1


def secrets_in_files(home: Path) -> set[str]:
    """The files of the home that hold a token: a shell's history, and whatever else was written."""
    files = [path for path in home.rglob("*") if path.is_file() and path.name != "browser.py"]
    return {str(path) for path in files if b"CANARY" in path.read_bytes()}


def test_login_without_a_browser(start: Start, environment: pytest.MonkeyPatch, idp: Idp) -> None:
    """With ``--no-browser`` the address is printed on standard error, and none is opened."""
    environment.setenv("BROWSER", "touch opened-%s")
    login = start("login", "--no-browser", "--login-hint", "ada@example.org")
    [url] = printed(login, r"http://\S+/authorize\?\S+")
    assert "login_hint=ada%40example.org" in url
    sign_in(idp, url)
    out, err = login.communicate(timeout=DEADLINE)

    assert (login.returncode, out) == (0, "")
    assert err.splitlines()[-1] == "Signed in as Ada Lovelace at 127.0.0.1."
    assert not [*Path(os.environ["HOME"]).rglob("opened-*")]


def test_login_with_a_code(start: Start, idp: Idp) -> None:
    """With ``--device`` a code is printed, which the user enters in another browser."""
    idp.device_extra = {"interval": 1}
    login = start("login", "--device")
    [code] = printed(login, r"^ +([0-9A-F]{8})$")
    idp.decide(code)
    out, err = login.communicate(timeout=DEADLINE)

    assert (login.returncode, out) == (0, "")
    assert err.splitlines()[-1] == "Signed in as Ada Lovelace at 127.0.0.1."


def printed(process: subprocess.Popen[str], pattern: str) -> list[str]:
    """What a program writes to standard error, up to the first line with this in it."""
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.findall(pattern, line.rstrip("\n")):
            return found
    raise AssertionError(pattern)


def test_ctrl_c(start: Start, environment: pytest.MonkeyPatch) -> None:
    """It ends the wait at once, with 130 and without a traceback."""
    environment.setenv("BROWSER", "true %s")
    login = start("login", "--no-browser")
    assert login.stderr is not None
    until(lambda: "http" in login.stderr.readline())

    login.send_signal(signal.SIGINT)

    _, err = login.communicate(timeout=DEADLINE)
    assert login.returncode == 130
    assert "Traceback" not in err


def test_a_broken_pipe(start: Start, signed_in: Cli) -> None:
    """A reader that has ended causes no message: ``pywry-auth status | true``."""
    read, write = os.pipe()
    os.close(read)
    status = start("status", stdout=write)
    os.close(write)

    _, err = status.communicate(timeout=DEADLINE)
    assert (status.returncode, err) == (141, "")


def test_a_terminal(start: Start, signed_in: Cli) -> None:
    """On a real terminal, as IPython's ``!`` gives to a command, no token is shown."""
    ours, theirs = pty.openpty()
    token = start("token", stdout=theirs)
    os.close(theirs)
    _, err = token.communicate(timeout=DEADLINE)
    os.close(ours)

    assert token.returncode == 2
    assert "--show" in err


def test_an_exclamation_mark_in_a_notebook(signed_in: Cli, tmp_path: Path) -> None:
    """``!pywry-auth token`` in a cell saves no token in the notebook, which is where IPython's output goes."""
    code = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        f"shell.run_cell('!{sys.executable} -m pywry_auth_nb token')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE, check=True
    )

    assert "CANARY" not in done.stdout + done.stderr
    assert "session.access_token" in done.stdout


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="no /proc")
def test_other_programs_see_no_secret(start: Start, signed_in: Cli, idp: Idp, environment: pytest.MonkeyPatch) -> None:
    """While it waits for a person, neither arguments nor environment of the command or its children have a secret."""
    environment.setenv("BROWSER", "true %s")
    login = start("login", "--no-browser")
    assert login.stderr is not None
    until(lambda: "http" in login.stderr.readline())
    folder = Path(f"/proc/{login.pid}")

    said = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()

    assert b"pywry_auth_nb" in said
    assert not [secret for secret in idp.secrets() if secret.encode() in said]


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="no /proc")
def test_curl_gets_no_secret_as_an_argument(start: Start, signed_in: Cli, tmp_path: Path, idp: Idp) -> None:
    """``token --header | curl -H @-``: the request has the token, and the arguments of curl do not."""
    command = f"{sys.executable} -m pywry_auth_nb token --header | curl -s -H @- {idp.issuer}/userinfo"

    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE, check=True
    )

    assert json.loads(done.stdout)["sub"] == "ada"
    assert idp.last("/userinfo").headers["authorization"].startswith("Bearer CANARY-at-")
    assert "CANARY" not in command


def test_bash_completes(tmp_path: Path) -> None:
    """The script that is printed is one for bash, which then completes a command's name and its options."""
    main = tmp_path / "pywry-auth"
    main.write_text(f"#!{sys.executable}\nimport sys\nfrom pywry_auth_nb.cli import main\nsys.exit(main())\n")
    main.chmod(0o755)
    script = (
        'eval "$(pywry-auth completion bash)"; COMP_LINE="pywry-auth sta"; COMP_POINT=14; '
        "COMP_WORDS=(pywry-auth sta); COMP_CWORD=1; COMP_TYPE=9; "
        '_python_argcomplete pywry-auth; echo "${COMPREPLY[@]}"'
    )
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )

    assert done.stdout.split() == ["status"], done.stderr
