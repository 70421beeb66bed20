"""`pywry-auth doctor` on a real hub: in a terminal of a user's server, and from outside, as its administrator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.ports import free_port

from .doctor import in_terminal, outside
from .hub import Hub
from .tls import TlsProxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.processes import Provider

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def telling(tmp_path_factory: pytest.TempPathFactory, hub_provider_process: Provider) -> Iterator[Hub]:
    """A hub that was told its public address."""
    port = free_port()
    config = {"JupyterHub": {"public_url": f"http://127.0.0.1:{port}/"}}
    with Hub(tmp_path_factory.mktemp("hub"), provider=hub_provider_process, port=port, config=config) as hub:
        yield hub


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsProxy]:
    """A proxy that ends TLS and keeps that to itself."""
    with TlsProxy(tmp_path_factory.mktemp("proxy"), tells_scheme=False) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def misled(tmp_path_factory: pytest.TempPathFactory, hub_provider_process: Provider, proxy: TlsProxy) -> Iterator[Hub]:
    """The hub behind it."""
    folder = tmp_path_factory.mktemp("hub")
    with Hub(folder, provider=hub_provider_process, port=proxy.target, url=proxy.url) as hub:
        yield hub


@pytest.mark.parametrize("name", ["", "second"], ids=["default", "named"])
def test_in_a_terminal_of_a_server(telling: Hub, name: str) -> None:
    """Where the hub tells its address, the redirect URI is the hub's, to the letter, and all is found and well."""
    report = in_terminal(telling, name=name)

    assert (report.status, report.redirect_uri) == (0, telling.redirect_uri)
    assert report.having("ok") >= {"server_found", "extension", "redirect_uri", "kernel_package", "control_channel"}
    assert report.having("ok") >= {"discovery", "pkce", "iss", "client", "clock"}
    assert report.having("note") == {"refresh_tokens", "store_memory"}
    assert not report.having("warning")


def test_a_hub_that_does_not_tell(hooked: Hub) -> None:
    """Without a public address no redirect URI is made up: it says how to see it, and looks at the rest."""
    report = in_terminal(hooked)

    assert (report.status, report.redirect_uri) == (0, None)
    assert report.having("warning") == {"public_address_unknown"}
    assert "pywry-auth doctor https://HUB/ " in report.advice["public_address_unknown"]
    assert report.having("ok") >= {"extension", "control_channel", "discovery", "client"}


def test_an_alias(telling: Hub) -> None:
    """Where the hub tells its address, another one that leads to it is an error; the advice is not about proxies."""
    alias = telling.url.replace("127.0.0.1", "localhost")
    report = in_terminal(telling, alias)

    assert (report.status, report.redirect_uri) == (1, telling.redirect_uri)
    assert report.having("error") == {"other_address"}


@pytest.mark.parametrize("page", ["", "hub/home", "user/alice/lab/tree/a.ipynb?reset"])
def test_given_the_public_address(hooked: Hub, page: str) -> None:
    """Given the hub's address, or that of any page there, it asks through the proxy, and has the redirect URI."""
    report = in_terminal(hooked, hooked.url + page)

    assert (report.status, report.redirect_uri) == (0, hooked.redirect_uri)
    assert report.levels["redirect_uri"] == "ok"
    assert not report.having("warning")


def test_it_leaves_no_kernel_behind(hooked: Hub) -> None:
    """The kernel that it starts is gone when it is done."""
    in_terminal(hooked)

    assert hooked.server("alice").api("GET", "api/kernels").json() == []


def test_an_administrator_outside(hooked: Hub, hub_provider: Provider, tmp_path: Path) -> None:
    """From outside, the hub's address is enough for the redirect URI; what is not seen from there is said."""
    report = outside(tmp_path, hooked.url, "--issuer", hub_provider.issuer, "--client-id", "pywry")

    assert (report.status, report.redirect_uri) == (0, hooked.redirect_uri)
    assert report.having("ok") >= {"hub_found", "hub_login", "discovery", "pkce", "client"}
    assert "terminal of a user's server" in report.advice["user_server_unseen"]
    assert not report.having("warning")


def test_a_client_that_the_provider_does_not_know(hooked: Hub, tmp_path: Path, hub_provider: Provider) -> None:
    """A wrong client identifier is found before a user signs in."""
    report = outside(tmp_path, hooked.url, "--issuer", hub_provider.issuer, "--client-id", "unknown")

    assert report.status == 1
    assert report.having("error") == {"client_refused"}


def test_a_proxy_that_loses_https(misled: Hub, proxy: TlsProxy) -> None:
    """Where the proxy does not tell the scheme, the sign-in would fail: it says so, and what the proxy must send."""
    report = in_terminal(misled, proxy.url, SSL_CERT_FILE=str(proxy.certificate))

    assert (report.status, report.redirect_uri) == (1, misled.redirect_uri)
    assert report.having("error") == {"proxy_scheme", "registration_refused"}, "https is not registered here"
    assert "X-Forwarded-Proto: https" in report.advice["proxy_scheme"]
    assert "c.JupyterHub.public_url" in report.advice["proxy_scheme"]


def test_a_certificate_that_is_not_known(misled: Hub, proxy: TlsProxy) -> None:
    """Where the public address cannot be reached from the server, it is said that it was not checked."""
    report = in_terminal(misled, proxy.url)

    assert (report.status, report.redirect_uri) == (1, misled.redirect_uri)
    assert report.having("error") == {"registration_refused"}, "https is not registered here"
    assert report.having("warning") == {"public_unreachable"}
    assert "SSL_CERT_FILE" in report.advice["public_unreachable"]
