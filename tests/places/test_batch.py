"""Where no user can be asked: a sentence within 5 s that says how to give a token; and with a token, it runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.e2e.saved import kept_in
from tests.e2e.sign_in import sign_in
from tests.support.waiting import patience

from . import cells
from .batch import RUNNERS, Runner, run
from .terminal import SSH, Terminal

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.e2e.processes import Provider

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_SOON = 5.0  # seconds


@pytest.fixture(params=RUNNERS)
def runner(request: pytest.FixtureRequest) -> Runner:
    """Each program."""
    return RUNNERS[request.param]


def test_it_says_how_to_give_a_token(runner: Runner, provider: Provider, tmp_path: Path) -> None:
    """``login()`` raises LoginRequired within 5 s, and the program shows a sentence with what to set."""
    ended = run(runner, tmp_path, cells.session(provider))
    text = " ".join(_COLOURS.sub("", ended.text).split())
    said = text.rpartition("LoginRequired")[2]

    assert ended.status != 0
    assert ended.took is not None
    assert ended.took < _SOON * patience()
    assert "PYWRY_OAUTH2__ACCESS_TOKEN_FILE" in said, ended.text
    assert provider.requests_to("/auth") == 0


# -- with a token -----------------------------------------------------------------------------------------------


@pytest.fixture
def stored(provider: Provider, page: Page, tmp_path: Path) -> dict[str, str]:
    """The settings of docs/batch.md for a sign-in that ``pywry-auth login`` has put into a token store."""
    values = {
        "PROVIDER": "oidc",
        "CLIENT_ID": "pywry",
        "ISSUER_URL": provider.issuer,
        "TOKEN_STORE_BACKEND": "file",
    }
    env = {f"PYWRY_OAUTH2__{name}": value for name, value in values.items()}
    with Terminal(["-m", "pywry_auth_nb", "login"], tmp_path, {**env, **SSH}) as terminal:
        terminal.wait_for("paste it here and press Enter")
        page.goto(terminal.address())
        sign_in(page)
        terminal.wait_for("Signed in as ada")
        assert terminal.wait_for_end() == 0
    return env


@pytest.fixture(params=["stored", "in a file"])
def env(request: pytest.FixtureRequest, stored: dict[str, str], provider: Provider, tmp_path: Path) -> dict[str, str]:
    """The settings of a token: the stored one, or the same in a file, where nothing else is set."""
    if request.param == "stored":
        return stored
    path = tmp_path / "token"
    path.write_text(provider.secrets()["access_token"][-1], encoding="utf-8")
    return {"PYWRY_OAUTH2__ACCESS_TOKEN_FILE": str(path)}


def test_it_runs_with_a_token(runner: Runner, env: dict[str, str], provider: Provider, tmp_path: Path) -> None:
    """``login()`` asks for nothing, the provider takes the token, and nothing that is saved or shown holds it."""
    asked, called = provider.requests_to("/auth"), provider.requests_to("/me", status=200)
    job = tmp_path / "job"
    job.mkdir()
    ended = run(runner, job, cells.FROM_SETTINGS, cells.call(provider), env={**env, "HOME": str(tmp_path)})

    assert ended.status == 0, ended.text
    assert ended.took is not None
    assert ended.took < _SOON * patience()
    assert provider.requests_to("/auth") == asked
    assert provider.requests_to("/me", status=200) == called + 1
    assert kept_in(job, provider) == []
    assert not [token for token in provider.secrets()["access_token"] if token in ended.text]
