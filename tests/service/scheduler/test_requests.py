"""What gateways ask: accepted once, refused with reasons, read, listed, cancelled, withdrawn; and by whom."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid5

import pytest
from google.rpc import status_pb2
from tests.service.scheduler.mesh import (
    ANNA,
    BERT,
    MODEL,
    PRICE,
    SURCHARGE,
    Gateway,
    Running,
    World,
    neighbours,
    requester,
    running,
    scheduler,
    submission,
)

from horde.api.generation.v1 import generation_pb2
from horde.api.job.v1 import job_pb2
from horde.api.worker.v1 import worker_pb2
from horde.internal.scheduler.v1 import scheduler_service_pb2 as pb
from horde.internal.scheduler.v1.scheduler_service_pb2_grpc import SchedulerServiceStub
from horde.scheduler.core.board import Limits
from horde.scheduler.core.job import NAMESPACE, GenerationId
from horde.scheduler.core.rows import Changes
from horde.scheduler.doors import submitting
from horde.scheduler.doors.servicer import ALLOW, scheduler_registration
from horde.scheduler.janitor import FORGOTTEN
from horde.services.errors import InvalidArgument, NotFound, PermissionDenied, ServiceError, Unavailable
from horde.services.status import from_status
from horde.testkit.loopback import assert_raises_reason, fields_of, loopback
from horde.testkit.waiting import HANG_SECONDS, ticks


def error_of(outcome: Any) -> ServiceError:
    assert outcome.WhichOneof("result") == "error", outcome
    return from_status(outcome.error)


def reason_of(outcome: Any) -> tuple[str, dict[str, str]]:
    error = error_of(outcome)
    return error.reason, error.metadata


async def ended(running: Running, generation_id: str, who: job_pb2.Requester | None = None) -> Any:
    for _ in ticks():
        outcome = await running.get(generation_id, who)
        if outcome.generation.generation.finished:
            return outcome.generation.generation
        await asyncio.sleep(0.005)
    raise AssertionError("it does not end")


async def quiet(world: World) -> None:
    """Nothing is held, claimed or left over."""
    for _ in ticks(lambda: (world.ledger.holds, world.storage.claims, world.storage.quarantine)):
        if not (world.ledger.holds or world.storage.claims or world.storage.quarantine):
            return
        await asyncio.sleep(0.005)


async def test_the_same_request_has_the_same_answer_and_another_content_a_conflict() -> None:
    async with scheduler() as it:
        first, twin = await it.submit(submission(), submission())
        assert first.generation.generation == twin.generation.generation
        (again,) = await it.submit(submission())
        assert again == first
        (other,) = await it.submit(submission(prompt="a wolf"))
        assert reason_of(other) == ("REQUEST_CONFLICT", {"field": "spec.job.image.prompt"})
        assert len(it.world.ledger.holds) == 1


async def test_the_same_request_after_it_was_forgotten_by_memory() -> None:
    async with scheduler(World(limits=Limits(proven_images=0, max_recent=0))) as it:
        made = submission(ttl=60)
        (first,) = await it.submit(made)
        await it.cancel(made.generation_id)
        done = await ended(it, made.generation_id)
        assert made.generation_id not in it.engine.board.generations
        (again,) = await it.submit(made)
        assert again.generation.generation == done
        assert again.generation.object_names == first.generation.object_names
        (other,) = await it.submit(submission(ttl=60, steps=30))
        assert reason_of(other)[0] == "REQUEST_CONFLICT"
        assert it.world.ledger.applied == 2


async def test_a_refusal_for_lack_of_kudos_is_remembered() -> None:
    world = World()
    world.ledger.rich = False
    async with neighbours(world) as channels:
        async with running(world, channels) as it:
            (refused,) = await it.submit(submission(count=2))
            assert reason_of(refused)[0] == "INSUFFICIENT_KUDOS"
            assert error_of(refused).domain == "horde.api.ledger.v1"
            world.ledger.rich = True
            assert await it.submit(submission(count=2)) == [refused]
            assert reason_of(await it.get(submission().generation_id))[0] == "GENERATION_NOT_FOUND"
            ref = pb.GenerationRef(generation_id=submission().generation_id, requester=requester(), refused_too=True)
            assert list((await it.stub.GetGenerations(pb.GetGenerationsRequest(refs=[ref]))).outcomes) == [refused]
            ref.requester.account_id = "somebody else"
            (strange,) = (await it.stub.GetGenerations(pb.GetGenerationsRequest(refs=[ref]))).outcomes
            assert reason_of(strange)[0] == "GENERATION_NOT_FOUND"
            (conflict,) = await it.submit(submission(count=3))
            assert reason_of(conflict) == ("REQUEST_CONFLICT", {"field": "spec.count"})
            page = await it.stub.ListGenerations(pb.ListGenerationsRequest(requester=requester()))
            assert not page.generations
        async with running(world, channels) as it:
            assert await it.submit(submission(count=2)) == [refused]
        assert not world.ledger.holds
        assert not world.memory.jobs


async def test_unusable_inputs_are_refused_and_not_remembered() -> None:
    async with scheduler() as it:
        world = it.world
        digest = b"\7" * 32
        inputs: dict[str, Any] = {
            "source_image": job_pb2.InputImage(input_id="one", sha256=digest),
            "mask": job_pb2.InputImage(input_id="two", sha256=digest),
        }
        world.storage.inputs["one"] = digest
        (refused,) = await it.submit(submission(**inputs))
        assert reason_of(refused) == ("INPUT_UNUSABLE", {"input_id": "two"})
        await quiet(world)
        assert not world.memory.generations
        world.storage.inputs["two"] = digest
        (accepted,) = await it.submit(submission(**inputs))
        assert accepted.HasField("generation")
        assert len(world.storage.claims) == 2
        await it.cancel(submission().generation_id)
        await quiet(world)


async def test_while_the_ledger_is_away_nothing_is_promised_and_nothing_is_lost() -> None:
    async with scheduler() as it:
        it.world.ledger.away = True
        (answer,) = await it.submit(submission(), timeout=0.8)
        assert isinstance(error_of(answer), Unavailable)
        it.world.ledger.away = False
        it.world.ledger.forget_answers = 1
        again = asyncio.create_task(it.submit(submission()))
        while not again.done():
            await it.world.clock.advance(1.0)
            await asyncio.sleep(0.01)
        assert (await again)[0].HasField("generation")
        assert len(it.world.ledger.holds) == 1


async def test_what_the_gateway_should_have_refused_is_refused_with_every_field() -> None:
    async with scheduler() as it:
        bad = submission(count=0, width=0, ttl=100_000)
        bad.requester.account_id = ""
        bad.spec.job.model = ""
        bad.quote.ClearField("placement")
        (answer,) = await it.submit(bad)
        error = error_of(answer)
        assert error.reason == "INVALID_FIELD"
        assert fields_of(error) == [
            "generation_id",
            "requester.account_id",
            "spec.job.model",
            "spec.job.image.width",
            "spec.count",
            "spec.time_to_live",
            "quote.placement",
        ]
        assert not it.world.memory.generations


async def test_bounds_are_named() -> None:
    async with scheduler(World(limits=Limits(proven_images=0, max_jobs=3, max_generations=1))) as it:
        one, two, three = await it.submit(
            submission("a", 2), submission("b", 2, requester(BERT)), submission("c", 1, requester(ANNA))
        )
        assert one.HasField("generation")
        assert reason_of(two) == ("QUEUE_FULL", {"limit": "3"})
        assert error_of(two).retry_after is not None
        assert reason_of(three) == ("TOO_MANY_GENERATIONS", {"limit": "1"})


async def test_what_is_anothers_is_not_there() -> None:
    nobody, other = requester("anonymous", b"\1" * 32), requester("anonymous", b"\2" * 32)
    async with scheduler() as it:
        made = submission(who=nobody)
        await it.submit(made)
        ref = pb.GenerationRef(generation_id=made.generation_id, requester=other)
        missing = ("GENERATION_NOT_FOUND", {"generation_id": made.generation_id})
        assert reason_of(await it.get(made.generation_id, other)) == missing
        assert reason_of(await it.cancel(made.generation_id, other)) == missing
        assert reason_of(await it.get(made.generation_id, requester())) == missing
        withdrawn = await it.stub.WithdrawImages(pb.WithdrawImagesRequest(ref=ref, job_ids=["x"]))
        assert from_status(withdrawn.outcomes[0]).reason == "GENERATION_NOT_FOUND"
        page = await it.stub.ListGenerations(pb.ListGenerationsRequest(requester=other))
        assert not page.generations
        call = it.stub.Follow()
        await call.write(pb.FollowRequest(follow=ref))
        (event,) = (await call.read()).events
        assert from_status(event.error).reason == "GENERATION_NOT_FOUND"
        call.cancel()
        assert not (await it.get(made.generation_id, nobody)).generation.generation.images[0].ending


async def test_a_cancel_at_every_stage_pays_what_the_table_says() -> None:
    async with scheduler() as it, Gateway(it) as gateway:
        painter = await gateway.attach()
        made = submission(count=2)
        await it.submit(made)
        assignment = await painter.next("assignment")
        await it.world.clock.advance(30.0)
        await painter.progress(assignment.lease_id, 7)
        await painter.nothing()
        answer = await it.cancel(made.generation_id)
        assert answer.HasField("generation")
        assert (await painter.next("revocation")).lease_id == assignment.lease_id
        done = await ended(it, made.generation_id)
        assert [image.ending for image in done.images] == [job_pb2.JOB_ENDING_CANCELLED] * 2
        begun, queued = done.images
        # No other owner has painted with this model, so nothing shows how long a step takes: one is paid.
        assert (begun.settlement.earned_mkudos, begun.settlement.surcharge_mkudos) == (PRICE // 20, SURCHARGE // 20)
        assert begun.settlement.tax_mkudos == 0
        assert queued.settlement.earned_mkudos == 0
        assert it.world.ledger.settled.keys() == {begun.job_id}
        assert it.world.ledger.released.keys() == {queued.job_id}
        await quiet(it.world)


async def test_a_generation_expires_at_its_deadline() -> None:
    async with scheduler() as it:
        made = submission(ttl=30)
        await it.submit(made)
        await it.world.clock.advance(29.0)
        assert not (await it.get(made.generation_id)).generation.generation.finished
        await it.world.clock.advance(2.0)
        done = await ended(it, made.generation_id)
        assert done.images[0].ending == job_pb2.JOB_ENDING_EXPIRED
        await quiet(it.world)


async def test_pages_go_on_where_they_ended() -> None:
    async with scheduler() as it:
        for index in range(5):
            await it.submit(submission(f"r{index}"))
            await it.world.clock.advance(1.0)
        seen, token = [], ""
        while True:
            request = pb.ListGenerationsRequest(requester=requester(), page_size=2, page_token=token)
            page = await it.stub.ListGenerations(request)
            seen += [generation.generation.request_id for generation in page.generations]
            token = page.next_page_token
            if not token:
                break
        assert seen == ["r4", "r3", "r2", "r1", "r0"]
        for bad in ("x", "W10=", "%"):
            with pytest.raises(InvalidArgument) as caught:
                await it.stub.ListGenerations(pb.ListGenerationsRequest(requester=requester(), page_token=bad))
            assert fields_of(caught.value) == ["page_token"]


async def test_finished_images_can_be_withdrawn() -> None:
    async with scheduler() as it, Gateway(it) as gateway:
        painter = await gateway.attach()
        made = submission(count=2)
        await it.submit(made)
        assignment = await painter.next("assignment")
        await painter.demand(0)
        await painter.paint(assignment)
        await painter.next("settled")
        shown = (await it.get(made.generation_id)).generation.generation
        done, waiting = sorted(shown.images, key=lambda image: image.ending != job_pb2.JOB_ENDING_DONE)
        ref = pb.GenerationRef(generation_id=made.generation_id, requester=requester())
        request = pb.WithdrawImagesRequest(ref=ref, job_ids=[done.job_id, waiting.job_id, "x"])
        for _ in range(2):
            outcomes = (await it.stub.WithdrawImages(request)).outcomes
            assert outcomes[0] == status_pb2.Status()
            assert from_status(outcomes[1]).reason == "IMAGE_NOT_FINISHED"
            assert from_status(outcomes[2]).reason == "IMAGE_NOT_FOUND"
        assert it.world.storage.withdrawn == {done.job_id}
        image = (await it.get(made.generation_id)).generation.generation.images[done.index]
        assert image.withdrawn
        assert image.version > done.version


async def test_what_the_worker_says_of_the_making_goes_to_the_requester_and_beside_the_image() -> None:
    making = job_pb2.Making(
        sampler=job_pb2.SAMPLER_EULER,
        guidance_scale=0.0,
        steps=19,
        model_sha256=bytes(32),
        engine="diffusers 0.40",
        precision="float16",
        device_class="cuda-8.9",
    )
    async with scheduler() as it, Gateway(it) as gateway:
        painter = await gateway.attach()
        made = submission()
        await it.submit(made)
        outcome = painter.painted(await painter.next("assignment"))
        outcome.painted.making.CopyFrom(making)
        outcome.painted.deviations.add(kind=job_pb2.DEVIATION_KIND_CLAMPED, field="clip_skip")
        await painter.say(outcome=outcome)
        await painter.next("settled")
        (image,) = (await it.get(made.generation_id)).generation.generation.images
        assert (image.making, list(image.deviations)) == (making, list(outcome.painted.deviations))
        (committed,) = it.world.storage.committed.values()
        assert (committed.making, list(committed.deviations)) == (making, list(outcome.painted.deviations))


async def test_waits_models_and_workers() -> None:
    async with scheduler() as it, Gateway(it) as gateway:
        question = pb.EstimateWait(spec=submission().spec, requester=requester())
        (answer,) = (await it.stub.EstimateWaits(pb.EstimateWaitsRequest(estimates=[question]))).outcomes
        assert answer.wait.eligible_workers == 0
        painter = await gateway.attach("anna", models=(MODEL, "other"))
        await painter.nothing()
        await it.world.clock.advance(1.1)
        (answer,) = (await it.stub.EstimateWaits(pb.EstimateWaitsRequest(estimates=[question]))).outcomes
        assert answer.wait.eligible_workers == 1
        await it.submit(submission(count=3))
        models = (await it.stub.ListModels(pb.ListModelsRequest())).models
        assert [(model.name, model.workers, model.jobs_queued, model.jobs_leased) for model in models] == [
            ("other", 1, 0, 0),
            (MODEL, 1, 2, 1),
        ]
        shown = (await it.get(submission(count=3).generation_id)).generation.generation
        assert [image.HasField("wait") for image in shown.images] == [False, True, True]
        only = (await it.stub.ListModels(pb.ListModelsRequest(name=MODEL))).models
        assert [model.name for model in only] == [MODEL]
        (worker,) = (await it.stub.ListWorkers(pb.ListWorkersRequest())).workers
        assert (worker.name, worker.state, worker.leases) == ("anna", worker_pb2.WORKER_STATE_BUSY, 1)
        one = (await it.stub.GetWorker(pb.GetWorkerRequest(worker_id=worker.worker_id))).worker
        assert one == worker
        request = pb.SetWorkerPausedRequest(
            worker_id=worker.worker_id, owner_account_id=worker.owner_account_id, paused=True
        )
        paused = (await it.stub.SetWorkerPaused(request)).worker
        assert paused.state == worker_pb2.WORKER_STATE_PAUSED
        assert it.world.memory.workers[worker.worker_id]["paused"]
        request.owner_account_id = ANNA
        with assert_raises_reason(NotFound, "WORKER_NOT_FOUND", {"worker_id": worker.worker_id}):
            await it.stub.SetWorkerPaused(request)
        with assert_raises_reason(NotFound, "WORKER_NOT_FOUND"):
            await it.stub.GetWorker(pb.GetWorkerRequest(worker_id="x"))


async def test_a_model_says_what_one_more_worker_would_earn_with_it() -> None:
    async with scheduler() as it, Gateway(it) as gateway:

        async def an_hour() -> int:
            (model,) = (await it.stub.ListModels(pb.ListModelsRequest(name=MODEL))).models
            return int(model.mkudos_an_hour)

        painter = await gateway.attach()
        await it.submit(submission("measured"))
        assignment = await painter.next("assignment")
        assert await an_hour() == 0  # Nothing is measured yet.
        await it.world.clock.advance(36.0)
        await painter.demand(0)
        await painter.paint(assignment)
        await painter.next("settled")
        assert await an_hour() == 0  # Nothing waits.
        await it.submit(submission("few", count=20))
        assert await an_hour() == 20 * PRICE
        for number in range(9):
            await it.submit(submission(f"many{number}", count=20))
        # A hundred of them an hour, at 36 s each.
        assert await an_hour() == pytest.approx(100 * PRICE, rel=0.01)


async def test_many_workers_are_listed_by_pages() -> None:
    async with scheduler() as it, Gateway(it) as gateway:
        for index in range(5):
            await gateway.attach(f"w{index}")
        names, token = [], ""
        while True:
            page = await it.stub.ListWorkers(pb.ListWorkersRequest(page_size=2, page_token=token))
            names += [worker.name for worker in page.workers]
            token = page.next_page_token
            if not token:
                break
        assert names == [f"w{index}" for index in range(5)]


async def test_only_gateways_may_call() -> None:
    async with (
        scheduler() as it,
        loopback([scheduler_registration(it.engine)], caller="storage-router", allow=ALLOW) as served,
        served.dial(None) as nobody,
    ):
        for channel in (served.channel, nobody):
            stub: Any = SchedulerServiceStub(channel)
            for method, request in (
                ("SubmitGenerations", pb.SubmitGenerationsRequest()),
                ("GetGenerations", pb.GetGenerationsRequest()),
                ("CancelGenerations", pb.CancelGenerationsRequest()),
                ("ListWorkers", pb.ListWorkersRequest()),
            ):
                with pytest.raises(PermissionDenied):
                    await getattr(stub, method)(request)


async def test_the_estimate_of_a_followed_generation_is_told_again() -> None:
    async with scheduler() as it, Gateway(it) as gateway:
        await gateway.attach()
        made = submission(count=2)
        await it.submit(made)
        call = it.stub.Follow()
        ref = pb.GenerationRef(generation_id=made.generation_id, requester=requester())
        await call.write(pb.FollowRequest(follow=ref))
        await call.read()
        await it.world.clock.advance(1.5)
        events = (await asyncio.wait_for(call.read(), HANG_SECONDS)).events
        while not any(event.HasField("wait") for event in events):
            events = (await asyncio.wait_for(call.read(), HANG_SECONDS)).events
        (wait,) = (event.wait for event in events if event.HasField("wait"))
        assert isinstance(wait.wait, generation_pb2.WaitEstimate)
        await call.write(pb.FollowRequest(unfollow=made.generation_id))
        await it.stub.ListModels(pb.ListModelsRequest())
        call.cancel()


async def test_the_id_of_something_forgotten_is_never_painted_again() -> None:
    async with scheduler(World(limits=Limits(proven_images=0, max_recent=0))) as it, Gateway(it) as gateway:
        made = submission(ttl=60)
        await it.submit(made)
        await it.cancel(made.generation_id)
        await ended(it, made.generation_id)
        await quiet(it.world)
        await it.engine.saver.saved()
        assert await it.engine.term.store.forget(it.engine.term.now_ms() + 1, 10, FORGOTTEN) == 1
        painter = await gateway.attach()
        for spec in (made, submission(ttl=60, steps=30)):
            (again,) = await it.submit(spec)
            assert reason_of(again)[0] == "REFUSED_BEFORE"
        assert reason_of(await it.get(made.generation_id))[0] == "GENERATION_NOT_FOUND"
        await painter.nothing()
        assert it.world.ledger.applied == 2


async def test_a_page_shows_only_what_is_durable(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scheduler() as it:
        made = submission(ttl=60)
        await it.submit(made)
        store, writable = it.engine.term.store, asyncio.Event()
        write = store.write

        async def later(changes: Changes) -> Any:
            await writable.wait()
            return await write(changes)

        monkeypatch.setattr(store, "write", later)
        cancelling = asyncio.create_task(it.cancel(made.generation_id))
        while not it.engine.board.generations[GenerationId(made.generation_id)].cancelled:
            await asyncio.sleep(0)
        listing = asyncio.ensure_future(_list(it))
        for _ in range(3):
            await it.stub.ListModels(pb.ListModelsRequest())
        assert not listing.done()
        writable.set()
        page = await listing
        assert page.generations[0].generation.images[0].state != job_pb2.JOB_STATE_QUEUED
        await cancelling


async def test_a_page_that_is_too_large_is_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitting, "MAX_ANSWER_BYTES", 1)
    async with scheduler() as it:
        made = [submission(f"r{request}", ttl=60) for request in range(3)]
        for generation in made:
            await it.submit(generation)
        ids, token = [], ""
        for _ in made:
            page = await _list(it, token)
            (shown,) = page.generations
            ids.append(shown.generation.generation_id)
            token = page.next_page_token
        assert not token
        assert sorted(ids) == sorted(generation.generation_id for generation in made)


async def _list(it: Running, token: str = "") -> pb.ListGenerationsResponse:
    request = pb.ListGenerationsRequest(requester=requester(), page_token=token)
    page: pb.ListGenerationsResponse = await it.stub.ListGenerations(request)
    return page


async def test_what_was_asked_for_with_a_shared_key_has_an_id_of_its_own_and_is_its_accounts() -> None:
    who = job_pb2.Requester(account_id=ANNA, shared_key_id="0123456789abcdef")
    asked = submission("r1")
    asked.requester.CopyFrom(who)
    async with scheduler() as here:
        (refused,) = await here.submit(asked)
        assert fields_of(error_of(refused)) == ["generation_id"]
        asked.generation_id = str(uuid5(NAMESPACE, f"{ANNA}:{who.shared_key_id}/r1"))
        (accepted,) = await here.submit(asked)
        assert accepted.generation.generation.generation_id == asked.generation_id
        assert (await here.get(asked.generation_id)).generation.requester.account_id == ANNA
        assert reason_of(await here.get(asked.generation_id, requester(BERT)))[0] == "GENERATION_NOT_FOUND"
