"""What the tests of exits share."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

import pytest

from pywry_auth_nb.exits import environment
from tests.exits.sts import Sts
from tests.support.api import Api

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Variables of this machine that presets look at.
_OTHERS = ("AWS_", "GOOGLE_", "ANTHROPIC_", "DATABRICKS_", "PYWRY_AUTH")


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of what lasts as long as a user is signed in to the machine; and no variables of its services."""
    for name in [name for name in os.environ if name.startswith(_OTHERS)]:
        monkeypatch.delenv(name)
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    return folder


@pytest.fixture(autouse=True)
def environment_is_put_back(runtime: Path) -> Iterator[None]:
    """Look that nothing that a test served is in the environment any more."""
    before = [*environment._layers]
    yield
    assert environment._layers == before


@pytest.fixture
def sts() -> Iterator[Sts]:
    """A token service for roles."""
    with Sts() as service:
        yield service


@pytest.fixture
def api() -> Iterator[Api]:
    """An API that wants tokens."""
    with Api() as server:
        yield server
