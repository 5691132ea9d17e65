"""Hypothesis drives the ledger, on each of its stores, with the model beside it (L1 to L9)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from horde.ledger.core.accounts import DAY_US
from horde.ledger.core.audit import audit
from horde.ledger.core.budgets import day_of_entries, days_from
from horde.ledger.core.economy import KUDOS, Economy
from horde.ledger.core.entries import Entry, entry_of, parse
from horde.ledger.core.journal import Answer
from horde.ledger.core.operations import Event
from horde.ledger.store.port import LedgerStore
from horde.ledger.store.sql import sql_store
from horde.ledger.writer import Writer
from horde.testkit.ledger import PureLedger, drawn
from horde.testkit.ledger_model import Observer, some_event
from horde.testkit.loopback import ManualClock
from horde.testkit.postgres import ThrowawayPostgres

T = TypeVar("T")
ECONOMY = Economy(
    promotion_escrow_mkudos=60 * KUDOS,
    subsidised_earning_per_day_mkudos=40 * KUDOS,
    anonymous_budget_per_day_mkudos=200 * KUDOS,
    anonymous_token_share_permille=2_000,
    floor_age_s=3_600,
    floor_budget_per_day_mkudos=100 * KUDOS,
    censor_budget_per_day_mkudos=60 * KUDOS,
    censor_owner_share_permille=1_000,
    censor_payer_share_permille=1_000,
    cancelled_earning_per_day_mkudos=30 * KUDOS,
    uptime_budget_per_day_mkudos=50_000 * KUDOS,
    uptime_owner_share_permille=3,
    gift_min_mkudos=1,
    gifts_per_day=5,
)
"""With limits that are soon reached."""


class Pure:
    """The pure core."""

    def __init__(self) -> None:
        self.ledger = PureLedger(ECONOMY)

    def apply(self, events: list[Event]) -> list[Answer]:
        return self.ledger.apply(*events)

    def entries_after(self, sequence: int) -> list[Entry]:
        return [entry_of(parse(row.body), row.block) for row in self.ledger.store._events[sequence:]]

    def restart(self) -> None:
        self.ledger.restart()

    def pass_time(self, us: int) -> None:
        self.ledger.now_us += us

    def finding(self) -> object:
        return self.ledger.audit().finding

    def drawn_today(self) -> tuple[object, object]:
        return self.ledger.drawn_today()

    def stored(self, names: list[str]) -> dict[str, int]:
        return {name: self.ledger.account(name).posted for name in names}

    def close(self) -> None:
        pass


class Sql:
    """The writer over a database, in a loop of its own."""

    def __init__(self, url: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock()
        self.stack = AsyncExitStack()
        self.store: LedgerStore = self.run(self.stack.enter_async_context(sql_store(url)))
        self.writing = AsyncExitStack()
        self.writer = self.run(self.writing.enter_async_context(Writer(self.store, ECONOMY, self.clock)))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def apply(self, events: list[Event]) -> list[Answer]:
        return self.run(self.writer.apply(events))

    def entries_after(self, sequence: int) -> list[Entry]:
        rows = self.run(self.store.entries_after(sequence, 10_000))
        return [entry_of(parse(row.body), row.block) for row in rows]

    def restart(self) -> None:
        self.run(self.writing.aclose())
        self.writer = self.run(self.writing.enter_async_context(Writer(self.store, ECONOMY, self.clock)))

    def pass_time(self, us: int) -> None:
        self.clock.jump(us / 1_000_000)

    def drawn_today(self) -> tuple[object, object]:
        journal, now_us = self.writer._journal, int(self.clock.now().timestamp() * 1_000_000)
        day = journal._book.day if journal is not None else None
        if day is None:
            return None, None
        bodies = self.run(self.store.look_up(lambda ask: [parse(each) for each in ask.budgeted(days_from(now_us))]))
        return drawn(day.turn_to(now_us)), drawn(day_of_entries(ECONOMY, bodies, now_us))

    def finding(self) -> object:
        return self.run(self.store.audit(lambda rows: audit(rows))).finding

    def stored(self, names: list[str]) -> dict[str, int]:
        rows = self.run(self.store.balances([(name, "") for name in names])).rows
        return {name: row.account.posted if row.account else 0 for name, row in zip(names, rows, strict=True)}

    def close(self) -> None:
        self.run(self.writing.aclose())
        self.run(self.stack.aclose())
        self.run(self.loop.shutdown_default_executor())
        self.loop.close()


class Machine(RuleBasedStateMachine):
    def __init__(self, make: Callable[[], Pure | Sql]) -> None:
        super().__init__()
        self.subject = make()
        self.observer = Observer()

    @rule(seed=st.integers(0, 2**32), count=st.integers(1, 12))
    def send(self, seed: int, count: int) -> None:
        chance = random.Random(seed)
        events = [some_event(chance) for _ in range(count)]
        events += chance.choices(events, k=chance.randrange(2))
        answers = self.subject.apply(events)
        self.observer.told(events, answers, self.subject.entries_after(self.observer.model.sequence))

    @rule()
    def restart(self) -> None:
        self.subject.restart()

    @rule(hours=st.integers(1, 30))
    def pass_time(self, hours: int) -> None:
        self.subject.pass_time(hours * DAY_US // 24)

    @invariant()
    def what_is_stored_is_what_the_model_says(self) -> None:
        posted = self.observer.model.posted
        assert self.subject.stored(sorted(posted)) == dict(posted)

    @invariant()
    def the_budgets_of_the_day_are_what_the_journal_says(self) -> None:
        remembered, journal = self.subject.drawn_today()
        assert remembered == journal

    def teardown(self) -> None:
        try:
            assert self.subject.finding() is None
        finally:
            self.subject.close()


def drive(make: Callable[[], Pure | Sql], examples: int) -> None:
    run_state_machine_as_test(
        lambda: Machine(make),  # type: ignore[arg-type]
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
            print_blob=True,
        ),
    )


def test_the_pure_core() -> None:
    drive(Pure, 60)


def test_sqlite(tmp_path: Path) -> None:
    made = iter(range(10**6))
    drive(lambda: Sql(f"sqlite:///{tmp_path / f'{next(made)}.db'}"), 8)


def test_postgresql(postgresql_server: ThrowawayPostgres) -> None:
    drive(lambda: Sql(postgresql_server.database()), 6)
