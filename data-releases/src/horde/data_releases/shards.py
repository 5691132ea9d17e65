"""Shards: tars in the WebDataset form, each with its rows beside it, whose bytes follow from what is put in."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any, Final, Self

from horde.data_releases.core.columns import COLUMNS
from horde.data_releases.core.layout import shard_name
from horde.data_releases.tables import METADATA_SCHEMA, write_rows

HEADER_BYTES: Final = 512
_TEXTS: Final = frozenset(column.name for column in COLUMNS if column.kind == "string")


@dataclass(frozen=True, slots=True)
class File:
    """A file on this disk that belongs into the release under a name."""

    name: str
    path: Path
    sha256: str
    size_bytes: int


class ShardWriter:
    """One part's shards: a new one begins where one is full. Use as a context; `files` are whole after it."""

    def __init__(self, folder: Path, part: int, most_bytes: int) -> None:
        self._folder = folder
        self._part = part
        self._most_bytes = most_bytes
        self._tar: tarfile.TarFile | None = None
        self._rows: list[Mapping[str, Any]] = []
        self._volume = 0
        self.files: list[File] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, tb: object) -> None:
        if kind is None:
            self._close()
        elif self._tar is not None:
            self._tar.close()

    def place(self) -> tuple[str, int]:
        """The shard that the next image goes into, and where in it the image's bytes will begin."""
        if self._tar is not None and self._tar.offset >= self._most_bytes:
            self._close()
            self._volume += 1
        if self._tar is None:
            path = self._path(".tar")
            self._tar = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        return shard_name(self._part, self._volume) + ".tar", self._tar.offset + HEADER_BYTES

    def add(self, row: Mapping[str, Any], data: bytes) -> None:
        """Add an image, where `place` said, with its row."""
        assert self._tar is not None
        image_id = row["id"]
        for name, content in (
            (row["file_name"], data),
            (f"{image_id}.json", write_row(row)),
            (f"{image_id}.txt", row["prompt"].encode()),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.mode = 0o644
            self._tar.addfile(info, BytesIO(content))
        self._rows.append(row)

    def _close(self) -> None:
        if self._tar is None:
            return
        self._tar.close()
        self._tar = None
        write_rows(self._path(".parquet"), METADATA_SCHEMA, self._rows)
        self._rows = []
        self.files += (
            describe_file(shard_name(self._part, self._volume) + ending, self._path(ending))
            for ending in (".tar", ".parquet")
        )

    def _path(self, ending: str) -> Path:
        return self._folder / (shard_name(self._part, self._volume).rpartition("/")[2] + ending)


def describe_file(name: str, path: Path) -> File:
    """A file with its digest and size."""
    with path.open("rb") as opened:
        return File(name, path, hashlib.file_digest(opened, "sha256").hexdigest(), path.stat().st_size)


def write_row(row: Mapping[str, Any]) -> bytes:
    """A row as JSON, each name always of one type: loaders guess all types by the first few samples."""
    plain = {
        name: value.isoformat() if isinstance(value, datetime) else "" if value is None and name in _TEXTS else value
        for name, value in row.items()
        if value != [] and (value is not None or name in _TEXTS)
    }
    return json.dumps(plain, ensure_ascii=False, sort_keys=True).encode()
