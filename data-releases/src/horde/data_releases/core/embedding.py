"""Provenance put into a WebP without touching a pixel, and everything taken out that is not the picture.

A painter may have written anything beside the pixels: names of files, of machines, of people. Only what is needed to
show the picture as it was painted stays; then comes what the release says.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

_KEPT: Final = frozenset({b"VP8 ", b"VP8L", b"ALPH", b"ICCP"})
_ICC, _ALPHA, _XMP = 0x20, 0x10, 0x04
_LOSSLESS_HEADER: Final = 5
_LOSSLESS_ALPHA_BIT: Final = 4


class NotEmbeddable(ValueError):
    """The file is not built as a still WebP is."""


def embed(data: bytes, width: int, height: int, xmp: bytes) -> bytes:
    """The file with this XMP packet and no other text. Raises NotEmbeddable."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise NotEmbeddable("no WebP")
    kept = [(kind, body) for kind, body in _chunks(data) if kind in _KEPT]
    kinds = {kind for kind, _ in kept}
    if not kinds & {b"VP8 ", b"VP8L"}:
        raise NotEmbeddable("no still picture")
    has_alpha = b"ALPH" in kinds or any(kind == b"VP8L" and _has_alpha(body) for kind, body in kept)
    flags = _XMP | (_ALPHA if has_alpha else 0) | (_ICC if b"ICCP" in kinds else 0)
    size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    extended = [(b"VP8X", bytes([flags, 0, 0, 0]) + size), *kept, (b"XMP ", xmp)]
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(part)) + part + b"\x00" * (len(part) % 2) for kind, part in extended
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _has_alpha(lossless: bytes) -> bool:
    if len(lossless) < _LOSSLESS_HEADER:
        raise NotEmbeddable("the picture ends too early")
    return bool(lossless[_LOSSLESS_HEADER - 1] >> _LOSSLESS_ALPHA_BIT & 1)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    (size,) = struct.unpack_from("<I", data, 4)
    offset, end = 12, min(len(data), size + 8)
    while offset + 8 <= end:
        kind, length = struct.unpack_from("<4sI", data, offset)
        if offset + 8 + length > len(data):
            raise NotEmbeddable("a chunk ends behind the file")
        yield kind, data[offset + 8 : offset + 8 + length]
        offset += 8 + length + length % 2
