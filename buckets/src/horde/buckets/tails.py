"""Metadata behind the bytes of a file: JSON, then the size of the object, the JSON's length and checksum, and a mark.

A file may have several tails; the last whole one counts. So metadata is replaced by writing more behind it, and a crash
in the middle of that changes nothing. What the object's own bytes look like does not matter: a whole tail follows them.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

MAX_TAIL = 4_096
"""In these last bytes of a file its tail is found."""

_FOOT = struct.Struct(">QII8s")
_MARK = b"\x00HMtail1"
_LARGEST = MAX_TAIL // 2
"""So that the last whole tail and a torn one behind it both fit."""


@dataclass(frozen=True, slots=True)
class Tail:
    """What a tail says."""

    size_bytes: int
    metadata: Mapping[str, str]


def make_tail(size_bytes: int, metadata: Mapping[str, str]) -> bytes:
    """The tail of an object. Raises ValueError if the metadata is too long."""
    text = json.dumps(dict(metadata), separators=(",", ":")).encode()
    if len(text) + _FOOT.size > _LARGEST:
        raise ValueError(f"{len(text)} bytes of metadata are too many")
    return text + _FOOT.pack(size_bytes, len(text), zlib.crc32(text), _MARK)


def find_tail(end: bytes) -> Tail | None:
    """The last whole tail in the last bytes of a file."""
    stop = len(end)
    while (found := end.rfind(_MARK, 0, stop)) >= 0:
        foot = found + len(_MARK) - _FOOT.size
        if foot >= 0:
            size_bytes, length, checksum, _ = _FOOT.unpack_from(end, foot)
            text = end[max(0, foot - length) : foot]
            if len(text) == length and zlib.crc32(text) == checksum:
                return Tail(size_bytes, json.loads(text))
        stop = found + len(_MARK) - 1
    return None
