"""One leads; the next waits, and leads as soon as the first has gone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psycopg
import pytest

from horde.services.clock import SystemClock
from horde.services.leadership import in_charge
from horde.services.lifecycle import AnotherLeads, CannotStart, LoopDied
from horde.testkit.postgres import older
from horde.testkit.relay import relay
from horde.testkit.waiting import HANG_SECONDS, ticks


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


async def test_who_is_cut_off_leads_no_more_and_hears_of_it_when_he_is_back(postgresql_url: str) -> None:
    address, _, socket = postgresql_url.partition("?host=")
    leading, done = asyncio.Event(), asyncio.Event()

    async def second() -> None:
        async with in_charge(postgresql_url, 7, SystemClock()):
            leading.set()
            await done.wait()

    async with relay(f"{socket}/.s.PGSQL.5432") as line:
        cut_off = address.replace("postgres@/", f"postgres@{line.address}/")
        with pytest.RaisesGroup(pytest.RaisesExc(LoopDied, check=lambda e: isinstance(e.__cause__, AnotherLeads))):
            async with in_charge(cut_off, 7, SystemClock()):
                standby = asyncio.create_task(second())
                await asyncio.wait([standby], timeout=0.3)
                assert not leading.is_set()
                line.silence()
                await asyncio.wait_for(leading.wait(), HANG_SECONDS)
                line.speak()
                await asyncio.wait_for(asyncio.Event().wait(), HANG_SECONDS)
    done.set()
    await standby


async def test_a_server_that_cannot_end_a_silent_session_is_refused_at_the_start(postgresql_url: str) -> None:
    async with older(postgresql_url, 13) as url:
        with pytest.raises(CannotStart, match=r"PostgreSQL 13\.\d+ is too old: 14 or newer is needed"):
            async with in_charge(url, 7, SystemClock()):
                raise AssertionError("it leads")


async def test_what_the_leader_before_had_begun_to_write_is_ended(postgresql_url: str) -> None:
    """In the middle of many statements the database waits for more of them, for ever."""
    async with await psycopg.AsyncConnection.connect(postgresql_url, autocommit=True) as looking:
        await looking.execute("CREATE TABLE leader AS SELECT 1 AS epoch")
        still = await psycopg.AsyncConnection.connect(postgresql_url)
        with pytest.raises(psycopg.OperationalError):
            async with still.pipeline():
                await still.execute("UPDATE leader SET epoch = 2")
                still.pgconn.send_flush_request()
                still.pgconn.flush()
                await _waited_for(looking, still.info.backend_pid)
                async with in_charge(postgresql_url, 7, SystemClock()):
                    await asyncio.wait_for(looking.execute("UPDATE leader SET epoch = 3"), HANG_SECONDS)
        await still.close()


async def _waited_for(looking: psycopg.AsyncConnection, pid: int) -> None:
    """Until the database has taken in what was written, and waits for more."""
    begun = "SELECT FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND wait_event = 'ClientRead' AND pid = %s"
    for _ in ticks():
        if await (await looking.execute(begun, (pid,))).fetchone() is not None:
            return
    raise AssertionError("it was not written")
