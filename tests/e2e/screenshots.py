"""Take a picture of every state of the widget, in JupyterLab's light and dark theme, and of the README's notebook."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

from . import gallery
from .driver import NotebookPage, launch, log_in
from .processes import JupyterServer, Provider
from .sign_in import popup_after, sign_in

if TYPE_CHECKING:
    from playwright.sync_api import Browser

THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
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
WIDTH = 592


def take_states(browser: Browser, theme: str, out: Path) -> None:
    """Take a picture of every state of the widget, drawn without a kernel."""
    page = browser.new_page(viewport={"width": WIDTH, "height": 800}, device_scale_factor=2)
    gallery.draw(page, theme)
    for name in gallery.STATES:
        page.locator(f"#{name} .pywry-auth-root").screenshot(path=out / f"{name}-{theme}.png")
    page.close()


def take_looks(browser: Browser, out: Path) -> None:
    """Take a picture of all states in a narrow column, and one in forced colours."""
    for name, width, forced in (("narrow", 232, False), ("forced-colours", WIDTH, True)):
        page = browser.new_page(viewport={"width": width, "height": 800})
        gallery.draw(page, "light", forced=forced)
        page.screenshot(path=out / f"{name}.png", full_page=True)
        page.close()


def take_readme(browser: Browser, theme: str, provider: Provider, directory: Path, out: Path) -> None:
    """Take the picture of the README in one theme."""
    settings = {"@jupyterlab/apputils-extension:themes": {"theme": THEMES[theme]}}
    with JupyterServer("lab", directory / theme, settings=settings) as server:
        context = browser.new_context(color_scheme=theme, device_scale_factor=2)  # type: ignore[arg-type]
        log_in(context, server)
        cells = [cell.format(issuer=provider.issuer) for cell in README]
        shoot_readme(NotebookPage(context, server, cells), out, theme)
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
    notebook.page.mouse.move(0, 0)
    notebook.page.wait_for_timeout(500)
    first, last = notebook.page.locator(".jp-Notebook .jp-Cell").first, notebook.widget(2)
    top, bottom = first.bounding_box(), last.bounding_box()
    assert top is not None
    assert bottom is not None
    height = bottom["y"] + bottom["height"] - top["y"] + 12
    clip = {"x": top["x"], "y": top["y"] - 6, "width": top["width"], "height": height}
    notebook.page.screenshot(path=out / f"notebook-{theme}.png", clip=clip)  # type: ignore[arg-type]
    notebook.close()


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
                take_states(browser, theme, Path(out))
                take_readme(browser, theme, provider, Path(folder), Path(out))
        take_looks(browser, Path(out))
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
