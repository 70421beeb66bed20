"""The defects of ``pywry.auth`` that are not inherited: each has a test that names it, or a reason why it cannot."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.cases import case

ROOT = Path(__file__).parents[2]
DEFECTS = [f"A{number}" for number in range(1, 22)] + [f"B{number}" for number in range(1, 19)]


def named_in_tests() -> set[str]:
    """The numbers that tests begin their docstrings with."""
    found: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for numbers in re.findall(r'"""((?:[A-Z]\d+(?:, )?)+):', path.read_text(encoding="utf-8")):
            found |= set(numbers.split(", "))
    return found


def explained() -> set[str]:
    """The numbers in the table of those that cannot apply."""
    page = (ROOT / "docs" / "coming-from-pywry.md").read_text(encoding="utf-8")
    return set(re.findall(r"^\| ([AB]\d+) \|", page, re.MULTILINE))


def test_a_defect_has_a_test_or_a_reason() -> None:
    """Nothing of the list is forgotten, and nothing is called impossible that a test shows."""
    for defect in DEFECTS:
        with case(defect):
            assert (defect in named_in_tests()) != (defect in explained())
