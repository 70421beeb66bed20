"""The table of clients, written by a run of all of them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.clients.client import CLIENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = """\
# Clients that follow a sign-in

Each client was opened once and used over three renewals of the session's token, at a server on this machine that takes
only the newest one; Kafka's were connected anew after each. The test ended the tokens: it did not wait for their end.
"yes": every request carried the newest token, and none was refused. `make clients` runs all of them
and writes this table; `make test` runs the first {light}.

| client | version | how | follows |
|---|---|---|---|
"""
_others = Path(__file__).with_name("not_run.md")


@pytest.fixture(scope="session")
def results() -> Iterator[dict[str, str]]:
    """What was found, by client; at the end it becomes the table that CLIENTS_TABLE names."""
    found: dict[str, str] = {}
    yield found
    path = os.environ.get("CLIENTS_TABLE")
    if path and len(found) == len(CLIENTS):
        ordered = sorted(CLIENTS, key=lambda each: not each.light)
        rows = [f"| {each.name} | {each.version} | {each.how} | {found[each.name]} |\n" for each in ordered]
        head = HEAD.format(light=sum(each.light for each in CLIENTS))
        Path(path).write_text(head + "".join(rows) + _others.read_text(encoding="utf-8"), encoding="utf-8")


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of what lasts as long as a user is signed in to the machine."""
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
