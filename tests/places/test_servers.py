"""Pages of Jupyter servers: classic notebooks, Voilà, and servers without our extension."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.card import Card

from . import cells
from .servers import Place, Voila

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import BrowserContext, Page

    from tests.e2e.processes import Provider

pytestmark = pytest.mark.timeout(600)


#: The page asks the kernel for the widgets of before, twice; each answer comes before that of a later request.
_WIDGETS_LOADED = """async () => {
  const answered = () => new Promise((resolve) => Jupyter.notebook.kernel.kernel_info(resolve));
  for (let request = 0; request < 4; request++) await answered();
}"""


def run_all_classic(page: Page) -> None:
    """Run all cells of a classic notebook, as a user does who sees the page: it has asked the kernel for its widgets.

    When it has an answer, which waits for the cell that runs, it draws all widgets anew, and loses them (ipywidgets 8).
    """
    page.wait_for_function("window.Jupyter?.notebook?.kernel?.widget_manager", timeout=60_000)
    page.wait_for_function("Jupyter.notebook.kernel.is_connected()", timeout=60_000)
    page.evaluate(_WIDGETS_LOADED)
    page.evaluate("() => { Jupyter.notebook.execute_all_cells(); }")


def test_nbclassic(provider: Provider, context: BrowserContext, tmp_path: Path) -> None:
    """nbclassic: the widget's link signs in while ``login()`` waits; the card stays, and the next cell has a token."""
    with Place("nbclassic", tmp_path) as server:
        server.write("n.ipynb", cells.session(provider), cells.WAIT, cells.CALL)
        page = server.visit(context, "nbclassic/notebooks/n.ipynb")
        run_all_classic(page)
        card = Card(page)
        card.by_link()
        page.get_by_text("signed in as ada", exact=True).wait_for()
        page.get_by_text("status 200").wait_for()
        card.says("ada")


def test_voila_extension(provider: Provider, context: BrowserContext, tmp_path: Path) -> None:
    """Voilà on a Jupyter server with our extension: the widget's link signs in."""
    with Place("lab", tmp_path) as server:
        server.write("n.ipynb", cells.session(provider), "session")
        Card(server.visit(context, "voila/render/n.ipynb")).by_link()


def test_voila_standalone(provider: Provider, page: Page, tmp_path: Path) -> None:
    """Voilà by itself has no route of ours: the widget signs in with a pasted address."""
    with Voila(tmp_path, cells.session(provider), "session") as server:
        page.goto(server.url)
        Card(page).by_paste()
