"""What front ends save holds no secret: notebooks, with widget state, and what is stored beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.card import Card
from tests.e2e.driver import NotebookPage, log_in
from tests.e2e.saved import WITH_WIDGET_STATE, kept_in, sign_in_in_other_ways

from . import cells
from .marimo import Marimo
from .servers import Place, lab_4_2
from .test_other_kernels import XeusPage
from .test_servers import run_all_classic

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import BrowserContext, Page

    from tests.e2e.processes import Provider

pytestmark = pytest.mark.timeout(600)
#: Kinds of JupyterLab: an old one, one whose server lacks our extension, …
LABS: dict[str, dict[str, Any]] = {
    "4.2": {},
    "lacking": {"ours": False},
    "collaboration": {"together": True},
    "xeus": {},
}


@pytest.fixture
def provider(provider: Provider) -> Provider:
    """The provider, at which users have a picture."""
    provider.control(picture=True)
    return provider


@pytest.mark.parametrize("lab", LABS)
def test_jupyterlab(lab: str, provider: Provider, context: BrowserContext, tmp_path: Path) -> None:
    """JupyterLab of each kind: notebooks with widget state, and what collaboration stores of them."""
    python = {"python": lab_4_2()} if lab == "4.2" else {}
    kind = XeusPage if lab == "xeus" else NotebookPage
    with Place("lab", tmp_path, settings=WITH_WIDGET_STATE, **LABS[lab], **python) as server:
        log_in(context, server)
        notebook = kind(context, server, [cells.session(provider), "session"]).open()
        notebook.run_and_wait(0)
        notebook.run(1)
        shown = sign_in_in_other_ways(Card(notebook.page, notebook.widget(1)), notebook.save)
        assert "login_path" in notebook.source_on_disk()
    assert kept_in(tmp_path, provider, **shown) == []


def test_nbclassic(provider: Provider, context: BrowserContext, tmp_path: Path) -> None:
    """nbclassic: a notebook with its outputs."""
    with Place("nbclassic", tmp_path) as server:
        path = server.write("n.ipynb", cells.session(provider), "session")
        page = server.visit(context, "nbclassic/notebooks/n.ipynb")
        run_all_classic(page)
        shown = sign_in_in_other_ways(Card(page), lambda: page.evaluate("Jupyter.notebook.save_notebook()"))
        assert "pywry-auth/login?" in path.read_text(encoding="utf-8")
    assert kept_in(tmp_path, provider, **shown) == []


def test_marimo(provider: Provider, page: Page, tmp_path: Path) -> None:
    """Marimo's editor saves by itself."""
    with Marimo("edit", tmp_path, cells.session(provider), "session") as server:
        page.goto(server.url)
        shown = sign_in_in_other_ways(Card(page), bool)
    assert kept_in(tmp_path, provider, **shown) == []
