"""JSON that every decoder reads alike (RFC 8259)."""

from __future__ import annotations

import json
from typing import Any, NoReturn


def strict_json(data: bytes) -> Any:
    """Decode JSON, refusing what decoders disagree on: encodings, duplicate members, NaN (RFC 8259 §4, §6, §8).

    Raises:
        ValueError: The data is not JSON, is ambiguous, or is nested too deeply.
    """
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=unique, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deep") from None


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the members of an object.

    Raises:
        ValueError: A name occurs twice.
    """
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate member")
    return members


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)
