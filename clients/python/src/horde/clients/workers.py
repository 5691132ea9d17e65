"""Workers: who paints, how fast, and pausing and forgetting one's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from google.protobuf.field_mask_pb2 import FieldMask

from horde.api.worker.v1 import worker_service_pb2 as pb
from horde.api.worker.v1.worker_pb2 import Worker
from horde.api.worker.v1.worker_service_pb2_grpc import WorkerServiceStub
from horde.clients.doors import Doors

PAGE_SIZE: Final = 100


class Workers:
    """The workers of the mesh."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._stub = WorkerServiceStub(doors.gateway)

    async def list(self, *, mine: bool = False, page_size: int = PAGE_SIZE) -> AsyncIterator[Worker]:
        """Workers that were here in the last day, by name, page by page as they are read."""
        request = pb.ListWorkersRequest(page_size=page_size, mine=mine)
        while True:
            page = await self._doors.ask(self._stub.ListWorkers, request)
            for worker in page.workers:
                yield worker
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def get(self, worker_id: str) -> Worker:
        """One worker. Raises WorkerNotFound."""
        return (await self._doors.ask(self._stub.GetWorker, pb.GetWorkerRequest(worker_id=worker_id))).worker

    async def set_paused(self, worker_id: str, paused: bool) -> Worker:
        """Pause or resume a worker of the caller. Raises WorkerNotFound."""
        request = pb.SetWorkerPausedRequest(worker_id=worker_id, paused=paused)
        return (await self._doors.ask(self._stub.SetWorkerPaused, request)).worker

    async def describe(self, worker_id: str, description: str) -> Worker:
        """Say something of a worker of the caller, for everybody; at most 1,000 characters. Raises WorkerNotFound."""
        worker = Worker(worker_id=worker_id, description=description)
        request = pb.UpdateWorkerRequest(worker=worker, update_mask=FieldMask(paths=["description"]))
        return (await self._doors.ask(self._stub.UpdateWorker, request)).worker

    async def delete(self, worker_id: str) -> None:
        """Have a worker of the caller forgotten that is away. May be repeated. Raises WorkerBusy, WorkerNotFound."""
        await self._doors.ask(self._stub.DeleteWorker, pb.DeleteWorkerRequest(worker_id=worker_id))
