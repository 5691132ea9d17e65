"""Looking at a mesh: its public numbers, and its services' metrics where somebody may read them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from horde.api.mesh.v1.mesh_service_pb2 import GetMeshResponse
from horde.api.model.v1.model_service_pb2 import Model
from horde.api.statistics.v1.statistics_service_pb2 import GetPerformanceResponse, GetTotalsResponse
from horde.api.worker.v1.worker_pb2 import Worker
from horde.cli.overview.services import Scrape, ServiceLine, line, scraped
from horde.clients.client import HordeClient
from horde.services.errors import ServiceError

MAX_WORKERS: Final = 200
"""More fit on no screen, and everybody may look."""


@dataclass(frozen=True)
class Overview:
    """What a mesh shows of itself."""

    mesh: GetMeshResponse
    performance: GetPerformanceResponse
    totals: GetTotalsResponse
    models: Sequence[Model]
    workers: Sequence[Worker]


@dataclass(frozen=True)
class Seen:
    """One look. What the mesh did not answer is as it was before."""

    overview: Overview | None
    services: Sequence[ServiceLine]
    problem: str = ""
    """What keeps the mesh from answering; empty if it did."""

    def document(self) -> dict[str, Any]:
        """All of it, for programs."""
        shown = (
            None
            if self.overview is None
            else {part.name: getattr(self.overview, part.name) for part in fields(Overview)}
        )
        return {"overview": shown, "services": [asdict(service) for service in self.services], "problem": self.problem}


class Looking:
    """Looks again and again, and remembers what there was before."""

    def __init__(self, horde: HordeClient, metrics: Sequence[str], now: Callable[[], float]) -> None:
        self._horde = horde
        self._metrics = metrics
        self._now = now
        self._before: dict[str, Scrape] = {}
        self._overview: Overview | None = None

    async def look(self) -> Seen:
        """Look once at everything."""
        services = await asyncio.gather(*(self._service(address) for address in self._metrics))
        problem = ""
        try:
            self._overview = await self._ask()
        except ServiceError as error:
            problem = error.message
        return Seen(self._overview, services, problem)

    async def _ask(self) -> Overview:
        horde = self._horde
        mesh, performance, totals = await asyncio.gather(
            horde.mesh.show(), horde.statistics.performance(), horde.statistics.totals()
        )
        models = [model async for model in horde.models.list()]
        workers: list[Worker] = []
        async for worker in horde.workers.list():
            if len(workers) == MAX_WORKERS:
                break
            workers.append(worker)
        return Overview(mesh, performance, totals, models, workers)

    async def _service(self, address: str) -> ServiceLine:
        before = self._before.get(address)
        try:
            now = await asyncio.to_thread(scraped, address, self._now())
        except (OSError, ValueError) as error:
            return ServiceLine(address, before.service if before else "", problem=str(getattr(error, "reason", error)))
        self._before[address] = now
        return line(address, now, before)
