"""Provenance put into a picture's file without touching a pixel, and everything taken out that is not the picture.

A painter may have written anything beside the pixels: names of files, of machines, of people. Only what is needed to
show the picture as it was painted stays; then comes what the release says.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final

PNG_MARK: Final = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT: Final = frozenset(
    {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"bKGD", b"pHYs"}
)
_JPEG_KEPT: Final = frozenset({0xE0, 0xE2, 0xEE})
"""JFIF, the colour profile, and Adobe's colour transform."""
_JPEG_XMP: Final = b"http://ns.adobe.com/xap/1.0/\x00"
_SOI: Final = b"\xff\xd8"
_SOS: Final = 0xDA
_WEBP_KEPT: Final = frozenset({b"VP8 ", b"VP8L", b"ALPH", b"ICCP"})
_ICC, _ALPHA, _XMP = 0x20, 0x10, 0x04
_VP8L_ALPHA_BIT: Final = 4


class NotEmbeddable(ValueError):
    """The file is not built as its format says."""


def embed(data: bytes, format: str, width: int, height: int, xmp: bytes, parameters: str) -> bytes:
    """The file with its provenance. `parameters` go where such tools look for them: into PNG alone."""
    try:
        if format == "PNG":
            return _embed_png(data, xmp, parameters)
        if format == "JPEG":
            return _embed_jpeg(data, xmp)
        return _embed_webp(data, width, height, xmp)
    except (struct.error, IndexError) as error:
        raise NotEmbeddable(f"the file ends too early: {error}") from error


def _embed_png(data: bytes, xmp: bytes, parameters: str) -> bytes:
    if not data.startswith(PNG_MARK):
        raise NotEmbeddable("no PNG")
    parts = [PNG_MARK]
    offset = len(PNG_MARK)
    while True:
        length, kind = struct.unpack_from(">I4s", data, offset)
        end = offset + 12 + length
        if end > len(data):
            raise NotEmbeddable("a chunk ends behind the file")
        if kind in _PNG_KEPT:
            parts.append(data[offset:end])
        if kind == b"IHDR":
            parts += (_png_text(b"XML:com.adobe.xmp", xmp), _png_text(b"parameters", parameters.encode()))
        if kind == b"IEND":
            return b"".join(parts)
        offset = end


def _png_text(keyword: bytes, text: bytes) -> bytes:
    body = b"iTXt" + keyword + b"\x00" * 5 + text
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


def _embed_jpeg(data: bytes, xmp: bytes) -> bytes:
    if not data.startswith(_SOI):
        raise NotEmbeddable("no JPEG")
    segment = _JPEG_XMP + xmp
    parts = [b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment]
    offset = len(_SOI)
    while True:
        while data[offset] == 0xFF and data[offset + 1] == 0xFF:
            offset += 1
        marker = data[offset + 1]
        if data[offset] != 0xFF:
            raise NotEmbeddable("no marker where one should be")
        if marker == _SOS:
            parts.append(data[offset:])
            break
        (length,) = struct.unpack_from(">H", data, offset + 2)
        is_text = 0xE0 <= marker <= 0xEF or marker == 0xFE
        if not is_text or marker in _JPEG_KEPT:
            kept = data[offset : offset + 2 + length]
            # JFIF wants to be first.
            parts.insert(0, kept) if marker == 0xE0 and len(parts) == 1 else parts.append(kept)
        offset += 2 + length
    return _SOI + b"".join(parts)


def _embed_webp(data: bytes, width: int, height: int, xmp: bytes) -> bytes:
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise NotEmbeddable("no WebP")
    kept = [(kind, body) for kind, body in _webp_chunks(data) if kind in _WEBP_KEPT]
    kinds = {kind for kind, _ in kept}
    if not kinds & {b"VP8 ", b"VP8L"}:
        raise NotEmbeddable("no still picture")
    has_alpha = b"ALPH" in kinds or any(kind == b"VP8L" and body[4] >> _VP8L_ALPHA_BIT & 1 for kind, body in kept)
    flags = _XMP | (_ALPHA if has_alpha else 0) | (_ICC if b"ICCP" in kinds else 0)
    size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    extended = [(b"VP8X", bytes([flags, 0, 0, 0]) + size), *kept, (b"XMP ", xmp)]
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(part)) + part + b"\x00" * (len(part) % 2) for kind, part in extended
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    (size,) = struct.unpack_from("<I", data, 4)
    offset, end = 12, min(len(data), size + 8)
    while offset + 8 <= end:
        kind, length = struct.unpack_from("<4sI", data, offset)
        if offset + 8 + length > len(data):
            raise NotEmbeddable("a chunk ends behind the file")
        yield kind, data[offset + 8 : offset + 8 + length]
        offset += 8 + length + length % 2
