"""JupyterLab in front of a Kernel Gateway: the kernel runs there, and the browser knows nothing of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import websocket

from tests.support.gateway import KernelGateway

from .processes import JupyterServer
from .sign_in import sign_in
from .test_sign_in import STATUS, click_sign_in, opened, says, shown, sign_out

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx
    from playwright.sync_api import BrowserContext

    from .conftest import OpenNotebook
    from .processes import Provider

pytestmark = pytest.mark.timeout(600)
WAIT = "print(session.login(timeout=60))"
TOKEN = "the-gateways-own-token"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[KernelGateway]:
    """A Kernel Gateway with a token."""
    with KernelGateway(tmp_path / "gateway", TOKEN) as process:
        yield process


class LabInFront(JupyterServer):
    """A JupyterLab whose kernels run on a gateway."""

    def __init__(self, folder: Path, gateway: KernelGateway, config: dict[str, Any]) -> None:
        super().__init__("lab", folder, config={**config, "GatewayClient": gateway.configuration()})
        self._gateway = gateway

    def api(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        """Make a request; where it starts a kernel, have the gateway ask the kernel who it is.

        JupyterLab connects twice within milliseconds, which a gateway that has yet to ask mixes up.
        """
        answer = super().api(method, path, **kwargs)
        if (method, path) == ("POST", "api/sessions"):
            url = f"{self._gateway.url.replace('http', 'ws')}/api/kernels/{answer.json()['kernel']['id']}/channels"
            websocket.create_connection(url, timeout=30, header=[f"Authorization: token {TOKEN}"]).close()
        return answer


@pytest.fixture
def lab_in_front(tmp_path: Path, gateway: KernelGateway, jupyter_config: dict[str, Any]) -> Iterator[JupyterServer]:
    """A running JupyterLab in front of the gateway."""
    with LabInFront(tmp_path / "lab", gateway, jupyter_config) as server:
        yield server


def test_a_cell_waits_for_a_sign_in_and_the_gateway_logs_none_of_it(
    lab_in_front: JupyterServer,
    gateway: KernelGateway,
    provider: Provider,
    open_notebook: OpenNotebook,
    context: BrowserContext,
) -> None:
    """R44: ``login()`` waits in its cell, a click signs in, "Sign out" signs out, with a kernel on the gateway."""
    visited: list[str] = []
    context.on("request", lambda request: visited.append(request.url))
    notebook = opened(open_notebook, lab_in_front, provider, WAIT, STATUS, "print(session.access_token)", STATUS)
    notebook.run(1)
    sign_in(click_sign_in(notebook, 1))

    says(notebook, 1, "ada")
    assert notebook.run_and_wait(2) == "signed_in None\n"
    token = notebook.run_and_wait(3).strip()
    sign_out(notebook, 1)
    shown(notebook, 1).locator("a.pywry-auth-link").wait_for()
    assert notebook.run_and_wait(4) == "signed_out None\n"
    (answer,) = [dict(parse_qsl(urlsplit(url).query)) for url in visited if "/pywry-auth/callback?" in url]
    written = gateway.log_text()
    assert "/channels" in written, "the gateway logs nothing, so this proves nothing"
    assert [secret for secret in (answer["code"], answer["state"], token, TOKEN) if secret in written] == []
