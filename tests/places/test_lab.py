"""JupyterLab where it is not as we install it: no extension of ours, several people, another version."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.card import Card
from tests.e2e.driver import NotebookPage, log_in

from . import cells
from .servers import Place, lab_4_2

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext

    from tests.e2e.processes import Provider

pytestmark = pytest.mark.timeout(600)


def opened(context: BrowserContext, server: Place, provider: Provider, *sources: str) -> NotebookPage:
    """Open a new notebook whose first cell has made a session, and run the second."""
    log_in(context, server)
    notebook = NotebookPage(context, server, [cells.session(provider), *sources]).open()
    notebook.run_and_wait(0)
    notebook.run(1)
    return notebook


def test_without_our_extension(provider: Provider, context: BrowserContext, tmp_path: Path) -> None:
    """The server lacks our package: the widget says so, and signs in by a pasted address while ``login()`` waits."""
    with Place("lab", tmp_path, ours=False) as server:
        notebook = opened(context, server, provider, cells.WAIT, cells.CALL)
        card = Card(notebook.page, notebook.widget(1))
        card.says("pywry-auth-nb does not answer on this Jupyter server")
        card.by_paste()
        assert "signed in as ada" in notebook.wait(1)
        assert "status 200" in notebook.run_and_wait(2)


def test_lab_4_2(provider: Provider, context: BrowserContext, tmp_path: Path) -> None:
    """JupyterLab 4.2: the widget's link signs in while ``login()`` waits, and the next cell has a token."""
    with Place("lab", tmp_path, python=lab_4_2()) as server:
        notebook = opened(context, server, provider, cells.WAIT, cells.CALL)
        Card(notebook.page, notebook.widget(1)).by_link()
        assert "signed in as ada" in notebook.wait(1)
        assert "status 200" in notebook.run_and_wait(2)


def test_two_people_on_one_kernel(provider: Provider, browser: Browser, tmp_path: Path) -> None:
    """JupyterLab with collaboration: Bob sees that Ada is signed in; when he signs in, her page says so."""
    provider.control(prompts=["none", "login", "consent"])  # it knows no select_account
    with Place("lab", tmp_path, together=True) as server:
        ada, bob = browser.new_context(), browser.new_context()
        first = opened(ada, server, provider, "session", cells.CALL)
        Card(first.page, first.widget(1)).by_link("ada")
        log_in(bob, server)
        second = bob.new_page()
        for page in (first.page, second):  # a slow machine is asked about
            page.add_locator_handler(page.get_by_role("button", name="Continue waiting"), lambda button: button.click())
        second.goto(first.url)
        theirs = Card(second)
        theirs.says("ada")
        theirs.other_account("bob")
        Card(first.page, first.widget(1)).says("bob has signed in. Before, it was ada.")
        ada.close()
        bob.close()
