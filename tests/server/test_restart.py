"""A kernel that restarts: its sign-in is in the store, and the first cell has a token with no click."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from tests.stores.servers import RedisServer, SecretService
from tests.support.idp import CLIENT

from .conftest import Kernel, callback

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.idp import Idp

    from .conftest import Browser

SETUP = """
from pywry_auth_nb import GenericOIDCProvider, LoginWidget, SessionManager
from pywry_auth_nb.token_store import FileTokenStore, KeyringTokenStore, RedisTokenStore
session = SessionManager(GenericOIDCProvider({client!r}, issuer_url={issuer!r}), {store})
"""


@pytest.fixture(params=["file", "keyring", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The code of a store that kernels find when they are started after this."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    with contextlib.ExitStack() as servers:
        if request.param == "file":
            yield "FileTokenStore()"
        elif request.param == "keyring":
            service = servers.enter_context(SecretService())
            for name, value in service.environment().items():
                monkeypatch.setenv(name, value)
            monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.SecretService.Keyring")
            yield "KeyringTokenStore()"
        else:
            yield f"RedisTokenStore({servers.enter_context(RedisServer()).url!r})"


async def test_a_restarted_kernel_needs_no_click(store: str, kernel: Kernel, browser: Browser, idp: Idp) -> None:
    """Its first cell reads the token, whether that is still good or has to be renewed first."""
    setup = SETUP.format(client=CLIENT, issuer=idp.issuer, store=store)
    idp.lifetime = 6
    path = await kernel.run(setup + "widget = LoginWidget(session)\nprint(widget.login_path)")
    await browser.open(callback(idp.authorize(await browser.begin(path))))
    tell = "import hashlib\nprint(hashlib.sha256(session.access_token.encode()).hexdigest(), session.display_name)"
    before = await kernel.run(tell)

    seen: list[Any] = []
    for _ in range(2):
        await kernel.manager.restart_kernel(now=True)
        await kernel.client.wait_for_ready(timeout=60)
        seen.append(await kernel.run(setup + tell))

    assert {found.split()[1] for found in [before, *seen]} == {"Ada"}
    assert idp.requests_to("/authorize") == 0, "the user was not asked"
    await kernel.run(setup + "import time\ntime.sleep(6)\nsession.access_token")
    assert any(idp.refresh_tokens.values()), "no refresh token was used twice"
