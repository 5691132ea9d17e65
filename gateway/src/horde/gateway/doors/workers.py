"""Workers as everybody sees them: questions that the scheduler answers."""

from __future__ import annotations

from horde.api.worker.v1 import worker_pb2
from horde.api.worker.v1 import worker_service_pb2 as worker_service
from horde.gateway.core.errors import AccountRequired, InvalidWorkerField, WorkerNotFound
from horde.gateway.core.requesters import Principal, Role, Scope
from horde.gateway.core.validation import Violations
from horde.gateway.doors.account_life import checked_mask
from horde.gateway.doors.listing import bad_page_token
from horde.gateway.neighbours.refusals import told_outward
from horde.gateway.neighbours.scheduler import SchedulerClient
from horde.internal.scheduler.v1 import scheduler_service_pb2 as scheduler_pb2
from horde.services.errors import InvalidArgument, NotFound

MAX_WORKERS_PAGE = 100
MAX_DESCRIPTION_CHARACTERS = 1_000
CHANGEABLE = ("description",)


class Workers:
    """What WorkerService does beside Attach."""

    def __init__(self, scheduler: SchedulerClient) -> None:
        self._scheduler = scheduler

    async def workers(
        self, principal: Principal, request: worker_service.ListWorkersRequest
    ) -> worker_service.ListWorkersResponse:
        """A page of workers."""
        wrong = Violations()
        size = wrong.page(request.page_size, request.page_token, MAX_WORKERS_PAGE) or 50
        wrong.name("model", request.model, required=False)
        wrong.known("state", request.state, worker_pb2.WorkerState.values())
        wrong.part("name_contains", request.name_contains, 64)
        _raise(wrong)
        if request.mine and principal.anonymous:
            raise AccountRequired
        question = scheduler_pb2.ListWorkersRequest(
            page_size=size,
            page_token=request.page_token,
            owner_account_id=principal.account_id if request.mine else "",
            filters=request,
        )
        with told_outward():
            try:
                answer = await self._scheduler.list_workers(question)
            except InvalidArgument as error:
                raise InvalidWorkerField(violations=[bad_page_token()]) from error
        workers = [_as_seen_by(principal, worker) for worker in answer.workers]
        return worker_service.ListWorkersResponse(workers=workers, next_page_token=answer.next_page_token)

    async def worker(self, principal: Principal, worker_id: str) -> worker_pb2.Worker:
        """One worker."""
        return _as_seen_by(principal, await self._worker(worker_id))

    async def _worker(self, worker_id: str) -> worker_pb2.Worker:
        wrong = Violations()
        wrong.uuid("worker_id", worker_id)
        _raise(wrong)
        with told_outward():
            answer = await self._scheduler.get_worker(scheduler_pb2.GetWorkerRequest(worker_id=worker_id))
        return answer.worker

    async def pause(self, principal: Principal, worker_id: str, *, paused: bool) -> worker_pb2.Worker:
        """Pause or resume a worker of the caller; a moderator, with the scope MANAGE, any."""
        wrong = Violations()
        wrong.uuid("worker_id", worker_id)
        _raise(wrong)
        owner = principal.account_id
        if Role.MODERATOR in principal.roles and Scope.MANAGE in principal.scopes:
            owner = (await self._worker(worker_id)).owner_account_id
        request = scheduler_pb2.SetWorkerPausedRequest(worker_id=worker_id, owner_account_id=owner, paused=paused)
        with told_outward():
            try:
                answer = await self._scheduler.set_worker_paused(request)
            except NotFound as error:
                raise WorkerNotFound(metadata={"worker_id": worker_id}) from error
        return answer.worker

    async def update(self, principal: Principal, request: worker_service.UpdateWorkerRequest) -> worker_pb2.Worker:
        """Change what the mask names of a worker of the caller."""
        wrong = Violations()
        worker_id, description = request.worker.worker_id, request.worker.description
        wrong.uuid("worker.worker_id", worker_id)
        checked_mask(wrong, request.update_mask.paths, CHANGEABLE)
        wrong.text("worker.description", description, MAX_DESCRIPTION_CHARACTERS)
        _raise(wrong)
        question = scheduler_pb2.UpdateWorkerRequest(
            worker_id=worker_id, owner_account_id=principal.account_id, description=description
        )
        with told_outward():
            return (await self._scheduler.update_worker(question)).worker

    async def delete(self, principal: Principal, worker_id: str) -> None:
        """Have a worker of the caller forgotten that is away; one that is not known is as good as that."""
        wrong = Violations()
        wrong.uuid("worker_id", worker_id)
        _raise(wrong)
        with told_outward():
            await self._scheduler.delete_worker(worker_id, principal.account_id)


def _as_seen_by(principal: Principal, worker: worker_pb2.Worker) -> worker_pb2.Worker:
    """A worker without what only some may see: its owner for accounts, what hinders it for its owner."""
    if worker.owner_account_id != principal.account_id:
        worker.ClearField("hindrances")
        worker.ClearField("max_slots")
    if principal.anonymous:
        worker.ClearField("owner_account_id")
    return worker


def _raise(wrong: Violations) -> None:
    if wrong.found:
        raise InvalidWorkerField(violations=wrong.found)
