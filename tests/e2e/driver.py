"""A person at a notebook: Chromium or Firefox, and one notebook in JupyterLab or Notebook 7."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import nbformat.v4
from playwright.sync_api import Error

from .processes import HarnessError, poll

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, Locator, Page, Playwright
    from typing_extensions import Self

    from .processes import JupyterServer

Engine = Literal["chromium", "firefox"]

OPEN_TIMEOUT = 60.0
RUN_TIMEOUT = 30.0
LOOPBACK_ONLY = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE localhost , EXCLUDE *.localhost , EXCLUDE 127.0.0.1"
#: What the browsers are called, the first that is on the PATH counts. $CHROMIUM and $FIREFOX name others.
PROGRAMS: dict[Engine, tuple[str, ...]] = {
    "chromium": ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
    "firefox": ("firefox-esr", "firefox"),
}

# ---- browsers ------------------------------------------------------------------------------------------------------


def find_browser(engine: Engine) -> str:
    """Return the browser's path."""
    name = engine.upper()
    path = os.environ.get(name) or next(filter(None, map(shutil.which, PROGRAMS[engine])), None)
    if path is None:
        raise HarnessError(f"the browser tests need {engine.title()}: install it, or set {name} to its path")
    return path


def launch(playwright: Playwright, engine: Engine = "chromium", *, block_popups: bool = False) -> Browser:
    """Start a headless browser.

    Playwright lets every popup through; ``block_popups`` leaves the browser's own blocker on. Mind that, in Chromium,
    ``page.evaluate`` counts as a user's gesture for 5 s.
    """
    start = {"chromium": _launch_chromium, "firefox": _launch_firefox}[engine]
    return start(playwright, block_popups=block_popups)


def _launch_chromium(playwright: Playwright, *, block_popups: bool) -> Browser:
    """Start Chromium, which reaches loopback addresses only."""
    no_sandbox = ["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
    return playwright.chromium.launch(
        executable_path=find_browser("chromium"),
        args=[LOOPBACK_ONLY, *no_sandbox],
        ignore_default_args=["--disable-popup-blocking"] if block_popups else None,
    )


def _launch_firefox(playwright: Playwright, *, block_popups: bool) -> Browser:
    """Start a Firefox as users have it, and not a build of Playwright's."""
    return playwright.firefox.launch(
        channel="moz-firefox",
        executable_path=find_browser("firefox"),
        firefox_user_prefs={"dom.disable_open_during_load": True} if block_popups else None,
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
    if (app.shell.currentWidget !== panel) app.shell.activateById(panel.id);  // twice: the first cell, in WebKit
    panel.content.deselectAll();
    panel.content.activeCellIndex = index;
    app.commands.execute('notebook:run-cell').then(
        () => { run.state = 'done'; },
        (error) => { run.state = `failed: ${error}`; },
    );
"""


class Notebook(ABC):
    """A new notebook with these cells at a server, in a browser that Playwright, or something else, drives.

    Cells are named by their number. Every wait has a deadline; what it raises shows the outputs and the server's log.
    """

    #: The kernel's name.
    kernel: ClassVar[str] = "python3"
    #: What the browser's driver raises.
    errors: ClassVar[type[Exception]]

    def __init__(self, server: JupyterServer, cells: Sequence[str]) -> None:
        self.server = server
        self.name = f"{uuid.uuid4().hex[:8]}.ipynb"
        self.path: Path = server.root / self.name
        self.path.write_text(_notebook_text(cells, self.kernel), encoding="utf-8")
        self.console: list[str] = []

    @property
    def url(self) -> str:
        """The notebook's address; in JupyterLab in a workspace of its own, so that no other notebook opens with it."""
        if self.server.kind == "lab":
            return f"{self.server.url}lab/workspaces/{self.path.stem}/tree/{self.name}"
        return f"{self.server.url}notebooks/{self.name}"

    def open(self) -> Self:
        """Open the page (or open it anew) and wait for the kernel."""
        self._start_kernel()
        self._go()
        self.wait_until_idle(OPEN_TIMEOUT)
        return self

    def _start_kernel(self) -> None:
        # The request that the page would make, only earlier: the kernel starts while the page loads, which saves 0.8 s.
        session = {"path": self.name, "name": self.name, "type": "notebook", "kernel": {"name": self.kernel}}
        self.server.api("POST", "api/sessions", json=session).raise_for_status()

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
            with suppress(self.errors):
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
        """End the kernel."""
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
        except self.errors as error:
            shown = f"unknown: {error}"
        console = "\n".join(self.console[-20:])
        return f"{self.url}\noutputs: {shown}\nconsole:\n{console}\nlog:\n{self.server.tail()}"

    def _evaluate(self, body: str, index: int | None = None) -> Any:
        script = f"(index) => {{ {FIND_PANEL.replace('NAME', json.dumps(self.name))} {body} }}"
        return self._call(script, index)

    # -- the browser

    @abstractmethod
    def _go(self) -> None:
        """Go to the notebook's address."""

    @abstractmethod
    def _call(self, script: str, index: int | None) -> Any:
        """Call a function of JavaScript in the page; return what it returns, or what its promise becomes."""

    @abstractmethod
    def _pause(self, seconds: float) -> None:
        """Let time pass."""


class NotebookPage(Notebook):
    """A notebook that is open in a browser context of Playwright which has the server's login cookie."""

    errors = Error

    def __init__(self, context: BrowserContext, server: JupyterServer, cells: Sequence[str]) -> None:
        super().__init__(server, cells)
        self.page: Page = context.new_page()
        self.page.on("console", lambda message: self.console.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.console.append(f"pageerror: {error}"))

    def reload(self) -> None:
        """Reload the page without waiting for the kernel, which may be busy; see ``wait_until_idle``."""
        self.page.reload(wait_until="commit")
        connected = f"{IS_CONNECTED} return Boolean(connected);"
        self.wait_until(lambda: self._evaluate(connected), OPEN_TIMEOUT, "not shown again")

    def widget(self, index: int) -> Locator:
        """Return a locator of a cell's output area."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index).locator(".jp-Cell-outputArea")

    def close(self) -> None:
        """Close the page and end the kernel."""
        with suppress(Error):
            self.page.close()
        super().close()

    def _go(self) -> None:
        self.page.goto(self.url, timeout=OPEN_TIMEOUT * 1000, wait_until="commit")

    def _call(self, script: str, index: int | None) -> Any:
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
