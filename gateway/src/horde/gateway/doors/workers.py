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
        self, principal: Principal | None, request: worker_service.ListWorkersRequest
    ) -> worker_service.ListWorkersResponse:
        """A page of workers."""
        wrong = Violations()
        size = wrong.page(request.page_size, request.page_token, MAX_WORKERS_PAGE, 50)
        _raise(wrong)
        known = principal if principal is not None and not principal.anonymous else None
        if request.mine and known is None:
            raise AccountRequired
        question = scheduler_pb2.ListWorkersRequest(
            page_size=size,
            page_token=request.page_token,
            owner_account_id=known.account_id if known is not None and request.mine else "",
        )
        with told_outward():
            try:
                answer = await self._scheduler.list_workers(question)
            except InvalidArgument as error:
                raise InvalidWorkerField(violations=[bad_page_token()]) from error
        for worker in answer.workers:
            _hide(worker, principal)
        return worker_service.ListWorkersResponse(workers=answer.workers, next_page_token=answer.next_page_token)

    async def worker(self, principal: Principal | None, worker_id: str) -> worker_pb2.Worker:
        """One worker, as the caller may see it."""
        worker = await self._worker(worker_id)
        _hide(worker, principal)
        return worker

    async def _worker(self, worker_id: str) -> worker_pb2.Worker:
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
            owner = (await self._worker(worker_id)).owner_account_id
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
        size = wrong.page(request.page_size, request.page_token, MAX_MODELS_PAGE, 100)
        if wrong.found:
            raise InvalidModelField(violations=wrong.found)
        question = scheduler_pb2.ListModelsRequest(page_size=size, page_token=request.page_token)
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
        raise ModelNotFound(metadata={"name": name, "did_you_mean": ""})


def _hide(worker: worker_pb2.Worker, principal: Principal | None) -> None:
    """Take out what is not for this caller: whose it is, for who is nobody; what hinders it, for all but its owner."""
    if principal is None or principal.anonymous:
        worker.owner_account_id = ""
    if principal is None or principal.account_id != worker.owner_account_id:
        del worker.hindrances[:]
        worker.max_slots = 0


def _raise(wrong: Violations) -> None:
    if wrong.found:
        raise InvalidWorkerField(violations=wrong.found)
