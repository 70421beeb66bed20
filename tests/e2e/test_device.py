"""A device code (RFC 8628) entered in real Chromium at a certified provider, while this process polls for tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pywry_auth_nb import AuthFlowCancelled, AuthFlowManager, GenericOIDCProvider
from pywry_auth_nb._io.loop import run

from .processes import Provider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

    from pywry_auth_nb._sign_in.authorization import DeviceRequest

pytestmark = pytest.mark.timeout(600)
GRANT = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture(scope="module")
def device_provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """A provider with device codes; no redirect URI is used."""
    with Provider(tmp_path_factory.mktemp("device"), redirect_uris=["http://127.0.0.1/callback"]) as process:
        yield process


@pytest.fixture(params=["pywry", "pywry-conf"])
def flow(device_provider: Provider, request: pytest.FixtureRequest) -> Iterator[AuthFlowManager]:
    """A sign-in there, of a client without and with a secret."""
    device_provider.reset()
    secret = Provider.CLIENT_SECRET if request.param == "pywry-conf" else ""
    scopes = "openid profile offline_access"
    provider = GenericOIDCProvider(request.param, secret, issuer_url=device_provider.issuer, scopes=scopes)
    yield AuthFlowManager(provider)
    run(provider.close(), 5)


def enter(page: Page, request: DeviceRequest, *, whole: bool) -> None:
    """Enter the code, or open the address that has it, and confirm that this is the device."""
    page.set_default_timeout(15_000)
    if whole:
        page.goto(request.code.verification_uri_complete)
    else:
        page.goto(request.code.verification_uri)
        page.fill("input[name=user_code]", request.code.user_code)
        page.click("button[type=submit]")
    page.get_by_text(request.code.user_code).wait_for()


@pytest.mark.parametrize("whole", [False, True], ids=["typed", "complete"])
def test_a_code(flow: AuthFlowManager, device_provider: Provider, page: Page, whole: bool) -> None:
    """The user enters the code, signs in and consents; the session is signed in, and can be renewed."""
    request = run(flow.begin_device(), 20)
    enter(page, request, whole=whole)
    page.click("button[type=submit]")
    page.fill("input[name=login]", "ada")
    page.fill("input[name=password]", "any")
    page.click("button[type=submit]")
    page.locator("form:has(input[name=prompt][value=consent]) button[type=submit]").click()
    result = request.outcome.result(60)

    assert result.success
    assert flow.session.display_name == "ada"
    assert device_provider.requests_to("/token", grant_type=GRANT, status=200) == 1
    assert run(flow.session.refresh(), 20).access_token != result.tokens.access_token


def test_declining(flow: AuthFlowManager, device_provider: Provider, page: Page) -> None:
    """The user says that this is not their device: the wait ends, and says so."""
    request = run(flow.begin_device(), 20)
    enter(page, request, whole=True)
    page.click("button[name=abort]")
    error = request.outcome.exception(60)

    assert isinstance(error, AuthFlowCancelled)
    assert error.code == "access_denied"
    assert flow.session.status == "signed_out"
