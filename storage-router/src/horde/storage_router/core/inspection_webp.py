"""The structure of a WebP file: a RIFF container exactly as long as it says, with one still picture in it."""

from __future__ import annotations

from horde.storage_router.core.errors import NotAnImage, TooLarge
from horde.storage_router.core.pictures import MAX_METADATA_BYTES, Limits

_ANIMATED = 0x02
_METADATA = frozenset({b"ICCP", b"EXIF", b"XMP "})
_BODY = frozenset({b"VP8 ", b"VP8L"})
MAX_CHUNKS = 8
"""A still picture has at most VP8X, ICCP, ALPH, one body, EXIF and XMP."""


def measure(data: bytes, limits: Limits) -> tuple[int, int]:
    """Width and height of a whole still WebP."""
    if int.from_bytes(data[4:8], "little") + 8 != len(data):
        raise NotAnImage.because("its length is not what it says")
    chunks = _read_chunks(data)
    kind, start, stop = chunks[0]
    if kind in _BODY:
        if len(chunks) > 1:
            raise NotAnImage.because("something follows its end")
        return _measure_body(kind, data[start:stop], limits)
    if kind != b"VP8X" or stop - start != 10:
        raise NotAnImage.because("its header is wrong")
    return _measure_extended(data, chunks, limits)


def _measure_extended(data: bytes, chunks: list[tuple[bytes, int, int]], limits: Limits) -> tuple[int, int]:
    start = chunks[0][1]
    if data[start] & _ANIMATED:
        raise NotAnImage.because("it is animated")
    canvas = (
        1 + int.from_bytes(data[start + 4 : start + 7], "little"),
        1 + int.from_bytes(data[start + 7 : start + 10], "little"),
    )
    limits.check_pixels(*canvas)
    metadata, alphas, seen = 0, 0, set[bytes]()
    body: tuple[int, int] | None = None
    for kind, start, stop in chunks[1:]:
        if kind in (b"ANIM", b"ANMF"):
            raise NotAnImage.because("it is animated")
        if kind in seen or (kind in _BODY and body is not None):
            raise NotAnImage.because("it holds something twice")
        seen.add(kind)
        if kind in _METADATA:
            metadata += stop - start
            if metadata > MAX_METADATA_BYTES:
                raise TooLarge.over(MAX_METADATA_BYTES, "bytes of metadata")
        elif kind == b"ALPH":
            alphas += 1
            if body is not None or stop - start < 2:
                raise NotAnImage.because("its transparency is out of place")
        elif kind in _BODY:
            if alphas and kind == b"VP8L":
                raise NotAnImage.because("its transparency is out of place")
            body = _measure_body(kind, data[start:stop], limits)
        else:
            raise NotAnImage.because("it has a chunk that is not known")
    if body is None:
        raise NotAnImage.because("it has no body")
    if body != canvas:
        raise NotAnImage.because("its body does not fill its canvas")
    return canvas


def _read_chunks(data: bytes) -> list[tuple[bytes, int, int]]:
    """Name, start and end of each chunk."""
    chunks: list[tuple[bytes, int, int]] = []
    position, end = 12, len(data)
    while position < end:
        if len(chunks) == MAX_CHUNKS:
            raise TooLarge.over(MAX_CHUNKS, "chunks")
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        start, stop = position + 8, position + 8 + length
        position = stop + length % 2
        if position > end:
            raise NotAnImage.because("the file is cut off")
        if data[stop:position].strip(b"\0"):
            raise NotAnImage.because("its padding is not empty")
        chunks.append((data[start - 8 : start - 4], start, stop))
    if not chunks:
        raise NotAnImage.because("it has no body")
    return chunks


def _measure_body(kind: bytes, body: bytes, limits: Limits) -> tuple[int, int]:
    if kind == b"VP8L":
        if len(body) < 6 or body[0] != 0x2F or body[4] >> 5:
            raise NotAnImage.because("its header is wrong")
        bits = int.from_bytes(body[1:5], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        if len(body) < 11 or body[0] & 1 or body[3:6] != b"\x9d\x01\x2a":
            raise NotAnImage.because("its header is wrong")
        if (int.from_bytes(body[:3], "little") >> 5) + 10 > len(body):
            raise NotAnImage.because("the file is cut off")
        width = int.from_bytes(body[6:8], "little") & 0x3FFF
        height = int.from_bytes(body[8:10], "little") & 0x3FFF
    limits.check_pixels(width, height)
    return width, height
