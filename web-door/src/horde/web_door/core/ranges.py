"""Which bytes a `Range` header asks for (RFC 9110, 14)."""

from __future__ import annotations

import re
from typing import Final

_ONE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class NotSatisfiable(Exception):
    """What is asked for begins after the end."""


def range_of(header: str, size: int) -> tuple[int, int] | None:
    """The first byte and the one after the last; None where all is meant: no range, several, or no range of bytes.

    Raises NotSatisfiable.
    """
    found = _ONE.fullmatch(header.replace(" ", ""))
    if found is None or found[0] == "bytes=-":
        return None
    first, last = found[1], found[2]
    if not first:
        begin, end = max(0, size - int(last)), size
    else:
        begin, end = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < begin:
            return None
    if begin >= size or begin == end:
        raise NotSatisfiable
    return begin, end
