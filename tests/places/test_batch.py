"""Where no user can be asked: a sentence within 5 s that says how to give a token; and with a token, it runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.support.waiting import patience

from . import cells
from .batch import RUNNERS, Runner, run

if TYPE_CHECKING:
    from pathlib import Path

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
