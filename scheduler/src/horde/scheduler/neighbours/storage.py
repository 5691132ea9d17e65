"""The storage router, as the scheduler needs it: what stays, what goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Protocol

from google.rpc import status_pb2
from grpc import aio

from horde.api.generation.v1 import generation_pb2
from horde.api.worker.v1 import worker_service_pb2
from horde.internal.storage.v1 import object_service_pb2 as pb
from horde.internal.storage.v1.object_service_pb2_grpc import ObjectServiceStub
from horde.scheduler.core.answers import Again, Answer, CommitAnswer, Committed, CompareAnswer, Compared, Done
from horde.scheduler.core.asking import pairs as pairs_of
from horde.scheduler.core.checks import PictureRef
from horde.scheduler.core.effects import DiscardObject
from horde.scheduler.core.job import Generation, Job
from horde.scheduler.core.likeness import Distance
from horde.scheduler.doors import wire
from horde.scheduler.doors.statuses import declined
from horde.scheduler.neighbours.pairs import pairs

DEFAULT_KEEP_SECONDS = 24 * 3600


class Storage(Protocol):
    """Keeps bytes. Every method answers per item, and raises ServiceError if nobody knows."""

    async def commit(self, jobs: Sequence[Job]) -> Sequence[CommitAnswer]:
        """Move the winners' objects to their places."""

    async def compare(self, jobs: Sequence[Job]) -> Sequence[CompareAnswer]:
        """How far the pictures of check jobs are from those that they are to be compared with."""

    async def discard(self, leavings: Sequence[DiscardObject]) -> Sequence[Answer]:
        """Delete what leases left in quarantine."""

    async def withdraw(self, jobs: Sequence[Job]) -> Sequence[Answer]:
        """Delete committed images."""

    async def claim(self, generations: Sequence[Generation]) -> Sequence[Answer]:
        """Keep the inputs of these."""

    async def release(self, generations: Sequence[Generation]) -> Sequence[Answer]:
        """Keep them no longer."""


@dataclass(frozen=True, slots=True)
class GrpcStorage:
    """The storage router over the wire."""

    channel: aio.Channel

    def _stub(self) -> ObjectServiceStub:
        return ObjectServiceStub(self.channel)

    async def commit(self, jobs: Sequence[Job]) -> Sequence[CommitAnswer]:
        request = pb.CommitObjectsRequest()
        for job in jobs:
            fill_commit(request.commits.add(), job)
        response = await self._stub().CommitObjects(request)
        return [_commit_answer(outcome) for outcome in response.outcomes]

    async def compare(self, jobs: Sequence[Job]) -> Sequence[CompareAnswer]:
        wanted = [pairs_of(job) for job in jobs]
        request = pb.CompareObjectsRequest()
        for one, other in chain.from_iterable(wanted):
            pair = request.comparisons.add()
            _fill_ref(pair.one, one)
            _fill_ref(pair.other, other)
        response = await self._stub().CompareObjects(request)
        outcomes = iter([outcome for _, outcome in pairs(request.comparisons, response.outcomes)])
        return [_compare_answer(list(islice(outcomes, len(comparison)))) for comparison in wanted]

    async def discard(self, leavings: Sequence[DiscardObject]) -> Sequence[Answer]:
        request = pb.DiscardObjectsRequest()
        for leaving in leavings:
            request.discards.add(job_id=leaving.job.job_id, lease_id=leaving.lease_id)
        response = await self._stub().DiscardObjects(request)
        return [_answer(status) for status in response.outcomes]

    async def withdraw(self, jobs: Sequence[Job]) -> Sequence[Answer]:
        request = pb.WithdrawObjectsRequest()
        for job in jobs:
            placement: Any = wire.placement_of(job.generation.quote)
            request.withdrawals.add(
                job_id=job.job_id,
                object_name=job.object_name,
                placement=placement,
            )
        response = await self._stub().WithdrawObjects(request)
        return [_answer(status) for status in response.outcomes]

    async def claim(self, generations: Sequence[Generation]) -> Sequence[Answer]:
        answers: list[Answer] = []
        for generation in generations:
            spec = generation_pb2.GenerationSpec.FromString(generation.spec)
            request = pb.ClaimInputsRequest(
                generation_id=generation.generation_id,
                requester=wire.requester_message(generation),
                inputs=wire.inputs_of(spec.job),
            )
            response = await self._stub().ClaimInputs(request)
            claimed = [_answer(status) for _, status in pairs(request.inputs, response.outcomes)]
            failed = [answer for answer in claimed if not isinstance(answer, Done)]
            again = [answer for answer in failed if isinstance(answer, Again)]
            answers.append((again or failed or [Done()])[0])
        return answers

    async def release(self, generations: Sequence[Generation]) -> Sequence[Answer]:
        request = pb.ReleaseInputsRequest()
        for generation in generations:
            request.claims.add(
                generation_id=generation.generation_id,
                requester=wire.requester_message(generation),
                input_ids=generation.terms.input_ids,
            )
        response = await self._stub().ReleaseInputs(request)
        return [_answer(status) for status in response.outcomes]


def commit_size(job: Job) -> int:
    """How many bytes a commit takes up, at most."""
    return len(job.generation.spec) + len(job.generation.quote) + len(job.deviations) + 1024


def fill_commit(message: pb.CommitObject, job: Job) -> None:
    """Say what to commit, and where."""
    generation = job.generation
    spec = generation_pb2.GenerationSpec.FromString(generation.spec)
    quote = generation_pb2.Quote.FromString(generation.quote)
    message.job_id = job.job_id
    if job.winner is not None:
        message.lease_id, message.painter_account_id = job.winner.lease_id, job.winner.owner
    message.generation_id = generation.generation_id
    message.requester.account_id = generation.account_id
    message.requester.anonymous_digest = generation.digest
    message.sha256 = job.sha256
    message.placement = quote.placement
    message.facts.CopyFrom(quote.facts)
    message.object_name = job.object_name
    message.traceparent = generation.traceparent
    if spec.HasField("keep_for"):
        message.keep_for.CopyFrom(spec.keep_for)
    else:
        message.keep_for.seconds = DEFAULT_KEEP_SECONDS
    message.accepted_at.FromMilliseconds(generation.accepted_at_ms)
    spec.job.image.seed = wire.seed_of(generation, job.index)
    message.spec.CopyFrom(spec.job)
    if job.deviations:
        painted = worker_service_pb2.Painted.FromString(job.deviations)
        message.deviations.extend(painted.deviations)
        if painted.HasField("making"):
            message.making.CopyFrom(painted.making)


def _commit_answer(outcome: pb.CommitObjectOutcome) -> CommitAnswer:
    if outcome.WhichOneof("result") == "committed":
        committed = outcome.committed
        expires = committed.expires_at.ToMilliseconds() if committed.HasField("expires_at") else 0
        return Committed(committed.size_bytes, committed.format, expires)
    return declined(outcome.error)


def _fill_ref(message: pb.PictureRef, ref: PictureRef) -> None:
    placement: Any = ref.placement
    message.job_id, message.lease_id, message.object_name = ref.job_id, ref.lease_id or "", ref.object_name
    message.placement = placement


def _compare_answer(outcomes: Sequence[pb.CompareOutcome]) -> CompareAnswer:
    """All distances; or none, where one cannot be had for good."""
    distances = []
    for outcome in outcomes:
        if outcome.WhichOneof("result") == "error":
            answer = declined(outcome.error)
            return answer if isinstance(answer, Again) else Compared()
        d = outcome.distance
        distances.append(Distance(d.structure, d.edges, d.luma, d.chroma, d.contrast_one, d.contrast_other))
    return Compared(tuple(distances))


def _answer(status: status_pb2.Status) -> Answer:
    return Done() if status.code == 0 else declined(status)
