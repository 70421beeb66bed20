"""The hazard codes that tests cite, and their legend."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).parents[1]
CODE = r"(?:[CHRT]\d{2,3}|[ABN]\d{1,2}|[IP][1-6])"
CITED = re.compile(rf"\b({CODE})\b(?: to ({CODE})\b)?")


def prose(path: Path) -> Iterator[str]:
    """The docstrings, comments and names of cases ("H043-html") of a module of tests."""
    source = path.read_text(encoding="utf-8")
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, documented):
            yield ast.get_docstring(node) or ""
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and re.match(rf"{CODE}-", node.value):
            yield node.value.partition("-")[0]
    yield from re.findall(r"#(?!.*noqa).*", source)


def codes(text: str) -> Iterator[str]:
    """The codes in a text; "H041 to H043" cites three."""
    for first, last in CITED.findall(text):
        numbers = range(int(first[1:]), int((last or first)[1:]) + 1)
        yield from (f"{first[0]}{number:0{len(first) - 1}}" for number in numbers)


def test_every_code_has_a_line_and_every_line_is_cited() -> None:
    """``tests/HAZARDS.md`` explains exactly the codes that tests cite, each once."""
    cited = {code for path in TESTS.rglob("*.py") for text in prose(path) for code in codes(text)}
    legend = re.findall(rf"^\| ({CODE}) \| .+ \|$", (TESTS / "HAZARDS.md").read_text(encoding="utf-8"), re.MULTILINE)

    assert sorted(legend) == sorted(set(legend)), "a code has two lines"
    assert sorted(cited - set(legend)) == [], "cited, but not explained"
    assert sorted(set(legend) - cited) == [], "explained, but not cited"
