"""What a release would hold: counted from the records, before anything is made.

No picture is read, so those that are damaged are counted as images.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from horde.buckets.port import Bucket
from horde.data_releases.building import AHEAD, in_order
from horde.data_releases.catalogue import Catalogue, Released, position
from horde.data_releases.chain import Chain
from horde.data_releases.core.gate import Reason, judge
from horde.data_releases.core.plan import Plan
from horde.data_releases.planning import Order, Planner, catalogue_path
from horde.data_releases.releases import Releases
from horde.data_releases.shared_side import Candidate, SharedSide
from horde.data_releases.source import Source

COOLING_OFF: Final = "cooling_off"
"""Beside the reasons of the gate: too young, and for a later release."""
SCRATCH: Final = "estimate-"
LEFT_SECONDS: Final = 24 * 3600
"""So long after its last change a copy of the index is nobody's any more."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a release would hold, and what it would leave out."""

    plan: Plan
    images: int
    bytes: int
    """Of the pictures, as they were painted."""
    removed: int
    """Images of earlier releases that were withdrawn."""
    left_out: Mapping[str, int]
    """Images by reason."""

    def to_json(self) -> dict[str, Any]:
        return {
            "release_id": self.plan.release_id,
            "plan": self.plan.to_json(),
            "previous": self.plan.previous,
            "until": self.plan.until.isoformat(),
            "images": self.images,
            "bytes": self.bytes,
            "removed": self.removed,
            "left_out": dict(self.left_out),
        }


async def estimate(
    order: Order, shared: SharedSide, bucket: Bucket, state_dir: Path, now: Callable[[], datetime]
) -> Estimate:
    """What the release would hold. Nothing is written but a copy of the index, for as long as this takes."""
    releases = Releases(bucket)
    plan = await Planner(shared, bucket, now).plan(order)
    chain = await Chain.read(releases, plan.previous)
    await asyncio.to_thread(state_dir.mkdir, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=state_dir, prefix=SCRATCH) as scratch:
        await asyncio.to_thread(_clear_left, Path(scratch))
        catalogue = Catalogue(Path(scratch, "catalogue.sqlite"), copy_of=catalogue_path(state_dir, plan, chain))
        try:
            # Also what is built of it already goes out of the copy: it is counted again.
            await chain.index(catalogue, bucket, building="")
            return await _Estimator(plan, chain, Source(plan, chain, shared, now), shared, catalogue).run()
        finally:
            catalogue.close()


def _clear_left(scratch: Path) -> None:
    """Delete what counts that were killed have left; by the disk's own clock."""
    now = scratch.stat().st_mtime
    for left in scratch.parent.glob(f"{SCRATCH}*"):
        with suppress(OSError):  # One that ends meanwhile takes its files along.
            if now - max(path.stat().st_mtime for path in (left, *left.iterdir())) > LEFT_SECONDS:
                shutil.rmtree(left, ignore_errors=True)


class _Estimator:
    """Counts one release. The catalogue is its own: what would be released is noted there."""

    def __init__(self, plan: Plan, chain: Chain, source: Source, shared: SharedSide, catalogue: Catalogue) -> None:
        self._plan = plan
        self._chain = chain
        self._source = source
        self._shared = shared
        self._catalogue = catalogue

    async def run(self) -> Estimate:
        """Look at every record once."""
        await self._source.note_withdrawals(self._catalogue)
        images = size_bytes = number = 0
        left_out: Counter[str] = Counter()
        async for ids in self._source.batches():
            with self._catalogue.part(self._plan.release_id, number):
                index = 0
                async for candidate, size in in_order(ids, self._look, AHEAD):
                    reason = candidate.reason or self._place(candidate, position(self._chain.length, number, index))
                    if reason is None:
                        images, size_bytes = images + 1, size_bytes + size
                    else:
                        left_out[reason] += 1
                    index += 1
            number += 1
        if young := await self._source.cooling_off():
            left_out[COOLING_OFF] = young
        gone = {image.id for image, _, _ in self._catalogue.removed_before(position(self._chain.length, 0, 0))}
        gone |= await self._chain.removed()
        return Estimate(self._plan, images, size_bytes, len(gone), dict(sorted(left_out.items())))

    async def _look(self, image_id: str) -> tuple[Candidate, int]:
        """The record, and how many bytes its image has."""
        if self._catalogue.is_withdrawn(image_id):
            return Candidate(image_id, reason=Reason.WITHDRAWN), 0
        candidate = await self._shared.describe(image_id)
        if candidate.record is None:
            return candidate, 0
        reason = judge(
            candidate.record, candidate.verdict, contact_data=self._plan.contact_data, unsure=self._plan.unsure
        )
        if reason is not None:
            return Candidate(image_id, reason=reason), 0
        size = await self._shared.size_bytes(candidate.record)
        if size is None:
            return Candidate(image_id, reason=await self._shared.why_absent(image_id)), 0
        return candidate, size

    def _place(self, candidate: Candidate, seq: int) -> Reason | None:
        """Put it behind those before it, unless it is there already."""
        record = candidate.record
        assert record is not None
        if self._catalogue.find(record.id) is not None:
            return Reason.SEEN_BEFORE
        source = bytes.fromhex(record.sha256)
        if self._catalogue.same_bytes(source, seq) is not None:
            return Reason.DUPLICATE
        self._catalogue.add(Released(seq, record.id, self._plan.release_id, 0, "", source, source, 0))
        return None
