"""What each command does, prints and returns, in this process."""

from __future__ import annotations

import asyncio
import calendar
import json
import sys
import time
import webbrowser
from typing import TYPE_CHECKING, Any

import pytest

from pywry_auth_nb import SessionManager, reset_token_store
from pywry_auth_nb.cli import status as status_module
from pywry_auth_nb.cli import token as token_module
from pywry_auth_nb.token_store import make_encryption_key
from tests.cli.conftest import sign_in
from tests.support.idp import Answer, Idp
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Said

    Cli = Callable[..., Said]

SIGNED_OUT = "pywry-auth: Not signed in. Run: pywry-auth login"


def stored() -> SessionManager:
    """The session that a notebook with the same settings has."""
    reset_token_store()
    return SessionManager.from_settings()


# -- login and logout -------------------------------------------------------------------------------------------------


def test_login(cli: Cli) -> None:
    """A notebook with the same settings is signed in afterwards; standard output stays empty."""
    said = cli("login")

    assert (said.status, said.out) == (0, "")
    assert said.err == "Signed in as Ada Lovelace at 127.0.0.1.\n"
    assert stored().access_token.startswith("CANARY-at-")


def test_login_is_declined(cli: Cli, environment: pytest.MonkeyPatch, idp: Idp) -> None:
    """A user who declines is not signed in: one sentence, with the code."""
    environment.setattr(webbrowser, "open", lambda url: decline(idp, url))

    said = cli("login")

    assert (said.status, said.out) == (1, "")
    assert said.err.splitlines()[-1].startswith("pywry-auth: ")
    assert said.err.splitlines()[-1].endswith("(access_denied)")
    assert "Traceback" not in said.err


def decline(idp: Idp, url: str) -> bool:
    """Be the browser of a person who declines; the page says so with an error status."""
    try:
        return sign_in(idp, url, code=None, error="access_denied")
    except OSError:
        return True


def test_login_that_is_not_finished(cli: Cli, environment: pytest.MonkeyPatch) -> None:
    """The wait has an end, which names the redirect URI to register."""
    environment.setattr(webbrowser, "open", lambda _: True)

    said = cli("login", "--timeout", "1")

    assert said.status == 1
    assert "/callback" in said.err
    assert said.err.rstrip().endswith("(flow_timeout)")


def test_another_person_signs_in(signed_in: Cli, idp: Idp) -> None:
    """``login`` begins a new sign-in even if there is one."""
    idp.claims = {"sub": "bob", "name": "Bob"}
    idp.answers["/userinfo"] = Answer({"sub": "bob", "name": "Bob"})

    assert "Bob" in signed_in("login").err


def test_logout(signed_in: Cli, idp: Idp) -> None:
    """Both tokens are revoked, and nothing is signed in any more; what became of them is said."""
    said = signed_in("logout")

    assert (said.status, said.out) == (0, "")
    assert said.err == "Signed out here. The provider has revoked both tokens.\n"
    assert not any(idp.refresh_tokens.values())
    assert signed_in("status").status == 1


def test_logout_everywhere(signed_in: Cli, environment: pytest.MonkeyPatch, idp: Idp) -> None:
    """The provider's page for signing out is opened."""
    opened: list[str] = []
    environment.setattr(webbrowser, "open", lambda url: not opened.append(url))
    idp.metadata["end_session_endpoint"] = f"{idp.issuer}/logout"

    said = signed_in("logout", "--everywhere")

    assert said.status == 0
    assert opened[0].startswith(f"{idp.issuer}/logout?")


def test_logout_when_signed_out(cli: Cli) -> None:
    """Signing out twice does no harm."""
    assert cli("logout").status == 0


# -- status -----------------------------------------------------------------------------------------------------------


def test_status(signed_in: Cli, idp: Idp) -> None:
    """Who, where, until when, and where the tokens are; on standard output."""
    said = signed_in("status")
    lines = said.out.splitlines()

    assert (said.status, said.err) == (0, "")
    assert lines[0] == "Signed in as Ada Lovelace at 127.0.0.1"
    assert lines[1].endswith("(renews by itself)")
    assert [line.split()[-1] for line in lines[2:]] == ["openid", "file"]


def test_status_for_programs(signed_in: Cli) -> None:
    """One JSON object, with the same keys whether signed in or not, and no secret."""
    facts = json.loads(signed_in("status", "--json").out)
    signed_in("logout")
    without = signed_in("status", "--json")

    assert facts["signed_in"] is True
    assert facts["user"] == {"sub": "ada", "name": "Ada Lovelace"}
    assert (facts["store"], facts["scopes"], facts["renewable"]) == ("file", ["openid"], True)
    assert facts["expires_at"] == pytest.approx(time.time() + 3600, abs=10)
    assert json.loads(without.out).keys() == facts.keys()
    assert json.loads(without.out)["error"]["code"] == "login_required"
    assert without.status == 1


def test_status_when_signed_out(cli: Cli) -> None:
    """One sentence on standard error, which ends with the code."""
    said = cli("status")

    assert (said.status, said.out) == (1, "")
    assert said.err.startswith(SIGNED_OUT)
    assert said.err.rstrip().endswith("(login_required)")


def test_status_when_the_token_is_over(cli: Cli, idp: Idp) -> None:
    """A token that has expired is renewed; if the provider is away, that is another exit status than signed out."""
    idp.lifetime = 1
    cli("login")
    idp.answers["/token"] = Answer({}, 503)

    until(lambda: cli("status").status == 3)
    idp.answers.clear()
    idp.lifetime = 3600
    until(lambda: cli("status").status == 0)


def test_nothing_moves_the_cursor(signed_in: Cli, idp: Idp) -> None:
    """A name with escape sequences is printed without them."""
    idp.answers["/userinfo"] = Answer({"sub": "ada", "name": "A\x1b[31mda\x07", "email": "a\x1b]0;x\x07@example.org"})
    signed_in("login")

    assert "\x1b" not in signed_in("status").out


# -- token ------------------------------------------------------------------------------------------------------------


def test_token(signed_in: Cli) -> None:
    """The token and a line break, and nothing else."""
    said = signed_in("token")

    assert (said.status, said.err) == (0, "")
    assert said.out == f"{stored().access_token!s}\n"


def test_token_as_a_header(signed_in: Cli) -> None:
    """As ``curl -H @-`` reads it."""
    assert signed_in("token", "--header").out == f"Authorization: Bearer {stored().access_token!s}\n"


@pytest.mark.parametrize(
    ("info", "version"),
    [
        ("", "v1"),
        ('{"apiVersion": "client.authentication.k8s.io/v1beta1"}', "v1beta1"),
        ('{"apiVersion": "evil/v9"}', "v1"),
        ("no JSON", "v1"),
    ],
)
def test_token_for_kubectl(signed_in: Cli, environment: pytest.MonkeyPatch, info: str, version: str) -> None:
    """An ExecCredential, in the version that kubectl asks for, with the token's end."""
    if info:
        environment.setenv("KUBERNETES_EXEC_INFO", info)

    credential = json.loads(signed_in("token", "--exec-credential").out)

    assert credential["apiVersion"] == f"client.authentication.k8s.io/{version}"
    assert credential["kind"] == "ExecCredential"
    assert credential["status"]["token"] == str(stored().access_token)
    end = calendar.timegm(time.strptime(credential["status"]["expirationTimestamp"], "%Y-%m-%dT%H:%M:%SZ"))
    assert end == pytest.approx(time.time() + 3600, abs=10)


def test_an_id_token(signed_in: Cli, idp: Idp) -> None:
    """``--id-token`` prints that one, and its own end for kubectl."""
    said = signed_in("token", "--id-token", "--exec-credential").out
    status = json.loads(said)["status"]

    assert status["token"].startswith("eyJ")
    assert status["expirationTimestamp"] < time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 310))


def test_an_id_token_that_is_about_to_end(cli: Cli, idp: Idp, environment: pytest.MonkeyPatch) -> None:
    """It is renewed with a refresh, before the access token ends."""
    idp.claims = {"iat": int(time.time()) - 300, "exp": int(time.time()) + 20}
    cli("login")
    first = asyncio.run(stored().initialize())
    idp.claims = {"exp": int(time.time()) + 900}

    said = cli("token", "--id-token")

    assert said.status == 0
    assert first is not None
    assert said.out.strip() not in {"", first.id_token}


def test_token_when_signed_out(cli: Cli) -> None:
    """Nothing is printed on standard output."""
    said = cli("token", "--header")

    assert (said.status, said.out) == (1, "")


def test_a_terminal_shows_no_token(signed_in: Cli, environment: pytest.MonkeyPatch) -> None:
    """A terminal keeps what it shows: there it takes ``--show``, whatever the form."""
    environment.setattr(token_module.sys, "stdout", Terminal())
    for form in ([], ["--header"], ["--exec-credential"], ["--id-token"]):
        said = signed_in("token", *form)
        assert said.status == 2
        assert "--show" in said.err
        assert not sys.stdout.written  # type: ignore[attr-defined]

    assert signed_in("token", "--show").status == 0
    assert "CANARY" in sys.stdout.written  # type: ignore[attr-defined]


class Terminal:
    """Standard output that is a terminal."""

    def __init__(self) -> None:
        self.written = ""

    def isatty(self) -> bool:
        """Whether it is one."""
        return True

    def write(self, text: str) -> int:
        """Show ``text``."""
        self.written += text
        return len(text)

    def flush(self) -> None:
        """Do nothing."""


# -- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["login"], ["status"], ["token"], ["logout"]])
def test_memory_makes_no_sense_here(cli: Cli, environment: pytest.MonkeyPatch, command: list[str]) -> None:
    """With the default store a sign-in would be over at once: one sentence says what to set."""
    environment.delenv("PYWRY_OAUTH2__TOKEN_STORE_BACKEND")

    said = cli(*command)

    assert (said.status, said.out) == (2, "")
    assert "PYWRY_OAUTH2__TOKEN_STORE_BACKEND" in said.err
    assert len(said.err.splitlines()) == 1


def test_a_token_from_the_environment_needs_no_store(cli: Cli, environment: pytest.MonkeyPatch) -> None:
    """It is there again for the next command."""
    environment.delenv("PYWRY_OAUTH2__TOKEN_STORE_BACKEND")
    environment.setenv("PYWRY_OAUTH2__ACCESS_TOKEN", "CANARY-at")

    assert cli("login").status == 0
    assert cli("token").out == "CANARY-at\n"
    facts = json.loads(cli("status", "--json").out)
    assert (facts["signed_in"], facts["store"], facts["expires_at"]) == (True, "memory", None)


def test_client_credentials(cli: Cli, environment: pytest.MonkeyPatch) -> None:
    """A job gets its client's token with two more settings, and no user."""
    environment.setenv("PYWRY_OAUTH2__GRANT_TYPE", "client_credentials")
    environment.setenv("PYWRY_OAUTH2__CLIENT_SECRET", "CANARY-secret")

    assert cli("token").out.startswith("CANARY-at-")
    assert json.loads(cli("status", "--json").out)["user"] == {"sub": "pywry"}


def test_two_sign_ins(signed_in: Cli) -> None:
    """``--session-key`` chooses one of several; another key is signed out."""
    assert signed_in("status", "--session-key", "work").status == 1


def test_a_wrong_setting(cli: Cli, environment: pytest.MonkeyPatch) -> None:
    """It is named, and its value is not shown."""
    environment.setenv("PYWRY_OAUTH2__PROVIDER", "CANARY")

    said = cli("status")

    assert said.status == 2
    assert "PYWRY_OAUTH2__PROVIDER" in said.err


def test_a_store_that_cannot_be_read(signed_in: Cli, tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
    """With another encryption key the tokens cannot be read: the exit status says "failed", not "signed out"."""
    environment.setenv("PYWRY_AUTH_ENCRYPTION_KEY", make_encryption_key())

    said = signed_in("status")

    assert said.status == 3
    assert "(store_" in said.err


def test_a_defect_is_one_line(cli: Cli, environment: pytest.MonkeyPatch) -> None:
    """Even an error that no code foresaw shows its type alone: no traceback, no text that may be secret."""
    environment.setattr(status_module, "open_session", broken)

    said = cli("status")

    assert (said.status, said.out, said.err) == (3, "", "pywry-auth: this failed (RuntimeError).\n")


def broken(*_: Any) -> None:
    """Fail in a way that nothing foresees."""
    raise RuntimeError("CANARY")


@pytest.mark.parametrize(
    "arguments", [[], ["nonsense"], ["login", "--timeout", "soon"], ["token", "--header", "--exec-credential"]]
)
def test_wrong_usage(cli: Cli, arguments: list[str]) -> None:
    """Wrong usage is 2."""
    assert cli(*arguments).status == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(cli: Cli, shell: str) -> None:
    """A shell gets what completes ``pywry-auth``."""
    said = cli("completion", shell)

    assert (said.status, said.err) == (0, "")
    assert "pywry-auth" in said.out


def test_completion_without_its_package(cli: Cli, environment: pytest.MonkeyPatch) -> None:
    """What to install is said."""
    environment.setitem(sys.modules, "argcomplete.shell_integration", None)

    said = cli("completion", "bash")

    assert said.status == 2
    assert "pywry-auth-nb[cli]" in said.err
