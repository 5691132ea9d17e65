"""Workers' streams, and the one that carries them to the scheduler."""

from __future__ import annotations

import asyncio
import io
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from grpc import aio
from PIL import Image

from horde.api.account.v1 import account_service_pb2 as account_pb2
from horde.api.generation.v1 import generation_pb2
from horde.api.generation.v1 import generation_service_pb2 as generation_service
from horde.api.job.v1 import job_pb2
from horde.api.worker.v1 import worker_pb2
from horde.api.worker.v1 import worker_service_pb2 as pb
from horde.gateway.core.credentials import new_api_key, parse_api_key
from horde.gateway.core.requesters import Principal, Requester
from horde.gateway.core.seats import owner
from horde.gateway.doors import relay as relay_module
from horde.gateway.doors.attach import MESSAGES_AT_ONCE
from horde.gateway.store.memory import MemoryIdentityStore
from horde.services.errors import (
    Aborted,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from horde.testkit.gateway import Bench, FakeRelay, bench
from horde.testkit.loopback import ManualClock, assert_raises_reason, fields_of
from horde.testkit.waiting import HANG_SECONDS

Credentials = list[tuple[str, str]]
PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
JOB = str(uuid.UUID(int=5))
NEWER = bytes([0xFA, 0xFF, 0x3F, 0])
"""An empty member of the oneof that is newer than this service."""
OUTCOME = pb.Outcome(lease_id="1-1", job_id=JOB, cancelled=pb.Cancelled())
HEAVY = pb.Outcome(lease_id="1-1", job_id=JOB, painted=pb.Painted(receipt="r" * 4_096))
LARGEST = worker_pb2.Capabilities(
    models=[
        worker_pb2.ModelOffer(
            name=f"{n:0>128}",
            sha256=bytes(32),
            image=worker_pb2.ImageOffer(
                max_pixels=2**31 - 1,
                features=list(worker_pb2.Feature.values()),
                samplers=list(job_pb2.Sampler.values()),
                schedules=list(job_pb2.NoiseSchedule.values()),
            ),
        )
        for n in range(256)
    ]
)


async def until(true: Callable[[], object]) -> None:
    """Wait for something that other tasks bring about."""
    async with asyncio.timeout(HANG_SECONDS):
        while not true():
            await asyncio.sleep(0.002)


class Worker:
    """One worker's end of the stream."""

    def __init__(self, mesh: Bench, credentials: Credentials) -> None:
        self.stream: Any = mesh.workers.Attach(metadata=credentials)

    async def say(self, **message: Any) -> None:
        await self.stream.write(pb.AttachRequest(**message))

    async def hear(self, kind: str) -> Any:
        async with asyncio.timeout(HANG_SECONDS):
            message = await self.stream.read()
        assert message is not aio.EOF, "the stream ended"
        assert message.WhichOneof("message") == kind
        return getattr(message, kind)

    async def attach(self, name: str = "rig") -> None:
        offer = worker_pb2.ImageOffer(max_pixels=512 * 512)
        capabilities = worker_pb2.Capabilities(models=[worker_pb2.ModelOffer(name="paintbox", image=offer)])
        await self.say(hello=pb.Hello(worker_name=name, capabilities=capabilities, agent="test"))
        await self.hear("welcome")

    async def restate(self, epoch: int = 0) -> None:
        await self.say(restatement=pb.Restatement(epoch=epoch, demand=pb.Demand(slots=1)))


@pytest.fixture
def worker(mesh: Bench, anna: Credentials) -> Worker:
    return Worker(mesh, anna)


async def relay_of(mesh: Bench) -> FakeRelay:
    await until(lambda: mesh.gateway.relay.up)
    return mesh.scheduler.relays[-1]


async def test_a_worker_speaks_with_the_scheduler_through_the_relay(mesh: Bench, worker: Worker) -> None:
    relay = await relay_of(mesh)
    await worker.attach()
    await worker.restate()
    await worker.say(progress=pb.LeaseProgress(lease_id="7-1", step=3))
    await worker.say(demand=pb.Demand(slots=2))
    await until(lambda: len(relay.heard) == 4)
    assert relay.kinds(1) == ["opened", "restatement", "progress", "demand"]
    assert relay.hello is not None
    assert uuid.UUID(relay.hello.gateway_id)
    opened = relay.heard[0].opened
    assert opened.hello.worker_name == "rig"
    assert opened.session_id == ""
    relay.say(1, pb.AttachResponse(assignment=pb.Assignment(lease_id="7-2", job_id=JOB, price_mkudos=5)))
    assert (await worker.hear("assignment")).price_mkudos == 5
    await worker.stream.done_writing()
    assert await worker.stream.read() is aio.EOF
    await until(lambda: relay.kinds(1)[-1] == "closed")
    assert relay.heard[-1].closed.clean


async def test_a_worker_that_vanishes_is_closed_uncleanly(mesh: Bench, worker: Worker) -> None:
    relay = await relay_of(mesh)
    await worker.attach()
    worker.stream.cancel()
    await until(lambda: relay.kinds(1)[-1:] == ["closed"])
    assert not relay.heard[-1].closed.clean
    assert len(mesh.gateway.relay) == 0


async def test_a_broken_relay_keeps_the_workers_and_states_them_anew(
    mesh: Bench, worker: Worker, bert: Credentials
) -> None:
    first = await relay_of(mesh)
    other = Worker(mesh, bert)
    await worker.attach("one")
    await other.attach("two")
    mesh.scheduler.epoch = 8
    first.break_off()
    assert (await worker.hear("resync")).epoch == 8
    assert (await other.hear("resync")).epoch == 8
    second = await relay_of(mesh)
    assert second is not first
    await until(lambda: len(second.heard) >= 2)
    opened = {message.relay_session_id: message.opened for message in second.heard}
    assert {number: session.session_id for number, session in opened.items()} == {1: "s1", 2: "s2"}
    # What it says before it restates is covered by the restatement, and might confuse who has not heard that yet.
    await worker.say(progress=pb.LeaseProgress(lease_id="7-1", step=3))
    await worker.restate(epoch=8)
    await worker.say(progress=pb.LeaseProgress(lease_id="7-1", step=4))
    await until(lambda: second.kinds(1)[-1] == "progress")
    assert second.kinds(1) == ["opened", "restatement", "progress"]
    # The second welcome of a session that was stated anew is not the worker's business.
    second.say(1, pb.AttachResponse(settled=pb.Settled(lease_id="7-1")))
    await worker.hear("settled")


async def test_a_thousand_unsettled_outcomes_are_restated_in_one_message(mesh: Bench, worker: Worker) -> None:
    relay = await relay_of(mesh)
    await worker.attach()
    await worker.say(restatement=pb.Restatement(outcomes=[OUTCOME] * 1_024))
    await until(lambda: relay.kinds(1) == ["opened", "restatement"])
    assert len(relay.heard[1].worker.restatement.outcomes) == 1_024


async def have_a_record(mesh: Bench, who: Credentials) -> None:
    """Newcomers have few seats."""
    account = (await mesh.accounts.GetAccount(account_pb2.GetAccountRequest(), metadata=who)).account
    mesh.ledger.earned.add(account.account_id)


async def test_a_relay_states_more_than_one_message_holds(mesh: Bench, anna: Credentials) -> None:
    await have_a_record(mesh, anna)
    first = await relay_of(mesh)
    workers = [Worker(mesh, anna) for _ in range(100)]
    for number, worker in enumerate(workers):
        await worker.say(hello=pb.Hello(worker_name=f"w{number}", capabilities=LARGEST))
        await worker.hear("welcome")
    said = [message.ByteSize() for message in first.heard]
    assert sum(said) > 4 * 1024 * 1024
    first.break_off()
    await until(lambda: len(mesh.scheduler.relays) > 1)
    for worker in workers:
        await worker.hear("resync")
    await until(lambda: len(mesh.scheduler.relays[-1].heard) == 100)
    assert len(mesh.scheduler.relays) == 2


async def test_workers_who_say_much_at_once_do_not_break_the_relay(mesh: Bench, anna: Credentials) -> None:
    await have_a_record(mesh, anna)
    relay = await relay_of(mesh)
    workers = [Worker(mesh, anna) for _ in range(24)]
    for number, worker in enumerate(workers):
        await worker.attach(f"w{number}")
    most = pb.Restatement(outcomes=[HEAVY] * 60)
    assert 24 * most.ByteSize() > 4 * 1024 * 1024
    await asyncio.gather(*(worker.say(restatement=most) for worker in workers))
    await until(lambda: len(relay.heard) == 48)
    assert mesh.scheduler.relays == [relay]


async def test_a_hello_has_a_size(mesh: Bench, worker: Worker) -> None:
    relay = await relay_of(mesh)
    await worker.say(hello=pb.Hello(worker_name="rig", agent="x" * 65 * 1024))
    with assert_raises_reason(InvalidArgument, "INVALID_FIELD") as caught:
        await worker.stream.read()
    assert fields_of(caught.value) == ["hello"]
    assert not relay.heard


async def test_a_worker_that_comes_while_the_scheduler_is_away_waits_for_it(mesh: Bench, worker: Worker) -> None:
    mesh.scheduler.away = True
    (await relay_of(mesh)).break_off()
    await until(lambda: not mesh.gateway.relay.up)
    attached = asyncio.create_task(worker.attach())
    await until(lambda: len(mesh.gateway.relay) == 1)
    assert not attached.done()
    mesh.scheduler.away = False
    await attached
    assert mesh.scheduler.relays[-1].heard[0].relay_session_id == 1


async def test_numbers_are_never_used_again(mesh: Bench, anna: Credentials) -> None:
    relay = await relay_of(mesh)
    for _ in range(3):
        worker = Worker(mesh, anna)
        await worker.attach()
        worker.stream.cancel()
        await until(lambda: len(mesh.gateway.relay) == 0)
    assert [message.relay_session_id for message in relay.heard if message.HasField("opened")] == [1, 2, 3]


class Superseded(Aborted):
    """A newer session."""

    domain = "horde.api.worker.v1"
    reason = "SESSION_SUPERSEDED"


async def test_the_scheduler_can_end_a_session(mesh: Bench, worker: Worker) -> None:
    relay = await relay_of(mesh)
    await worker.attach()
    relay.end(1, Superseded(metadata={"worker_name": "rig"}))
    with assert_raises_reason(Aborted, "SESSION_SUPERSEDED"):
        await worker.stream.read()


@pytest.mark.parametrize(
    ("first", "reason", "metadata"),
    [
        ({"demand": pb.Demand(slots=1)}, "HELLO_EXPECTED", {"got": "demand"}),
        ({}, "HELLO_EXPECTED", {"got": "nothing"}),
    ],
)
async def test_hello_comes_first(
    mesh: Bench, worker: Worker, first: dict[str, Any], reason: str, metadata: dict[str, str]
) -> None:
    relay = await relay_of(mesh)
    await worker.say(**first)
    with assert_raises_reason(FailedPrecondition, reason, metadata):
        await worker.stream.read()
    assert not relay.heard


async def test_a_hello_that_is_late_is_to_be_said_again(
    mesh: Bench, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a slow link it comes late; HELLO_EXPECTED would have the worker never come back."""
    monkeypatch.setattr(relay_module, "FIRST_MESSAGE_SECONDS", 0.05)
    with pytest.raises(Unavailable):
        await worker.stream.read()


async def test_hello_comes_once(mesh: Bench, worker: Worker) -> None:
    await relay_of(mesh)
    await worker.attach()
    await worker.say(hello=pb.Hello(worker_name="again"))
    with assert_raises_reason(FailedPrecondition, "PROTOCOL_VIOLATION", {"got": "hello"}):
        await worker.stream.read()


async def test_a_bad_hello_lists_all_that_is_wrong(mesh: Bench, worker: Worker) -> None:
    relay = await relay_of(mesh)
    offer = worker_pb2.ImageOffer(max_pixels=-1, size_multiple=12)
    capabilities = worker_pb2.Capabilities(models=[worker_pb2.ModelOffer(name="", sha256=b"x", image=offer)])
    await worker.say(hello=pb.Hello(worker_name="a b", capabilities=capabilities, agent="\x00"))
    with assert_raises_reason(InvalidArgument, "INVALID_FIELD") as caught:
        await worker.stream.read()
    assert fields_of(caught.value) == [
        "hello.worker_name",
        "hello.agent",
        "hello.capabilities.models[0].name",
        "hello.capabilities.models[0].sha256",
        "hello.capabilities.models[0].image.max_pixels",
        "hello.capabilities.models[0].image.size_multiple",
    ]
    assert not relay.heard


BROKEN: dict[str, tuple[pb.Outcome, str]] = {
    "no result": (pb.Outcome(lease_id="1-1", job_id=JOB), "result"),
    "long words": (pb.Outcome(lease_id="1-1", job_id=JOB, failed=pb.Failed(detail="x" * 501)), "failed.detail"),
    "colours": (pb.Outcome(lease_id="1-1", job_id=JOB, failed=pb.Failed(detail="\x1b[31mno")), "failed.detail"),
    "a long deviation": (
        pb.Outcome(
            lease_id="1-1",
            job_id=JOB,
            painted=pb.Painted(receipt="r", deviations=[job_pb2.Deviation(field="x" * 201)]),
        ),
        "painted.deviations[0].field",
    ),
    "a making that is a book": (
        pb.Outcome(
            lease_id="1-1", job_id=JOB, painted=pb.Painted(receipt="r", making=job_pb2.Making(engine="x" * 129))
        ),
        "painted.making.engine",
    ),
    "a guidance that is no number": (
        pb.Outcome(
            lease_id="1-1",
            job_id=JOB,
            painted=pb.Painted(receipt="r", making=job_pb2.Making(guidance_scale=float("nan"))),
        ),
        "painted.making.guidance_scale",
    ),
    "text that nobody asked for": (
        pb.Outcome(lease_id="1-1", job_id=JOB, written=pb.Written(receipt="r")),
        "written",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("restated", [False, True])
async def test_an_outcome_that_breaks_a_limit_ends_itself_and_not_the_stream(
    mesh: Bench, worker: Worker, name: str, restated: bool
) -> None:
    outcome, field = BROKEN[name]
    relay = await relay_of(mesh)
    await worker.attach()
    if restated:
        await worker.say(restatement=pb.Restatement(demand=pb.Demand(slots=1), outcomes=[OUTCOME, outcome]))
        root = "restatement.outcomes[1]"
    else:
        await worker.say(outcome=outcome)
        root = "outcome"
    await until(lambda: relay.heard and relay.heard[-1].HasField("invalid_outcome"))
    passed = relay.heard[-1].invalid_outcome
    assert (passed.lease_id, passed.job_id) == ("1-1", JOB)
    assert [field_violation.field for field_violation in passed.invalid.field_violations] == [f"{root}.{field}"]
    if restated:
        assert list(relay.heard[-2].worker.restatement.outcomes) == [OUTCOME]
    await worker.say(demand=pb.Demand(slots=2))
    await until(lambda: relay.heard[-1].worker.HasField("demand"))


async def test_an_outcome_of_what_can_be_no_lease_is_closed_at_this_door(mesh: Bench, worker: Worker) -> None:
    relay = await relay_of(mesh)
    await worker.attach()
    await worker.say(outcome=pb.Outcome(lease_id="x" * 65, job_id="no", painted=pb.Painted(receipt="r")))
    settled = await worker.hear("settled")
    assert (settled.lease_id, settled.disposition) == ("x" * 65, pb.DISPOSITION_OUTCOME_INVALID)
    assert [field_violation.field for field_violation in settled.invalid.field_violations] == [
        "outcome.lease_id",
        "outcome.job_id",
    ]
    assert not any(heard.worker.HasField("outcome") for heard in relay.heard)


async def test_a_worker_that_asks_why_it_is_idle_is_heard_and_answered(mesh: Bench, worker: Worker) -> None:
    relay = await relay_of(mesh)
    await worker.attach()
    await worker.say(idle_question=pb.IdleQuestion())
    await until(lambda: relay.heard[-1].worker.HasField("idle_question"))
    report = pb.IdleReport(causes=[pb.IdleCause(jobs=3, model="m")])
    relay.say(relay.heard[-1].relay_session_id, pb.AttachResponse(idle_report=report))
    assert await worker.hear("idle_report") == report


async def test_what_a_newer_worker_says_is_ignored(mesh: Bench, worker: Worker) -> None:
    relay = await relay_of(mesh)
    await worker.attach()
    heard = len(relay.heard)
    await worker.stream.write(pb.AttachRequest.FromString(NEWER))
    await worker.say(demand=pb.Demand(slots=2))
    await until(lambda: relay.heard[-1].worker.HasField("demand"))
    assert len(relay.heard) == heard + 1


@pytest.mark.parametrize(
    "message",
    [
        {"demand": pb.Demand(slots=-1)},
        {"demand": pb.Demand(slots=10_000)},
        {"progress": pb.LeaseProgress(lease_id="", step=1)},
        {"progress": pb.LeaseProgress(lease_id="x" * 65, step=1)},
        {"restatement": pb.Restatement(leases=[pb.HeldLease()] * 257)},
        {"restatement": pb.Restatement(outcomes=[OUTCOME] * 1_025)},
        {"capabilities": worker_pb2.Capabilities(models=[worker_pb2.ModelOffer(name="m")] * 257)},
        # Each of the outcomes is in order; together they are too much for one message.
        {"restatement": pb.Restatement(outcomes=[HEAVY] * 64)},
    ],
)
async def test_what_makes_no_sense_does_not_reach_the_scheduler(
    mesh: Bench, worker: Worker, message: dict[str, Any]
) -> None:
    relay = await relay_of(mesh)
    await worker.attach()
    await worker.say(**message)
    with assert_raises_reason(InvalidArgument, "INVALID_FIELD") as caught:
        await worker.stream.read()
    assert fields_of(caught.value)
    await until(lambda: relay.kinds(1)[-1] == "closed")
    assert relay.kinds(1) == ["opened", "closed"]


async def test_attaching_needs_an_account_and_a_key_for_work(
    mesh: Bench, anna: Credentials, nobody: Credentials
) -> None:
    with assert_raises_reason(PermissionDenied, "ACCOUNT_REQUIRED"):
        await Worker(mesh, nobody).attach()
    request = account_pb2.CreateApiKeyRequest(
        request_id=str(uuid.uuid4()), scopes=[account_pb2.API_KEY_SCOPE_GENERATE], label="no work"
    )
    shown = request.api_key = new_api_key().text()
    await mesh.accounts.CreateApiKey(request, metadata=anna)
    with assert_raises_reason(PermissionDenied, "SCOPE_MISSING", {"scope": "WORK"}):
        await Worker(mesh, [("authorization", f"Bearer {shown}")]).attach()


async def test_a_revoked_key_ends_its_streams(mesh: Bench, anna: Credentials, worker: Worker) -> None:
    await relay_of(mesh)
    await worker.attach()
    keys = (await mesh.accounts.ListApiKeys(account_pb2.ListApiKeysRequest(), metadata=anna)).keys
    request = account_pb2.RevokeApiKeyRequest(api_key_id=keys[0].api_key_id)
    await mesh.accounts.RevokeApiKey(request, metadata=anna)
    with assert_raises_reason(Unauthenticated, "API_KEY_UNKNOWN"):
        await worker.stream.read()


async def test_a_key_revoked_at_another_door_ends_its_streams_when_they_speak(tmp_path: Path) -> None:
    store, clock = MemoryIdentityStore(), ManualClock()
    async with bench(tmp_path, store=store, clock=clock) as mesh:
        relay = await relay_of(mesh)
        worker = Worker(mesh, mesh.operator)
        await worker.attach()
        await worker.restate()
        account = (await mesh.accounts.GetAccount(account_pb2.GetAccountRequest(), metadata=mesh.operator)).account
        await store.revoke_key(
            account.account_id, parse_api_key(mesh.operator[0][1].removeprefix("Bearer ")).api_key_id
        )
        await worker.say(demand=pb.Demand(slots=2))
        await until(lambda: relay.kinds(1) == ["opened", "restatement", "demand"])
        clock.jump(5.01)
        await worker.say(demand=pb.Demand(slots=3))
        with assert_raises_reason(Unauthenticated, "API_KEY_UNKNOWN"):
            await worker.stream.read()
        await until(lambda: relay.kinds(1)[-1] == "closed")
        assert relay.kinds(1) == ["opened", "restatement", "demand", "closed"]


async def test_a_flood_is_slowed_down_and_not_sent_away(tmp_path: Path) -> None:
    clock, flood = ManualClock(), MESSAGES_AT_ONCE + 100
    async with bench(tmp_path, clock=clock) as mesh:
        relay = await relay_of(mesh)
        worker = Worker(mesh, mesh.operator)
        await worker.attach()
        for _ in range(flood):
            await worker.say(demand=pb.Demand(slots=2))
        # The one that went over is still passed on; the next is not read.
        heard = 1 + MESSAGES_AT_ONCE + 1
        await until(lambda: len(relay.heard) >= heard)
        assert len(relay.heard) == heard
        for _ in range(100):
            await clock.advance(0.01)
        await until(lambda: len(relay.heard) == 1 + flood)


async def test_a_store_that_is_away_ends_no_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, clock = MemoryIdentityStore(), ManualClock()
    async with bench(tmp_path, store=store, clock=clock) as mesh:
        relay = await relay_of(mesh)
        worker = Worker(mesh, mesh.operator)
        await worker.attach()

        async def away(api_key_id: str) -> None:
            raise Unavailable

        monkeypatch.setattr(store, "key", away)
        clock.jump(5.01)
        await worker.say(demand=pb.Demand(slots=2))
        await until(lambda: relay.kinds(1) == ["opened", "demand"])


async def test_a_farewell_comes_before_the_end(tmp_path: Path) -> None:
    async with bench(tmp_path) as mesh:
        await until(lambda: mesh.gateway.relay.up)
        worker = Worker(mesh, mesh.operator)
        await worker.attach()
        relay = mesh.scheduler.relays[-1]
        await mesh.gateway.farewell()
        await worker.hear("farewell")
        assert await worker.stream.read() is aio.EOF
        await until(lambda: relay.kinds(1)[-1] == "closed")
        # It comes back elsewhere, with its leases: that was no goodbye.
        assert not relay.heard[-1].closed.clean


def drawn(form: str, width: int = 512, height: int = 384) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(out, form)
    return out.getvalue()


async def test_previews_go_from_the_worker_to_who_watches_and_no_further(
    mesh: Bench,
    worker: Worker,
    bert: Credentials,
    register: Callable[[str], Awaitable[Credentials]],
    spec: Callable[..., generation_pb2.GenerationSpec],
) -> None:
    relay = await relay_of(mesh)
    thief = Worker(mesh, await register("Thief"))
    await worker.attach()
    await worker.restate()
    await thief.attach("thief")
    asked = generation_service.CreateGenerationRequest(request_id=str(uuid.uuid4()), spec=spec())
    generation = (await mesh.generations.CreateGeneration(asked, metadata=bert)).generation
    job_id = generation.images[0].job_id
    lent = pb.Assignment(lease_id="7-2", job_id=job_id, generation_id=generation.generation_id)
    mesh.scheduler.lease(generation.generation_id, 0, "7-2")
    relay.say(1, pb.AttachResponse(assignment=lent))
    await worker.hear("assignment")
    # Nobody watches yet: nothing is wished for, and what is sent all the same is dropped.
    await worker.say(preview=pb.LeasePreview(lease_id="7-2", step=1, image=PNG))
    watch = mesh.generations.WatchGeneration(
        generation_service.WatchGenerationRequest(generation_id=generation.generation_id, previews=True), metadata=bert
    )
    assert (await watch.read()).HasField("snapshot")
    wish = await worker.hear("preview_wish")
    assert (wish.lease_id, wish.wanted) == ("7-2", True)
    refused = mesh.gateway.previews.refused
    await thief.say(preview=pb.LeasePreview(lease_id="7-2", step=1, image=PNG))
    await worker.say(preview=pb.LeasePreview(lease_id="7-2", step=1, image=b"<html>" * 10))
    await worker.say(preview=pb.LeasePreview(lease_id="7-2", step=1, image=PNG + bytes(32 * 1024)))
    await until(lambda: mesh.gateway.previews.refused == refused + 3)
    await worker.say(preview=pb.LeasePreview(lease_id="7-2", step=2, image=drawn("WEBP")))
    await worker.say(preview=pb.LeasePreview(lease_id="7-2", step=3, image=drawn("WEBP")))
    preview = (await watch.read()).preview
    assert (preview.job_id, preview.lease_id, preview.step) == (job_id, "7-2", 2)
    with Image.open(io.BytesIO(preview.image)) as shown:
        assert (shown.format, shown.size) == ("JPEG", (256, 192))
    await until(lambda: mesh.gateway.previews.refused == refused + 4)
    watch.cancel()
    assert not (await worker.hear("preview_wish")).wanted
    assert relay.kinds(1) == ["opened", "restatement"]


async def test_pausing_is_for_the_owner_and_for_moderators(mesh: Bench, anna: Credentials, bert: Credentials) -> None:
    account = (await mesh.accounts.GetAccount(account_pb2.GetAccountRequest(), metadata=anna)).account
    worker_id = str(uuid.uuid4())
    mesh.scheduler.workers[worker_id] = worker_pb2.Worker(worker_id=worker_id, owner_account_id=account.account_id)
    request = pb.SetWorkerPausedRequest(worker_id=worker_id, paused=True)
    with assert_raises_reason(NotFound, "WORKER_NOT_FOUND", {"worker_id": worker_id}):
        await mesh.workers.SetWorkerPaused(request, metadata=bert)
    for who in (anna, mesh.operator):
        answer = await mesh.workers.SetWorkerPaused(request, metadata=who)
        assert answer.worker.state == worker_pb2.WORKER_STATE_PAUSED
    for scope, whose, allowed in (
        (account_pb2.API_KEY_SCOPE_MANAGE, anna, True),
        (account_pb2.API_KEY_SCOPE_MANAGE, mesh.operator, True),
        (account_pb2.API_KEY_SCOPE_WORK, anna, True),
        # What roles permit needs MANAGE: a key that lies on a worker's machine is not a moderator's.
        (account_pb2.API_KEY_SCOPE_WORK, mesh.operator, False),
    ):
        secret = new_api_key().text()
        await mesh.accounts.CreateApiKey(
            account_pb2.CreateApiKeyRequest(request_id=str(uuid.uuid4()), scopes=[scope], api_key=secret),
            metadata=whose,
        )
        narrow = [("authorization", f"Bearer {secret}")]
        if allowed:
            await mesh.workers.SetWorkerPaused(request, metadata=narrow)
        else:
            with assert_raises_reason(NotFound, "WORKER_NOT_FOUND"):
                await mesh.workers.SetWorkerPaused(request, metadata=narrow)
    mine = await mesh.workers.ListWorkers(pb.ListWorkersRequest(mine=True), metadata=bert)
    assert not mine.workers
    everybodys = await mesh.workers.ListWorkers(pb.ListWorkersRequest(), metadata=bert)
    assert len(everybodys.workers) == 1


async def test_an_owner_says_something_of_a_worker_by_a_key_that_may(
    mesh: Bench, anna: Credentials, bert: Credentials
) -> None:
    account = (await mesh.accounts.GetAccount(account_pb2.GetAccountRequest(), metadata=anna)).account
    worker = worker_pb2.Worker(worker_id=str(uuid.uuid4()), owner_account_id=account.account_id)
    mesh.scheduler.workers[worker.worker_id] = worker
    request = pb.UpdateWorkerRequest(
        worker=worker_pb2.Worker(worker_id=worker.worker_id, description="In the cellar."),
        update_mask=FieldMask(paths=["description"]),
    )
    # Moderators pause workers; what is said of one is its owner's alone.
    for other in (bert, mesh.operator):
        with assert_raises_reason(NotFound, "WORKER_NOT_FOUND", {"worker_id": worker.worker_id}):
            await mesh.workers.UpdateWorker(request, metadata=other)
    secret = new_api_key().text()
    key = account_pb2.CreateApiKeyRequest(
        request_id=str(uuid.uuid4()), scopes=[account_pb2.API_KEY_SCOPE_WORK], api_key=secret
    )
    await mesh.accounts.CreateApiKey(key, metadata=anna)
    with assert_raises_reason(PermissionDenied, "SCOPE_MISSING", {"scope": "MANAGE"}):
        await mesh.workers.UpdateWorker(request, metadata=[("authorization", f"Bearer {secret}")])
    assert (await mesh.workers.UpdateWorker(request, metadata=anna)).worker.description == "In the cellar."
    shown = await mesh.workers.GetWorker(pb.GetWorkerRequest(worker_id=worker.worker_id), metadata=bert)
    assert shown.worker.description == "In the cellar."


async def test_after_a_storm_nothing_is_left(
    mesh: Bench, anna: Credentials, spec: Callable[..., generation_pb2.GenerationSpec]
) -> None:
    await have_a_record(mesh, anna)
    relay = await relay_of(mesh)
    asked = generation_service.CreateGenerationRequest(request_id=str(uuid.uuid4()), spec=spec())
    generation_id = (await mesh.generations.CreateGeneration(asked, metadata=anna)).generation.generation_id
    watch = generation_service.WatchGenerationRequest(generation_id=generation_id, previews=True)

    async def storm(number: int) -> None:
        stream = mesh.generations.WatchGeneration(watch, metadata=anna)
        worker = Worker(mesh, anna)
        if number % 3:
            await stream.read()
        if number % 2:
            await worker.attach(f"w{number}")
        stream.cancel()
        worker.stream.cancel()

    await asyncio.gather(*(storm(number) for number in range(100)))
    gateway = mesh.gateway
    await until(lambda: not len(gateway.watching) and not len(gateway.relay))
    assert not gateway.watching._followed
    assert not gateway.watching._seats.used
    assert not gateway.previews._sinks
    await until(lambda: sum(message.HasField("closed") for message in relay.heard) == 50)
    assert sum(message.HasField("opened") for message in relay.heard) == 50
    # And it still works.
    stream = mesh.generations.WatchGeneration(watch, metadata=anna)
    assert (await stream.read()).HasField("snapshot")
    await Worker(mesh, anna).attach()


async def test_bytes_that_are_no_message_end_the_session_and_its_leases_are_adrift(
    mesh: Bench, worker: Worker, anna: Credentials
) -> None:
    relay = await relay_of(mesh)
    raw: Any = mesh.channel.stream_stream(
        "/horde.api.worker.v1.WorkerService/Attach",
        request_serializer=lambda message: message if isinstance(message, bytes) else message.SerializeToString(),
        response_deserializer=pb.AttachResponse.FromString,
    )
    worker.stream = raw(metadata=anna)
    await worker.attach()
    await worker.restate()
    relay.say(1, pb.AttachResponse(assignment=pb.Assignment(lease_id="7-2", job_id=JOB)))
    await worker.hear("assignment")
    await worker.stream.write(b"\xff\xff\xff\xff")
    with pytest.raises(FailedPrecondition) as caught:
        await worker.stream.read()
    assert (caught.value.reason, caught.value.domain) == ("PROTOCOL_VIOLATION", "horde.api.worker.v1")
    await until(lambda: relay.kinds(1)[-1] == "closed")
    assert not relay.heard[-1].closed.clean
    assert len(mesh.gateway.relay) == 0


async def test_bytes_that_are_no_hello_are_refused_as_none(mesh: Bench, anna: Credentials) -> None:
    raw: Any = mesh.channel.stream_stream(
        "/horde.api.worker.v1.WorkerService/Attach",
        request_serializer=bytes,
        response_deserializer=pb.AttachResponse.FromString,
    )
    stream = raw(metadata=anna)
    await stream.write(b"\xff\xff\xff\xff")
    with pytest.raises(FailedPrecondition) as caught:
        await stream.read()
    assert caught.value.reason == "HELLO_EXPECTED"


async def test_attaching_costs_the_same_however_many_are_attached(mesh: Bench) -> None:
    relay, sessions, looked_at = mesh.gateway.relay, mesh.gateway.relay._sessions, 0

    class Counted(dict[int, Any]):
        def values(self) -> Any:
            nonlocal looked_at
            for session in super().values():
                looked_at += 1
                yield session

    sessions._by_number = Counted()
    numbers = range(2_000)
    hellos = [pb.Hello(worker_name=f"rig-{number}") for number in numbers]
    takers = [owner(f"account-{number % 10}", "", known=True) for number in numbers]
    opened = [
        relay._open(Principal(Requester(f"account-{number % 10}")), hellos[number], takers[number])
        for number in numbers
    ]
    assert looked_at == 0
    for session in opened:
        relay._close(session, clean=True)
    assert not sessions._seats.used
    assert not sessions._of_worker
