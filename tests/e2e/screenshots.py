"""Take a picture of every state of the widget, in JupyterLab's light and dark theme: ``make screenshots``."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

from .driver import NotebookPage, launch, log_in
from .processes import JupyterServer, Provider
from .sign_in import popup_after, sign_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
SETUP = """
from pywry_auth_nb import GenericOIDCProvider, SessionManager
provider = GenericOIDCProvider("pywry", issuer_url={issuer!r}, scopes=["openid", "profile", "email", "offline_access"])
session = SessionManager(provider)
"""
README = (
    """from pywry_auth_nb import GenericOIDCProvider, SessionManager

provider = GenericOIDCProvider("pywry", issuer_url="{issuer}")
session = SessionManager(provider)
session""",
    """import httpx

api = httpx.get(provider.userinfo_url, auth=session.auth)
api.status_code, api.json()["name"]""",
    "session.access_token",
)
REFRESH = "try:\n    await session.refresh()\nexcept Exception as error:\n    print(error.code)"


def states(notebook: NotebookPage, provider: Provider) -> Iterator[str]:
    """Go through the widget's states; the name of each is given while it is on the screen."""
    page, link = notebook.page, notebook.widget(1).locator("a.pywry-auth-link")
    notebook.run_and_wait(0)
    notebook.run(1)
    link.wait_for()
    yield "signed-out"
    page.evaluate("window.open = () => null")
    link.click()
    yield "window-blocked"
    page.wait_for_timeout(1200)
    popup = popup_after(page, lambda: link.click(modifiers=["Control"]))
    notebook.widget(1).get_by_role("button", name="Cancel").wait_for()
    yield "signing-in"
    sign_in(popup, deny=True)
    notebook.widget(1).locator(".pywry-auth-error").wait_for()
    yield "declined"
    sign_in(popup_after(page, lambda: link.click(modifiers=["Control"])))
    notebook.widget(1).locator(".pywry-auth-name").wait_for()
    yield "signed-in"
    provider.control(delays={"/token": 3})
    notebook.run(2)
    page.wait_for_timeout(800)
    yield "refreshing"
    notebook.wait(2)
    provider.control(delays={}, answers={"/token": {"status": 400, "body": {"error": "invalid_client"}}})
    notebook.run_and_wait(2)
    notebook.widget(1).locator(".pywry-auth-error").wait_for()
    yield "cannot-renew"
    provider.control(answers={"/token": {"status": 400, "body": {"error": "invalid_grant"}}})
    notebook.run_and_wait(2)
    notebook.widget(1).get_by_text("Sign in again").first.wait_for()
    yield "sign-in-ended"


def take(browser: Browser, theme: str, provider: Provider, directory: Path, out: Path) -> None:
    """Take the pictures of one theme."""
    settings = {"@jupyterlab/apputils-extension:themes": {"theme": THEMES[theme]}}
    with JupyterServer("lab", directory / theme, settings=settings) as server:
        context = browser.new_context(color_scheme=theme, device_scale_factor=2)  # type: ignore[arg-type]
        log_in(context, server)
        notebook = NotebookPage(context, server, [SETUP.format(issuer=provider.issuer), "session", REFRESH]).open()
        for state in states(notebook, provider):
            shoot(notebook.page, notebook, out / f"{state}-{theme}.png")
        notebook.close()
        provider.reset()
        shoot_readme(
            NotebookPage(context, server, [cell.format(issuer=provider.issuer) for cell in README]), out, theme
        )
        context.close()


def shoot_readme(notebook: NotebookPage, out: Path, theme: str) -> None:
    """Picture the notebook of the README."""
    notebook.open()
    notebook.run(0)
    link = notebook.widget(0).locator("a.pywry-auth-link")
    link.wait_for()
    sign_in(popup_after(notebook.page, link.click))
    notebook.widget(0).locator(".pywry-auth-name").wait_for()
    for cell in (1, 2):
        notebook.run_and_wait(cell)
    notebook.page.bring_to_front()
    notebook.page.wait_for_timeout(500)
    first, last = notebook.page.locator(".jp-Notebook .jp-Cell").first, notebook.widget(2)
    top, bottom = first.bounding_box(), last.bounding_box()
    assert top is not None
    assert bottom is not None
    height = bottom["y"] + bottom["height"] - top["y"] + 12
    clip = {"x": top["x"], "y": top["y"] - 6, "width": top["width"], "height": height}
    notebook.page.screenshot(path=out / f"notebook-{theme}.png", clip=clip)  # type: ignore[arg-type]
    notebook.close()


def shoot(page: Page, notebook: NotebookPage, path: Path) -> None:
    """Picture the cell of the widget, with nothing hovering."""
    page.bring_to_front()
    page.mouse.move(0, 0)
    page.wait_for_timeout(300)
    notebook.widget(1).screenshot(path=path)


def main(out: str = "docs/images") -> None:
    """Take all pictures."""
    redirect_uris = ["http://127.0.0.1/pywry-auth/callback"]
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = launch(playwright)
        for theme in THEMES:
            provider_directory = Path(folder, f"provider-{theme}")
            provider_directory.mkdir()
            Path(folder, theme).mkdir()
            with Provider(provider_directory, redirect_uris=redirect_uris) as provider:
                take(browser, theme, provider, Path(folder), Path(out))
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
