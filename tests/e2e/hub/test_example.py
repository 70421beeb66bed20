"""``make hub``, as an administrator tries it out."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

from tests.e2e.processes import poll
from tests.e2e.sign_in import popup_after
from tests.support.ports import free_port

from .hub import log_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

COMMAND = [sys.executable, str(Path(__file__).parents[3] / "examples" / "jupyterhub" / "run.py")]
#: Lets the program hear that its terminal is closed, also where these tests run under nohup.
HEARING = "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"


@pytest.fixture
def example(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The running example, and what it printed."""
    output = tmp_path / "example.log"
    command = [sys.executable, "-c", HEARING, *COMMAND, "--port", str(free_port()), "--home", str(tmp_path / "home")]
    with output.open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        poll(lambda: "To stop:" in output.read_text() or process.poll() is not None, 60, output.read_text)
        assert process.poll() is None, output.read_text()
        yield process, output.read_text()
    finally:
        process.terminate()
        process.wait(40)


@pytest.mark.timeout(600)
def test_the_example_signs_in_and_stops(
    example: tuple[subprocess.Popen[bytes], str], page: Page, tmp_path: Path
) -> None:
    """Sign in to the hub, run all cells, sign in at the provider, and they go on; Ctrl-C leaves nothing."""
    process, printed = example
    hub = re.findall(r"http://\S+", printed[printed.index("JupyterHub:  ") :])[0]
    page.set_viewport_size({"width": 1200, "height": 2400})
    page.goto(f"{hub}hub/login?next=/user/alice/lab/tree/quickstart.ipynb")
    log_in(page, "alice")
    page.locator("#start").or_(page.locator(".jp-MarkdownOutput h1")).first.wait_for(timeout=60_000)
    if page.locator("#start").is_visible():
        page.locator("#start").click()
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").first.wait_for(state="attached", timeout=60_000)
    poll(lambda: is_connected(page, hub), 30, lambda: "no kernel", sleep=lambda s: page.wait_for_timeout(1000 * s))
    page.wait_for_timeout(1000)
    run_all(page)
    link = page.locator("a.pywry-auth-link").first
    popup = popup_after(page, link.click)
    popup.get_by_text("Ada").first.click()
    page.locator(".pywry-auth-root[data-tone=on]").first.wait_for(timeout=15_000)
    page.get_by_text("'email': 'ada@example.org'").first.wait_for(timeout=15_000)
    page.get_by_text("<AccessToken ***>").wait_for(timeout=15_000)
    second = subprocess.run(
        [*COMMAND, "--port", str(free_port()), "--home", str(tmp_path / "home")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (second.returncode, "running" in second.stderr) == (1, True), "the second one must not stop the first one's"
    assert page.context.request.get(f"{hub}user/alice/api/status").ok
    started = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)

    assert process.wait(40) == 0
    assert len(started) >= 5, "the hub, its proxy, Redis, a server and its kernel"
    assert not [child for child in psutil.wait_procs(started, 10)[1] if child.status() != psutil.STATUS_ZOMBIE]
    with pytest.raises(httpx.ConnectError):
        httpx.get(hub)


def test_closing_the_terminal_stops_it(example: tuple[subprocess.Popen[bytes], str]) -> None:
    """A hub without passwords must not outlive its terminal."""
    process, _ = example
    started = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGHUP)

    assert process.wait(40) == 0
    assert len(started) >= 3, "the hub, its proxy and Redis"
    assert not [child for child in psutil.wait_procs(started, 10)[1] if child.status() != psutil.STATUS_ZOMBIE]


def test_a_hub_that_does_not_start(tmp_path: Path) -> None:
    """It says so, and a process that has taken the number of an older hub's proxy is left alone."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "hub.sqlite").write_text("no database")
    with subprocess.Popen(["sleep", "60"]) as bystander:
        (home / "proxy.pid").write_text(str(bystander.pid))
        command = [*COMMAND, "--port", str(free_port()), "--home", str(home)]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        lives = bystander.poll() is None
        bystander.kill()

    assert (run.returncode, lives) == (1, True)
    assert "The hub did not start" in run.stderr


def is_connected(page: Page, hub: str) -> bool:
    """Whether a page is connected to a kernel that has nothing to do: before, JupyterLab asks which one to run on."""
    response = page.context.request.get(f"{hub}user/alice/api/kernels")  # an error until her server has started
    kernels = response.json() if response.ok else []
    return any(kernel["connections"] and kernel["execution_state"] == "idle" for kernel in kernels)


def run_all(page: Page) -> None:
    """Run all cells."""
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
