"""A provider's own words about a failure, as plain text: one line, without secrets, at most 200 characters.

The words are text from outside, and a provider may quote the request in them. They go to the kernel's log, to
``error.description`` and to the widget, and nowhere else.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Any

from .._wire.error_codes import is_known
from .folding import Folded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_MAX_LENGTH = 200
_LOOKED_AT = 32 * 1024  # characters, which bounds the cost
_REMOVED = "…"
_MAX_TOKENS = 100  # in an answer, which bounds the cost as well
_LONG = 8  # characters; a shorter secret is looked for as a whole word, since its letters stand in many words
_JWT = re.compile(r"eyJ[\w+/=-]{6,}[\w.+/=%-]*")  # how a JSON object begins in base64url
_MEMBERS = ("error_description", "message", "msg")
#: Parameters of a token request that are not secret, and that an explanation may need to quote.
_PUBLIC = frozenset({"grant_type", "client_id", "redirect_uri", "scope", "resource", "audience"})
_NO_TOKENS = frozenset({"token_type", "token_type_hint"})


def plain_text(words: str, secrets: Iterable[str] = ()) -> str:
    """Return ``words`` as one printable line of at most 200 characters, with ``secrets`` and JWTs left out.

    The secrets are looked for before the text is cut: as they are, encoded, escaped or wrapped, in any case.
    """
    text = _one_line(words[:_LOOKED_AT])
    folded = Folded(text)
    spans = [match.span() for match in _JWT.finditer(text)]
    for secret in set(secrets):
        spans += folded.find(_one_line(secret), whole_word=len(secret) < _LONG)
    return _without(text, spans)[:_MAX_LENGTH]


def _without(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """Return ``text`` with a mark in place of each of the ``spans``; of one for those that overlap."""
    kept, end = [], 0
    for start, stop in sorted(spans):
        if start >= end:
            kept += [text[end:start], _REMOVED]
        end = max(end, stop)
    return "".join([*kept, text[end:]])


def words_in(body: Any) -> str:
    """Return what an error response says in words (RFC 6749 §5.2), or in a member that providers use instead.

    An ``error`` outside the table of error codes counts as words as well.
    """
    members = body if isinstance(body, dict) else {}
    error = members.get("error")
    inner = error.get("message") if isinstance(error, dict) else error
    said = [*(members.get(name) for name in _MEMBERS), None if is_known(inner) else inner]
    return next((words for words in said if isinstance(words, str) and words.strip()), "")


def secrets_in_form(form: Mapping[str, str | Sequence[str]]) -> Iterator[str]:
    """Yield the values of a request that must not be shown."""
    for name, value in form.items():
        if name not in _PUBLIC:
            yield from [value] if isinstance(value, str) else value


def secrets_in_answer(body: Any) -> Iterator[str]:
    """Yield the tokens in a response, at any depth, but no more than 100."""
    return islice(_tokens_in(body), _MAX_TOKENS)


def _tokens_in(body: Any) -> Iterator[str]:
    left = [(body, False)]
    while left:
        value, secret = left.pop()
        if isinstance(value, dict):
            left += [(member, secret or _is_token(name)) for name, member in value.items()]
        elif isinstance(value, list):
            left += [(member, secret) for member in value]
        elif secret and isinstance(value, str):
            yield value


def _is_token(name: str) -> bool:
    return "token" in name.lower() and name.lower() not in _NO_TOKENS


def _one_line(text: str) -> str:
    """Return ``text`` on one line, without control characters and those that change the direction of writing."""
    return "".join(char for char in " ".join(text.split()) if char.isprintable())
