"""What ten thousand workers cost while nothing happens, and how soon one gets a job: `make crowd`.

    python bench/crowd.py [--workers 10000] [--queued 10000 100000] [--png FILE]

A mesh on SQLite and folders, and workers that paint nothing, each on a connection of its own, that come back as the
worker agent does. Tells what attaching costs as they become more, what they cost while idle, how long a new job takes
to its worker beside empty and long queues of jobs that these workers cannot paint, and how long all are away when the
gateway, and with the longest queue the scheduler, is killed and started again. On a shared machine read processor time
before seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from crowd_workers import MAX_PIXELS
from mesh_meter import memory_mb, processor_seconds

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.mesh.probing import NO_LIMITS, rich_account, small  # noqa: E402 - the tests and the bench are no packages

from horde.cli.local.mesh import LocalMesh, local_mesh  # noqa: E402
from horde.cli.local.processes import environment  # noqa: E402
from horde.cli.local.roles import Role  # noqa: E402
from horde.clients.client import HordeClient  # noqa: E402
from horde.clients.retrying import Patience  # noqa: E402

PROCESSES = 4
OF_ONE_OWNER = 16
"""As many as an owner may have for whose images nobody has paid yet."""
SIDE = int(MAX_PIXELS**0.5)
LARGE = {"width": 2 * SIDE, "height": 2 * SIDE, "count": 20}
"""What these workers cannot paint; it costs kudos that a new account has not, so few of them are rich."""
EXTRA = {
    Role.GATEWAY: {**NO_LIMITS, "BRAKE": "false", "MAX_SESSIONS": "50000", "FORWARDED_FROM": "127.0.0.0/8"},
    Role.SCHEDULER: {
        "PROVEN_IMAGES": "0",
        "CHECKS_PART": "0",
        "MAX_JOBS": "1000000",
        "MAX_UNPAINTABLE_JOBS": "1000000",
    },
}
COUNTED = ("gateway", "scheduler", "ledger", "storage-router")
AT_ONCE = 250
"""Workers that come together: elsewhere each has a machine of its own."""
ASKED = 200
"""New jobs in a row whose way to a worker is timed."""
PATIENT = Patience(total=timedelta(seconds=300), longest_pause=timedelta(seconds=0.5))
RICH = 4
ASKING = 16


class Crowd:
    """The workers, and what happened to them."""

    def __init__(self) -> None:
        self.attached: list[float] = []
        self.called: list[float] = []
        self.restated: list[float] = []
        self.lent: dict[str, float] = {}
        """When a generation came to a worker."""
        self._children: list[asyncio.subprocess.Process] = []

    @asynccontextmanager
    async def running(self, gateway: str) -> AsyncIterator[Crowd]:
        """Their processes, for as long as the block."""
        program = [sys.executable, str(ROOT / "bench" / "crowd_workers.py"), gateway]
        for _ in range(PROCESSES):
            child = await asyncio.create_subprocess_exec(
                *program,
                env=environment() | {"GRPC_VERBOSITY": "NONE"},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            self._children.append(child)
        reading = [asyncio.create_task(self._read(child)) for child in self._children]
        try:
            yield self
        finally:
            for child in self._children:
                child.kill()
            await asyncio.gather(*reading)

    def attach(self, names: Mapping[str, str]) -> None:
        """Have these come, with their keys."""
        for number, (name, key) in enumerate(names.items()):
            stdin = self._children[number % PROCESSES].stdin
            assert stdin is not None
            stdin.write(f"{name} {key}\n".encode())

    async def there(self, count: int) -> None:
        """Wait until so many have been welcomed, ever."""
        await until(lambda: len(self.attached) >= count)

    async def _read(self, child: asyncio.subprocess.Process) -> None:
        assert child.stdout is not None
        async for line in child.stdout:
            what, moment, about = line.decode().rstrip().split(" ", 2)
            match what:
                case "attached":
                    self.attached.append(float(moment))
                case "calls":
                    self.called.append(float(moment))
                case "restates":
                    self.restated.append(float(moment))
                case "lent":
                    self.lent.setdefault(about, float(moment))
                case _:
                    print(line.decode().rstrip(), flush=True)


def pids(mesh: LocalMesh) -> dict[str, int]:
    return {name: process.pid for name, process in mesh.processes.items() if name in COUNTED}


def spent(mesh: LocalMesh) -> dict[str, float]:
    return processor_seconds(pids(mesh))


def words(costs: Mapping[str, float], unit: str, digits: int = 2) -> str:
    return ", ".join(f"{name} {cost:.{digits}f}" for name, cost in costs.items()) + f" {unit}"


async def attach_all(mesh: LocalMesh, crowd: Crowd, count: int) -> None:
    """All workers, in four parts; what each part costs by worker."""
    async with mesh.client() as nobody:
        gate = asyncio.Semaphore(ASKING)

        async def owner(number: int) -> str:
            async with gate:
                return (await nobody.accounts.create(f"owner {number}")).api_key

        keys = await asyncio.gather(*(owner(number) for number in range(-(-count // OF_ONE_OWNER))))
    names = {str(number): keys[number // OF_ONE_OWNER] for number in range(count)}
    memory = memory_mb(pids(mesh))
    parts = [list(names)[count * part // 4 : count * (part + 1) // 4] for part in range(4)]
    for part in parts:
        before, began = spent(mesh), time.monotonic()
        goal = len(crowd.attached) + len(part)
        for start in range(0, len(part), AT_ONCE):
            some = part[start : start + AT_ONCE]
            there = len(crowd.attached)
            crowd.attach({name: names[name] for name in some})
            await crowd.there(there + len(some))
        costs = {name: 1000 * (cost - before[name]) / len(part) for name, cost in spent(mesh).items()}
        print(f"{goal:>7} attached, {time.monotonic() - began:5.1f} s: {words(costs, 'CPU-ms each')}", flush=True)
    grown = {name: 1000 * (now - memory[name]) / count for name, now in memory_mb(pids(mesh)).items()}
    print(f"memory: {words(grown, 'KB a worker', 1)}", flush=True)


async def idle(mesh: LocalMesh, count: int, seconds: float) -> None:
    """What they cost while nothing happens."""
    before, began = spent(mesh), time.monotonic()
    await asyncio.sleep(seconds)
    passed = time.monotonic() - began
    costs = {name: 1000 * (cost - before[name]) / passed / count for name, cost in spent(mesh).items()}
    print(f"idle: {words(costs, 'CPU-ms a second and worker', 4)}", flush=True)


async def one(crowd: Crowd, horde: HordeClient) -> float:
    """Seconds from asking for a picture until a worker has the job. It is cancelled then."""
    asked = time.monotonic()
    generation = await horde.generations.create(small("a fox"))
    generation_id = generation.generation_id
    await until(lambda: generation_id in crowd.lent)
    await horde.generations.cancel(generation_id)
    return crowd.lent[generation_id] - asked


async def to_a_worker(mesh: LocalMesh, crowd: Crowd, horde: HordeClient, title: str) -> None:
    """How long new jobs take to a worker, one after the other."""
    before = spent(mesh)
    waits = sorted([await one(crowd, horde) for _ in range(ASKED)])
    costs = {name: 1000 * (cost - before[name]) / ASKED for name, cost in spent(mesh).items()}
    p50, p99 = (1000 * waits[int(part * len(waits))] for part in (0.5, 0.99))
    print(
        f"{title:>7} queued: create -> worker p50 {p50:.0f}, p99 {p99:.0f} ms; {words(costs, 'CPU-ms each')}",
        flush=True,
    )


async def queue(hordes: Sequence[HordeClient], count: int) -> None:
    """So many jobs more, of a kind that these workers do not paint."""
    left = iter(range(count // LARGE["count"]))

    async def filling(horde: HordeClient) -> None:
        for _ in left:
            await horde.generations.create(small("a very large fox", **LARGE))

    await asyncio.gather(*(filling(hordes[number % len(hordes)]) for number in range(ASKING)))


async def restart_gateway(mesh: LocalMesh, crowd: Crowd, count: int, png: Path) -> None:
    """Kill the gateway, start it again, and see who comes back when."""
    attached, called, began = len(crowd.attached), len(crowd.called), time.monotonic()
    scheduler = spent(mesh)["scheduler"]
    await mesh.processes["gateway"].kill()
    await mesh.start(Role.GATEWAY)
    await mesh.serving(Role.GATEWAY)
    serves = time.monotonic() - began
    await crowd.there(attached + count)
    calls = [moment - began for moment in crowd.called[called:]]
    back = sorted(moment - began for moment in crowd.attached[attached:])
    costs = {name: cost - (scheduler if name == "scheduler" else 0) for name, cost in spent(mesh).items()}
    ms = {name: 1000 * costs[name] / count for name in ("gateway", "scheduler")}
    print(
        f"gateway killed: serves again after {serves:.1f} s; half are back after {back[len(back) // 2]:.1f} s, all "
        f"after {back[-1]:.1f} s, with {len(calls) / count:.1f} calls each, "
        f"{max(per_second(calls))} in the busiest second; {words(ms, 'CPU-ms a worker')}",
        flush=True,
    )
    draw(calls, back, serves, png)


def per_second(moments: Sequence[float]) -> list[int]:
    counts = [0] * (int(max(moments)) + 1)
    for moment in moments:
        counts[int(moment)] += 1
    return counts


def draw(calls: Sequence[float], back: Sequence[float], serves: float, png: Path) -> None:
    """Calls and arrivals by second."""
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    bins = range(int(max(back)) + 2)
    axes.hist(calls, bins, color="#c9b8a8", label="calls, also such as find nobody")
    axes.hist(back, bins, color="#2f6f4f", alpha=0.8, label="workers that are back")
    axes.axvline(serves, color="#b4543c", label="the gateway serves again")
    axes.set_xlabel("seconds since the gateway was killed")
    axes.set_ylabel("a second")
    axes.set_title(f"{len(back):,} workers lose their gateway and come back")
    axes.legend()
    axes.spines[["top", "right"]].set_visible(False)
    png.parent.mkdir(exist_ok=True)
    figure.savefig(png, dpi=100)


async def restart_scheduler(mesh: LocalMesh, crowd: Crowd, horde: HordeClient, queued: int) -> None:
    """Kill the scheduler, start it again, and see when the next new job comes to a worker."""
    began = time.monotonic()
    await mesh.processes["scheduler"].kill()
    await mesh.start(Role.SCHEDULER)
    asking = asyncio.create_task(one(crowd, horde))
    await mesh.serving(Role.SCHEDULER)
    serves, cost = time.monotonic() - began, spent(mesh)["scheduler"]
    waited = await asking
    print(
        f"scheduler killed with {queued} queued: serves again after {serves:.1f} s ({cost:.1f} CPU-s), a new job is "
        f"with a worker after {waited:.1f} s",
        flush=True,
    )


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.005)


async def main(count: int, queued: Sequence[int], seconds: float, png: Path) -> None:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="horde-crowd-")))
        mesh = await stack.enter_async_context(local_mesh(folder, extra=EXTRA))
        crowd = await stack.enter_async_context(Crowd().running(mesh.gateway))
        await attach_all(mesh, crowd, count)
        await idle(mesh, count, seconds)
        hordes = [await stack.enter_async_context(rich_account(mesh, f"rich {number}")) for number in range(RICH)]
        rich = await stack.enter_async_context(rich_account(mesh, "newcomer"))
        # It asks while the scheduler is away, for as long as that may be.
        newcomer = await stack.enter_async_context(mesh.client(credential=rich.credential, patience=PATIENT))
        await to_a_worker(mesh, crowd, newcomer, "none")
        await restart_gateway(mesh, crowd, count, png)
        there = 0
        for goal in queued:
            await queue(hordes, goal - there)
            there = goal
            await to_a_worker(mesh, crowd, newcomer, str(goal))
        await restart_scheduler(mesh, crowd, newcomer, there)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=10_000)
    parser.add_argument("--queued", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to look at idle workers")
    parser.add_argument("--png", type=Path, default=ROOT / "out" / "coming-back.png")
    options = parser.parse_args()
    asyncio.run(main(options.workers, options.queued, options.seconds, options.png))
