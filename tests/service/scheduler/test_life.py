"""The life of a generation, over real gRPC."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.service.scheduler.mesh import PRICE, SURCHARGE, TAX, Gateway, Running, requester, scheduler, submission

from horde.api.job.v1 import job_pb2
from horde.api.worker.v1 import worker_service_pb2
from horde.internal.scheduler.v1 import scheduler_service_pb2 as pb
from horde.testkit.waiting import HANG_SECONDS, ticks


async def ended(running: Running, generation_id: str) -> Any:
    """The generation, once it is finished."""
    for _ in ticks():
        outcome = await running.get(generation_id)
        assert outcome.WhichOneof("result") == "generation", outcome
        if outcome.generation.generation.finished:
            return outcome.generation.generation
        await asyncio.sleep(0.01)
    raise AssertionError("it does not end")


async def test_a_generation_is_held_lent_painted_committed_paid_and_told() -> None:
    async with scheduler() as running, Gateway(running) as gateway:
        painter = await gateway.attach()
        (outcome,) = await running.submit(submission())
        shown = outcome.generation.generation
        assert [image.state for image in shown.images] == [job_pb2.JOB_STATE_QUEUED]
        assert len(outcome.generation.object_names[0]) == 32
        assignment = await painter.next("assignment")
        assert assignment.job_id == shown.images[0].job_id
        assert assignment.spec.image.seed == shown.spec.job.image.seed
        await painter.progress(assignment.lease_id, 7)
        await painter.paint(assignment)
        settled = await painter.next("settled")
        assert settled.disposition == worker_service_pb2.DISPOSITION_ACCEPTED
        assert settled.settlement.earned_mkudos == PRICE
        assert settled.settlement.tax_mkudos == TAX
        done = await ended(running, shown.generation_id)
        (image,) = done.images
        assert (image.state, image.ending) == (job_pb2.JOB_STATE_ENDED, job_pb2.JOB_ENDING_DONE)
        assert image.worker_name == "w1"
        assert image.settlement.surcharge_mkudos == SURCHARGE
        assert image.settlement.event_id == settled.settlement.event_id
        # The worker is told what it earned and why, and nothing of who paid.
        told = {field.name for field in settled.settlement.DESCRIPTOR.fields}
        assert not told & {"payer_account_id", "charged_mkudos", "from_subsidy_mkudos", "surcharge_mkudos"}
        assert running.world.storage.committed.keys() == {image.job_id}
        assert not running.world.ledger.holds
        # Told again, the same.
        await painter.paint(assignment)
        assert await painter.next("settled") == settled


async def test_followers_are_told_in_order() -> None:
    async with scheduler() as running, Gateway(running) as gateway:
        (outcome,) = await running.submit(submission(count=2))
        generation_id = outcome.generation.generation.generation_id
        call = running.stub.Follow()
        ref = pb.GenerationRef(generation_id=generation_id, requester=requester())
        await call.write(pb.FollowRequest(follow=ref))
        events: list[Any] = list((await call.read()).events)
        assert events[0].WhichOneof("event") == "snapshot"
        painter = await gateway.attach(slots=2)
        for _ in range(2):
            assignment = await painter.next("assignment")
            await painter.paint(assignment)
        while events[-1].WhichOneof("event") != "finished":
            events += (await asyncio.wait_for(call.read(), HANG_SECONDS)).events
        versions = [event.image.version for event in events if event.HasField("image")]
        assert versions == sorted(set(versions))
        assert versions[0] > events[0].snapshot.generation.version
        assert events[-1].finished.generation.finished
        call.cancel()
