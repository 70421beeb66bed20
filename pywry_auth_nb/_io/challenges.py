"""Challenges in ``WWW-Authenticate`` (RFC 9110 §11.6.1): what an API demands beyond the token that it was sent.

They are text from outside. What does not follow the grammar, or is too long, is as good as absent.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..errors import InsufficientScopeError, StepUpRequired, TokenError

_MAX_LENGTH = 8192  # characters of the header
_MAX_VALUES = 1024  # characters of all scopes, or of all authentication contexts
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - a word of the grammar
_TEXT = r'"(?:[\t !\x23-\x5b\x5d-\x7e\x80-\U0010ffff]|\\[\t \x21-\x7e\x80-\U0010ffff])*"'
_TOKEN68 = r"[ \t]+[A-Za-z0-9._~+/-]+=*[ \t]*(?=,|$)"
_PARAM = rf"(?P<name>{_TOKEN})[ \t]*=[ \t]*(?:(?P<token>{_TOKEN})|(?P<text>{_TEXT}))[ \t]*(?=,|$)"
#: A parameter of the challenge before, or the scheme of the next one.
_PART = re.compile(rf"[ \t,]*(?:{_PARAM}|(?P<scheme>{_TOKEN})(?:{_TOKEN68})?(?=[ \t,]|$))[ \t,]*")
_ESCAPED = re.compile(r"\\(.)")
#: A scope token (RFC 6749 §3.3), which can be shown as it is: printable ASCII without quotes and backslashes.
_VALUE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
_SECONDS = re.compile("[0-9]{1,9}")


class Challenge(NamedTuple):
    """One challenge: its scheme and the names of its parameters in lower case."""

    scheme: str
    params: dict[str, str]


def read_challenges(header: str) -> list[Challenge]:
    """Parse the header, whose lines are joined by commas; return nothing if it is malformed or too long."""
    found: list[Challenge] = []
    at = 0
    while at < len(header) <= _MAX_LENGTH:
        part = _PART.match(header, at)
        if part is None:
            return []
        if part["scheme"]:
            found.append(Challenge(part["scheme"].lower(), {}))
        elif not found or part["name"].lower() in found[-1].params:
            return []
        else:
            found[-1].params[part["name"].lower()] = part["token"] or _ESCAPED.sub(r"\1", part["text"][1:-1])
        at = part.end()
    return found


def demand_in(header: str, server: str) -> TokenError | None:
    """Return what an API demands (RFC 6750 §3.1, RFC 9470 §3), as the error to raise; None if it demands nothing.

    Args:
        header: The values of ``WWW-Authenticate`` in the answer to a request that carried the token.
        server: The API's host, for the sentence.
    """
    for scheme, params in read_challenges(header):
        if scheme == "bearer" and params.get("error") == "insufficient_scope":
            return InsufficientScopeError(scopes=_values(params.get("scope", "")), server=server)
        if scheme == "bearer" and params.get("error") == "insufficient_user_authentication":
            age = params.get("max_age", "")
            return StepUpRequired(
                acr_values=" ".join(_values(params.get("acr_values", ""))),
                max_age=int(age) if _SECONDS.fullmatch(age) else None,
                server=server,
            )
    return None


def _values(text: str) -> list[str]:
    """Return what is separated by spaces; nothing if any of it is not a scope token, or if there is too much."""
    values = text.split()
    return values if len(text) <= _MAX_VALUES and all(map(_VALUE.fullmatch, values)) else []
