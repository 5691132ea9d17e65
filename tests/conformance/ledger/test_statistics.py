"""Statistics follow the entries by themselves, resume where they were, and are rebuilt from nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from horde.ledger.core.economy import KUDOS
from horde.ledger.store.statistics import add_up, follow
from horde.ledger.store.statistics_sql import SqlStatistics, sql_statistics
from horde.testkit.ledger import awarded, corrected, gift, held, opened, released, settled, standing, uptime


async def caught_up(ledger: Any, statistics: SqlStatistics) -> Any:
    """Follow until all is added."""
    task = asyncio.create_task(follow(ledger.store, ledger.writer, statistics, ledger.clock))
    while (await statistics.cursor()) < ledger.writer.sequence:
        await ledger.clock.advance(1)
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return await statistics.read(10, 10)


async def test_statistics_add_up_and_resume(ledger: Any, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'statistics.db'}"
    await ledger.apply(opened("ann"), awarded("ann", 100 * KUDOS), standing("bob", trusted=True), uptime("bob", 5))
    await ledger.apply(held("g", "ann", count=3), settled("g", "bob"), settled("g", "cat", index=1), released("g", 2))
    async with sql_statistics(url) as statistics:
        read = await caught_up(ledger, statistics)
        assert [(total.name, total.jobs, total.earned) for total in read.leaders] == [
            ("bob", 1, 62 * KUDOS), ("cat", 1, 10 * KUDOS),
        ]  # fmt: skip
        assert [(total.name, total.jobs, total.earned) for total in read.models] == [("paintbox", 2, 20 * KUDOS)]
        assert read.totals["minted"] == 152 * KUDOS
        assert read.totals["burned"] == 6 * KUDOS
        assert (read.totals["jobs_settled"], read.totals["jobs_released"]) == (2, 1)
    await ledger.apply(
        gift("ann", "bob", KUDOS),
        opened("dan"),
        held("poor", "dan"),
        settled("poor", "cat"),
        corrected(settled("g", "bob")),
    )
    async with sql_statistics(url) as statistics, sql_statistics("sqlite://") as anew:
        read = await caught_up(ledger, statistics)
        assert read == await caught_up(ledger, anew)
        assert read.totals["subsidised"] == 13 * KUDOS
        assert read.totals["burned"] == 6 * KUDOS
        assert read.sequence == ledger.writer.sequence


async def test_a_step_is_added_once(tmp_path: Path) -> None:
    body = {"seq": 1, "kind": "AWARD", "op": {}, "transfers": [["mint", "spend/a", 5, 8]]}
    async with sql_statistics(f"sqlite:///{tmp_path / 's.db'}") as statistics:
        for _ in range(2):
            await statistics.add(0, add_up([body]))
        assert (await statistics.read(1, 1)).totals["minted"] == 5
