"""The shared bucket against what was settled: all that is new, and a slice of all there is on a way round.

A way round goes through the keys of the bucket in their order; beside each page of images it reads the same part of
what was settled. So a bucket of any size costs the same in each look, and none of it is left out for ever.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from horde.auditor.core import keys
from horde.auditor.core.findings import Finding
from horde.auditor.core.joining import odd_shared
from horde.auditor.core.keys import Sort, parse_shared
from horde.auditor.core.settled import Settled
from horde.auditor.shared_images import SharedImages
from horde.auditor.shared_notes import SharedNotes
from horde.auditor.truth import Truth
from horde.buckets.port import MAX_PAGE, Bucket, Entry

BATCH: Final = 256
HOUR_SETTLES: Final = timedelta(minutes=15)
"""An hour of a journal is read this long after its end, as by those who make releases."""


@dataclass(slots=True)
class Place:
    """How far a way round has come."""

    key: str = ""
    """The last that was looked at; empty: it begins."""
    settled: str = ""
    """The last id, or name, up to which what was settled was read."""


@dataclass(slots=True)
class Slice:
    """What a slice came to."""

    place: Place
    """Where the next begins; of an empty key: this one was the last."""
    findings: list[Finding] = field(default_factory=list)
    objects: int = 0


class SharedAudit:
    """Audits the shared bucket."""

    def __init__(
        self, bucket: Bucket, truth: Truth, now: Callable[[], datetime], settle: timedelta, sample_per_mille: int
    ) -> None:
        self._bucket = bucket
        self._truth = truth
        self._now = now
        self._sample = sample_per_mille
        self.images = SharedImages(bucket, truth, now, settle)
        self._notes = SharedNotes(bucket, truth, now)

    async def new(self, images: Sequence[Settled]) -> list[Finding]:
        """Newly settled images: the shared ones whole; of the private ones, that nothing of them is here."""
        shared = [image.job_id for image in images if image.shared]
        found = await self.images.look(shared, whole=True) if shared else []
        astray = [image.job_id for image in images if not image.shared and await self._is_here(image)]
        return found + (await self.images.look(astray, whole=False) if astray else [])

    async def _is_here(self, image: Settled) -> bool:
        for key in (keys.record(image.job_id), keys.image(image.job_id, image.format)):
            if await self._bucket.head(key) is not None:
                return True
        return False

    async def hours(self, since: datetime) -> tuple[datetime, list[Finding]]:
        """The entries of the hours since, those that are over; and the hour to go on with."""
        found: list[Finding] = []
        for hour in keys.hours(since, self._now() - HOUR_SETTLES):
            for prefix in (keys.journal(hour), keys.withdrawals(hour), keys.decided(hour)):
                after = ""
                while page := await self._bucket.page(prefix, after=after):
                    found += await self._notes.look(page)
                    after = page[-1].key
                    if len(page) < MAX_PAGE:
                        break
            since = hour + timedelta(hours=1)
        return since, found

    async def slice(self, place: Place, size: int) -> Slice:
        """The next objects of the way round."""
        page = await self._bucket.page("", after=place.key, limit=size)
        last = len(page) < size
        page = page if last else _whole_images(page)
        listed: dict[str, dict[str, int]] = {}
        others: list[Entry] = []
        for entry in page:
            what = parse_shared(entry.key)
            if what.sort is Sort.IMAGE:
                listed.setdefault(what.job_id, {})[what.ending] = entry.size_bytes
            else:
                others.append(entry)
        done = Slice(Place() if last else Place(page[-1].key, place.settled), objects=len(page))
        await self._join(place, done, listed, past=last or page[-1].key > _AFTER_IMAGES)
        for start in range(0, len(others), BATCH):
            done.findings += await self._notes.look(others[start : start + BATCH])
        return done

    async def _join(self, place: Place, done: Slice, listed: dict[str, dict[str, int]], *, past: bool) -> None:
        if place.settled == _ALL or (not listed and not past):
            return
        until = "" if past else max(listed)
        settled = [image async for image in self._truth.shared(place.settled, until)]
        if done.place.key:
            done.place.settled = _ALL if past else until
        odd = odd_shared(listed, settled)
        sampled = {image.job_id for image in settled if not image.withdrawn and self._is_sampled(image.job_id)} - odd
        for some, whole in ((sorted(odd), True), (sorted(sampled), True)):
            for start in range(0, len(some), BATCH):
                done.findings += await self.images.look(some[start : start + BATCH], whole=whole)

    def _is_sampled(self, job_id: str) -> bool:
        """Another part of all on each day, so that in time each is read."""
        drawn = hashlib.sha256(f"{self._now():%Y-%m-%d} {job_id}".encode()).digest()
        return int.from_bytes(drawn[:4], "big") % 1000 < self._sample

    async def again(self, finding: Finding) -> list[Finding]:
        """What is still wrong there."""
        what = parse_shared(finding.key)
        if finding.subject:
            return [one for one in await self.images.look([finding.subject], whole=True) if one.key == finding.key] or (
                [] if what.sort is Sort.IMAGE else await self._again_as_note(finding)
            )
        return await self._again_as_note(finding)

    async def _again_as_note(self, finding: Finding) -> list[Finding]:
        page = await self._bucket.page("", after=finding.key[:-1], limit=1)
        return await self._notes.look([entry for entry in page if entry.key == finding.key])


_AFTER_IMAGES: Final = "images0"
"""Comes after every key in `images/`."""
_ALL: Final = "all"
"""In a Place: the images are behind us, on the way through what comes after them."""


def _whole_images(page: Sequence[Entry]) -> Sequence[Entry]:
    """Without the last image of a full page, whose other files may be on the next."""
    last = parse_shared(page[-1].key)
    if last.sort is not Sort.IMAGE:
        return page
    kept = [entry for entry in page if parse_shared(entry.key).job_id != last.job_id]
    return kept or page
