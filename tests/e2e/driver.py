"""A person at a notebook: Chromium, and one notebook in JupyterLab or Notebook 7."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

import nbformat.v4
from playwright.sync_api import Error

from .processes import HarnessError, poll

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, Locator, Page, Playwright

    from .processes import JupyterServer

OPEN_TIMEOUT = 60.0
RUN_TIMEOUT = 30.0
LOOPBACK_ONLY = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE localhost , EXCLUDE *.localhost , EXCLUDE 127.0.0.1"
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# ---- Chromium ------------------------------------------------------------------------------------------------------


def find_chromium() -> str:
    """Return the browser's path: $CHROMIUM, or the first of CHROMIUMS on the PATH."""
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if path is None:
        raise HarnessError("the browser tests need Chromium: install it, or set CHROMIUM to its path")
    return path


def launch(playwright: Playwright, *, block_popups: bool = False) -> Browser:
    """Start a headless Chromium that reaches loopback addresses only.

    Playwright lets every popup through; ``block_popups`` leaves Chromium's own blocker on. Mind that ``page.evaluate``
    counts as a user's gesture for 5 s.
    """
    no_sandbox = ["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
    return playwright.chromium.launch(
        executable_path=find_chromium(),
        args=[LOOPBACK_ONLY, *no_sandbox],
        ignore_default_args=["--disable-popup-blocking"] if block_popups else None,
    )


def log_in(context: BrowserContext, server: JupyterServer) -> None:
    """Give the browser the server's login cookie."""
    answer = context.request.get(f"{server.url}api/status", headers={"Authorization": f"token {server.token}"})
    if not answer.ok:
        raise HarnessError(f"no login cookie: {answer.status}")


# ---- the notebook --------------------------------------------------------------------------------------------------

# Every script below starts with this: `panel` is the notebook of this page or undefined.
FIND_PANEL = """
    const app = window.jupyterapp;
    const panel = [...(app?.shell?.widgets('main') ?? [])].find((widget) => widget.context?.path === NAME);
    const cell = (index) => panel.content.model.cells.get(index);
"""
IS_CONNECTED = """
    const kernel = panel?.context.isReady && panel.sessionContext.session?.kernel;
    const connected = kernel?.connectionStatus === 'connected';
"""
# A busy kernel does not tell a new page about itself, so that page's session is not "ready" until the cell ends.
IS_IDLE = f"{IS_CONNECTED} return Boolean(connected && panel.sessionContext.isReady && kernel.status === 'idle');"
# Not awaited: the answer comes when the cell ends. `runs` keeps what became of each cell's newest run.
RUN = """
    const runs = (window.notebookRuns ??= {});
    const run = (runs[index] = { state: 'running' });
    app.shell.activateById(panel.id);
    panel.content.deselectAll();
    panel.content.activeCellIndex = index;
    app.commands.execute('notebook:run-cell').then(
        () => { run.state = 'done'; },
        (error) => { run.state = `failed: ${error}`; },
    );
"""


class NotebookPage:
    """A new notebook with these cells, open in a browser context that has the server's login cookie.

    Cells are named by their number. Every wait has a deadline; what it raises shows the outputs and the server's log.
    """

    #: The kernel's name.
    kernel: ClassVar[str] = "python3"

    def __init__(self, context: BrowserContext, server: JupyterServer, cells: Sequence[str]) -> None:
        self.server = server
        self.name = f"{uuid.uuid4().hex[:8]}.ipynb"
        self.path: Path = server.root / self.name
        self.path.write_text(_notebook_text(cells, self.kernel), encoding="utf-8")
        self.page: Page = context.new_page()
        self.console: list[str] = []
        self.page.on("console", lambda message: self.console.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.console.append(f"pageerror: {error}"))

    @property
    def url(self) -> str:
        """The notebook's address; in JupyterLab in a workspace of its own, so that no other notebook opens with it."""
        if self.server.kind == "lab":
            return f"{self.server.url}lab/workspaces/{self.path.stem}/tree/{self.name}"
        return f"{self.server.url}notebooks/{self.name}"

    def open(self) -> NotebookPage:
        """Open the page (or open it anew) and wait for the kernel."""
        self._start_kernel()
        self.page.goto(self.url, timeout=OPEN_TIMEOUT * 1000, wait_until="commit")
        self.wait_until_idle(OPEN_TIMEOUT)
        return self

    def _start_kernel(self) -> None:
        # The request that the page would make, only earlier: the kernel starts while the page loads, which saves 0.8 s.
        session = {"path": self.name, "name": self.name, "type": "notebook", "kernel": {"name": self.kernel}}
        self.server.api("POST", "api/sessions", json=session).raise_for_status()

    def reload(self) -> None:
        """Reload the page without waiting for the kernel, which may be busy; see ``wait_until_idle``."""
        self.page.reload(wait_until="commit")
        connected = f"{IS_CONNECTED} return Boolean(connected);"
        self.wait_until(lambda: self._evaluate(connected), OPEN_TIMEOUT, "not shown again")

    # -- running

    def run(self, index: int) -> None:
        """Run a cell and do not wait for it."""
        self._evaluate(RUN, index)

    def run_and_wait(self, index: int, timeout: float = RUN_TIMEOUT) -> str:
        """Run a cell, wait for its end and return its text."""
        self.run(index)
        return self.wait(index, timeout)

    def wait(self, index: int, timeout: float = RUN_TIMEOUT) -> str:
        """Wait for the end of the newest ``run`` of a cell and return its text."""
        self.wait_until(lambda: self.run_state(index) != "running", timeout, f"cell {index} still runs")
        if (state := self.run_state(index)) != "done":
            raise HarnessError(f"cell {index}: {state}\n{self.describe()}")
        return self.text(index)

    def run_state(self, index: int) -> str:
        """Return "running", "done" or "failed: …" of the newest ``run`` of a cell; "" if there is none in this page."""
        return str(self._evaluate("return window.notebookRuns?.[index]?.state ?? ''", index))

    def wait_for_text(self, index: int, text: str, timeout: float = RUN_TIMEOUT) -> str:
        """Wait until a cell's text contains ``text``, also of a cell that still runs; return the whole."""
        self.wait_until(lambda: text in self.text(index), timeout, f"no {text!r} in cell {index}")
        return self.text(index)

    def wait_until(self, check: Callable[[], Any], timeout: float, failure: str) -> Any:
        """Return the first truthy value of ``check``, whose browser errors while a page loads count as false."""

        def attempt() -> Any:
            with suppress(Error):
                return check()
            return None

        return poll(attempt, timeout, lambda: f"{failure}\n{self.describe()}", sleep=self._pause)

    def wait_until_idle(self, timeout: float = RUN_TIMEOUT) -> None:
        """Wait until the kernel is connected and has nothing to do."""
        self.wait_until(lambda: self._evaluate(IS_IDLE), timeout, "the kernel is not ready")

    # -- reading

    def outputs(self, index: int) -> list[dict[str, Any]]:
        """Return a cell's outputs as in the file format."""
        outputs: list[dict[str, Any]] = self._evaluate("return cell(index).toJSON().outputs", index)
        return outputs

    def text(self, index: int) -> str:
        """Return a cell's streams, plain texts and errors ("NameError: …") as one text."""
        return "".join(map(_text_of, self.outputs(index)))

    def widget(self, index: int) -> Locator:
        """Return a locator of a cell's output area."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index).locator(".jp-Cell-outputArea")

    # -- the kernel and the file

    @property
    def kernel_id(self) -> str:
        """The id of the notebook's kernel."""
        return str(self._evaluate("return panel.sessionContext.session.kernel.id"))

    def restart_kernel(self) -> None:
        """Restart the kernel, also one that is busy, and wait until it is idle."""
        self._evaluate("return panel.sessionContext.restartKernel()")
        self.wait_until_idle()

    def interrupt_kernel(self) -> None:
        """Interrupt what runs, as the stop button does."""
        self._evaluate("return panel.sessionContext.session.kernel.interrupt()")

    def save(self) -> None:
        """Save the notebook."""
        self._evaluate("return panel.context.save()")

    def source_on_disk(self) -> str:
        """Return the notebook file's text."""
        return self.path.read_text(encoding="utf-8")

    def close(self) -> None:
        """Close the page and end the kernel."""
        with suppress(Error):
            self.page.close()
        if not self.server.alive:
            return
        for session in self.server.api("GET", "api/sessions").json():
            if session["path"] == self.name:
                self.server.api("DELETE", f"api/sessions/{session['id']}")

    # -- when something goes wrong

    def describe(self) -> str:
        """Return what helps to understand a failure: outputs, the page's console, the server's last log lines."""
        script = "return panel?.content.model.toJSON().cells.map((cell) => cell.outputs)"
        try:
            shown = json.dumps(self._evaluate(script), indent=1)
        except Error as error:
            shown = f"unknown: {error}"
        console = "\n".join(self.console[-20:])
        return f"{self.page.url}\noutputs: {shown}\nconsole:\n{console}\nlog:\n{self.server.tail()}"

    def _evaluate(self, body: str, index: int | None = None) -> Any:
        script = f"(index) => {{ {FIND_PANEL.replace('NAME', json.dumps(self.name))} {body} }}"
        return self.page.evaluate(script, index)

    def _pause(self, seconds: float) -> None:
        self.page.wait_for_timeout(seconds * 1000)  # and not time.sleep, so that the browser's events are handled


def _notebook_text(cells: Sequence[str], kernel: str) -> str:
    v4: Any = nbformat.v4  # is not typed
    notebook = v4.new_notebook(cells=[v4.new_code_cell(source) for source in cells])
    notebook.metadata.kernelspec = {"name": kernel, "display_name": "Python 3", "language": "python"}
    return str(v4.writes(notebook))


def _text_of(output: dict[str, Any]) -> str:
    if output["output_type"] == "error":
        return f"{output['ename']}: {output['evalue']}\n"
    text = output["text"] if output["output_type"] == "stream" else output["data"].get("text/plain", "")
    return text if isinstance(text, str) else "".join(text)
