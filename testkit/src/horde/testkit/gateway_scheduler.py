"""A scheduler that holds to the contract and decides nothing: tests lend jobs, paint and end them by hand."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any
from uuid import UUID, uuid5

from google.rpc import status_pb2

from horde.api.generation.v1 import generation_pb2
from horde.api.job.v1 import job_pb2
from horde.api.model.v1 import model_service_pb2 as model_pb2
from horde.api.worker.v1 import worker_pb2
from horde.api.worker.v1 import worker_service_pb2 as worker_service
from horde.gateway.core.errors import GenerationNotFound, WorkerNotFound
from horde.internal.scheduler.v1 import scheduler_service_pb2 as pb
from horde.internal.scheduler.v1.scheduler_service_pb2_grpc import SchedulerServiceServicer
from horde.services.errors import AlreadyExists, ServiceError, Unavailable
from horde.services.status import to_status
from horde.services.streams import Outbox
from horde.testkit.gateway_forgetting import Forgetting


class Conflict(AlreadyExists):
    """The request_id was used for something else."""

    domain = "horde.api.generation.v1"
    reason = "REQUEST_CONFLICT"


class FakeScheduler(Forgetting, SchedulerServiceServicer):
    """Accepts everything, lends nothing."""

    def __init__(self) -> None:
        self.submissions: list[pb.SubmitGeneration] = []
        self.batches: list[int] = []
        self.reads: list[int] = []
        self.refusals: dict[str, ServiceError] = {}
        """By generation_id, or for all under the empty one."""
        self.generations: dict[str, pb.SchedulerGeneration] = {}
        self.specs: dict[str, bytes] = {}
        self.wait = generation_pb2.WaitEstimate(eligible_workers=1)
        self.wait_of: Callable[[generation_pb2.GenerationSpec], generation_pb2.WaitEstimate] | None = None
        self.follows: list[pb.FollowRequest] = []
        self.follow_answers = True
        self._follow_outboxes: list[Outbox[pb.FollowResponse]] = []
        self._followed: dict[str, set[int]] = defaultdict(set)
        self.relays: list[FakeRelay] = []
        self.epoch = 7
        self.workers: dict[str, worker_pb2.Worker] = {}
        self.models: dict[str, model_pb2.Model] = {}
        """Offered now."""
        self.lately: dict[str, model_pb2.Model] = {}
        """Offered in the last day."""
        self.model_questions: list[pb.ListModelsRequest] = []
        self.list_questions: list[Any] = []
        self.waits = pb.GetWaitsResponse()
        self.open_leases: dict[str, int] = {}
        """By account."""
        self.forgets: list[pb.ForgetAccountRequest] = []
        self.away = False
        self.open = asyncio.Event()
        """Clear it, and submissions and reads wait here."""
        self.open.set()

    async def SubmitGenerations(self, request: pb.SubmitGenerationsRequest, context: Any) -> Any:
        self._present()
        self.batches.append(len(request.submissions))
        await self.open.wait()
        outcomes = [self._outcome(self._accept, submission) for submission in request.submissions]
        return pb.SubmitGenerationsResponse(outcomes=outcomes)

    async def GetGenerations(self, request: pb.GetGenerationsRequest, context: Any) -> Any:
        self._present()
        self.reads.append(len(request.refs))
        self.list_questions += [ref.filters for ref in request.refs if ref.HasField("filters")]
        await self.open.wait()
        outcomes = [self._outcome(self._find_or_whosever, ref) for ref in request.refs]
        return pb.GetGenerationsResponse(outcomes=outcomes)

    async def CancelGenerations(self, request: pb.CancelGenerationsRequest, context: Any) -> Any:
        self._present()
        return pb.CancelGenerationsResponse(outcomes=[self._outcome(self._cancel, ref) for ref in request.refs])

    async def ListGenerations(self, request: pb.ListGenerationsRequest, context: Any) -> Any:
        self.list_questions.append(request)
        own = [generation for generation in self.generations.values() if generation.requester == request.requester]
        return pb.ListGenerationsResponse(generations=own[::-1][: request.page_size])

    async def WithdrawImages(self, request: pb.WithdrawImagesRequest, context: Any) -> Any:
        try:
            self._find(request.ref)
        except ServiceError as error:
            return pb.WithdrawImagesResponse(outcomes=[to_status(error)] * len(request.job_ids))
        return pb.WithdrawImagesResponse(outcomes=[status_pb2.Status()] * len(request.job_ids))

    async def EstimateWaits(self, request: pb.EstimateWaitsRequest, context: Any) -> Any:
        self._present()
        waits = [self.wait_of(estimate.spec) if self.wait_of else self.wait for estimate in request.estimates]
        return pb.EstimateWaitsResponse(outcomes=[pb.EstimateWaitOutcome(wait=wait) for wait in waits])

    async def ListWorkers(self, request: pb.ListWorkersRequest, context: Any) -> Any:
        self.list_questions.append(request)
        owner = request.owner_account_id
        found = [worker for worker in self.workers.values() if not owner or worker.owner_account_id == owner]
        return pb.ListWorkersResponse(workers=found)

    async def GetWorker(self, request: pb.GetWorkerRequest, context: Any) -> Any:
        if request.worker_id not in self.workers:
            raise WorkerNotFound(metadata={"worker_id": request.worker_id})
        return pb.GetWorkerResponse(worker=self.workers[request.worker_id])

    async def SetWorkerPaused(self, request: pb.SetWorkerPausedRequest, context: Any) -> Any:
        worker = self.workers.get(request.worker_id)
        if worker is None or worker.owner_account_id != request.owner_account_id:
            raise WorkerNotFound(metadata={"worker_id": request.worker_id})
        paused = worker_pb2.WORKER_STATE_PAUSED if request.paused else worker_pb2.WORKER_STATE_READY
        worker.state = paused
        return pb.SetWorkerPausedResponse(worker=worker)

    async def UpdateWorker(self, request: pb.UpdateWorkerRequest, context: Any) -> Any:
        worker = self.workers.get(request.worker_id)
        if worker is None or worker.owner_account_id != request.owner_account_id:
            raise WorkerNotFound(metadata={"worker_id": request.worker_id})
        worker.description = request.description
        return pb.UpdateWorkerResponse(worker=worker)

    async def ListModels(self, request: pb.ListModelsRequest, context: Any) -> Any:
        self._present()
        self.model_questions.append(request)
        models = {**self.lately, **self.models} if request.lately else self.models
        found = [demand for name, demand in sorted(models.items()) if not request.name or name == request.name]
        after = int(request.page_token or "0")
        token = str(after + request.page_size) if len(found) > after + request.page_size else ""
        return pb.ListModelsResponse(models=found[after : after + request.page_size], next_page_token=token)

    async def GetWaits(self, request: pb.GetWaitsRequest, context: Any) -> pb.GetWaitsResponse:
        self._present()
        return self.waits

    async def Follow(self, request_iterator: Any, context: Any) -> AsyncIterator[pb.FollowResponse]:
        self._present()
        outbox: Outbox[pb.FollowResponse] = Outbox(1_000)
        number = len(self._follow_outboxes)
        self._follow_outboxes.append(outbox)
        reader = asyncio.create_task(self._read_follows(request_iterator, number))
        try:
            async for response in outbox:
                yield response
        finally:
            reader.cancel()

    async def _read_follows(self, requests: Any, number: int) -> None:
        async for request in requests:
            self.follows.append(request)
            if request.WhichOneof("message") == "unfollow":
                self._followed[request.unfollow].discard(number)
            elif self.follow_answers:
                self.answer_follow(request.follow, number)

    def answer_follow(self, ref: pb.GenerationRef, number: int = -1) -> None:
        """Answer a follow: the snapshot, or that there is no such generation."""
        number = number % len(self._follow_outboxes)
        event = pb.FollowedEvent(generation_id=ref.generation_id)
        try:
            event.snapshot.CopyFrom(self._find(ref))
            self._followed[ref.generation_id].add(number)
        except ServiceError as error:
            event.error.CopyFrom(to_status(error))
        self._follow_outboxes[number].put_nowait(pb.FollowResponse(events=[event]))

    def tell(self, event: pb.FollowedEvent) -> None:
        """Say an event to every stream that follows the generation."""
        for number in self._followed[event.generation_id]:
            self._follow_outboxes[number].put_nowait(pb.FollowResponse(events=[event]))

    def break_follows(self) -> None:
        """Break every Follow stream."""
        for outbox in self._follow_outboxes:
            outbox.close(Unavailable("broken by the test"))

    async def Relay(self, request_iterator: Any, context: Any) -> AsyncIterator[pb.RelayResponse]:
        self._present()
        relay = FakeRelay()
        self.relays.append(relay)
        reader = asyncio.create_task(relay.read(request_iterator))
        relay.outbox.put_nowait(pb.RelayResponse(relay_welcome=pb.RelayWelcome(epoch=self.epoch)))
        try:
            async for response in relay.outbox:
                yield response
        finally:
            reader.cancel()

    def transition(self, generation_id: str, index: int, **fields: Any) -> generation_pb2.Image:
        """Make one image durable in another state, and tell who follows."""
        known = self.generations[generation_id].generation
        known.version += 1
        image = known.images[index]
        image.version = known.version
        for name, value in fields.items():
            setattr(image, name, value)
        self.tell(pb.FollowedEvent(generation_id=generation_id, image=image))
        return image

    def lease(self, generation_id: str, index: int, lease_id: str) -> generation_pb2.Image:
        """Lend a job."""
        return self.transition(
            generation_id, index, state=job_pb2.JOB_STATE_LEASED, lease_id=lease_id, step=0, attempt=1
        )

    def progress(self, generation_id: str, index: int, lease_id: str, step: int) -> None:
        """Say how far a lease is."""
        job_id = self.generations[generation_id].generation.images[index].job_id
        event = pb.FollowedEvent(generation_id=generation_id)
        event.progress.job_id, event.progress.lease_id, event.progress.step = job_id, lease_id, step
        self.tell(event)

    def end(
        self, generation_id: str, index: int, ending: job_pb2.JobEnding.ValueType = job_pb2.JOB_ENDING_DONE
    ) -> None:
        """End a job; after the last one the generation is finished."""
        self.transition(
            generation_id,
            index,
            state=job_pb2.JOB_STATE_ENDED,
            ending=ending,
            lease_id="",
            sha256=b"\x05" * 32,
            placement=self.generations[generation_id].generation.quote.placement,
        )
        known = self.generations[generation_id]
        if all(image.state == job_pb2.JOB_STATE_ENDED for image in known.generation.images):
            known.generation.finished = True
            self.tell(pb.FollowedEvent(generation_id=generation_id, finished=known))
            self._followed.pop(generation_id, None)

    def _present(self) -> None:
        if self.away:
            raise Unavailable("away, says the test")

    @staticmethod
    def _outcome(act: Callable[[Any], pb.SchedulerGeneration], of: Any) -> pb.GenerationOutcome:
        try:
            return pb.GenerationOutcome(generation=act(of))
        except ServiceError as error:
            return pb.GenerationOutcome(error=to_status(error))

    def _accept(self, submission: pb.SubmitGeneration) -> pb.SchedulerGeneration:
        self.submissions.append(submission)
        if refusal := self.refusals.get(submission.generation_id) or self.refusals.get(""):
            raise refusal
        known = self.generations.get(submission.generation_id)
        spec = submission.spec.SerializeToString(deterministic=True)
        if known is not None:
            if self.specs[submission.generation_id] != spec:
                raise Conflict(metadata={"field": "spec"})
            return known
        self.specs[submission.generation_id] = spec
        known = pb.SchedulerGeneration(requester=submission.requester)
        # With which shared key it was asked for, the gateway keeps.
        known.requester.ClearField("shared_key_id")
        known.generation.generation_id = submission.generation_id
        known.generation.request_id = submission.request_id
        known.generation.spec.CopyFrom(submission.spec)
        known.generation.quote.CopyFrom(submission.quote)
        known.generation.version = 1
        for index in range(submission.spec.count):
            known.generation.images.add(
                job_id=str(uuid5(UUID(submission.generation_id), str(index))),
                index=index,
                state=job_pb2.JOB_STATE_QUEUED,
                version=1,
                placement=submission.quote.placement,
            )
            known.object_names.append(f"{index:032x}")
        self.generations[submission.generation_id] = known
        return known

    def _find_or_whosever(self, ref: pb.GenerationRef) -> pb.SchedulerGeneration:
        known = self.generations.get(ref.generation_id)
        if ref.refused_too and (refusal := self.refusals.get(ref.generation_id)):
            raise refusal
        return known if known is not None and not ref.HasField("requester") else self._find(ref)

    def _find(self, ref: pb.GenerationRef) -> pb.SchedulerGeneration:
        known = self.generations.get(ref.generation_id)
        if known is None or known.requester != ref.requester:
            raise GenerationNotFound(metadata={"generation_id": ref.generation_id})
        return known

    def _cancel(self, ref: pb.GenerationRef) -> pb.SchedulerGeneration:
        known = self._find(ref)
        for image in known.generation.images:
            if image.state != job_pb2.JOB_STATE_ENDED:
                self.end(ref.generation_id, image.index, job_pb2.JOB_ENDING_CANCELLED)
        return known


class FakeRelay:
    """One opening of the relay, as the scheduler sees it."""

    def __init__(self) -> None:
        self.hello: pb.RelayHello | None = None
        self.heard: list[pb.SessionRequest] = []
        self.outbox: Outbox[pb.RelayResponse] = Outbox(10_000)
        self.answer: Callable[[pb.SessionRequest], Iterable[worker_service.AttachResponse]] | None = None

    async def read(self, requests: Any) -> None:
        """Remember what is said."""
        async for request in requests:
            if request.HasField("relay_hello"):
                self.hello = request.relay_hello
            self.heard.extend(request.sessions)
            for session in request.sessions:
                if session.WhichOneof("message") == "opened":
                    welcome = worker_service.Welcome(session_id=f"s{session.relay_session_id}", worker_id="w")
                    self.say(session.relay_session_id, worker_service.AttachResponse(welcome=welcome))
                elif self.answer is not None:
                    for response in self.answer(session):
                        self.say(session.relay_session_id, response)

    def say(self, number: int, response: worker_service.AttachResponse) -> None:
        """Tell a worker something."""
        session = pb.SessionResponse(relay_session_id=number, worker=response)
        self.outbox.put_nowait(pb.RelayResponse(sessions=[session]))

    def end(self, number: int, error: ServiceError) -> None:
        """End a worker's stream."""
        session = pb.SessionResponse(relay_session_id=number, end=to_status(error))
        self.outbox.put_nowait(pb.RelayResponse(sessions=[session]))

    def break_off(self) -> None:
        """Break the stream."""
        self.outbox.close(Unavailable("broken by the test"))

    def kinds(self, number: int) -> list[str]:
        """What was said of and by one session."""
        return [
            message.worker.WhichOneof("message") or ""
            if message.HasField("worker")
            else message.WhichOneof("message") or ""
            for message in self.heard
            if message.relay_session_id == number
        ]
