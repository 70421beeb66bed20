"""The bodies of requests, as requests and urllib3 take them: which of them can be sent again."""

from __future__ import annotations

from typing import Any


class Body:
    """A body that is about to be sent: text, bytes, a file, or what can be read once.

    Args:
        body: The body, or None.
    """

    def __init__(self, body: Any) -> None:
        self._body = body
        self._start = _position(body)

    def rewind(self) -> bool:
        """Wind a file back to where it was, and return whether the body can be sent again."""
        if self._start is not None:
            self._body.seek(self._start)
        return self._start is not None or isinstance(self._body, (str, bytes, type(None)))


def _position(body: Any) -> int | None:
    """Return the position of a file; None if ``body`` is not a seekable file."""
    try:
        return int(body.tell())
    except (AttributeError, OSError):
        return None
