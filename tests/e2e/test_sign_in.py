"""The main job as a person meets it: real Chromium, real JupyterLab and Notebook 7, a certified provider."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

import httpx
import pytest

from tests.support.marks import IN_FIREFOX_TOO

from .driver import NotebookPage, log_in
from .sign_in import answer_of, popup_after, sign_in

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, Locator, Page

    from .conftest import OpenNotebook
    from .processes import JupyterServer, Provider

pytestmark = pytest.mark.timeout(600)

SETUP = """
from pywry_auth_nb import GenericOIDCProvider, LoginWidget, MemoryTokenStore, SessionManager
scopes = ["openid", "profile", "email", "offline_access"]
provider = GenericOIDCProvider("pywry", issuer_url={issuer!r}, scopes=scopes, prompt="consent")
session = SessionManager(provider, MemoryTokenStore())
"""
CALL = """
import httpx
print(httpx.get(provider.userinfo_url, headers={"Authorization": f"Bearer {session.access_token}"}).status_code)
"""
TOKENS = "[session.access_token, session._engine.state.tokens.refresh_token, session._engine.state.tokens.id_token]"
STATUS = "print(session.status, session.error and session.error.code)"


@pytest.fixture(params=["lab", "notebook7"])
def server(request: pytest.FixtureRequest) -> JupyterServer:
    """Each kind of server."""
    running: JupyterServer = request.getfixturevalue(request.param)
    return running


def setup(provider: Provider) -> str:
    """The cell that makes a session."""
    return SETUP.format(issuer=provider.issuer)


def shown(notebook: NotebookPage, cell: int) -> Locator:
    """The widget below a cell."""
    return notebook.widget(cell).locator(".pywry-auth-root")


def click_sign_in(notebook: NotebookPage, cell: int) -> Page:
    """Click the widget's link and return the window that opens."""
    link = shown(notebook, cell).locator("a.pywry-auth-link")
    link.wait_for()
    return popup_after(notebook.page, link.click)


def click_again(notebook: NotebookPage, cell: int) -> Page:
    """Click the link once more, at a person's pace: the widget takes two clicks within a second for one."""
    notebook.page.wait_for_timeout(1100)
    return click_sign_in(notebook, cell)


def says(notebook: NotebookPage, cell: int, text: str, timeout: float = 15) -> None:
    """Wait until the widget below a cell says something."""
    shown(notebook, cell).get_by_text(text).first.wait_for(timeout=timeout * 1000)


def behind_the_dots(notebook: NotebookPage, cell: int) -> Locator:
    """Open what is behind the widget's three dots, unless it is open; return the widget."""
    widget = shown(notebook, cell)
    dots = widget.get_by_role("button", name="Account and details")
    dots.wait_for()
    if dots.get_attribute("aria-expanded") == "false":
        dots.click()
    return widget


def sign_out(notebook: NotebookPage, cell: int) -> None:
    """Click "Sign out", behind the three dots."""
    behind_the_dots(notebook, cell).get_by_role("button", name="Sign out").click()


def opened(open_notebook: OpenNotebook, server: JupyterServer, provider: Provider, *cells: str) -> NotebookPage:
    """A notebook whose first cell has made a session."""
    notebook = open_notebook(server, setup(provider), *cells)
    notebook.run_and_wait(0)
    return notebook


# -- it works ---------------------------------------------------------------------------------------------------


@IN_FIREFOX_TOO
def test_click_sign_in_and_use_the_token(
    server: JupyterServer, provider: Provider, open_notebook: OpenNotebook
) -> None:
    """Click, sign in, the widget shows the name, the next cell gets 200 from the provider's userinfo; then sign out."""
    notebook = opened(open_notebook, server, provider, "session", CALL, STATUS)
    notebook.run(1)
    popup = click_sign_in(notebook, 1)
    sign_in(popup)

    says(notebook, 1, "ada")
    assert notebook.run_and_wait(2) == "200\n"
    sign_out(notebook, 1)
    shown(notebook, 1).locator("a.pywry-auth-link").wait_for()
    assert notebook.run_and_wait(3) == "signed_out None\n"
    notebook.wait_until(lambda: provider.requests_to("/token/revocation") == 2, 5, "both tokens are revoked")


@IN_FIREFOX_TOO
def test_keys_after_a_sign_in_do_not_sign_out(
    server: JupyterServer, provider: Provider, open_notebook: OpenNotebook
) -> None:
    """Enter on the link signs in; then the focus is on the status text, where Space and Enter change nothing."""
    notebook = opened(open_notebook, server, provider, "session", STATUS)
    notebook.run(1)
    link = shown(notebook, 1).locator("a.pywry-auth-link")
    link.focus()
    popup = popup_after(notebook.page, lambda: link.press("Enter"))
    sign_in(popup)
    says(notebook, 1, "ada")
    focused = shown(notebook, 1).locator(".pywry-auth-state:focus")
    focused.wait_for(timeout=5000)
    for key in ("Space", "Enter"):
        notebook.page.keyboard.press(key)

    assert focused.is_visible()
    assert notebook.run_and_wait(2) == "signed_in None\n"
    assert provider.requests_to("/token/revocation") == 0


@IN_FIREFOX_TOO
def test_the_callback_page_closes_itself(lab: JupyterServer, provider: Provider, open_notebook: OpenNotebook) -> None:
    """After a success the window says so, loses its query, and closes."""
    notebook = opened(open_notebook, lab, provider, "session")
    notebook.run(1)
    popup = click_sign_in(notebook, 1)
    sign_in(popup)
    popup.get_by_role("heading", name="Signed in as ada").wait_for()

    assert popup.evaluate("location.search") == ""
    with popup.expect_event("close", timeout=10_000):
        pass


@IN_FIREFOX_TOO
def test_login_waits_in_a_blocking_cell(server: JupyterServer, provider: Provider, open_notebook: OpenNotebook) -> None:
    """``session.login()`` shows the widget, waits in its cell, and the cell goes on with the token."""
    notebook = opened(
        open_notebook, server, provider, "result = session.login(timeout=60)\nprint(result, session.status)", CALL
    )
    notebook.run(1)
    popup = click_sign_in(notebook, 1)
    sign_in(popup)
    notebook.wait(1)

    assert "<AuthFlowResult signed in> signed_in" in notebook.text(1)
    assert notebook.run_and_wait(2) == "200\n"


def test_a_sleeping_cell_is_signed_in_by_another_widget(
    lab: JupyterServer, provider: Provider, open_notebook: OpenNotebook
) -> None:
    """A cell in ``time.sleep`` finds the token that a widget above it got meanwhile."""
    sleeping = (
        "import time\nwhile session.status != 'signed_in':\n    time.sleep(0.1)\nprint(len(session.access_token) > 20)"
    )
    notebook = opened(open_notebook, lab, provider, "LoginWidget(session)", sleeping)
    notebook.run_and_wait(1)
    notebook.run(2)
    sign_in(click_sign_in(notebook, 1))
    notebook.wait(2)

    assert notebook.text(2) == "True\n"


def test_a_severed_opener_and_a_slow_person(
    lab: JupyterServer, provider: Provider, open_notebook: OpenNotebook
) -> None:
    """The provider isolates its window (COOP) and the person takes 10 s: it works."""
    provider.control(coop="same-origin")
    notebook = opened(open_notebook, lab, provider, "session", CALL)
    notebook.run(1)
    popup = click_sign_in(notebook, 1)
    sign_in(popup, seconds=10)

    says(notebook, 1, "ada")
    assert notebook.run_and_wait(2) == "200\n"


@IN_FIREFOX_TOO
def test_the_link_works_where_popups_are_blocked(
    lab: JupyterServer, provider: Provider, open_notebook: OpenNotebook, strict_context: BrowserContext
) -> None:
    """With the popup blocker on and no window from the click, the widget's link opens the sign-in in a tab."""
    notebook = open_notebook(lab, setup(provider), "session", context=strict_context)
    notebook.run_and_wait(0)
    notebook.page.evaluate("window.open = () => null")  # what a blocker leaves of it
    notebook.run(1)
    link = shown(notebook, 1).locator("a.pywry-auth-link")
    link.click()
    says(notebook, 1, "should have opened")
    notebook.page.wait_for_timeout(1100)  # the widget takes two clicks at once for one
    popup = popup_after(notebook.page, lambda: link.click(modifiers=["Control"]))
    sign_in(popup)

    says(notebook, 1, "ada")


@IN_FIREFOX_TOO
def test_the_plain_link_of_a_front_end_without_widgets(
    server: JupyterServer, provider: Provider, open_notebook: OpenNotebook
) -> None:
    """The HTML beside the widget is a link to the right place."""
    code = (
        "from IPython.display import HTML, display\n"
        "display(HTML(session._repr_mimebundle_()[0]['text/html']))\nsession.login(timeout=60)"
    )
    notebook = opened(open_notebook, server, provider, code)
    notebook.run(1)
    link = notebook.widget(1).locator("p > a").first
    link.wait_for()
    sign_in(popup_after(notebook.page, link.click))
    notebook.wait(1)

    assert "signed in" in notebook.text(1)


@IN_FIREFOX_TOO
def test_a_page_that_is_reloaded_while_a_cell_waits(
    server: JupyterServer, provider: Provider, open_notebook: OpenNotebook
) -> None:
    """The busy kernel draws no widget for the new page: a plain link below the cell signs in."""
    notebook = opened(open_notebook, server, provider, "session.login(timeout=90)", CALL)
    notebook.run(1)
    shown(notebook, 1).locator("a.pywry-auth-link").wait_for()
    notebook.save()
    notebook.reload()
    link = notebook.widget(1).get_by_role("link", name="Open the provider's page")
    link.wait_for()
    sign_in(popup_after(notebook.page, link.click))
    notebook.wait_until_idle()

    assert notebook.run_and_wait(2) == "200\n"


# -- it is safe -------------------------------------------------------------------------------------------------


def test_another_browser_cannot_finish_a_sign_in(
    lab: JupyterServer, provider: Provider, open_notebook: OpenNotebook, browser: Browser
) -> None:
    """A second browser, signed in to Jupyter, is refused without the flow cookie, and the provider hears nothing."""
    notebook = opened(open_notebook, lab, provider, "session", STATUS)
    notebook.run(1)
    popup = click_sign_in(notebook, 1)
    popup.add_init_script("window.close = () => {}")  # a busy machine may notice too late that it was there
    address = answer_of(popup)
    second = browser.new_context()
    log_in(second, lab)
    stolen = second.new_page()
    answer = stolen.goto(address)

    assert answer is not None
    assert answer.status == 403
    assert "No sign-in is open in this browser" in stolen.inner_text("h1")
    assert provider.requests_to("/token") == 0
    popup.goto(address)
    says(notebook, 1, "ada")
    second.close()


@IN_FIREFOX_TOO
def test_replay_reload_and_back(lab: JupyterServer, provider: Provider, open_notebook: OpenNotebook) -> None:
    """The first callback wins; the same address again, a reload and going back show a neutral page."""
    notebook = opened(open_notebook, lab, provider, "session")
    notebook.run(1)
    popup = click_sign_in(notebook, 1)
    popup.add_init_script("window.close = () => {}")
    with popup.expect_response(lambda response: "pywry-auth/callback?" in response.url) as caught:
        sign_in(popup)
    address = caught.value.url
    popup.get_by_role("heading", name="Signed in as ada").wait_for()
    popup.reload()
    reloaded = popup.inner_text("h1")
    popup.goto(address)
    replayed = popup.inner_text("h1")
    popup.go_back()
    back = popup.inner_text("h1")

    assert replayed == "This sign-in is finished"
    assert reloaded == back == "This tab has done its work"
    assert provider.requests_to("/token") == 1
    says(notebook, 1, "ada")


def test_no_page_and_no_log_holds_a_secret(lab: JupyterServer, provider: Provider, open_notebook: OpenNotebook) -> None:
    """After a sign-in, an error and a sign-out, no code, state or token is in a page, a console or the server's log."""
    secrets = f"import json\nprint(json.dumps({TOKENS}))"
    notebook = opened(open_notebook, lab, provider, "session", secrets)
    notebook.run(1)
    bodies: list[str] = []
    notebook.page.context.on(
        "response",
        lambda response: bodies.append(response.text()) if "/pywry-auth/callback" in response.url else None,
    )
    popup = click_sign_in(notebook, 1)
    with popup.expect_request(lambda request: "pywry-auth/callback?" in request.url) as caught:
        sign_in(popup)
    says(notebook, 1, "ada")
    query = httpx.URL(caught.value.url).params
    words = [query["code"], query["state"]]
    log = lab.log_text()
    tokens = httpx.Response(200, text=notebook.run_and_wait(2)).json()

    for word in [*words, *tokens]:
        assert len(word) > 20
        assert word not in log
        assert not any(word in body for body in bodies)
        assert not any(word in line for line in notebook.console)
        assert word not in shown(notebook, 1).evaluate("element => element.outerHTML")
    assert "pywry-auth/callback" in log, "the log was at DEBUG, so the request is there"


# -- it ends well -----------------------------------------------------------------------------------------------


@IN_FIREFOX_TOO
def test_declined_then_signed_in(lab: JupyterServer, provider: Provider, open_notebook: OpenNotebook) -> None:
    """``access_denied``: the page and the widget say so, a waiting cell raises, and the next sign-in works."""
    notebook = opened(open_notebook, lab, provider, "session.login(timeout=60)", STATUS, CALL)
    notebook.run(1)
    popup = click_sign_in(notebook, 1)
    sign_in(popup, deny=True)
    popup.get_by_role("heading", name="Access was declined").wait_for()
    notebook.wait(1)

    assert "AuthFlowCancelled" in notebook.text(1)
    says(notebook, 1, "access_denied")
    assert notebook.run_and_wait(2) == "signed_out access_denied\n"
    popup.close()
    sign_in(click_again(notebook, 1))
    says(notebook, 1, "ada")
    assert notebook.run_and_wait(3) == "200\n"


def test_wrong_issuer_then_signed_in(lab: JupyterServer, provider: Provider, open_notebook: OpenNotebook) -> None:
    """An answer whose ``iss`` is another provider's is refused unspent; the next sign-in works."""
    provider.control(wrong_iss=True)
    notebook = opened(open_notebook, lab, provider, "session", STATUS)
    notebook.run(1)
    popup = click_sign_in(notebook, 1)
    sign_in(popup)
    popup.get_by_role("heading", name="The answer came from another provider").wait_for()

    assert notebook.run_and_wait(2) == "signed_out issuer_mismatch\n"
    assert provider.requests_to("/token") == 0
    provider.control(wrong_iss=False)
    popup.close()
    sign_in(click_again(notebook, 1))
    says(notebook, 1, "ada")


@IN_FIREFOX_TOO
def test_window_closed_and_tried_again(lab: JupyterServer, provider: Provider, open_notebook: OpenNotebook) -> None:
    """A closed window decides nothing: the widget still offers the link, and it works."""
    notebook = opened(open_notebook, lab, provider, "session", STATUS)
    notebook.run(1)
    popup = click_sign_in(notebook, 1)
    popup.locator("form input[name=prompt]").wait_for(state="attached")
    popup.close()
    says(notebook, 1, "Signing in")
    assert notebook.run_and_wait(2) == "authorizing None\n"
    sign_in(click_again(notebook, 1))

    says(notebook, 1, "ada")


@IN_FIREFOX_TOO
def test_cancel_works_while_the_cell_waits(
    server: JupyterServer, provider: Provider, open_notebook: OpenNotebook
) -> None:
    """Cancel in the widget ends ``session.login()`` with ``AuthFlowCancelled``, though the cell blocks the kernel."""
    notebook = opened(open_notebook, server, provider, "session.login(timeout=60)", STATUS)
    notebook.run(1)
    popup = click_sign_in(notebook, 1)
    popup.locator("form input[name=prompt]").wait_for(state="attached")
    shown(notebook, 1).get_by_role("button", name="Cancel").click()
    notebook.wait(1)

    assert "AuthFlowCancelled" in notebook.text(1)
    sign_in(popup)
    popup.get_by_role("heading", name="This sign-in is finished").wait_for()
    assert notebook.run_and_wait(2) == "signed_out flow_cancelled\n"
    assert provider.requests_to("/token") == 0


def test_kernel_restarted_mid_flow(lab: JupyterServer, provider: Provider, open_notebook: OpenNotebook) -> None:
    """The kernel restarts while the person is at the provider: a readable page, and the next sign-in works."""
    notebook = opened(open_notebook, lab, provider, "session")
    notebook.run(1)
    popup = click_sign_in(notebook, 1)
    popup.locator("form input[name=prompt]").wait_for(state="attached")
    notebook.restart_kernel()
    sign_in(popup)
    popup.get_by_role("heading", name="The notebook has no sign-in open").wait_for()
    popup.close()
    notebook.run_and_wait(0)
    notebook.run(1)
    sign_in(click_sign_in(notebook, 1))

    says(notebook, 1, "ada")
    assert provider.requests_to("/token") == 1


def test_an_old_widget_of_a_restarted_kernel(
    lab: JupyterServer, provider: Provider, open_notebook: OpenNotebook
) -> None:
    """A widget that is left over cannot sign out any more, and says what to do."""
    notebook = opened(open_notebook, lab, provider, "session")
    notebook.run(1)
    sign_in(click_sign_in(notebook, 1))
    says(notebook, 1, "ada")
    notebook.restart_kernel()
    sign_out(notebook, 1)

    shown(notebook, 1).locator(".pywry-auth-note").get_by_text("been restarted: run the cell again").wait_for()


def test_server_restarted_mid_flow(
    tmp_path_factory: pytest.TempPathFactory,
    provider: Provider,
    open_notebook: OpenNotebook,
    jupyter_config: dict[str, object],
) -> None:
    """The server restarts while the person is at the provider: a readable page, and a new notebook signs in."""
    from .processes import JupyterServer

    with JupyterServer("lab", tmp_path_factory.mktemp("restarted"), config=jupyter_config) as server:
        notebook = opened(open_notebook, server, provider, "session")
        notebook.run(1)
        popup = click_sign_in(notebook, 1)
        popup.locator("form input[name=prompt]").wait_for(state="attached")
        server.restart()
        log_in(notebook.page.context, server)
        sign_in(popup)
        popup.get_by_role("heading", name="The notebook's kernel has stopped").wait_for()
        notebook = opened(open_notebook, server, provider, "session")
        notebook.run(1)
        sign_in(click_sign_in(notebook, 1))
        says(notebook, 1, "ada")


def test_two_widgets_on_one_session(lab: JupyterServer, provider: Provider, open_notebook: OpenNotebook) -> None:
    """Two widgets show one state; a sign-in through either shows in both, and ends the other's open one."""
    notebook = opened(open_notebook, lab, provider, "LoginWidget(session)", "LoginWidget(session)")
    notebook.run(1)
    notebook.run(2)
    first = click_sign_in(notebook, 1)
    first.locator("form input[name=prompt]").wait_for(state="attached")
    says(notebook, 2, "Signing in")
    second = click_sign_in(notebook, 2)
    sign_in(second)
    says(notebook, 1, "ada")
    says(notebook, 2, "ada")
    sign_in(first)

    first.get_by_role("heading", name="This sign-in is finished").wait_for()
    assert provider.requests_to("/token") == 1


def test_two_sessions_in_one_kernel(lab: JupyterServer, provider: Provider, open_notebook: OpenNotebook) -> None:
    """Two sessions are two people: answers in the opposite order end up where they belong."""
    second_session = "other = SessionManager(provider, MemoryTokenStore())\nother"
    notebook = opened(
        open_notebook, lab, provider, "session", second_session, "print(session.display_name, other.display_name)"
    )
    notebook.run(1)
    notebook.run(2)
    first = click_sign_in(notebook, 1)
    first.locator("form input[name=prompt]").wait_for(state="attached")
    second = click_sign_in(notebook, 2)
    sign_in(second, "bob")
    says(notebook, 2, "bob")
    sign_in(first, "ada")
    says(notebook, 1, "ada")

    assert notebook.run_and_wait(3) == "ada bob\n"


def test_a_person_who_is_not_signed_in_to_jupyter(
    lab: JupyterServer, provider: Provider, open_notebook: OpenNotebook, browser: Browser
) -> None:
    """A browser without a Jupyter cookie sees a readable page, and is redirected nowhere."""
    stranger = browser.new_context()
    page = stranger.new_page()
    unknown_answer = f"callback?{urlencode({'code': 'C' * 30, 'state': 'S' * 30})}"
    said = {"login": "Sign in to Jupyter first", unknown_answer: "No sign-in is open in this browser"}
    for path, heading in said.items():
        answer = page.goto(f"{lab.url}pywry-auth/{path}")
        assert answer is not None
        assert answer.status == 403
        assert answer.request.redirected_from is None
        assert page.inner_text("h1") == heading
    stranger.close()


# -- it keeps working -------------------------------------------------------------------------------------------


@pytest.mark.timeout(600)
def test_a_long_cell_sees_only_valid_tokens(
    lab: JupyterServer, provider: Provider, open_notebook: OpenNotebook
) -> None:
    """Tokens live 5 s; a cell that blocks for 60 s and reads all the time gets 200 each time, with few refreshes."""
    provider.control(access_ttl=5)
    loop = """
import httpx, time
statuses, seen, end = [], set(), time.time() + 60
with httpx.Client() as client:
    while time.time() < end:
        token = session.access_token
        seen.add(str(token))
        statuses.append(client.get(provider.userinfo_url, headers={"Authorization": f"Bearer {token}"}).status_code)
        time.sleep(0.05)
print(sorted(set(statuses)), len(seen), len(statuses))
"""
    notebook = opened(open_notebook, lab, provider, "session", loop)
    notebook.run(1)
    sign_in(click_sign_in(notebook, 1))
    says(notebook, 1, "ada")
    before = provider.requests_to("/token", grant_type="refresh_token")
    notebook.run(2)
    notebook.wait(2, timeout=90)
    refreshes = provider.requests_to("/token", grant_type="refresh_token") - before
    statuses, tokens, reads = notebook.text(2).rsplit(maxsplit=2)

    assert statuses == "[200]"
    assert int(reads) > 300
    # A token of 5 s has 4 usable ones: expires_in counts whole seconds, so up to one may be gone when it arrives.
    assert refreshes <= int(tokens)
    assert refreshes <= 60 / (5 - 1 - 0.25) + 1


PROMPTS = ["none", "login", "consent"]  # what this provider can ask: it knows no select_account


def other_account(notebook: NotebookPage, cell: int) -> Page:
    """Click "Use another account" and return the window that opens."""
    link = behind_the_dots(notebook, cell).get_by_role("link", name="Use another account")
    link.wait_for()
    return popup_after(notebook.page, link.click)


@IN_FIREFOX_TOO
def test_another_account(server: JupyterServer, provider: Provider, open_notebook: OpenNotebook) -> None:
    """R55: Ada changes her mind, then lets Bob in: the provider asks who is there, though it knows her."""
    provider.control(prompts=PROMPTS)
    who = "print(session.userinfo()['sub'], session.status)"
    notebook = opened(open_notebook, server, provider, "session", who)
    notebook.run(1)
    sign_in(click_sign_in(notebook, 1))
    says(notebook, 1, "ada")
    notebook.page.wait_for_timeout(1100)  # two clicks within a second count as one
    sign_in(other_account(notebook, 1), deny=True)
    says(notebook, 1, "access_denied")
    assert notebook.run_and_wait(2) == "ada signed_in\n"
    assert provider.requests_to("/token/revocation") == 0
    notebook.page.wait_for_timeout(1100)  # two clicks within a second count as one
    sign_in(other_account(notebook, 1), "bob")

    says(notebook, 1, "bob")
    shown(notebook, 1).locator(".pywry-auth-state:focus").wait_for(timeout=5000)  # once the window has closed itself
    assert notebook.run_and_wait(2) == "bob signed_in\n"
    notebook.wait_until(lambda: provider.requests_to("/token/revocation") == 2, 5, "Ada's tokens are revoked")
    assert provider.requests_to("/token") == 2


def test_a_set_up_cell_that_is_run_ten_times(
    lab: JupyterServer, provider: Provider, open_notebook: OpenNotebook
) -> None:
    """R54: no run asks for a click; an open sign-in arrives, and the widget of the first run works on."""
    cell = setup(provider).replace(", MemoryTokenStore())", ")")
    notebook = open_notebook(lab, cell, "LoginWidget(session)", 'print(session.userinfo()["sub"])', STATUS)
    notebook.run_and_wait(0)
    notebook.run(1)
    popup = click_sign_in(notebook, 1)
    popup.locator("form input[name=prompt]").wait_for(state="attached")
    notebook.run_and_wait(0)
    sign_in(popup)
    says(notebook, 1, "ada")
    for _ in range(10):
        notebook.run_and_wait(0)
        assert notebook.run_and_wait(2) == "ada\n"

    sign_out(notebook, 1)
    shown(notebook, 1).locator("a.pywry-auth-link").wait_for()
    notebook.wait_until(lambda: notebook.run_and_wait(3) == "signed_out None\n", 5, "the latest session is signed out")
    assert provider.requests_to("/token") == 1


def test_two_people_on_one_store(
    lab: JupyterServer, provider: Provider, open_notebook: OpenNotebook, tmp_path: Path
) -> None:
    """R53: Bob takes over in the second notebook; the first one says so, and signs in again."""
    provider.control(prompts=PROMPTS)
    cell = setup(provider).replace("MemoryTokenStore()", f"FileTokenStore({str(tmp_path / 'tokens')!r})")
    cell = cell.replace("MemoryTokenStore", "FileTokenStore")
    first, second = open_notebook(lab, cell, "session", STATUS), open_notebook(lab, cell, "session", STATUS)
    for notebook in (first, second):
        notebook.run_and_wait(0)
        notebook.run(1)
    sign_in(click_sign_in(first, 1))
    says(second, 1, "ada", 5)
    sign_in(other_account(second, 1), "bob")

    says(first, 1, "identity_changed", 5)
    says(first, 1, "session_key")
    assert first.run_and_wait(2) == "reauth_required identity_changed\n"
    says(second, 1, "bob")
    popup = click_sign_in(first, 1)
    sign_in(popup)  # the browser knows Bob by now
    says(first, 1, "bob")
    assert second.run_and_wait(2) == "signed_in None\n"


def test_a_second_notebook_is_signed_in_without_a_click(
    lab: JupyterServer, provider: Provider, open_notebook: OpenNotebook, tmp_path: Path
) -> None:
    """Two notebooks over one store: the other widget follows sign-in and sign-out; a restarted kernel has a token."""
    cell = setup(provider).replace("MemoryTokenStore()", f"FileTokenStore({str(tmp_path / 'tokens')!r})")
    cell = cell.replace("MemoryTokenStore", "FileTokenStore")
    who = 'print(session.userinfo()["sub"])'
    first, second = open_notebook(lab, cell, "session", who), open_notebook(lab, cell, "session", who)
    for notebook in (first, second):
        notebook.run_and_wait(0)
        notebook.run(1)
    sign_in(click_sign_in(first, 1))

    says(second, 1, "ada", 5)
    assert second.run_and_wait(2) == "ada\n"
    second.restart_kernel()
    second.run_and_wait(0)
    assert second.run_and_wait(2) == "ada\n", "the first cell after a restart"
    sign_out(first, 1)
    second.run(1)
    shown(second, 1).locator("a.pywry-auth-link").wait_for(timeout=5000)
    assert provider.requests_to("/token", grant_type="authorization_code") == 1
