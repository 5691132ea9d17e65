"""What the mesh does, in numbers that anybody may see and that may be some seconds old.

The ledger's totals only grow; what happened in the last hour is the difference to what they were. This process
remembers that from its start on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from horde.api.statistics.v1 import statistics_service_pb2 as pb
from horde.api.worker.v1 import worker_pb2
from horde.gateway.core.errors import InvalidStatisticsField
from horde.gateway.core.pages import read_place, write_place
from horde.gateway.core.validation import Violations
from horde.gateway.core.windows import Window
from horde.gateway.doors import wire
from horde.gateway.doors.catalogue import Catalogue
from horde.gateway.doors.listing import bad_page_token
from horde.gateway.neighbours.ledger import LedgerClient
from horde.gateway.neighbours.refusals import told_outward
from horde.gateway.neighbours.scheduler import SchedulerClient
from horde.gateway.store.port import IdentityStore
from horde.internal.ledger.v1 import ledger_service_pb2 as ledger_pb2
from horde.internal.scheduler.v1 import scheduler_service_pb2 as scheduler_pb2
from horde.services import telemetry
from horde.services.clock import Clock
from horde.services.errors import ServiceError

log = telemetry.get_logger(__name__)

FRESH_SECONDS = 15.0
MAX_LEADERS = 100
MAX_MODELS_PAGE = 500
DAY, MONTH = 24 * 3600.0, 30 * 24 * 3600.0
WORKERS_PAGE = 100
MAX_WORKERS_PAGES = 100


@dataclass(frozen=True, slots=True)
class Seen:
    """What the ledger said, and when."""

    said: ledger_pb2.GetStatisticsResponse
    models: Mapping[str, int]
    at: datetime
    monotonic: float


@dataclass(slots=True)
class Spans:
    """How far back is counted, by the names of GetTotalsResponse."""

    minute: Window[Seen] = field(default_factory=lambda: Window(60.0))
    hour: Window[Seen] = field(default_factory=lambda: Window(3600.0))
    day: Window[Seen] = field(default_factory=lambda: Window(DAY))
    month: Window[Seen] = field(default_factory=lambda: Window(MONTH))


class Statistics:
    """What StatisticsService does."""

    def __init__(
        self, ledger: LedgerClient, scheduler: SchedulerClient, catalogue: Catalogue, store: IdentityStore, clock: Clock
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._scheduler = scheduler
        self._catalogue = catalogue
        self._clock = clock
        self._spans = Spans()
        self._seen: Seen | None = None
        self._leaders: tuple[Seen, list[pb.Leader]] | None = None
        self._performance: tuple[float, pb.GetPerformanceResponse] | None = None
        # One question at a time: who comes meanwhile gets the same answer.
        self._asking, self._counting, self._naming = asyncio.Lock(), asyncio.Lock(), asyncio.Lock()

    async def run(self) -> None:
        """Look at the totals regularly, so that there is something to count from. Runs until cancelled."""
        failing = False
        while True:
            try:
                await self._current()
                failing = False
            except ServiceError as error:
                if not failing:
                    log.warning("statistics cannot be read", error=str(error))
                failing = True
            await self._clock.sleep(FRESH_SECONDS)

    async def totals(self) -> pb.GetTotalsResponse:
        """What was done in each span."""
        now = await self._current()
        spans = self._spans
        return pb.GetTotalsResponse(
            minute=_between(spans.minute.first().said, now.said),
            hour=_between(spans.hour.first().said, now.said),
            day=_between(spans.day.first().said, now.said),
            month=_between(spans.month.first().said, now.said),
            ever=_between(ledger_pb2.GetStatisticsResponse(), now.said),
            as_of=wire.timestamp(now.at),
        )

    async def models(self, request: pb.ListModelTotalsRequest) -> pb.ListModelTotalsResponse:
        """A page of models by how many jobs were paid for, most first."""
        wrong = Violations()
        size = wrong.page(request.page_size, request.page_token, MAX_MODELS_PAGE) or 100
        place = read_place(request.page_token)
        if place is None or not (place.isascii() and (place.isdigit() or not place)):
            wrong.found = wrong.found or [bad_page_token()]
        if wrong.found:
            raise InvalidStatisticsField(violations=wrong.found)
        now = await self._current()
        begin = int(place or "0")
        day, month = self._spans.day.first().models, self._spans.month.first().models
        models = [
            pb.ModelTotals(model=name, day=jobs - day.get(name, 0), month=jobs - month.get(name, 0), ever=jobs)
            for name, jobs in list(now.models.items())[begin : begin + size]
        ]
        more = len(now.models) > begin + size
        return pb.ListModelTotalsResponse(models=models, next_page_token=write_place(str(begin + size)) if more else "")

    async def leaders(self, request: pb.ListLeadersRequest) -> pb.ListLeadersResponse:
        """Owners by what they earned, most first; those who chose a public name by it."""
        wrong = Violations()
        size = wrong.page(request.page_size, "", MAX_LEADERS) or 10
        if wrong.found:
            raise InvalidStatisticsField(violations=wrong.found)
        async with self._naming:
            now = await self._current()
            if self._leaders is None or self._leaders[0] is not now:
                self._leaders = now, [await self._leader(total) for total in now.said.leaders]
            return pb.ListLeadersResponse(leaders=self._leaders[1][:size])

    async def _leader(self, total: ledger_pb2.OwnerTotal) -> pb.Leader:
        account = await self._store.account(total.account_id)
        name = account.display_name if account is not None and account.public else ""
        return pb.Leader(display_name=name, images_done=total.jobs, earned_mkudos=total.earned_mkudos)

    async def performance(self) -> pb.GetPerformanceResponse:
        """How busy the mesh is."""
        async with self._counting:
            known = self._performance
            if known is None or self._clock.monotonic() - known[0] >= FRESH_SECONDS:
                with told_outward():
                    known = self._performance = self._clock.monotonic(), await self._count()
            return known[1]

    async def _count(self) -> pb.GetPerformanceResponse:
        answer = pb.GetPerformanceResponse()
        for model in await self._catalogue.everything():
            answer.jobs_queued += model.jobs_queued
            answer.jobs_leased += model.jobs_leased
            answer.queued_milli_megapixel_steps += model.queued_milli_megapixel_steps
        question = scheduler_pb2.ListWorkersRequest(page_size=WORKERS_PAGE)
        for _ in range(MAX_WORKERS_PAGES):
            page = await self._scheduler.list_workers(question)
            for worker in page.workers:
                answer.workers_ready += worker.state == worker_pb2.WORKER_STATE_READY
                answer.workers_busy += worker.state == worker_pb2.WORKER_STATE_BUSY
                answer.workers_paused += worker.state == worker_pb2.WORKER_STATE_PAUSED
            question.page_token = page.next_page_token
            if not question.page_token:
                break
        return answer

    async def _current(self) -> Seen:
        async with self._asking:
            seen = self._seen
            if seen is None or self._clock.monotonic() - seen.monotonic >= FRESH_SECONDS:
                with told_outward():
                    said = await self._ledger.statistics(MAX_LEADERS)
                models = {total.model: total.jobs for total in said.models}
                seen = self._seen = Seen(said, models, self._clock.now(), self._clock.monotonic())
                for window in (self._spans.minute, self._spans.hour, self._spans.day, self._spans.month):
                    window.add(seen.monotonic, seen)
            return seen


def _between(before: ledger_pb2.GetStatisticsResponse, now: ledger_pb2.GetStatisticsResponse) -> pb.Totals:
    return pb.Totals(
        images_done=now.jobs_settled - before.jobs_settled,
        images_failed=now.jobs_released - before.jobs_released,
        minted_mkudos=now.minted_mkudos - before.minted_mkudos,
        burned_mkudos=now.burned_mkudos - before.burned_mkudos,
        subsidised_mkudos=now.subsidised_mkudos - before.subsidised_mkudos,
    )
