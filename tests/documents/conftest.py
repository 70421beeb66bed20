"""A notebook for each document to run in, with nothing of the developer's around it."""

from __future__ import annotations

import os
import sys
import webbrowser
from contextlib import ExitStack
from types import ModuleType
from typing import TYPE_CHECKING, Any
from unittest import mock

import comm
import ipykernel
import ipykernel.ipkernel  # noqa: F401 - it sets comm's functions when it is imported
import ipywidgets
import keyring.core
import pytest
from comm.base_comm import CommManager
from IPython.core.interactiveshell import InteractiveShell
from keyring.backend import KeyringBackend
from traitlets.config import Config

from pywry_auth_nb.token_store import make_encryption_key, reset_token_store
from tests.documents.wire import FrontEnd, Internet
from tests.support.idp import CLIENT
from tests.support.lookalikes import SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class EmptyKeyring(KeyringBackend):
    """An unlocked keyring in this process."""

    viable = False  # keyring must not find it by itself
    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self._entries: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        """Read an entry."""
        return self._entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        """Write an entry."""
        self._entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        """Remove an entry."""
        del self._entries[service, username]


@pytest.fixture
def internet() -> Iterator[Internet]:
    """Providers and an API, under the addresses that the documents use."""
    with ExitStack() as stack:
        yield Internet(stack)


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, internet: Internet) -> pytest.MonkeyPatch:
    """What an administrator has set for notebooks; and a home, a keyring and a network of the test's own."""
    for name in os.environ:
        if name.startswith(("JUPYTER", "JPY_", "PYWRY_", "XDG_", "HUB_")):
            monkeypatch.delenv(name)
    settings = {
        "HOME": str(tmp_path),
        "JUPYTER_CONFIG_DIR": str(tmp_path),
        "JUPYTER_RUNTIME_DIR": str(tmp_path),
        "PYWRY_OAUTH2__PROVIDER": "oidc",
        "PYWRY_OAUTH2__CLIENT_ID": CLIENT,
        "PYWRY_OAUTH2__ISSUER_URL": internet.local.issuer,
        "PYWRY_AUTH_DEMO_ISSUER": internet.local.issuer,
        "GOOGLE_CLIENT_SECRET": SECRET,
        "GITHUB_CLIENT_SECRET": SECRET,
        "NOTEBOOKS_CLIENT_SECRET": SECRET,
        "HUB_REDIS": "rediss://hub:PASSWORD@redis.example.org:6379/0",
        "HUB_REDIS_SECRET": make_encryption_key(),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(keyring.core, "_keyring_backend", EmptyKeyring())
    internet.connect(monkeypatch)
    return monkeypatch


@pytest.fixture
def front_end(internet: Internet, environment: pytest.MonkeyPatch) -> Iterator[FrontEnd]:
    """A kernel's surroundings, and Ada in front of them."""
    ipywidgets.Widget.close_all()  # those of earlier tests, while their comms are known
    front_end = FrontEnd(internet)
    comms = CommManager()
    environment.setattr(webbrowser, "open", front_end.browse)
    environment.setattr(comm, "create_comm", front_end.create_comm)
    environment.setattr(comm, "get_comm_manager", lambda: comms)
    yield front_end
    ipywidgets.Widget.close_all()
    front_end.close()


@pytest.fixture
def variables() -> Iterator[None]:
    """What a page sets in its process is gone with the page."""
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture
def shell(front_end: FrontEnd, environment: pytest.MonkeyPatch, variables: None) -> Iterator[InteractiveShell]:
    """The shell of a notebook, which also has the ``c`` of a configuration file."""
    environment.syspath_prepend("")  # what a page adds to the path is gone with the page
    notebook: Any = ModuleType("__main__")  # so that workers get the functions of a page
    notebook.c = Config()
    environment.setitem(sys.modules, "__main__", notebook)
    config = Config({"HistoryManager": {"enabled": False}})
    shell = InteractiveShell.instance(config=config, user_module=notebook)
    shell.kernel = front_end
    reset_token_store()
    yield shell
    reset_token_store()
    InteractiveShell.clear_instance()
