"""Statistics follow the entries by themselves, resume where they were, and are rebuilt from nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from sqlalchemy import select

from horde.ledger.core.economy import KUDOS
from horde.ledger.core.entries import parse
from horde.ledger.store.statistics import add_up, follow
from horde.ledger.store.statistics_sql import TIMES, SqlStatistics, sql_statistics
from horde.testkit.ledger import awarded, corrected, gift, held, opened, released, settled, standing, uptime


async def caught_up(ledger: Any, statistics: SqlStatistics) -> Any:
    """Follow until all is added."""
    task = asyncio.create_task(follow(ledger.store, ledger.writer, statistics, ledger.clock))
    while (await statistics.cursor()) < ledger.writer.sequence:
        await ledger.clock.advance(1)
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return await statistics.read(10, 10, microseconds(ledger))


def microseconds(ledger: Any) -> int:
    return int(ledger.clock.now().timestamp() * 1_000_000)


async def test_statistics_add_up_and_resume(ledger: Any, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'statistics.db'}"
    await ledger.apply(opened("ann"), awarded("ann", 100 * KUDOS), standing("bob", trusted=True), uptime("bob", 5))
    await ledger.apply(
        held("g", "ann", count=3), settled("g", "bob", shared=True), settled("g", "cat", index=1), released("g", 2)
    )
    async with sql_statistics(url) as statistics:
        read = await caught_up(ledger, statistics)
        assert [(total.name, total.jobs, total.earned) for total in read.leaders] == [
            ("bob", 1, 62 * KUDOS), ("cat", 1, 10 * KUDOS),
        ]  # fmt: skip
        assert [(total.name, total.jobs, total.earned) for total in read.models] == [("paintbox", 2, 20 * KUDOS)]
        assert read.totals["minted"] == 152 * KUDOS
        assert read.totals["burned"] == 6 * KUDOS
        assert (read.totals["jobs_settled"], read.totals["jobs_released"]) == (2, 1)
        assert (read.totals["shared"], read.totals["work"]) == (1, 20_000)
        assert read.periods["minute"]["work"] == read.periods["month"]["work"] == 20_000
    await ledger.apply(
        gift("ann", "bob", KUDOS),
        opened("dan"),
        held("poor", "dan"),
        settled("poor", "cat"),
        corrected(settled("g", "bob")),
    )
    async with sql_statistics(url) as statistics, sql_statistics("sqlite://") as anew:
        await caught_up(ledger, statistics)
        await caught_up(ledger, anew)
        now_us = microseconds(ledger)
        read = await statistics.read(10, 10, now_us)
        assert read == await anew.read(10, 10, now_us)
        assert read.totals["subsidised"] == 13 * KUDOS
        assert read.totals["burned"] == 6 * KUDOS
        assert read.sequence == ledger.writer.sequence


async def test_a_step_is_added_once(tmp_path: Path) -> None:
    body = {"seq": 1, "kind": "AWARD", "at": 0, "op": {}, "transfers": [["mint", "spend/a", 5, 8]]}
    async with sql_statistics(f"sqlite:///{tmp_path / 's.db'}") as statistics:
        for _ in range(2):
            await statistics.add(0, add_up([body]))
        assert (await statistics.read(1, 1, 0)).totals["minted"] == 5


async def test_what_happened_lately_is_told_by_when_it_was_entered_also_by_a_process_that_begins_now(
    ledger: Any, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'statistics.db'}"

    async def late(statistics: SqlStatistics) -> tuple[dict[str, int], dict[str, int]]:
        after = await statistics.cursor()
        rows = await ledger.store.entries_after(after, 100)
        if rows:
            await statistics.add(after, add_up(parse(row.body) for row in rows))
        read = await statistics.read(10, 10, microseconds(ledger))
        done = {name: totals["jobs_settled"] for name, totals in read.periods.items()}
        return done, {name: models["paintbox"] for name, models in read.model_periods.items()}

    await ledger.apply(opened("ann"), awarded("ann", 1_000 * KUDOS))
    await ledger.apply(held("g", "ann", count=9), settled("g", "bob"))
    async with sql_statistics(url) as statistics:
        assert (await late(statistics))[0] == {"minute": 1, "hour": 1, "day": 1, "month": 1}
        await ledger.clock.advance(130.0)
        await ledger.apply(settled("g", "bob", index=1))
        assert (await late(statistics))[0] == {"minute": 1, "hour": 2, "day": 2, "month": 2}
    await ledger.clock.advance(2 * 3_600.0)
    async with sql_statistics(url) as statistics, sql_statistics("sqlite://") as anew:
        assert (await late(statistics)) == ({"minute": 0, "hour": 0, "day": 2, "month": 2}, {"day": 2, "month": 2})
        assert await late(anew) == await late(statistics)
        await ledger.clock.advance(26 * 3_600.0)
        await ledger.apply(settled("g", "bob", index=2))
        assert (await late(statistics)) == ({"minute": 1, "hour": 1, "day": 1, "month": 3}, {"day": 1, "month": 3})


async def test_what_no_period_reaches_is_not_kept(tmp_path: Path) -> None:
    async with sql_statistics(f"sqlite:///{tmp_path / 's.db'}") as statistics:
        for day in range(80):
            at = (day * 86_400 + 1_700_000_000) * 1_000_000
            body = {"seq": day + 1, "kind": "AWARD", "at": at, "op": {}, "transfers": [["mint", "spend/a", 5, 8]]}
            await statistics.add(day, add_up([body]))
        kept = await statistics._sql.read(lambda connection: connection.execute(select(TIMES)).all())
        assert len(kept) <= 32 + 1
        assert (await statistics.read(1, 1, at)).periods["month"]["minted"] == 31 * 5
