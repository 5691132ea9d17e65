"""What requesters and the curious are shown: generations, workers, models, waits."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from google.rpc import status_pb2

from horde.api.generation.v1 import generation_pb2
from horde.api.model.v1 import model_service_pb2
from horde.api.worker.v1 import worker_pb2
from horde.internal.scheduler.v1 import scheduler_service_pb2 as pb
from horde.scheduler.core import attaching, settling
from horde.scheduler.core.answers import Declined, Done
from horde.scheduler.core.errors import GenerationNotFound, ImageNotFinished, InvalidField, WorkerNotFound
from horde.scheduler.core.estimates import Estimates
from horde.scheduler.core.fleet import Worker
from horde.scheduler.core.job import (
    AccountId,
    Ending,
    Generation,
    GenerationId,
    Job,
    JobId,
    JobState,
    Mkudos,
    Phase,
    Price,
    Terms,
    WorkerId,
)
from horde.scheduler.doors import submitting, wire, wire_worker
from horde.scheduler.doors.follow import Follower
from horde.scheduler.doors.submitting import bounded, refusal
from horde.services.errors import FieldViolation, ServiceError, Unavailable
from horde.services.status import to_status

if TYPE_CHECKING:
    from horde.scheduler.engine import Engine

PAGE = 50
MAX_PAGE = 100
MAX_MODELS_PAGE = 500
MAX_WAITS = 256
"""Generations whose followers are told at once how long it may take; then it is the others' turn."""
LISTED_MS = 24 * 3600 * 1000
"""Workers that were not here for so long are not listed."""
_NO_PRICE = Price(Mkudos(0), Mkudos(0), Mkudos(0))


class Reading:
    """Answers questions to one engine, and the few wishes that change little."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.estimates = Estimates(engine.board)

    async def find(self, refs: Sequence[pb.GenerationRef]) -> list[Generation | None]:
        """Each generation, if it is this requester's and was accepted."""
        engine = self._engine
        ids = [GenerationId(ref.generation_id) for ref in refs]
        found = {each: known for each in ids if (known := engine.board.generations.get(each)) is not None}
        missing = [each for each in ids if each not in found]
        if missing:
            read = [engine.remember(stored) for stored in await engine.store.find(missing)]
            found |= {each.generation_id: each for each in read}
        return [_theirs(ref, found.get(GenerationId(ref.generation_id))) for ref in refs]

    async def get(self, refs: Sequence[pb.GenerationRef]) -> list[pb.GenerationOutcome]:
        return await self._answers(refs, await self.find(refs))

    async def _answers(
        self, refs: Sequence[pb.GenerationRef], found: Sequence[Generation | None]
    ) -> list[pb.GenerationOutcome]:
        answers = [
            not_found(ref) if generation is None else await self._durable(generation)
            for ref, generation in zip(refs, found, strict=True)
        ]
        return bounded(answers)

    async def _durable(self, generation: Generation) -> pb.GenerationOutcome:
        if self._engine.submitting.undecided(generation):
            return refusal(Unavailable("It is being read back; ask again."))
        return await self._engine.saver.read(generation, lambda: pb.GenerationOutcome(generation=self.show(generation)))

    def show(self, generation: Generation) -> pb.SchedulerGeneration:
        """As it is now, with estimates for what waits."""
        message = wire.generation_message(generation)
        waiting = [job for job in generation.jobs if job.ticket]
        if waiting:
            # One for all: they are alike, and stand behind each other.
            estimate = self.estimates.for_job(waiting[0], self._engine.now())
            wire.add_waits(message, ((job.index, estimate) for job in waiting))
        return message

    async def page(self, request: pb.ListGenerationsRequest) -> pb.ListGenerationsResponse:
        size = request.page_size if 1 <= request.page_size <= MAX_PAGE else PAGE
        before = read_token(request.page_token)
        account_id, digest = wire.requester_of(request.requester)
        place = None if before is None else (int(before[0]), str(before[1]))
        stored = await self._engine.store.page(account_id, digest, place, size + 1)
        response, looked_at = pb.ListGenerationsResponse(), 0
        for each in stored[:size]:
            generation = self._engine.remember(each)
            if generation.phase is not Phase.REFUSED and not self._engine.submitting.undecided(generation):
                shown = await self._engine.saver.read(generation, partial(wire.generation_message, generation))
                if response.generations and response.ByteSize() + shown.ByteSize() > submitting.MAX_ANSWER_BYTES:
                    break
                response.generations.append(shown)
            looked_at += 1
        if len(stored) > looked_at:
            last = stored[looked_at - 1].generation
            response.next_page_token = write_token(last["accepted_at_ms"], last["generation_id"])
        return response

    async def cancel(self, refs: Sequence[pb.GenerationRef]) -> list[pb.GenerationOutcome]:
        engine = self._engine
        found = await self.find(refs)
        for generation in found:
            if generation is not None:
                settling.cancel(engine.board, generation, engine.now())
        engine.flush()
        return await self._answers(refs, found)

    async def withdraw(self, ref: pb.GenerationRef, job_ids: Sequence[str]) -> list[status_pb2.Status]:
        engine = self._engine
        (generation,) = await self.find([ref])
        jobs = {} if generation is None else {job.job_id: job for job in generation.jobs}
        wanted = [jobs.get(JobId(job_id)) for job_id in job_ids]
        going = [job for job in wanted if job is not None and _done(job) and not job.withdrawn]
        answers = await engine.errands.storage.withdraw(going) if going else []
        failed: dict[Job, status_pb2.Status] = {}
        for job, answer in zip(going, answers, strict=True):
            if isinstance(answer, Done):
                job.withdrawn = True
                job.touch()
                engine.board.dirty_jobs[job] = None
            else:
                away = to_status(Unavailable("Storage does not answer; ask again."))
                failed[job] = status_pb2.Status.FromString(answer.status) if isinstance(answer, Declined) else away
        engine.flush()
        if generation is not None and going:
            await engine.saver.read(generation, lambda: None)
        return [
            _withdrawn(ref, job_id, job, failed) for job_id, job in zip(job_ids, wanted, strict=True)
        ]  # fmt: skip

    def estimate(self, question: pb.EstimateWait) -> pb.EstimateWaitOutcome:
        terms = wire.terms_of(question.spec, generation_pb2.Quote())
        account_id, _ = wire.requester_of(question.requester)
        found = self.estimates.for_terms(terms, account_id, self._engine.now())
        return pb.EstimateWaitOutcome(wait=wire.wait_message(found))

    async def follow(self, follower: Follower, request: pb.FollowRequest) -> None:
        """Take in one wish of a gateway."""
        engine = self._engine
        if request.HasField("unfollow"):
            engine.followers.remove(GenerationId(request.unfollow), follower)
            return
        ref = request.follow
        (generation,) = await self.find([ref])
        if generation is None:
            event = pb.FollowedEvent(generation_id=ref.generation_id)
            event.error.CopyFrom(not_found(ref).error)
            follower.put(event)
            return
        if engine.submitting.undecided(generation):
            engine.submitting.when_decided(generation, lambda: self._begin(follower, generation))
        else:
            self._begin(follower, generation)

    def _begin(self, follower: Follower, generation: Generation) -> None:
        def snapshot() -> list[pb.FollowedEvent]:
            event = pb.FollowedEvent(generation_id=generation.generation_id)
            event.snapshot.CopyFrom(self.show(generation))
            events = [event]
            if generation.finished:
                finished = pb.FollowedEvent(generation_id=generation.generation_id)
                finished.finished.CopyFrom(event.snapshot)
                events.append(finished)
            else:
                self._engine.followers.add(generation.generation_id, follower)
            return events

        def send(events: list[pb.FollowedEvent]) -> None:
            for event in events:
                follower.put(event)

        self._engine.saver.read_then(generation, snapshot, send)

    def tell_waits(self) -> None:
        """Tell followers of queued jobs how long it may take, as it is now."""
        board, followers = self._engine.board, self._engine.followers
        for generation_id in followers.turn(MAX_WAITS):
            generation = board.generations.get(generation_id)
            waiting = [job for job in generation.jobs if job.ticket] if generation is not None else []
            if not waiting:
                continue
            message = wire.wait_message(self.estimates.for_job(waiting[0], self._engine.now()))
            for job in waiting:
                event = pb.FollowedEvent(generation_id=generation_id)
                event.wait.job_id = job.job_id
                event.wait.wait.CopyFrom(message)
                followers.waits(job, event)

    def workers(self, request: pb.ListWorkersRequest) -> pb.ListWorkersResponse:
        size = request.page_size if 1 <= request.page_size <= MAX_PAGE else PAGE
        after = read_token(request.page_token)
        oldest = self._engine.now_ms() - LISTED_MS
        chosen = [
            worker
            for worker in self._engine.board.fleet.workers.values()
            if (not request.owner_account_id or worker.owner == request.owner_account_id)
            and (worker.session is not None or worker.last_seen_ms >= oldest)
        ]
        chosen.sort(key=lambda worker: (worker.name, worker.worker_id))
        if after is not None:
            place = (str(after[0]), str(after[1]))
            chosen = [worker for worker in chosen if (worker.name, worker.worker_id) > place]
        response = pb.ListWorkersResponse(workers=[self.show_worker(worker) for worker in chosen[:size]])
        if len(chosen) > size:
            response.next_page_token = write_token(chosen[size - 1].name, chosen[size - 1].worker_id)
        return response

    def worker(self, worker_id: str, owner: str = "") -> Worker:
        """Raises WorkerNotFound, also for what is another's."""
        worker = self._engine.board.fleet.workers.get(WorkerId(worker_id))
        if worker is None or (owner and worker.owner != owner):
            raise WorkerNotFound(metadata={"worker_id": worker_id})
        return worker

    def show_worker(self, worker: Worker) -> worker_pb2.Worker:
        engine = self._engine
        return wire_worker.worker_message(
            worker, engine.board.speeds.of(worker.worker_id), engine.now(), engine.now_ms()
        )

    async def pause(self, request: pb.SetWorkerPausedRequest) -> worker_pb2.Worker:
        worker = self.worker(request.worker_id, request.owner_account_id)
        attaching.pause(self._engine.board, worker, request.paused, self._engine.now_ms())
        self._engine.flush()
        await self._engine.saver.saved()
        return self.show_worker(worker)

    def models(self, request: pb.ListModelsRequest) -> pb.ListModelsResponse:
        size = request.page_size if 1 <= request.page_size <= MAX_MODELS_PAGE else MAX_PAGE
        after = read_token(request.page_token)
        counts = self._count_models()
        names = sorted(name for name in counts.names if not request.name or name == request.name)
        if after is not None:
            names = [name for name in names if name > str(after[0])]
        response = pb.ListModelsResponse(models=[self._show_model(name, counts) for name in names[:size]])
        if len(names) > size:
            response.next_page_token = write_token(names[size - 1], "")
        return response

    def _count_models(self) -> ModelCounts:
        board, counts = self._engine.board, ModelCounts()
        counts.names.update(board.queue.models)
        for worker in board.fleet.workers.values():
            for lease in worker.leases.values():
                counts.leased[lease.job.generation.terms.model] += 1
            if worker.session is None or worker.paused:
                continue
            for name, offer in worker.capabilities.offers.items():
                counts.names.add(name)
                counts.workers[name] += 1
                counts.loaded[name] += offer.loaded
        return counts

    def _show_model(self, name: str, counts: ModelCounts) -> model_service_pb2.Model:
        board = self._engine.board
        queue = board.queue.models.get(name)
        message = model_service_pb2.Model(
            name=name,
            workers=counts.workers[name],
            workers_loaded=counts.loaded[name],
            jobs_queued=queue.count if queue is not None else 0,
            jobs_leased=counts.leased[name],
            queued_milli_megapixel_steps=round(queue.work * 1000) if queue is not None else 0,
        )
        if median := board.speeds.median(name):
            message.megapixel_step.FromMicroseconds(round(median * 1_000_000))
        usual = Terms(name, 512, 512, 25, 0, _NO_PRICE)
        estimate = self.estimates.for_terms(usual, AccountId("-"), self._engine.now())
        if estimate.eligible:
            message.wait.CopyFrom(wire.wait_message(estimate))
        return message


class ModelCounts:
    """Workers and leases by model."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.workers: Counter[str] = Counter()
        self.loaded: Counter[str] = Counter()
        self.leased: Counter[str] = Counter()


def _theirs(ref: pb.GenerationRef, generation: Generation | None) -> Generation | None:
    if generation is None or generation.phase is Phase.REFUSED:
        return None
    mine = (generation.account_id, generation.digest) == wire.requester_of(ref.requester)
    return generation if mine else None


def not_found(ref: pb.GenerationRef) -> pb.GenerationOutcome:
    return refusal(GenerationNotFound(metadata={"generation_id": ref.generation_id}))


def write_token(*place: int | str) -> str:
    """An opaque page token."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def read_token(token: str) -> list[int | str] | None:
    """Where a page begins; raises InvalidField for what is none of ours."""
    if not token:
        return None
    try:
        place = json.loads(base64.urlsafe_b64decode(token.encode()))
    except ValueError:
        place = None
    if not isinstance(place, list) or len(place) != 2 or not all(isinstance(each, (int, str)) for each in place):
        raise InvalidField(violations=[FieldViolation("page_token", "not one that was given out")])
    return place


def _done(job: Job) -> bool:
    return job.state is JobState.ENDED and job.ending is Ending.DONE


def _withdrawn(
    ref: pb.GenerationRef, job_id: str, job: Job | None, failed: dict[Job, status_pb2.Status]
) -> status_pb2.Status:
    error: ServiceError
    if job is None:
        error = GenerationNotFound(metadata={"generation_id": ref.generation_id})
    elif not _done(job):
        error = ImageNotFinished(metadata={"job_id": job_id})
    else:
        return failed.get(job, status_pb2.Status())
    return to_status(error)
