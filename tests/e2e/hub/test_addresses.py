"""The redirect URI is right by itself: with a subdomain for each user, below a path, and behind a proxy that ends TLS.

Each provider has the hub's one address registered, port and all, and nothing else.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.e2e.processes import Provider
from tests.e2e.sign_in import sign_in
from tests.support.ports import free_port

from .conftest import CALL, SETUP
from .doctor import in_terminal
from .hub import CALLBACK, Hub, HubKernel
from .tls import TlsProxy

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from .conftest import Person

pytestmark = pytest.mark.timeout(600)


@contextmanager
def hub_at(folder: Path, url: str, **options: Any) -> Generator[Hub, None, None]:
    """Run a hub that browsers find at ``url``, and the provider that knows it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (
        Provider(folder, redirect_uris=[url + CALLBACK]) as provider,
        Hub(folder / "hub", provider=provider, url=url, **options) as hub,
    ):
        yield hub


@pytest.fixture(scope="module")
def subdomains(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub at ``localhost`` whose users' servers are at ``alice.localhost`` and so on."""
    port = free_port()
    config = {"JupyterHub": {"subdomain_host": f"http://localhost:{port}"}}
    folder = tmp_path_factory.mktemp("subdomains")
    with hub_at(folder, f"http://localhost:{port}/", port=port, config=config) as hub:
        yield hub


@pytest.fixture(scope="module", params=["proxy-below-a-path", "public_url"])
def behind_tls(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub behind a proxy that ends TLS: either that says so, and the hub is below a path; or the hub was told."""
    folder, tells = tmp_path_factory.mktemp("tls"), request.param != "public_url"
    with TlsProxy(folder / "proxy", tells_scheme=tells, base_url="/lab/" if tells else "/") as proxy:
        config = {} if tells else {"JupyterHub": {"public_url": proxy.url}}
        env = {"HUB_CLIENT_ID": "pywry-web"}
        with hub_at(folder, proxy.url, port=proxy.target, env=env, config=config) as hub:
            yield hub


def whole_sign_in(person: Person, hub: Hub, name: str = "") -> list[httpx.URL]:
    """Sign in from a server's kernel, and see that the token is good; return where the browser went."""
    went: list[httpx.URL] = []
    person.context.on("request", lambda request: went.append(httpx.URL(request.url)))
    kernel = HubKernel(hub.server(person.user, name), SETUP)
    try:
        page = person.begin(kernel)
        page.add_init_script("window.close = () => {}")
        sign_in(page)
        page.get_by_role("heading", name="Signed in as ada").wait_for()
        assert kernel.run(CALL) == "ada\n"
    finally:
        kernel.close()
    return went


def redirect_uris(went: list[httpx.URL]) -> set[str]:
    """The redirect URIs that the provider was told."""
    return {url.params["redirect_uri"] for url in went if url.path == "/auth"}


def answers(went: list[httpx.URL]) -> list[str]:
    """Where the provider's answer was brought, in order, without it."""
    return [
        str(url.copy_with(query=None))
        for url in went
        if url.path.endswith("/pywry-auth/callback") and "code" in url.params
    ]


@pytest.mark.parametrize("name", ["", "second"], ids=["default", "named"])
def test_a_subdomain_for_each_user(subdomains: Hub, people: Any, name: str) -> None:
    """The one address is at the hub's own host, which leads to the server at its user's."""
    hub, alice = subdomains, people(subdomains, "alice")
    host = f"http://alice.localhost:{hub.port}"
    went = whole_sign_in(alice, hub, name)

    prefix = f"{host}/user/alice/{name}".rstrip("/") + "/"
    assert redirect_uris(went) == {f"http://localhost:{hub.port}/{CALLBACK}"}
    assert answers(went) == [hub.redirect_uri, f"{prefix}pywry-auth/callback"]
    assert any(str(url).startswith(f"{prefix}pywry-auth/login?") for url in went)


@pytest.mark.parametrize("given", ["", "the hub's address"])
def test_the_doctor_where_each_user_has_a_subdomain(subdomains: Hub, given: str) -> None:
    """It names the one address, too, and finds the user's on this machine, whatever resolvers know (RFC 6761 §6.3)."""
    report = in_terminal(subdomains, *([subdomains.url] if given else []), name="second")

    assert (report.status, report.redirect_uri) == (0, subdomains.redirect_uri)
    assert report.having("warning") == set()


def test_the_hub_is_not_the_default_route(tmp_path: Path, people: Any) -> None:
    """Where another service has the root of the proxy, a browser back at a stopped server still finds the hub."""
    port = free_port()
    config = {"JupyterHub": {"hub_routespec": "/hub/"}}
    with hub_at(tmp_path, f"http://127.0.0.1:{port}/", port=port, config=config) as hub:
        alice = people(hub, "alice")
        page = alice.begin(HubKernel(hub.server("alice"), SETUP))
        hub.stop_server("alice")
        sign_in(page)
        page.get_by_role("heading", name="The notebook's kernel has stopped").wait_for()


def test_behind_a_proxy_that_ends_tls(behind_tls: Hub, people: Any) -> None:
    """The address is https where the proxy says so in X-Forwarded-Proto, or where the hub was told, and has its path.

    The cookie that ties the sign-in to its browser is Secure, and for our own pages alone.
    """
    hub, alice = behind_tls, people(behind_tls, "alice")
    went = whole_sign_in(alice, hub)
    server = hub.server("alice").url
    [cookie] = [cookie for cookie in alice.context.cookies() if cookie["name"].startswith("pywry-auth-")]

    assert redirect_uris(went) == {f"{hub.url}hub/user-redirect/pywry-auth/callback"}
    assert answers(went) == [hub.redirect_uri, f"{server}pywry-auth/callback"]
    assert server.startswith("https://127.0.0.1:")
    assert cookie["path"] == f"{httpx.URL(server).path}pywry-auth/"
    assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Lax")
