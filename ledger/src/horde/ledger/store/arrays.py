"""PostgreSQL's arrays in its binary format, which costs either side less than text: nothing is escaped, quoted or
parsed.

The format (`array_recv` in PostgreSQL's source): how many dimensions, whether there are NULLs, the OID of the
elements' type, and for each dimension its length and first index; then each element behind its length in bytes, -1 for
NULL. All are 32-bit integers, big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.adapt import Buffer, Dumper
from psycopg.pq import Format

_NO_ELEMENTS: Final = struct.Struct(">iii").pack
_HEADER: Final = struct.Struct(">iiiii").pack
_LENGTH: Final = struct.Struct(">i").pack


@dataclass(frozen=True, slots=True)
class Array:
    """An encoded array. The statement says of what: `%s::bigint[]`."""

    encoded: bytes


class _ArrayDumper(Dumper):
    """Sends it as it is. Its OID stays unknown: PostgreSQL takes the type from the cast."""

    format = Format.BINARY

    def dump(self, obj: Array) -> Buffer:
        return obj.encoded


# For all connections: SQLAlchemy copies what is registered when an engine is made.
psycopg.adapters.register_dumper(Array, _ArrayDumper)


def array(kind: str, values: Sequence[Any]) -> Array:
    """Encode values of one of the types in `OIDS`; None is NULL."""
    oid = OIDS[kind]
    if not values:
        return Array(_NO_ELEMENTS(0, 0, oid))
    nulls = None in values
    header = _HEADER(1, nulls, oid, len(values), 1)
    if kind == "bigint" and not nulls:
        return Array(header + _bigints(values))
    encode = _ENCODE[kind]
    if nulls:
        encoded = [b"" if value is None else encode(value) for value in values]
        lengths = [_LENGTH(-1 if value is None else len(text)) for value, text in zip(values, encoded, strict=True)]
    else:
        encoded = [*values] if kind == "bytea" else [*map(encode, values)]
        lengths = [*map(_LENGTH, map(len, encoded))]
    parts = [header] * (1 + 2 * len(values))
    parts[1::2], parts[2::2] = lengths, encoded
    return Array(b"".join(parts))


def _bigints(values: Sequence[int]) -> bytes:
    """The same for the type that most columns have, without an object for each value: in words of 32 bits."""
    packed = memoryview(struct.pack(f">{len(values)}q", *values)).cast("I")
    elements = bytearray((_LENGTH(8) + bytes(8)) * len(values))
    words = memoryview(elements).cast("I")
    words[1::3], words[2::3] = packed[0::2], packed[1::2]
    return bytes(elements)


_ENCODE: Final[dict[str, Callable[[Any], bytes]]] = {
    "smallint": struct.Struct(">h").pack,
    "integer": struct.Struct(">i").pack,
    "bigint": struct.Struct(">q").pack,
    "bytea": bytes,
    "text": str.encode,
}
OIDS: Final = {"smallint": 21, "integer": 23, "bigint": 20, "bytea": 17, "text": 25}
