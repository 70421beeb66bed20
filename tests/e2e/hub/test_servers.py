"""One registered redirect URI serves every user and every server of a real JupyterHub, in real browsers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import httpx
import psutil
import pytest

from tests.e2e.driver import NotebookPage
from tests.e2e.sign_in import popup_after, sign_in

from .conftest import CALL, SETUP, Person
from .hub import HubKernel, log_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import BrowserContext, Page

    from tests.e2e.processes import Provider

    from .hub import Hub, HubServer

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def kernels() -> Iterator[Callable[[HubServer], HubKernel]]:
    """Start kernels with a session in them."""
    started: list[HubKernel] = []

    def start(server: HubServer) -> HubKernel:
        started.append(HubKernel(server, SETUP))
        return started[-1]

    yield start
    for kernel in started:
        kernel.close()


@pytest.fixture
def notebooks(request: pytest.FixtureRequest) -> Iterator[Callable[..., NotebookPage]]:
    """Open notebooks with a widget in the second cell."""
    from tests.e2e.conftest import NOTEBOOKS

    opened = request.node.stash.setdefault(NOTEBOOKS, [])

    def open_one(context: BrowserContext, server: HubServer) -> NotebookPage:
        notebook = NotebookPage(context, server, [SETUP, "session", CALL])  # type: ignore[arg-type]
        opened.append(notebook)
        notebook.open()
        notebook.run_and_wait(0)
        notebook.run(1)
        return notebook

    yield open_one
    for notebook in opened:
        notebook.close()


def click(notebook: NotebookPage) -> Page:
    """Click the widget's link and return the window that opens, which stays open at the end."""
    link = notebook.widget(1).locator("a.pywry-auth-link")
    link.wait_for()
    popup = popup_after(notebook.page, link.click)
    popup.add_init_script("window.close = () => {}")
    return popup


def ended(popup: Page, heading: str, timeout: float = 60) -> None:
    """Wait until a window says how it went, and has nothing of the answer in its address."""
    popup.get_by_role("heading", name=heading).wait_for(timeout=timeout * 1000)
    assert popup.evaluate("location.search") == ""


def test_two_users_at_the_same_time(
    hub: Hub, hub_provider: Provider, people: Any, notebooks: Callable[..., NotebookPage]
) -> None:
    """Alice and Bob sign in through the one address, one within the other; each gets their own token."""
    alice, bob = people(hub, "alice"), people(hub, "bob")
    hers, his = (notebooks(person.context, hub.server(person.user)) for person in (alice, bob))
    her_window, his_window = click(hers), click(his)
    sign_in(his_window, "grace")
    sign_in(her_window, "ada")
    ended(his_window, "Signed in as grace")
    ended(her_window, "Signed in as ada")

    assert (hers.run_and_wait(2), his.run_and_wait(2)) == ("ada\n", "grace\n")
    assert hub_provider.requests_to("/token", status=200) == 2
    for person in (alice, bob):
        assert urlsplit(hub.redirect_uri).path in {path for path, _ in paths_of(person)}


def paths_of(person: Person) -> list[tuple[str, str]]:
    """Where the answers came to, in order, and with which state."""
    return [(answer["path"], answer["state"]) for answer in person.answers]


def test_a_named_server_with_the_default_server_stopped(
    hub: Hub, hub_provider: Provider, people: Any, notebooks: Callable[..., NotebookPage]
) -> None:
    """The answer reaches the named server: with our hook directly, without it through the default server, which starts.

    The browser has never been at the default server.
    """
    alice = people(hub, "alice")
    hub.stop_server("alice")
    notebook = notebooks(alice.context, hub.server("alice", "second"))
    popup = click(notebook)
    sign_in(popup)
    ended(popup, "Signed in as ada")

    assert notebook.run_and_wait(2) == "ada\n"
    hooked = hub.config == {}
    assert ("" in hub.servers("alice")) is not hooked
    assert ("/user/alice/pywry-auth/callback" in {path for path, _ in paths_of(alice)}) is not hooked
    assert hub_provider.requests_to("/token") == 1
    hub.stop_server("alice", "second")


@pytest.mark.parametrize("how", ["expired", "signed out"])
def test_the_hub_cookie_is_gone(hub: Hub, hub_provider: Provider, people: Any, kernels: Any, how: str) -> None:
    """A browser that must sign in to the hub first, on the way back, goes on without a second click."""
    alice = people(hub, "alice")
    kernel = kernels(hub.server("alice"))
    page = alice.begin(kernel)
    if how == "expired":
        alice.context.clear_cookies(path=re.compile("/hub/?"))
    else:
        alice.context.request.get(f"{hub.url}hub/logout")
    sign_in(page)
    page.wait_for_url("**/hub/login?**")
    log_in(page, "alice")
    ended(page, "Signed in as ada")

    assert kernel.run(CALL) == "ada\n"
    assert hub_provider.requests_to("/auth") == 1, "no second click"


def test_another_user_signs_in_to_the_hub(hub: Hub, hub_provider: Provider, people: Any, kernels: Any) -> None:
    """If it is Bob who then signs in to the hub in this browser, he gets nothing of Alice's sign-in."""
    alice = people(hub, "alice")
    hub.server("bob")
    page = alice.begin(kernels(hub.server("alice")))
    alice.context.clear_cookies(name=re.compile("^jupyterhub-"))
    sign_in(page)
    page.wait_for_url("**/hub/login?**")
    log_in(page, "bob")
    ended(page, "No sign-in is open in this browser")

    assert "/user/bob/" in page.url
    assert hub_provider.requests_to("/token") == 0


@pytest.mark.parametrize("name", ["", "second"], ids=["default", "named"])
def test_the_server_is_culled_meanwhile(hub: Hub, hub_provider: Provider, people: Any, kernels: Any, name: str) -> None:
    """A browser that comes back to a stopped server is told so when it runs again; no kernel gets a token."""
    alice = people(hub, "alice")
    page = alice.begin(kernels(hub.server("alice", name)))
    hub.stop_server("alice", name)
    sign_in(page)
    ended(page, "The notebook's kernel has stopped")

    assert f"/user/alice/{name}" in page.url
    assert hub_provider.requests_to("/token") == 0


# -- logs -------------------------------------------------------------------------------------------------------------


def test_with_the_hook_no_log_holds_a_code(hooked: Hub, hub_provider: Provider, people: Any, kernels: Any) -> None:
    """No code and no state is in what hub and servers wrote at DEBUG, and their proxy: not of a sign-in like any other.

    Nor of one on a named server, nor where the user must sign in to the hub first, and mistypes, nor of what the tests
    above did.
    """
    alice = people(hooked, "alice")
    for name in ("", "second"):
        page = alice.begin(kernels(hooked.server("alice", name)))
        sign_in(page)
        ended(page, "Signed in as ada")
    alice.context.clear_cookies()
    page = alice.context.new_page()
    page.goto(f"{hooked.redirect_uri}?{urlencode(mistyped := {'state': 's' * 43, 'code': 'c' * 43})}")
    page.locator("input[name=_xsrf]").first.evaluate("field => { field.value = 'of yesterday'; }")
    log_in(page, "alice")
    page.get_by_text(re.compile("expired|does not match")).first.wait_for()  # hubs differ in what they say
    log = hooked.log_text()
    answers = [answer for answer in Person.all_answers if answer["hub"] == hooked.url]

    assert len(answers) >= 3
    assert "/hub/login?next=" in log, "a user had to sign in to the hub first, with the answer in next="
    assert re.search(r"Login form|403 POST /hub/login\?next=", log), "a user mistyped"
    for word in [*mistyped.values(), *(answer[name] for answer in answers for name in ("code", "state"))]:
        assert len(word) > 20
        assert word not in log


def test_no_log_holds_the_code_of_a_sign_in_that_fails(hub: Hub, hub_provider: Provider, people: Any) -> None:
    """A server that answers with an error writes down where the browser came from: the hub's login, answer and all."""
    alice = people(hub, "alice")
    kernel = HubKernel(hub.server("alice"), SETUP)
    page = alice.begin(kernel)
    process = psutil.Process(int(kernel.run("import os; print(os.getpid())")))
    alice.context.clear_cookies(path=re.compile("/hub/?"))
    sign_in(page)
    page.wait_for_url("**/hub/login?**")
    process.suspend()
    before = len(hub.log_text())
    log_in(page, "alice")
    ended(page, "The notebook does not answer")
    process.resume()
    kernel.close()

    lines = [line for line in hub.log_text()[before:].splitlines() if "Referer" in line]
    assert any("[secret]" in line for line in lines), "else this test shows nothing"
    for word in (alice.answers[-1]["code"], alice.answers[-1]["state"]):
        assert not [line for line in lines if word in line]


def test_without_the_hook_what_the_log_holds_is_worthless(
    plain: Hub, hub_provider: Provider, people: Any, kernels: Any
) -> None:
    """JupyterHub writes the code into its log, where it is useless to a reader, even unspent."""
    alice = people(plain, "alice")
    page = alice.begin(kernels(plain.server("alice")))
    hub_provider.control(offline=["/token"])
    sign_in(page)
    ended(page, "The provider cannot be reached")
    code = alice.answers[0]["code"]
    hub_provider.control(offline=False)

    assert code in logged(plain.log_text()), "else this test shows nothing"
    for verifier in (None, "a" * 43):
        assert redeem(hub_provider, plain, code, verifier) == "invalid_grant"
    second = people(plain, "alice")
    page = second.context.new_page()
    page.goto(f"{plain.url}user/alice/pywry-auth/callback?code={code}&state={alice.answers[0]['state']}")
    ended(page, "No sign-in is open in this browser")


def logged(log: str) -> set[str]:
    """The codes inside ``next=`` in a hub's log."""
    queries = re.findall(r"next=\S*callback%3F([^\s&]+)", log)
    return {code for query in queries for code in parse_qs(unquote(query)).get("code", [])}


def redeem(provider: Provider, hub: Hub, code: str, verifier: str | None) -> str:
    """Try to get tokens for a code, as the public client that it was given to; return the provider's error."""
    form = {
        "grant_type": "authorization_code",
        "client_id": "pywry",
        "redirect_uri": hub.redirect_uri,
        "code": code,
        **({"code_verifier": verifier} if verifier else {}),
    }
    return str(httpx.post(f"{provider.issuer}/token", data=form, trust_env=False).json()["error"])
