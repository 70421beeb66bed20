"""`run_native` with real Chromium and a certified provider: the answer comes to this very process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pywry_auth_nb import AuthFlowCancelled, AuthFlowManager, GenericOIDCProvider
from pywry_auth_nb._io.loop import run

from .processes import Provider
from .sign_in import sign_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def native_provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """A provider where a native client is registered: on loopback, with any port (RFC 8252 §7.3)."""
    with Provider(tmp_path_factory.mktemp("native"), redirect_uris=["http://127.0.0.1/callback"]) as process:
        yield process


@pytest.fixture
def flow(native_provider: Provider) -> Iterator[AuthFlowManager]:
    """A sign-in there."""
    native_provider.reset()
    provider = GenericOIDCProvider("pywry", issuer_url=native_provider.issuer)
    yield AuthFlowManager(provider, auth_timeout=60)
    run(provider.close(), 5)  # it keeps connections open for the next request


@pytest.mark.parametrize("deny", [False, True])
def test_run_native(flow: AuthFlowManager, native_provider: Provider, page: Page, deny: bool) -> None:
    """Sign in or decline in a window: the page says which it was, without a code in its address."""
    heading = "Access was declined" if deny else "Signed in as ada"
    console: list[str] = []
    page.on("console", lambda message: console.append(message.text))

    def show(url: str, config: dict[str, Any]) -> str:
        page.goto(url)
        sign_in(page, deny=deny)
        page.get_by_role("heading", name=heading).wait_for()
        return page.evaluate("location.pathname + location.search + location.hash")

    seen: list[str] = []
    if deny:
        with pytest.raises(AuthFlowCancelled):
            flow.run_native(show, seen.append)
    else:
        assert flow.run_native(show, seen.append).success
        assert flow.session.display_name == "ada"

    assert seen == ["/callback"]
    assert native_provider.requests_to("/token", grant_type="authorization_code", status=200) == (0 if deny else 1)
    assert not [line for line in console if "Content Security Policy" in line]
