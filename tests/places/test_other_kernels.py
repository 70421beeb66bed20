"""Kernels and notebooks that are not ipykernel's: xeus-python and marimo."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.card import Card
from tests.e2e.driver import NotebookPage, log_in

from . import cells
from .marimo import Marimo
from .servers import Place

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import BrowserContext, Page

    from tests.e2e.processes import Provider

pytestmark = pytest.mark.timeout(600)


class XeusPage(NotebookPage):
    """A notebook whose kernel is xeus-python."""

    kernel = "xpython"


def test_xeus_python(provider: Provider, context: BrowserContext, tmp_path: Path) -> None:
    """xeus-python: ``login()`` says at once what to do instead; the widget, the last line of a cell, signs in."""
    with Place("lab", tmp_path) as server:
        log_in(context, server)
        notebook = XeusPage(context, server, [cells.session(provider), "session.login()", "session", cells.CALL]).open()
        notebook.run_and_wait(0)
        notebook.run(1)
        notebook.wait_for_text(1, "Let the session be the last line of a cell", 5)
        notebook.run(2)
        Card(notebook.page, notebook.widget(2)).by_loopback()
        assert "status 200" in notebook.run_and_wait(3)


@pytest.mark.parametrize("command", ["edit", "run"])
def test_marimo(command: str, provider: Provider, page: Page, tmp_path: Path) -> None:
    """marimo, as an editor and as an app: the widget signs in, with a browser on the same machine."""
    with Marimo(command, tmp_path, cells.session(provider), "session") as server:
        page.goto(server.url)
        Card(page).by_loopback()
