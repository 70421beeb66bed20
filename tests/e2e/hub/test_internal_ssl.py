"""A hub whose own connections are TLS with certificates of its own (``internal_ssl``): all works there, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.processes import Provider
from tests.e2e.sign_in import sign_in
from tests.support.ports import free_port

from .auth_state import AuthStateHub
from .conftest import CALL, ONE_URI, SETUP
from .doctor import in_terminal
from .hub import HubKernel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

pytestmark = pytest.mark.timeout(600)

TAKE = """
from pywry_auth_nb import HubTokenSource, SessionManager
session = SessionManager(HubTokenSource())
print(str(session.access_token) != "", session.display_name)
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthStateHub]:
    """Such a hub, that signs people in at the provider, and says where it is."""
    uris = [ONE_URI, "http://127.0.0.1/hub/oauth_callback"]
    folder = tmp_path_factory.mktemp("hub")
    inside = {"internal_ssl": True, "internal_certs_location": str(folder / "internal-ssl")}
    config = {
        "JupyterHub": {**inside, "hub_bind_url": f"https://127.0.0.1:{free_port()}"},
        "ConfigurableHTTPProxy": {"api_url": f"https://127.0.0.1:{free_port()}"},
    }
    with (
        Provider(tmp_path_factory.mktemp("provider"), redirect_uris=uris) as provider,
        AuthStateHub(folder, provider, grant=True, config=config) as hub,
    ):
        yield hub


def test_the_hubs_token(hub: AuthStateHub, browser: Browser) -> None:
    """`HubTokenSource` shows the hub the server's certificate, and knows the hub's."""
    with hub.let_in(browser, "alice"):
        kernel = HubKernel(hub.server("alice"), TAKE.partition("print")[0])
        try:
            assert kernel.run(TAKE) == "True alice\n"
        finally:
            kernel.close()


def test_a_sign_in(hub: AuthStateHub, browser: Browser) -> None:
    """The widget's way works through the hub's proxy, which has certificates too."""
    with hub.let_in(browser, "bob") as context:
        kernel = HubKernel(hub.server("bob", "second"), SETUP)
        page = context.new_page()
        page.goto(f"{kernel.server.url}pywry-auth/stopped")
        page.goto(kernel.link())
        sign_in(page, "bob")
        page.get_by_role("heading", name="Signed in as bob").wait_for()
        assert kernel.run(CALL) == "bob\n"
        kernel.close()


def test_the_doctor(hub: AuthStateHub) -> None:
    """A server there answers to the hub and its proxy alone: the doctor says so, and looks at the rest."""
    report = in_terminal(hub, hub.url)

    assert (report.status, report.redirect_uri) == (0, hub.redirect_uri)
    assert report.having("warning") == {"server_internal_ssl"}
    assert report.having("ok") >= {"hub_found", "hub_login", "discovery", "client"}


def test_the_doctor_where_the_hub_is_known(hub: AuthStateHub) -> None:
    """Where the hub tells its public address, all is looked at through the proxy."""
    report = in_terminal(hub, JUPYTERHUB_PUBLIC_HUB_URL=f"{hub.url}hub/", JUPYTERHUB_PUBLIC_URL=f"{hub.url}user/alice/")

    assert (report.status, report.redirect_uri) == (0, hub.redirect_uri)
    assert report.having("ok") >= {"server_found", "extension", "redirect_uri", "kernel_package", "control_channel"}
    assert not report.having("warning")
