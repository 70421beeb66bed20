"""The table of clients is of this state of the tests: `make clients` writes it."""

from __future__ import annotations

import tests.clients.http
import tests.clients.libraries  # noqa: F401 - they fill the list
from tests.clients.client import CLIENTS
from tests.documents.pages import ROOT


def test_the_table_has_each_client_that_is_run() -> None:
    """By its name, with the line that uses it."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (ROOT / "docs" / "clients.md").read_text(encoding="utf-8").splitlines()
        if line.count("|") == 5 and not line.startswith(("| client", "|-"))
    ]

    assert {(name, how) for name, _, how, _ in rows} == {(each.name, each.how) for each in CLIENTS}
    assert {name for name, _, _, follows in rows if follows != "yes"} == {
        each.name for each in CLIENTS if not each.follows
    }
