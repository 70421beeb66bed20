"""A network with the providers of the field, and a user who follows their pages."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.documents.wire import Internet
from tests.providers.recipes import SECRET_FILE, settings_of
from tests.providers.user import User
from tests.support.lookalikes import SECRET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.quirks import Quirks


@pytest.fixture
def internet(monkeypatch: pytest.MonkeyPatch) -> Iterator[Internet]:
    """All providers, at their own addresses."""
    with ExitStack() as stack:
        internet = Internet(stack)
        internet.connect(monkeypatch)
        yield internet


@pytest.fixture
def user(quirks: Quirks, internet: Internet, monkeypatch: pytest.MonkeyPatch) -> User:
    """A user who has run the cell of the provider's page."""
    monkeypatch.setenv("NOTEBOOKS_CLIENT_SECRET", SECRET)
    return User(quirks, internet)


@pytest.fixture
def use_settings(
    quirks: Quirks, internet: Internet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., None]:
    """Puts the settings of the provider's page into the environment, except those that are named."""
    file = tmp_path / "client-secret"
    file.write_text(SECRET)

    def use(*left_out: str) -> None:
        for name in [name for name in os.environ if name.startswith("PYWRY_")]:
            monkeypatch.delenv(name)
        for name, value in settings_of(quirks).items():
            if name.removeprefix("PYWRY_OAUTH2__") not in left_out:
                monkeypatch.setenv(name, value.replace(SECRET_FILE, str(file)))

    return use
