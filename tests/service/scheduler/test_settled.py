"""What the auditor is told, over a real socket, from the real engine."""

from __future__ import annotations

from typing import Any

import pytest
from tests.service.scheduler.mesh import Gateway, Running, scheduler, submission

from horde.api.job.v1 import job_pb2
from horde.internal.scheduler.v1 import scheduler_service_pb2 as pb
from horde.services.errors import InvalidArgument


async def paint(it: Running, painter: Any, request_id: str, placement: job_pb2.Placement.ValueType) -> str:
    """A done image of this placement; gives its job."""
    made = submission(request_id)
    made.quote.placement = placement
    (outcome,) = await it.submit(made)
    await painter.paint(await painter.next("assignment"))
    await painter.next("settled")
    await painter.demand(1)
    job_id: str = outcome.generation.generation.images[0].job_id
    return job_id


async def pages(it: Running, **asked: Any) -> list[pb.SettledImage]:
    request = pb.ListSettledImagesRequest(page_size=2, **asked)
    found: list[pb.SettledImage] = []
    while True:
        page = await it.stub.ListSettledImages(request)
        assert len(page.images) <= 2
        found += page.images
        request.page_token = page.next_page_token
        if not request.page_token:
            return found


async def test_what_is_done_is_listed_with_its_place_and_digest() -> None:
    async with scheduler() as it, Gateway(it) as gateway:
        painter = await gateway.attach()
        shared = [await paint(it, painter, f"s{index}", job_pb2.PLACEMENT_SHARED) for index in range(3)]
        private = [await paint(it, painter, f"p{index}", job_pb2.PLACEMENT_PRIVATE) for index in range(2)]
        waiting = (await it.submit(submission("waits", model="nobody's")))[0].generation.generation.images[0].job_id
        by_end = await pages(it, order=pb.SETTLED_ORDER_BY_END)
        assert {image.job_id for image in by_end} == {*shared, *private}
        assert [image.job_id for image in await pages(it, order=pb.SETTLED_ORDER_BY_JOB)] == sorted(shared)
        assert {image.job_id for image in await pages(it, order=pb.SETTLED_ORDER_BY_OBJECT)} == set(private)
        known = {image.job_id: image for image in by_end}
        for job_id in shared:
            assert known[job_id].placement == job_pb2.PLACEMENT_SHARED
            assert known[job_id].sha256 == bytes(32)
            assert not known[job_id].HasField("expires_at")
        assert all(known[job_id].HasField("expires_at") for job_id in private)
        response = await it.stub.DescribeJobs(pb.DescribeJobsRequest(job_ids=[shared[0], waiting, "no such job"]))
        one, two, three = response.jobs
        assert one.image == known[shared[0]]
        assert (two.state, two.placement) == (job_pb2.JOB_STATE_QUEUED, job_pb2.PLACEMENT_PRIVATE)
        assert not two.HasField("image")
        assert three == pb.DescribedJob()


async def test_an_order_is_needed_and_many_jobs_are_refused() -> None:
    async with scheduler() as it:
        for refused in (
            it.stub.ListSettledImages(pb.ListSettledImagesRequest()),
            it.stub.ListSettledImages(pb.ListSettledImagesRequest(order=pb.SETTLED_ORDER_BY_END, after="x")),
            it.stub.DescribeJobs(pb.DescribeJobsRequest(job_ids=["j"] * 257)),
        ):
            with pytest.raises(InvalidArgument) as raised:
                await refused
            assert raised.value.reason == "INVALID_FIELD"
