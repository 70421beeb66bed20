"""Finding a secret in a text that may quote it in another form: encoded, escaped, wrapped, or in another case."""

from __future__ import annotations

import html
import re
import unicodedata
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What may stand for other characters: percent-encoding, also twice; HTML's references; JSON's escapes; one character.
_UNIT = re.compile(
    r"(?P<url>(?:%(?:25)*[0-9a-f]{2})+)|(?P<html>&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z]{2,6});)"
    r"|\\+(?P<code>u[0-9a-f]{4})|\\+[bfnrt]|(?P<char>.)",
    re.IGNORECASE | re.DOTALL,
)
_ENCODED_PERCENT = re.compile(r"%(?:25)+")
_IGNORED = frozenset("+=\\")  # a space in a form, the padding of base64, and what escapes


class Folded:
    """A text in which secrets are looked for.

    Attributes:
        folded: The text without encoding, escapes, white space, case and compatibility forms.
    """

    def __init__(self, text: str) -> None:
        self._units = [(_decoded(match), *match.span()) for match in _UNIT.finditer(text)]
        chars = [(char, unit) for unit, (decoded, *_) in enumerate(self._units) for char in _folded(decoded)]
        self.folded = "".join(char for char, _ in chars)
        self._unit_of = [unit for _, unit in chars]

    def find(self, secret: str, *, whole_word: bool) -> Iterator[tuple[int, int]]:
        """Yield the spans in the text that quote ``secret``, each with its start and end."""
        sought = Folded(secret).folded
        at = self.folded.find(sought) if sought else -1
        while at >= 0:
            first, last = self._unit_of[at], self._unit_of[at + len(sought) - 1]
            if not whole_word or self._is_word(first, last):
                yield self._units[first][1], self._units[last][2]
            at = self.folded.find(sought, at + len(sought))

    def _is_word(self, first: int, last: int) -> bool:
        """Whether neither letters nor digits are next to these units."""
        before = self._units[first - 1][0] if first else ""
        after = self._units[last + 1][0] if last + 1 < len(self._units) else ""
        return not (before[-1:].isalnum() or after[:1].isalnum())


def _decoded(unit: re.Match[str]) -> str:
    """Return the characters that a unit stands for; none for an escape of white space."""
    if unit["url"]:
        return unquote(_ENCODED_PERCENT.sub("%", unit["url"]))
    if unit["html"]:
        return html.unescape(unit["html"])
    if unit["code"]:
        return chr(int(unit["code"][1:], 16))
    return unit["char"] or ""


def _folded(chars: str) -> str:
    """Return characters without case, compatibility forms and white space."""
    plain = unicodedata.normalize("NFKD", chars).casefold()
    return "".join(char for char in plain if char.isprintable() and not char.isspace() and char not in _IGNORED)
