"""PostgreSQL's arrays in its binary format, which costs either side less than text: nothing is escaped, quoted or
parsed.

The format (`array_recv` in PostgreSQL's source): how many dimensions, whether there are NULLs, the OID of the
elements' type, and for each dimension its length and first index; then each element behind its length in bytes, -1 for
NULL. All are 32-bit integers, big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

import psycopg
from psycopg.adapt import Buffer, Dumper
from psycopg.pq import Format

_NO_ELEMENTS: Final = struct.Struct(">iii").pack
_HEADER: Final = struct.Struct(">iiiii").pack
_LENGTH: Final = struct.Struct(">i").pack
_NULL: Final = _LENGTH(-1)


class Array(bytes):
    """An encoded array. The statement says of what: `%s::bigint[]`."""

    __slots__ = ()


class _ArrayDumper(Dumper):
    """Sends it as it is. Its OID stays unknown: PostgreSQL takes the type from the cast."""

    format = Format.BINARY

    def dump(self, obj: Array) -> Buffer:
        return obj


# For all connections: SQLAlchemy copies what is registered when an engine is made.
psycopg.adapters.register_dumper(Array, _ArrayDumper)


def array(kind: str, values: Sequence[Any]) -> Array:
    """Encode values of one of the types in `ELEMENTS`; None is NULL."""
    oid, encode = ELEMENTS[kind]
    if not values:
        return Array(_NO_ELEMENTS(0, 0, oid))
    nulls = None in values
    encoded = encode([value for value in values if value is not None] if nulls else values)
    if nulls:
        left = iter(encoded)
        elements = b"".join([_NULL if value is None else _sized(next(left)) for value in values])
    elif min(sizes := {len(each) for each in encoded}) == max(sizes):
        # Ids, hashes and numbers: all of one length, so that joining them is enough.
        length = _LENGTH(*sizes)
        elements = length + length.join(encoded)
    else:
        elements = b"".join([_LENGTH(len(each)) + each for each in encoded])
    return Array(_HEADER(1, nulls, oid, len(values), 1) + elements)


def _sized(element: bytes) -> bytes:
    return _LENGTH(len(element)) + element


def _numbers(code: str) -> Callable[[Sequence[int]], list[bytes]]:
    pack = struct.Struct(">" + code).pack
    return lambda values: [*map(pack, values)]


def _texts(values: Sequence[str]) -> list[bytes]:
    return [*map(str.encode, values)]


ELEMENTS: Final[dict[str, tuple[int, Callable[[Sequence[Any]], Sequence[bytes]]]]] = {
    "smallint": (21, _numbers("h")),
    "integer": (23, _numbers("i")),
    "bigint": (20, _numbers("q")),
    "bytea": (17, lambda values: values),
    "text": (25, _texts),
}
"""The OID of each type, and how its values become bytes."""
