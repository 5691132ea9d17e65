"""Arrow's schemas out of the tables of columns, and Parquet files whose bytes follow from their rows."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from horde.data_releases.core.columns import COLUMNS, RATING_COLUMNS, REMOVED_COLUMNS, Column

_STRUCTS: Final = {
    "struct<name,strength>": pa.struct([("name", pa.string()), ("strength", pa.float64())]),
}
_KINDS: Final = {
    "string": pa.string(),
    "bool": pa.bool_(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "timestamp[ms, tz=UTC]": pa.timestamp("ms", "UTC"),
}


def _arrow(kind: str) -> pa.DataType:
    if kind in _KINDS:
        return _KINDS[kind]
    if kind in _STRUCTS:
        return _STRUCTS[kind]
    outer, _, inner = kind.removesuffix(">").partition("<")
    if outer == "list":
        # The name that Parquet gives back.
        return pa.list_(pa.field("element", _arrow(inner)))
    return pa.struct([(name, pa.string()) for name in inner.split(",")])


def _schema(columns: Sequence[Column]) -> pa.Schema:
    return pa.schema(
        [
            pa.field(
                column.name,
                _arrow(column.kind),
                nullable=column.null != "never",
                metadata={"meaning": column.meaning, "unit": column.unit, "null": column.null},
            )
            for column in columns
        ]
    )


METADATA_SCHEMA: Final = _schema(COLUMNS)
RATING_SCHEMA: Final = _schema(RATING_COLUMNS)
REMOVED_SCHEMA: Final = _schema(REMOVED_COLUMNS)


def open_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """A Parquet file to be written in row groups."""
    return pq.ParquetWriter(path, schema, compression="zstd", write_page_index=True)


def write_rows(path: Path, schema: pa.Schema, rows: Sequence[Mapping[str, Any]]) -> None:
    """A Parquet file of one row group."""
    with open_writer(path, schema) as writer:
        writer.write_table(pa.Table.from_pylist(list(rows), schema))


def read_table(data: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """A Parquet file that is in memory."""
    return pq.read_table(io.BytesIO(data), columns=None if columns is None else list(columns))
