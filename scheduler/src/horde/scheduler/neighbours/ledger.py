"""The ledger, as the scheduler needs it: a batch of events, each answered by itself."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Protocol
from uuid import UUID, uuid5

from google.rpc import status_pb2
from grpc import aio

from horde.api.generation.v1 import generation_pb2
from horde.api.job.v1 import job_pb2
from horde.internal.ledger.v1 import ledger_service_pb2 as pb
from horde.internal.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from horde.scheduler.core.answers import Again, Answer, Done, Recorded, Stuck
from horde.scheduler.core.effects import PlaceHolds, Release, RewardUptime, Settle, TellVerdict
from horde.scheduler.core.job import ANONYMOUS, Ending, Generation, Job
from horde.scheduler.doors.statuses import declined
from horde.scheduler.neighbours.pairs import pairs
from horde.services.status import from_status

CONFLICT = "EVENT_CONFLICT"
DAY_MS = 86_400_000
LedgerEvent = PlaceHolds | Settle | Release | RewardUptime | TellVerdict


class Ledger(Protocol):
    """Moves kudos."""

    async def apply(self, events: Sequence[LedgerEvent]) -> Sequence[Answer]:
        """Apply each event, or say why not; raises ServiceError if nobody knows."""


class GrpcLedger:
    """The ledger over the wire."""

    def __init__(self, channel: aio.Channel) -> None:
        self._stub = LedgerServiceStub(channel)

    async def apply(self, events: Sequence[LedgerEvent]) -> Sequence[Answer]:
        request = pb.ApplyRequest()
        for event in events:
            fill_event(request.events.add(), event)
        response = await self._stub.Apply(request)
        applied = pairs(events, response.outcomes)
        answers = [answer_of(event, outcome) for event, outcome in applied]
        conflicts = [
            index
            for index, (event, outcome) in enumerate(applied)
            if isinstance(event, (Settle, Release))
            and outcome.HasField("error")
            and from_status(outcome.error).reason == CONFLICT
        ]
        if conflicts:
            # Ended otherwise by an earlier process whose memory of it is lost: it stays as it is in the books.
            asked = pb.GetEntriesRequest(event_ids=[request.events[index].event_id for index in conflicts])
            read = await self._stub.GetEntries(asked)
            for index, outcome in pairs(conflicts, read.outcomes):
                answers[index] = recorded(outcome)
        return answers


def hold_id_of(job: Job) -> str:
    return str(uuid5(UUID(job.job_id), "hold"))


def address_digest(generation: Generation) -> bytes:
    """Tells addresses apart for their shares of a day's budgets. Two bytes are enough for that and too few to
    find an address by, and of another day they are others; the journal keeps them for ever."""
    bucket = generation.flow.removeprefix(ANONYMOUS + "/") if generation.anonymous else generation.address_bucket
    if not bucket:
        return b""
    return sha256(f"{generation.accepted_at_ms // DAY_MS} {bucket}".encode()).digest()[:2]


def event_size(event: LedgerEvent) -> int:
    """How many bytes an event takes up, at most."""
    if isinstance(event, PlaceHolds):
        return 512 + len(event.generation.jobs) * (128 + len(event.generation.quote))
    return 1024


def fill_event(message: pb.Event, event: LedgerEvent) -> None:
    """Say an event in the contract's words."""
    match event:
        case PlaceHolds(generation):
            message.event_id = str(uuid5(UUID(generation.generation_id), "holds"))
            holds = message.place_holds
            holds.generation_id = generation.generation_id
            holds.payer.account_id = generation.account_id
            holds.payer.anonymous_digest = generation.digest
            holds.address_digest = address_digest(generation)
            parts = generation_pb2.Quote.FromString(generation.quote).per_image
            for job in generation.jobs:
                holds.holds.add(hold_id=hold_id_of(job), job_id=job.job_id, parts=parts)
        case Settle(job):
            message.event_id = str(uuid5(UUID(job.job_id), "settle"))
            settle = message.settle
            settle.hold_id, settle.job_id = hold_id_of(job), job.job_id
            settle.ending = int(job.ending)  # type: ignore[assignment]
            settle.earned_mkudos = job.amounts.earned
            settle.tax_mkudos = job.amounts.tax
            settle.surcharge_mkudos = job.amounts.surcharge
            settle.model = job.generation.terms.model
            if job.ending is Ending.DONE:
                settle.milli_megapixel_steps = round(1000 * job.generation.terms.work)
                settle.shared = job.generation.terms.placement == job_pb2.PLACEMENT_SHARED
            if job.winner is not None:
                settle.owner_account_id, settle.worker_id = job.winner.owner, job.winner.worker_id
        case Release(job):
            message.event_id = str(uuid5(UUID(job.job_id), "settle"))
            release = message.release
            release.hold_id, release.job_id = hold_id_of(job), job.job_id
            release.ending = int(job.ending)  # type: ignore[assignment]
        case TellVerdict(standing, "slash", job_id):
            message.event_id = str(uuid5(UUID(job_id), "slash"))
            message.slash.account_id, message.slash.job_id = standing.owner, job_id
            message.slash.reason = "Painted again by two others, the picture was another one."
        case TellVerdict(standing, _, job_id):
            message.event_id = str(uuid5(UUID(job_id), "verification"))
            message.verify.account_id, message.verify.job_id = standing.owner, job_id
        case RewardUptime(worker_id, owner, bucket, models, offered_permille, sharers):
            message.event_id = str(uuid5(UUID(worker_id), str(bucket)))
            reward = message.reward_uptime
            reward.worker_id, reward.owner_account_id = worker_id, owner
            reward.bucket, reward.models = bucket, models
            reward.offered_permille, reward.sharers = max(1, offered_permille), sharers


def recorded(outcome: pb.ApplyOutcome) -> Answer:
    """Read how the ledger has ended a job."""
    if outcome.WhichOneof("result") != "entry":
        return Again(outcome.error.message)
    its = outcome.entry.settlement
    return Recorded(
        its.SerializeToString(), its.ending, its.worker_id, its.earned_mkudos, its.tax_mkudos, its.surcharge_mkudos
    )


def answer_of(event: LedgerEvent, outcome: pb.ApplyOutcome) -> Answer:
    """Read what the ledger says of one event."""
    if outcome.WhichOneof("result") == "entry":
        return Done(outcome.entry.settlement.SerializeToString())
    status: status_pb2.Status = outcome.error
    answer = declined(status)
    if isinstance(answer, Again):
        return answer
    match event:
        case PlaceHolds():
            return answer
        case Release() if answer.reason == "HOLD_NOT_FOUND":
            return Done()
        case RewardUptime() | TellVerdict():
            return answer
    # A decided end that the ledger does not know how to pay: a defect somewhere. It is never given up, for kudos are
    # held; whoever mends the ledger ends it.
    return Stuck(f"{answer.reason}, job {event.job.job_id}: {answer.message}")
