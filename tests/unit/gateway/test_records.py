"""Whether an owner has a record is asked once, however many of his workers come, and not again for a while."""

from __future__ import annotations

import asyncio

from horde.api.ledger.v1 import ledger_pb2
from horde.gateway.neighbours.records import NEW_SECONDS, Records
from horde.services.errors import Unavailable
from horde.testkit.loopback import ManualClock


class Ledger:
    def __init__(self) -> None:
        self.asked = 0
        self.escrow = 0
        self.away = False

    async def balance(self, account_id: str, kind: ledger_pb2.LedgerAccountKind.ValueType) -> ledger_pb2.Balance:
        self.asked += 1
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable
        return ledger_pb2.Balance(posted_mkudos=self.escrow if kind == ledger_pb2.LEDGER_ACCOUNT_KIND_ESCROW else 0)


async def test_many_workers_of_a_new_owner_are_one_question() -> None:
    ledger, clock = Ledger(), ManualClock()
    records = Records(ledger, clock)
    assert not any(await asyncio.gather(*(records.has("new") for _ in range(256))))
    assert ledger.asked == 2, "spendable and escrow"
    assert not await records.has("new")
    assert ledger.asked == 2
    ledger.escrow = 1
    await clock.advance(NEW_SECONDS)
    assert await records.has("new")
    ledger.escrow = 0
    assert await records.has("new"), "who was known once stays known"
    assert ledger.asked == 4


async def test_what_a_ledger_that_is_away_did_not_say_is_asked_again() -> None:
    ledger = Ledger()
    records = Records(ledger, ManualClock())
    ledger.away, ledger.escrow = True, 1
    assert not await records.has("owner")
    ledger.away = False
    assert await records.has("owner")


async def test_whoever_asked_first_may_hang_up() -> None:
    ledger = Ledger()
    ledger.escrow = 1
    records = Records(ledger, ManualClock())
    first, second = (asyncio.ensure_future(records.has("owner")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second
