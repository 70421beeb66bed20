"""One more scope, and a newer sign-in, in a real browser: what an API demands leads to a click, and to the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.api import Api

from .sign_in import sign_in
from .test_sign_in import click_again, click_sign_in, says

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import OpenNotebook
    from .driver import NotebookPage
    from .processes import JupyterServer, Provider

pytestmark = pytest.mark.timeout(120)

SETUP = """
from pywry_auth_nb import GenericOIDCProvider, InsufficientScopeError, MemoryTokenStore, SessionManager, StepUpRequired
import httpx
scopes = "openid profile offline_access"
provider = GenericOIDCProvider("pywry", issuer_url={issuer!r}, scopes=scopes, prompt="consent")
session = SessionManager(provider, MemoryTokenStore())
"""
ASK = """
try:
    print(httpx.get({url!r}, auth=session.auth).status_code)
except (InsufficientScopeError, StepUpRequired) as error:
    demand = error
    print(error)
"""
REQUIRE = "session.require(*demand.scopes, timeout=60)\nprint(session.scopes)"
STEP_UP = "print(session.login(60, acr_values=demand.acr_values, max_age=demand.max_age))"
STATE = "await session.refresh()\nprint(session.status, session.display_name, session.scopes)"
BEFORE = "('openid', 'profile', 'offline_access')"


@pytest.fixture
def api() -> Iterator[Api]:
    """An API of the tests' own."""
    with Api() as running:
        yield running


def scope_of(provider: Provider, token: str) -> str:
    """Ask the provider what a token is good for (RFC 7662)."""
    form = {"token": token, "client_id": "pywry"}
    answer = httpx.post(f"{provider.issuer}/token/introspection", data=form, timeout=10, trust_env=False)
    return str(answer.json().get("scope", ""))


def signed_in(open_notebook: OpenNotebook, server: JupyterServer, provider: Provider, *cells: str) -> NotebookPage:
    """A notebook in which Ada has signed in; its further cells begin with number 2."""
    notebook = open_notebook(server, SETUP.format(issuer=provider.issuer), "session", *cells)
    notebook.run_and_wait(0)
    notebook.run(1)
    sign_in(click_sign_in(notebook, 1))
    says(notebook, 1, "ada")
    return notebook


def test_an_api_asks_for_one_more_scope(
    lab: JupyterServer, provider: Provider, open_notebook: OpenNotebook, api: Api
) -> None:
    """H404, H406: 403, the error names the scope, the user consents to it, and the API answers; a refresh keeps it."""
    challenge = 'Bearer error="insufficient_scope", scope="files.read"'
    api.demand = lambda token: None if "files.read" in scope_of(provider, token) else (403, [challenge])
    notebook = signed_in(open_notebook, lab, provider, ASK.format(url=api.url), REQUIRE, STATE)
    assert 'Run session.require("files.read"), then try again.' in notebook.run_and_wait(2)
    notebook.run(3)
    says(notebook, 3, "This cell asks for more access: files.read")
    sign_in(click_again(notebook, 3))

    after = "('openid', 'profile', 'offline_access', 'files.read')"
    assert notebook.wait(3).endswith(f"{after}\n")
    says(notebook, 3, "ada")
    assert notebook.run_and_wait(2) == "200\n"
    assert notebook.run_and_wait(4) == f"signed_in ada {after}\n"
    assert provider.requests_to("/token/revocation") == 0


def test_who_declines_more_access_stays_signed_in(
    lab: JupyterServer, provider: Provider, open_notebook: OpenNotebook
) -> None:
    """H405: the cell says that it was declined; the widget, the token and a refresh are as before."""
    require = "session.require('files.read', timeout=60)"
    notebook = signed_in(open_notebook, lab, provider, require, STATE)
    notebook.run(2)
    says(notebook, 2, "This cell asks for more access: files.read")
    sign_in(click_again(notebook, 2), deny=True)

    assert "AuthFlowCancelled" in notebook.wait(2)
    says(notebook, 1, "ada")
    assert notebook.run_and_wait(3) == f"signed_in ada {BEFORE}\n"
    notebook.run(2)
    says(notebook, 2, "This cell asks for more access: files.read")
    notebook.widget(2).get_by_role("button", name="Cancel").click()
    assert "AuthFlowCancelled" in notebook.wait(2)
    assert notebook.run_and_wait(3) == f"signed_in ada {BEFORE}\n"


def test_an_api_asks_for_a_newer_sign_in(
    lab: JupyterServer, provider: Provider, open_notebook: OpenNotebook, api: Api
) -> None:
    """H406, H408: 401, the provider asks for the password again; another person's is refused, the same one's counts."""
    challenge = 'Bearer error="insufficient_user_authentication", acr_values="phr", max_age="0"'
    api.demand = lambda token: (401, [challenge]) if token == api.tokens()[0] else None
    notebook = signed_in(open_notebook, lab, provider, ASK.format(url=api.url), STEP_UP, STATE)
    assert 'Run session.login(acr_values="phr", max_age=0), then try again.' in notebook.run_and_wait(2)
    notebook.run(3)
    says(notebook, 3, "This cell asks you to sign in again.")
    sign_in(click_again(notebook, 3), "eve")
    assert "identity_changed" in notebook.wait(3) + str(notebook.outputs(3))
    assert notebook.run_and_wait(4) == f"signed_in ada {BEFORE}\n"

    notebook.run(3)
    says(notebook, 3, "This cell asks you to sign in again.")
    sign_in(click_again(notebook, 3))
    assert "<AuthFlowResult signed in>" in notebook.wait(3)
    assert notebook.run_and_wait(2) == "200\n"
    assert notebook.run_and_wait(4) == f"signed_in ada {BEFORE}\n"
