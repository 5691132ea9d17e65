"""The shared bucket: which images there are, by the journals that the storage router keeps, and what each is.

A journal has an entry for each image, by the hour: `journal/2026-11-26T13/<id>`, `withdrawals/2026-11-26T13/<id>`. The
bucket as a whole is never listed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Final

from horde.buckets.port import MAX_PAGE, Bucket, Entry
from horde.curation.core.images import FORMATS, BadRecord, SharedImage, read_record
from horde.services.telemetry import get_logger

log = get_logger(__name__)

SHARED: Final = "journal"
WITHDRAWN: Final = "withdrawals"


class SharedBucket:
    """Reads the bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def first_hour(self, journal: str) -> datetime | None:
        """The hour of a journal's first entry."""
        for entry in await self._bucket.page(f"{journal}/", limit=1):
            return datetime.fromisoformat(f"{entry.key.split('/')[1]}:00").replace(tzinfo=UTC)
        return None

    async def entries(self, journal: str, hour: datetime) -> AsyncIterator[Sequence[tuple[str, datetime]]]:
        """What an hour's entries name, and when each was made, at most 1,000 at a time."""
        prefix, after = f"{journal}/{hour.astimezone(UTC):%Y-%m-%dT%H}/", ""
        while page := await self._bucket.page(prefix, after=after):
            yield [(_name(entry, prefix), entry.modified_at) for entry in page]
            if len(page) < MAX_PAGE:
                return
            after = page[-1].key

    async def image(
        self, image_id: str, shared_at: datetime | None = None, journal_hour: datetime | None = None
    ) -> SharedImage | None:
        """An image as its record has it, if all of it is in place. Without `shared_at` its own time is taken."""
        record = await self._bucket.read(f"images/{image_id}.json")
        if record is None:
            return None
        try:
            found = read_record(record.data, shared_at or record.head.modified_at, journal_hour)
        except BadRecord as error:
            # The builder of releases counts it, too, and leaves it out.
            log.error("the record of a shared image cannot be read", image_id=image_id, why=str(error))
            return None
        # A record is written before its image.
        bytes_there = await self._bucket.head(f"images/{image_id}.{FORMATS[found.format]}")
        return found if bytes_there is not None and found.image_id == image_id else None


def _name(entry: Entry, prefix: str) -> str:
    return entry.key.removeprefix(prefix)
