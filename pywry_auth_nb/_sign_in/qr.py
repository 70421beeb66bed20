"""QR codes, for signing in with another device (RFC 8628 §3.3.1)."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from ..errors import AuthenticationError

_MAX_TEXT = 1000  # characters: more make a code that phones do not read from a screen


def qr_code(text: str) -> dict[str, Any]:
    """Return a QR code of ``text`` as an SVG path in a square of ``size`` modules, without a margin.

    Raises:
        AuthenticationError: Code ``bad_request``: the text is empty or too long.
    """
    if not text or len(text) > _MAX_TEXT:
        raise AuthenticationError(code="bad_request")
    import segno

    rows = segno.make_qr(text, error="m").matrix
    return {"size": len(rows), "path": "".join(_runs(row, y) for y, row in enumerate(rows))}


def _runs(row: bytearray | tuple[int, ...], y: int) -> str:
    """Return the dark runs of a row as parts of a path."""
    path, x = "", 0
    for is_dark, modules in groupby(row):
        length = len(list(modules))
        path += f"M{x} {y}h{length}v1h-{length}z" if is_dark else ""
        x += length
    return path
