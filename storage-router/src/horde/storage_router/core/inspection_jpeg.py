"""The structure of a JPEG file: every segment from SOI to EOI, one picture, and nothing after it."""

from __future__ import annotations

import re

from horde.storage_router.core.errors import NotAnImage, TooLarge
from horde.storage_router.core.pictures import MAX_METADATA_BYTES, MAX_PARTS, Limits

MAGIC = b"\xff\xd8\xff"
MAX_SCANS = 64
"""A progressive file costs a decoder one pass over the picture for each scan."""

_EOI, _SOS, _DNL = 0xD9, 0xDA, 0xDC
_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
"""Baseline, extended, progressive: what decoders in the wild agree on."""
_OTHER_FRAMES = frozenset({0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_TABLES = frozenset({0xC4, 0xDB, 0xDD})
_NEXT_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]", re.DOTALL)


def measure(data: bytes, limits: Limits) -> tuple[int, int]:
    """Width and height of a whole JPEG."""
    position, end = 2, len(data)
    parts = scans = metadata = 0
    size: tuple[int, int] | None = None
    while True:
        marker, position = _read_marker(data, position)
        if marker == _EOI:
            break
        parts += 1
        if parts > MAX_PARTS:
            raise TooLarge.over(MAX_PARTS, "segments")
        length = int.from_bytes(data[position : position + 2], "big")
        after = position + length
        if position + 2 > end or after > end:
            raise NotAnImage.because("the file is cut off")
        if length < 2:
            raise NotAnImage.because("a segment has no length")
        if marker in _FRAMES:
            if size is not None:
                raise NotAnImage.because("it has several frames")
            size = _read_frame(data[position + 2 : after], limits)
        elif marker == _SOS:
            scans += 1
            if size is None:
                raise NotAnImage.because("its body comes before its header")
            if scans > MAX_SCANS:
                raise TooLarge.over(MAX_SCANS, "scans")
            found = _NEXT_MARKER.search(data, after)
            if found is None:
                raise NotAnImage.because("the file is cut off")
            if found.start() == after:
                raise NotAnImage.because("a scan is empty")
            after = found.start()
        elif marker in _OTHER_FRAMES or marker == _DNL:
            raise NotAnImage.because("it is not a baseline or progressive JPEG")
        elif 0xE0 <= marker <= 0xEF or marker == 0xFE:
            metadata += length
            if metadata > MAX_METADATA_BYTES:
                raise TooLarge.over(MAX_METADATA_BYTES, "bytes of metadata")
            if marker == 0xE2 and data[position + 2 : position + 6] == b"MPF\0":
                raise NotAnImage.because("it holds several pictures")
        elif marker not in _TABLES:
            raise NotAnImage.because("it has a segment that is not known")
        position = after
    if position != end:
        raise NotAnImage.because("something follows its end")
    if size is None or not scans:
        raise NotAnImage.because("it has no body")
    return size


def _read_marker(data: bytes, position: int) -> tuple[int, int]:
    """The next marker, and where what belongs to it begins."""
    if data[position : position + 1] != b"\xff":
        raise NotAnImage.because("the file is cut off" if position >= len(data) else "a segment is missing")
    while data[position : position + 1] == b"\xff":
        position += 1
    if position >= len(data):
        raise NotAnImage.because("the file is cut off")
    return data[position], position + 1


def _read_frame(frame: bytes, limits: Limits) -> tuple[int, int]:
    if len(frame) < 6 or len(frame) != 6 + 3 * frame[5]:
        raise NotAnImage.because("its header is wrong")
    height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    limits.check_pixels(width, height)
    if frame[0] != 8:
        raise NotAnImage.because("it does not have at most 8 bits a channel")
    if frame[5] not in (1, 3):
        raise NotAnImage.because("it is neither grey nor coloured in three channels")
    return width, height
