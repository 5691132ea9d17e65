"""The ledger's gRPC face: decode, call, encode."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from horde.internal.ledger.v1 import ledger_service_pb2 as api
from horde.internal.ledger.v1 import ledger_service_pb2_grpc as grpc_api
from horde.ledger.core.permissions import SERVICE
from horde.ledger.doors import wire
from horde.ledger.doors.service import LedgerService
from horde.services.identity import current_caller
from horde.services.server import Registration


class LedgerServicer(grpc_api.LedgerServiceServicer):
    """`horde.internal.ledger.v1.LedgerService`."""

    def __init__(self, service: LedgerService) -> None:
        self._service = service

    async def Apply(self, request: api.ApplyRequest, context: Any) -> api.ApplyResponse:
        answers = await self._service.apply(current_caller(), [wire.event_of(event) for event in request.events])
        return api.ApplyResponse(outcomes=wire.outcome_messages(answers))

    async def GetBalances(self, request: api.GetBalancesRequest, context: Any) -> api.GetBalancesResponse:
        wanted = [wire.account_of(account) for account in request.accounts]
        return wire.balances_message(await self._service.balances(wanted, request.min_sequence))

    async def GetOwner(self, request: api.GetOwnerRequest, context: Any) -> api.GetOwnerResponse:
        return wire.owner_message(await self._service.owner(request.account_id))

    async def ListHolds(self, request: api.ListHoldsRequest, context: Any) -> api.ListHoldsResponse:
        before_us = wire.microseconds(request.placed_before)
        return wire.holds_message(*await self._service.holds(before_us, request.page_size, request.page_token))

    async def ListEntries(self, request: api.ListEntriesRequest, context: Any) -> api.ListEntriesResponse:
        entries, token = await self._service.statement(
            request.account_id, request.page_size, request.page_token, request.min_sequence
        )
        return api.ListEntriesResponse(entries=[wire.entry_message(entry) for entry in entries], next_page_token=token)

    async def GetEntries(self, request: api.GetEntriesRequest, context: Any) -> api.GetEntriesResponse:
        return api.GetEntriesResponse(outcomes=wire.outcome_messages(await self._service.entries(request.event_ids)))

    async def FollowEntries(
        self, request: api.FollowEntriesRequest, context: Any
    ) -> AsyncIterator[api.FollowEntriesResponse]:
        async for entries in self._service.follow(request.after_sequence):
            yield api.FollowEntriesResponse(entries=[wire.entry_message(entry) for entry in entries])

    async def Audit(self, request: api.AuditRequest, context: Any) -> api.AuditResponse:
        return wire.report_message(await self._service.audit(request.from_block))

    async def GetStatistics(self, request: api.GetStatisticsRequest, context: Any) -> api.GetStatisticsResponse:
        return wire.statistics_message(await self._service.statistics(request.leaders))

    async def ProveEntry(self, request: api.ProveEntryRequest, context: Any) -> api.ProveEntryResponse:
        return wire.proof_message(await self._service.prove(request.event_id))


def ledger_registration(service: LedgerService) -> Registration:
    """What `serving` takes."""
    return Registration(grpc_api.add_LedgerServiceServicer_to_server, LedgerServicer(service), SERVICE)
