"""One leads; the next waits, and leads as soon as the first has gone."""

from __future__ import annotations

import asyncio
from pathlib import Path

from horde.services.clock import SystemClock
from horde.services.leadership import in_charge
from horde.testkit.waiting import HANG_SECONDS


async def test_a_standby_waits_for_its_turn(postgresql_url: str) -> None:
    leading, done = asyncio.Event(), asyncio.Event()

    async def second() -> None:
        async with in_charge(postgresql_url, 7, SystemClock()):
            leading.set()
            await done.wait()

    async with in_charge(postgresql_url, 7, SystemClock()):
        standby = asyncio.create_task(second())
        await asyncio.wait([standby], timeout=0.3)
        assert not leading.is_set()
    await asyncio.wait_for(leading.wait(), HANG_SECONDS)
    done.set()
    await standby


async def test_on_one_machine_the_process_leads(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    async with in_charge(url, 7, SystemClock()), in_charge(url, 7, SystemClock()):
        pass
