"""Browsers of other engines than Chromium's: sign in, use the token, sign out, sign in while a cell waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .sign_in import sign_in
from .test_sign_in import CALL, click_sign_in, opened, says, setup, shown, sign_out
from .webkit import WebKit, WebKitNotebook

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .conftest import OpenNotebook
    from .processes import JupyterServer, Provider

pytestmark = pytest.mark.timeout(600)
CELLS = ("session", CALL, "session.login(timeout=60)\nprint(session.status)", CALL)


@pytest.mark.parametrize("engine", ["firefox"], indirect=True)
def test_firefox(lab: JupyterServer, provider: Provider, open_notebook: OpenNotebook) -> None:
    """Firefox, as Debian has it."""
    notebook = opened(open_notebook, lab, provider, *CELLS)
    notebook.run(1)
    sign_in(click_sign_in(notebook, 1))
    says(notebook, 1, "ada")
    assert notebook.run_and_wait(2) == "200\n"
    sign_out(notebook, 1)
    shown(notebook, 1).locator("a.pywry-auth-link").wait_for()
    notebook.run(3)
    sign_in(click_sign_in(notebook, 3))

    assert notebook.wait(3).endswith("signed_in\n")
    assert notebook.run_and_wait(4) == "200\n"


@pytest.fixture
def webkit(tmp_path: Path) -> Iterator[WebKit]:
    """A person's WebKitGTK."""
    with WebKit(tmp_path) as browser:
        yield browser


@pytest.mark.filterwarnings("ignore:setting remote_server_addr:DeprecationWarning")  # selenium's own
def test_webkit(lab: JupyterServer, provider: Provider, webkit: WebKit) -> None:
    """WebKitGTK, the nearest to Safari that Linux has."""
    notebook = WebKitNotebook(webkit, lab, [setup(provider), *CELLS]).open()
    notebook.run_and_wait(0)
    notebook.run(1)
    first = notebook.widget(1)
    with webkit.window_after(webkit.find("a.pywry-auth-link", first).click):
        for name, value in {"login": "ada", "password": "any"}.items():
            webkit.find(f"input[name={name}]").send_keys(value)
        webkit.find("button[type=submit]").click()
        webkit.find("form:has(input[value=consent]) button[type=submit]").click()
    webkit.wait(lambda: "ada" in first.text, "not signed in")
    assert notebook.run_and_wait(2) == "200\n"
    webkit.find(".pywry-auth-more", first).click()
    webkit.find(".pywry-auth-details button", first).click()
    webkit.find("a.pywry-auth-link", first)
    notebook.run(3)
    with webkit.window_after(webkit.find("a.pywry-auth-link", notebook.widget(3)).click):
        webkit.find("form:has(input[value=consent]) button[type=submit]").click()

    assert notebook.wait(3).endswith("signed_in\n")
    assert notebook.run_and_wait(4) == "200\n"
