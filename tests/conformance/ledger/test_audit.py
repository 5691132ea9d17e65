"""A flipped bit in any stored row is found and named, and so is a missing or an added one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import LargeBinary, Text, text
from sqlalchemy.exc import IntegrityError, ProgrammingError

from horde.ledger.core.accounts import ANONYMOUS
from horde.ledger.core.audit import audit
from horde.ledger.core.economy import KUDOS, Economy
from horde.ledger.store import audit_sql
from horde.ledger.store.migrations import HISTORY
from horde.ledger.store.port import AuditRows
from horde.ledger.store.sql import SqlStore, sql_store
from horde.ledger.store.tables import METADATA
from horde.ledger.writer import Writer
from horde.services import migrations
from horde.services.errors import ResourceExhausted, Unavailable
from horde.testkit.ledger import awarded, gift, held, opened, released, settled, standing, uptime
from horde.testkit.loopback import ManualClock, settle
from horde.testkit.waiting import HANG_SECONDS


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlStore]:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_url")
    async with sql_store(url) as opened_store:
        yield opened_store


async def write_some(store: SqlStore) -> None:
    async with Writer(store, Economy(), ManualClock()) as writer:
        await writer.apply(
            [opened("ann"), awarded("ann", 100 * KUDOS), held("g", "ann", count=3), held("h", ANONYMOUS)]
        )
        await writer.apply([settled("g", "bob"), released("g", 1), held("much", "ann", count=90), uptime("bob", 9)])
        await writer.apply([held("poor", "cat", count=9)])
        await writer.apply([gift("ann", "bob", 5 * KUDOS, note="for you"), standing("bob", trusted=True)])


async def finding(store: SqlStore) -> Any:
    return (await store.audit(lambda rows: audit(rows))).finding


def flipped(value: Any, column: Any) -> Any:
    """The value with one bit of it turned over."""
    if isinstance(column.type, LargeBinary):
        return bytes(value[:-1]) + bytes([value[-1] ^ 1])
    if isinstance(column.type, Text):
        middle = len(value) // 2
        return value[:middle] + chr(ord(value[middle]) ^ 1) + value[middle + 1 :] if value else "A"
    return 1 if value is None else int(value) ^ 1


COLUMNS = [(table.name, column.name) for table in METADATA.sorted_tables for column in table.columns]


async def test_a_flipped_bit_in_any_column_of_any_table_is_found(store: SqlStore) -> None:
    await write_some(store)
    assert await finding(store) is None
    engine, missed = store.engine, []
    for name, column in COLUMNS:
        table = METADATA.tables[name]
        keys = [column.name for column in table.primary_key.columns]
        with engine.begin() as connection:
            rows = connection.execute(table.select().order_by(*table.primary_key.columns)).mappings().all()
        assert rows, f"{name} is empty: nothing to flip"
        row = rows[len(rows) // 2]
        if name == "writer" and column == "shard":
            continue  # The row would be gone; see below.
        where = [table.c[key] == row[key] for key in keys]
        changed = flipped(row[column], table.c[column])
        try:
            with engine.begin() as connection:
                connection.execute(table.update().where(*where).values({column: changed}))
        except IntegrityError:
            continue  # The database itself keeps it from happening.
        found = await finding(store)
        if found is None:
            missed.append((name, column))
        back = [table.c[key] == (changed if key == column else row[key]) for key in keys]
        with engine.begin() as connection:
            connection.execute(table.update().where(*back).values({column: row[column]}))
    assert missed == []
    assert await finding(store) is None


TEXTS = [(name, column) for name, column in COLUMNS if isinstance(METADATA.tables[name].c[column].type, Text)]


@pytest.mark.parametrize(("name", "column"), TEXTS)
async def test_text_that_is_no_text_any_more_is_found(name: str, column: str, tmp_path: Path) -> None:
    # On SQLite alone, which stores such bytes; how PostgreSQL's are read is below.
    async with sql_store(f"sqlite:///{tmp_path / 'ledger.db'}") as store:
        await write_some(store)
        with store.engine.begin() as connection:
            changed = connection.exec_driver_sql(
                f"UPDATE {name} SET {column} = CAST(x'ff' || substr(CAST({column} AS BLOB), 2) AS TEXT) "
                f"WHERE {column} <> ''"
            )
            assert changed.rowcount
        found = await finding(store)
        assert found is not None
        if name in ("event", "refusal"):
            assert found.event_id
            assert "cannot be read" in found.what


async def test_a_changed_text_of_many_bytes_is_named_on_either_database(store: SqlStore) -> None:
    await write_some(store)
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE event SET body = replace(body, 'for you', 'für you')"))
    found = await finding(store)
    assert (found.block, found.event_id) == (4, gift("ann", "bob", 5 * KUDOS, note="for you").event_id)


@pytest.mark.parametrize("name", ["event", "refusal", "block", "account", "hold", "statement"])
async def test_a_row_that_is_gone_is_missed(store: SqlStore, name: str) -> None:
    await write_some(store)
    table = METADATA.tables[name]
    for place in (0, -1):
        with store.engine.begin() as connection:
            row = connection.execute(table.select().order_by(*table.primary_key.columns)).mappings().all()[place]
            connection.execute(
                table.delete().where(*(table.c[k.name] == row[k.name] for k in table.primary_key.columns))
            )
        assert await finding(store) is not None
        with store.engine.begin() as connection:
            connection.execute(table.insert().values(dict(row)))
        assert await finding(store) is None


async def test_a_changed_entry_is_named_with_its_block(store: SqlStore) -> None:
    await write_some(store)
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE event SET body = replace(body, 'for you', 'for xyz')"))
    found = await finding(store)
    event = gift("ann", "bob", 5 * KUDOS, note="for you")
    assert (found.block, found.event_id) == (4, event.event_id)


async def test_a_later_audit_can_begin_where_the_last_one_ended(store: SqlStore) -> None:
    await write_some(store)
    report = await store.audit(lambda rows: audit(rows, 3))
    assert (report.finding, report.blocks, report.refusals) == (None, 2, 1)
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE block SET at_us = at_us + 1 WHERE number = 4"))
    later = (await store.audit(lambda rows: audit(rows, 3))).finding
    assert later is not None
    assert later.block == 4


CUT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@pytest.mark.parametrize(
    ("how", "error"), [("its connection is cut", Unavailable), ("its cursor is gone", ProgrammingError)]
)
async def test_what_the_driver_raises_while_entries_are_read_is_told_like_any_other(
    how: str, error: type[Exception], postgresql_url: str
) -> None:
    async with sql_store(postgresql_url) as store:
        await write_some(store)

        def broken(rows: AuditRows) -> None:
            entries = rows.entries(1)
            next(entries)
            if how == "its cursor is gone":
                rows._connection.exec_driver_sql("CLOSE ALL")  # type: ignore[attr-defined]
            else:
                with store.engine.connect() as other:
                    other.execute(text(CUT))
            for _ in entries:
                pass

        with pytest.raises(error):
            await store.audit(broken)
        assert await finding(store) is None


async def test_more_than_a_page_is_audited_and_its_last_row_is_read(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_sql, "PAGE", 3)
    await write_some(store)
    report = await store.audit(lambda rows: audit(rows))
    with store.engine.begin() as connection:
        last = connection.execute(text("SELECT max(sequence) FROM event")).scalar_one()
        assert (report.finding, report.entries) == (None, last)
        # Another block's page ends in the middle of this one's entries, and the other way round.
        connection.execute(text("UPDATE event SET block = block + 1 WHERE sequence = 4"))
    assert await finding(store) is not None


async def test_the_view_of_transfers_adds_up_to_the_balances(store: SqlStore) -> None:
    await write_some(store)
    with store.engine.begin() as connection:
        wrong = connection.execute(
            text(
                "SELECT a.name FROM account a WHERE a.posted <> "
                "coalesce((SELECT sum(amount) FROM transfer WHERE credit = a.name), 0) - "
                "coalesce((SELECT sum(amount) FROM transfer WHERE debit = a.name), 0)"
            )
        ).all()
    assert wrong == []


async def test_the_schema_goes_up_and_down_and_is_that_of_the_code(store: SqlStore) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with store.engine.begin() as connection:
        context = MigrationContext.configure(connection)
        made_otherwise = compare_metadata(context, METADATA)
        assert [each for each in made_otherwise if "statistics" not in str(each)] == []
        migrations.downgrade(connection, HISTORY)
    with store.engine.begin() as connection:
        assert not connection.dialect.has_table(connection, "event")
        migrations.upgrade(connection, HISTORY)
    await write_some(store)
    assert await finding(store) is None


async def test_two_audits_at_once_stop_nobody_and_a_third_is_refused(store: SqlStore) -> None:
    await write_some(store)
    begun, go_on = threading.Event(), threading.Event()

    def long_audit(rows: AuditRows) -> None:
        begun.set()
        assert go_on.wait(HANG_SECONDS)

    audits = [asyncio.create_task(store.audit(long_audit)) for _ in range(2)]
    await asyncio.to_thread(begun.wait)
    with pytest.raises(ResourceExhausted) as refused:
        await store.audit(long_audit)
    assert refused.value.retry_after is not None
    # Whoever looks something up, reads or writes meanwhile does not wait for them.
    async with Writer(store, Economy(), ManualClock()) as writer:
        await writer.apply([awarded("ann", KUDOS, "meanwhile")])
        await asyncio.gather(*(store.balances([("spend/ann", "ann")]) for _ in range(8)))
    go_on.set()
    await asyncio.gather(*audits)
    await store.audit(long_audit)


async def test_an_audit_whose_caller_has_gone_keeps_its_place_until_it_is_over(store: SqlStore) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def long_audit(rows: AuditRows) -> None:
        begun.set()
        assert go_on.wait(HANG_SECONDS)

    for _ in range(2):
        audit_call = asyncio.create_task(store.audit(long_audit))
        await asyncio.to_thread(begun.wait)
        audit_call.cancel()
        await asyncio.gather(audit_call, return_exceptions=True)
        waiting = asyncio.create_task(store.audit(long_audit))
        await settle()
        with pytest.raises(ResourceExhausted):
            await store.audit(long_audit)
        go_on.set()
        await waiting
        begun.clear()
        go_on.clear()
        await settle()
