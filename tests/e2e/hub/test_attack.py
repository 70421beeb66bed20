"""A hostile user of the hub, who controls his own server, does not get another user's code, whatever he tries."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.e2e.sign_in import answer_of, sign_in

from .conftest import SETUP, STATUS
from .hub import HubKernel, log_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from tests.e2e.processes import Provider

    from .conftest import Person
    from .hub import Hub

pytestmark = pytest.mark.timeout(600)

#: Bob's own server configuration: our routes without their guard, and a journal of whatever reaches them.
EVIL = """
import json
from pathlib import Path

from pywry_auth_nb.server.guard import PywryAuthHandler
from pywry_auth_nb.server.handlers import LoginHandler


async def let_in(self):
    self.current_user = None
    with Path.home().joinpath("journal").open("a") as journal:
        entry = {"path": self.request.path, "query": self.request.query, "cookies": sorted(self.request.cookies)}
        journal.write(json.dumps(entry) + "\\n")


async def allow_any_user(self):
    pass


PywryAuthHandler.prepare = let_in
PywryAuthHandler.check_user = allow_any_user
LoginHandler._check_rate = lambda self: None
"""
BEGIN = """
from pywry_auth_nb._sign_in import channel
channel.open_path(session._sign_ins)
async def begin(redirect_uri):
    return str.__str__((await session._sign_ins.begin(redirect_uri)).url)
"""
REFUSED = "No sign-in is open in this browser"
STATES = ["bob", "../bob", "../../bob", "..", ".", "%2e%2e/bob", "/user/bob", "second"]


class Bob:
    """The attacker: a browser, a kernel, and a server that lets every browser in and writes everything down."""

    def __init__(self, person: Person, hub: Hub) -> None:
        self.hub = hub
        home = hub.home / "home" / "bob"
        self._journal = home / "journal"
        self._journal.unlink(missing_ok=True)
        config = home / ".jupyter" / "jupyter_server_config.py"
        if not config.exists():
            config.write_text(EVIL)
            hub.stop_server("bob")
        server = hub.server("bob")
        self.context = person.context
        self.kernel = HubKernel(server, SETUP, BEGIN)

    @property
    def link(self) -> str:
        """A link to his own server that begins a sign-in of his."""
        return self.kernel.link()

    def authorize_url(self, **changes: str) -> str:
        """The address at the provider of a sign-in of his, with whatever he likes to change."""
        url = httpx.URL(self.kernel.run(f"print(await begin({self.hub.redirect_uri!r}))").strip())
        return str(url.copy_merge_params(changes))

    @property
    def journal(self) -> list[dict[str, Any]]:
        """What reached his server."""
        return [json.loads(line) for line in self._journal.read_text().splitlines()] if self._journal.exists() else []

    def got_nothing(self, alice: Person, provider: Provider) -> None:
        """Check that neither his server nor his kernel has anything of hers."""
        codes = [answer["code"] for answer in alice.answers]
        assert not [entry for entry in self.journal if "code" in entry["query"] or any(c in str(entry) for c in codes)]
        assert not [answer for answer in alice.answers if answer["path"].startswith("/user/bob")]
        assert provider.requests_to("/token") == 0
        assert "signed_in" not in self.kernel.run(STATUS)


@pytest.fixture
def alice(hub: Hub, people: Any) -> Person:
    """The victim, with her server running."""
    hub.server("alice")
    person: Person = people(hub, "alice")
    return person


@pytest.fixture
def bob(hub: Hub, people: Any) -> Iterator[Bob]:
    """The attacker."""
    attacker = Bob(people(hub, "bob"), hub)
    yield attacker
    attacker.kernel.close()


def end_of(page: Page) -> str:
    """The heading of the page where the browser ended up, which is not one of Bob's."""
    page.wait_for_load_state()
    assert "/user/bob/" not in page.url
    return page.locator("h1").first.inner_text()


def test_the_attackers_server_is_what_we_think(bob: Bob, browser: Browser) -> None:
    """His server answers every request and notes it: else the tests below would show nothing."""
    page = browser.new_context().new_page()
    page.goto(f"{bob.hub.url}user/bob/pywry-auth/callback?code=a-code&state=a-state")

    assert [entry["query"] for entry in bob.journal] == ["code=a-code&state=a-state"]
    page.context.close()


def test_his_link(hub_provider: Provider, alice: Person, bob: Bob) -> None:
    """She follows his link and signs in: the code goes to her own server, which knows no such sign-in."""
    page = alice.context.new_page()
    page.goto(bob.link)
    assert [entry["path"] for entry in bob.journal] == ["/user/bob/pywry-auth/login"], "she was there"
    sign_in(page)

    assert end_of(page) == REFUSED
    assert alice.answers[-1]["path"] == "/user/alice/pywry-auth/callback"
    bob.got_nothing(alice, hub_provider)


def test_whatever_the_state_says(hub_provider: Provider, alice: Person, bob: Bob) -> None:
    """A state that names his server, in whatever way, leads to a server of hers or to none."""
    page = alice.context.new_page()
    page.goto(bob.authorize_url())
    sign_in(page)
    assert end_of(page) == REFUSED
    for name in STATES:
        state = f"{'a' * 43}.{urlsafe_b64encode(name.encode()).decode().rstrip('=')}"
        page.goto(bob.authorize_url(state=state))
        sign_in(page)
        page.wait_for_url(f"{bob.hub.url}**")

        assert alice.answers[-1]["state"] == state
        assert page.url.startswith(bob.hub.url)
        assert "/user/bob" not in page.url.partition("?")[0].replace("/user/alice/bob", "")
        bob.got_nothing(alice, hub_provider)


def test_another_redirect_uri(hub_provider: Provider, alice: Person, bob: Bob) -> None:
    """The provider knows the hub's one address: with any other it gives no code at all."""
    page = alice.context.new_page()
    page.goto(bob.authorize_url())
    sign_in(page)
    end_of(page)
    answers = len(alice.answers)
    for path in (
        "user/bob/pywry-auth/callback",
        "hub/user-redirect/../../user/bob/pywry-auth/callback",
        "hub/user-redirect/pywry-auth/callback/../../../../user/bob/pywry-auth/callback",
        "hub/user-redirect/pywry-auth/callback?next=/user/bob/",
        "hub/user-redirect/%2e%2e/%2e%2e/user/bob/pywry-auth/callback",
    ):
        response = page.goto(bob.authorize_url(redirect_uri=bob.hub.url + path))

        assert response is not None
        assert response.status == 400
    assert len(alice.answers) == answers
    bob.got_nothing(alice, hub_provider)


def test_she_must_sign_in_to_the_hub_first(hub_provider: Provider, alice: Person, bob: Bob) -> None:
    """He gets nothing either if the hub does not know her browser yet."""
    page = alice.context.new_page()
    alice.context.clear_cookies()
    page.goto(bob.authorize_url())
    sign_in(page)
    page.wait_for_url("**/hub/login?**")
    log_in(page, "alice")
    page.get_by_role("heading", name=REFUSED).wait_for()

    bob.got_nothing(alice, hub_provider)


def test_his_code_in_her_browser(hub_provider: Provider, alice: Person, bob: Bob, browser: Browser) -> None:
    """He cannot sign her in as himself, either: his answer is good in his browser alone (login CSRF)."""
    his = browser.new_context().new_page()
    his.goto(bob.authorize_url())
    address = answer_of(his, "mallory")
    page = alice.context.new_page()
    page.goto(address)

    assert end_of(page) == REFUSED
    assert hub_provider.requests_to("/token") == 0
    his.context.close()


def test_her_server_and_his_browser(hub_provider: Provider, alice: Person, bob: Bob) -> None:
    """His own browser is let into none of her routes."""
    url = f"{bob.hub.url}user/alice/pywry-auth/"
    for path in ("callback?code=c&state=s", "login?kernel=k&flow=f", "status?kernel=k&flow=f"):
        answer = bob.context.request.get(url + path, max_redirects=0)

        assert answer.status == 403
    assert not alice.answers
    assert hub_provider.requests_to("/token") == 0
