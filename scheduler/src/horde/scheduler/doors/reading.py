"""What requesters are shown: generations and waits; and the few wishes of theirs that change little."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import aclosing
from functools import partial

from google.rpc import status_pb2

from horde.api.generation.v1 import generation_pb2
from horde.internal.scheduler.v1 import scheduler_service_pb2 as pb
from horde.scheduler.core import settling
from horde.scheduler.core.answers import Declined, Done
from horde.scheduler.core.errors import GenerationNotFound, ImageNotFinished, ImageNotFound
from horde.scheduler.core.estimates import Estimates
from horde.scheduler.core.job import Deletion, Ending, Generation, GenerationId, Job, JobId, JobState, Phase
from horde.scheduler.doors import filters, submitting, wire
from horde.scheduler.doors.follow import Follower, Followers
from horde.scheduler.doors.pages import read_token, write_token
from horde.scheduler.doors.submitting import Submitting, bounded, outcome_of, refusal
from horde.scheduler.neighbours.pairs import pairs
from horde.scheduler.neighbours.storage import Storage
from horde.scheduler.store.saver import Saver
from horde.scheduler.term import Term
from horde.services.errors import ServiceError, Unavailable
from horde.services.status import to_status
from horde.services.streams import converse

PAGE = 50
MAX_PAGE = 100
MAX_LOOKS = 5
"""Pages of the store that are looked through for one page of a list; then that one ends, shorter than it may be."""
MAX_WAITS = 256
"""Generations whose followers are told at once how long it may take; then it is the others' turn."""


class Reading:
    """Answers questions about generations."""

    def __init__(
        self,
        term: Term,
        saver: Saver,
        submitting: Submitting,
        followers: Followers,
        estimates: Estimates,
        storage: Storage,
    ) -> None:
        self._term = term
        self._saver = saver
        self._submitting = submitting
        self._followers = followers
        self._estimates = estimates
        self._storage = storage

    async def find(self, refs: Sequence[pb.GenerationRef], *, whoever: bool = False) -> list[Generation | None]:
        """Each generation, if it is this requester's and was accepted; with `whoever`, as its ref has it: of nobody in
        particular, or also if it was refused.
        """
        found = await self._term.find([GenerationId(ref.generation_id) for ref in refs])
        return [_theirs(ref, found.get(GenerationId(ref.generation_id)), whoever) for ref in refs]

    async def get(self, refs: Sequence[pb.GenerationRef]) -> list[pb.GenerationOutcome]:
        answers = await self._answers(refs, await self.find(refs, whoever=True))
        return [_held_to(ref, answer) for ref, answer in zip(refs, answers, strict=True)]

    async def _answers(
        self, refs: Sequence[pb.GenerationRef], found: Sequence[Generation | None]
    ) -> list[pb.GenerationOutcome]:
        answers = [
            not_found(ref) if generation is None else await self._durable(generation)
            for ref, generation in zip(refs, found, strict=True)
        ]
        return bounded(answers)

    async def _durable(self, generation: Generation) -> pb.GenerationOutcome:
        if self._submitting.undecided(generation):
            return refusal(Unavailable("It is being read back; ask again."))
        if not shown_to_its_requester(generation):
            return await self._saver.read(generation, lambda: outcome_of(generation, self._term.board.fleet.name_of))
        return await self._saver.read(generation, lambda: pb.GenerationOutcome(generation=self.show(generation)))

    def show(self, generation: Generation) -> pb.SchedulerGeneration:
        """As it is now, with estimates for what waits."""
        message = wire.generation_message(generation, self._term.board.fleet.name_of)
        waiting = [job for job in generation.jobs if job.ticket]
        if waiting:
            # One for all: they are alike, and stand behind each other.
            estimate = self._estimates.for_job(waiting[0], self._term.now())
            wire.add_waits(message, ((job.index, estimate) for job in waiting))
        return message

    async def page(self, request: pb.ListGenerationsRequest) -> pb.ListGenerationsResponse:
        size = request.page_size if 1 <= request.page_size <= MAX_PAGE else PAGE
        token = read_token(request.page_token, int, str)
        account_id, digest = wire.requester_of(request.requester)
        place = filters.begin(request.filters, None if token is None else (token[0], token[1]))
        oldest, wanted = filters.end(request.filters), filters.wanted_generation(request.filters)
        at_once = MAX_PAGE if filters.narrow(request.filters) else size
        response = pb.ListGenerationsResponse()
        for _ in range(MAX_LOOKS):
            stored = await self._term.store.page(account_id, digest, place, at_once + 1)
            for row in stored:
                accepted_at_ms = row.generation["accepted_at_ms"]
                if accepted_at_ms < oldest:
                    return response
                if len(response.generations) == size:
                    return _to_be_continued(response, place)
                generation = self._term.remember(row)
                if shown_to_its_requester(generation) and not self._submitting.undecided(generation):
                    build = partial(wire.generation_message, generation, self._term.board.fleet.name_of)
                    shown = await self._saver.read(generation, build)
                    if response.generations and response.ByteSize() + shown.ByteSize() > submitting.MAX_ANSWER_BYTES:
                        return _to_be_continued(response, place)
                    if wanted(shown.generation):
                        response.generations.append(shown)
                place = accepted_at_ms, row.generation["generation_id"]
            if len(stored) <= at_once:
                return response
            if len(response.generations) == size:
                break
        return _to_be_continued(response, place)

    async def cancel(self, refs: Sequence[pb.GenerationRef]) -> list[pb.GenerationOutcome]:
        term = self._term
        found = await self.find(refs)
        for generation in found:
            if generation is not None:
                settling.cancel(term.board, generation, term.now())
        term.flush()
        return await self._answers(refs, found)

    async def withdraw(self, ref: pb.GenerationRef, job_ids: Sequence[str]) -> list[status_pb2.Status]:
        term = self._term
        (generation,) = await self.find([ref])
        jobs = {} if generation is None else {job.job_id: job for job in generation.jobs}
        wanted = [jobs.get(JobId(job_id)) for job_id in job_ids]
        going = [job for job in wanted if job is not None and _done(job) and not job.withdrawn]
        answers = await self._storage.withdraw(going) if going else []
        failed: dict[Job, status_pb2.Status] = {}
        for job, answer in pairs(going, answers):
            if isinstance(answer, Done):
                job.withdrawn = True
                job.touch()
                term.board.dirty_jobs[job] = None
                # What is left of it decides how long the generation is kept.
                term.board.dirty_generations[job.generation] = None
            else:
                away = to_status(Unavailable("Storage does not answer; ask again."))
                failed[job] = status_pb2.Status.FromString(answer.status) if isinstance(answer, Declined) else away
        term.flush()
        if generation is not None and going:
            await self._saver.read(generation, lambda: None)
        return [
            _withdrawn(ref, generation, job_id, job, failed) for job_id, job in zip(job_ids, wanted, strict=True)
        ]  # fmt: skip

    def estimate(self, question: pb.EstimateWait) -> pb.EstimateWaitOutcome:
        terms = wire.terms_of(question.spec, generation_pb2.Quote())
        account_id, _ = wire.requester_of(question.requester)
        found = self._estimates.for_terms(terms, account_id, self._term.now())
        return pb.EstimateWaitOutcome(wait=wire.wait_message(found))

    async def follow(self, requests: AsyncIterable[pb.FollowRequest]) -> AsyncIterator[pb.FollowResponse]:
        """A follower's wishes, and what comes of them."""
        follower = Follower()
        self._followers.open(follower)

        async def listen() -> None:
            async for request in requests:
                await self._wish(follower, request)

        responses = converse(listen, follower.outbox, follower.responses())
        try:
            async with aclosing(responses):
                async for response in responses:
                    yield response
        finally:
            self._followers.drop(follower)

    async def _wish(self, follower: Follower, request: pb.FollowRequest) -> None:
        """Take in one wish."""
        follower.durable_only |= request.durable_only
        if request.HasField("unfollow"):
            self._followers.remove(GenerationId(request.unfollow), follower)
            return
        ref = request.follow
        (generation,) = await self.find([ref])
        if generation is None:
            event = pb.FollowedEvent(generation_id=ref.generation_id)
            event.error.CopyFrom(not_found(ref).error)
            follower.put(event)
            return
        if self._submitting.undecided(generation):
            self._submitting.when_decided(generation, lambda: self._begin(follower, generation))
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
                self._followers.add(generation.generation_id, follower)
            return events

        def send(events: list[pb.FollowedEvent]) -> None:
            for event in events:
                follower.put(event)

        self._saver.read_then(generation, snapshot, send)

    def tell_waits(self) -> None:
        """Tell followers of queued jobs how long it may take, as it is now."""
        board, followers = self._term.board, self._followers
        for generation_id in followers.turn(MAX_WAITS):
            generation = board.generations.get(generation_id)
            waiting = [job for job in generation.jobs if job.ticket] if generation is not None else []
            if not waiting or not followers.await_waits(generation_id):
                continue
            message = wire.wait_message(self._estimates.for_job(waiting[0], self._term.now()))
            for job in waiting:
                event = pb.FollowedEvent(generation_id=generation_id)
                event.wait.job_id = job.job_id
                event.wait.wait.CopyFrom(message)
                followers.waits(job, event)


def _to_be_continued(response: pb.ListGenerationsResponse, place: filters.Place | None) -> pb.ListGenerationsResponse:
    """A page that ends at this place; another may follow."""
    if place is not None:
        response.next_page_token = write_token(*place)
    return response


def _theirs(ref: pb.GenerationRef, generation: Generation | None, whoever: bool) -> Generation | None:
    if generation is None or not (shown_to_its_requester(generation) or (whoever and ref.refused_too)):
        return None
    if whoever and not ref.HasField("requester"):
        return generation
    mine = (generation.account_id, generation.digest) == wire.requester_of(ref.requester)
    return generation if mine else None


def shown_to_its_requester(generation: Generation) -> bool:
    """Whether it is there for anybody: neither refused nor about to be forgotten."""
    return generation.phase is not Phase.REFUSED and generation.deletion is Deletion.NONE


def _held_to(ref: pb.GenerationRef, answer: pb.GenerationOutcome) -> pb.GenerationOutcome:
    """The answer, if the generation holds to the filters that were named."""
    if not (ref.HasField("filters") and answer.HasField("generation")):
        return answer
    return answer if filters.wanted_at_all(ref.filters)(answer.generation.generation) else not_found(ref)


def not_found(ref: pb.GenerationRef) -> pb.GenerationOutcome:
    return refusal(GenerationNotFound(metadata={"generation_id": ref.generation_id}))


def _done(job: Job) -> bool:
    return job.state is JobState.ENDED and job.ending is Ending.DONE


def _withdrawn(
    ref: pb.GenerationRef,
    generation: Generation | None,
    job_id: str,
    job: Job | None,
    failed: dict[Job, status_pb2.Status],
) -> status_pb2.Status:
    error: ServiceError
    if generation is None:
        error = GenerationNotFound(metadata={"generation_id": ref.generation_id})
    elif job is None:
        error = ImageNotFound(metadata={"job_id": job_id})
    elif not _done(job):
        error = ImageNotFinished(metadata={"job_id": job_id})
    else:
        return failed.get(job, status_pb2.Status())
    return to_status(error)
