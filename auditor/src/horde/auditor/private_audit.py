"""The private bucket against what was settled, by names alone: the auditor may list it, and read nothing in it.

So what is private stays so even from who watches over it. What is missing is missing by name, what is changed is so
by size, and everything that belongs to nothing any more is found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from horde.auditor.core import keys
from horde.auditor.core.findings import PRIVATE, Finding, Kind
from horde.auditor.core.joining import odd_private
from horde.auditor.core.settled import State
from horde.auditor.shared_audit import Place, Slice
from horde.auditor.truth import Truth
from horde.buckets.port import Bucket, Entry

CLOSED_KEPT: Final = timedelta(hours=26)
"""How long the storage router keeps the sign of a closed lease: an empty object in quarantine."""
KEPT: Final = {
    "quarantine/": timedelta(days=7),
    # Where such signs lay once.
    "closed/": CLOSED_KEPT,
    "claims/": timedelta(hours=25),
    ".probe/": timedelta(0),
}
"""How long the storage router keeps what is there."""
INPUT_KEPT: Final = timedelta(hours=1)
SLACK: Final = timedelta(hours=2)
_IMAGES_END: Final = "images0"
_ALL: Final = "all"


class PrivateAudit:
    """Audits the private bucket."""

    def __init__(self, bucket: Bucket, truth: Truth, now: Callable[[], datetime], settle: timedelta) -> None:
        self._bucket = bucket
        self._truth = truth
        self._now = now
        self._settle = settle

    async def slice(self, place: Place, size: int) -> Slice:
        """The next objects of the way round."""
        page = await self._bucket.page("", after=place.key, limit=size)
        last = len(page) < size
        done = Slice(Place() if last else Place(page[-1].key, place.settled), objects=len(page))
        listed: dict[str, int] = {}
        others: list[Entry] = []
        for entry in page:
            name = keys.private_name(entry.key)
            if name is None:
                others.append(entry)
            else:
                listed[name] = entry.size_bytes
        past = last or page[-1].key > _IMAGES_END
        if place.settled != _ALL and (listed or past):
            until = "" if past else max(listed)
            if done.place.key:
                done.place.settled = _ALL if past else until
            done.findings += await self._join(listed, place.settled, until)
        done.findings += await self._others(others)
        return done

    async def _join(self, listed: dict[str, int], after: str, until: str) -> list[Finding]:
        settled = [image async for image in self._truth.private(after, until)]
        found: list[Finding] = []
        for names in odd_private(listed, settled, self._now()):
            for name in sorted(names):
                found += await self._look(name)
        return found

    async def _look(self, name: str) -> list[Finding]:
        """An image by itself, both sides read anew."""
        key = f"{keys.IMAGES}{name}"
        entry = await self._find(key)
        listed = {} if entry is None else {name: entry.size_bytes}
        settled = [image async for image in self._truth.private(name[:-1], name) if image.object_name == name]
        strange, missing, overdue = odd_private(listed, settled, self._now())
        found = [Finding(PRIVATE, key, Kind.ORPHAN, name, "no image that is done has this name") for _ in strange]
        kind = Kind.MISSING_PRIVATE if entry is None else Kind.CHANGED
        subject = settled[0].job_id if settled else ""
        found += [Finding(PRIVATE, key, kind, name, f"job {subject}") for _ in missing]
        return found + [Finding(PRIVATE, key, Kind.OVERDUE, name, "it expired") for _ in overdue]

    async def _find(self, key: str) -> Entry | None:
        """Without a right to read, an object is asked for by a listing that begins right before it."""
        page = await self._bucket.page(keys.IMAGES, after=key[:-1], limit=1)
        return page[0] if page and page[0].key == key else None

    async def _others(self, entries: Sequence[Entry]) -> list[Finding]:
        jobs = await self._truth.jobs([job for entry in entries if (job := _quarantined(entry.key))])
        found: list[Finding] = []
        for entry in entries:
            age = self._now() - entry.modified_at
            folder = f"{entry.key.partition('/')[0]}/"
            job_id = _quarantined(entry.key)
            closed = job_id is not None and not entry.size_bytes
            if folder in KEPT and age > (CLOSED_KEPT if closed else KEPT[folder]) + SLACK:
                found.append(Finding(PRIVATE, entry.key, Kind.OVERDUE))
            elif job_id is not None:
                if not closed and jobs[job_id].state in (State.DONE, State.OVER, State.UNKNOWN) and age > self._settle:
                    found.append(Finding(PRIVATE, entry.key, Kind.ORPHAN, detail="its job is over"))
            elif folder == "inputs/":
                if age > INPUT_KEPT + SLACK and not await self._is_claimed(entry.key):
                    found.append(Finding(PRIVATE, entry.key, Kind.OVERDUE, detail="nobody claims it"))
            elif folder not in (*KEPT, "claimed/") or folder == "quarantine/":
                found.append(Finding(PRIVATE, entry.key, Kind.STRANGER))
        return found

    async def _is_claimed(self, key: str) -> bool:
        return bool(await self._bucket.page(f"claims/{key.removeprefix('inputs/')}/", limit=1))

    async def again(self, finding: Finding) -> list[Finding]:
        """What is still wrong there."""
        name = keys.private_name(finding.key)
        if name is not None:
            return await self._look(name)
        # Leases of one job may begin alike (1.5, 1.51): the next object after all but the last letter may be another's.
        page = await self._bucket.page("", after=finding.key[:-1])
        return await self._others([entry for entry in page if entry.key == finding.key])


def _quarantined(key: str) -> str | None:
    return keys.leased_job(key) if key.startswith("quarantine/") else None
