"""Reads copies of data releases: images one after the other out of the shards, and all ratings."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from horde.data_releases.core import layout


class BadRelease(ValueError):
    """A folder that holds no whole release."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One image of a release."""

    id: str
    prompt: str
    image: Image.Image
    """RGB."""


@dataclass(frozen=True, slots=True)
class Source:
    """Which release it was."""

    release_id: str
    checksums_sha256: str


def source(folder: Path) -> Source:
    """Which release a folder holds. Raises BadRelease."""
    try:
        release_id = str(json.loads((folder / layout.DESCRIPTION).read_bytes())["plan"]["release_id"])
        return Source(release_id, hashlib.sha256((folder / layout.CHECKSUMS).read_bytes()).hexdigest())
    except (OSError, ValueError, KeyError) as error:
        raise BadRelease(f"{folder} holds no finished release: {error}") from error


def read_ratings(folders: Sequence[Path]) -> pa.Table:
    """All ratings of these releases that are scores. Raters of two releases are never one: their pseudonyms differ."""
    tables = []
    for folder in folders:
        table = pq.read_table(folder / layout.RATINGS)
        tables.append(table.filter(pc.is_valid(table["rating"])))
    return pa.concat_tables(tables, promote_options="default")


def read_pictures(folders: Sequence[Path]) -> Iterator[Picture]:
    """Every image of these releases once, in the order of folders, shards and members; what was pruned is left out."""
    seen: set[str] = set()
    for folder in folders:
        for shard in sorted((folder / layout.SHARDS).glob("*.tar")):
            for picture in _read_shard(shard):
                if picture.id not in seen:
                    seen.add(picture.id)
                    yield picture


def _read_shard(path: Path) -> Iterator[Picture]:
    images: dict[str, bytes] = {}
    with tarfile.open(path) as tar:
        for member in tar:
            name = Path(member.name)
            opened = tar.extractfile(member)
            if opened is None or name.suffix not in (".webp", ".txt"):
                continue
            if name.suffix == ".webp":
                images[name.stem] = opened.read()
            elif (data := images.pop(name.stem, None)) is not None:
                with Image.open(io.BytesIO(data)) as image:
                    yield Picture(name.stem, opened.read().decode(), image.convert("RGB"))
