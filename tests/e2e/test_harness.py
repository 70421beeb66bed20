"""The tests' own tools: if one of these fails, look here before looking at the package."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from .processes import HarnessError, JupyterServer, Provider
from .saved import kept_in
from .sign_in import popup_after, sign_in

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import BrowserContext, Page

    from .conftest import OpenNotebook

pytestmark = pytest.mark.timeout(600)
BLOCKING = "import time; print('before', flush=True); time.sleep(60)"
VERIFIER = secrets.token_urlsafe(32)

# ---- secrets -------------------------------------------------------------------------------------------------------


def test_secrets_in_files_are_found(provider: Provider, tmp_path: Path) -> None:
    """What the provider was sent, and what a page showed, is found in files, and named; an empty journal has none."""
    query = {"client_id": "pywry", "state": secrets.token_urlsafe(), "code_challenge": secrets.token_urlsafe()}
    httpx.get(f"{provider.issuer}/auth", params=query, trust_env=False)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "n.ipynb").write_text(query["state"])
    (tmp_path / "log").write_text(f"{provider.issuer}/auth?client_id=pywry of a picture")
    said = kept_in(tmp_path, provider, avatar="a picture")
    provider.reset()

    assert said == ["a/n.ipynb: state", "log: authorize URL", "log: avatar"]
    assert provider.secrets() == {}


# ---- notebooks -----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["lab", "notebook7"])
def server(request: pytest.FixtureRequest) -> JupyterServer:
    """Each kind of server."""
    running: JupyterServer = request.getfixturevalue(request.param)
    return running


def test_a_cell_runs_and_its_output_is_read(server: JupyterServer, open_notebook: OpenNotebook) -> None:
    """Streams, results, errors and drawn widgets of the right cell are found; a saved notebook holds them."""
    notebook = open_notebook(
        server,
        "print('printed')\n6 * 7",
        "1 / 0",
        "import ipywidgets; ipywidgets.Button(description='Press me')",
    )

    assert notebook.run_and_wait(0) == "printed\n42"
    assert notebook.run_and_wait(1) == "ZeroDivisionError: division by zero\n"
    notebook.run(2)
    notebook.widget(2).get_by_role("button", name="Press me").wait_for()
    assert "42" in notebook.widget(0).inner_text()
    assert "Press me" not in notebook.widget(0).inner_text()
    notebook.save()
    assert "printed" in notebook.source_on_disk()


def test_a_blocking_cell_is_read_while_it_runs(server: JupyterServer, open_notebook: OpenNotebook) -> None:
    """Output of a cell that blocks is seen at once; a saved page can be reloaded meanwhile; a restart ends the cell."""
    notebook = open_notebook(server, f"{BLOCKING}; print('after')", "'alive'")

    notebook.run(0)
    notebook.wait_for_text(0, "before")
    assert notebook.run_state(0) == "running"
    with pytest.raises(HarnessError, match="cell 0 still runs"):
        notebook.wait(0, timeout=0.2)
    kernel_id = notebook.kernel_id
    notebook.save()
    notebook.reload()
    assert "before" in notebook.text(0)
    notebook.restart_kernel()

    assert notebook.kernel_id == kernel_id
    assert notebook.run_and_wait(1) == "'alive'"
    assert "after" not in notebook.text(0)


def test_a_cell_is_interrupted(lab: JupyterServer, open_notebook: OpenNotebook) -> None:
    """The stop button ends a blocking cell."""
    notebook = open_notebook(lab, BLOCKING)

    notebook.run(0)
    notebook.wait_for_text(0, "before")
    notebook.interrupt_kernel()

    assert "KeyboardInterrupt" in notebook.wait(0)


def test_the_server_keeps_to_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server sees no Jupyter token of ours, keeps its address over a restart, and is gone after ``stop``."""
    monkeypatch.setenv("JUPYTER_TOKEN", "ours")
    with JupyterServer("notebook", tmp_path / "server", base_url="/x/") as server:
        assert httpx.get(f"{server.url}api/contents?token=ours").status_code == httpx.codes.FORBIDDEN
        assert server.api("GET", "api/contents").json()["content"] == []
        before = server.url
        server.restart()
        assert server.url == before
        assert server.api("GET", "api/status").status_code == httpx.codes.OK
        assert "GET /x/api/status" in server.log_text()

    with pytest.raises(httpx.ConnectError):
        server.api("GET", "api/status")


# ---- the provider --------------------------------------------------------------------------------------------------


def authorize_url(provider: Provider, server: JupyterServer, **more: str) -> str:
    """Return a request whose answer goes to a page that the server does not have."""
    challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
    query = {
        "client_id": "pywry",
        "response_type": "code",
        "redirect_uri": redirect_uri(server),
        "scope": "openid profile offline_access",
        "prompt": "consent",
        "state": "a-state",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        **more,
    }
    return f"{provider.issuer}/auth?{urlencode(query)}"


def redirect_uri(server: JupyterServer) -> str:
    """Return an address that the provider knows and the server does not."""
    return f"http://127.0.0.1:{server.port}/cb"


def answer_of(page: Page) -> dict[str, str]:
    """Wait for the redirect and return its parameters."""
    page.wait_for_url("**/cb?*", wait_until="commit")
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def exchange(provider: Provider, server: JupyterServer, code: str) -> httpx.Response:
    """Redeem a code."""
    form = {"client_id": "pywry", "code": code, "code_verifier": VERIFIER, "redirect_uri": redirect_uri(server)}
    return httpx.post(f"{provider.issuer}/token", data={"grant_type": "authorization_code", **form})


def test_a_person_signs_in(provider: Provider, lab: JupyterServer, page: Page) -> None:
    """Login and consent end in a code with the issuer's name, which is redeemed once; the journal counts both."""
    page.goto(authorize_url(provider, lab))
    sign_in(page, "grace")
    answer = answer_of(page)

    assert (answer["state"], answer["iss"]) == ("a-state", provider.issuer)
    tokens = exchange(provider, lab, answer["code"]).json()
    assert {"access_token", "refresh_token", "id_token"} <= tokens.keys()
    person = httpx.get(f"{provider.issuer}/me", headers={"Authorization": f"Bearer {tokens['access_token']}"}).json()
    assert person["name"] == "grace"
    assert exchange(provider, lab, answer["code"]).json()["error"] == "invalid_grant"
    assert provider.requests_to("/auth") == 1
    assert provider.requests_to("/token", grant_type="authorization_code") == 2
    assert provider.requests_to("/token", status=400, error="invalid_grant") == 1
    assert tokens["access_token"] not in str(provider.journal())
    assert answer["code"] not in str(provider.journal())


def test_a_known_person_only_consents(provider: Provider, lab: JupyterServer, page: Page) -> None:
    """The second login in the same browser asks for no name."""
    for _ in range(2):
        page.goto(authorize_url(provider, lab))
        sign_in(page)
        assert "code" in answer_of(page)
        page.goto("about:blank")


def test_a_person_cancels(provider: Provider, lab: JupyterServer, page: Page) -> None:
    """Cancel at the provider ends in access_denied."""
    page.goto(authorize_url(provider, lab))
    sign_in(page, deny=True)

    assert answer_of(page)["error"] == "access_denied"
    assert provider.requests_to("/auth/:uid", error="access_denied") == 1


def test_the_provider_misbehaves_on_demand(provider: Provider, lab: JupyterServer, page: Page) -> None:
    """The switches do what they say, unknown ones are refused, and ``reset`` takes them back."""
    provider.control(wrong_iss=True, deny_all=True)
    page.goto(authorize_url(provider, lab))
    answer = answer_of(page)
    assert (answer["error"], answer["iss"]) == ("access_denied", "https://issuer.invalid")

    busy = {"status": 503, "body": {"error": "busy"}}
    provider.control(offline=["/me"], answers={"/token": busy}, delays={"/token": 0.3})
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{provider.issuer}/me")
    started = time.monotonic()
    assert exchange(provider, lab, "a-code").status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert time.monotonic() - started > 0.3
    with pytest.raises(HarnessError, match="no such switch"):
        provider.control(no_such_switch=True)

    provider.reset()
    assert provider.journal() == []
    assert exchange(provider, lab, "a-code").json()["error"] == "invalid_grant"


# ---- popups --------------------------------------------------------------------------------------------------------


def test_a_popup_without_opener_is_found(provider: Provider, open_notebook: OpenNotebook, lab: JupyterServer) -> None:
    """A popup of a notebook is walked through the pages of a provider that severs the opener."""
    provider.control(coop="same-origin")
    notebook = open_notebook(lab)
    script = f"() => {{ window.open({authorize_url(provider, lab)!r}, '_blank', 'popup,noopener'); }}"

    popup = popup_after(notebook.page, lambda: notebook.page.evaluate(script))
    sign_in(popup)

    assert "code" in answer_of(popup)


def test_the_popup_blocker_can_be_left_on(strict_context: BrowserContext, context: BrowserContext) -> None:
    """A window without a user's click opens only where popups are let through."""
    address = "data:text/html,<script>window.found = window.open('about:blank')</script>"
    opened = []
    for browser in (strict_context, context):
        page = browser.new_page()
        page.goto(address)
        opened.append(page.evaluate("Boolean(window.found)"))

    assert opened == [False, True]
