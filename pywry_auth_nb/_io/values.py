"""Lists, scopes and request parameters as people write them, in cells, configuration files and the environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from .strict_json import strict_json

_MAX_LABEL = 60  # characters


def read_list(value: Any) -> list[str]:
    """Return a list of strings, given as one, as JSON, or as text with spaces or commas in between.

    Raises:
        ValueError: It is something else. The message does not quote it.
    """
    if isinstance(value, str):
        value = strict_json(value.encode()) if value.lstrip().startswith("[") else value.replace(",", " ").split()
    if not isinstance(value, (list, tuple, set, frozenset)) or not all(isinstance(each, str) for each in value):
        raise ValueError("not a list of strings")
    return [each for each in value if each]


def read_scopes(value: Any) -> list[str]:
    """Return scopes (RFC 6749 §3.3), each once: from text with spaces, JSON, or a list, tuple or set of text.

    A comma beside a space separates, too. One inside a word belongs to it, as in Strava's ``read,activity:read``.

    Raises:
        ValueError: It is something else. The message does not quote it.
    """
    if isinstance(value, str):
        value = strict_json(value.encode()) if value.lstrip().startswith("[") else [value]
    if not isinstance(value, (list, tuple, set, frozenset)) or not all(isinstance(each, str) for each in value):
        raise ValueError("not scopes")
    parts = sorted(value) if isinstance(value, (set, frozenset)) else value
    words = (word.strip(",") for part in parts for word in part.split())
    return list(dict.fromkeys(filter(None, words)))


def read_parameters(value: Any) -> dict[str, str | list[str]]:
    """Return request parameters, given as a mapping, as JSON of one, or as a query (``a=b&c=d``).

    Numbers and booleans become text, None becomes ``""``, and a list is a parameter that is repeated.

    Raises:
        ValueError: It is something else. The message names the parameter, if one is at fault, and quotes no value.
    """
    if isinstance(value, str):
        value = strict_json(value.encode()) if value.lstrip().startswith("{") else _read_query(value.strip())
    if not isinstance(value, Mapping) or not all(isinstance(name, str) and name.strip() for name in value):
        raise ValueError("not a mapping of names to values")
    return {name: _read_value(name, each) for name, each in value.items()}


def _read_query(query: str) -> dict[str, list[str] | str]:
    parameters: dict[str, list[str]] = {}
    fields = query.split("&") if query else []
    if not all("=" in field for field in fields):
        raise ValueError("not a query")  # parse_qsl would quote the field
    for name, value in parse_qsl(query, keep_blank_values=True):
        parameters.setdefault(name, []).append(value)
    return {name: values if len(values) > 1 else values[0] for name, values in parameters.items()}


def _read_value(name: str, value: Any) -> str | list[str]:
    if isinstance(value, (list, tuple)):
        return [_as_text(name, each) for each in value]
    return _as_text(name, value)


def _as_text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if value is not None and not isinstance(value, (str, int, float)):
        raise ValueError(f"the value of {name!r} is not text")
    return "" if value is None else str(value)


def read_label(text: str) -> str:
    """Return a name for display: one line of printable characters, at most 60."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:_MAX_LABEL].rstrip()
