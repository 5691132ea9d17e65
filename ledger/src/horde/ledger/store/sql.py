"""The store in SQL, the same for SQLite and PostgreSQL: tables in `tables.py`, many rows at a time in `bulk.py`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from typing import Any, Final, NoReturn, TypeVar, cast

from sqlalchemy import Connection, Engine, event

from horde.ledger import failpoints
from horde.ledger.core import rows
from horde.ledger.core.accounts import Account, Owner
from horde.ledger.core.book import Hold
from horde.ledger.core.chain import Block
from horde.ledger.core.errors import WriterReplaced
from horde.ledger.core.identifiers import id_bytes, id_text
from horde.ledger.store.audit_sql import SqlAuditRows
from horde.ledger.store.bulk import Bulk, Command, Step, commands
from horde.ledger.store.migrations import HISTORY
from horde.ledger.store.port import AuditRows, BalanceRow, Balances, Batch, Head, LookUp, Recorded
from horde.ledger.store.tables import ACCOUNT, BLOCK, EVENT, HOLD, OWNER, REFUSAL, STATEMENT, WRITER
from horde.services import migrations
from horde.services.errors import Aborted
from horde.services.failpoints import failpoint_sync
from horde.services.sql import SqlThread, open_database

T = TypeVar("T")

_EVENTS = Bulk(EVENT, rows.EVENT_COLUMNS)
_REFUSALS = Bulk(REFUSAL, rows.REFUSAL_COLUMNS)
_ACCOUNTS = Bulk(ACCOUNT, rows.ACCOUNT_COLUMNS)
_BALANCES = Bulk(ACCOUNT, ("number", "posted", "held", "sequence"))
_OWNERS = Bulk(
    OWNER,
    rows.OWNER_COLUMNS,
    "ON CONFLICT (account_id) DO UPDATE SET " + ", ".join(f"{c} = excluded.{c}" for c in rows.OWNER_COLUMNS[1:]),
)
_HOLDS = Bulk(HOLD, rows.HOLD_COLUMNS)
_STATEMENTS = Bulk(STATEMENT, ("owner", "sequence"))
_BLOCKS = Bulk(BLOCK, rows.BLOCK_COLUMNS)
_RECORDED: Final = ("id", "fingerprint", "body", "block")
_EVENTS_BY_ID = Bulk(EVENT, _RECORDED)
_BY_NAME = Bulk(ACCOUNT, ("name", "number", "posted", "held", "sequence"))
_GIFT_BY: Final = ('%"kind":"GIFT","op":{"amount":%,"from":"', '"%')
"""What stands before and after the giver's id in the text of a gift. To LIKE, some letters of an id mean any letter:
that finds more, never less."""
_BUDGETED: Final = ('%!_subsidy"%', '%"ending":2,%', '%"kind":"UPTIME_REWARD"%')
"""What stands in the text of an entry that counts in a day's budgets: a subsidy's account, the ending of a cancelled
job, or uptime."""
_HEAD = f"SELECT {', '.join(rows.WRITER_COLUMNS)} FROM {WRITER.name} WHERE shard = 0"
_FENCE: Final = (
    f"UPDATE writer SET {', '.join(f'{column} = {{mark}}' for column in rows.WRITER_COLUMNS)} "
    f"WHERE shard = 0 AND {' AND '.join(f'{column} = {{mark}}' for column in rows.WRITER_COLUMNS[:-1])}"
)
"""Locks the writer's row and moves the head, if all of it is still as it was. Whoever does this first keeps everybody
else waiting until his transaction ends."""


@asynccontextmanager
async def sql_store(url: str) -> AsyncIterator[SqlStore]:
    """Open the database, bring its schema up to date, and keep the ledger there for as long as the block."""
    engine = open_database(url)
    if engine.dialect.name == "postgresql":
        event.listen(engine, "connect", _steer_planner)
    async with SqlThread(engine) as sql:
        await sql.run(lambda connection: migrations.upgrade(connection, HISTORY))
        yield SqlStore(sql)


def _steer_planner(connection: Any, _record: object) -> None:
    """The planner cannot know how long an array is: without this it compiles, hashes and scans whole tables for a few
    rows."""
    before = connection.autocommit
    connection.autocommit = True
    for setting in ("jit", "enable_hashjoin", "enable_mergejoin", "enable_seqscan"):
        connection.execute(f"SET {setting} = off")
    connection.autocommit = before


class SqlLookUp:
    """What the writer asks before it decides."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, event_ids: Collection[str]) -> dict[str, Recorded]:
        return _find(self._connection, event_ids)

    def holds(self, hold_ids: Collection[str]) -> list[Hold]:
        return [
            rows.hold_of(row) for row in _HOLDS.select(self._connection, [id_bytes(hold_id) for hold_id in hold_ids])
        ]

    def accounts(self, names: Collection[str]) -> list[Account]:
        return _accounts(self._connection, names)

    def owners(self, account_ids: Collection[str]) -> list[Owner]:
        return [rows.owner_of(row) for row in _OWNERS.select(self._connection, account_ids)]

    def given(self, account_ids: Collection[str], since_us: int) -> list[str]:
        where, names = _BY_NAME.among(self._connection, [f"spend/{account_id}" for account_id in account_ids])
        mark = "?" if self._connection.dialect.name == "sqlite" else "%s"
        query = (
            "SELECT e.sequence, e.body FROM account a JOIN statement s ON s.owner = a.number "
            f"JOIN event e ON e.sequence = s.sequence WHERE a.{where} AND s.sequence >= "
            f"(SELECT first_sequence FROM block WHERE at_us >= {mark} ORDER BY at_us LIMIT 1) "
            f"AND e.body LIKE {mark} || substr(a.name, 7) || {mark}"
        )
        found = self._connection.exec_driver_sql(query, (*names, since_us, *_GIFT_BY))
        return [body for _, body in sorted((row[0], row[1]) for row in found)]

    def budgeted(self, since_us: int) -> Iterator[str]:
        mark = "?" if self._connection.dialect.name == "sqlite" else "%s"
        any_of = " OR ".join([f"body LIKE {mark} ESCAPE '!'"] * len(_BUDGETED))
        query = (
            f"SELECT body FROM event WHERE sequence >= (SELECT first_sequence FROM block WHERE at_us >= {mark} "
            f"ORDER BY at_us LIMIT 1) AND ({any_of}) ORDER BY sequence"
        )
        for row in self._connection.exec_driver_sql(query, (since_us, *_BUDGETED)):
            yield row[0]


class SqlStore:
    """`LedgerStore` over SQLAlchemy."""

    def __init__(self, sql: SqlThread) -> None:
        self._sql = sql

    @property
    def engine(self) -> Engine:
        """For tests and leadership."""
        return self._sql.engine

    async def take_over(self) -> Head:
        def work(connection: Connection) -> Head:
            head = _head(connection, locked=True)
            after = Head(head.epoch + 1, head.sequence, head.block, head.hash, head.accounts, head.sum_mkudos)
            _move_head(connection, head, after)
            return after

        return await self._sql.run(work)

    async def head(self) -> Head:
        return await self._sql.read(_head)

    async def look_up(self, work: Callable[[LookUp], T]) -> T:
        return await self._sql.read(lambda connection: work(SqlLookUp(connection)))

    def encode(self, batch: Batch) -> None:
        batch.encoded = commands(
            self._sql.engine.dialect.name, _steps(batch), _FENCE.format(mark="%s") + " RETURNING 1"
        )

    async def write(self, previous: Head, batch: Batch) -> None:
        if batch.encoded is None:
            self.encode(batch)
        encoded = cast(Sequence[Command], batch.encoded)

        def work(connection: Connection) -> None:
            failpoint_sync(failpoints.AFTER_BEGIN)
            if connection.dialect.name == "sqlite":
                _move_head(connection, previous, batch.head)
                for command in encoded:
                    connection.exec_driver_sql(*command)
            else:
                ((statement, parameters),) = encoded
                parameters = (*_fence_parameters(previous, batch.head), *parameters)
                if not connection.exec_driver_sql(statement, parameters).scalar_one():
                    _explain(_head(connection), previous)
            failpoint_sync(failpoints.AFTER_INSERTS)
            failpoint_sync(failpoints.BEFORE_COMMIT)

        await self._sql.run(work)

    async def balances(self, wanted: Sequence[tuple[str, str]]) -> Balances:
        def work(connection: Connection) -> Balances:
            head = _head(connection)
            accounts: dict[str, Account] = {a.name: a for a in _accounts(connection, {name for name, _ in wanted})}
            ids = {account_id for _, account_id in wanted if account_id}
            owners = {row[0]: rows.owner_of(row) for row in _OWNERS.select(connection, ids)}
            found = [BalanceRow(accounts.get(name), owners.get(account_id)) for name, account_id in wanted]
            return Balances(head.sequence, head.sum_mkudos, found)

        return await self._sql.snapshot(work)

    async def statement(self, account_id: str, before: int, limit: int) -> list[Recorded]:
        mark = self._mark
        below = f"AND s.sequence < {mark}" if before else ""
        query = (
            "SELECT e.id, e.fingerprint, e.body, e.block FROM statement s JOIN event e ON e.sequence = s.sequence "
            f"WHERE s.owner = (SELECT number FROM account WHERE name = {mark}) {below} "
            f"ORDER BY s.sequence DESC LIMIT {mark}"
        )
        parameters = ("spend/" + account_id, *([before] if before else []), limit)
        return await self._sql.read(lambda c: [_recorded(row) for row in c.exec_driver_sql(query, parameters)])

    async def recorded(self, event_ids: Collection[str]) -> dict[str, Recorded]:
        return await self._sql.read(lambda connection: _find(connection, event_ids))

    async def entries_after(self, sequence: int, limit: int) -> list[Recorded]:
        mark = self._mark
        query = f"SELECT id, fingerprint, body, block FROM event WHERE sequence > {mark} ORDER BY sequence LIMIT {mark}"
        return await self._sql.read(lambda c: [_recorded(row) for row in c.exec_driver_sql(query, (sequence, limit))])

    async def block_with_leaves(self, number: int) -> tuple[Block, list[Recorded]]:
        mark = self._mark

        def work(connection: Connection) -> tuple[Block, list[Recorded]]:
            found = _BLOCKS.select(connection, [number])
            if not found:
                raise KeyError(number)
            block = rows.block_of(found[0])
            entries = connection.exec_driver_sql(
                "SELECT id, fingerprint, body, block FROM event "
                f"WHERE sequence BETWEEN {mark} AND {mark} ORDER BY sequence",
                (block.first_sequence, block.last_sequence),
            ).all()
            refusals = connection.exec_driver_sql(
                f"SELECT id, fingerprint, body, block FROM refusal WHERE block = {mark} ORDER BY line", (number,)
            ).all()
            return block, [_recorded(row) for row in [*entries, *refusals]]

        return await self._sql.snapshot(work)

    async def audit(self, work: Callable[[AuditRows], T]) -> T:
        def over(connection: Connection) -> T:
            with closing(SqlAuditRows(connection, self._sql.stopping.is_set)) as stored:
                return work(stored)

        return await self._sql.scan(over)

    @property
    def _mark(self) -> str:
        return "?" if self._sql.engine.dialect.name == "sqlite" else "%s"


def _steps(batch: Batch) -> list[Step]:
    number = batch.block.number
    return [
        _EVENTS.insert([(e[0], id_bytes(e[1]), e[2], e[3], number) for e in batch.entries]),
        _REFUSALS.insert([(r[0], id_bytes(r[1]), r[2], r[3], number) for r in batch.refusals]),
        _STATEMENTS.insert(batch.statement),
        _ACCOUNTS.insert([rows.account_row(account) for account in batch.new_accounts]),
        _BALANCES.update(batch.balances),
        _OWNERS.insert([rows.owner_row(owner) for owner in batch.owners]),
        _HOLDS.insert([rows.hold_row(hold) for hold in batch.opened]),
        _HOLDS.delete([id_bytes(hold) for hold in batch.closed]),
        _BLOCKS.insert([rows.block_row(batch.block)]),
    ]


def _explain(found: Head, previous: Head) -> NoReturn:
    """Why the head could not be moved."""
    if found.epoch != previous.epoch:
        raise WriterReplaced
    raise Aborted("The journal has moved.")


def _head(connection: Connection, locked: bool = False) -> Head:
    lock = " FOR UPDATE" if locked and connection.dialect.name == "postgresql" else ""
    return rows.head_of(connection.exec_driver_sql(_HEAD + lock).one())


def _move_head(connection: Connection, previous: Head, head: Head) -> None:
    statement = _FENCE.format(mark="?" if connection.dialect.name == "sqlite" else "%s")
    if connection.exec_driver_sql(statement, _fence_parameters(previous, head)).rowcount != 1:
        _explain(_head(connection), previous)


def _fence_parameters(previous: Head, head: Head) -> tuple[Any, ...]:
    return (*rows.writer_row(head), *rows.writer_row(previous)[:-1])


def _find(connection: Connection, event_ids: Collection[str]) -> dict[str, Recorded]:
    if not event_ids:
        return {}
    where, parameters = _EVENTS_BY_ID.among(connection, [id_bytes(event_id) for event_id in set(event_ids)])
    columns = ", ".join(_RECORDED)
    query = f"SELECT {columns} FROM event WHERE {where} UNION ALL SELECT {columns} FROM refusal WHERE {where}"
    found = [_recorded(row) for row in connection.exec_driver_sql(query, parameters * 2)]
    return {event.event_id: event for event in found}


def _accounts(connection: Connection, names: Collection[str]) -> list[Account]:
    found = _BY_NAME.select(connection, names)
    return [rows.account_of((row[1], row[0], row[2], row[3], row[4])) for row in found]


def _recorded(row: Any) -> Recorded:
    return Recorded(id_text(row[0]), bytes(row[1]), row[2], row[3])
