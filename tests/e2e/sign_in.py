"""What a person does at the provider: the popup, the login page, the consent page."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

TIMEOUT = 15.0


def popup_after(page: Page, action: Callable[[], object], timeout: float = TIMEOUT) -> Page:
    """Do ``action`` and return the page that it opened.

    The page is found by its browser context, so it may have no opener (``noopener``, Cross-Origin-Opener-Policy).
    """
    with page.context.expect_page(timeout=timeout * 1000) as opened:
        action()
    return opened.value


def sign_in(popup: Page, login: str = "ada", *, seconds: float = 0, deny: bool = False) -> None:
    """Log in and consent at the provider, or cancel there; a person known to this browser is asked for consent only.

    Returns after the last click: the answer is then on its way to the redirect URI.

    Args:
        popup: A page that is on its way to the provider.
        login: The name to type; also the account's id, and its display name unless the provider was told another.
        seconds: How long the person takes.
        deny: Whether the person cancels, which ends in access_denied.
    """
    popup.set_default_timeout(TIMEOUT * 1000)
    popup.locator("form input[name=prompt]").wait_for(state="attached")
    popup.wait_for_timeout(seconds * 1000)
    if deny:
        popup.get_by_role("link", name="Cancel").click()
        return
    _log_in(popup, login)
    popup.locator("form:has(input[name=prompt][value=consent]) button[type=submit]").click()


def allow_device(device: Page, code: str) -> None:
    """Enter the code at the provider, confirm it, and sign in."""
    device.set_default_timeout(TIMEOUT * 1000)
    device.fill("input[name=user_code]", code)
    device.click("button[type=submit]")
    device.get_by_role("button", name="Continue").click()
    sign_in(device)


def answer_of(popup: Page, login: str = "ada") -> str:
    """Log in and consent, but do not follow to the redirect URI: return the address with the answer."""
    popup.set_default_timeout(TIMEOUT * 1000)
    _log_in(popup, login)
    consent = popup.locator("form:has(input[name=prompt][value=consent])")
    request = popup.context.request
    answer = request.post(consent.evaluate("form => form.action"), form={"prompt": "consent"}, max_redirects=0)
    answer = request.get(answer.headers["location"], max_redirects=0)
    return answer.headers["location"]


def _log_in(popup: Page, login: str) -> None:
    """Log in at the provider, unless it knows this browser's user."""
    if popup.locator("form input[name=prompt]").get_attribute("value") == "login":
        popup.fill("input[name=login]", login)
        popup.fill("input[name=password]", "any")
        popup.click("button[type=submit]")
