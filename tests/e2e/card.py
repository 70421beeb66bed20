"""The widget, as a user meets it on a page of any kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .sign_in import allow_device, answer_of, popup_after, sign_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Locator, Page

_PATIENCE = 20.0  # seconds of an idle machine


class Card:
    """The first widget of a page.

    Args:
        page: The page, whose windows are of the same person.
        within: What the widget is in; the page if it is left out.
    """

    def __init__(self, page: Page, within: Locator | None = None) -> None:
        self._page = page
        self.root = (within or page).locator(".pywry-auth-root").first

    def says(self, text: str, seconds: float = _PATIENCE) -> None:
        """Wait until it says something."""
        self.root.get_by_text(text).first.wait_for(timeout=seconds * 1000)

    def by_link(self, login: str = "ada") -> None:
        """Click "Sign in", sign in in the window that opens, and wait until the widget says who it was."""
        self.click_link(login)
        self.says(login)

    def click_link(self, login: str = "ada") -> None:
        """Click "Sign in", and sign in in the window that opens."""
        link = self.root.get_by_role("link", name="Sign in")
        link.wait_for(timeout=_PATIENCE * 1000)
        sign_in(popup_after(self._page, link.click), login)

    def sign_out(self) -> None:
        """Choose "Sign out" behind the three dots."""
        self.root.get_by_role("button", name="Account and details").click()
        self.root.get_by_role("button", name="Sign out").click()
        self.says("Not signed in")

    def other_account(self, login: str) -> None:
        """Choose "Use another account" behind the three dots, and sign in with it."""
        self.root.get_by_role("button", name="Account and details").click()
        sign_in(popup_after(self._page, self.root.get_by_role("link", name="Use another account").click), login)
        self.says(login)

    def by_paste(self, meanwhile: Callable[[], object] = bool) -> str:
        """Choose another way, sign in with a browser on another machine, and paste where it ended; return that.

        ``meanwhile`` is done before "Continue".
        """
        opener = self._begin_loopback()
        answer = answer_of(opener)
        opener.close()
        self.root.get_by_label("Address of the page that could not be opened").fill(answer)
        meanwhile()
        self.root.get_by_role("button", name="Continue").click()
        self.says("ada")
        return answer

    def by_loopback(self) -> None:
        """Choose another way, and sign in with a browser on the kernel's machine, which comes back by itself."""
        opener = self._begin_loopback()
        sign_in(opener)
        opener.get_by_role("heading", name="Signed in as ada").wait_for()
        self.says("ada")

    def by_device(self, meanwhile: Callable[[], object] = bool) -> str:
        """Choose another device, and enter the code that is shown in another tab; return its QR code.

        ``meanwhile`` is done while they are shown.
        """
        qr = self.root.get_by_role("img", name="QR code of that page")
        self._choose("Use a phone or another device", qr)
        drawn = _data_of(qr)
        code = self.root.locator(".pywry-auth-code").inner_text()
        meanwhile()
        device = self._page.context.new_page()
        device.goto(str(self.root.locator(".pywry-auth-device a").get_attribute("href")))
        allow_device(device, code)
        self.says("ada")
        device.close()
        return drawn

    def picture(self) -> str:
        """Wait for the picture of the user; return it."""
        photo = self.root.locator(".pywry-auth-photo")
        photo.wait_for(timeout=_PATIENCE * 1000)
        return _data_of(photo)

    def _begin_loopback(self) -> Page:
        link = self.root.get_by_role("link", name="Open the sign-in page")
        self._choose("Sign in and paste an address", link)
        return popup_after(self._page, link.click)

    def _choose(self, way: str, begun: Locator) -> None:
        """Choose another way than the widget's link, if there is one, and wait for what it shows."""
        link = self.root.get_by_role("link", name="Sign in")
        other = self.root.get_by_role("button", name="Sign in")
        link.or_(other).first.wait_for(timeout=_PATIENCE * 1000)
        if link.is_visible():
            popup_after(self._page, link.click).close()
            self.root.get_by_role("button", name="Trouble signing in?").click()
        else:
            other.click()
        choice = self.root.get_by_role("button", name=way)
        choice.or_(begun).first.wait_for()
        if choice.is_visible():
            choice.click()
        begun.wait_for()


def _data_of(picture: Locator) -> str:
    """Return a picture as its data URI has it."""
    data = str(picture.get_attribute("src")).partition(",")[2]
    assert len(data) > 50
    return data
