"""`HubTokenSource` on a real hub that signs its users in at the provider: no click, fresh tokens, and who may not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest

from tests.e2e.driver import NotebookPage
from tests.e2e.processes import Provider

from .auth_state import AuthStateHub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser

    from .hub import HubServer

pytestmark = pytest.mark.timeout(600)

LIFE = 8  # seconds that an access token lives
SETUP = """
from pywry_auth_nb import HubTokenSource, SessionManager
session = SessionManager(HubTokenSource())
"""
CALL = """
import httpx
import psutil
def call():
    return httpx.get(ISSUER + "/me", auth=session.auth).status_code
print(call(), session.status, session.display_name)
"""
LOOP = f"""
import time
seen, codes, end = set(), set(), time.monotonic() + {4 * LIFE}
while time.monotonic() < end:
    token = session.access_token
    codes.add(httpx.get(ISSUER + "/me", headers={{"Authorization": f"Bearer {{token}}"}}).status_code)
    seen.add(str(token))
    time.sleep(0.2)
print(codes, len(seen))
"""
OUT = """
result = await session.logout()
from pywry_auth_nb import LoginRequired
try:
    session.access_token
except LoginRequired as error:
    print(result.access_token, session.status, error.code)
session.login()
print(call(), session.status)
"""
TOKENS = "session._engine.state.tokens"
SHOWN = f"[session, session.provider, vars(session.provider), {TOKENS}, {TOKENS}.refresh_token]"
DENIED = """
from pywry_auth_nb import LoginRequired
try:
    session.access_token
except LoginRequired as error:
    print(error.code, error.message)
"""


@pytest.fixture(scope="module")
def short_lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """A provider whose access tokens live for some seconds, and whose refresh tokens are good once."""
    uris = ["http://127.0.0.1/hub/oauth_callback"]
    with Provider(tmp_path_factory.mktemp("provider"), redirect_uris=uris, access_ttl=LIFE) as provider:
        yield provider


@pytest.fixture(scope="module")
def granting(tmp_path_factory: pytest.TempPathFactory, short_lived: Provider) -> Iterator[AuthStateHub]:
    """A hub whose servers may read their user's auth state."""
    with AuthStateHub(tmp_path_factory.mktemp("granting"), short_lived, grant=True) as hub:
        yield hub


@pytest.fixture(scope="module")
def denying(tmp_path_factory: pytest.TempPathFactory, short_lived: Provider) -> Iterator[AuthStateHub]:
    """A hub as it comes: its servers may not."""
    with AuthStateHub(tmp_path_factory.mktemp("denying"), short_lived, grant=False) as hub:
        yield hub


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., NotebookPage]]:
    """Sign a user in and open one of their notebooks."""
    notebooks: list[tuple[NotebookPage, Any]] = []

    def open_one(hub: AuthStateHub, user: str, provider: Provider, *cells: str) -> NotebookPage:
        context = hub.let_in(browser, user)
        setup = f"ISSUER = {provider.issuer!r}{SETUP}"
        server: HubServer = hub.server(user)
        notebook = NotebookPage(context, server, [setup, *cells])  # type: ignore[arg-type]
        notebooks.append((notebook, context))
        notebook.open()
        notebook.run_and_wait(0)
        return notebook

    yield open_one
    for notebook, context in notebooks:
        notebook.close()
        context.close()


def test_no_click_and_always_fresh(
    granting: AuthStateHub, short_lived: Provider, opened: Callable[..., NotebookPage]
) -> None:
    """The token is there without a click, whose it is too; over three lives of a token, every read is good."""
    notebook = opened(granting, "alice", short_lived, CALL, LOOP, OUT, SHOWN)

    assert notebook.run_and_wait(1) == "200 signed_in alice\n"
    last = notebook.run_and_wait(2, timeout=60).strip().splitlines()[-1]  # a kernel may complain about its sockets
    codes, tokens = last.rsplit(" ", 1)
    assert codes == "{200}"
    assert int(tokens) >= 3
    out = notebook.run_and_wait(3)
    assert out.startswith("no_endpoint signed_out login_required\n")
    assert out.endswith("200 signed_in\n"), "after the widget"
    shown = notebook.run_and_wait(4)
    assert "***" in shown
    assert kernel_token(granting.server("alice")) not in shown
    assert short_lived.requests_to("/token", grant_type="refresh_token") >= 2
    assert short_lived.requests_to("/token", status=400) == 0


def test_shown_in_a_cell(granting: AuthStateHub, short_lived: Provider, opened: Callable[..., NotebookPage]) -> None:
    """The widget says who is signed in, with no click; after signing out, its link signs in without the provider."""
    notebook = opened(granting, "bob", short_lived, "session", "await session.logout();", "print(session.status)")
    notebook.run(1)
    widget = notebook.widget(1)
    widget.locator(".pywry-auth-name").get_by_text("bob").wait_for()
    notebook.run_and_wait(2)
    asked = short_lived.requests_to("/auth")
    link = widget.locator("a.pywry-auth-link")
    link.wait_for()
    with notebook.page.context.expect_page() as window:
        link.click()
    window.value.get_by_role("heading", name="Signed in as bob").wait_for()

    assert notebook.run_and_wait(3) == "signed_in\n"
    assert short_lived.requests_to("/auth") == asked


def test_the_missing_scope_is_named(
    denying: AuthStateHub, short_lived: Provider, opened: Callable[..., NotebookPage]
) -> None:
    """Where the server may not read it, the error and the widget name the scope, and nothing hangs."""
    notebook = opened(denying, "alice", short_lived, DENIED, "session")
    begun = time.monotonic()
    said = notebook.run_and_wait(1)

    assert said.startswith("hub_scope_missing ")
    assert "admin:auth_state!user" in said
    assert time.monotonic() - begun < 10
    notebook.run(2)
    notebook.widget(2).get_by_text("admin:auth_state!user").first.wait_for()


def test_whose_token(granting: AuthStateHub, browser: Browser, short_lived: Provider) -> None:
    """A server's token reads its own user's auth state only."""
    context = granting.let_in(browser, "bob")
    context.close()
    tokens = {user: kernel_token(granting.server(user)) for user in ("alice", "bob")}
    answer = httpx.get(
        f"{granting.url}hub/api/users/bob", headers={"Authorization": f"token {tokens['alice']}"}, trust_env=False
    )

    assert tokens["alice"] != tokens["bob"]
    assert answer.status_code in {403, 404}
    assert short_lived.alive


def kernel_token(server: HubServer) -> str:
    """Return the token that a server's kernels have for the hub."""
    for process in psutil.process_iter(["environ"]):
        environ = process.info["environ"] or {}
        if environ.get("JUPYTERHUB_USER") == server.user and environ.get("HOME") == str(server.root):
            return str(environ["JUPYTERHUB_API_TOKEN"])
    raise AssertionError(server.user)
