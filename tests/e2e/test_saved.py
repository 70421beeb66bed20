"""Notebooks that are saved with widget state, which JupyterLab leaves out unless told, hold no secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .card import Card
from .processes import JupyterServer
from .saved import WITH_WIDGET_STATE, kept_in, sign_in_in_other_ways
from .test_sign_in import opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import OpenNotebook
    from .processes import Provider

pytestmark = pytest.mark.timeout(600)
LOOK = "session.access_token"
HELD = "session, provider, session._engine.state.tokens"
TOKENS = ("access_token", "refresh_token", "id_token")
WAIT = "session.login(timeout=90)"


@pytest.fixture(scope="module", params=["lab", "notebook"])
def saving(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, jupyter_config: dict[str, object]
) -> Iterator[JupyterServer]:
    """Each kind of server, where notebooks are saved with widget state."""
    folder = tmp_path_factory.mktemp("saving")
    with JupyterServer(request.param, folder, config=jupyter_config, settings=WITH_WIDGET_STATE) as server:  # type: ignore[arg-type]
        yield server


def test_after_other_ways(saving: JupyterServer, provider: Provider, open_notebook: OpenNotebook) -> None:
    """A device code, its QR code, a pasted address and a picture: saved while they are shown, and after."""
    provider.control(picture=True)
    notebook = opened(open_notebook, saving, provider, "session", LOOK, HELD)
    notebook.run(1)
    shown = sign_in_in_other_ways(Card(notebook.page, notebook.widget(1)), notebook.save)
    for cell in (2, 3):
        notebook.run_and_wait(cell)
    notebook.save()
    saved = notebook.source_on_disk()

    assert "application/vnd.jupyter.widget-state+json" in saved
    assert "login_path" in saved
    assert "<AccessToken ***>" in saved
    assert provider.secrets().keys() >= {*TOKENS, "code", "device_code", "user_code"}
    assert kept_in(saving.root.parent, provider, **shown) == []


def test_while_a_cell_waits(saving: JupyterServer, provider: Provider, open_notebook: OpenNotebook) -> None:
    """``login()`` waits, first for the widget's link and then for a device code: saved while it does, and after."""
    notebook = opened(open_notebook, saving, provider, WAIT, WAIT)
    notebook.run(1)
    first = Card(notebook.page, notebook.widget(1))
    first.says("Not signed in")
    notebook.save()
    first.by_link()
    notebook.wait(1)
    first.sign_out()
    notebook.run(2)
    qr = Card(notebook.page, notebook.widget(2)).by_device(notebook.save)
    notebook.wait(2)
    notebook.save()

    assert provider.secrets().keys() >= {*TOKENS, "code", "code_challenge", "device_code", "state", "user_code"}
    assert kept_in(saving.root.parent, provider, **{"QR code": qr}) == []
