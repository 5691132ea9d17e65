"""What speaks of a release as a whole: tables, statistics, card, pictures of it, checksums, signature."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib import resources
from math import isqrt
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from horde.buckets.port import Bucket
from horde.data_releases.building import PartNote
from horde.data_releases.catalogue import Catalogue, position
from horde.data_releases.chain import Chain
from horde.data_releases.core import layout
from horde.data_releases.core.card import write_card
from horde.data_releases.core.checksums import write_checksums
from horde.data_releases.core.croissant import write_croissant
from horde.data_releases.core.gate import EXPLANATIONS
from horde.data_releases.core.plan import Plan
from horde.data_releases.core.pseudonyms import Pseudonyms
from horde.data_releases.core.sampling import SAMPLED, Sample, Sampler
from horde.data_releases.core.statistics import Statistics, shorten
from horde.data_releases.drawing import SHEET_IMAGES, draw_contact_sheet, draw_plots
from horde.data_releases.keys import Keys, public_pem
from horde.data_releases.ratings_side import joining
from horde.data_releases.releases import Finished, Releases
from horde.data_releases.shards import describe_file
from horde.data_releases.tables import (
    METADATA_SCHEMA,
    RATING_SCHEMA,
    REMOVED_SCHEMA,
    open_writer,
    read_table,
    write_rows,
)
from horde.data_releases.turn import Turn

ROOT_ROWS: Final = 10
"""Rows of a row group of all metadata, for each unit of the square root of the images. A row has 1.5 KiB with a long
prompt, and a group's statistics 140 KiB, which the writer keeps until it is done: so both are about 45 MiB for ten
million images."""


class Finisher:
    """Finishes one release whose parts are built. May be done again from the start; the bytes are the same."""

    def __init__(
        self,
        plan: Plan,
        chain: Chain,
        bucket: Bucket,
        catalogue: Catalogue,
        keys: Keys,
        names: Pseudonyms,
        folder: Path,
        ratings: Path | None,
        turn: Turn,
    ) -> None:
        self._plan = plan
        self._chain = chain
        self._bucket = bucket
        self._releases = Releases(bucket)
        self._catalogue = catalogue
        self._keys = keys
        self._names = names
        self._folder = folder
        self._ratings = ratings
        self._turn = turn
        self._files: dict[str, str] = {}
        self._bytes = 0
        self._scores: Counter[int] = Counter()

    async def run(self, notes: list[PartNote]) -> Finished:
        """Write what is missing and sign it."""
        totals = Statistics()
        for note in notes:
            totals.add(note.statistics)
            for name, sha256, size_bytes in note.files:
                self._files[name] = sha256
                self._bytes += size_bytes
        samples = await self._write_metadata([name for name in self._files if name.endswith(".parquet")], totals.images)
        ratings = await self._put(layout.RATINGS, self._write_ratings)
        removed = await self._write_removed()
        await self._write_documents(totals, removed, ratings)
        await self._write_pictures(totals, samples)
        await self._put_bytes(layout.SIGNING_KEY, public_pem(self._keys.signing))
        checksums = write_checksums(self._files)
        await self._put_bytes(layout.SIGNATURE, self._keys.signing.sign(checksums))
        await self._put_bytes(layout.CHECKSUMS, checksums)
        await self._turn.check()
        await self._releases.delete_strangers(self._plan.release_id, set(self._files))
        return Finished(
            plan=self._plan,
            parts=len(notes),
            images=totals.images,
            bytes=self._bytes,
            removed=removed,
            left_out=sum(totals.left_out.values()),
            checksums_sha256=hashlib.sha256(checksums).hexdigest(),
        )

    async def _write_metadata(self, names: list[str], images: int) -> list[Sample]:
        """All rows in one file, in row groups of many shards; and some images that stand for all."""
        sampler = Sampler(SHEET_IMAGES)
        path = self._folder / layout.METADATA
        # The rows of one group are in memory, and so are the statistics of all groups: both by the root of the images.
        group_rows = ROOT_ROWS * isqrt(images)
        waiting: list[pa.Table] = []
        with open_writer(path, METADATA_SCHEMA) as writer:
            for name in sorted(names):
                rows = await self._releases.read(self._plan.release_id, name)
                if hashlib.sha256(rows).hexdigest() != self._files[name]:
                    raise LookupError(f"{self._plan.release_id}: {name} is not what was built")
                table = read_table(rows)
                waiting.append(table)
                if sum(table.num_rows for table in waiting) >= group_rows:
                    writer.write_table(pa.concat_tables(waiting))
                    waiting = []
                for row in table.select(SAMPLED).to_pylist():
                    sampler.offer(row)
            if waiting:
                writer.write_table(pa.concat_tables(waiting))
        await self._put_path(layout.METADATA, path)
        return sampler.chosen()

    def _write_ratings(self, path: Path) -> int:
        """The ratings that join this release, raters under pseudonyms."""
        count = 0
        with open_writer(path, RATING_SCHEMA) as writer:
            for rows in self._read_ratings():
                writer.write_table(pa.Table.from_pylist(rows, RATING_SCHEMA))
                count += len(rows)
                self._scores.update(row["rating"] for row in rows if row["rating"] is not None)
        return count

    def _read_ratings(self) -> Iterator[list[dict[str, Any]]]:
        if self._ratings is None:
            return iter(())
        gone = {image.id for image, _, _ in self._catalogue.removed_before(position(self._chain.length, 0, 0))}

        def place(image_id: str) -> bool | None:
            known = None if image_id in gone else self._catalogue.find(image_id)
            return None if known is None else known.release_id == self._plan.release_id

        last = self._chain.last
        since = None if last is None else last.plan.as_of
        return joining(self._ratings, self._plan.as_of, since, place, self._names)

    async def _write_removed(self) -> int:
        """Every image of an earlier release that is to be taken out, also those that were listed before."""
        rows = await self._removed_before()
        known = {row["id"] for row in rows}
        for image, hour, why in self._catalogue.removed_before(position(self._chain.length, 0, 0)):
            if image.id not in known:
                rows.append(
                    {
                        "id": image.id,
                        "release_id": image.release_id,
                        "shard": image.shard,
                        "sha256": image.sha256.hex(),
                        "reason": why,
                        "withdrawn_at": datetime.fromisoformat(f"{hour}:00").replace(tzinfo=UTC),
                    }
                )
        rows.sort(key=lambda row: row["id"])

        def write(path: Path) -> int:
            write_rows(path, REMOVED_SCHEMA, rows)
            return len(rows)

        return await self._put(layout.REMOVED, write)

    async def _removed_before(self) -> list[dict[str, Any]]:
        if self._chain.last is None:
            return []
        found = await self._releases.read(self._chain.last.release_id, layout.REMOVED)
        # Releases that were made before reasons were kept knew one alone.
        rows: list[dict[str, Any]] = [{"reason": "withdrawn", **row} for row in read_table(found).to_pylist()]
        return rows

    async def _write_documents(self, totals: Statistics, removed: int, ratings: int) -> None:
        counted = totals.to_json()
        statistics = {
            "release_id": self._plan.release_id,
            "plan": self._plan.to_json(),
            **counted,
            "by": {name: shorten(counts) for name, counts in counted["by"].items()},
            "left_out": {
                reason: {"images": counted["left_out"].get(reason, 0), "why": why}
                for reason, why in EXPLANATIONS.items()
            },
            "removed": removed,
            "ratings": ratings,
            "ratings_by_score": {str(score): count for score, count in sorted(self._scores.items())},
        }
        shards = sum(name.endswith(".tar") for name in self._files)
        await self._put_bytes(layout.STATISTICS, _json(statistics))
        await self._put_bytes(layout.CARD, write_card(self._plan, statistics, shards))
        await self._put_bytes(layout.CROISSANT, _json(write_croissant(self._plan, statistics, self._files)))
        await self._put_bytes(layout.LICENCE, (resources.files(__package__) / "CC0-1.0.txt").read_bytes())
        description = {
            "plan": self._plan.to_json(),
            "images": totals.images,
            "shards": shards,
            "removed": removed,
            "chain": self._chain.ids,
        }
        await self._put_bytes(layout.DESCRIPTION, _json(description))

    async def _write_pictures(self, totals: Statistics, samples: list[Sample]) -> None:
        pictures = []
        for sample in samples:
            key = layout.release(self._plan.release_id, sample.shard)
            data = await self._bucket.get(key, sample.tar_offset, sample.bytes)
            if data is None:
                raise LookupError(f"{self._plan.release_id} has lost {sample.shard}")
            pictures.append(data)
        await self._put_bytes(layout.CONTACT_SHEET, draw_contact_sheet(pictures))
        for name, drawn in draw_plots(totals.to_json()):
            await self._put_bytes(layout.PLOTS + name, drawn)

    async def _put(self, name: str, write: Callable[[Path], int]) -> int:
        path = self._folder / name
        count = write(path)
        await self._put_path(name, path)
        return count

    async def _put_bytes(self, name: str, data: bytes) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        await self._put_path(name, path)

    async def _put_path(self, name: str, path: Path) -> None:
        file = describe_file(name, path)
        await self._turn.check()
        await self._bucket.put_file(layout.release(self._plan.release_id, name), path)
        self._files[name] = file.sha256
        self._bytes += file.size_bytes
        await asyncio.to_thread(path.unlink)


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
