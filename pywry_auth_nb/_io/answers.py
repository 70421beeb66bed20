"""`Answer`: a response as the rest of the package sees it, and how it is read."""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl

from .inflate import UnreadableEncodingError, inflated
from .strict_json import strict_json, unique

if TYPE_CHECKING:
    import httpx

_MAX_RETRY_AFTER = 3600.0
_JSON_TYPES = ("application/json", "application/jwk-set+json")
_JWT = re.compile(rb"[\w-]+(?:\.[\w-]*){2}(?:(?:\.[\w-]*){2})?")  # signed (RFC 7515 §3.1), or encrypted (RFC 7516 §3.1)
_BOM = b"\xef\xbb\xbf"
_SAME_TIME = 2.0  # seconds by which two clocks may seem to differ because a request took so long


@dataclass(frozen=True, repr=False)
class Answer:
    """A response.

    Attributes:
        status: The HTTP status.
        body: The decoded JSON value; None if the body is not JSON. A JSON Web Token, if asked for, is a string.
        retry_after: Seconds of ``Retry-After``, capped at an hour; None if absent.
        sent_at: Epoch seconds when the request was sent.
        date: Epoch seconds of ``Date``, the server's clock; None if absent.
        location: The ``Location`` of a redirect, unresolved; None if absent.
        ahead: By how many seconds our clock is ahead of the server's; 0 if that is unknown, or less than 2.
        text: The body of an error, if it is plain text and no JSON, such as a framework's message; else empty.
    """

    status: int
    body: Any
    retry_after: float | None
    sent_at: float
    date: float | None = None
    location: str | None = None
    ahead: float = 0.0
    text: str = ""

    @property
    def ok(self) -> bool:
        """Whether the status is a success: 200 in OAuth and OpenID Connect, another 2xx at some providers."""
        return 200 <= self.status < 300  # noqa: PLR2004


class Reply(NamedTuple):
    """A response before decoding; its attributes as in :class:`Answer`."""

    status: int
    headers: httpx.Headers
    body: bytes
    location: str | None


def answer_of(reply: Reply, sent_at: float, *, form: bool, jwt: bool) -> Answer:
    """Read a response.

    Args:
        reply: The response.
        sent_at: Epoch seconds when the request was sent.
        form: Whether the body may also be a form.
        jwt: Whether it may also be a JSON Web Token.
    """
    date = _epoch(reply.headers.get("date"))
    ahead = 0.0 if date is None else time.time() - date
    return Answer(
        reply.status,
        _decode(reply, form=form, jwt=jwt),
        _retry_after(reply.headers.get("retry-after")),
        sent_at,
        date,
        reply.location,
        ahead if abs(ahead) > _SAME_TIME else 0.0,
        _text(reply),
    )


def plain_body(data: bytes, encodings: str, limit: int) -> bytes:
    """Return an inflated body, at most one byte more than ``limit``; as it is if it cannot be inflated.

    Some servers name a character set as the encoding, and some proxies inflate and leave the label.
    """
    if not encodings or len(data) > limit:
        return data
    try:
        return inflated(data, encodings, limit)
    except UnreadableEncodingError:
        return data


def _decode(reply: Reply, *, form: bool, jwt: bool) -> Any:
    """Return the decoded body; None for anything but JSON, and what else is allowed.

    A JSON object is one whatever its label says, with or without a byte order mark; other values must be labelled.
    """
    media_type = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    with contextlib.suppress(ValueError):
        value = strict_json(reply.body.removeprefix(_BOM))
        if isinstance(value, dict) or media_type in _JSON_TYPES:
            return value
    if form and media_type == "application/x-www-form-urlencoded":
        with contextlib.suppress(ValueError):
            return unique(parse_qsl(reply.body.decode("ascii"), strict_parsing=True))
    if jwt and _JWT.fullmatch(reply.body.strip()):
        return reply.body.strip().decode("ascii")
    return None


def _text(reply: Reply) -> str:
    """Return the plain text of an error. What is or was meant as data is not text: it may hold tokens."""
    plain = reply.headers.get("content-type", "").lower().startswith("text/plain")
    if plain and reply.status >= 400:  # noqa: PLR2004
        with contextlib.suppress(UnicodeDecodeError):
            text = reply.body.decode("utf-8").strip()
            return "" if text.startswith(("{", "[")) else text
    return ""


def _retry_after(value: str | None) -> float | None:
    """Parse ``Retry-After``: seconds or an HTTP date (RFC 9110 §10.2.3)."""
    digits = (value or "").strip()
    if digits.isascii() and digits.isdigit():
        seconds = float(digits)
    elif (date := _epoch(value)) is not None:
        seconds = date - time.time()
    else:
        return None
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER)


def _epoch(value: str | None) -> float | None:
    """Parse an HTTP date (RFC 9110 §5.6.7)."""
    try:
        return parsedate_to_datetime(value).timestamp() if value else None
    except (TypeError, ValueError, OverflowError):
        return None
