"""A million random operations with the model beside them: not one milli-kudo is made or lost. `make soak-ledger`.

The operations come out of a small world, so repeats, conflicts, refusals and all endings are common. The writer is
restarted every so often, time passes, and at the end the journal is audited.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter

from horde.ledger.core.audit import audit
from horde.ledger.core.economy import KUDOS, Economy
from horde.ledger.core.entries import Entry, entry_of, parse
from horde.ledger.core.journal import Answer
from horde.ledger.core.operations import Event
from horde.ledger.store.port import LedgerStore
from horde.ledger.store.sql import sql_store
from horde.ledger.writer import Writer
from horde.testkit.ledger_model import Observer, some_event
from horde.testkit.loopback import ManualClock
from horde.testkit.postgres import throwaway_postgres

BATCH = 200
RESTART_EVERY = 400
ECONOMY = Economy(
    promotion_escrow_mkudos=300 * KUDOS,
    subsidised_earning_per_day_mkudos=200 * KUDOS,
    anonymous_budget_per_day_mkudos=5_000 * KUDOS,
    gift_min_mkudos=1,
)


async def soak(store: LedgerStore, operations: int, seed: int) -> Counter[str]:
    chance, clock, observer, seen = random.Random(seed), ManualClock(), Observer(), Counter[str]()
    done = batches = 0
    began = time.perf_counter()
    while done < operations:
        async with Writer(store, ECONOMY, clock) as writer:
            for _ in range(RESTART_EVERY):
                world = 100 + done // 4
                events = [some_event(chance, 50, world) for _ in range(BATCH)]
                answers = await _apply(writer, events)
                rows = await store.entries_after(observer.model.sequence, BATCH * 3)
                observer.told(events, answers, [entry_of(parse(row.body), row.block) for row in rows])
                seen.update(_word(answer) for answer in answers)
                clock.jump(chance.choice([0.5, 30, 600]))
                done, batches = done + BATCH, batches + 1
                if batches % 250 == 0:
                    rate = done / (time.perf_counter() - began)
                    print(f"  {done:,} operations, {observer.model.sequence:,} entries, {rate:,.0f}/s", flush=True)
                if done >= operations:
                    break
    report = await store.audit(lambda stored: audit(stored))
    assert report.finding is None, report.finding
    assert report.sum_mkudos == 0
    print(
        f"audited: {report.entries:,} entries, {report.transfers:,} transfers, the sum is {report.sum_mkudos}",
        flush=True,
    )
    return seen


async def _apply(writer: Writer, events: list[Event]) -> list[Answer]:
    """From some callers at once, each in order."""
    calls = [writer.apply(events[start : start + 50]) for start in range(0, len(events), 50)]
    return [answer for answers in await asyncio.gather(*calls) for answer in answers]


def _word(answer: Answer) -> str:
    if answer.repeated:
        return "repeated"
    return "applied" if isinstance(answer.result, Entry) else answer.result.reason


async def _sql(url: str, operations: int, seed: int) -> Counter[str]:
    async with sql_store(url) as store:
        return await soak(store, operations, seed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--store", choices=["sqlite", "postgresql"], default="sqlite")
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    if asked.store == "sqlite":
        with tempfile.TemporaryDirectory(prefix="ledger-soak-") as folder:
            seen = asyncio.run(_sql(f"sqlite:///{folder}/ledger.db", asked.operations, asked.seed))
    else:
        with throwaway_postgres() as server:
            seen = asyncio.run(_sql(server.database(), asked.operations, asked.seed))
    print("; ".join(f"{word} {count:,}" for word, count in seen.most_common()))
    print(f"{asked.operations:,} operations, 0 kudos made or lost")
    return 0


if __name__ == "__main__":
    sys.exit(main())
