"""Shared images, each by itself: what is settled of it, what lies there, and what is wrong with that.

What is found is looked for a second time before it is told, with both sides read anew: between the first reading of one
and that of the other anything may have happened.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from horde.auditor.core import keys
from horde.auditor.core.findings import SHARED, Finding, Kind
from horde.auditor.core.notes import wrong_with_record
from horde.auditor.core.settled import Job, Settled, State
from horde.auditor.truth import Truth
from horde.buckets.port import Head, ObjectReader

AT_ONCE: Final = 16
"""Images looked at at the same time: so many may be in memory."""
ALL_ENDINGS: Final = ("json", *keys.ENDINGS.values())
WORD_SETTLES: Final = timedelta(hours=1)
"""How long after the sign of a withdrawal the scheduler may not know of it yet: its requester asks again."""
JOB_LIVES: Final = 26
"""Hours, at most, from an image's entry in the journal to its end: a job lives for 24."""


class SharedImages:
    """Looks at images of the shared bucket."""

    def __init__(self, bucket: ObjectReader, truth: Truth, now: Callable[[], datetime], settle: timedelta) -> None:
        self._bucket = bucket
        self._truth = truth
        self._now = now
        self._settle = settle

    async def look(self, job_ids: Sequence[str], *, whole: bool) -> list[Finding]:
        """What is wrong with these; with `whole` their bytes, records and entries in the journal are read, too."""
        suspected = await self._look_once(job_ids, whole)
        if not suspected:
            return []
        again = await self._look_once(sorted({finding.subject for finding in suspected}), whole)
        known = {(finding.kind, finding.key) for finding in suspected}
        return [finding for finding in again if (finding.kind, finding.key) in known]

    async def _look_once(self, job_ids: Sequence[str], whole: bool) -> list[Finding]:
        jobs = await self._truth.jobs(job_ids)
        found: list[Finding] = []
        for start in range(0, len(job_ids), AT_ONCE):
            some = job_ids[start : start + AT_ONCE]
            for of_one in await asyncio.gather(*(self._look_at(job_id, jobs[job_id], whole) for job_id in some)):
                found += of_one
        return found

    async def _look_at(self, job_id: str, job: Job, whole: bool) -> list[Finding]:
        files, sign = await self._what_is_there(job_id)
        if not job.shared and job.state is not State.UNKNOWN:
            there = [keys.sign(job_id)] if sign else []
            there += [_file(job_id, ending) for ending in files]
            return [_finding(Kind.PRIVATE_IN_SHARED, job_id, key) for key in there]
        if job.state is State.OPEN:
            return []
        if job.state is not State.DONE or job.image is None:
            why = "there is no such job" if job.state is State.UNKNOWN else "its job ended without an image"
            return [_finding(Kind.STRANGER, job_id, _file(job_id, ending), why) for ending in files]
        if job.image.withdrawn or sign is not None:
            return self._withdrawn(job.image, files, sign)
        return await self._there(job.image, files, whole)

    def _withdrawn(self, image: Settled, files: Mapping[str, Head], sign: Head | None) -> list[Finding]:
        job_id, now = image.job_id, self._now()
        if sign is not None and now < sign.modified_at + self._settle:
            return []
        found = [_finding(Kind.WITHDRAWN_THERE, job_id, _file(job_id, ending)) for ending in files]
        if sign is None:
            found.append(_finding(Kind.BAD_ENTRY, job_id, keys.sign(job_id), "withdrawn without its sign"))
        elif not image.withdrawn and now > sign.modified_at + WORD_SETTLES:
            found.append(_finding(Kind.BAD_ENTRY, job_id, keys.sign(job_id), "the scheduler knows no withdrawal"))
        return found

    async def _there(self, image: Settled, files: Mapping[str, Head], whole: bool) -> list[Finding]:
        job_id, own = image.job_id, keys.ENDINGS[image.format]
        found = [
            _finding(Kind.STRANGER, job_id, _file(job_id, ending), "its image is of another format")
            for ending in files.keys() - {"json", own}
        ]
        if "json" not in files:
            found.append(_finding(Kind.MISSING_RECORD, job_id, keys.record(job_id)))
        if own not in files:
            found.append(_finding(Kind.MISSING_IMAGE, job_id, keys.image(job_id, image.format)))
        elif files[own].size_bytes != image.size_bytes:
            found.append(_finding(Kind.CHANGED, job_id, keys.image(job_id, image.format), "its size differs"))
        if whole and not found:
            found += await self._read(image)
        return found

    async def _read(self, image: Settled) -> list[Finding]:
        job_id, found = image.job_id, []
        record, data, entry = await asyncio.gather(
            self._bucket.read(keys.record(job_id)),
            self._bucket.read(keys.image(job_id, image.format)),
            self._in_journal(image),
        )
        if record is None or (wrong := wrong_with_record(record.data, image)) is not None:
            why = "it is gone" if record is None else wrong or ""
            found.append(_finding(Kind.BAD_RECORD, job_id, keys.record(job_id), why))
        if data is None or hashlib.sha256(data.data).hexdigest() != image.sha256:
            found.append(_finding(Kind.CHANGED, job_id, keys.image(job_id, image.format), "its digest differs"))
        if not entry:
            found.append(_finding(Kind.NOT_IN_JOURNAL, job_id, keys.journal(image.ended_at, job_id)))
        return found

    async def _in_journal(self, image: Settled) -> bool:
        """Nearly always in the hour of its end; clocks differ, and an end may wait for the ledger."""
        for back in (0, 1, -1, *range(2, JOB_LIVES)):
            if await self._bucket.head(keys.journal(image.ended_at - timedelta(hours=back), image.job_id)) is not None:
                return True
        return False

    async def _what_is_there(self, job_id: str) -> tuple[Mapping[str, Head], Head | None]:
        sign, *heads = await asyncio.gather(
            self._bucket.head(keys.sign(job_id)),
            *(self._bucket.head(_file(job_id, ending)) for ending in ALL_ENDINGS),
        )
        return {ending: head for ending, head in zip(ALL_ENDINGS, heads, strict=True) if head is not None}, sign


def _file(job_id: str, ending: str) -> str:
    return f"{keys.IMAGES}{job_id}.{ending}"


def _finding(kind: Kind, job_id: str, key: str, detail: str = "") -> Finding:
    return Finding(SHARED, key, kind, job_id, detail)
