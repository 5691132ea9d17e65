"""What the auditor is told: where every image that is done must lie, as it is durable. Nothing of it is from memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from horde.internal.scheduler.v1 import scheduler_service_pb2 as pb
from horde.scheduler.core.errors import InvalidField
from horde.scheduler.core.job import Ending, JobId, JobState
from horde.scheduler.core.rows import Row, SettledOrder, SettledQuery
from horde.scheduler.doors import wire
from horde.scheduler.doors.pages import read_token, write_token
from horde.scheduler.store.port import Store
from horde.services.errors import FieldViolation

MAX_PAGE = 1_000
MAX_DESCRIBED = 256


class SettledReading:
    """Answers from the store alone."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def page(self, request: pb.ListSettledImagesRequest) -> pb.ListSettledImagesResponse:
        """A page. Raises InvalidField."""
        try:
            order = SettledOrder(request.order)
            after = (int(request.after or 0), "") if order is SettledOrder.BY_END else (0, request.after)
        except ValueError:
            raise InvalidField(
                violations=[FieldViolation("order", "an order, and a place in it, are needed")]
            ) from None
        if (place := read_token(request.page_token, int, str)) is not None:
            after = (place[0], place[1])
        size = request.page_size if 1 <= request.page_size <= MAX_PAGE else MAX_PAGE
        before = request.ended_before.ToMilliseconds() if request.HasField("ended_before") else 1 << 62
        rows = await self._store.settled(SettledQuery(order, after, request.until, before, size))
        # The picture of a check is nowhere: it was compared, and is gone.
        response = pb.ListSettledImagesResponse(images=[_image(row) for row in rows if not row["checks"]])
        if len(rows) == size:
            last = rows[-1]
            match order:
                case SettledOrder.BY_END:
                    response.next_page_token = write_token(last["ended_at_ms"], last["job_id"])
                case SettledOrder.BY_JOB:
                    response.next_page_token = write_token(0, last["job_id"])
                case SettledOrder.BY_OBJECT:
                    response.next_page_token = write_token(0, last["object_name"])
        return response

    async def describe(self, job_ids: Sequence[str]) -> list[pb.DescribedJob]:
        """What there is of each. Raises InvalidField."""
        if len(job_ids) > MAX_DESCRIBED:
            raise InvalidField(violations=[FieldViolation("job_ids", f"at most {MAX_DESCRIBED}")])
        stored = await self._store.find_by_jobs([JobId(job_id) for job_id in dict.fromkeys(job_ids)])
        known = {
            row["job_id"]: {**row, "quote": found.generation["quote"]}
            for found in stored
            for row in found.jobs
            if not found.generation["checks"]
        }
        return [_described(known[job_id]) if job_id in known else pb.DescribedJob() for job_id in job_ids]


def _described(row: Row) -> pb.DescribedJob:
    described = pb.DescribedJob(
        state=row["state"], ending=row["ending"], placement=_placement(row), object_name=row["object_name"]
    )
    if row["ending"] == Ending.DONE and row["state"] >= JobState.SETTLING:
        described.image.CopyFrom(_image(row))
    return described


def _image(row: Row) -> pb.SettledImage:
    image = pb.SettledImage(
        job_id=row["job_id"],
        object_name=row["object_name"],
        placement=_placement(row),
        sha256=row["sha256"],
        size_bytes=row["size_bytes"],
        format=row["format"],
        withdrawn=row["withdrawn"],
        settling=row["state"] == JobState.SETTLING,
    )
    image.ended_at.FromMilliseconds(row["ended_at_ms"])
    if row["expires_at_ms"]:
        image.expires_at.FromMilliseconds(row["expires_at_ms"])
    return image


def _placement(row: Row) -> Any:
    return wire.placement_of(row["quote"])
