"""Inflating compressed responses, with a limit on the inflated size: no more than that is ever in memory.

Requests ask for ``identity``, but some proxies compress all the same. gzip and deflate are always understood; br and
zstd if the packages ``brotli`` and ``zstandard`` are installed.
"""

from __future__ import annotations

import gzip
import io
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_LAYERS = 3
_WINDOW = 8 * 1024 * 1024  # bytes of history that zstd may need (RFC 9659 §3)


class UnreadableEncodingError(ValueError):
    """The data cannot be inflated: they are damaged, or their encoding is unknown."""


def inflated(data: bytes, encodings: str, limit: int) -> bytes:
    """Undo the encodings of a ``Content-Encoding`` header (RFC 9110 §8.4).

    Args:
        data: The encoded bytes.
        encodings: The value of the header.
        limit: The largest size of interest, in bytes.

    Returns:
        The bytes; if they are more than ``limit``, the first ``limit + 1`` of them.

    Raises:
        UnreadableEncodingError: An encoding is unknown, or the data are damaged.
    """
    layers = [name for part in encodings.lower().split(",") if (name := part.strip()) not in {"", "identity"}]
    if len(layers) > _MAX_LAYERS:
        raise UnreadableEncodingError("too many encodings")
    for name in reversed(layers):
        if name not in _INFLATERS:
            raise UnreadableEncodingError("unknown encoding")
        data = _inflate(_INFLATERS[name], data, limit) if data else data
    return data


def _inflate(inflate: Callable[[bytes, int], bytes], data: bytes, limit: int) -> bytes:
    try:
        return inflate(data, limit + 1)
    except Exception as error:  # noqa: BLE001 - each library has errors of its own, or is not installed
        raise UnreadableEncodingError(type(error).__name__) from None


def _gunzip(data: bytes, size: int) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        return file.read(size)


def _undeflate(data: bytes, size: int) -> bytes:
    """Inflate ``deflate``: zlib's format (RFC 9110 §8.4.1.2), or the bare one that some servers send."""
    for bits in (zlib.MAX_WBITS, -zlib.MAX_WBITS):
        inflater = zlib.decompressobj(bits)
        try:
            text = inflater.decompress(data, size)
        except zlib.error:
            continue
        if inflater.eof or len(text) >= size:
            return text
    raise UnreadableEncodingError("damaged")


def _unbrotli(data: bytes, size: int) -> bytes:
    import brotli

    inflater = brotli.Decompressor()
    text = inflater.process(data, output_buffer_limit=size)
    while len(text) < size and not inflater.is_finished():
        part = inflater.process(b"", output_buffer_limit=size)
        if not part:
            raise UnreadableEncodingError("truncated")
        text += part
    return bytes(text[:size])


def _unzstd(data: bytes, size: int) -> bytes:
    import zstandard

    inflater = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    with inflater.stream_reader(io.BytesIO(data), read_across_frames=True) as reader:
        return bytes(reader.read(size))


_INFLATERS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _undeflate,
    "br": _unbrotli,
    "zstd": _unzstd,
}
