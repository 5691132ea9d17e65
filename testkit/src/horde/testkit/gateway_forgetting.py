"""The part of the fake scheduler that forgets what it is asked to, and curation and webhooks that do nothing else."""

from __future__ import annotations

from typing import Any

from google.rpc import status_pb2

from horde.api.job.v1 import job_pb2
from horde.api.worker.v1 import worker_pb2
from horde.gateway.core.errors import GenerationNotFinished, GenerationNotFound, WorkerBusy, WorkerNotFound
from horde.internal.curation.v1 import account_service_pb2 as curation_pb2
from horde.internal.curation.v1.account_service_pb2_grpc import AccountServiceServicer
from horde.internal.scheduler.v1 import scheduler_service_pb2 as pb
from horde.internal.webhook.v1 import news_service_pb2 as webhook_pb2
from horde.internal.webhook.v1.news_service_pb2_grpc import NewsServiceServicer
from horde.services.errors import Unavailable
from horde.services.status import to_status


class FakeCuration(AccountServiceServicer):
    """Remembers whom it was to forget."""

    def __init__(self) -> None:
        self.forgets: list[curation_pb2.ForgetAccountRequest] = []
        self.away = False

    async def ForgetAccount(self, request: curation_pb2.ForgetAccountRequest, context: Any) -> Any:
        if self.away:
            raise Unavailable
        self.forgets.append(request)
        # A step is bounded: there is always another.
        return curation_pb2.ForgetAccountResponse(left=1 if len(self.forgets) == 1 else 0)


class FakeWebhooks(NewsServiceServicer):
    """Remembers whom it was to forget, and what it was told."""

    def __init__(self) -> None:
        self.forgets: list[str] = []
        self.told: list[webhook_pb2.TellRestrictionRequest] = []
        self.away = False

    async def ForgetAccount(self, request: webhook_pb2.ForgetAccountRequest, context: Any) -> Any:
        if self.away:
            raise Unavailable
        self.forgets.append(request.account_id)
        # A step is bounded: there is always another.
        return webhook_pb2.ForgetAccountResponse(left=1 if len(self.forgets) == 1 else 0)

    async def TellRestriction(self, request: webhook_pb2.TellRestrictionRequest, context: Any) -> Any:
        if self.away:
            raise Unavailable
        self.told.append(request)
        return webhook_pb2.TellRestrictionResponse()


class Forgetting:
    """Forgets generations, workers and accounts."""

    generations: dict[str, pb.SchedulerGeneration]
    workers: dict[str, worker_pb2.Worker]
    open_leases: dict[str, int]
    forgets: list[pb.ForgetAccountRequest]

    def _present(self) -> None:
        raise NotImplementedError

    def _find(self, ref: pb.GenerationRef) -> pb.SchedulerGeneration:
        raise NotImplementedError

    async def DeleteGenerations(self, request: pb.DeleteGenerationsRequest, context: Any) -> Any:
        self._present()
        return pb.DeleteGenerationsResponse(outcomes=[self._delete(ref) for ref in request.refs])

    def _delete(self, ref: pb.GenerationRef) -> status_pb2.Status:
        try:
            if not self._find(ref).generation.finished:
                return to_status(GenerationNotFinished(metadata={"generation_id": ref.generation_id}))
        except GenerationNotFound:
            return status_pb2.Status()
        del self.generations[ref.generation_id]
        return status_pb2.Status()

    async def SurveyAccount(self, request: pb.SurveyAccountRequest, context: Any) -> Any:
        self._present()
        own = [
            generation
            for generation in self.generations.values()
            if generation.requester.account_id == request.account_id
        ]
        images = [
            image for accepted in own for image in accepted.generation.images if image.ending == job_pb2.JOB_ENDING_DONE
        ]
        shared = sum(image.placement == job_pb2.PLACEMENT_SHARED for image in images)
        return pb.SurveyAccountResponse(
            open_generations=sum(not accepted.generation.finished for accepted in own),
            open_leases=self.open_leases.get(request.account_id, 0),
            generations=len(own),
            private_images=len(images) - shared,
            shared_images=shared,
        )

    async def ForgetAccount(self, request: pb.ForgetAccountRequest, context: Any) -> Any:
        self._present()
        self.forgets.append(request)
        own = [
            name
            for name, generation in self.generations.items()
            if generation.requester.account_id == request.account_id
        ]
        # A step is bounded: here to one.
        for name in own[:1]:
            del self.generations[name]
        return pb.ForgetAccountResponse(left=len(own[1:]))

    async def DeleteWorker(self, request: pb.DeleteWorkerRequest, context: Any) -> Any:
        worker = self.workers.get(request.worker_id)
        if worker is None:
            return pb.DeleteWorkerResponse()
        if worker.owner_account_id != request.owner_account_id:
            raise WorkerNotFound(metadata={"worker_id": request.worker_id})
        if worker.state != worker_pb2.WORKER_STATE_AWAY:
            raise WorkerBusy(metadata={"worker_id": request.worker_id})
        del self.workers[request.worker_id]
        return pb.DeleteWorkerResponse()
