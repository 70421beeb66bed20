"""Browsers of other engines than Chromium's, in JupyterLab."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.e2e.driver import NotebookPage, log_in
from tests.e2e.processes import HarnessError

from . import cells
from .card import Card
from .servers import Place
from .webkit import WebKit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import BrowserContext, Playwright

    from tests.e2e.processes import Provider

_IS_IDLE = """
const panel = [...(window.jupyterapp?.shell?.widgets('main') ?? [])].find((widget) => widget.context);
return panel?.sessionContext?.session?.kernel?.status === 'idle';
"""

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def firefox(playwright: Playwright) -> Iterator[BrowserContext]:
    """A person's Firefox: Debian's own, and not a build of Playwright's."""
    path = shutil.which("firefox-esr") or shutil.which("firefox")
    if path is None:
        raise HarnessError("run `make places`, or install firefox-esr")
    browser = playwright.firefox.launch(channel="moz-firefox", executable_path=path)
    yield browser.new_context()
    browser.close()


def test_firefox(provider: Provider, firefox: BrowserContext, tmp_path: Path) -> None:
    """Firefox: click, sign in while ``login()`` waits, a token for the next cell, sign out."""
    with Place("lab", tmp_path) as server:
        log_in(firefox, server)
        notebook = NotebookPage(firefox, server, [cells.session(provider), cells.WAIT, cells.CALL]).open()
        notebook.run_and_wait(0)
        notebook.run(1)
        card = Card(notebook.page, notebook.widget(1))
        card.by_link()
        assert "signed in as ada" in notebook.wait(1)
        assert "status 200" in notebook.run_and_wait(2)
        card.sign_out()


@pytest.mark.filterwarnings("ignore:setting remote_server_addr:DeprecationWarning")  # selenium's own
def test_webkit(provider: Provider, tmp_path: Path) -> None:
    """WebKitGTK, a smoke test: click, sign in, and the widget says who it was."""
    (tmp_path / "lab").mkdir()
    with Place("lab", tmp_path / "lab") as server, WebKit(tmp_path) as browser:
        server.write("n.ipynb", cells.session(provider), "session")
        browser.driver.get(f"{server.url}lab/tree/n.ipynb?token={server.token}")
        browser.wait(lambda: browser.driver.execute_script(_IS_IDLE), "no kernel")
        browser.driver.execute_script("jupyterapp.commands.execute('notebook:run-all-cells');")
        notebook = browser.driver.current_window_handle
        browser.find("a.pywry-auth-link").click()
        browser.wait(lambda: len(browser.driver.window_handles) > 1, "no window opened")
        browser.driver.switch_to.window(next(name for name in browser.driver.window_handles if name != notebook))
        browser.fill_in(login="ada", password="any")
        browser.find("form:has(input[value=consent]) button[type=submit]").click()
        browser.driver.switch_to.window(notebook)
        browser.wait(lambda: "ada" in browser.find(".pywry-auth-root").text, "not signed in")
