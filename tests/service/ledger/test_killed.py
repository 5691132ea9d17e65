"""The ledger as a process, killed and paused at the worst moments: nothing is lost, doubled or half done.

Callers keep sending until they have an answer; what they were told, and when, is the history. At the end the journal is
read from the database and replayed against the model, and every answer is compared with it.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from horde.internal.ledger.v1 import ledger_service_pb2 as api
from horde.internal.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from horde.ledger import failpoints
from horde.ledger.core import errors
from horde.ledger.core.audit import audit
from horde.ledger.core.entries import entry_of, parse, refusal_of
from horde.ledger.core.errors import WriterReplaced
from horde.ledger.core.journal import Answer
from horde.ledger.core.operations import Event, PlaceHolds
from horde.ledger.doors.wire import entry_message
from horde.ledger.store.sql import sql_store
from horde.services import lifecycle
from horde.services.channel import dial
from horde.services.errors import Aborted, DeadlineExceeded, ServiceError, Unavailable
from horde.services.identity import Credentials, create_key_file
from horde.services.status import from_status
from horde.testkit.ledger_model import Observer, some_event
from horde.testkit.ledger_wire import caller_of, event_message
from horde.testkit.postgres import ThrowawayPostgres, throwaway_postgres

CALLS, CALLERS = 40, 4
pytestmark = [pytest.mark.slow]
AGAIN_SECONDS = 5.0
"""After that a call is made again: whoever should answer may have been stopped."""


@pytest.fixture(scope="module")
def postgres() -> Iterator[ThrowawayPostgres]:
    with throwaway_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    server: ThrowawayPostgres = request.getfixturevalue("postgres")
    return server.database()


@dataclass
class Mesh:
    """Callers, and the ledgers they find."""

    folder: Path
    url: str
    target: str = ""
    """Where callers look for it."""
    found: asyncio.Event = field(default_factory=asyncio.Event)
    processes: list[Process] = field(default_factory=list)

    async def start(self, fail: str = "") -> Process:
        """Start a ledger; it serves when `serving` returns."""
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(folder for folder in sys.path if folder.endswith(("src", "gen"))),
            "HORDE_LEDGER_DATABASE_URL": self.url,
            "HORDE_LEDGER_STATISTICS_URL": f"sqlite:///{self.folder / 'statistics.db'}",
            "HORDE_LEDGER_KEY_FILE": str(self.folder / "key"),
            "HORDE_LEDGER_LISTEN": "127.0.0.1:0",
            "HORDE_LEDGER_LOG_FORMAT": "json",
            "HORDE_LEDGER_FAILPOINTS": fail,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "horde.ledger", env=environment, stderr=PIPE
        )
        self.processes.append(process)
        return process

    async def serving(self, process: Process) -> None:
        """Wait until it serves, and let callers find it."""
        self.target = (
            f"127.0.0.1:{int((await said(process, chr(34) + 'ports' + chr(34))).partition('[')[2].partition(']')[0])}"
        )
        self.found.set()

    async def send(self, events: list[Event]) -> list[api.ApplyOutcome]:
        """Send until there is an answer."""
        request = api.ApplyRequest(events=[event_message(event) for event in events])
        while True:
            await self.found.wait()
            credentials = Credentials.from_key_file(caller_of(events[0]), self.folder / "key")
            try:
                async with dial(self.target, caller=credentials, errors=errors.ALL, retry=False) as channel:
                    stub: Any = LedgerServiceStub(channel)
                    answered: api.ApplyResponse = await stub.Apply(request, timeout=AGAIN_SECONDS)
                    return list(answered.outcomes)
            except (Unavailable, Aborted, DeadlineExceeded):
                # Whether it happened is unknown: again, with the same ids.
                await asyncio.sleep(0.05)


async def said(process: Process, what: str) -> str:
    """The line of its log that has this."""
    assert process.stderr is not None
    lines = []
    async for line in process.stderr:
        lines.append(line.decode())
        if what in lines[-1]:
            return lines[-1]
    raise AssertionError("".join(lines))


@asynccontextmanager
async def meshed(folder: Path, url: str) -> AsyncIterator[Mesh]:
    create_key_file(folder / "key")
    mesh = Mesh(folder, url)
    try:
        yield mesh
    finally:
        for process in mesh.processes:
            if process.returncode is None:
                process.kill()
            await process.communicate()


async def load(mesh: Mesh, seed: int, calls: int = CALLS) -> list[tuple[list[Event], list[api.ApplyOutcome]]]:
    """Calls with batches of one caller's operations; what was sent, and what was told in the end."""
    chance = random.Random(seed)
    batches = []
    for _ in range(calls):
        events = [some_event(chance) for _ in range(12)]
        batches.append([event for event in events if caller_of(event) == caller_of(events[0])])
    history: list[tuple[list[Event], list[api.ApplyOutcome]]] = []

    async def call() -> None:
        while batches:
            events = batches.pop(0)
            history.append((events, await mesh.send(events)))

    await asyncio.gather(*(call() for _ in range(CALLERS)))
    return history


async def check(url: str, history: list[tuple[list[Event], list[api.ApplyOutcome]]]) -> None:
    """Replay the journal against the model, and every answer against the journal."""
    async with sql_store(url) as store:
        rows = await store.entries_after(0, 1_000_000)
        entries = [entry_of(parse(row.body), row.block) for row in rows]
        observer = Observer()
        events = [event for sent, _ in history for event in sent]
        observer.told(events[:0], [], [])
        for event in events:
            observer.model.sending(event)
        for event in events:
            if isinstance(event.operation, PlaceHolds):
                observer.placing[event.event_id].append(event)
        observer.told([], [], entries)
        by_id = {entry.event_id: entry for entry in entries}
        for sent, outcomes in history:
            for event, outcome in zip(sent, outcomes, strict=True):
                if outcome.HasField("entry"):
                    assert outcome.entry == entry_message(by_id[event.event_id])
                    observer.model.answer(event, Answer(by_id[event.event_id]))
                    continue
                refusal: ServiceError = from_status(outcome.error, errors.ALL)
                if refusal.reason in errors.REMEMBERED:
                    recorded = (await store.recorded([event.event_id]))[event.event_id]
                    assert refusal_of(parse(recorded.body)).metadata == refusal.metadata
        report = await store.audit(lambda stored: audit(stored))
        assert report.finding is None
        assert report.entries == len(entries) > 50


@pytest.mark.parametrize("point", failpoints.ALL)
async def test_a_writer_killed_at_any_point_loses_and_doubles_nothing(tmp_path: Path, url: str, point: str) -> None:
    async with meshed(tmp_path, url) as mesh:
        victim = await mesh.start(f"{point}=kill@7")
        await mesh.serving(victim)
        loading = asyncio.create_task(load(mesh, seed=len(point)))
        assert await victim.wait() == -signal.SIGKILL
        mesh.found.clear()
        heir = await mesh.start()
        await mesh.serving(heir)
        history = await loading
        heir.terminate()
        assert await heir.wait() == 0
        await check(url, history)


@pytest.mark.parametrize("point", [failpoints.AFTER_INSERTS, failpoints.BEFORE_COMMIT, failpoints.AFTER_COMMIT])
async def test_an_unknown_outcome_is_resolved_by_looking_again(tmp_path: Path, url: str, point: str) -> None:
    async with meshed(tmp_path, url) as mesh:
        process = await mesh.start(f"{point}=error@5")
        await mesh.serving(process)
        history = await load(mesh, seed=5)
        process.terminate()
        assert await process.wait() == 0
        await check(url, history)


@pytest.mark.parametrize("how", ["restart", "crash", "connections"])
async def test_postgresql_may_go_away_under_load(tmp_path: Path, how: str) -> None:
    with throwaway_postgres() as server:
        url = server.database()
        async with meshed(tmp_path, url) as mesh:
            process = await mesh.start()
            await mesh.serving(process)
            loading = asyncio.create_task(load(mesh, seed=3, calls=CALLS * 3))
            for _ in range(3):
                await asyncio.sleep(0.1)
                if how == "connections":
                    await asyncio.to_thread(server.kill_connections)
                else:
                    await asyncio.to_thread(server.stop, signal.SIGINT if how == "restart" else signal.SIGQUIT)
                    await asyncio.to_thread(server.start)
            history = await loading
            process.terminate()
            assert await process.wait() == 0
            await check(url, history)


async def test_a_standby_takes_over(tmp_path: Path, postgres: ThrowawayPostgres) -> None:
    url = postgres.database()
    async with meshed(tmp_path, url) as mesh, AsyncExitStack():
        leader = await mesh.start()
        await mesh.serving(leader)
        standby = await mesh.start()
        await said(standby, "standing by")
        loading = asyncio.create_task(load(mesh, seed=8))
        await asyncio.sleep(0.1)
        leader.kill()
        await leader.wait()
        mesh.found.clear()
        await mesh.serving(standby)
        history = await loading
        standby.terminate()
        assert await standby.wait() == 0
        await check(url, history)


async def test_a_paused_writer_that_wakes_up_can_write_no_more(tmp_path: Path, postgres: ThrowawayPostgres) -> None:
    url = postgres.database()
    async with meshed(tmp_path, url) as mesh:
        old = await mesh.start()
        await mesh.serving(old)
        old_target = mesh.target
        loading = asyncio.create_task(load(mesh, seed=13))
        await asyncio.sleep(0.1)
        old.send_signal(signal.SIGSTOP)
        mesh.found.clear()
        # The database gives a dead leader's connections up after some keepalives; here at once.
        await asyncio.to_thread(postgres.kill_connections)
        new = await mesh.start()
        await mesh.serving(new)
        history = await loading
        old.send_signal(signal.SIGCONT)
        late = [event for event in (some_event(random.Random(n)) for n in range(99)) if caller_of(event) == "gateway"]
        credentials = Credentials.from_key_file("gateway", tmp_path / "key")
        async with dial(old_target, caller=credentials, errors=errors.ALL, retry=False) as channel:
            stub: Any = LedgerServiceStub(channel)
            with pytest.raises((WriterReplaced, Unavailable)):
                await stub.Apply(api.ApplyRequest(events=[event_message(late[0])]))
        assert await old.wait() == lifecycle.REPLACED
        new.terminate()
        assert await new.wait() == 0
        await check(url, history)


def test_every_point_of_a_commit_is_named() -> None:
    assert [name.partition(".")[2] for name in failpoints.ALL] == [
        "after_begin", "after_inserts", "before_commit", "after_commit", "before_answer",
    ]  # fmt: skip
