"""The table of findings, and the checks that use it."""

from __future__ import annotations

import ast
import string
from pathlib import Path

import pytest

from pywry_auth_nb import doctor
from pywry_auth_nb.doctor.findings import TABLE, found

CHECKS = ("server", "extension", "public", "kernel", "network", "provider", "clock", "store", "any check")
ROWS = [(check, row) for check in CHECKS for row in TABLE[check] if row not in TABLE.defaults()]
TREES = [ast.parse(path.read_text("utf-8")) for path in Path(doctor.__path__[0]).glob("*.py")]
CALLS = [
    node
    for tree in TREES
    for node in ast.walk(tree)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "found"
]


def values_of(check: str, row: str) -> set[str]:
    """Return the names of the values that a row needs."""
    fields = {name for _, name, _, _ in string.Formatter().parse(TABLE[check][row]) if name}
    return fields - {"check", "here"}


def constants(node: ast.AST) -> set[str]:
    """Return the strings that are written below a node."""
    return {one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)}


def rows_in(node: ast.AST) -> set[str]:
    """Return the rows that an argument names: as it stands, or as the outcomes of a condition."""
    if isinstance(node, ast.IfExp):
        return rows_in(node.body) | rows_in(node.orelse)
    return {node.value} if isinstance(node, ast.Constant) else set()


def test_each_row_can_be_told() -> None:
    """A row has a level and a sentence, says what to do unless all is well, and lacks no value."""
    for check, row in ROWS:
        finding = found(check, row, **dict.fromkeys(values_of(check, row), "x"))

        assert finding.level in {"ok", "note", "warning", "error"}
        assert finding.message
        assert bool(finding.advice) is (finding.level != "ok")
        assert "%(" not in finding.message + finding.advice
        assert finding.code == row.partition(".")[0]


def test_each_row_is_used() -> None:
    """A row that is not named in any check says something that the doctor does not look at."""
    named = set().union(*map(constants, TREES))

    assert {row for _, row in ROWS} <= named


def test_each_check_names_a_row_and_gives_its_values() -> None:
    """A finding cannot fail because its row or a value is missing."""
    assert len(CALLS) > 40
    for call in CALLS:
        check = next(iter(constants(call.args[0])), "any check")
        given = {keyword.arg for keyword in call.keywords}
        for row in rows_in(call.args[1]):
            section = check if row in TABLE[check] else "any check"

            assert row in TABLE[section]
            assert values_of(section, row) <= given


def test_an_unknown_row() -> None:
    """A row that does not exist is a mistake of ours, not a finding."""
    with pytest.raises(KeyError):
        found("server", "no_such_row")
