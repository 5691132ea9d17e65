"""What somebody wishes to have forgotten: generations, workers, everything of an account; also across restarts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from grpc import aio
from tests.service.scheduler.mesh import (
    ANNA,
    BERT,
    OWNER,
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

from horde.api.job.v1 import job_pb2
from horde.internal.scheduler.v1 import scheduler_service_pb2 as pb
from horde.scheduler.core import judging
from horde.scheduler.core.board import Limits
from horde.scheduler.core.job import AccountId, JobId, WorkerId
from horde.scheduler.core.strikes import Strike, StrikeReason
from horde.services.errors import FailedPrecondition, NotFound
from horde.services.status import from_status
from horde.testkit.waiting import ticks


def shared(made: pb.SubmitGeneration) -> pb.SubmitGeneration:
    made.quote.placement = job_pb2.PLACEMENT_SHARED
    return made


async def painted(it: Running, painter: Painter, made: pb.SubmitGeneration) -> list[str]:
    """The ids of a generation's images, all of them done."""
    await it.submit(made)
    for _ in range(made.spec.count):
        await painter.demand(1)
        assignment = await painter.next("assignment")
        await painter.demand(0)
        await painter.paint(assignment)
        await painter.next("settled")
    shown = await it.get(made.generation_id, made.requester)
    return [image.job_id for image in shown.generation.generation.images]


def ref_to(made: pb.SubmitGeneration, who: job_pb2.Requester | None = None) -> pb.GenerationRef:
    return pb.GenerationRef(generation_id=made.generation_id, requester=who or made.requester)


async def delete(it: Running, *refs: pb.GenerationRef) -> list[str]:
    """The reasons of what is answered; empty for OK."""
    answer = await it.stub.DeleteGenerations(pb.DeleteGenerationsRequest(refs=refs))
    return [from_status(outcome).reason if outcome.code else "" for outcome in answer.outcomes]


async def reason_of(it: Running, made: pb.SubmitGeneration) -> str:
    outcome = await it.get(made.generation_id, made.requester)
    return from_status(outcome.error).reason if outcome.HasField("error") else ""


async def until(true: Any) -> None:
    for _ in ticks("it does not come"):
        if true():
            return
        await asyncio.sleep(0.005)


def rows_of(world: World, made: pb.SubmitGeneration) -> tuple[bytes, int]:
    """What is kept of a generation: its spec, and how many jobs."""
    row = world.memory.generations[made.generation_id]
    return row["spec"], sum(job["generation_id"] == made.generation_id for job in world.memory.jobs.values())


async def test_a_deleted_generation_is_gone_with_its_images_and_its_id_is_never_painted_again() -> None:
    async with scheduler() as it, Gateway(it) as gateway:
        painter = await gateway.attach()
        made, other, given = submission(count=2), submission("other"), shared(submission("given"))
        images, kept = await painted(it, painter, made), await painted(it, painter, other)
        taken_back = await painted(it, painter, given)
        for _ in range(2):
            assert await delete(it, ref_to(made), ref_to(given)) == ["", ""]
            assert await reason_of(it, made) == "GENERATION_NOT_FOUND"
            page = await it.stub.ListGenerations(pb.ListGenerationsRequest(requester=requester()))
            assert [generation.generation.generation_id for generation in page.generations] == [other.generation_id]
        await until(lambda: it.world.storage.withdrawn == {*images, *taken_back})
        await until(lambda: rows_of(it.world, made) == rows_of(it.world, given) == (b"", 0))
        (again,) = await it.submit(made)
        assert from_status(again.error).reason == "REFUSED_BEFORE"
        assert it.world.storage.withdrawn.isdisjoint(kept)
        assert await reason_of(it, other) == ""
        assert not it.engine.board.live_by_requester


async def test_only_its_requester_deletes_it_and_only_when_it_has_ended() -> None:
    async with scheduler() as it, Gateway(it) as gateway:
        painter = await gateway.attach()
        done, waiting = submission("done"), submission("waiting")
        await painted(it, painter, done)
        await painter.demand(0)
        await it.submit(waiting)
        assert await delete(it, ref_to(done, requester(BERT)), ref_to(waiting)) == ["", "GENERATION_NOT_FINISHED"]
        assert await reason_of(it, done) == await reason_of(it, waiting) == ""
        assert not it.world.storage.withdrawn


async def begun(world: World, channels: tuple[aio.Channel, aio.Channel], made: pb.SubmitGeneration) -> list[str]:
    """Its images are done and its deletion is wished for, while storage is away; then this process ends."""
    async with running(world, channels) as it, Gateway(it) as gateway:
        images = await painted(it, await gateway.attach(), made)
        world.storage.away = True
        assert await delete(it, ref_to(made)) == [""]
        assert await reason_of(it, made) == "GENERATION_NOT_FOUND"
    return images


async def test_a_deletion_goes_on_after_a_restart() -> None:
    world, made = World(), submission()
    async with neighbours(world) as channels:
        images = await begun(world, channels, made)
        async with running(world, channels) as it:
            assert await reason_of(it, made) == "GENERATION_NOT_FOUND"
            assert from_status((await it.submit(made))[0].error).reason == "REFUSED_BEFORE"
            assert rows_of(world, made)[1] == 1
            world.storage.away = False
            await world.clock.advance(10.0)
            await until(lambda: rows_of(world, made) == (b"", 0))
            assert world.storage.withdrawn == set(images)
        async with running(world, channels) as it:
            assert from_status((await it.submit(made))[0].error).reason == "REFUSED_BEFORE"


async def test_a_worker_that_is_away_is_forgotten_by_its_owner_alone() -> None:
    async with scheduler() as it, Gateway(it) as gateway:
        painter = await gateway.attach("old")
        request = pb.DeleteWorkerRequest(worker_id=painter.worker_id, owner_account_id=OWNER)
        with pytest.raises(FailedPrecondition) as busy:
            await it.stub.DeleteWorker(request)
        assert (busy.value.reason, busy.value.metadata) == ("WORKER_BUSY", {"worker_id": painter.worker_id})
        await painter.close()
        await until(lambda: it.engine.board.fleet.workers[painter.worker_id].away)  # type: ignore[index]
        with pytest.raises(NotFound):
            await it.stub.DeleteWorker(pb.DeleteWorkerRequest(worker_id=painter.worker_id, owner_account_id=BERT))
        for _ in range(2):
            await it.stub.DeleteWorker(request)
            assert not it.world.memory.workers
            assert not it.engine.board.fleet.workers
        await gateway.attach("old")
        await it.engine.saver.saved()
        assert set(it.world.memory.workers) == {painter.worker_id}


def struck(it: Running, owner: str) -> None:
    """Have a strike, and a wrong picture, of an owner written."""
    board, name = it.engine.board, AccountId(owner)
    strike = Strike(f"of-{owner}", name, WorkerId("w"), "rig", StrikeReason.WRONG_PICTURE, it.engine.term.now())
    board.strikes.add(strike)
    board.dirty_strikes[strike] = None
    standing = board.fleet.standing_of(name)
    standing.was_wrong(JobId("j"), strange=False)
    board.dirty_owners[standing] = None
    it.engine.term.flush()


async def test_what_the_ledger_is_still_to_be_told_of_an_owner_keeps_its_record() -> None:
    async with scheduler() as it:
        struck(it, ANNA)
        board = it.engine.board
        standing = board.fleet.standings[AccountId(ANNA)]
        standing.verdicts["slash", JobId("j")] = None
        request = pb.ForgetAccountRequest(account_id=ANNA)
        assert (await it.stub.ForgetAccount(request)).left == 1
        assert set(it.world.memory.owners) == {ANNA}
        judging.told(board, standing, "slash", JobId("j"))
        for _ in range(2):
            assert (await it.stub.ForgetAccount(request)).left == 0
            assert not it.world.memory.owners
            assert not it.world.memory.strikes


async def forgotten(it: Running, account: str, *, withdraw: bool = False) -> None:
    """Ask until nothing is left."""
    for _ in ticks("something stays"):
        request = pb.ForgetAccountRequest(account_id=account, withdraw_shared=withdraw)
        if not (await it.stub.ForgetAccount(request)).left:
            return
        await it.world.clock.advance(1.0)


@pytest.mark.parametrize("withdraw", [False, True])
async def test_an_account_is_forgotten_and_nobody_else(withdraw: bool) -> None:
    world = World(limits=Limits(proven_images=0))
    async with scheduler(world) as it, Gateway(it) as gateway:
        painter = await gateway.attach("bystander")
        hers = await gateway.attach("hers", owner=ANNA, models=("another",))
        await hers.close()
        private, given, his = submission("p", count=2), shared(submission("s")), submission("b", who=requester(BERT))
        images, in_public = await painted(it, painter, private), await painted(it, painter, given)
        await painted(it, painter, his)
        for owner in (ANNA, OWNER):
            struck(it, owner)
        world.ledger.rich = False
        refused = submission("refused", prompt="a secret")
        await it.submit(refused)
        world.ledger.rich = True
        await painter.demand(0)
        late = submission("late")
        await it.submit(late)
        found = await it.stub.SurveyAccount(pb.SurveyAccountRequest(account_id=ANNA))
        assert (found.open_generations, found.open_leases) == (1, 0)
        assert (found.generations, found.private_images, found.shared_images) == (4, 2, 1)
        await forgotten(it, ANNA, withdraw=withdraw)
        await until(lambda: world.storage.withdrawn == {*images, *(in_public if withdraw else ())})
        for made in (private, refused, late):
            assert rows_of(world, made) == (b"", 0)
        # What stays in the shared bucket is still accounted for, without its prompt.
        assert rows_of(world, given) == (b"", 0 if withdraw else 1)
        question = pb.ListSettledImagesRequest(order=pb.SETTLED_ORDER_BY_JOB)
        listed = [image.job_id for image in (await it.engine.settled_reading.page(question)).images]
        assert listed == ([] if withdraw else in_public)
        assert not world.ledger.holds
        assert hers.worker_id not in world.memory.workers
        assert {row["owner"] for row in world.memory.strikes.values()} == {OWNER} == set(world.memory.owners)
        assert not it.engine.board.strikes.of(AccountId(ANNA))
        assert AccountId(ANNA) not in it.engine.board.fleet.standings
        assert painter.worker_id in world.memory.workers
        assert await reason_of(it, his) == ""
        found = await it.stub.SurveyAccount(pb.SurveyAccountRequest(account_id=ANNA))
        assert found == pb.SurveyAccountResponse()
        # Its kudos' refusal is still its answer.
        assert from_status((await it.submit(refused))[0].error).reason == "INSUFFICIENT_KUDOS"


async def test_leases_of_an_accounts_workers_are_counted() -> None:
    async with scheduler() as it, Gateway(it) as gateway:
        painter = await gateway.attach(owner=ANNA)
        await it.submit(submission(who=requester(BERT)))
        await painter.next("assignment")
        found = await it.stub.SurveyAccount(pb.SurveyAccountRequest(account_id=ANNA))
        assert (found.open_generations, found.open_leases) == (0, 1)
        assert (await it.stub.ForgetAccount(pb.ForgetAccountRequest(account_id=ANNA))).left == 1
        assert it.engine.board.fleet.owned(ANNA) == 1  # type: ignore[arg-type]


async def test_sessions_of_an_account_that_ends_are_ended_and_let_in_no_more() -> None:
    async with scheduler() as it, Gateway(it) as gateway:
        hers, bystander = await gateway.attach("hers", owner=ANNA), await gateway.attach("bystander")
        await forgotten(it, ANNA)
        assert from_status(await hers.next("end")).reason == "API_KEY_UNKNOWN"
        late = Painter(gateway, gateway.number(), "hers", ANNA)
        await late.open(session_id=hers.session_id, restate=False)
        assert from_status(await late.next("end")).reason == "API_KEY_UNKNOWN"
        await it.engine.saver.saved()
        assert set(it.world.memory.workers) == {bystander.worker_id}
        assert not it.world.memory.owners
