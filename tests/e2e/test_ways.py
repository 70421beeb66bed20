"""Signing in where the server lacks the extension: the widget says so, and offers what works without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.marks import IN_FIREFOX_TOO

from .processes import JupyterServer, write_json
from .sign_in import TIMEOUT, allow_device, answer_of, popup_after, sign_in
from .test_sign_in import CALL, PROMPTS, STATUS, behind_the_dots, opened, says, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Locator

    from .conftest import OpenNotebook
    from .driver import NotebookPage
    from .processes import Provider

pytestmark = pytest.mark.timeout(300)
PASTE = "Sign in and paste an address"


@pytest.fixture(scope="module")
def bare_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """A running JupyterLab whose server does not have the extension."""
    config = {"ServerApp": {"jpserver_extensions": {"pywry_auth_nb": False}}}
    with JupyterServer("lab", tmp_path_factory.mktemp("bare"), config=config) as server:
        yield server


@pytest.fixture(scope="module")
def lab_without_widgets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """A running JupyterLab that draws no widget, as one without ipywidgets, or a page that has lost its kernel."""
    directory = tmp_path_factory.mktemp("plain")
    disabled = {"disabledExtensions": {"@jupyter-widgets/jupyterlab-manager": True}}
    write_json(directory / "home" / "config" / "labconfig" / "page_config.json", disabled)
    with JupyterServer("lab", directory) as server:
        yield server


def prompt(notebook: NotebookPage) -> Locator:
    """The field of a prompt below a cell."""
    field = notebook.page.locator(".jp-Stdin-input")
    field.wait_for(timeout=TIMEOUT * 1000)
    return field


def another_way(notebook: NotebookPage, way: str) -> None:
    """Choose another way in the widget below cell 1."""
    widget = shown(notebook, 1)
    widget.get_by_role("button", name="Sign in another way").click()
    widget.get_by_role("button", name=way).click()


def test_the_widget_offers_no_link_that_leads_nowhere(
    bare_lab: JupyterServer, provider: Provider, open_notebook: OpenNotebook
) -> None:
    """It says what the server lacks and how to install it, and has no link to a route that is not there."""
    notebook = opened(open_notebook, bare_lab, provider, "session")
    notebook.run(1)
    says(notebook, 1, "pywry-auth-nb does not answer on this Jupyter server")
    shown(notebook, 1).get_by_role("button", name="How to install it").click()

    says(notebook, 1, "jupyter server extension enable pywry_auth_nb")
    assert shown(notebook, 1).get_by_role("link").count() == 0


@IN_FIREFOX_TOO
def test_sign_in_at_the_kernels_own_address(
    bare_lab: JupyterServer, provider: Provider, open_notebook: OpenNotebook
) -> None:
    """A browser on the kernel's machine finishes by itself, while a cell waits."""
    notebook = opened(open_notebook, bare_lab, provider, "session.login(timeout=60)", CALL)
    notebook.run(1)
    another_way(notebook, PASTE)
    link = shown(notebook, 1).get_by_role("link", name="Open the sign-in page")
    link.wait_for()
    sign_in(popup_after(notebook.page, link.click))
    notebook.wait(1)

    says(notebook, 1, "ada")
    assert notebook.run_and_wait(2) == "200\n"


@IN_FIREFOX_TOO
def test_sign_in_by_pasting_the_address(
    bare_lab: JupyterServer, provider: Provider, open_notebook: OpenNotebook
) -> None:
    """The address of a page that could not be opened finishes the sign-in; the first page's is told from it."""
    notebook = opened(open_notebook, bare_lab, provider, "session.login(timeout=60)", STATUS)
    notebook.run(1)
    another_way(notebook, PASTE)
    widget = shown(notebook, 1)
    link = widget.get_by_role("link", name="Open the sign-in page")
    link.wait_for()
    popup = popup_after(notebook.page, link.click)
    field = widget.get_by_role("textbox", name="Address of the page")
    field.fill(str(link.get_attribute("href")))
    field.press("Enter")
    widget.locator(".pywry-auth-problem").wait_for()
    address = answer_of(popup)
    field.fill(address)
    field.press("Enter")
    notebook.wait(1)

    says(notebook, 1, "ada")
    assert notebook.run_and_wait(2) == "signed_in None\n"
    notebook.save()
    assert address not in notebook.source_on_disk()


def test_another_account(bare_lab: JupyterServer, provider: Provider, open_notebook: OpenNotebook) -> None:
    """It needs no route at the server, and the provider asks who is there, though it knows the first."""
    provider.control(prompts=PROMPTS)
    notebook = opened(open_notebook, bare_lab, provider, "session")
    notebook.run(1)
    another_way(notebook, PASTE)
    link = shown(notebook, 1).get_by_role("link", name="Open the sign-in page")
    sign_in(popup_after(notebook.page, link.click))
    says(notebook, 1, "ada")
    widget = behind_the_dots(notebook, 1)
    widget.get_by_role("button", name="Use another account").click()
    widget.get_by_role("button", name=PASTE).click()
    sign_in(popup_after(notebook.page, link.click), "bob")

    says(notebook, 1, "bob")


@IN_FIREFOX_TOO
def test_sign_in_with_another_device(bare_lab: JupyterServer, provider: Provider, open_notebook: OpenNotebook) -> None:
    """The code is entered in another browser, while a cell waits; the widget follows."""
    notebook = opened(open_notebook, bare_lab, provider, "session.login(timeout=90)", CALL)
    notebook.run(1)
    another_way(notebook, "Use a phone or another device")
    widget = shown(notebook, 1)
    widget.get_by_role("img", name="QR code of that page").wait_for()
    code = widget.locator(".pywry-auth-code").inner_text()
    device = notebook.page.context.new_page()
    device.goto(str(widget.locator(".pywry-auth-device a").get_attribute("href")))
    allow_device(device, code)
    notebook.wait(1)

    says(notebook, 1, "ada")
    assert code not in widget.inner_text()
    behind_the_dots(notebook, 1).get_by_text("this kernel's memory").wait_for()
    assert notebook.run_and_wait(2) == "200\n"


def test_a_code_is_not_saved(
    lab_without_widgets: JupyterServer, provider: Provider, open_notebook: OpenNotebook
) -> None:
    """A page that draws no widget shows the code, and the notebook that is saved afterwards has it not."""
    notebook = opened(open_notebook, lab_without_widgets, provider, "session.login(timeout=90, via='device')", CALL)
    notebook.run(1)
    text = notebook.wait_for_text(1, "enter this code:")
    code = text.partition("enter this code:")[2].split()[0]
    device = notebook.page.context.new_page()
    device.goto(next(word for word in text.split() if word.startswith("http")))
    allow_device(device, code)
    notebook.wait(1)
    assert notebook.run_and_wait(2) == "200\n"
    notebook.save()

    assert "AuthFlowResult signed in" in notebook.source_on_disk()
    assert code not in notebook.source_on_disk()


def test_an_address_is_not_saved(
    lab_without_widgets: JupyterServer, provider: Provider, open_notebook: OpenNotebook
) -> None:
    """The same for the address at which to sign in, and for the one that is pasted."""
    notebook = opened(open_notebook, lab_without_widgets, provider, "session.login(timeout=90, via='loopback')", STATUS)
    notebook.run(1)
    field = prompt(notebook)
    url = next(word for word in notebook.text(1).split() if "/auth?" in word)
    browser = notebook.page.context.new_page()
    browser.goto(url)
    answer = answer_of(browser)
    field.fill(answer)
    field.press("Enter")
    notebook.wait(1)
    assert notebook.run_and_wait(2) == "signed_in None\n"
    notebook.save()

    assert "copy the address of that page" in notebook.source_on_disk()
    assert all(secret not in notebook.source_on_disk() for secret in (url, answer, "state=", "code_challenge="))
