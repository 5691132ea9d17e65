"""What the gateway asks of the ledger: events of accounts, balances, statements.

A balance is needed for a weight and for a hint, never for a decision: the ledger itself refuses what cannot be paid. So
a balance may be some seconds old, and nobody waits long for one.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from grpc import aio

from horde.api.ledger.v1 import ledger_pb2
from horde.internal.ledger.v1 import ledger_service_pb2 as service_pb2
from horde.internal.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from horde.services import deadlines
from horde.services.batching import Batcher
from horde.services.clock import Clock
from horde.services.errors import ServiceError
from horde.services.status import from_status

MAX_ITEMS = 128
INFLIGHT = 2
FRESH_SECONDS = 10.0
"""How old a balance may be without being asked for again."""
PATIENCE_SECONDS = 0.15
"""How long somebody waits for a balance that is not known yet."""
MAX_BALANCES = 10_000


class LedgerClient:
    """The ledger, as the gateway sees it. Every method raises ServiceErrors of the ledger, and Unavailable."""

    def __init__(self, channel: aio.Channel) -> None:
        self._stub: Any = LedgerServiceStub(channel)
        self._events = Batcher(self._apply, max_items=MAX_ITEMS, max_inflight=INFLIGHT)
        self._balances = Batcher(self._get_balances, max_items=MAX_ITEMS, max_inflight=INFLIGHT)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[LedgerClient]:
        """Take calls for as long as the block."""
        async with self._events, self._balances:
            yield self

    async def apply(self, event: service_pb2.Event) -> ledger_pb2.Entry:
        """Have one event applied; durable when it answers."""
        return await self._events.submit(event)

    async def balance(self, account_id: str, kind: ledger_pb2.LedgerAccountKind.ValueType) -> ledger_pb2.Balance:
        """What one ledger account holds now."""
        return await self._balances.submit(ledger_pb2.AccountRef(kind=kind, account_id=account_id))

    async def owner(self, account_id: str) -> service_pb2.GetOwnerResponse:
        """How an account stands there, and what trust needs."""
        answer: service_pb2.GetOwnerResponse = await self._stub.GetOwner(
            service_pb2.GetOwnerRequest(account_id=account_id)
        )
        return answer

    async def entries(self, request: service_pb2.ListEntriesRequest) -> service_pb2.ListEntriesResponse:
        """A page of a statement."""
        answer: service_pb2.ListEntriesResponse = await self._stub.ListEntries(request)
        return answer

    async def audit(self, request: service_pb2.AuditRequest) -> service_pb2.AuditResponse:
        """Have the books checked; may take minutes."""
        answer: service_pb2.AuditResponse = await self._stub.Audit(request, timeout=600)
        return answer

    async def statistics(self, leaders: int) -> service_pb2.GetStatisticsResponse:
        """What all entries add up to, with so many owners who earned most."""
        answer: service_pb2.GetStatisticsResponse = await self._stub.GetStatistics(
            service_pb2.GetStatisticsRequest(leaders=leaders)
        )
        return answer

    async def _apply(self, events: Sequence[service_pb2.Event]) -> Sequence[ledger_pb2.Entry | Exception]:
        answer = await self._stub.Apply(service_pb2.ApplyRequest(events=events))
        return [
            outcome.entry if outcome.WhichOneof("result") == "entry" else from_status(outcome.error)
            for outcome in answer.outcomes
        ]

    async def _get_balances(self, refs: Sequence[ledger_pb2.AccountRef]) -> Sequence[ledger_pb2.Balance | Exception]:
        answer = await self._stub.GetBalances(service_pb2.GetBalancesRequest(accounts=refs))
        balances: Sequence[ledger_pb2.Balance] = answer.balances
        return list(balances)


class Balances:
    """Balances of spend accounts, some seconds old."""

    def __init__(self, ledger: LedgerClient, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._known: OrderedDict[str, tuple[ledger_pb2.Balance, float]] = OrderedDict()
        self._asked: dict[str, asyncio.Task[None]] = {}

    async def recent(self, account_id: str) -> ledger_pb2.Balance | None:
        """The balance, as it was lately; None if it cannot be had soon. An old one is told while a new one comes."""
        known = self._known.get(account_id)
        if known is not None and self._clock.monotonic() - known[1] <= FRESH_SECONDS:
            return known[0]
        asked = self._asking(account_id)
        if known is None:
            return await self._when_told(account_id, asked)
        return known[0]

    async def current(self, account_id: str) -> ledger_pb2.Balance | None:
        """The balance as it is now, for somebody who is shown it; an older one if the ledger is late."""
        return await self._when_told(account_id, self._asking(account_id))

    async def _when_told(self, account_id: str, asked: asyncio.Task[None]) -> ledger_pb2.Balance | None:
        await asyncio.wait([asked], timeout=PATIENCE_SECONDS)
        known = self._known.get(account_id)
        return None if known is None else known[0]

    def _asking(self, account_id: str) -> asyncio.Task[None]:
        asked = self._asked.get(account_id)
        if asked is None:
            with deadlines.without_deadline():
                asked = self._asked[account_id] = asyncio.create_task(self._ask(account_id))
            asked.add_done_callback(lambda task: self._asked.pop(account_id, None))
        return asked

    def changed(self, account_id: str) -> None:
        """Forget what is known: something was just moved here."""
        self._known.pop(account_id, None)

    async def _ask(self, account_id: str) -> None:
        began = self._clock.monotonic()
        try:
            balance = await self._ledger.balance(account_id, ledger_pb2.LEDGER_ACCOUNT_KIND_SPEND)
        except ServiceError:
            return
        self._known[account_id] = (balance, began)
        self._known.move_to_end(account_id)
        if len(self._known) > MAX_BALANCES:
            self._known.popitem(last=False)
