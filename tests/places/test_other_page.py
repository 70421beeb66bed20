"""A page of another origin, as in VS Code and Colab: without a Jupyter server, with and without control channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.card import Card

from . import cells
from .other_page import OtherPage
from .servers import Place

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.e2e.processes import Provider

pytestmark = pytest.mark.timeout(600)


def run(page: Page, code: str) -> str:
    """Run a cell in the page's kernel; return what it printed."""
    return str(page.evaluate("(code) => run(code)", code))


@pytest.mark.parametrize("control", [True, False], ids=["control", "messages"])
def test_page_of_another_origin(control: bool, provider: Provider, page: Page, tmp_path: Path) -> None:
    """The widget of such a page signs in with a pasted address, and the next cell has a token."""
    any_origin = ["--ServerApp.allow_origin=*"]
    with Place("lab", tmp_path / "lab", arguments=any_origin) as server, OtherPage(tmp_path / "page") as other:
        page.goto(other.url(server, control=control))
        page.wait_for_function("window.run !== undefined", timeout=60_000)
        assert run(page, cells.session(provider)) == ""
        run(page, "session")
        Card(page).by_paste()
        assert run(page, cells.CALL) == "status 200\n"
