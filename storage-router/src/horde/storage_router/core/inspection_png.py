"""The structure of a PNG file: every chunk with its checksum, from the signature to IEND and nothing after it."""

from __future__ import annotations

import struct
import zlib

from horde.storage_router.core.errors import NotAnImage, TooLarge
from horde.storage_router.core.pictures import MAX_INFLATED_BYTES, MAX_METADATA_BYTES, MAX_PARTS, Limits

MAGIC = b"\x89PNG\r\n\x1a\n"
MAX_TEXT_CHUNKS = 64

_ANIMATION = frozenset({b"acTL", b"fcTL", b"fdAT"})
_TEXT = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8), 2: (8,), 3: (1, 2, 4, 8), 4: (8,), 6: (8,)}
_HEAD = struct.Struct(">I4s")
_IHDR = struct.Struct(">IIBBBBB")
_DEFLATE_RATIO = 1032
"""Deflate cannot do better than this: a body smaller than its picture by more is not whole."""


def measure(data: bytes, limits: Limits) -> tuple[int, int]:
    """Width and height of a whole PNG."""
    width, height, least = _read_ihdr(data, limits)
    view = memoryview(data)
    position, end = len(MAGIC), len(data)
    parts = metadata = inflated = texts = body = 0
    body_ended = seen_palette = False
    while True:
        if position + 12 > end:
            raise NotAnImage.because("the file is cut off")
        length, kind = _HEAD.unpack_from(data, position)
        after = position + 12 + length
        if after > end:
            raise NotAnImage.because("the file is cut off")
        if zlib.crc32(view[position + 4 : after - 4]) != int.from_bytes(view[after - 4 : after], "big"):
            raise NotAnImage.because("a checksum is wrong")
        parts += 1
        if parts > MAX_PARTS:
            raise TooLarge.over(MAX_PARTS, "chunks")
        if kind == b"IDAT":
            if body_ended:
                raise NotAnImage.because("its body is in pieces")
            body += length
        elif kind == b"IEND":
            break
        else:
            body_ended = body > 0
            if kind in _ANIMATION:
                raise NotAnImage.because("it is animated")
            if kind == b"PLTE":
                if seen_palette or body or length % 3 or not 3 <= length <= 768:
                    raise NotAnImage.because("its palette is wrong")
                seen_palette = True
            elif kind[0] < 0x61 and (kind != b"IHDR" or parts > 1):
                raise NotAnImage.because("it has a critical chunk that is not known")
            elif kind != b"IHDR":
                metadata += length
                texts += kind in _TEXT
                if metadata > MAX_METADATA_BYTES:
                    raise TooLarge.over(MAX_METADATA_BYTES, "bytes of metadata")
                if texts > MAX_TEXT_CHUNKS:
                    raise TooLarge.over(MAX_TEXT_CHUNKS, "text chunks")
                inflated += _inflated_bytes(kind, data[position + 8 : after - 4])
                if inflated > MAX_INFLATED_BYTES:
                    raise TooLarge.over(MAX_INFLATED_BYTES, "bytes of metadata")
        position = after
    if after != end:
        raise NotAnImage.because("something follows its end")
    if length:
        raise NotAnImage.because("its end is not empty")
    if data[25] == 3 and not seen_palette:
        raise NotAnImage.because("its palette is missing")
    if body * _DEFLATE_RATIO < least:
        raise NotAnImage.because("its body is too short for its size")
    return width, height


def _read_ihdr(data: bytes, limits: Limits) -> tuple[int, int, int]:
    """Width, height, and how many bytes the body must inflate to."""
    if len(data) < 33 or _HEAD.unpack_from(data, 8) != (13, b"IHDR"):
        raise NotAnImage.because("its header is wrong")
    width, height, depth, colour, compression, filtering, interlace = _IHDR.unpack_from(data, 16)
    limits.check_pixels(width, height)
    if colour not in _CHANNELS or compression or filtering or interlace > 1:
        raise NotAnImage.because("its header is wrong")
    if depth not in _DEPTHS[colour]:
        raise NotAnImage.because("it does not have at most 8 bits a channel")
    return width, height, height * (1 + (width * depth * _CHANNELS[colour] + 7) // 8)


def _inflated_bytes(kind: bytes, content: bytes) -> int:
    """How large compressed metadata becomes, found out without going beyond the limit."""
    if kind in (b"zTXt", b"iCCP"):
        packed = content.partition(b"\0")[2][1:]
    elif kind == b"iTXt":
        rest = content.partition(b"\0")[2]
        if rest[:1] != b"\1":
            return 0
        packed = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    else:
        return 0
    inflater = zlib.decompressobj()
    try:
        size = len(inflater.decompress(packed, MAX_INFLATED_BYTES + 1))
    except zlib.error:
        raise NotAnImage.because("its compressed text is damaged") from None
    if not inflater.eof and size <= MAX_INFLATED_BYTES:
        raise NotAnImage.because("its compressed text is damaged")
    return size
