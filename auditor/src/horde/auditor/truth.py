"""What the scheduler says was settled: by pages, in the order of whatever it is held against."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from horde.api.job.v1 import job_pb2
from horde.api.storage.v1 import storage_service_pb2
from horde.auditor.core.settled import NO_JOB, Job, Settled, State
from horde.internal.scheduler.v1 import scheduler_service_pb2 as pb
from horde.internal.scheduler.v1.scheduler_service_pb2_grpc import SchedulerServiceStub

MAX_JOBS: Final = 256
"""Jobs of one question."""
_FORMAT: Final = "IMAGE_FORMAT_"


class Truth(Protocol):
    """Answers what was settled. Every method raises ServiceError while nobody answers."""

    def ended(self, since_ms: int, after: str, before: datetime) -> AsyncIterator[Settled]:
        """What ended from a moment on and before another, in the order of ends; `after` the job that was the last."""

    def shared(self, after: str, until: str) -> AsyncIterator[Settled]:
        """What is settled for ever, by job, after one id and up to another (empty: to the end)."""

    def private(self, after: str, until: str) -> AsyncIterator[Settled]:
        """What expires or is settling, by the name of its object."""

    async def jobs(self, job_ids: Sequence[str]) -> Mapping[str, Job]:
        """What is durable of each."""


class SchedulerTruth:
    """Asks the scheduler."""

    def __init__(self, channel: Any) -> None:
        self._stub: Any = SchedulerServiceStub(channel)

    async def ended(self, since_ms: int, after: str, before: datetime) -> AsyncIterator[Settled]:
        request = pb.ListSettledImagesRequest(order=pb.SETTLED_ORDER_BY_END, after=str(since_ms))
        request.ended_before.FromDatetime(before)
        async for image in self._pages(request):
            if _ms(image.ended_at) > since_ms or image.job_id > after:
                yield image

    async def shared(self, after: str, until: str) -> AsyncIterator[Settled]:
        async for image in self._pages(
            pb.ListSettledImagesRequest(order=pb.SETTLED_ORDER_BY_JOB, after=after, until=until)
        ):
            yield image

    async def private(self, after: str, until: str) -> AsyncIterator[Settled]:
        async for image in self._pages(
            pb.ListSettledImagesRequest(order=pb.SETTLED_ORDER_BY_OBJECT, after=after, until=until)
        ):
            yield image

    async def jobs(self, job_ids: Sequence[str]) -> Mapping[str, Job]:
        wanted = list(dict.fromkeys(job_ids))
        found: dict[str, Job] = {}
        for start in range(0, len(wanted), MAX_JOBS):
            some = wanted[start : start + MAX_JOBS]
            response = await self._stub.DescribeJobs(pb.DescribeJobsRequest(job_ids=some))
            found.update(zip(some, map(_job, response.jobs), strict=True))
        return found

    async def _pages(self, request: pb.ListSettledImagesRequest) -> AsyncIterator[Settled]:
        while True:
            page = await self._stub.ListSettledImages(request)
            for image in page.images:
                yield _settled(image)
            request.page_token = page.next_page_token
            if not request.page_token:
                return


def _job(described: pb.DescribedJob) -> Job:
    if not described.state:
        return NO_JOB
    if described.state != job_pb2.JOB_STATE_ENDED:
        state = State.OPEN
    else:
        state = State.DONE if described.ending == job_pb2.JOB_ENDING_DONE else State.OVER
    image = _settled(described.image) if described.HasField("image") else None
    return Job(state, described.placement == job_pb2.PLACEMENT_SHARED, image)


def _settled(image: pb.SettledImage) -> Settled:
    return Settled(
        image.job_id,
        image.object_name,
        image.placement == job_pb2.PLACEMENT_SHARED,
        image.sha256.hex(),
        image.size_bytes,
        storage_service_pb2.ImageFormat.Name(image.format).removeprefix(_FORMAT),
        image.ended_at.ToDatetime(UTC),
        image.expires_at.ToDatetime(UTC) if image.HasField("expires_at") else None,
        image.withdrawn,
        image.settling,
    )


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
