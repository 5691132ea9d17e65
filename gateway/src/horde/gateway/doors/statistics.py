"""What the mesh does, in numbers that anybody may see and that may be some seconds old.

What was painted and paid is the ledger's to count, in all and of late; how busy the mesh is says the scheduler.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from horde.api.statistics.v1 import statistics_service_pb2 as pb
from horde.api.worker.v1 import worker_pb2
from horde.gateway.core.errors import InvalidStatisticsField
from horde.gateway.core.pages import read_place, write_place
from horde.gateway.core.validation import Violations
from horde.gateway.doors import wire
from horde.gateway.doors.catalogue import Catalogue
from horde.gateway.doors.listing import bad_page_token
from horde.gateway.neighbours.ledger import LedgerClient
from horde.gateway.neighbours.refusals import told_outward
from horde.gateway.neighbours.scheduler import SchedulerClient
from horde.gateway.store.port import IdentityStore
from horde.internal.ledger.v1 import ledger_service_pb2 as ledger_pb2
from horde.internal.scheduler.v1 import scheduler_service_pb2 as scheduler_pb2
from horde.services.clock import Clock
from horde.services.errors import ServiceError, Unimplemented

FRESH_SECONDS = 15.0
MAX_LEADERS = 100
MAX_MODELS_PAGE = 500
WORKERS_PAGE = 100
MAX_WORKERS_PAGES = 100


@dataclass(frozen=True, slots=True)
class Seen:
    """What the ledger said, and when."""

    said: ledger_pb2.GetStatisticsResponse
    at: datetime
    monotonic: float


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
        self._seen: Seen | None = None
        self._leaders: tuple[Seen, list[pb.Leader]] | None = None
        self._performance: tuple[float, pb.GetPerformanceResponse] | None = None
        # One question at a time: who comes meanwhile gets the same answer.
        self._asking, self._counting, self._naming = asyncio.Lock(), asyncio.Lock(), asyncio.Lock()

    async def totals(self) -> pb.GetTotalsResponse:
        """What was done in each span."""
        now = await self._current()
        figures = now.said
        ever = ledger_pb2.PeriodTotals(
            jobs_settled=figures.jobs_settled,
            jobs_released=figures.jobs_released,
            minted_mkudos=figures.minted_mkudos,
            burned_mkudos=figures.burned_mkudos,
            subsidised_mkudos=figures.subsidised_mkudos,
            jobs_shared=figures.jobs_shared,
            milli_megapixel_steps=figures.milli_megapixel_steps,
        )
        return pb.GetTotalsResponse(
            minute=_totals(figures.minute),
            hour=_totals(figures.hour),
            day=_totals(figures.day),
            month=_totals(figures.month),
            ever=_totals(ever),
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
        models = [
            pb.ModelTotals(model=total.model, day=total.day_jobs, month=total.month_jobs, ever=total.jobs)
            for total in now.said.models[begin : begin + size]
        ]
        more = len(now.said.models) > begin + size
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
        with suppress(ServiceError):  # The ledger is away: how busy the mesh is can be said all the same.
            done = (await self._current()).said.minute
            answer.milli_megapixel_steps_last_minute = done.milli_megapixel_steps
        with suppress(Unimplemented):  # A scheduler that is older than this gateway.
            waits = await self._scheduler.waits()
            if waits.HasField("p50"):
                answer.wait_p50.CopyFrom(waits.p50)
                answer.wait_p90.CopyFrom(waits.p90)
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
                    figures = await self._ledger.statistics(MAX_LEADERS)
                seen = self._seen = Seen(figures, self._clock.now(), self._clock.monotonic())
            return seen


def _totals(counted: ledger_pb2.PeriodTotals) -> pb.Totals:
    return pb.Totals(
        images_done=counted.jobs_settled,
        images_failed=counted.jobs_released,
        images_shared=counted.jobs_shared,
        milli_megapixel_steps=counted.milli_megapixel_steps,
        minted_mkudos=counted.minted_mkudos,
        burned_mkudos=counted.burned_mkudos,
        subsidised_mkudos=counted.subsidised_mkudos,
    )
