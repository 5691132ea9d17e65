"""Workers and models as everybody sees them: questions that the scheduler answers."""

from __future__ import annotations

from horde.api.model.v1 import model_service_pb2 as model_pb2
from horde.api.worker.v1 import worker_pb2
from horde.api.worker.v1 import worker_service_pb2 as worker_service
from horde.gateway.core.errors import (
    AccountRequired,
    InvalidModelField,
    InvalidWorkerField,
    ModelNotFound,
    WorkerNotFound,
)
from horde.gateway.core.requesters import Principal, Role
from horde.gateway.core.validation import Violations
from horde.gateway.doors.generations import bad_page_token
from horde.gateway.neighbours.refusals import told_outward
from horde.gateway.neighbours.scheduler import SchedulerClient
from horde.internal.scheduler.v1 import scheduler_service_pb2 as scheduler_pb2
from horde.services.errors import InvalidArgument, NotFound

MAX_WORKERS_PAGE = 100
MAX_MODELS_PAGE = 500


class Workers:
    """What WorkerService does beside Attach, and what ModelService does."""

    def __init__(self, scheduler: SchedulerClient) -> None:
        self._scheduler = scheduler

    async def workers(
        self, principal: Principal, request: worker_service.ListWorkersRequest
    ) -> worker_service.ListWorkersResponse:
        """A page of workers."""
        wrong = Violations()
        wrong.page(request.page_size, request.page_token, MAX_WORKERS_PAGE)
        _raise(wrong)
        if request.mine and principal.anonymous:
            raise AccountRequired
        question = scheduler_pb2.ListWorkersRequest(
            page_size=request.page_size or 50,
            page_token=request.page_token,
            owner_account_id=principal.account_id if request.mine else "",
        )
        with told_outward():
            try:
                answer = await self._scheduler.list_workers(question)
            except InvalidArgument as error:
                raise InvalidWorkerField(violations=[bad_page_token()]) from error
        return worker_service.ListWorkersResponse(workers=answer.workers, next_page_token=answer.next_page_token)

    async def worker(self, worker_id: str) -> worker_pb2.Worker:
        """One worker."""
        wrong = Violations()
        wrong.uuid("worker_id", worker_id)
        _raise(wrong)
        with told_outward():
            answer = await self._scheduler.get_worker(scheduler_pb2.GetWorkerRequest(worker_id=worker_id))
        return answer.worker

    async def pause(self, principal: Principal, worker_id: str, *, paused: bool) -> worker_pb2.Worker:
        """Pause or resume a worker of the caller; a moderator may do it with any."""
        wrong = Violations()
        wrong.uuid("worker_id", worker_id)
        _raise(wrong)
        owner = principal.account_id
        if Role.MODERATOR in principal.roles:
            owner = (await self.worker(worker_id)).owner_account_id
        request = scheduler_pb2.SetWorkerPausedRequest(worker_id=worker_id, owner_account_id=owner, paused=paused)
        with told_outward():
            try:
                answer = await self._scheduler.set_worker_paused(request)
            except NotFound as error:
                raise WorkerNotFound(metadata={"worker_id": worker_id}) from error
        return answer.worker

    async def models(self, request: model_pb2.ListModelsRequest) -> model_pb2.ListModelsResponse:
        """A page of models, by name."""
        wrong = Violations()
        wrong.page(request.page_size, request.page_token, MAX_MODELS_PAGE)
        if wrong.found:
            raise InvalidModelField(violations=wrong.found)
        question = scheduler_pb2.ListModelsRequest(page_size=request.page_size or 100, page_token=request.page_token)
        with told_outward():
            try:
                answer = await self._scheduler.list_models(question)
            except InvalidArgument as error:
                raise InvalidModelField(violations=[bad_page_token()]) from error
        return model_pb2.ListModelsResponse(models=answer.models, next_page_token=answer.next_page_token)

    async def model(self, name: str) -> model_pb2.Model:
        """One model."""
        wrong = Violations()
        wrong.name("name", name)
        if wrong.found:
            raise InvalidModelField(violations=wrong.found)
        with told_outward():
            answer = await self._scheduler.list_models(scheduler_pb2.ListModelsRequest(page_size=1, name=name))
        for model in answer.models:
            if model.name == name:
                return model
        raise ModelNotFound(metadata={"name": name})


def _raise(wrong: Violations) -> None:
    if wrong.found:
        raise InvalidWorkerField(violations=wrong.found)
