"""What it costs when a leader, or Redis, is gone under load: `make standbys`, `make redis-outages`.

    python bench/replicas.py standbys [--queued 10000]
    python bench/replicas.py redis [--seconds 20]

Two of everything behind Envoy on PostgreSQL, Redis and S3. `standbys`: with so many jobs queued, the leader of the
ledgers and of the schedulers is killed -9, stopped (SIGSTOP), and cut off from everybody, one after the other; somebody
new asks for a picture every quarter of a second, and how long it takes from the fault until the first of them is done
says when dispatch is back. In the end every job must be done and paid once. `redis`: the store is
emptied, killed for 20 seconds and started again; calls that failed, jobs lost, and latencies before, during and after.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import psycopg

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.mesh.many import LED, Many, many_of_everything  # noqa: E402 - the tests and the bench are no packages
from tests.mesh.probing import assert_done_and_paid, books_of, rich_account, scripted, small  # noqa: E402

from horde.api.generation.v1.generation_pb2 import Generation  # noqa: E402
from horde.cli.local.roles import Role  # noqa: E402
from horde.clients.client import HordeClient  # noqa: E402
from horde.clients.retrying import Patience  # noqa: E402
from horde.services.errors import ServiceError  # noqa: E402

BOUNDS = {"MAX_JOBS": "1000000", "MAX_UNPAINTABLE_JOBS": "1000000"}
EXTRA = {Role.SCHEDULER: {"RESUME_GRACE_SECONDS": "60", "LEASE_TTL_SECONDS": "240", **BOUNDS}}
WAITING = """
SELECT 1 FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()
"""
"""Finds a row where somebody waits for the lock of a leader."""
PATIENT = Patience(total=timedelta(seconds=600))
IMAGES = 8
"""Of a generation that waits."""
ASKING = 16
UNDISTURBED = 12
"""Pictures that the newcomer asks for, one after the other, before anything happens."""
PROBE_SECONDS = 0.25
"""Between two pictures that are asked for after a fault: by so much at most it is seen late that dispatch is back."""


@dataclass
class Asked:
    """Pictures that somebody asked for one after the other: when, and how long each took."""

    horde: HordeClient
    done: list[tuple[float, float, float]] = field(default_factory=list)
    """When it was asked for, when that was answered, when it was done; seconds of the monotonic clock."""
    failed: list[tuple[float, str]] = field(default_factory=list)
    generations: list[Generation] = field(default_factory=list)
    stopping: bool = False

    async def ask(self) -> None:
        """One after the other, until told to stop."""
        while not self.stopping:
            await self.ask_once()

    async def until_done(self) -> float:
        """Ask every PROBE_SECONDS, whatever became of those before, until one is done: how many seconds that takes.

        Then wait for the others.
        """
        began, asking = time.monotonic(), [asyncio.create_task(self.ask_once())]
        while not any(task.done() for task in asking):
            await asyncio.wait(asking, timeout=PROBE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            asking.append(asyncio.create_task(self.ask_once()))
        took = time.monotonic() - began
        await asyncio.gather(*asking)
        return took

    async def ask_once(self) -> None:
        """One, until it is done. What fails is asked for again, under the same id."""
        asked, request_id = time.monotonic(), str(uuid.uuid4())
        while True:
            try:
                generation = await self.horde.generations.create(small("[instant]"), request_id=request_id)
                answered = time.monotonic()
                generation = await self.horde.generations.finish(generation.generation_id)
                break
            except ServiceError as error:
                self.failed.append((time.monotonic(), type(error).__name__))
                await asyncio.sleep(0.2)
        self.generations.append(generation)
        self.done.append((asked, answered, time.monotonic()))

    def within(self, begin: float, end: float) -> str:
        """What people had who asked within this time."""
        mine = [(answered - asked, done - asked) for asked, answered, done in self.done if begin <= asked < end]
        failed = sum(begin <= moment < end for moment, _ in self.failed)
        if not mine:
            return f"{0:6} pictures, {failed} calls failed"
        create, finish = (sorted(values) for values in zip(*mine, strict=True))
        return (
            f"{len(mine):6} pictures, {failed} calls failed; "
            f"create p50 {_at(create, 0.5):6.0f} p99 {_at(create, 0.99):6.0f} ms, "
            f"done p50 {_at(finish, 0.5):6.0f} p99 {_at(finish, 0.99):6.0f} ms"
        )


def _at(values: list[float], part: float) -> float:
    return 1000 * values[min(len(values) - 1, int(part * len(values)))]


async def standbys(queued: int, folder: Path) -> bool:
    async with AsyncExitStack() as stack:
        mesh = await stack.enter_async_context(many_of_everything(folder, EXTRA, cables=True))
        crowd = [await _patient(stack, mesh, f"crowd {number}") for number in range(4)]
        newcomer = Asked(await _patient(stack, mesh, "newcomer"))
        began = time.monotonic()
        waiting = [
            await horde.generations.create(small("[slow:0.01]", count=IMAGES)) for horde in crowd for _ in range(2)
        ]
        ids = [(crowd[i // 2], generation.generation_id) for i, generation in enumerate(waiting)]
        left = iter(range(len(waiting), queued // IMAGES))

        async def filling() -> None:
            for number in left:
                horde = crowd[number % len(crowd)]
                made = await horde.generations.create(small("[slow:0.01]", count=IMAGES))
                ids.append((horde, made.generation_id))

        await asyncio.gather(*(filling() for _ in range(ASKING)))
        print(f"{len(ids) * IMAGES} jobs queued in {time.monotonic() - began:.0f} s", flush=True)
        for name in ("anna", "bert", "cleo", "dora"):
            await mesh.start_worker(scripted(name))
        began_asking = time.monotonic()
        for _ in range(UNDISTURBED):
            await newcomer.ask_once()
        print(f"undisturbed:{newcomer.within(began_asking, time.monotonic())}", flush=True)
        print(f"{'leader':<12}{'fault':<10}{'dispatch back':>15}{'replaced after it came back':>30}")
        for role in LED:
            for how in ("killed", "stopped", "cut off"):
                await _fault(mesh, newcomer, role, how)
        print("waiting for all of the queue", flush=True)
        ended = [
            *newcomer.generations,
            *[await horde.generations.finish(generation_id) for horde, generation_id in ids],
        ]
        async with books_of(mesh) as books:
            for generation in ended:
                await assert_done_and_paid(books, generation)
            await books.assert_balanced()
        images = [image for generation in ended for image in generation.images]
        again = sum(image.attempt > 1 for image in images)
        print(
            f"{len(images)} images in {time.monotonic() - began:.0f} s, all done and each paid once; "
            f"{again} painted again"
        )
        return len({image.job_id for image in images}) == len(images)


async def _fault(mesh: Many, newcomer: Asked, role: Role, how: str) -> None:
    await _stands_by(mesh, role)
    victim, replaced = await mesh.leader(role), len(mesh.replaced)
    process = mesh.processes[victim]
    match how:
        case "killed":
            await process.kill()
        case "stopped":
            os.kill(process.pid, signal.SIGSTOP)
        case _:
            mesh.cables[victim].cut()
    back, came = await newcomer.until_done(), time.monotonic()
    after = "-"
    match how:
        case "killed":
            await mesh.start_replica(victim)
        case "stopped":
            os.kill(process.pid, signal.SIGCONT)
        case _:
            mesh.cables[victim].mend()
    if how != "killed":
        await _until(lambda: victim in mesh.replaced[replaced:])
        after = f"{time.monotonic() - came:.1f} s"
    print(f"{role.value:<12}{how:<10}{back:>13.1f} s{after:>30}", flush=True)
    await newcomer.ask_once()


async def _stands_by(mesh: Many, role: Role) -> None:
    """Wait until the other waits for its turn: a process that is only being started takes over later."""
    async with await psycopg.AsyncConnection.connect(mesh.beyond(role)["DATABASE_URL"], autocommit=True) as database:
        while await (await database.execute(WAITING)).fetchone() is None:
            await asyncio.sleep(0.1)


async def redis(seconds: float, folder: Path) -> bool:
    async with AsyncExitStack() as stack:
        mesh = await stack.enter_async_context(many_of_everything(folder, EXTRA))
        for name in ("anna", "bert", "cleo", "dora"):
            await mesh.start_worker(scripted(name))
        asked = Asked(await stack.enter_async_context(rich_account(mesh)))
        asking = [asyncio.create_task(asked.ask()) for _ in range(ASKING)]
        await _until(lambda: len(asked.done) >= ASKING)
        phases: list[tuple[str, Callable[[], Awaitable[object]]]] = [
            ("before", lambda: asyncio.sleep(seconds)),
            ("emptied", lambda: _emptied(mesh, seconds)),
            ("silent", lambda: _silent(mesh, seconds)),
            ("killed", lambda: _killed(mesh, seconds)),
            ("after", lambda: asyncio.sleep(seconds)),
        ]
        for name, phase in phases:
            begin = time.monotonic()
            await phase()
            end = time.monotonic()
            # What was asked for in it may end after it.
            await asyncio.sleep(2)
            print(f"{name:<10}{asked.within(begin, end)}", flush=True)
        asked.stopping = True
        await asyncio.gather(*asking)
        async with books_of(mesh) as books:
            for generation in asked.generations:
                await assert_done_and_paid(books, generation)
            await books.assert_balanced()
        lost = len(asked.done) - len({generation.generation_id for generation in asked.generations})
        print(
            f"{len(asked.generations)} pictures, all done and each paid once; lost {lost}; "
            f"calls failed: {len(asked.failed)}"
        )
        return not lost


async def _emptied(mesh: Many, seconds: float) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        await asyncio.to_thread(mesh.redis.ask, "FLUSHALL")
        await asyncio.sleep(1)


async def _silent(mesh: Many, seconds: float) -> None:
    mesh.redis.pause()
    await asyncio.sleep(seconds)
    mesh.redis.resume()


async def _killed(mesh: Many, seconds: float) -> None:
    mesh.redis.stop()
    await asyncio.sleep(seconds)
    await asyncio.to_thread(mesh.redis.start)


async def _patient(stack: AsyncExitStack, mesh: Many, name: str) -> HordeClient:
    rich = await stack.enter_async_context(rich_account(mesh, name))
    return await stack.enter_async_context(mesh.client(credential=rich.credential, patience=PATIENT))


async def _until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.02)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("standbys", "redis"))
    parser.add_argument("--queued", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        ran = standbys(options.queued, Path(name)) if options.what == "standbys" else redis(options.seconds, Path(name))
        return 0 if asyncio.run(ran) else 1


if __name__ == "__main__":
    sys.exit(main())
