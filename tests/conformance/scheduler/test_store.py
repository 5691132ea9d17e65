"""What a store promises, asked of each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import event, inspect
from tests.unit.scheduler.table import ANNA, BERT, Table, terms

from horde.scheduler.core.errors import NotLeader
from horde.scheduler.core.fleet import Worker
from horde.scheduler.core.job import AccountId, Deletion, Ending, Generation, JobId, JobState, Phase, WorkerId
from horde.scheduler.core.owner_rows import owner_row, strike_row, worker_row
from horde.scheduler.core.rows import (
    Changes,
    Moment,
    SettledOrder,
    SettledQuery,
    Survey,
    changing,
    generation_from,
    generation_row,
    job_row,
)
from horde.scheduler.core.standing import Standing
from horde.scheduler.core.strikes import Strike, StrikeReason
from horde.scheduler.store.memory import MemoryStore
from horde.scheduler.store.port import Store
from horde.scheduler.store.sql import SqlStore, sql_store
from horde.scheduler.store.tables import METADATA

NOW = Moment(100.0, 1_767_225_600_000)


@pytest_asyncio.fixture(params=["memory", "sqlite", "postgresql"])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Any, Any]]:
    """Two views of the same data, as two processes have them."""
    if request.param == "memory":
        one = MemoryStore()
        yield one, MemoryStore(one.memory)
        return
    url = f"sqlite:///{tmp_path / 's.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_url")
    async with sql_store(url) as one_sql, sql_store(url) as two_sql:
        yield one_sql, two_sql


@pytest_asyncio.fixture
async def store(stores: tuple[Store, Store]) -> Store:
    await stores[0].lead()
    return stores[0]


def generation(request: str = "r1", images: int = 1, **of: Any) -> Generation:
    table = Table()
    table.now = of.pop("now", 0.0)
    made = table.submit(request, images, **of)
    made.spec, made.quote = b"\0spec", b"quote\xff"
    return made


def insertion(*generations: Generation) -> Changes:
    return Changes(
        new_generations=[generation_row(each) for each in generations],
        new_jobs=[job_row(job, NOW) for each in generations for job in each.jobs],
    )


async def one(store: Store, made: Generation) -> Generation:
    (stored,) = await store.find([made.generation_id])
    return generation_from(stored, terms(), NOW)


async def test_what_was_written_is_read_back_whole(store: Store) -> None:
    table = Table()
    table.attach("w1", slots=2)
    made = table.queued(images=3)
    table.paint(table.lease(made.jobs[0]))
    made.jobs[0].deviations = b"\xff\0"
    await store.write(insertion(made))
    read = await one(store, made)
    assert generation_row(read) == generation_row(made)
    assert [job_row(job, NOW) for job in read.jobs] == [job_row(job, NOW) for job in made.jobs]
    assert read.jobs[0].winner is read.jobs[0].leases[0]
    assert read.version == made.version


async def test_a_change_replaces_what_changes_alone(store: Store) -> None:
    made = generation(images=2)
    await store.write(insertion(made))
    made.phase, made.cancelled = Phase.ACCEPTED, True
    made.jobs[1].move(JobState.QUEUED)
    await store.write(Changes(generations=[changing(made)], jobs=[job_row(made.jobs[1], NOW)]))
    read = await one(store, made)
    assert generation_row(read) == generation_row(made)
    assert [job.state for job in read.jobs] == [JobState.ACCEPTING, JobState.QUEUED]


async def test_repeating_a_write_is_harmless(store: Store) -> None:
    made = generation()
    assert await store.write(insertion(made)) == frozenset()
    assert await store.write(insertion(made)) == {made.generation_id}
    assert len((await store.find([made.generation_id]))[0].jobs) == 1


async def test_a_taken_id_is_named_and_the_rest_is_written(store: Store) -> None:
    old, new = generation("old"), generation("new")
    await store.write(insertion(old))
    other = generation("old", images=2)
    assert await store.write(insertion(other, new)) == {old.generation_id}
    assert len((await one(store, old)).jobs) == 1
    assert (await one(store, new)).jobs


async def test_a_replaced_leader_cannot_write(stores: tuple[Store, Store]) -> None:
    first, second = stores
    epoch = await first.lead()
    await first.write(insertion(generation("a")))
    assert await second.lead() == epoch + 1
    with pytest.raises(NotLeader):
        await first.write(insertion(generation("b")))
    await second.write(insertion(generation("c")))
    assert not await second.find([generation("b").generation_id])


async def test_the_live_are_those_that_are_not_closed(store: Store) -> None:
    going, over = generation("going", images=2), generation("over")
    over.closed = True
    await store.write(insertion(going, over))
    (live,) = await store.live()
    assert live.generation["generation_id"] == going.generation_id
    assert [job["position"] for job in live.jobs] == [0, 1]


async def test_a_refused_generation_keeps_its_refusal_alone_and_a_forgotten_one_nothing(store: Store) -> None:
    refused, forgotten = generation("refused"), generation("forgotten")
    await store.write(insertion(refused, forgotten))
    refused.phase, refused.refusal, refused.closed = Phase.REFUSED, b"no", True
    changes = Changes(
        generations=[changing(refused)], refused=[refused.generation_id], forgotten=[forgotten.generation_id]
    )
    await store.write(changes)
    read = await one(store, refused)
    assert (read.phase, read.refusal, read.jobs) == (Phase.REFUSED, b"no", [])
    assert not await store.find([forgotten.generation_id])


async def test_a_job_leads_to_its_generation(store: Store) -> None:
    made = generation(images=2)
    await store.write(insertion(made))
    other = generation("other")
    await store.write(insertion(other))
    (stored,) = await store.find_by_jobs([job.job_id for job in made.jobs])
    assert stored.generation["generation_id"] == made.generation_id
    assert len(stored.jobs) == 2
    assert len(await store.find_by_jobs([made.jobs[1].job_id, other.jobs[0].job_id, JobId("none")])) == 2
    assert await store.find_by_jobs([JobId("none")]) == []


async def test_pages_are_one_requesters_newest_first(store: Store) -> None:
    mine = [generation(f"r{index}", now=float(index // 2)) for index in range(7)]
    other = generation("r0", account="anonymous", digest=b"\1" * 32)
    await store.write(insertion(*mine, other))
    seen: list[str] = []
    before = None
    while page := await store.page(mine[0].account_id, b"", before, 3):
        seen += [each.generation["generation_id"] for each in page]
        last = page[-1].generation
        before = (last["accepted_at_ms"], last["generation_id"])
    assert sorted(seen) == sorted(each.generation_id for each in mine)
    times: dict[str, int] = {each.generation_id: each.accepted_at_ms for each in mine}
    assert [times[each] for each in seen] == sorted((times[each] for each in seen), reverse=True)
    (theirs,) = await store.page(other.account_id, b"\1" * 32, None, 3)
    assert theirs.generation["generation_id"] == other.generation_id


async def test_only_the_old_and_closed_are_forgotten_and_leave_a_tombstone(store: Store) -> None:
    going, over, new = generation("going"), generation("over"), generation("new", now=100.0)
    shared, withdrawn, private = generation("shared"), generation("withdrawn"), generation("private")
    for each in (over, new, shared, withdrawn, private):
        each.closed = True
    for each in (shared, withdrawn, private):
        each.jobs[0].ending = Ending.DONE
    withdrawn.jobs[0].withdrawn, private.jobs[0].expires_at_ms = True, 5_000
    await store.write(insertion(going, over, new, shared, withdrawn, private))
    assert await store.forget(new.accepted_at_ms, 10, b"no") == 3
    assert await store.forget(new.accepted_at_ms, 10, b"no") == 0
    for each in (over, withdrawn, private):
        tombstone = await one(store, each)
        assert (tombstone.phase, tombstone.refusal, tombstone.spec, tombstone.jobs) == (Phase.REFUSED, b"no", b"", [])
        assert await store.find_by_jobs([each.jobs[0].job_id]) == []
        assert await store.write(insertion(each)) == {each.generation_id}
    listed = await store.page(going.account_id, b"", None, 10)
    assert {each.generation["generation_id"] for each in listed} == {
        going.generation_id, new.generation_id, shared.generation_id,
    }  # fmt: skip
    assert (await one(store, shared)).jobs


async def test_what_is_kept_for_ever_is_not_looked_at_again_and_again(tmp_path: Path) -> None:
    async with sql_store(f"sqlite:///{tmp_path / 's.db'}") as store:
        plans: list[str] = []

        @event.listens_for(store._sql.engine, "before_cursor_execute")
        def explain(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            if statement.startswith("SELECT generation.generation_id"):
                cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
                plans.extend(row[3] for row in cursor.fetchall())

        await store.lead()
        await store.forget(1, 10, b"no")
        (plan,) = plans
        assert plan.startswith("SEARCH generation USING")
        assert "INDEX generation_over" in plan


async def test_an_account_is_counted_and_found_until_it_is_gone(store: Store) -> None:
    private, shared, taken, refused = (generation(name, images=2) for name in ("private", "shared", "taken", "refused"))
    other = generation("other", account="somebody else")
    for each, expires_at_ms in ((private, 5_000), (shared, 0), (taken, 0), (other, 5_000)):
        each.closed = True
        each.jobs[0].ending, each.jobs[0].expires_at_ms = Ending.DONE, expires_at_ms
    taken.jobs[0].withdrawn = True
    refused.phase, refused.closed = Phase.REFUSED, True
    mine = [private, shared, taken, refused]
    account_id = private.account_id
    await store.write(insertion(*mine, other))
    assert await store.survey(account_id, 4_999) == Survey(4, private_images=1, shared_images=1)
    assert await store.survey(account_id, 5_000) == Survey(4, private_images=0, shared_images=1)
    ids = {each.generation_id for each in mine}
    assert {each.generation["generation_id"] for each in await store.of_account(account_id, 10)} == ids
    assert len(await store.of_account(account_id, 3)) == 3
    private.deletion, private.closed = Deletion.ALL, False
    await store.write(Changes(generations=[changing(private)]))
    assert (await one(store, private)).deletion is Deletion.ALL
    assert [each.generation["generation_id"] for each in await store.live()] == [private.generation_id]
    found = await store.of_account(account_id, 10)
    assert {each.generation["generation_id"] for each in found} == ids - {private.generation_id}
    shared.jobs[0].state = JobState.ENDED
    for each in mine:
        each.phase, each.closed, each.spec = Phase.REFUSED, True, b""
    gone = [each.generation_id for each in mine if each is not shared]
    changes = Changes(generations=[changing(each) for each in mine], jobs=[job_row(shared.jobs[0], NOW)])
    changes.refused = changes.emptied = gone
    changes.given = [shared.generation_id]
    await store.write(changes)
    assert await store.survey(account_id, 0) == Survey()
    assert (await one(store, private)).quote == b""
    # What was given stays, without the words that it was asked for with.
    (row,) = await store.settled(SettledQuery(SettledOrder.BY_JOB))
    assert (row["job_id"], row["quote"]) == (shared.jobs[0].job_id, shared.quote)
    (stored,) = await store.find([shared.generation_id])
    assert (stored.generation["spec"], len(stored.jobs)) == (b"", 1)
    assert (await store.survey(other.account_id, 0)).private_images == 1


async def test_a_worker_that_is_gone_and_comes_back_at_once_is_there(store: Store) -> None:
    table = Table()
    gone, back = table.attach("gone"), table.attach("back")
    rows = [worker_row(each, {}) for each in (gone, back)]
    await store.write(Changes(workers=rows))
    await store.write(Changes(workers=rows[1:], gone_workers=[gone.worker_id, back.worker_id]))
    assert [row["name"] for row in await store.workers(0)] == ["back"]


async def test_workers_are_kept_and_replaced(store: Store) -> None:
    table = Table()
    worker: Worker = table.attach("w1")
    worker.last_seen_ms = 5_000
    speeds = {("m", -1): 0.25}
    await store.write(Changes(workers=[worker_row(worker, speeds)]))
    worker.paused, worker.images_done, worker.description = True, 3, "In the cellar."
    await store.write(Changes(workers=[worker_row(worker, speeds)]))
    assert await store.workers(5_000) == [worker_row(worker, speeds)]
    assert await store.workers(5_001) == []


async def test_workers_that_stay_away_are_forgotten_a_few_at_a_time(store: Store) -> None:
    table = Table()
    for number in range(5):
        worker: Worker = table.attach(f"w{number}")
        worker.last_seen_ms = 1_000 * number
        await store.write(Changes(workers=[worker_row(worker, {})]))
    assert await store.forget_workers(3_000, 2) == 2
    assert await store.forget_workers(3_000, 2) == 1
    assert await store.forget_workers(3_000, 2) == 0
    assert {row["name"] for row in await store.workers(0)} == {"w3", "w4"}


async def test_strikes_are_kept_forgiven_and_forgotten(store: Store) -> None:
    moment = Moment(0.0, 10_000)
    strikes = [
        Strike(f"s{number}", ANNA, WorkerId("w"), "rig", StrikeReason.STALLED, float(number)) for number in range(4)
    ]
    await store.write(Changes(strikes=[strike_row(strike, moment) for strike in strikes]))
    strikes[3].forgiven = "the mesh was away"
    await store.write(Changes(strikes=[strike_row(strikes[3], moment)]))
    assert await store.strikes(13_000) == [strike_row(strikes[3], moment)]
    assert await store.forget_strikes(12_000, 1) == 1
    assert await store.forget_strikes(12_000, 5) == 1
    assert {row["strike_id"] for row in await store.strikes(0)} == {"s2", "s3"}
    records = [owner_row(Standing(owner, 1, 1), 1_000) for owner in (ANNA, AccountId("bert"))]
    his = Strike("his", AccountId("bert"), WorkerId("v"), "rig", StrikeReason.STALLED, 3.0)
    table = Table()
    rows = [worker_row(table.attach("w", owner=owner), {}) for owner in (ANNA, BERT)]
    await store.write(Changes(owners=records, strikes=[strike_row(his, moment)], workers=rows))
    await store.write(Changes(gone_owners=[ANNA]))
    assert [row["owner"] for row in await store.workers(0)] == [BERT]
    assert [row["owner"] for row in await store.owners(0)] == ["bert"]
    assert [row["strike_id"] for row in await store.strikes(0)] == ["his"]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_the_migrations_make_the_tables_that_the_code_knows(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}" if kind == "sqlite" else request.getfixturevalue("postgresql_url")
    async with sql_store(url) as store:
        assert isinstance(store, SqlStore)
        inspector = inspect(store._sql.engine)
        for table in METADATA.sorted_tables:
            made = {column["name"]: column["nullable"] for column in inspector.get_columns(table.name)}
            assert made == {column.name: column.nullable for column in table.columns}
            indexes = {get_index["name"] for get_index in inspector.get_indexes(table.name)}
            assert {str(index.name) for index in table.indexes} <= indexes


def done(request: str, ended_at_ms: int, expires_at_ms: int, **of: Any) -> Generation:
    """A generation of one image that is done."""
    made = generation(request, **of)
    (job,) = made.jobs
    job.move(JobState.QUEUED)
    job.move(JobState.LEASED)
    job.move(JobState.SETTLING)
    job.move(JobState.ENDED)
    job.ending, job.committed, job.object_name = Ending.DONE, True, f"object of {request}"
    job.sha256, job.size_bytes, job.format = b"\x01" * 32, 7, 3
    job.ended_at_ms, job.expires_at_ms = ended_at_ms, expires_at_ms
    return made


async def settled(store: Store, order: SettledOrder, **of: Any) -> list[str]:
    """The ids, read two at a time."""
    found: list[str] = []
    after = of.pop("after", (0, ""))
    while rows := await store.settled(SettledQuery(order, after, limit=2, **of)):
        found += [row["job_id"] for row in rows]
        last = rows[-1]
        match order:
            case SettledOrder.BY_END:
                after = (last["ended_at_ms"], last["job_id"])
            case SettledOrder.BY_JOB:
                after = (0, last["job_id"])
            case SettledOrder.BY_OBJECT:
                after = (0, last["object_name"])
    return found


async def test_what_is_done_is_listed_in_three_orders_a_page_at_a_time(store: Store) -> None:
    shared = [done(f"s{index}", 100 + index % 2, 0) for index in range(5)]
    private = [done(f"p{index}", 200 + index, 9_000) for index in range(4)]
    open_still, failed = generation("open"), done("failed", 150, 0)
    failed.jobs[0].ending = Ending.FAULTED
    settling = done("settling", 0, 0)
    settling.jobs[0].state = JobState.SETTLING
    await store.write(insertion(*shared, *private, open_still, failed, settling))
    ids = {name: [made.jobs[0].job_id for made in some] for name, some in (("s", shared), ("p", private))}
    by_end = sorted((made.jobs[0].ended_at_ms, made.jobs[0].job_id) for made in (*shared, *private))
    assert await settled(store, SettledOrder.BY_END, ended_before_ms=1_000) == [job_id for _, job_id in by_end]
    assert await settled(store, SettledOrder.BY_END, ended_before_ms=101) == sorted(ids["s"][::2])
    assert await settled(store, SettledOrder.BY_END, ended_before_ms=1_000, after=(201, "")) == ids["p"][1:]
    assert await settled(store, SettledOrder.BY_JOB) == sorted(ids["s"])
    assert await settled(store, SettledOrder.BY_JOB, after=(0, min(ids["s"]))) == sorted(ids["s"])[1:]
    assert await settled(store, SettledOrder.BY_JOB, until=sorted(ids["s"])[2]) == sorted(ids["s"])[:3]
    names = sorted((made.jobs[0].object_name, made.jobs[0].job_id) for made in (*private, settling))
    assert await settled(store, SettledOrder.BY_OBJECT) == [job_id for _, job_id in names]
    (row,) = await store.settled(SettledQuery(SettledOrder.BY_JOB, limit=1))
    assert row["quote"] == b"quote\xff"


async def test_pages_of_what_is_done_come_from_indexes(tmp_path: Path) -> None:
    plans: list[str] = []
    async with sql_store(f"sqlite:///{tmp_path / 's.db'}") as store:

        def explain(conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
            if statement.startswith("SELECT job."):
                cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
                plans.append(" ".join(str(row) for row in cursor.fetchall()))

        event.listen(store._sql.engine, "before_cursor_execute", explain)
        for order in SettledOrder:
            await store.settled(SettledQuery(order, (1, "x"), ended_before_ms=5))
    assert [
        index in plan and "TEMP B-TREE" not in plan
        for index, plan in zip(("job_by_end", "job_shared", "job_private"), plans, strict=True)
    ] == [True] * 3, plans
