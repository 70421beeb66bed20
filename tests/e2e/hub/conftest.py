"""Hubs for the tests of a hub: one as the example has it, with our hook, and one without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import httpx
import pytest

from tests.e2e.processes import Provider

from .hub import Hub, HubKernel, visit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, Page, Request

ONE_URI = "http://127.0.0.1/hub/user-redirect/pywry-auth/callback"  # on any port (RFC 8252 §7.3), and on no other path
WITHOUT_HOOK = {"JupyterHub": {"user_redirect_hook": None}}
SETUP = """
from pywry_auth_nb import SessionManager
session = SessionManager.from_settings()
provider = session.provider
"""
CALL = "import httpx\nprint(httpx.get(provider.userinfo_url, auth=session.auth).json()['sub'])"
STATUS = "print(session.status, session.error and session.error.code)"


@pytest.fixture(scope="module")
def hub_provider_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """A provider at which one address is registered for the whole hub."""
    with Provider(tmp_path_factory.mktemp("hub-provider"), redirect_uris=[ONE_URI]) as process:
        yield process


@pytest.fixture
def hub_provider(hub_provider_process: Provider) -> Provider:
    """That provider, with an empty journal."""
    hub_provider_process.reset()
    return hub_provider_process


@pytest.fixture(scope="module")
def hooked(tmp_path_factory: pytest.TempPathFactory, hub_provider_process: Provider) -> Iterator[Hub]:
    """A running hub with our hook."""
    with Hub(tmp_path_factory.mktemp("hub"), provider=hub_provider_process) as hub:
        yield hub


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, hub_provider_process: Provider) -> Iterator[Hub]:
    """A running hub without our hook."""
    with Hub(tmp_path_factory.mktemp("plain-hub"), provider=hub_provider_process, config=WITHOUT_HOOK) as hub:
        yield hub


@pytest.fixture(params=["hooked", "plain"])
def hub(request: pytest.FixtureRequest) -> Hub:
    """Each kind of hub."""
    running: Hub = request.getfixturevalue(request.param)
    return running


class Person:
    """A user with a browser of their own, signed in at the hub."""

    all_answers: ClassVar[list[dict[str, str]]] = []

    def __init__(self, browser: Browser, hub: Hub, user: str) -> None:
        self.hub = hub
        self.user = user
        self.context: BrowserContext = browser.new_context(ignore_https_errors=hub.url.startswith("https:"))
        self.answers: list[dict[str, str]] = []  # what the provider sent back through this browser
        self.context.on("request", self._note)
        visit(self.context, hub, user)

    def begin(self, kernel: HubKernel) -> Page:
        """Follow the link of a kernel's widget, and return the page where the provider asks for a login, or consent."""
        page = self.context.new_page()
        page.goto(f"{kernel.server.url}pywry-auth/stopped")  # any page there: people come from one
        page.goto(kernel.link())
        page.locator("form input[name=prompt]").wait_for(state="attached")
        return page

    def _note(self, request: Request) -> None:
        url = httpx.URL(request.url)
        if url.path.endswith("/pywry-auth/callback") and "code" in url.params:
            self.answers.append({**url.params, "path": url.path, "hub": self.hub.url})
            self.all_answers.append(self.answers[-1])


@pytest.fixture
def people(browser: Browser) -> Iterator[Any]:
    """Let people in: ``people(hub, "alice")``."""
    known: list[Person] = []

    def let_in(hub: Hub, user: str) -> Person:
        known.append(Person(browser, hub, user))
        return known[-1]

    yield let_in
    for person in known:
        person.context.close()
