"""`Sieve`: what of a token response may be kept and shown besides its own tokens."""

from __future__ import annotations

import re
from typing import Any

_MAX_DEPTH = 16
_NAMES_A_TOKEN = re.compile(r"(?:tokens?(?:_?(?:value|v?\d+))?|jwt|secret|password|assertion)$", re.IGNORECASE)
_JWT = re.compile(r"eyJ[\w-]+\.[\w-]*\.")


class Sieve:
    """Takes the tokens out of a JSON value: text that is named like a token, looks like a JWT, or is one of ``own``.

    Attributes:
        found_others: Whether there were others than ``own``.
    """

    def __init__(self, *own: str | None) -> None:
        self._own = {"", *own}
        self.found_others = False

    def clean(self, value: Any, *, named: bool = False, depth: int = 0) -> Any:
        """Return ``value`` without tokens, and without what lies too deep.

        Args:
            value: The value.
            named: Whether it is named like a token. All text in it is then a token, except beside members that are
                named so themselves.
            depth: How deep it lies.
        """
        if depth > _MAX_DEPTH:
            return None
        if isinstance(value, list):
            return [self.clean(each, named=named, depth=depth + 1) for each in value if not self._is_token(each, named)]
        if not isinstance(value, dict):
            return value
        tokens = {name for name in value if _NAMES_A_TOKEN.search(str(name))}
        inherits = named and not tokens
        return {
            name: self.clean(each, named=inherits or name in tokens, depth=depth + 1)
            for name, each in value.items()
            if not self._is_token(each, inherits or name in tokens)
        }

    def _is_token(self, value: Any, named: bool) -> bool:
        if not isinstance(value, str) or not (named or _JWT.search(value) or (value and value in self._own)):
            return False
        self.found_others = self.found_others or value not in self._own
        return True
