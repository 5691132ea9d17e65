"""The store in SQL: SQLite on one machine, PostgreSQL in production."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import (
    Connection,
    Dialect,
    Executable,
    and_,
    bindparam,
    case,
    delete,
    false,
    func,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from horde.scheduler.core.errors import NotLeader
from horde.scheduler.core.job import AccountId, Ending, GenerationId, JobId, JobState, Phase
from horde.scheduler.core.rows import Changes, Row, SettledOrder, SettledQuery, Stored, Survey
from horde.scheduler.store.migrations import HISTORY
from horde.scheduler.store.tables import (
    DONE,
    DONE_PRIVATE,
    DONE_SHARED,
    GENERATION,
    JOB,
    LEADER,
    OWNER,
    STRIKE,
    WORKER,
)
from horde.services import migrations
from horde.services.sql import SqlThread, open_database

MAX_IN = 500
"""Ids in one query."""
FIXED = {"job_id", "generation_id", "position", "object_name"}
"""Columns of a job that never change."""

# The lock is shared: a new leader's claim waits for this transaction, and this one sees any claim before it.
_EPOCH = select(LEADER.c.epoch).with_for_update(read=True)
_TAKEN = select(GENERATION.c.generation_id).where(GENERATION.c.generation_id.in_(bindparam("wanted", expanding=True)))
_UPDATE_GENERATION = (
    update(GENERATION)
    .where(GENERATION.c.generation_id == bindparam("generation_id"))
    .values({
        name: bindparam(name) for name in (
            "phase", "refusal", "claimed", "unusable", "cancelled", "closed", "deletion", "over_at_ms", "checks",
        )
    })
)  # fmt: skip
_UPDATE_JOB = (
    update(JOB)
    .where(JOB.c.job_id == bindparam("job_id"))
    .values({column.name: bindparam(column.name) for column in JOB.columns if column.name not in FIXED})
)


class Prepared:
    """A statement for many rows, compiled once and handed to the driver as it is.

    SQLAlchemy prepares each row's values anew, which costs more than writing them does. Here the rows must be what the
    driver takes: text, bytes and plain numbers.
    """

    def __init__(self, statement: Any, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        self._text = str(compiled)
        self._names: Sequence[str] | None = compiled.positiontup

    def execute(self, connection: Connection, rows: Sequence[Row]) -> None:
        names = self._names
        driver_rows: Any = rows if names is None else [tuple([row[name] for name in names]) for row in rows]
        connection.exec_driver_sql(self._text, driver_rows)


class SqlStore:
    """One leader's view of a database."""

    def __init__(self, sql: SqlThread) -> None:
        self._sql = sql
        self._epoch = 0
        dialect = sql.engine.dialect
        insert: Any = postgresql.insert if dialect.name == "postgresql" else sqlite.insert
        self._insert_generation = Prepared(insert(GENERATION).on_conflict_do_nothing(), dialect)
        self._insert_job = Prepared(insert(JOB).on_conflict_do_nothing(), dialect)
        self._update_generation = Prepared(_UPDATE_GENERATION, dialect)
        self._update_job = Prepared(_UPDATE_JOB, dialect)
        worker = insert(WORKER)
        self._upsert_worker: Executable = worker.on_conflict_do_update(
            index_elements=["worker_id"],
            set_={column.name: worker.excluded[column.name] for column in WORKER.columns if column.name != "worker_id"},
        )
        owner = insert(OWNER)
        self._upsert_owner: Executable = owner.on_conflict_do_update(
            index_elements=["owner"],
            set_={"changed_ms": owner.excluded["changed_ms"], "record": owner.excluded["record"]},
        )
        strike = insert(STRIKE)
        self._upsert_strike: Executable = strike.on_conflict_do_update(
            index_elements=["strike_id"], set_={"forgiven": strike.excluded.forgiven}
        )
        self._insert_leader: Executable = insert(LEADER).on_conflict_do_nothing()

    async def lead(self) -> int:
        self._epoch = await self._sql.run(self._lead)
        return self._epoch

    def _lead(self, connection: Connection) -> int:
        connection.execute(self._insert_leader, {"only": 1, "epoch": 0})
        connection.execute(update(LEADER).values(epoch=LEADER.c.epoch + 1))
        return int(connection.execute(select(LEADER.c.epoch)).scalar_one())

    async def write(self, changes: Changes) -> frozenset[GenerationId]:
        return await self._sql.run(lambda connection: self._write(connection, changes))

    def _write(self, connection: Connection, changes: Changes) -> frozenset[GenerationId]:
        if connection.execute(_EPOCH).scalar() != self._epoch:
            raise NotLeader
        taken: frozenset[GenerationId] = frozenset()
        if changes.new_generations:
            taken = self._insert(connection, changes)
        if changes.generations:
            self._update_generation.execute(connection, changes.generations)
        if changes.jobs:
            self._update_job.execute(connection, changes.jobs)
        if changes.forgotten or changes.refused:
            gone = [*changes.forgotten, *changes.refused]
            connection.execute(delete(JOB).where(JOB.c.generation_id.in_(gone)))
            connection.execute(delete(GENERATION).where(GENERATION.c.generation_id.in_(changes.forgotten)))
        if changes.given:
            done = (JOB.c.state == int(JobState.ENDED)) & (JOB.c.ending == int(Ending.DONE))
            shared = done & (JOB.c.expires_at_ms == 0)
            connection.execute(delete(JOB).where(JOB.c.generation_id.in_(changes.given), ~shared))
            given = GENERATION.c.generation_id.in_(changes.given)
            connection.execute(update(GENERATION).where(given).values(spec=b""))
        if changes.emptied:
            emptied = GENERATION.c.generation_id.in_(changes.emptied)
            connection.execute(update(GENERATION).where(emptied).values(spec=b"", quote=b""))
        if changes.gone_workers:
            connection.execute(delete(WORKER).where(WORKER.c.worker_id.in_(changes.gone_workers)))
        if changes.gone_owners:
            # Those too that were forgotten to make room: their rows are here still.
            connection.execute(delete(WORKER).where(WORKER.c.owner.in_(changes.gone_owners)))
            connection.execute(delete(OWNER).where(OWNER.c.owner.in_(changes.gone_owners)))
            connection.execute(delete(STRIKE).where(STRIKE.c.owner.in_(changes.gone_owners)))
        if changes.workers:
            connection.execute(self._upsert_worker, changes.workers)
        if changes.owners:
            connection.execute(self._upsert_owner, changes.owners)
        if changes.strikes:
            connection.execute(self._upsert_strike, changes.strikes)
        return taken

    def _insert(self, connection: Connection, changes: Changes) -> frozenset[GenerationId]:
        wanted = [row["generation_id"] for row in changes.new_generations]
        taken = frozenset(GenerationId(name) for name in connection.execute(_TAKEN, {"wanted": wanted}).scalars())
        fresh = [row for row in changes.new_generations if row["generation_id"] not in taken]
        if fresh:
            self._insert_generation.execute(connection, fresh)
            jobs = [row for row in changes.new_jobs if row["generation_id"] not in taken]
            self._insert_job.execute(connection, jobs)
        return taken

    async def live(self) -> list[Stored]:
        query = select(GENERATION).where(GENERATION.c.closed == false()).order_by(GENERATION.c.accepted_at_ms)
        return await self._sql.read(lambda connection: _with_jobs(connection, _rows(connection, query)))

    async def workers(self, seen_since_ms: int) -> list[Row]:
        query = select(WORKER).where(WORKER.c.last_seen_ms >= seen_since_ms)
        return await self._sql.read(lambda connection: _rows(connection, query))

    async def owners(self, changed_since_ms: int) -> list[Row]:
        query = select(OWNER).where(OWNER.c.changed_ms >= changed_since_ms)
        return await self._sql.read(lambda connection: _rows(connection, query))

    async def strikes(self, since_ms: int) -> list[Row]:
        query = select(STRIKE).where(STRIKE.c.at_ms >= since_ms)
        return await self._sql.read(lambda connection: _rows(connection, query))

    async def find(self, generation_ids: Sequence[GenerationId]) -> list[Stored]:
        query = select(GENERATION).where(GENERATION.c.generation_id.in_(list(generation_ids)))
        return await self._sql.read(lambda connection: _with_jobs(connection, _rows(connection, query)))

    async def find_by_jobs(self, job_ids: Sequence[JobId]) -> list[Stored]:
        of_jobs = select(JOB.c.generation_id).where(JOB.c.job_id.in_(list(job_ids)))
        query = select(GENERATION).where(GENERATION.c.generation_id.in_(of_jobs))
        return await self._sql.read(lambda connection: _with_jobs(connection, _rows(connection, query)))

    async def page(
        self, account_id: AccountId, digest: bytes, before: tuple[int, str] | None, limit: int
    ) -> list[Stored]:
        at, key = GENERATION.c.accepted_at_ms, GENERATION.c.generation_id
        older = true() if before is None else or_(at < before[0], and_(at == before[0], key < before[1]))
        query = (
            select(GENERATION)
            .where(GENERATION.c.account_id == account_id, GENERATION.c.digest == digest, older)
            .where(GENERATION.c.spec != b"")
            .order_by(at.desc(), key.desc())
            .limit(limit)
        )
        return await self._sql.read(lambda connection: _with_jobs(connection, _rows(connection, query)))

    async def of_account(self, account_id: AccountId, limit: int) -> list[Stored]:
        query = (
            select(GENERATION)
            .where(GENERATION.c.account_id == account_id, GENERATION.c.spec != b"", GENERATION.c.deletion == 0)
            .limit(limit)
        )
        return await self._sql.read(lambda connection: _with_jobs(connection, _rows(connection, query)))

    async def survey(self, account_id: AccountId, now_ms: int) -> Survey:
        own = (GENERATION.c.account_id == account_id) & (GENERATION.c.spec != b"")
        until = JOB.c.expires_at_ms
        there = (JOB.c.ending == int(Ending.DONE)) & (JOB.c.withdrawn == false())
        images = (
            select(func.sum(case((until > now_ms, 1), else_=0)), func.sum(case((until == 0, 1), else_=0)))
            .select_from(JOB)
            .where(JOB.c.generation_id.in_(select(GENERATION.c.generation_id).where(own)), there)
        )

        def work(connection: Connection) -> Survey:
            generations = connection.execute(select(func.count()).select_from(GENERATION).where(own)).scalar_one()
            private, shared = connection.execute(images).one()
            return Survey(generations, int(private or 0), int(shared or 0))

        return await self._sql.read(work)

    async def settled(self, query: SettledQuery) -> list[Row]:
        # The conditions are those of the indexes, word for word: only so are they used.
        if query.order is SettledOrder.BY_END:
            at, key = JOB.c.ended_at_ms, JOB.c.job_id
            begin_ms, begin_id = query.after
            chosen = (
                select(JOB)
                .where(DONE, at >= begin_ms, at < query.ended_before_ms)
                .where(or_(at > begin_ms, key > begin_id))
                .order_by(at, key)
            )
        else:
            key, those = (
                (JOB.c.job_id, DONE_SHARED) if query.order is SettledOrder.BY_JOB else (JOB.c.object_name, DONE_PRIVATE)
            )
            ends = key <= query.until if query.until else true()
            chosen = select(JOB).where(those, key > query.after[1], ends).order_by(key)
        page = chosen.limit(query.limit)

        def work(connection: Connection) -> list[Row]:
            jobs = _rows(connection, page)
            wanted = list(dict.fromkeys(row["generation_id"] for row in jobs))
            of: dict[str, Row] = {}
            for start in range(0, len(wanted), MAX_IN):
                some = GENERATION.c.generation_id.in_(wanted[start : start + MAX_IN])
                query = select(GENERATION.c.generation_id, GENERATION.c.quote, GENERATION.c.checks).where(some)
                of |= {row["generation_id"]: row for row in _rows(connection, query)}
            return [{**row, **of[row["generation_id"]]} for row in jobs]

        return await self._sql.read(work)

    async def forget(self, over_before_ms: int, limit: int, refusal: bytes) -> int:
        over_at = GENERATION.c.over_at_ms
        query = (
            select(GENERATION.c.generation_id)
            .where(over_at.is_not(None), over_at < over_before_ms)
            .order_by(over_at)
            .limit(min(limit, MAX_IN))
        )

        def work(connection: Connection) -> int:
            old = list(connection.execute(query).scalars())
            if old:
                connection.execute(delete(JOB).where(JOB.c.generation_id.in_(old)))
                words = case((GENERATION.c.phase == int(Phase.REFUSED), GENERATION.c.refusal), else_=refusal)
                tombstone = {
                    "phase": int(Phase.REFUSED),
                    "refusal": words,
                    "spec": b"",
                    "quote": b"",
                    "over_at_ms": None,
                }
                connection.execute(update(GENERATION).where(GENERATION.c.generation_id.in_(old)).values(tombstone))
            return len(old)

        return await self._sql.run(work)

    async def forget_workers(self, seen_before_ms: int, limit: int) -> int:
        old = select(WORKER.c.worker_id).where(WORKER.c.last_seen_ms < seen_before_ms).limit(limit)
        query = delete(WORKER).where(WORKER.c.worker_id.in_(old))
        return await self._sql.run(lambda connection: connection.execute(query).rowcount)

    async def forget_owners(self, changed_before_ms: int, limit: int) -> int:
        old = select(OWNER.c.owner).where(OWNER.c.changed_ms < changed_before_ms).limit(limit)
        query = delete(OWNER).where(OWNER.c.owner.in_(old))
        return await self._sql.run(lambda connection: connection.execute(query).rowcount)

    async def forget_strikes(self, before_ms: int, limit: int) -> int:
        old = select(STRIKE.c.strike_id).where(STRIKE.c.at_ms < before_ms).limit(limit)
        query = delete(STRIKE).where(STRIKE.c.strike_id.in_(old))
        return await self._sql.run(lambda connection: connection.execute(query).rowcount)


def _rows(connection: Connection, query: Any) -> list[Row]:
    return [dict(row) for row in connection.execute(query).mappings()]


def _with_jobs(connection: Connection, generations: list[Row]) -> list[Stored]:
    stored = {row["generation_id"]: Stored(row) for row in generations}
    ids = list(stored)
    for start in range(0, len(ids), MAX_IN):
        some = ids[start : start + MAX_IN]
        query = select(JOB).where(JOB.c.generation_id.in_(some)).order_by(JOB.c.position)
        for row in _rows(connection, query):
            stored[row["generation_id"]].jobs.append(row)
    return list(stored.values())


@asynccontextmanager
async def sql_store(url: str) -> AsyncIterator[SqlStore]:
    """The store at a database's URL, its tables made or brought up to date."""
    engine = open_database(url)
    async with SqlThread(engine) as sql:
        await sql.run(lambda connection: migrations.upgrade(connection, HISTORY))
        yield SqlStore(sql)
