"""The command that finds and releases the holds of a scheduler that has lost its memory."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from horde.ledger import orphans
from horde.ledger.core import errors
from horde.ledger.core.accounts import DAY_US
from horde.ledger.core.economy import Economy
from horde.ledger.core.entries import Entry
from horde.ledger.core.permissions import METHODS
from horde.ledger.doors.service import LedgerService
from horde.ledger.doors.servicer import ledger_registration
from horde.ledger.store.memory import MemoryStore
from horde.ledger.store.statistics_sql import sql_statistics
from horde.ledger.writer import Writer
from horde.services.identity import AllowList
from horde.testkit.ledger import awarded, held, released
from horde.testkit.loopback import Loopback, ManualClock, loopback


@asynccontextmanager
async def ledger(clock: ManualClock) -> AsyncIterator[tuple[Loopback, Writer, MemoryStore]]:
    store, economy = MemoryStore(), Economy()
    async with sql_statistics("sqlite://") as statistics, Writer(store, economy, clock) as writer:
        service = LedgerService(writer, store, economy, clock, statistics)
        async with loopback(
            [ledger_registration(service)], caller="operator", allow=AllowList(METHODS), errors=errors.ALL,
            farewell=writer.farewell,
        ) as made:  # fmt: skip
            yield made, writer, store


async def run(made: Loopback, folder: Path, *arguments: str) -> int:
    key_file = folder / "run.key"
    key_file.write_bytes(made.key.hex().encode())
    key_file.chmod(0o600)
    options = argparse.Namespace(
        ledger=made.target, key_file=key_file, tls_authorities=None, older_than_days=2, release="release" in arguments,
        reason="its database was lost",
    )  # fmt: skip
    return await orphans.run(options)


async def test_orphans_are_listed_and_then_released_with_who_and_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = ManualClock()
    # The command goes by the machine's time of day, and so does this ledger, three days before.
    clock.jump((datetime.now(UTC) - timedelta(days=3) - clock.now()).total_seconds())
    async with ledger(clock) as (made, writer, store):
        await writer.apply([awarded("ann", 10**7), held("ended", "ann"), released("ended")])
        await writer.apply([held(f"lost {number}", "ann", count=2) for number in range(200)])
        clock.jump(3 * DAY_US / 1e6)
        await writer.apply([held("lives", "ann")])
        assert await run(made, tmp_path) == 0
        listed = capsys.readouterr().out
        assert listed.count("13.000 kudos  open") == 400
        assert "400 holds, 5200.000 kudos are held, 0 failed" in listed
        assert await run(made, tmp_path, "release") == 0
        assert "400 holds, 5200.000 kudos released, 0 failed" in capsys.readouterr().out
        assert await run(made, tmp_path, "release") == 0
        assert "0 holds" in capsys.readouterr().out
        (answer,) = await writer.apply([held("lives", "ann")])
        assert isinstance(answer.result, Entry)
        assert len(store._holds) == 1
        said = [event.body for event in store._events if '"kind":"RELEASE"' in event.body]
        assert sum("its database was lost (" in body for body in said) == 400


@pytest.mark.parametrize("arguments", [["--release"], ["--older-than-days", "1"]])
def test_what_would_take_kudos_from_living_jobs_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        orphans.main(arguments)
    assert ended.value.code == 2
    assert "must be at least" in capsys.readouterr().err or arguments == ["--release"]


def test_a_ledger_that_is_not_there_is_said_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert orphans.main(["--ledger", "192.0.2.1:1"]) == 2
    assert capsys.readouterr().err.startswith("192.0.2.1:1: ")
