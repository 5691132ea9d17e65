"""WorkerService on the wire."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import aclosing
from typing import Any

from horde.api.worker.v1 import worker_service_pb2 as pb
from horde.api.worker.v1.worker_service_pb2_grpc import WorkerServiceServicer
from horde.gateway.core.requesters import Scope
from horde.gateway.core.seats import owner
from horde.gateway.doors.reception import Reception, require_scope
from horde.gateway.doors.relay import Relay
from horde.gateway.doors.workers import Workers
from horde.gateway.neighbours.records import Records
from horde.services.addresses import caller_bucket, caller_peer

Context = Any


class WorkerServicer(WorkerServiceServicer):
    """Decode, call, encode."""

    def __init__(self, reception: Reception, relay: Relay, workers: Workers, records: Records) -> None:
        self._reception = reception
        self._records = records
        self._relay = relay
        self._workers = workers

    async def Attach(
        self, request_iterator: AsyncIterable[pb.AttachRequest], context: Context
    ) -> AsyncIterator[pb.AttachResponse]:
        principal = await self._reception.account(context, Scope.WORK)
        account_id = principal.account_id
        taker = owner(account_id, caller_bucket(context), known=await self._records.has(account_id))
        still, peer = self._reception.still(context), caller_peer(context)
        attached = self._relay.attach(principal, request_iterator, still, taker, peer)
        async with aclosing(attached) as heard:
            async for message in heard:
                yield message

    async def ListWorkers(self, request: pb.ListWorkersRequest, context: Context) -> pb.ListWorkersResponse:
        principal = await self._reception.visitor(context)
        return await self._workers.workers(principal, request)

    async def GetWorker(self, request: pb.GetWorkerRequest, context: Context) -> pb.GetWorkerResponse:
        principal = await self._reception.visitor(context)
        with self._reception.looking(principal, context):
            worker = await self._workers.worker(principal, request.worker_id)
        return pb.GetWorkerResponse(worker=worker)

    async def SetWorkerPaused(self, request: pb.SetWorkerPausedRequest, context: Context) -> pb.SetWorkerPausedResponse:
        principal = await self._reception.account(context)
        require_scope(principal, Scope.WORK, Scope.MANAGE)
        worker = await self._workers.pause(principal, request.worker_id, paused=request.paused)
        return pb.SetWorkerPausedResponse(worker=worker)

    async def UpdateWorker(self, request: pb.UpdateWorkerRequest, context: Context) -> pb.UpdateWorkerResponse:
        principal = await self._reception.account(context, Scope.MANAGE)
        return pb.UpdateWorkerResponse(worker=await self._workers.update(principal, request))

    async def DeleteWorker(self, request: pb.DeleteWorkerRequest, context: Context) -> pb.DeleteWorkerResponse:
        principal = await self._reception.account(context, Scope.MANAGE)
        await self._workers.delete(principal, request.worker_id)
        return pb.DeleteWorkerResponse()
