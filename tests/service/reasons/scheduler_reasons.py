"""What the scheduler refuses, between a ledger and a storage that are scripted."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.service.reasons.provoking import GENERATION, SCHEDULER, WORKER, item, provokes, refusal
from tests.service.scheduler.mesh import ANNA, BERT, Gateway, World, requester, scheduler, submission

from horde.internal.scheduler.v1 import scheduler_service_pb2 as pb
from horde.scheduler.core.board import Limits
from horde.scheduler.janitor import FORGOTTEN
from horde.services.errors import ServiceError
from horde.testkit.waiting import HANG_SECONDS

NOTHING = "00000000-0000-4000-8000-000000000009"


@provokes(GENERATION, "REQUEST_CONFLICT")
async def the_same_id_for_another_picture(_: Path) -> ServiceError:
    async with scheduler() as it:
        await it.submit(submission())
        (answer,) = await it.submit(submission(prompt="a cat"))
        return item(answer.error)


@provokes(GENERATION, "GENERATION_NOT_FOUND")
async def what_never_was(_: Path) -> ServiceError:
    async with scheduler() as it:
        return item((await it.get(NOTHING)).error)


async def withdrawn(job_id: str) -> ServiceError:
    async with scheduler() as it:
        made = submission()
        (answer,) = await it.submit(made)
        ref = pb.GenerationRef(generation_id=made.generation_id, requester=requester())
        job_ids = [job_id or answer.generation.generation.images[0].job_id]
        answered = await it.stub.WithdrawImages(pb.WithdrawImagesRequest(ref=ref, job_ids=job_ids))
        return item(answered.outcomes[0])


@provokes(GENERATION, "IMAGE_NOT_FINISHED")
async def an_image_that_waits(_: Path) -> ServiceError:
    return await withdrawn("")


@provokes(GENERATION, "IMAGE_NOT_FOUND")
async def an_image_of_another(_: Path) -> ServiceError:
    return await withdrawn(NOTHING)


@provokes(GENERATION, "TOO_MANY_GENERATIONS")
async def one_generation_too_many(_: Path) -> ServiceError:
    async with scheduler(World(limits=Limits(max_generations=1))) as it:
        answer = (await it.submit(submission("a"), submission("b")))[1]
        return item(answer.error)


@provokes(GENERATION, "REFUSED_BEFORE")
async def what_was_forgotten(_: Path) -> ServiceError:
    async with scheduler(World(limits=Limits(max_recent=0))) as it:
        made = submission(ttl=60)
        await it.submit(made)
        await it.cancel(made.generation_id)
        async with asyncio.timeout(HANG_SECONDS):
            while not (await it.get(made.generation_id)).generation.generation.finished:
                await asyncio.sleep(0.005)
        await it.engine.saver.saved()
        await it.engine.term.store.forget(it.engine.term.now_ms() + 1, 10, FORGOTTEN)
        (answer,) = await it.submit(made)
        return item(answer.error)


@provokes(WORKER, "SESSION_SUPERSEDED")
async def two_of_one_name(_: Path) -> ServiceError:
    async with scheduler() as it, Gateway(it) as gateway:
        old = await gateway.attach("twin")
        await gateway.attach("twin")
        return item(await old.next("end"))


@provokes(WORKER, "WORKER_NOT_FOUND")
async def a_worker_that_never_was(_: Path) -> ServiceError:
    async with scheduler() as it:
        return await refusal(it.stub.GetWorker(pb.GetWorkerRequest(worker_id=NOTHING)))


@provokes(SCHEDULER, "QUEUE_FULL")
async def one_job_too_many(_: Path) -> ServiceError:
    async with scheduler(World(limits=Limits(max_jobs=1))) as it:
        answer = (await it.submit(submission("a", 1, requester(ANNA)), submission("b", 1, requester(BERT))))[1]
        return item(answer.error)


@provokes(SCHEDULER, "INVALID_FIELD")
async def a_submission_of_nothing(_: Path) -> ServiceError:
    async with scheduler() as it:
        (answer,) = await it.submit(pb.SubmitGeneration())
        return item(answer.error)


@provokes(SCHEDULER, "PROTOCOL_VIOLATION")
async def a_relay_without_a_hello(_: Path) -> ServiceError:
    async with scheduler() as it:
        call = it.stub.Relay()
        await call.write(pb.RelayRequest())
        await call.read()  # The welcome.
        return await refusal(call.read())
