"""``pywry-auth git-credential``: which questions get the token, and that real Git can use it."""

from __future__ import annotations

import base64
import io
import os
import shlex
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from pywry_auth_nb import ConfigurationError
from pywry_auth_nb.cli.git_credential import is_allowed, read_request
from tests.cli.conftest import ORIGIN
from tests.cli.test_commands import stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cli.conftest import Said
    from tests.support.idp import Idp

    Cli = Callable[..., Said]

HOST = ORIGIN.removeprefix("https://")
COMMIT = "9fceb02d0ae598e95dc970b74767f19372d61af8"


def question(**attributes: str) -> str:
    """What Git writes to its helper."""
    return "".join(f"{name}={value}\n" for name, value in attributes.items()) + "\n"


def answer(said: Said) -> dict[str, str]:
    """What the helper answers."""
    return dict(line.split("=", 1) for line in said.out.splitlines())


def test_get(signed_in: Cli) -> None:
    """A configured origin gets the token, and its end, after which Git forgets it."""
    said = signed_in("git-credential", "get", stdin=question(protocol="https", host=HOST))

    assert (said.status, said.err) == (0, "")
    assert answer(said).keys() == {"username", "password", "password_expiry_utc"}
    assert answer(said)["username"] == "oauth2"
    assert answer(said)["password"] == str(stored().access_token)


def test_the_user_name(signed_in: Cli) -> None:
    """That of the address is kept; else it is ``--username``."""
    asked = question(protocol="https", host=HOST, username="ada")

    assert answer(signed_in("git-credential", "get", stdin=asked))["username"] == "ada"
    asked = question(protocol="https", host=HOST)
    said = signed_in("git-credential", "--username", "x-access-token", "get", stdin=asked)
    assert answer(said)["username"] == "x-access-token"


OTHERS = [
    {"protocol": "https", "host": "evil.example.org"},
    {"protocol": "http", "host": HOST},
    {"protocol": "ssh", "host": HOST},
    {"protocol": "https", "host": f"{HOST}:8443"},
    {"protocol": "https", "host": f"{HOST}.evil.example.org"},
    {"protocol": "https", "host": f"evil.example.org/{HOST}"},
    {"protocol": "https", "host": f"{HOST}@evil.example.org"},
    {"protocol": "https", "host": f"evil.example.org#{HOST}"},
    {"protocol": "https", "host": f"evil.example.org\\@{HOST}"},
    {"protocol": "https", "host": f"{HOST}/evil"},
    {"protocol": "https", "host": ""},
    {"protocol": "https"},
    {"host": HOST},
    {"protocol": "https", "host": HOST.replace("g", "\u0261")},
    {},
]


@pytest.mark.parametrize("asked", OTHERS, ids=str)
def test_another_host_gets_nothing(signed_in: Cli, asked: dict[str, str]) -> None:
    """Whatever a repository's address says: no answer but for the origins in the setting, and no word."""
    said = signed_in("git-credential", "get", stdin=question(**asked))

    assert (said.status, said.out, said.err) == (0, "", "")


@pytest.mark.parametrize("asked", OTHERS, ids=str)
def test_another_host_has_no_session_opened(asked: dict[str, str]) -> None:
    """The rule itself, without a session."""
    assert not is_allowed(asked, [ORIGIN])


@pytest.mark.parametrize(
    "text",
    [
        f"protocol=https\nhost=evil.example.org\nhost={HOST}\n",
        f"protocol=https\nhost={HOST}\rhost=evil.example.org\n",
        f"protocol=https\nhost={HOST}\x00\n",
        f"protocol=https\n{HOST}\n",
        "x" * 70_000,
        "".join(f"a{number}=b\n" for number in range(300)),
    ],
)
def test_a_crafted_question(text: str) -> None:
    """A name twice, a control character, no name, and what does not end are refused (CVE-2020-5260, CVE-2024-52006)."""
    with pytest.raises(ConfigurationError, match="malformed"):
        read_request(io.StringIO(text))


def test_attributes_of_newer_gits() -> None:
    """Repeated attributes, whose names end in ``[]``, and unknown ones do no harm."""
    text = f"capability[]=authtype\ncapability[]=state\nprotocol=https\nhost={HOST}\nwwwauth[]=Basic\n\nrest"

    assert is_allowed(read_request(io.StringIO(text)), [ORIGIN])


def test_without_origins(signed_in: Cli, environment: pytest.MonkeyPatch) -> None:
    """Without the setting no server gets the token, and the setting is named."""
    environment.delenv("PYWRY_OAUTH2__ALLOWED_ORIGINS")

    said = signed_in("git-credential", "get", stdin=question(protocol="https", host=HOST))

    assert (said.status, said.out) == (2, "")
    assert "PYWRY_OAUTH2__ALLOWED_ORIGINS" in said.err


def test_get_when_signed_out(cli: Cli) -> None:
    """Git gets no answer, and the person a sentence."""
    said = cli("git-credential", "get", stdin=question(protocol="https", host=HOST))

    assert (said.status, said.out) == (1, "")


def test_store_keeps_nothing(cli: Cli) -> None:
    """What Git wants to have kept is not: the session keeps its own."""
    said = cli("git-credential", "store", stdin=question(protocol="https", host=HOST, password="CANARY"))

    assert (said.status, said.out, said.err) == (0, "", "")


def test_erase_renews_a_token_that_was_refused(signed_in: Cli, idp: Idp, environment: pytest.MonkeyPatch) -> None:
    """The next question is answered with another token; a new one, and another host's complaint, change nothing."""
    token = str(stored().access_token)
    refused = question(protocol="https", host=HOST, password=token)
    asked = idp.requests_to("/token")

    assert signed_in("git-credential", "erase", stdin=refused).status == 0
    assert idp.requests_to("/token") == asked
    environment.setattr("pywry_auth_nb.cli.git_credential._JUST_NOW", -1.0)
    signed_in("git-credential", "erase", stdin=question(protocol="https", host="evil.example.org", password=token))
    signed_in("git-credential", "erase", stdin=question(protocol="https", host=HOST, password="another"))
    assert idp.requests_to("/token") == asked

    signed_in("git-credential", "erase", stdin=refused)
    assert idp.requests_to("/token") == asked + 1
    assert stored().access_token != token


class GitServer:
    """A repository over http that wants a user and a token."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.token = ""
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.seen.append(self.headers.get("Authorization", ""))
                right = base64.b64encode(f"oauth2:{server.token}".encode()).decode()
                allowed = server.seen[-1] == f"Basic {right}"
                body = f"{COMMIT}\trefs/heads/main\n".encode() if allowed else b""
                self.send_response(200 if allowed else 401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> GitServer:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def git_server() -> Iterator[GitServer]:
    """A server for real Git."""
    with GitServer() as server:
        yield server


def list_remote(url: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Ask a repository for its branches, with this package as the only helper."""
    helper = f"!{shlex.quote(sys.executable)} -m pywry_auth_nb git-credential"
    return subprocess.run(
        ["git", "-c", "credential.helper=", "-c", f"credential.helper={helper}", "ls-remote", f"{url}/repo"],
        cwd=home,
        env={**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_real_git(signed_in: Cli, git_server: GitServer, tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
    """Git reads a repository with the token; a repository at another origin gets no token."""
    environment.setenv("PYWRY_OAUTH2__ALLOWED_ORIGINS", git_server.origin)
    git_server.token = str(stored().access_token)

    done = list_remote(git_server.origin, tmp_path)
    assert COMMIT in done.stdout, done.stderr

    git_server.seen.clear()
    environment.setenv("PYWRY_OAUTH2__ALLOWED_ORIGINS", ORIGIN)
    done = list_remote(git_server.origin, tmp_path)
    assert done.returncode != 0
    assert set(git_server.seen) == {""}
