"""Lists with filters, over a real socket, from the real engine."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from tests.service.scheduler.mesh import MODEL, Gateway, Running, requester, scheduler, submission

from horde.api.generation.v1 import generation_service_pb2 as generation_service
from horde.api.job.v1 import job_pb2
from horde.api.worker.v1 import worker_pb2, worker_service_pb2
from horde.internal.scheduler.v1 import scheduler_service_pb2 as pb
from horde.scheduler.doors import reading
from horde.services.status import from_status
from horde.testkit.waiting import until


async def pages(it: Running, size: int = 2, **filters: Any) -> list[list[str]]:
    """The request ids of each page, to the last."""
    request = pb.ListGenerationsRequest(
        requester=requester(), page_size=size, filters=generation_service.ListGenerationsRequest(**filters)
    )
    found: list[list[str]] = []
    while True:
        page = await it.stub.ListGenerations(request)
        assert len(page.generations) <= size
        found.append([known.generation.request_id for known in page.generations])
        request.page_token = page.next_page_token
        if not request.page_token:
            return found


async def listed(it: Running, **filters: Any) -> list[str]:
    """By pages; and those who ask by name, with the same filters, are told of the same."""
    found = [request_id for page in await pages(it, **filters) for request_id in page]
    everything = await it.stub.ListGenerations(pb.ListGenerationsRequest(requester=requester(), page_size=100))
    wanted = generation_service.ListGenerationsRequest(**filters)
    refs = [
        pb.GenerationRef(generation_id=known.generation.generation_id, requester=requester(), filters=wanted)
        for known in everything.generations
    ]
    answer = await it.stub.GetGenerations(pb.GetGenerationsRequest(refs=refs))
    held = [outcome.generation for outcome in answer.outcomes if outcome.HasField("generation")]
    assert [known.generation.request_id for known in held] == found
    refused = [from_status(outcome.error).reason for outcome in answer.outcomes if outcome.HasField("error")]
    assert refused == ["GENERATION_NOT_FOUND"] * (len(refs) - len(found))
    return found


async def test_generations_are_listed_by_what_they_are() -> None:
    async with scheduler() as it:
        for request_id, model, placement in (
            ("a1", MODEL, job_pb2.PLACEMENT_PRIVATE),
            ("a2", "other", job_pb2.PLACEMENT_SHARED),
            ("b1", MODEL, job_pb2.PLACEMENT_SHARED),
            ("b2", "other", job_pb2.PLACEMENT_PRIVATE),
        ):
            made = submission(request_id, model=model, ttl=30 if request_id == "a1" else None)
            made.quote.placement = placement
            await it.submit(made)
            await it.world.clock.advance(1.0)
        assert await listed(it, model=MODEL) == ["b1", "a1"]
        assert await listed(it, placement=job_pb2.PLACEMENT_SHARED) == ["b1", "a2"]
        assert await listed(it, model=MODEL, placement=job_pb2.PLACEMENT_SHARED) == ["b1"]
        assert await listed(it, request_id_prefix="a") == ["a2", "a1"]
        assert await listed(it, model="nobody's") == []
        await it.world.clock.advance(60.0)
        # The pass that ends it asks the ledger over a socket, which no clock of ours moves.
        await until(lambda: any(generation.closed for generation in it.engine.board.generations.values()))
        assert await listed(it, finished=True) == ["a1"]
        assert await listed(it, finished=False) == ["b2", "b1", "a2"]
        assert await listed(it, ending=job_pb2.JOB_ENDING_EXPIRED) == ["a1"]
        assert await listed(it, ending=job_pb2.JOB_ENDING_DONE) == []


async def test_generations_are_listed_by_when_they_were_accepted() -> None:
    async with scheduler() as it:
        moments: list[Timestamp] = []
        for index in range(5):
            (outcome,) = await it.submit(submission(f"r{index}"))
            moments.append(outcome.generation.generation.accepted_at)
            await it.world.clock.advance(1.0)
        assert await listed(it, accepted_after=moments[3]) == ["r4", "r3"]
        assert await listed(it, accepted_before=moments[2]) == ["r1", "r0"]
        assert await pages(it, 1, accepted_after=moments[1], accepted_before=moments[3]) == [["r2"], ["r1"]]
        later = Timestamp(seconds=moments[2].seconds, nanos=moments[2].nanos + 1)
        assert await listed(it, accepted_after=later) == ["r4", "r3"]
        assert await listed(it, accepted_before=later) == ["r2", "r1", "r0"]
        assert await listed(it, accepted_after=datetime(9999, 1, 1, tzinfo=UTC)) == []
        assert await listed(it, accepted_before=datetime(1, 1, 1, tzinfo=UTC)) == []


async def test_a_look_through_many_ends_and_goes_on_with_the_next_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_PAGE", 3)
    monkeypatch.setattr(reading, "MAX_LOOKS", 2)
    async with scheduler() as it:
        for index in range(20):
            await it.submit(submission(f"r{index}", model="rare" if index in (0, 7, 8) else MODEL))
            await it.world.clock.advance(1.0)
        found = await pages(it, 2, model="rare")
        assert [request_id for page in found for request_id in page] == ["r8", "r7", "r0"]
        # Twenty, eight of them at once: nobody's list keeps the others waiting.
        assert found[0] == []


async def test_workers_are_listed_by_what_they_are() -> None:
    async with scheduler() as it, Gateway(it) as gateway:
        await gateway.attach("Big one", models=("rare", MODEL))
        await gateway.attach("small one")
        resting = await gateway.attach("resting")
        await it.stub.SetWorkerPaused(
            pb.SetWorkerPausedRequest(worker_id=resting.worker_id, owner_account_id=resting.owner, paused=True)
        )

        async def names(**filters: Any) -> list[str]:
            request = pb.ListWorkersRequest(filters=worker_service_pb2.ListWorkersRequest(**filters))
            return [worker.name for worker in (await it.stub.ListWorkers(request)).workers]

        assert await names(model="rare") == ["Big one"]
        assert await names(name_contains="ONE") == ["Big one", "small one"]
        assert await names(state=worker_pb2.WORKER_STATE_PAUSED) == ["resting"]
        assert await names(model="rare", state=worker_pb2.WORKER_STATE_PAUSED) == []


async def test_models_of_the_last_day_are_those_that_workers_offered_then() -> None:
    async with scheduler() as it, Gateway(it) as gateway:
        await it.submit(submission(model="waited for"))

        async def names(lately: bool) -> list[str]:
            return [model.name for model in (await it.stub.ListModels(pb.ListModelsRequest(lately=lately))).models]

        leaving = await gateway.attach("leaving", models=("rare",))
        await gateway.attach("staying")
        assert await names(lately=False) == [MODEL, "rare", "waited for"]
        assert await names(lately=True) == [MODEL, "rare"]
        await leaving.close()
        await leaving.nothing()
        assert await names(lately=False) == [MODEL, "waited for"]
        assert await names(lately=True) == [MODEL, "rare"]
        await it.world.clock.advance(25 * 3600.0)
        assert await names(lately=True) == [MODEL]


async def test_a_model_is_listed_with_all_that_any_of_its_workers_can_be_asked_for() -> None:
    async with scheduler() as it, Gateway(it) as gateway:
        await gateway.attach(
            "one",
            max_pixels=512 * 512,
            features=(worker_pb2.FEATURE_INPAINTING,),
            samplers=(job_pb2.SAMPLER_EULER, job_pb2.SAMPLER_DDIM),
        )
        await gateway.attach(
            "other",
            max_pixels=1024 * 1024,
            features=(worker_pb2.FEATURE_LORA,),
            samplers=(job_pb2.SAMPLER_EULER,),
            schedules=(job_pb2.NOISE_SCHEDULE_KARRAS,),
        )
        (model,) = (await it.stub.ListModels(pb.ListModelsRequest(name=MODEL))).models
        assert list(model.features) == [worker_pb2.FEATURE_INPAINTING, worker_pb2.FEATURE_LORA]
        assert list(model.samplers) == [job_pb2.SAMPLER_DDIM, job_pb2.SAMPLER_EULER]
        assert list(model.schedules) == [job_pb2.NOISE_SCHEDULE_KARRAS]
        assert model.max_pixels == 1024 * 1024
