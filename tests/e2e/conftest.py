"""One provider, one server of each kind and one browser for all tests; a browser context and notebooks for each.

Scope "package", not "session": Playwright's event loop must not outlive this folder, or asyncio tests elsewhere fail.
"""

from __future__ import annotations

import functools
import os
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from playwright.sync_api import Error, sync_playwright

from .driver import NotebookPage, launch, log_in
from .processes import JupyterServer, Provider

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from playwright.sync_api import Browser, BrowserContext, Page, Playwright

    from .driver import Engine

CALLBACK = "pywry-auth/callback"
REDIRECT_URIS = [f"http://127.0.0.1/{path}" for path in (CALLBACK, f"a/b/{CALLBACK}", "cb", "callback")]
EXTENSION_CONFIG = Path(sys.prefix, "etc/jupyter/jupyter_server_config.d/pywry_auth_nb.json")
NOTEBOOKS = pytest.StashKey["list[NotebookPage]"]()


class OpenNotebook(Protocol):
    """``open_notebook(lab, "1 + 1", …)``: a new notebook with these cells, ready to run."""

    def __call__(self, server: JupyterServer, *cells: str, context: BrowserContext | None = None) -> NotebookPage:
        """Log the browser context (default: the test's) in and open the notebook in it."""


# ---- for all tests -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="package")
def provider_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """The running OpenID provider; tests ask for ``provider``."""
    with Provider(tmp_path_factory.mktemp("provider"), redirect_uris=REDIRECT_URIS) as process:
        yield process


@pytest.fixture(scope="package")
def jupyter_config() -> dict[str, Any]:
    """Configuration of every server: a wheel switches the extension on, an editable install does not."""
    return {} if EXTENSION_CONFIG.exists() else {"ServerApp": {"jpserver_extensions": {"pywry_auth_nb": True}}}


@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory, jupyter_config: dict[str, Any]) -> Iterator[JupyterServer]:
    """A running JupyterLab."""
    with JupyterServer("lab", tmp_path_factory.mktemp("lab"), config=jupyter_config) as server:
        yield server


@pytest.fixture(scope="package")
def notebook7(tmp_path_factory: pytest.TempPathFactory, jupyter_config: dict[str, Any]) -> Iterator[JupyterServer]:
    """A running Notebook 7 at another base URL."""
    directory = tmp_path_factory.mktemp("notebook7")
    with JupyterServer("notebook", directory, base_url="/a/b/", config=jupyter_config) as server:
        yield server


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    """Playwright, once: a second one on this thread is refused."""
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="package")
def browsers(playwright: Playwright) -> Iterator[Callable[[Engine], Browser]]:
    """By their engines, running browsers that let all popups through; each is started when it is first asked for."""
    with ExitStack() as running:

        @functools.cache
        def of(engine: Engine) -> Browser:
            browser = launch(playwright, engine)
            running.callback(browser.close)
            return browser

        yield of


@pytest.fixture(scope="package")
def browser(browsers: Callable[[Engine], Browser]) -> Browser:
    """A running Chromium that lets all popups through."""
    return browsers("chromium")


# pytest-jupyter's own, for every test: they want this thread's event loop, which is Playwright's here.


@pytest.fixture(autouse=True)
def jp_asyncio_loop() -> None:
    """No event loop."""


@pytest.fixture(autouse=True)
def jp_server_cleanup() -> None:
    """No server in this process."""


# ---- for each test -------------------------------------------------------------------------------------------------


@pytest.fixture
def provider(provider_process: Provider) -> Provider:
    """The OpenID provider as it was started, with an empty journal.

    Its issuer is at ``localhost`` and Jupyter at ``127.0.0.1``: for the browser two sites, as in real life.
    """
    provider_process.reset()
    return provider_process


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Engine:
    """The engine of the person's browser: Chromium, unless the test names others."""
    chosen: Engine = getattr(request, "param", "chromium")
    return chosen


@pytest.fixture
def context(browsers: Callable[[Engine], Browser], engine: Engine) -> Iterator[BrowserContext]:
    """A person's browser without any cookie."""
    new = browsers(engine).new_context()
    yield new
    new.close()


@pytest.fixture
def strict_context(playwright: Playwright, engine: Engine) -> Iterator[BrowserContext]:
    """A person's browser with its popup blocker on, as people have it."""
    browser = launch(playwright, engine, block_popups=True)
    yield browser.new_context()
    browser.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """An empty page of that browser."""
    return context.new_page()


@pytest.fixture
def open_notebook(request: pytest.FixtureRequest, context: BrowserContext) -> Iterator[OpenNotebook]:
    """Open notebooks, and close them after the test; see OpenNotebook."""
    notebooks = request.node.stash.setdefault(NOTEBOOKS, [])
    default_context = context

    def open_one(server: JupyterServer, *cells: str, context: BrowserContext | None = None) -> NotebookPage:
        where = context or default_context
        log_in(where, server)
        notebook = NotebookPage(where, server, cells)
        notebooks.append(notebook)
        return notebook.open()

    yield open_one
    for notebook in notebooks:
        notebook.close()


# ---- what failed, and how it looked --------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Leave a screenshot of every page and a description of every notebook of a failed test; say where."""
    report = yield
    if report.failed and call.when != "teardown":
        folder = _dump_folder(item)
        _dump(item, folder)
        report.sections.append(("left behind", str(folder)))
    return report


def _dump_folder(item: pytest.Item) -> Path:
    base = os.environ.get("E2E_DUMP") or item.config._tmp_path_factory.getbasetemp() / "failures"  # type: ignore[attr-defined]
    folder = Path(base, item.name.replace("/", "_"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _dump(item: pytest.Item, folder: Path) -> None:
    notebooks: list[NotebookPage] = item.stash.get(NOTEBOOKS, [])
    for number, notebook in enumerate(notebooks):
        (folder / f"notebook{number}.txt").write_text(notebook.describe(), encoding="utf-8")
    asked = getattr(item, "funcargs", {})
    contexts = [asked[name] for name in ("context", "strict_context") if name in asked]
    browsers: set[Browser] = {*([asked["browser"]] if "browser" in asked else []), *(one.browser for one in contexts)}
    pages = [page for browser in browsers for context in browser.contexts for page in context.pages]
    for number, page in enumerate(pages):
        with suppress(Error):
            page.screenshot(path=folder / f"page{number}.png", timeout=5000)
