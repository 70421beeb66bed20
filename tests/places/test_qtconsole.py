"""qtconsole, drawn on no screen: its prompt takes the address at which a browser elsewhere ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.sign_in import answer_of
from tests.support.waiting import until

from . import cells
from .qt_window import QtConsole

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.e2e.processes import Provider

pytestmark = pytest.mark.timeout(600)


def test_qtconsole(provider: Provider, page: Page, tmp_path: Path) -> None:
    """The address stands above a prompt; what is pasted there signs in, and qtconsole says that it shows it."""
    setup = "; ".join(cells.session(provider).splitlines())
    with QtConsole(tmp_path) as console:
        console.type(setup)
        console.type(cells.WAIT)
        until(lambda: "paste it here" in console.text(), "no prompt", 60)
        page.goto(console.address())
        answer = answer_of(page)
        console.type(answer)
        until(lambda: "signed in as ada" in console.text(), "not signed in", 30)
        assert "QtConsole does not support password mode" in console.text()
