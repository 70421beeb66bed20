"""The table of providers for users, and its links."""

from __future__ import annotations

import re

from pywry_auth_nb._wire.error_codes import is_known
from tests.documents.pages import ROOT
from tests.providers.overview import overview
from tests.providers.recipes import PAGES
from tests.support.cases import case
from tests.support.quirks import QUIRKS


def test_the_table_for_users_is_the_one_that_the_tests_run() -> None:
    """Nothing is claimed that the table of quirks does not have; CONTRIBUTING.md says how to write it anew."""
    assert (PAGES / "README.md").read_text(encoding="utf-8") == overview()


def test_every_page_is_in_the_table() -> None:
    """Each provider has a page, and each page a row."""
    pages = {path.name for path in PAGES.glob("*.md")} - {"README.md"}

    assert {quirks.page for quirks in QUIRKS.values()} == pages


def test_codes_that_a_page_explains_exist() -> None:
    """Under "you see", a page has error codes of this package."""
    for page in PAGES.glob("*.md"):
        cells = re.findall(r"^\| (.+?) \|", page.read_text(encoding="utf-8").partition("| you see |")[2], re.MULTILINE)
        with case(page.name):
            assert [code for cell in cells for code in re.findall(r"`([a-z_]+)`", cell) if not is_known(code)] == []


def test_tests_that_the_table_names_exist() -> None:
    """Where a provider has tests of its own, they are there."""
    named = re.findall(r"`(tests/[\w/.]+)`", "".join(quirks.run for quirks in QUIRKS.values()))

    assert [path for path in named if not (ROOT / path).exists()] == []
