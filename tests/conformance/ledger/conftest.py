"""A ledger on each of its stores: in memory, SQLite, PostgreSQL. None is ever skipped."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from horde.ledger.core.accounts import AccountKind
from horde.ledger.core.economy import Economy
from horde.ledger.core.journal import Answer
from horde.ledger.core.operations import Event
from horde.ledger.doors.service import LedgerService
from horde.ledger.store.memory import MemoryStore
from horde.ledger.store.port import LedgerStore
from horde.ledger.store.sql import sql_store
from horde.ledger.store.statistics_sql import sql_statistics
from horde.ledger.writer import Writer
from horde.testkit.loopback import ManualClock


@dataclass
class Ledger:
    """A running ledger, called as whoever may."""

    service: LedgerService
    writer: Writer
    store: LedgerStore
    clock: ManualClock

    async def apply(self, *events: Event) -> list[Answer]:
        return await self.writer.apply(events)

    async def one(self, event: Event) -> Answer:
        return (await self.apply(event))[0]

    async def posted(self, account: str, kind: AccountKind = AccountKind.SPEND) -> int:
        return (await self.service.balances([(kind, account)], 0)).balances[0].posted


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LedgerStore]:
    if request.param == "memory":
        yield MemoryStore()
        return
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_url")
    async with sql_store(url) as opened:
        yield opened


@asynccontextmanager
async def running(store: LedgerStore, clock: ManualClock, economy: Economy | None = None) -> AsyncIterator[Ledger]:
    economy = economy or Economy()
    async with Writer(store, economy, clock) as writer, sql_statistics("sqlite://") as statistics:
        yield Ledger(LedgerService(writer, store, economy, clock, statistics), writer, store, clock)


@pytest.fixture
async def ledger(store: LedgerStore) -> AsyncIterator[Ledger]:
    async with running(store, ManualClock()) as made:
        yield made
