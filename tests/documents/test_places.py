"""The table of places names what shows each of them, and says of the others that they were not tried."""

from __future__ import annotations

import ast

import pytest

from tests.documents.pages import ROOT

ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs" / "places.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| place")
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_place_has_its_test(row: list[str]) -> None:
    """A row of the table names a test that exists, or says that the place was not tried."""
    place, version, tried, test = row
    if tried.startswith("not tried"):
        assert not version + test
        return
    path, _, name = test.strip("`").partition("::")
    tests = [
        node.name
        for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    ]

    assert version, place
    assert name in tests


def test_the_table_names_all_tests_of_places() -> None:
    """Each test below tests/places stands in the table."""
    named = {row[3].strip("`") for row in ROWS}
    for path in sorted((ROOT / "tests" / "places").glob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                assert f"tests/places/{path.name}::{node.name}" in named
