"""``pywry-auth demo``, as a newcomer runs it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from .sign_in import popup_after

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Page

DEMO = [sys.executable, "-c", "from pywry_auth_nb.cli import main; main()", "demo", "--no-browser"]


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The running demo, and what it printed."""
    output = tmp_path / "demo.log"
    with output.open("wb") as log:
        process = subprocess.Popen(DEMO, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while "To stop:" not in output.read_text():
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.1)
        yield process, output.read_text()
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.timeout(600)
def test_the_demo_signs_in_and_stops(demo: tuple[subprocess.Popen[bytes], str], page: Page) -> None:
    """Open what it prints, run all cells, click "Sign in", choose a person; the cells go on; Ctrl-C leaves nothing."""
    process, printed = demo
    addresses = re.findall(r"http://\S+", printed)
    page.set_viewport_size({"width": 1200, "height": 2400})  # JupyterLab draws the cells in view
    page.goto(addresses[0], timeout=60_000)
    page.locator(".jp-MarkdownOutput h1", has_text="Sign in from a notebook").wait_for(timeout=60_000)
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").first.wait_for(state="attached", timeout=60_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    link = page.locator("a.pywry-auth-link").first
    link.wait_for(timeout=30_000)
    popup = popup_after(page, link.click)
    popup.get_by_text("Ada").first.click()
    page.locator(".pywry-auth-root[data-tone=on]").first.wait_for(timeout=15_000)
    page.locator(".jp-OutputArea-output", has_text="<AccessToken ***>").wait_for(timeout=30_000)
    page.locator(".jp-OutputArea-output", has_text="200 {'email': 'ada@example.org'").wait_for()
    assert page.get_by_text("Jupyter news").count() == 0, "a question over the first screen"
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    for address in addresses[:2]:
        with pytest.raises(httpx.ConnectError):
            httpx.get(address)
