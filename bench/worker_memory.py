"""What a worker takes of memory and disk over thousands of jobs: `make bench-worker-memory`.

The agent and its painting process as they are, two models that do not fit into memory together and take turns, a mesh
that is played. Some jobs are revoked, and the stream breaks now and then. Ends with 1 where anything grows: the second
half of the run is compared with the first, after a tenth to get warm. Ended early (Ctrl-C, SIGTERM, `--minutes`), it
says and plots what it has.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import stat
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil

from horde.api.worker.v1 import worker_service_pb2 as pb
from horde.services import lifecycle
from horde.services.clock import SystemClock
from horde.services.streams import OutboxClosed
from horde.services.telemetry import configure_logs
from horde.testkit.worker_agent import FakeMesh, fake_mesh
from horde.worker_agent.painters.diffusers_studio import StudioSettings
from horde.worker_agent.painters.models import ModelSource
from horde.worker_agent.painters.process import ProcessPainter
from horde.worker_agent.running import working
from horde.worker_agent.settings import WorkerSettings

MODELS = ("first", "second")
IN_A_ROW = 20
"""Pictures by one model before the other's turn."""
REVOKED_EVERY = 50
BROKEN_EVERY = 500
SIDES = (64, 72, 96)
MIB = 1 << 20
GROWTH = 1.03
"""The most that the second half may take of what the first took."""


@dataclass(frozen=True)
class Taken:
    """What the worker has at one moment."""

    jobs: int
    agent_mib: float
    painter_mib: float
    state_kib: float
    """On disk: outcomes, spool, the lock."""
    files: int
    handles: int
    """Open files and sockets of both processes."""


async def agent(target: str, folder: Path) -> None:
    """The worker, until it is told to stop."""
    # Room for one: each switch loads the other anew.
    sources = tuple(ModelSource(name, str(folder / name), stand_in=True) for name in MODELS)
    settings = WorkerSettings(
        gateway=target,
        api_key="bench",  # type: ignore[arg-type]
        name="bench",
        state_dir=folder / "state",
        models=",".join(f"{name}={folder / name}" for name in MODELS),
        drain_seconds=0,
    )
    configure_logs(level="ERROR", form=settings.log_format, service="worker")
    painter = ProcessPainter(StudioSettings(sources, threads=1, memory_bytes=1))
    await painter.open()
    try:
        async with working(settings, painter, SystemClock()):
            await lifecycle.until_signalled()
    finally:
        await painter.close()


def looked_at(process: psutil.Process, state: Path, jobs: int) -> Taken:
    children = process.children(recursive=True)
    sizes = [size for path in state.rglob("*") if (size := size_of(path)) is not None]
    return Taken(
        jobs,
        process.memory_info().rss / MIB,
        sum(child.memory_info().rss for child in children) / MIB,
        sum(sizes) / 1024,
        len(sizes),
        sum(one.num_fds() if hasattr(one, "num_fds") else 0 for one in (process, *children)),
    )


def size_of(path: Path) -> int | None:
    """Bytes of a file; None for what is none, or is gone by now: the worker deletes while it is looked at."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


async def work(mesh: FakeMesh, process: psutil.Process, state: Path, count: int, taken: list[Taken]) -> None:
    """Lend jobs, two at a time, until so many have ended."""
    gateway = mesh.gateway
    await gateway.until(lambda: gateway.attached and gateway.restatements())
    ended: set[str] = set()
    lent: dict[str, pb.Assignment] = {}
    number, broken = 0, False
    while len(ended) < count:
        if broken or not gateway.attached:
            broken = False
            await gateway.until(gateway.restatements)
            # What was on its way when the stream broke has never come.
            here = {held.lease_id for held in gateway.restatements()[-1].leases}
            here |= {outcome.lease_id for outcome in gateway.outcomes()}
            lent = {lease: one for lease, one in lent.items() if lease in here}
        while len(lent) < 2:
            model = MODELS[number // IN_A_ROW % 2]
            side = SIDES[number % len(SIDES)]
            try:
                one = mesh.assign("a star", model=model, width=side, height=64, steps=1, seed=number)
            except OutboxClosed:
                # The old stream is not quite gone.
                broken = True
                gateway.heard.clear()
                break
            lent[one.lease_id] = one
            number += 1
            if not number % REVOKED_EVERY:
                gateway.say(revocation=pb.Revocation(lease_id=one.lease_id))
        if broken:
            continue
        with contextlib.suppress(TimeoutError):
            await gateway.until(lambda: not gateway.attached or gateway.outcomes())
        outcomes = gateway.outcomes()
        # What was heard and stored would be what grows.
        gateway.heard.clear()
        mesh.router.stored.clear()
        mesh.router.traces.clear()
        for outcome in outcomes:
            if lent.pop(outcome.lease_id, None) is not None:
                ended.add(outcome.lease_id)
                if not len(ended) % max(1, count // 250):
                    taken.append(await asyncio.to_thread(looked_at, process, state, len(ended)))
                    print(taken[-1], flush=True)
                if not len(ended) % BROKEN_EVERY:
                    gateway.hang_up()
                    gateway.heard.clear()
                    broken = True


async def run(count: int, minutes: float | None, taken: list[Taken]) -> None:
    """The whole run, or as much of it as there is time for."""
    running = asyncio.current_task()
    assert running is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    try:
        async with asyncio.timeout(None if minutes is None else minutes * 60):
            await jobs(count, taken)
    except (asyncio.CancelledError, TimeoutError) as error:
        print(f"ended early: {error!r}", flush=True)


async def jobs(count: int, taken: list[Taken]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with fake_mesh() as mesh:
            worker = await asyncio.create_subprocess_exec(sys.executable, __file__, "--agent", mesh.target, str(folder))
            try:
                await work(mesh, psutil.Process(worker.pid), folder / "state", count, taken)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    worker.terminate()
                await worker.wait()


def grown(taken: list[Taken], count: int) -> Iterator[str]:
    """What grew, in words."""
    warm = [one for one in taken if one.jobs >= count // 10]
    names = ("agent, MiB", "painter, MiB", "disk, KiB", "files", "handles")
    for name, values in zip(names, list(zip(*map(astuple, warm), strict=True))[1:], strict=True):
        half = len(values) // 2
        first, second = statistics.mean(values[:half]), statistics.mean(values[half:])
        print(f"{name}: {first:.1f} in the first half, {second:.1f} in the second, {max(values):.1f} at most")
        # Of a few files more or less nothing follows.
        if second > first * GROWTH + 2:
            yield name


def plot(taken: list[Taken], path: Path) -> None:
    pyplot: Any = import_module("matplotlib.pyplot")
    figure, (memory, disk) = pyplot.subplots(2, 1, sharex=True, figsize=(8, 6))
    jobs = [one.jobs for one in taken]
    memory.plot(jobs, [one.painter_mib for one in taken], label="painting process")
    memory.plot(jobs, [one.agent_mib for one in taken], label="agent")
    memory.set_ylabel("MiB of memory")
    disk.plot(jobs, [one.state_kib for one in taken], label="KiB on disk")
    disk.plot(jobs, [one.handles for one in taken], label="open files and sockets")
    disk.set_xlabel(f"jobs; the other model is loaded after every {IN_A_ROW}")
    for part in (memory, disk):
        part.set_ylim(bottom=0)
        part.legend()
    figure.savefig(path, dpi=80)


def main() -> int:
    """Measure, plot, and say what grew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=5_000)
    parser.add_argument("--minutes", type=float, help="end then, however many jobs there were")
    parser.add_argument("--plot", type=Path, default=Path("worker-agent/memory.png"))
    parser.add_argument("--agent", nargs=2, metavar=("TARGET", "FOLDER"), help="be the worker")
    asked = parser.parse_args()
    if asked.agent:
        asyncio.run(agent(asked.agent[0], Path(asked.agent[1])))
        return 0
    taken: list[Taken] = []
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(asked.jobs, asked.minutes, taken))
    if len(taken) < 2:
        return 1
    plot(taken, asked.plot)
    jobs = taken[-1].jobs
    names = list(grown(taken, jobs))
    print(f"{jobs} jobs, {jobs // IN_A_ROW} switches: " + (f"{', '.join(names)} grew" if names else "flat"))
    return int(bool(names))


if __name__ == "__main__":
    sys.exit(main())
