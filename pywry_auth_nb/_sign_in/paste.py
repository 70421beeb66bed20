"""The provider's answer in what a user pastes: the address at which the browser ended (RFC 6749 §4.1.2).

A browser on another machine than the kernel's cannot open the redirect URI, and keeps the address.
"""

from __future__ import annotations

from typing import NoReturn
from urllib.parse import parse_qsl

from .._wire.protocol import MAX_QUERY
from ..errors import AuthenticationError

_MAX_TEXT = MAX_QUERY + 2048  # characters: the query, and what comes before it
_MAX_FIELDS = 32
_QUOTES = "<>\"'`"


def answer_in(text: str, redirect_uri: str) -> dict[str, str]:
    """Return the parameters of the answer in ``text``: a whole address, or its query alone.

    Args:
        text: What the user pasted. White space is left out, since a terminal or a mail may have wrapped the address.
        redirect_uri: How the address begins, for messages.

    Raises:
        AuthenticationError: Code ``paste_unusable``: the text does not hold exactly one answer; the message says
            what to paste. Nothing is used up.
    """
    compact = "".join(text.split()).strip(_QUOTES) if len(text) <= _MAX_TEXT else ""
    if not compact:
        unusable("That is nothing to work with.", redirect_uri)
    query = (compact.partition("?")[2] or compact).partition("#")[0]
    try:
        pairs = parse_qsl(query, max_num_fields=_MAX_FIELDS, encoding="utf-8", errors="strict")
    except ValueError:
        pairs = []
    params = dict(pairs)
    if "code" not in params and "error" not in params:
        ours = (
            f"That is the address to sign in at. If an error is shown there, register {redirect_uri} at the provider."
        )
        unusable(ours if "response_type" in params else "There is no answer in that.", redirect_uri)
    if len(params) != len(pairs) or len(query) > MAX_QUERY:
        unusable("That cannot be read.", redirect_uri)
    if "state" not in params:
        unusable("A part of the address is missing (state).", redirect_uri)
    return params


def unusable(problem: str, redirect_uri: str) -> NoReturn:
    """Say what is wrong with the pasted text, and what to paste."""
    advice = f"Sign in, then paste the whole address at which the browser ends. It begins with {redirect_uri}?"
    raise AuthenticationError(f"{problem} {advice}", code="paste_unusable")
