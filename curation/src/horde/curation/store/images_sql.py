"""Shared images in SQL."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from horde.curation.core.images import SharedImage, Verdict
from horde.curation.store.tables import journal_hours, microseconds, places, shared_images, time_of, voices
from horde.services.sql import SqlThread

WORKER: str = "worker"
"""The checker at the worker, by the name of the contract."""


class SqlImages:
    """The part of the store that is about which images there are."""

    _sql: SqlThread

    async def known(self, image_ids: Collection[str]) -> Mapping[str, datetime | None]:
        table = shared_images.c
        asked = select(table.image_id, table.journal_hour_us).where(table.image_id.in_(image_ids))
        return await self._sql.read(
            lambda connection: {row.image_id: time_or_none(row.journal_hour_us) for row in connection.execute(asked)}
        )

    async def add_images(self, images: Sequence[SharedImage]) -> None:
        def work(connection: Connection) -> None:
            ids = [image.image_id for image in images]
            known = set(connection.scalars(select(shared_images.c.image_id).where(shared_images.c.image_id.in_(ids))))
            fresh = {image.image_id: image for image in images if image.image_id not in known}.values()
            if not fresh:
                return
            named = select(journal_hours).where(journal_hours.c.image_id.in_(ids))
            earlier = {row.image_id: row.hour_us for row in connection.execute(named)}
            connection.execute(insert(shared_images), [_row(image, earlier.get(image.image_id)) for image in fresh])
            connection.execute(delete(journal_hours).where(journal_hours.c.image_id.in_(ids)))
            rows = [
                {"image_id": image.image_id, "checker": WORKER, "verdict": image.worker_verdict.value, "score": None}
                for image in fresh
                if image.worker_verdict
            ]
            if rows:
                connection.execute(insert(voices), rows)

        await self._sql.run(work)

    async def keep_hour(self, image_ids: Collection[str], hour: datetime, forget_before: datetime) -> None:
        us, kept, named = microseconds(hour), shared_images.c, journal_hours.c

        def work(connection: Connection) -> None:
            later = kept.journal_hour_us.is_(None) | (kept.journal_hour_us > us)
            connection.execute(
                update(shared_images).where(kept.image_id.in_(image_ids), later).values(journal_hour_us=us)
            )
            here = set(connection.scalars(select(kept.image_id).where(kept.image_id.in_(image_ids))))
            here |= set(connection.scalars(select(named.image_id).where(named.image_id.in_(image_ids))))
            if missing := sorted(set(image_ids) - here):
                rows = [{"image_id": image_id, "hour_us": us} for image_id in missing]
                connection.execute(insert(journal_hours), rows)
            connection.execute(delete(journal_hours).where(named.hour_us < microseconds(forget_before)))

        await self._sql.run(work)

    async def image(self, image_id: str) -> SharedImage | None:
        return await self._sql.read(lambda connection: find_image(connection, image_id))

    async def withdraw_images(self, withdrawn: Mapping[str, datetime]) -> None:
        def work(connection: Connection) -> None:
            for image_id, at in sorted(withdrawn.items()):
                mine = (shared_images.c.image_id == image_id) & shared_images.c.withdrawn_at_us.is_(None)
                connection.execute(update(shared_images).where(mine).values(withdrawn_at_us=microseconds(at)))

        if withdrawn:
            await self._sql.run(work)

    async def place(self, journal: str) -> datetime | None:
        asked = select(places.c.hour_us).where(places.c.journal == journal)
        hour = await self._sql.read(lambda connection: connection.scalar(asked))
        return None if hour is None else time_of(hour)

    async def keep_place(self, journal: str, hour: datetime) -> None:
        def work(connection: Connection) -> None:
            kept = update(places).where(places.c.journal == journal).values(hour_us=microseconds(hour))
            if not connection.execute(kept).rowcount:
                connection.execute(insert(places).values(journal=journal, hour_us=microseconds(hour)))

        await self._sql.run(work)


def find_image(connection: Connection, image_id: str) -> SharedImage | None:
    """One image, within a transaction."""
    row = connection.execute(images_query().where(shared_images.c.image_id == image_id)).first()
    return None if row is None else image_of(row)


def images_query() -> Any:
    """All images, with what the worker's checker said of each: rows for `image_of`."""
    theirs = (voices.c.image_id == shared_images.c.image_id) & (voices.c.checker == WORKER)
    joined = shared_images.outerjoin(voices, theirs)
    return select(shared_images, voices.c.verdict.label("worker_verdict")).select_from(joined)


def image_of(row: Row[Any]) -> SharedImage:
    """A row of `shared_image`, with what the worker's checker said."""
    return SharedImage(
        image_id=row.image_id,
        requester=row.requester,
        prompt=row.prompt,
        negative_prompt=row.negative_prompt,
        model=row.model,
        width=row.width,
        height=row.height,
        format=row.format,
        sha256=row.sha256,
        size_bytes=row.size_bytes,
        shared_at=time_of(row.shared_at_us),
        worker_verdict=Verdict(row.worker_verdict or ""),
        verdict=Verdict(row.verdict),
        withheld=row.withheld,
        withdrawn_at=time_or_none(row.withdrawn_at_us),
        painter=row.painter,
        consent_version=row.consent_version,
        asked=row.asked,
        journal_hour=time_or_none(row.journal_hour_us),
    )


def time_or_none(us: int | None) -> datetime | None:
    """A time as it was kept, if one was."""
    return None if us is None else time_of(us)


def _row(image: SharedImage, earlier_us: int | None) -> dict[str, Any]:
    unsure = image.worker_verdict is Verdict.UNSURE
    hours = [] if image.journal_hour is None else [microseconds(image.journal_hour)]
    hours += [] if earlier_us is None else [earlier_us]
    return {
        "image_id": image.image_id,
        "requester": image.requester,
        "prompt": image.prompt,
        "negative_prompt": image.negative_prompt,
        "model": image.model,
        "width": image.width,
        "height": image.height,
        "format": image.format,
        "sha256": image.sha256,
        "size_bytes": image.size_bytes,
        "shared_at_us": microseconds(image.shared_at),
        "withdrawn_at_us": None if image.withdrawn_at is None else microseconds(image.withdrawn_at),
        "verdict": image.worker_verdict.value,
        "painter": image.painter,
        "consent_version": image.consent_version,
        "asked": image.asked,
        "journal_hour_us": min(hours, default=None),
        "withheld": False,
        "withheld_by": "",
        "withheld_network": "",
        # What a checker is not sure about waits for a moderator from the start.
        "opened_at_us": microseconds(image.shared_at) if unsure else None,
        "decided": False,
        "urgent": False,
        "reports": 0,
        # The record says it already.
        "told": True,
    }
