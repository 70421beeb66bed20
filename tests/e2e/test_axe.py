"""Accessibility: axe-core finds nothing in any state of the widget, in any theme, nor in the pages of a sign-in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pywry_auth_nb._wire import pages

from . import gallery

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.timeout(120)

COLOUR = "(element, pseudo) => getComputedStyle(element, pseudo).color"
AXE = Path(__file__).parent / "node_modules/axe-core/axe.min.js"
PAGES = {
    "signed in": pages.signed_in("Ada Lovelace", "Contoso"),
    "declined": pages.failed("access_denied", provider="Contoso"),
    "finished": pages.failed("already_used"),
    "not signed in to Jupyter": pages.failed("jupyter_login", login_url="/login"),
    "reloaded": pages.OVER,
    "waiting": pages.WAITING,
    "broken": pages.broken(500),
}


def violations(page: Page) -> list[str]:
    """What axe-core objects to: the rule, and the elements."""
    page.evaluate(AXE.read_text(encoding="utf-8"))  # not as a script element, which the pages' policy forbids
    found: dict[str, Any] = page.evaluate("axe.run()")
    assert found["passes"], "axe looked at something"
    return [f"{each['id']}: {[node['target'] for node in each['nodes']]}" for each in found["violations"]]


@pytest.mark.parametrize(("look", "forced"), [(look, forced) for look in gallery.LOOKS for forced in (False, True)])
def test_the_widget_in_every_state(page: Page, look: str, forced: bool) -> None:
    """No violation in any state, also in forced colours; the states of later moments are among them."""
    gallery.draw(page, look, forced=forced)

    assert page.locator(".pywry-auth-root").count() == len(gallery.STATES)
    assert page.locator("#error-page").get_by_text("must be registered").is_visible()
    assert page.locator("#device").get_by_role("img", name="QR code of that page").is_visible()
    assert violations(page) == []


@pytest.mark.parametrize("width", [200, 560])
def test_the_widget_fits(page: Page, width: int) -> None:
    """A long name and a long address scroll nothing sideways, in a column of 200 px either."""
    page.set_viewport_size({"width": width + 32, "height": 600})
    gallery.draw(page, "light")

    assert page.evaluate("document.documentElement.scrollWidth") <= width + 32


def test_a_narrow_widget_shows_the_providers_name(page: Page) -> None:
    """In a column of 200 px the provider's name gets a line of its own, so that nothing cuts it."""
    page.set_viewport_size({"width": 232, "height": 600})
    gallery.draw(page, "light")
    title = page.locator("#signing-in .pywry-auth-title")

    assert title.inner_text() == "Contoso"
    assert title.evaluate("element => element.scrollWidth <= element.clientWidth")


def test_the_three_dots_stay_beside_the_words(page: Page) -> None:
    """In a column of 200 px they take no row of their own."""
    page.set_viewport_size({"width": 232, "height": 600})
    gallery.draw(page, "light")
    words, dots = (page.locator(f"#signed-in .pywry-auth-{name}").bounding_box() for name in ("mid", "more"))

    assert words is not None
    assert dots is not None
    assert words["x"] + words["width"] <= dots["x"]
    assert words["y"] < dots["y"] + dots["height"] / 2 < words["y"] + words["height"]


def test_no_line_begins_or_ends_with_a_dot(page: Page) -> None:
    """Where the words break into lines, the dot between two of them is not to be seen."""
    page.set_viewport_size({"width": 232, "height": 600})
    gallery.draw(page, "light")
    line = page.locator("#signed-in .pywry-auth-line")
    left = line.evaluate("element => element.getBoundingClientRect().left")
    starts = line.locator(".pywry-auth-part").evaluate_all(
        "parts => parts.map((part) => { const range = document.createRange(); range.selectNodeContents(part);"
        " return range.getBoundingClientRect().left; })"
    )

    assert len(starts) == 3
    assert min(starts) >= left - 1, "the words themselves are not cut"
    assert starts.count(starts[0]) > 1, "several lines begin at the same place"


def test_the_labels_of_the_details_fit(page: Page) -> None:
    """JupyterLab's rules for lists in an output do not make the labels a letter wide."""
    gallery.draw(page, "light")
    boxes = [label.bounding_box() for label in page.locator("#details .pywry-auth-facts dt").all()]

    assert len(boxes) >= 3
    assert all(box is not None and box["height"] < 30 for box in boxes), "one line each"


def test_the_main_button_stands_out_in_forced_colours(page: Page) -> None:
    """In forced colours the main button has another background than the buttons beside it."""
    gallery.draw(page, "light", forced=True)
    style = "element => getComputedStyle(element).backgroundColor"
    main, beside = (page.locator("#asks").get_by_text(name, exact=True) for name in ("Continue", "Cancel"))

    assert main.first.evaluate(style) != beside.evaluate(style)


@pytest.mark.parametrize("name", ["Open the window again", "Trouble signing in?"])
def test_a_link_stays_one_under_the_pointer(page: Page, name: str) -> None:
    """JupyterLab takes colour and underline from links under the pointer; ours keep both."""
    gallery.draw(page, "light")
    link = page.locator("#signing-in").get_by_text(name)
    style = "element => [getComputedStyle(element).color, getComputedStyle(element).textDecorationLine]"
    before = link.evaluate(style)
    link.hover()

    assert link.evaluate(style) == before
    assert before[1] == "underline"


@pytest.mark.parametrize(("look", "system"), [("light", "dark"), ("high-contrast", "light")])
def test_a_theme_that_is_not_the_systems(page: Page, look: str, system: str) -> None:
    """What a theme leaves to the browser, such as the example in an empty field and links, goes with the theme."""
    gallery.draw(page, look)
    field, link = page.locator("#paste").get_by_role("textbox"), page.locator("#paste").get_by_role("link")
    before = field.evaluate(COLOUR, "::placeholder"), link.evaluate(COLOUR, None)
    page.emulate_media(color_scheme=system)  # type: ignore[arg-type]

    assert (field.evaluate(COLOUR, "::placeholder"), link.evaluate(COLOUR, None)) == before
    assert violations(page) == []


def test_shapes_differ_without_colours(page: Page) -> None:
    """In forced colours the dots of "signed in", "ends soon" and "ended" have different shapes."""
    gallery.draw(page, "light", forced=True)
    style = "element => [getComputedStyle(element).clipPath, getComputedStyle(element).borderRadius].join()"
    shapes = {
        name: page.locator(f"#{name} .pywry-auth-dot").evaluate(style) for name in ("signed-in", "ends-soon", "ended")
    }

    assert len(set(shapes.values())) == 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_the_pages_of_a_sign_in(page: Page, name: str, scheme: str) -> None:
    """No violation, one main landmark, no scrolling sideways on a phone, and not a word in the console."""
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": 360, "height": 640})
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.route("**/*", lambda route: route.fulfill(status=200, headers=pages.HEADERS, body=PAGES[name].html()))
    page.goto("http://127.0.0.1:9/callback?code=a-code")

    assert said == [], "the policy forbids nothing that the page needs"
    assert page.evaluate("location.search") == ""
    assert violations(page) == []
    assert page.get_by_role("main").count() == 1
    assert page.get_by_role("button", name="Close this tab").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
