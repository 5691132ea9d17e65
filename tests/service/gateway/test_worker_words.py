"""What workers say, good and bad: what is refused, what ends itself alone, and what is passed over."""

from __future__ import annotations

from typing import Any

import pytest
from tests.service.gateway.attaching import HEAVY, JOB, NEWER, OUTCOME, Credentials, Worker, relay_of

from horde.api.job.v1 import job_pb2
from horde.api.worker.v1 import worker_pb2
from horde.api.worker.v1 import worker_service_pb2 as pb
from horde.gateway.doors import relay as relay_module
from horde.services.errors import (
    FailedPrecondition,
    InvalidArgument,
    Unavailable,
)
from horde.testkit.gateway import Bench
from horde.testkit.loopback import assert_raises_reason, fields_of
from horde.testkit.waiting import until


async def test_a_hello_has_a_size(mesh: Bench, worker: Worker) -> None:
    relay = await relay_of(mesh)
    await worker.say(hello=pb.Hello(worker_name="rig", agent="x" * 65 * 1024))
    with assert_raises_reason(InvalidArgument, "INVALID_FIELD") as caught:
        await worker.stream.read()
    assert fields_of(caught.value) == ["hello"]
    assert not relay.heard


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
