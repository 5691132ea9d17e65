"""What the ledger refuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.service.ledger.test_servicer import holds, settle
from tests.service.reasons.provoking import LEDGER, item, provokes, refusal

from horde.internal.ledger.v1 import ledger_service_pb2 as api
from horde.internal.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from horde.ledger.core.economy import KUDOS, Economy
from horde.ledger.core.permissions import METHODS
from horde.ledger.doors.service import LedgerService
from horde.ledger.doors.servicer import ledger_registration
from horde.ledger.store.sql import sql_store
from horde.ledger.store.statistics_sql import sql_statistics
from horde.ledger.writer import Writer
from horde.services.errors import ServiceError
from horde.services.identity import AllowList
from horde.testkit.ledger import corrected, held, some_id
from horde.testkit.ledger_wire import event_message
from horde.testkit.loopback import ManualClock, loopback


class Books:
    """A ledger, as the gateway and as the scheduler see it."""

    def __init__(self, gateway: Any, scheduler: Any) -> None:
        self.gateway = gateway
        self.scheduler = scheduler

    async def apply(self, *events: api.Event) -> Any:
        """Apply events; the last one's answer."""
        for event in events:
            kind = event.WhichOneof("operation")
            stub = self.gateway if kind in ("award", "gift", "correct", "set_standing") else self.scheduler
            (outcome,) = (await stub.Apply(api.ApplyRequest(events=[event]))).outcomes
        return outcome

    async def refused(self, *events: api.Event) -> ServiceError:
        """Apply events; what the last is refused with."""
        return item((await self.apply(*events)).error)


@asynccontextmanager
async def books(folder: Path, *, replaced: bool = False) -> AsyncIterator[Books]:
    """A ledger; `replaced`: another writer came after it."""
    clock, economy, url = ManualClock(), Economy(floor_age_s=0), f"sqlite:///{folder / 'l.db'}"
    async with (
        sql_store(url) as store,
        sql_statistics(f"sqlite:///{folder / 's.db'}") as statistics,
        Writer(store, economy, clock) as writer,
    ):
        service = LedgerService(writer, store, economy, clock, statistics)
        async with (
            loopback([ledger_registration(service)], caller="scheduler", allow=AllowList(METHODS)) as wire,
            wire.dial("gateway") as channel,
        ):
            made = Books(LedgerServiceStub(channel), LedgerServiceStub(wire.channel))
            if not replaced:
                yield made
                return
            async with sql_store(url) as other, Writer(other, economy, clock):
                yield made


def award(name: str, amount: int) -> api.Event:
    operation = api.Award(account_id=name, amount_mkudos=amount, awarded_by="op", reason="for a test")
    return api.Event(event_id=some_id(f"award {name}"), award=operation)


def gift(giver: str, taker: str, amount: int) -> api.Event:
    operation = api.Gift(from_account_id=giver, to_account_id=taker, amount_mkudos=amount)
    return api.Event(event_id=some_id(f"gift {giver} {taker}"), gift=operation)


@provokes(LEDGER, "INSUFFICIENT_KUDOS")
async def more_than_one_has(folder: Path) -> ServiceError:
    async with books(folder) as ledger:
        return await ledger.refused(award("ann", 5 * KUDOS), gift("ann", "bob", 6 * KUDOS))


@provokes(LEDGER, "BUDGET_SPENT")
async def more_than_the_day_has(folder: Path) -> ServiceError:
    async with books(folder) as ledger:
        event = holds("anonymous", "anonymous")
        event.place_holds.payer.anonymous_digest = b"\1" * 32
        parts = event.place_holds.holds[0].parts
        parts.price_mkudos, parts.total_mkudos = 10**9, 10**9 + 3_000
        return await ledger.refused(event)


@provokes(LEDGER, "EVENT_CONFLICT")
async def the_same_id_for_another_event(folder: Path) -> ServiceError:
    async with books(folder) as ledger:
        return await ledger.refused(holds(), holds("cat"))


@provokes(LEDGER, "HOLD_NOT_FOUND")
async def pay_without_a_hold(folder: Path) -> ServiceError:
    async with books(folder) as ledger:
        return await ledger.refused(settle())


@provokes(LEDGER, "AMOUNT_EXCEEDS_HOLD")
async def pay_more_than_was_held(folder: Path) -> ServiceError:
    async with books(folder) as ledger:
        event = settle()
        event.settle.earned_mkudos = 10**9
        return await ledger.refused(holds(), event)


@provokes(LEDGER, "INVALID_FIELD")
async def an_event_of_nothing(folder: Path) -> ServiceError:
    async with books(folder) as ledger:
        return await ledger.refused(api.Event(event_id=some_id("x")))


@provokes(LEDGER, "SELF_GIFT")
async def a_gift_to_oneself(folder: Path) -> ServiceError:
    async with books(folder) as ledger:
        return await ledger.refused(award("ann", 5 * KUDOS), gift("ann", "ann", KUDOS))


@provokes(LEDGER, "LIMIT_REACHED")
async def a_gift_that_is_too_small(folder: Path) -> ServiceError:
    async with books(folder) as ledger:
        return await ledger.refused(award("ann", 5 * KUDOS), gift("ann", "bob", KUDOS - 1))


@provokes(LEDGER, "ENTRY_NOT_FOUND")
async def correct_what_never_was(folder: Path) -> ServiceError:
    async with books(folder) as ledger:
        return await refusal(ledger.gateway.ProveEntry(api.ProveEntryRequest(event_id=some_id("never"))))


@provokes(LEDGER, "NOT_CORRECTABLE")
async def correct_a_hold(folder: Path) -> ServiceError:
    async with books(folder) as ledger:
        event = held("g", "ann")
        return await ledger.refused(event_message(event), event_message(corrected(event)))


@provokes(LEDGER, "WRITER_REPLACED")
async def a_writer_that_was_replaced(folder: Path) -> ServiceError:
    asked: list[asyncio.Task[ServiceError]] = []
    try:
        async with books(folder, replaced=True) as ledger:
            asked.append(asyncio.create_task(ledger.refused(holds())))
            # The writer's end cancels this block, but not the call, which is answered before.
            try:
                await asyncio.wait(asked)
            finally:
                await asyncio.wait(asked)
    except ExceptionGroup:
        pass  # It ends, as it should.
    try:
        return await asked[0]
    except ServiceError as error:
        return error
