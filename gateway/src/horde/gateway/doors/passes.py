"""Whose generation a pass opens."""

from __future__ import annotations

from horde.gateway.core.credentials import PassCredential
from horde.gateway.core.errors import PassUnknown
from horde.gateway.core.passes import Passes
from horde.gateway.core.requesters import Principal, Requester
from horde.gateway.neighbours.refusals import told_outward
from horde.gateway.neighbours.scheduler import SchedulerClient
from horde.internal.scheduler.v1 import scheduler_service_pb2 as scheduler_pb2
from horde.services.errors import NotFound


class PassHolders:
    """Those who come with a pass."""

    def __init__(self, scheduler: SchedulerClient, passes: Passes) -> None:
        self._scheduler = scheduler
        self._passes = passes

    async def principal(self, shown: PassCredential) -> Principal:
        """May do with one generation what its requester may; raises PassUnknown."""
        for generation in self._passes.candidates(shown.pass_id):
            try:
                with told_outward():
                    known = await self._scheduler.get(scheduler_pb2.GenerationRef(generation_id=generation))
            except NotFound:
                continue
            requester = Requester(known.requester.account_id, known.requester.anonymous_digest)
            return Principal(requester, scopes=frozenset(), pass_of=generation)
        raise PassUnknown
