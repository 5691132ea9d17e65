"""The shared bucket, read only: what is new in it and what was withdrawn, by the journal that the router keeps.

The journal has an entry for each shared image, by the hour in which it was put in place: `journal/<hour>/<id>`. What is
new since a moment is a listing of the hours since; the bucket as a whole is never listed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Protocol

from horde.buckets.port import MAX_PAGE, Bucket
from horde.data_releases.core.columns import BadRow, Measured, Place, describe
from horde.data_releases.core.gate import Reason
from horde.data_releases.core.plan import hour_name
from horde.data_releases.core.pseudonyms import Pseudonyms
from horde.data_releases.core.records import (
    BadRecord,
    NoConsent,
    NotTextToImage,
    SharedRecord,
    Verdict,
    is_image_id,
    read_record,
)
from horde.services.telemetry import get_logger

log = get_logger(__name__)

NOT_MEASURED: Final = Measured("", 0, "", None)
"""Of an image of which only the record is looked at: whether a row can be made of it."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A shared image as it was found: its record and bytes, or why it cannot be in a release."""

    id: str
    record: SharedRecord | None = None
    data: bytes = b""
    verdict: Verdict | None = None
    reason: Reason | None = None


class Verdicts(Protocol):
    """What moderation has decided after the image was shared."""

    async def of(self, image_id: str) -> Verdict | None:
        """The last verdict, if there is one."""


class BucketVerdicts:
    """Verdicts that lie beside the images: `moderation/<id>.json`, with a field `verdict`."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def of(self, image_id: str) -> Verdict | None:
        found = await self._bucket.read(f"moderation/{image_id}.json")
        try:
            return None if found is None else Verdict(json.loads(found.data)["verdict"])
        except (ValueError, KeyError, TypeError):
            log.error("a verdict cannot be read, so its image waits", image_id=image_id)
            return Verdict.REPORTED


class SharedSide:
    """Reads entries and images."""

    def __init__(self, bucket: Bucket, verdicts: Verdicts) -> None:
        self._bucket = bucket
        self._verdicts = verdicts

    async def shared(self, hours: Iterable[datetime]) -> AsyncIterator[str]:
        """Ids that were put in place in these hours, in the order of hours and ids. One may come twice."""
        for hour in hours:
            async for image_id in self._entries(f"journal/{hour_name(hour)}/"):
                yield image_id

    async def first_hour(self) -> datetime | None:
        """The hour of the journal's first entry."""
        after = ""
        while page := await self._bucket.page("journal/", after=after, limit=1):
            after = page[0].key
            # What else lies there is somebody's mistake, and nobody's release.
            with suppress(ValueError):
                return datetime.fromisoformat(f"{after.split('/')[1]}:00").replace(tzinfo=UTC)
        return None

    async def withdrawn(self, hours: Iterable[datetime]) -> AsyncIterator[tuple[str, datetime]]:
        """Ids that were withdrawn in these hours, each with its hour. One may come twice."""
        for hour in hours:
            async for image_id in self._entries(f"withdrawals/{hour_name(hour)}/"):
                yield image_id, hour

    async def decided(self, hours: Iterable[datetime]) -> AsyncIterator[tuple[str, datetime, Verdict | None]]:
        """Ids that a moderator decided about in these hours, each with its hour and how it stands now."""
        for hour in hours:
            async for image_id in self._entries(f"moderation/decided/{hour_name(hour)}/"):
                yield image_id, hour, await self._verdicts.of(image_id)

    async def fetch(self, image_id: str) -> Candidate:
        """The image with its record."""
        found = await self.describe(image_id)
        if found.record is None:
            return found
        image = await self._bucket.read(f"images/{found.record.file_name}")
        if image is None:
            return Candidate(image_id, reason=await self.why_absent(image_id))
        return replace(found, data=image.data)

    async def size_bytes(self, record: SharedRecord) -> int | None:
        """Of the image, if it is there."""
        head = await self._bucket.head(f"images/{record.file_name}")
        return None if head is None else head.size_bytes

    async def describe(self, image_id: str) -> Candidate:
        """The image's record, without the image."""
        if not is_image_id(image_id):
            return Candidate(image_id, reason=Reason.BAD_RECORD)
        record_data, verdict = await asyncio.gather(
            self._bucket.read(f"images/{image_id}.json"), self._verdicts.of(image_id)
        )
        if record_data is None:
            return Candidate(image_id, reason=await self.why_absent(image_id))
        try:
            record = read_record(record_data.data)
        except BadRecord:
            return Candidate(image_id, reason=Reason.BAD_RECORD)
        except NoConsent:
            return Candidate(image_id, reason=Reason.NO_CONSENT)
        except NotTextToImage:
            return Candidate(image_id, reason=Reason.NOT_TEXT_TO_IMAGE)
        try:
            describe(record, NOT_MEASURED, Place("", 0), verdict, Pseudonyms(b"", ""), "")
        except BadRow as error:
            log.warning("a record says what no column holds", image_id=image_id, why=str(error))
            return Candidate(image_id, reason=Reason.BAD_RECORD)
        if record.id != image_id:
            return Candidate(image_id, reason=Reason.BAD_RECORD)
        return Candidate(image_id, record, verdict=verdict)

    async def why_absent(self, image_id: str) -> Reason:
        """Why there is an entry, and no image."""
        withdrawn = await self._bucket.head(f"withdrawn/{image_id}.json")
        return Reason.INCOMPLETE if withdrawn is None else Reason.WITHDRAWN

    async def _entries(self, prefix: str) -> AsyncIterator[str]:
        after = ""
        while page := await self._bucket.page(prefix, after=after):
            for entry in page:
                yield entry.key.removeprefix(prefix)
            if len(page) < MAX_PAGE:
                return
            after = page[-1].key
