"""Two of everything, restarted one after the other under load, as a rollout does it: `make rolling`.

Each process is told SIGTERM, drains, ends, and is started again; the next one follows when it serves, or stands by for
who leads, as the chart's readiness probes have it. With `--previous
COMMIT` half of the processes run that commit's code at first: the first round brings them all to this code, so old and
new work with each other in every pair, and the second one takes half of them back, as a rollback does.

What counts as a call: everything that a requester asks of the SDK (create, watch to the end, fetch), which is told of
failures only when the SDK's own patience is out. A lease is lost if an image needed more than one. Exit status 1 if a
call failed, a lease was lost, a process did not end by itself, or the books do not balance.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, TypeVar

from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.mesh.many import LED, REPLICAS, Many, Replica, many_of_everything  # noqa: E402 - the tests are no package
from tests.mesh.probing import assert_done_and_paid, books_of, rich_account, small  # noqa: E402

from horde.api.generation.v1.generation_pb2 import Generation  # noqa: E402
from horde.cli.local.mesh import WorkerPlan, free_ports, says_serving  # noqa: E402
from horde.cli.local.roles import Role  # noqa: E402
from horde.clients.client import HordeClient  # noqa: E402
from horde.clients.errors import ServiceError  # noqa: E402
from horde.scheduler.settings import Settings as SchedulerSettings  # noqa: E402
from horde.services.probes import FIT  # noqa: E402

T = TypeVar("T")

STOP_SECONDS: Final = 60.0
"""As Kubernetes waits for a pod by the chart."""
PAINTER: Final = (str(Path(__file__).with_name("mesh_painters.py")),)
WORKERS: Final = 4
STEP_SECONDS: Final = 0.05
STEPS: Final = 10
GRACE: Final = str(SchedulerSettings.model_fields["resume_grace_seconds"].default)
"""Tests give up workers sooner than operators do."""


@dataclass
class Load:
    """Requesters that ask for pictures all the time, and what became of it."""

    ended: list[Generation] = field(default_factory=list)
    calls: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    slowest_seconds: float = 0.0
    stopping: bool = False

    def begin(self) -> None:
        """Count from here on."""
        self.ended.clear()
        self.calls, self.slowest_seconds = 0, 0.0
        self.failed.clear()

    async def ask(self, horde: HordeClient) -> None:
        while not self.stopping:
            spec = small("a picture for a rollout", steps=STEPS, count=2)
            created = await self._call(horde.generations.create(spec, request_id=str(uuid.uuid4())))
            if created is None:
                continue
            ended = await self._call(horde.generations.finish(created.generation_id))
            if ended is None:
                continue
            for image in ended.images:
                if image.sha256:
                    await self._call(horde.images.fetch_from(ended, image.job_id))
            self.ended.append(ended)

    async def _call(self, call: Awaitable[T]) -> T | None:
        self.calls += 1
        began = time.monotonic()
        try:
            return await call
        except ServiceError as error:
            self.failed[f"{type(error).__name__}: {error}"] += 1
            return None
        finally:
            self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - began)

    async def further(self, count: int) -> None:
        """Wait until so many more have ended."""
        goal = len(self.ended) + count
        while len(self.ended) < goal:
            await asyncio.sleep(0.05)


NAMES: Final = """
import importlib, sys
for value in vars(importlib.import_module(sys.argv[1] + ".settings")).values():
    print(*getattr(value, "model_fields", ()))
"""


@dataclass(frozen=True)
class Code:
    """The code of another commit, in a work tree of its own."""

    place: Path

    def told(self, replica: Replica) -> dict[str, str]:
        """What a process needs in its environment to run this code."""
        roots = sorted((*self.place.glob("*/src"), self.place / "protos" / "gen"))
        return {"PYTHONPATH": os.pathsep.join(map(str, roots))}

    def names(self, role: Role) -> set[str]:
        """The settings that it has, as variables."""
        environment = os.environ | self.told(REPLICAS[0])
        asked = subprocess.run(
            [sys.executable, "-c", NAMES, role.module], env=environment, capture_output=True, text=True, check=True
        )
        return {f"{role.prefix}{name.upper()}" for name in asked.stdout.split()}


class Rollout:
    """A mesh of replicas, some of which run other code."""

    def __init__(self, mesh: Many, load: Load, previous: Code | None) -> None:
        self._mesh = mesh
        self._load = load
        self._previous = previous
        self._probes = {replica.name: f"127.0.0.1:{free_ports([replica.role])[replica.role]}" for replica in REPLICAS}
        self.slow: dict[str, float] = {}
        """Seconds from SIGTERM to the end, by process."""
        self.forced: list[str] = []

    async def start(self, replica: Replica, *, old: bool) -> None:
        code = self._previous if old else None
        probed = {f"{replica.role.prefix}HEALTH_LISTEN": self._probes[replica.name]}
        if code is None:
            await self._mesh.start_replica(replica.name, probed)
        else:
            names = await asyncio.to_thread(code.names, replica.role)
            await self._mesh.start_replica(replica.name, code.told(replica) | probed, names)

    async def restart(self, replica: Replica, *, old: bool = False) -> None:
        """SIGTERM, wait for its end, start it again, and wait until work goes on."""
        began = time.monotonic()
        status = await self._mesh.processes[replica.name].stop(STOP_SECONDS)
        gone = time.monotonic() - began
        self.slow[replica.name] = max(self.slow.get(replica.name, 0.0), gone)
        if status != 0:
            self.forced.append(f"{replica.name}: status {status}")
        await self.start(replica, old=old)
        if replica.role in LED:
            await self._mesh.leader(replica.role)
        else:
            await says_serving(self._mesh.address_of(replica.name))
        led = time.monotonic() - began
        await is_fit(self._probes[replica.name])
        await self._load.further(WORKERS)
        works = time.monotonic() - began
        print(
            f"  {replica.name}: gone after {gone:.1f} s, served from {led:.1f} s, work from {works:.1f} s", flush=True
        )


async def is_fit(address: str) -> None:
    """Wait until a process takes calls or stands by for who does; until it lives, if its code is too old to say so."""
    status = health_pb2.HealthCheckResponse
    async with aio.insecure_channel(address, options=[("grpc.max_reconnect_backoff_ms", 250)]) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        async for answer in health.Watch(health_pb2.HealthCheckRequest(service=FIT), wait_for_ready=True):
            if answer.status in (status.SERVING, status.SERVICE_UNKNOWN):
                return


async def run(folder: Path, requesters: int, previous: Code | None) -> bool:
    """One rollout, or two with other code; whether nobody noticed."""
    extra = {Role.SCHEDULER: {"RESUME_GRACE_SECONDS": GRACE}}
    async with many_of_everything(folder, extra) as mesh, rich_account(mesh) as account:
        load = Load()
        rollout = Rollout(mesh, load, previous)
        for number in range(WORKERS):
            os.environ["BENCH_NOTES"] = str(folder / f"painter-{number}.notes")
            os.environ["BENCH_SCRIPT"] = f"[instant] [slow:{STEP_SECONDS}]"
            await mesh.start_worker(WorkerPlan(f"painter-{number}", "scripted", {"LOG_LEVEL": "warning"}, PAINTER))
        asking = [asyncio.create_task(load.ask(account)) for _ in range(requesters)]
        try:
            if previous is not None:
                print("every second process goes back to the other code, unmeasured", flush=True)
                for replica in REPLICAS[1::2]:
                    await rollout.restart(replica, old=True)
            await load.further(WORKERS)
            load.begin()
            began = time.monotonic()
            for replica in REPLICAS:
                await rollout.restart(replica)
                print(f"{time.monotonic() - began:6.1f} s  {replica.name} is new", flush=True)
            if previous is not None:
                for replica in REPLICAS[::2]:
                    await rollout.restart(replica, old=True)
                    print(f"{time.monotonic() - began:6.1f} s  {replica.name} is old again", flush=True)
            ended = time.monotonic()
        finally:
            load.stopping = True
            await asyncio.gather(*asking)
        for number in range(WORKERS):
            await mesh.processes.pop(f"painter-{number}").stop(STOP_SECONDS)
        async with books_of(mesh) as books:
            for generation in load.ended:
                await assert_done_and_paid(books, generation)
            await books.assert_balanced()
    return report(load, rollout, longest_pause(folder, began, ended), ended - began)


def longest_pause(folder: Path, began: float, ended: float) -> tuple[float, float]:
    """The longest time between these moments in which no worker began a picture, and when it began, in seconds."""
    lines = [line.split() for path in folder.glob("painter-*.notes") for line in path.read_text().splitlines()]
    moments = sorted(at for at in (float(at) for _, at in lines) if began <= at <= ended)
    return max((after - before, before - began) for before, after in pairwise([began, *moments, ended]))


def report(load: Load, rollout: Rollout, pause: tuple[float, float], seconds: float) -> bool:
    """Say what came of it."""
    images = [image for generation in load.ended for image in generation.images]
    lost = sum(image.attempt - 1 for image in images)
    slowest = max(rollout.slow, key=lambda name: rollout.slow[name])
    print(f"{len(rollout.slow)} processes restarted in {seconds:.0f} s; {len(images)} pictures, all done and paid once")
    print(f"calls {load.calls}, failed calls {load.failed.total()}, the slowest {load.slowest_seconds:.1f} s")
    for what, times in load.failed.most_common(10):
        print(f"  {times} x {what}")
    print(f"leases lost {lost}, longest pause of dispatch {pause[0]:.1f} s, from {pause[1]:.1f} s on")
    print(f"slowest to end: {slowest}, {rollout.slow[slowest]:.1f} s; not by themselves: {rollout.forced or 'none'}")
    return not (load.failed or lost or rollout.forced)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requesters", type=int, default=4)
    parser.add_argument(
        "--previous", default="", metavar="COMMIT", help="whose code every second process runs at first"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, checked_out(arguments.previous, Path(name) / "previous") as previous:
        return 0 if asyncio.run(run(Path(name), arguments.requesters, previous)) else 1


@contextmanager
def checked_out(commit: str, place: Path) -> Iterator[Code | None]:
    """A work tree of that commit."""
    if not commit:
        yield None
        return
    subprocess.run(["git", "worktree", "add", "-q", "--detach", place, commit], cwd=ROOT, check=True)
    try:
        yield Code(place)
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", place], cwd=ROOT, check=True)


if __name__ == "__main__":
    sys.exit(main())
