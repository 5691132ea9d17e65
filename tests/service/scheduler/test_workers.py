"""What workers and their gateways do to a scheduler, well- and ill-behaved; and what happens when it is replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4, uuid5

import pytest
from google.rpc import error_details_pb2
from tests.service.scheduler.mesh import (
    OWNER,
    PRICE,
    Gateway,
    Painter,
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
from horde.api.worker.v1 import worker_pb2, worker_service_pb2
from horde.internal.ledger.v1 import ledger_service_pb2 as ledger_pb
from horde.internal.scheduler.v1 import scheduler_service_pb2 as pb
from horde.scheduler import engine
from horde.scheduler.core.board import Limits
from horde.scheduler.core.errors import NotLeader
from horde.scheduler.core.job import JobId
from horde.scheduler.doors import follow, relay
from horde.scheduler.store.memory import MemoryStore
from horde.services.errors import FailedPrecondition, NotFound, ResourceExhausted
from horde.services.rates import Rate
from horde.services.status import from_status
from horde.testkit.loopback import assert_raises_reason
from horde.testkit.waiting import HANG_SECONDS, ticks


async def ended(running: Running, generation_id: str) -> Any:
    for _ in ticks():
        outcome = await running.get(generation_id)
        if outcome.HasField("generation") and outcome.generation.generation.finished:
            return outcome.generation.generation
        await asyncio.sleep(0.005)
    raise AssertionError("it does not end")


async def test_a_forged_receipt_is_not_paid_and_the_job_goes_to_another() -> None:
    async with scheduler() as it, Gateway(it) as gateway:
        liar = await gateway.attach("liar")
        made = submission()
        await it.submit(made)
        assignment = await liar.next("assignment")
        outcome = liar.painted(assignment)
        outcome.painted.receipt += "x"
        await liar.say(outcome=outcome)
        settled = await liar.next("settled")
        assert settled.disposition == worker_service_pb2.DISPOSITION_INVALID_RECEIPT
        honest = await gateway.attach("honest")
        await honest.paint(await honest.next("assignment"))
        await honest.next("settled")
        done = await ended(it, made.generation_id)
        assert done.images[0].worker_name == "honest"
        assert it.world.ledger.balances[OWNER] == PRICE


async def test_a_broken_outcome_gives_its_job_back_and_is_closed_the_same_each_time() -> None:
    async with scheduler() as running, Gateway(running) as gateway:
        first = await gateway.attach("w1")
        await running.submit(submission())
        lent = await first.next("assignment")
        second = await gateway.attach("w2")
        wrong = error_details_pb2.BadRequest()
        wrong.field_violations.add(field="outcome.failed.detail", description="must have at most 500 characters")
        broken = pb.InvalidOutcome(lease_id=lent.lease_id, job_id=lent.job_id, invalid=wrong)
        for _ in range(2):
            await first._send(invalid_outcome=broken)
            settled = await first.next("settled")
            assert settled.disposition == worker_service_pb2.DISPOSITION_OUTCOME_INVALID
            assert settled.invalid == wrong
            assert "outcome.failed.detail" in settled.detail
        again = await second.next("assignment")
        assert again.job_id == lent.job_id


async def test_nobody_reports_anothers_lease() -> None:
    async with scheduler() as it, Gateway(it) as gateway:
        victim = await gateway.attach("victim")
        await it.submit(submission())
        assignment = await victim.next("assignment")
        thief = await gateway.attach("thief")
        await thief.say(outcome=victim.painted(assignment))
        assert (await thief.next("settled")).disposition == worker_service_pb2.DISPOSITION_INVALID_RECEIPT
        await victim.paint(assignment)
        settled = await victim.next("settled")
        assert settled.disposition == worker_service_pb2.DISPOSITION_ACCEPTED
        assert it.world.ledger.settled[assignment.job_id].worker_id == victim.worker_id


async def test_an_outcome_of_a_job_that_never_was_may_be_forgotten() -> None:
    async with scheduler() as it, Gateway(it) as gateway:
        painter = await gateway.attach()
        outcome = worker_service_pb2.Outcome(lease_id="x", job_id="00000000-0000-4000-8000-000000000001")
        outcome.failed.detail = "?"
        await painter.say(outcome=outcome)
        assert (await painter.next("settled")).disposition == worker_service_pb2.DISPOSITION_UNKNOWN_JOB


async def test_many_outcomes_of_jobs_that_left_the_memory_cost_one_query(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(limits=Limits(proven_images=0, max_recent=1))
    asked: list[list[str]] = []
    find = MemoryStore.find_by_jobs

    async def counted(store: MemoryStore, job_ids: Sequence[JobId]) -> Any:
        asked.append(list(job_ids))
        return await find(store, job_ids)

    monkeypatch.setattr(MemoryStore, "find_by_jobs", counted)
    async with scheduler(world) as it, Gateway(it) as gateway:
        painter = await gateway.attach()
        outcomes = []
        for number in range(3):
            made = submission(f"r{number}")
            await it.submit(made)
            assignment = await painter.next("assignment")
            outcomes.append(painter.painted(assignment))
            await painter.say(outcome=outcomes[-1])
            await painter.next("settled")
            await ended(it, made.generation_id)
        never = worker_service_pb2.Outcome(lease_id="x", job_id="00000000-0000-4000-8000-000000000001")
        never.failed.detail = "?"
        asked.clear()
        said = [worker_service_pb2.AttachRequest(outcome=each) for each in (never, *outcomes, never)]
        await gateway.send(*(pb.SessionRequest(relay_session_id=painter.number, worker=each) for each in said))
        answers = [await painter.next("settled") for _ in said]
        accepted, unknown = worker_service_pb2.DISPOSITION_ACCEPTED, worker_service_pb2.DISPOSITION_UNKNOWN_JOB
        assert [each.disposition for each in answers] == [unknown, accepted, accepted, accepted, unknown]
        assert asked[0] == [never.job_id, outcomes[0].job_id, outcomes[1].job_id]
        # Two at once are more than this memory holds: they are read again, and still answered.
        assert all(never.job_id not in each for each in asked[1:])


async def test_workers_of_three_owners_in_vain_fault_a_job_and_cost_nothing() -> None:
    async with scheduler() as it, Gateway(it) as gateway:
        painters = [await gateway.attach(name, str(uuid4())) for name in "abc"]
        made = submission()
        await it.submit(made)
        for painter in painters:
            await painter.fail(await painter.next("assignment"))
            assert (await painter.next("settled")).disposition == worker_service_pb2.DISPOSITION_ACCEPTED
        done = await ended(it, made.generation_id)
        assert done.images[0].ending == job_pb2.JOB_ENDING_FAULTED
        assert done.images[0].attempt == 3
        assert done.images[0].ending_detail
        assert not it.world.ledger.holds


async def test_a_newer_session_ends_the_older_with_its_reason() -> None:
    async with scheduler() as it, Gateway(it) as gateway:
        old = await gateway.attach("twin")
        await gateway.attach("twin")
        ended_with = from_status(await old.next("end"))
        assert ended_with.reason == "SESSION_SUPERSEDED"
        await old.demand(5)
        await old.nothing()


async def test_a_second_hello_is_a_violation() -> None:
    async with scheduler() as it, Gateway(it) as gateway:
        painter = await gateway.attach()
        await painter.say(hello=worker_service_pb2.Hello(worker_name="w1"))
        assert from_status(await painter.next("end")).reason == "PROTOCOL_VIOLATION"


async def test_a_relay_begins_with_its_hello() -> None:
    async with scheduler() as it:
        call = it.stub.Relay()
        await call.write(pb.RelayRequest(sessions=[pb.SessionRequest(relay_session_id=1)]))
        with assert_raises_reason(FailedPrecondition, "PROTOCOL_VIOLATION", {"got": "sessions"}):
            while await call.read():
                pass


async def test_what_is_newer_than_the_contract_is_passed_over() -> None:
    async with scheduler() as it, Gateway(it) as gateway:
        painter = await gateway.attach()
        await painter.say()
        await painter.say(preview=worker_service_pb2.LeasePreview(lease_id="x", step=1, image=b"x"))
        await it.submit(submission())
        await painter.next("assignment")


async def test_a_gateway_that_comes_back_in_time_goes_on() -> None:
    async with scheduler() as it:
        async with Gateway(it, "one") as gateway:
            painter = await gateway.attach()
            made = submission()
            await it.submit(made)
            assignment = await painter.next("assignment")
        await it.world.clock.advance(5.0)
        async with Gateway(it, "two") as gateway:
            assert gateway.epoch == it.engine.board.epoch
            back = Painter(gateway, painter.number, "w1")
            await back.open(session_id=painter.session_id, restate=False)
            held = worker_service_pb2.HeldLease(lease_id=assignment.lease_id, job_id=assignment.job_id, step=3)
            await back.restate(epoch=gateway.epoch, held=(held,))
            await back.nothing()
            await back.paint(assignment)
            settled = await back.next("settled")
            assert settled.disposition == worker_service_pb2.DISPOSITION_ACCEPTED
        assert (await ended(it, made.generation_id)).images[0].attempt == 1


async def test_matching_gives_others_their_turn_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "HOLD", 0.0)
    async with scheduler() as it, Gateway(it, "one") as gateway:
        painter = await gateway.attach("w", slots=20)
        await it.submit(submission(count=20))
        for _ in range(20):
            await it.world.clock.advance(0.0)
        assert len({(await painter.next("assignment")).job_id for _ in range(20)}) == 20
        assert it.engine._next_slice is not None, "it was done in one go"


async def test_what_a_lost_gateway_held_is_lent_again_after_the_grace() -> None:
    async with scheduler() as it:
        async with Gateway(it, "one") as gateway:
            painter = await gateway.attach("lost")
            made = submission()
            await it.submit(made)
            await painter.next("assignment")
        for _ in ticks():
            if not it.engine.board.sessions:
                break
            await asyncio.sleep(0.01)
        async with Gateway(it, "two") as gateway:
            other = await gateway.attach("other")
            await other.nothing()
            await it.world.clock.advance(it.engine.board.limits.resume_grace + 1.0)
            await other.paint(await other.next("assignment"))
            await other.next("settled")
        assert (await ended(it, made.generation_id)).images[0].attempt == 2


async def test_a_new_leader_goes_on_where_the_old_one_was() -> None:
    world = World()
    async with neighbours(world) as channels:
        made, waiting = submission("lent"), submission("waiting")
        async with running(world, channels) as it, Gateway(it) as gateway:
            painter = await gateway.attach()
            await it.submit(made)
            await it.submit(waiting)
            assignment = await painter.next("assignment")
            await painter.progress(assignment.lease_id, 2)
            shown = (await it.get(made.generation_id)).generation.generation
            epoch = gateway.epoch
        async with running(world, channels) as it, Gateway(it) as gateway:
            assert gateway.epoch == epoch + 1
            after = (await it.get(made.generation_id)).generation.generation
            assert after.version >= shown.version
            back = Painter(gateway, painter.number, "w1")
            await back.open(session_id=painter.session_id, restate=False)
            # What answers an older leader's Resync does not count.
            await back.restate(epoch=epoch)
            held = worker_service_pb2.HeldLease(lease_id=assignment.lease_id, job_id=assignment.job_id, step=3)
            await back.restate(epoch=gateway.epoch, held=(held,))
            await back.nothing()
            await back.paint(assignment)
            assert (await back.next("assignment")).job_id
            assert (await back.next("settled")).lease_id == assignment.lease_id
            done = await ended(it, made.generation_id)
            assert (done.images[0].attempt, done.images[0].ending) == (1, job_pb2.JOB_ENDING_DONE)
            assert it.world.ledger.balances[OWNER] == PRICE


async def test_an_outcome_is_answered_the_same_by_a_new_leader() -> None:
    world = World()
    async with neighbours(world) as channels:
        async with running(world, channels) as it, Gateway(it) as gateway:
            painter = await gateway.attach()
            made = submission()
            await it.submit(made)
            assignment = await painter.next("assignment")
            outcome = painter.painted(assignment)
            await painter.say(outcome=outcome)
            settled = await painter.next("settled")
            await ended(it, made.generation_id)
        async with running(world, channels) as it, Gateway(it) as gateway:
            back = await gateway.attach(restate=False)
            await back.restate(outcomes=(outcome,))
            assert await back.next("settled") == settled
            assert not it.engine.board.live_jobs
            stranger = await gateway.attach("stranger")
            await stranger.say(outcome=outcome)
            assert (await stranger.next("settled")).disposition == worker_service_pb2.DISPOSITION_INVALID_RECEIPT


async def test_a_pause_outlives_a_restart() -> None:
    world = World()
    async with neighbours(world) as channels:
        async with running(world, channels) as it, Gateway(it) as gateway:
            painter = await gateway.attach()
            await painter.nothing()
            request = pb.SetWorkerPausedRequest(worker_id=painter.worker_id, owner_account_id=OWNER, paused=True)
            await it.stub.SetWorkerPaused(request)
        async with running(world, channels) as it, Gateway(it) as gateway:
            painter = await gateway.attach()
            await it.submit(submission())
            await painter.nothing()


async def test_what_an_owner_says_of_a_worker_outlives_a_restart() -> None:
    world = World()
    async with neighbours(world) as channels:
        async with running(world, channels) as it, Gateway(it) as gateway:
            painter = await gateway.attach()
            request = pb.UpdateWorkerRequest(
                worker_id=painter.worker_id, owner_account_id=OWNER, description="In the cellar."
            )
            assert (await it.stub.UpdateWorker(request)).worker.description == "In the cellar."
            with assert_raises_reason(NotFound, "WORKER_NOT_FOUND", {"worker_id": painter.worker_id}):
                request.owner_account_id = "somebody"
                await it.stub.UpdateWorker(request)
        async with running(world, channels) as it, Gateway(it) as gateway:
            painter = await gateway.attach()
            shown = (await it.stub.GetWorker(pb.GetWorkerRequest(worker_id=painter.worker_id))).worker
            assert shown.description == "In the cellar."


async def test_a_replaced_leader_stops() -> None:
    world = World()
    with pytest.raises(ExceptionGroup) as caught:
        async with scheduler(world) as it:
            await MemoryStore(world.memory).lead()
            await it.submit(submission(), timeout=HANG_SECONDS)
            await asyncio.sleep(HANG_SECONDS)
    found: BaseException = caught.value
    while isinstance(found, ExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found.__cause__, NotLeader)
    assert not world.memory.generations
    assert not world.ledger.holds


async def test_storage_that_falls_in_the_middle_changes_nothing() -> None:
    async with scheduler() as it, Gateway(it) as gateway:
        painter = await gateway.attach()
        made = submission()
        await it.submit(made)
        it.world.storage.forget_answers = 1
        it.world.ledger.forget_answers = 1
        await painter.paint(await painter.next("assignment"))
        done = asyncio.create_task(ended(it, made.generation_id))
        while not done.done():
            await it.world.clock.advance(0.5)
            await asyncio.sleep(0.005)
        assert (await done).images[0].ending == job_pb2.JOB_ENDING_DONE
        assert it.world.ledger.balances[OWNER] == PRICE


async def test_a_receipt_without_an_object_is_not_paid() -> None:
    async with scheduler() as it, Gateway(it) as gateway:
        painter = await gateway.attach()
        made = submission()
        await it.submit(made)
        outcome = painter.painted(await painter.next("assignment"))
        it.world.storage.quarantine.clear()
        await painter.say(outcome=outcome)
        settled = await painter.next("settled")
        assert settled.disposition == worker_service_pb2.DISPOSITION_INVALID_RECEIPT
        shown = (await it.get(made.generation_id)).generation.generation
        assert shown.images[0].state == job_pb2.JOB_STATE_QUEUED
        assert not it.world.ledger.settled


async def test_a_follower_that_does_not_read_loses_progress_first_and_its_stream_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(follow, "MAX_WAITING", 4)
    follower = follow.Follower()
    event = pb.FollowedEvent(generation_id="g")
    for _ in range(10):
        follower.put(event, durable=False)
    batches = follower.responses()
    assert len((await anext(batches)).events) == 2
    for _ in range(5):
        follower.put(event)
    with pytest.raises(ResourceExhausted):
        await anext(batches)


async def test_a_follower_of_what_is_over_gets_it_all_at_once() -> None:
    async with scheduler() as it:
        made = submission()
        await it.submit(made)
        await it.cancel(made.generation_id)
        await ended(it, made.generation_id)
        call = it.stub.Follow()
        ref = pb.GenerationRef(generation_id=made.generation_id, requester=requester())
        await call.write(pb.FollowRequest(follow=ref))
        events: list[Any] = []
        while len(events) < 2:
            events += (await asyncio.wait_for(call.read(), HANG_SECONDS)).events
        assert [event.WhichOneof("event") for event in events] == ["snapshot", "finished"]
        call.cancel()


@pytest.mark.parametrize("released", [False, True])
async def test_what_the_ledger_ended_otherwise_ends_as_it_says(released: bool) -> None:
    async with scheduler() as it, Gateway(it) as gateway:
        loser = await gateway.attach()
        made = submission()
        await it.submit(made)
        lost = await loser.next("assignment")
        # What a lost leader had asked for: another worker was paid, or everything was given back.
        event_id = str(uuid5(UUID(lost.job_id), "settle"))
        outcome = ledger_pb.ApplyOutcome()
        outcome.entry.event_id = event_id
        if not released:
            outcome.entry.settlement.worker_id = "somebody"
            outcome.entry.settlement.ending = job_pb2.JOB_ENDING_DONE
            outcome.entry.settlement.earned_mkudos = PRICE
        it.world.ledger.answers[event_id] = (b"another", outcome)
        await loser.paint(lost)
        settled = await loser.next("settled")
        assert settled.disposition == worker_service_pb2.DISPOSITION_DUPLICATE
        done = await ended(it, made.generation_id)
        ending = job_pb2.JOB_ENDING_FAULTED if released else job_pb2.JOB_ENDING_DONE
        assert done.images[0].ending == ending
        assert done.images[0].settlement == outcome.entry.settlement


async def test_a_worker_is_told_its_terms_and_why_it_is_idle() -> None:
    async with scheduler(World(limits=Limits(proven_images=10))) as it, Gateway(it) as gateway:
        painter = await gateway.attach(session_features=(worker_pb2.SESSION_FEATURE_IDLE_REPORTS,))
        terms = painter.terms
        assert (terms.max_slots, terms.prepare_grace.seconds, terms.upload_grace.seconds) == (1, 300, 600)
        assert terms.progress_interval.ToMilliseconds() == 250
        await it.submit(submission(model="another", count=3))
        await painter.say(idle_question=worker_service_pb2.IdleQuestion())
        (cause,) = (await painter.next("idle_report")).causes
        assert (cause.reason, cause.jobs, cause.model) == (generation_pb2.INELIGIBLE_REASON_MODEL, 3, "another")
        await painter.say(idle_question=worker_service_pb2.IdleQuestion())
        await painter.nothing()
        request = pb.SetWorkerPausedRequest(worker_id=painter.worker_id, owner_account_id=OWNER, paused=True)
        await it.stub.SetWorkerPaused(request)
        (hindrance,) = (await painter.next("idle_report")).hindrances
        assert hindrance.reason == generation_pb2.INELIGIBLE_REASON_PAUSED


async def test_terms_are_told_again_when_they_grow_and_when_a_stream_comes_back() -> None:
    async with scheduler(World(limits=Limits(proven_images=10))) as it, Gateway(it) as gateway:
        painter = await gateway.attach()
        await it.submit(submission())
        await painter.paint(await painter.next("assignment"))
        said = [await asyncio.wait_for(gateway.inbox(painter.number).get(), HANG_SECONDS) for _ in range(2)]
        assert {each.worker.WhichOneof("message") for each in said} == {"settled", "terms"}
        await painter.close()
        again = Painter(gateway, gateway.number(), painter.name)
        await again.open(session_id=painter.session_id)
        assert (await again.next("terms")).max_slots == 2


async def test_followers_are_told_that_a_picture_is_on_its_way() -> None:
    async with scheduler() as it, Gateway(it) as gateway:
        painter = await gateway.attach()
        made = submission()
        await it.submit(made)
        lease_id = (await painter.next("assignment")).lease_id
        uploading = generation_pb2.LEASE_STATE_UPLOADING
        await painter.say(progress=worker_service_pb2.LeaseProgress(lease_id=lease_id, step=20, state=uploading))
        await painter.nothing()
        (image,) = (await it.get(made.generation_id)).generation.generation.images
        assert (image.step, image.lease_state) == (20, uploading)
        await it.world.clock.advance(300.0)
        await painter.nothing()
        assert (await it.get(made.generation_id)).generation.generation.images[0].lease_id == lease_id


@pytest.mark.parametrize(("each_job", "least", "most"), [(1, 60, 70), (300, 300, 310), (3_000, 900, 900)])
async def test_a_worker_that_says_no_progress_has_the_time_that_its_pace_needs_within_bounds(
    each_job: int, least: int, most: int
) -> None:
    pace = worker_service_pb2.ExpectedPace()
    pace.megapixel_step.FromMilliseconds(1)
    pace.each_job.FromSeconds(each_job)
    async with scheduler() as it, Gateway(it) as gateway:
        painter = await gateway.attach(pace=pace, slots=2)
        await it.submit(submission())
        lent = await painter.next("assignment")
        assert least <= lent.lease_ttl.seconds <= most
        await it.world.clock.advance(least - 2.0)
        await painter.paint(lent)
        assert (await painter.next("settled")).disposition == worker_service_pb2.DISPOSITION_ACCEPTED


async def test_the_time_of_what_it_holds_already_is_added() -> None:
    pace = worker_service_pb2.ExpectedPace()
    pace.each_job.FromSeconds(100)
    async with scheduler() as it, Gateway(it) as gateway:
        painter = await gateway.attach(pace=pace, slots=2)
        await it.submit(submission("one"))
        await it.submit(submission("two"))
        first, second = await painter.next("assignment"), await painter.next("assignment")
        assert (first.lease_ttl.seconds, second.lease_ttl.seconds) == (100, 200)


def never_was(number: int) -> worker_service_pb2.Outcome:
    outcome = worker_service_pb2.Outcome(lease_id="x", job_id=f"00000000-0000-4000-8000-{number:012}")
    outcome.failed.detail = "?"
    return outcome


@pytest.mark.parametrize("restated", [False, True], ids=["said", "restated"])
async def test_whoever_says_outcomes_without_end_has_a_few_looked_for_and_his_own_work_taken(
    restated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "LOOK_UPS", Rate(4, 3_600))
    async with scheduler() as it, Gateway(it) as gateway:
        painter, asked = await gateway.attach(), 0
        find = MemoryStore.find_by_jobs

        async def counted(store: MemoryStore, job_ids: Sequence[JobId]) -> Any:
            nonlocal asked
            asked += 1
            return await find(store, job_ids)

        monkeypatch.setattr(MemoryStore, "find_by_jobs", counted)
        await it.submit(submission())
        assignment = await painter.next("assignment")
        for number in range(0, 40, 2):
            outcomes = (never_was(number), never_was(number + 1))
            if restated:
                held = worker_service_pb2.HeldLease(lease_id=assignment.lease_id, job_id=assignment.job_id)
                await painter.restate(held=(held,), outcomes=outcomes)
            else:
                for each in outcomes:
                    await painter.say(outcome=each)
        for _ in range(4):
            assert (await painter.next("settled")).disposition == worker_service_pb2.DISPOSITION_UNKNOWN_JOB
        await painter.paint(assignment)
        settled = await painter.next("settled")
        assert settled.job_id == assignment.job_id
        assert asked <= 4
