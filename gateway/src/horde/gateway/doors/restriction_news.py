"""Telling owners' webhooks of restrictions of their workers.

What is told is read from where restrictions are kept, so that none is missed when this process or the webhooks service
goes away in between: after a start those of the last days are told again, each under the id by which it is known there.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

from horde.gateway.core.restrictions import Restriction, TargetKind
from horde.gateway.doors.enforcing import MARGIN, Enforcement
from horde.gateway.doors.standing_wire import restriction_message
from horde.gateway.neighbours.scheduler import SchedulerClient
from horde.gateway.neighbours.webhooks import WebhooksClient
from horde.gateway.store.port import RulingStore
from horde.internal.scheduler.v1 import scheduler_service_pb2 as scheduler_pb2
from horde.services.clock import Clock
from horde.services.errors import NotFound, ServiceError
from horde.services.telemetry import get_logger

log = get_logger(__name__)

KNOWN_THERE: Final = timedelta(days=6)
"""The webhooks service knows for seven days what it was told, and tells nobody twice."""
AGAIN_SECONDS: Final = 30.0
"""Until it is tried again, when a neighbour was away; and at most between two looks."""


class RestrictionNews:
    """Tells what is new."""

    def __init__(
        self,
        store: RulingStore,
        scheduler: SchedulerClient,
        webhooks: WebhooksClient,
        enforcement: Enforcement,
        clock: Clock,
    ) -> None:
        self._store = store
        self._scheduler = scheduler
        self._webhooks = webhooks
        self._clock = clock
        self._told_until = clock.now() - KNOWN_THERE
        self._told: set[str] = set()
        """Since then."""
        self._wanted = asyncio.Event()
        enforcement.on_change(self._wanted.set)

    async def run(self) -> None:
        """Tell, whenever there is something new, until cancelled."""
        while True:
            self._wanted.clear()
            try:
                await self._tell()
            except ServiceError as error:
                log.warning("restrictions could not be told", error=str(error))
            timer = self._clock.call_later(AGAIN_SECONDS, self._wanted.set)
            try:
                await self._wanted.wait()
            finally:
                timer.cancel()

    async def _tell(self) -> None:
        now = self._clock.now()
        found = await self._store.restrictions_changed(self._told_until)
        for restriction in found:
            if restriction.restriction_id not in self._told and restriction.holds(now):
                if owner := await self._owner(restriction):
                    await self._webhooks.tell_restriction(owner, restriction_message(restriction))
                self._told.add(restriction.restriction_id)
        self._told &= {restriction.restriction_id for restriction in found}
        # Clocks of gateways differ: what another one wrote may carry an earlier time.
        self._told_until = now - MARGIN

    async def _owner(self, restriction: Restriction) -> str:
        """Whose workers it is about; the empty text where it is about none, or about one that nobody knows any more."""
        match restriction.target.kind:
            case TargetKind.OWNER:
                return restriction.target.name
            case TargetKind.WORKER:
                request = scheduler_pb2.GetWorkerRequest(worker_id=restriction.target.name)
                try:
                    return (await self._scheduler.get_worker(request)).worker.owner_account_id
                except NotFound:
                    return ""
        return ""
