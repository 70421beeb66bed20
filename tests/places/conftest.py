"""One provider and one Chromium for all places; see tests/e2e/conftest.py for what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

from tests.e2e.conftest import pytest_runtest_makereport  # noqa: F401 - pytest finds it here: pages of failed tests
from tests.e2e.driver import launch
from tests.e2e.processes import Provider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, Page, Playwright

CALLBACK = "pywry-auth/callback"
#: Of a Jupyter server with our extension, and of our own listener; any port (RFC 8252 §7.3).
REDIRECT_URIS = [f"http://127.0.0.1/{path}" for path in (CALLBACK, "callback")]


@pytest.fixture(scope="package")
def provider_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """The running OpenID provider; tests ask for ``provider``."""
    with Provider(tmp_path_factory.mktemp("provider"), redirect_uris=REDIRECT_URIS) as process:
        yield process


@pytest.fixture
def provider(provider_process: Provider) -> Provider:
    """The OpenID provider as it was started, with an empty journal."""
    provider_process.reset()
    return provider_process


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    """Playwright, once: a second one on this thread is refused."""
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="package")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """A running Chromium that lets all popups through."""
    running = launch(playwright)
    yield running
    running.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A person's browser without any cookie."""
    new = browser.new_context()
    yield new
    new.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """An empty page of that browser."""
    return context.new_page()


# pytest-jupyter's own, for every test: they want this thread's event loop, which is Playwright's here.


@pytest.fixture(autouse=True)
def jp_asyncio_loop() -> None:
    """No event loop."""


@pytest.fixture(autouse=True)
def jp_server_cleanup() -> None:
    """No server in this process."""
