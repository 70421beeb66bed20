"""The documents and notebooks of this repository, taken apart into blocks of code and prose."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_DOCUMENTS = ("README.md", "SECURITY.md", "CHANGELOG.md", "CONTRIBUTING.md")
_FOLDERS = ("docs", "examples", "notebooks")
_NOT_OURS = {"node_modules", "hub-home", "build", "dist"}
_FENCE = re.compile(r" {0,3}(?:[-*] +)?(`{3,}|~{3,}) *(\w*)[^`]*$")
_SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block, or one code cell.

    Attributes:
        page: The document, relative to the repository.
        line: The line of the document, or the number of the cell, where it begins.
        language: What stands behind the fence; ``python`` for a code cell.
        text: The code.
    """

    page: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        """Where a reader finds it."""
        return f"{self.page}:{self.line}"

    @property
    def first_line(self) -> str:
        """The first line that is not empty: the block's name in tables."""
        return next((line.strip() for line in self.text.splitlines() if line.strip()), "")


@dataclass(frozen=True)
class Page:
    """One document or notebook: its ``blocks`` in order, and the text around them."""

    name: str
    blocks: tuple[Block, ...]
    prose: str

    @property
    def text(self) -> str:
        """Everything that a reader sees."""
        return "\n".join([self.prose, *(block.text for block in self.blocks)])

    @property
    def spans(self) -> list[str]:
        """The inline code of the prose, each on one line."""
        return [" ".join(found.group(2).split()) for found in _SPAN.finditer(self.prose)]


def read_pages() -> list[Page]:
    """Read every document and notebook of the repository."""
    return [_read(path) for path in sorted(_paths())]


def _paths() -> set[Path]:
    documents = {ROOT / name for name in _DOCUMENTS if (ROOT / name).exists()}
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _NOT_OURS]
        top = Path(folder).relative_to(ROOT).parts[:1]
        suffixes = (".ipynb", ".md") if top and top[0] in _FOLDERS else (".ipynb",)
        documents |= {Path(folder, name) for name in files if name.endswith(suffixes)}
    return documents


def _read(path: Path) -> Page:
    name, text = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
    blocks, prose = _cells(name, text) if path.suffix == ".ipynb" else take_apart(name, text)
    return Page(name, tuple(blocks), prose)


def _cells(name: str, text: str) -> tuple[list[Block], str]:
    blocks: list[Block] = []
    prose: list[str] = []
    for number, cell in enumerate(json.loads(text)["cells"], start=1):
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            blocks.append(Block(name, number, "python", source))
        else:
            fenced, words = take_apart(name, source, number)
            blocks += fenced
            prose.append(words)
    return blocks, "\n\n".join(prose)


def take_apart(name: str, text: str, cell: int | None = None) -> tuple[list[Block], str]:
    """Return the fenced blocks of a Markdown text, and the rest of it.

    Raises:
        ValueError: A fence is not closed; or a block is indented in place of being fenced, and would not be seen.
    """
    blocks: list[Block] = []
    prose: list[str] = []
    fence, language, began, inside = "", "", 0, list[str]()
    for number, line in enumerate(text.splitlines(), start=1):
        found = _FENCE.match(line)
        if fence and found and found.group(1).startswith(fence) and not found.group(2):
            blocks.append(Block(name, began if cell is None else cell, language, "\n".join(inside)))
            fence = ""
        elif fence:
            inside.append(line)
        elif found:
            fence, language, began, inside = found.group(1), found.group(2), number, []
        elif line.startswith("    ") and (not prose or not prose[-1].strip()):
            raise ValueError(f"{name}:{number}: an indented code block; put it between fences")
        else:
            prose.append(line)
    if fence:
        raise ValueError(f"{name}:{began}: the fence is not closed")
    return blocks, "\n".join(prose)
