"""The bookkeeping of the shared bucket: entries by the hour, signs of withdrawal, decisions of moderation.

Each must be well formed and refer to a shared image. Whatever is none of these and no image is a stranger.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from horde.auditor.core import keys
from horde.auditor.core.findings import SHARED, Finding, Kind
from horde.auditor.core.keys import Parsed, Sort, parse_shared
from horde.auditor.core.notes import wrong_with_decision, wrong_with_sign
from horde.auditor.core.settled import Job, State
from horde.auditor.truth import Truth
from horde.buckets.port import Entry, ObjectReader

PROBE_LIVES: Final = timedelta(hours=1)
CLOCKS_DIFFER: Final = timedelta(minutes=10)


class SharedNotes:
    """Looks at whatever in the shared bucket is no image."""

    def __init__(self, bucket: ObjectReader, truth: Truth, now: Callable[[], datetime]) -> None:
        self._bucket = bucket
        self._truth = truth
        self._now = now

    async def look(self, entries: Sequence[Entry]) -> list[Finding]:
        """What is wrong with these."""
        parsed = [(entry, parse_shared(entry.key)) for entry in entries]
        jobs = await self._truth.jobs([what.job_id for _, what in parsed if what.job_id])
        found = [await self._look_at(entry, what, jobs.get(what.job_id)) for entry, what in parsed]
        return [finding for finding in found if finding is not None]

    async def _look_at(self, entry: Entry, what: Parsed, job: Job | None) -> Finding | None:
        if job is None:
            stays = what.sort is not Sort.PROBE or self._now() > entry.modified_at + PROBE_LIVES
            return Finding(SHARED, entry.key, Kind.STRANGER) if stays else None
        if job.state is not State.UNKNOWN and not job.shared:
            return Finding(SHARED, entry.key, Kind.PRIVATE_IN_SHARED, what.job_id)
        wrong = await self._wrong(entry, what)
        if wrong is None and job.state is State.UNKNOWN and what.sort is not Sort.SIGN:
            # A job is forgotten long after its image was withdrawn; what was noted of it stays.
            withdrawn = await self._bucket.head(keys.sign(what.job_id))
            wrong = None if withdrawn is not None else "there is no such job"
        return None if wrong is None else Finding(SHARED, entry.key, Kind.BAD_ENTRY, detail=wrong)

    async def _wrong(self, entry: Entry, what: Parsed) -> str | None:
        if what.sort is Sort.ENTRY:
            return self._wrong_with_entry(entry, what.hour)
        found = await self._bucket.read(entry.key)
        if found is None:
            return None
        if what.sort is Sort.SIGN:
            return wrong_with_sign(found.data, what.job_id)
        return wrong_with_decision(found.data)

    def _wrong_with_entry(self, entry: Entry, hour_name: str) -> str | None:
        if entry.size_bytes:
            return "an entry is a name and has no bytes"
        try:
            hour = datetime.fromisoformat(f"{hour_name}:00+00:00")
        except ValueError:
            return "there is no such hour"
        return "its hour has not begun" if hour > self._now() + CLOCKS_DIFFER else None
