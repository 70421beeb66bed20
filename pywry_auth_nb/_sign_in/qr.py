"""QR codes, for signing in with another device (RFC 8628 §3.3.1)."""

from __future__ import annotations

_MAX_TEXT = 1000  # characters: more make a code that phones do not read from a screen


def qr_code(text: str) -> str:
    """Return a QR code of ``text`` as a data URI, dark on light in every theme; empty for no or a long text."""
    if not 0 < len(text) <= _MAX_TEXT:
        return ""
    import segno

    return segno.make_qr(text, error="m").svg_data_uri(light="white", border=4, omitsize=True)
