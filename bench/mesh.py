"""Images a second through the whole mesh, and where the time goes: `make bench`.

Durable as in `horde up` (SQLite, synchronous=FULL; images on disk before they are acknowledged), each service its own
process on loopback, real worker agents with a scripted painter that hands out ready 50 KB images. Requesters are
accounts that create a generation of n images, watch it to its end, and create the next one.

What counts as one image: accepted, kudos held, leased, uploaded, checked, committed to the private bucket, settled, and
told to the requester, who has watched all of it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mesh_meter import machine_seconds, memory_mb, processor_seconds
from mesh_store import own_client_rate, store
from mesh_yardstick import durable_write_ms, echo_rates, processor_ms, replay_ms

from horde.api.generation.v1.generation_pb2 import Generation
from horde.api.job.v1.job_pb2 import JobEnding
from horde.cli.local.mesh import LocalMesh, WorkerPlan, local_mesh
from horde.cli.local.processes import Process
from horde.cli.local.roles import SERVICES, Role
from horde.clients.client import HordeClient
from horde.clients.credentials import ApiKey, read_secret
from horde.clients.specs import generation_spec

SIZE = 512
SERVICE_NAMES = [role.value for role in SERVICES]
LIMITS = {
    f"LIMIT_{name}": "none"
    for name in ("ACCOUNT_CALLS", "ACCOUNT_IMAGES", "ADDRESS_ACCOUNTS", "ADDRESS_FAILURES", "ANONYMOUS_CALLS")
}
EXTRA = {
    **{role: {"LOG_LEVEL": "warning"} for role in Role},
    Role.GATEWAY: {"LOG_LEVEL": "warning", **LIMITS},
}
TARGET_RATE, TARGET_CPU_MS = 110, 10
PEERS = """AI Horde 5.1.5, measured on a like machine (2 cores, PostgreSQL with fsync; 32 requesters, 8 workers):
  4.4 images/s with one server process, 4.8 with two; 136 CPU-ms per image (server and database) with one caller,
  248 when saturated; 27 ms p50 / 43 ms p99 from a worker's question to its job, 44 ms p50 for accepting a request."""


@dataclass
class Load:
    """What one run does."""

    title: str
    images: int
    n: int
    requesters: int
    fetch: bool = False
    share: bool = False


@dataclass
class Result:
    """What one run took."""

    images: int
    seconds: float
    cpu_ms: dict[str, float]
    """By process, for each image."""
    create_ms: list[float]
    begun_ms: list[float]
    """From create until the worker begins."""
    finished_ms: list[float]
    """From create until the requester has heard the end of all n."""
    others_cores: float = 0.0
    """How many cores everything else on this machine used meanwhile."""
    processor_ms: float = 0.0
    memory: dict[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        return self.images / self.seconds

    @property
    def services_cpu_ms(self) -> float:
        return sum(self.cpu_ms[name] for name in SERVICE_NAMES)


def percentile(values: list[float], share: float) -> float:
    """The smallest value that this share of all are not above."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


class Bench:
    """A running mesh under load."""

    def __init__(self, mesh: LocalMesh, clients: list[HordeClient], folder: Path, workers: int) -> None:
        self._mesh = mesh
        self._clients = clients
        self._folder = folder
        self._workers = workers
        self._seed = 1
        self._watching: list[asyncio.Task[None]] = []

    @property
    def pids(self) -> dict[str, int]:
        return {name: process.pid for name, process in self._mesh.processes.items()}

    async def run(self, load: Load) -> Result:
        """One run, on workers of its own."""
        await self._start_workers()
        try:
            # The pool of ready pictures is made at the first use; nobody's speed is measured on that.
            await self._paint(load, 4 * self._workers * load.n, [], [], {})
            created: dict[int, float] = {}
            create_ms: list[float] = []
            finished_ms: list[float] = []
            calibration = processor_ms()
            before, begun, busy = processor_seconds(self.pids), time.perf_counter(), machine_seconds()
            mine = time.process_time()
            images = await self._paint(load, load.images, create_ms, finished_ms, created)
            seconds = time.perf_counter() - begun
            after, busy = processor_seconds(self.pids), machine_seconds() - busy
            cpu = {name: (after[name] - before[name]) * 1000 / images for name in after}
            cpu["requesters"] = (time.process_time() - mine) * 1000 / images
            others = max(0.0, busy - sum(cpu.values()) * images / 1000) / seconds
            memory = memory_mb(self.pids)
        finally:
            notes = await self._stop_workers()
        begun_ms = [(notes[seed] - at) * 1000 for seed, at in created.items() if seed in notes]
        return Result(images, seconds, cpu, create_ms, begun_ms, finished_ms, others, calibration, memory)

    async def _paint(
        self, load: Load, images: int, create_ms: list[float], finished_ms: list[float], created: dict[int, float]
    ) -> int:
        left = -(-images // load.n)
        total = left * load.n

        async def requester(client: HordeClient) -> None:
            nonlocal left
            while left > 0:
                left -= 1
                seed, self._seed = self._seed, self._seed + load.n
                spec = generation_spec(
                    "a picture", count=load.n, width=SIZE, height=SIZE, steps=10, seed=seed, share=load.share
                )
                at = time.monotonic()
                generation = await client.generations.create(spec)
                create_ms.append((time.monotonic() - at) * 1000)
                created.update({seed + index: at for index in range(load.n)})
                generation = await client.generations.finish(generation.generation_id)
                finished_ms.append((time.monotonic() - at) * 1000)
                await _check(client, generation, fetch=load.fetch)

        await asyncio.gather(*(requester(self._clients[i % len(self._clients)]) for i in range(load.requesters)))
        return total

    async def _start_workers(self) -> None:
        for number in range(self._workers):
            name = f"painter-{number}"
            settings = {"PAINTERS": "8", "PREFETCH": "8", "LOG_LEVEL": "warning", "THREADS": "1"}
            os.environ["BENCH_NOTES"] = str(self._folder / f"{name}.notes")
            program = (str(Path(__file__).with_name("mesh_painters.py")),)
            process = await self._mesh.start_worker(WorkerPlan(name, "scripted", settings, program))
            self._watching.append(asyncio.create_task(_stays(process)))

    async def _stop_workers(self) -> dict[int, float]:
        notes: dict[int, float] = {}
        for task in self._watching:
            task.cancel()
        self._watching.clear()
        for number in range(self._workers):
            name = f"painter-{number}"
            await self._mesh.processes.pop(name).stop(20)
            path = self._folder / f"{name}.notes"
            lines = path.read_text().splitlines() if path.exists() else []
            notes |= {int(seed): float(at) for seed, at in (line.split() for line in lines)}
        return notes


async def _stays(process: Process) -> None:
    """End the bench if a worker ends: without one it would wait for ever."""
    status = await process.ended()
    print(f"{process.name} ended with status {status}:", *process.tail, sep="\n", file=sys.stderr, flush=True)
    os._exit(1)


async def _check(client: HordeClient, generation: Generation, *, fetch: bool) -> None:
    for image in generation.images:
        if image.ending != JobEnding.JOB_ENDING_DONE:
            raise SystemExit(f"an image ended as {JobEnding.Name(image.ending)}: {image.ending_detail}")
        if fetch:
            await client.images.fetch_from(generation, image.job_id)


async def rich_clients(mesh: LocalMesh, count: int) -> list[HordeClient]:
    """Accounts with plenty of kudos, each on a channel of its own."""
    clients = []
    operator = mesh.client(credential=ApiKey(read_secret(mesh.layout.operator_key) or ""))
    async with mesh.client() as nobody, operator:
        for number in range(count):
            opened = await nobody.accounts.create(f"requester {number}")
            await operator.kudos.award(opened.account.account_id, 10**12, reason="bench")
            clients.append(await mesh.client(credential=ApiKey(opened.api_key)).__aenter__())
    return clients


def report(load: Load, results: list[Result]) -> dict[str, Any]:
    """Print one load's runs, and give them for --json."""
    rates = [result.rate for result in results]
    middle = sorted(results, key=lambda result: result.rate)[len(results) // 2]
    cpu = statistics.median(result.services_cpu_ms for result in results)
    print(f"\n{load.title}  ({load.requesters} requesters, n={load.n}, {load.images} images, {len(results)} runs)")
    print(
        f"  images/s           {statistics.median(rates):8.1f}   (runs: {', '.join(f'{rate:.1f}' for rate in rates)})"
    )
    print(f"  services CPU-ms    {cpu:8.2f}   per image, all services together")
    for name, samples in (
        ("create answered", middle.create_ms),
        ("create -> worker begins", middle.begun_ms),
        ("create -> all n finished", middle.finished_ms),
    ):
        print(f"  {name:<25} p50 {percentile(samples, 0.5):7.1f} ms   p99 {percentile(samples, 0.99):7.1f} ms")
    print("  where the time goes (CPU-ms per image; share of both cores over the run):")
    cores = os.cpu_count() or 1
    whole = middle.seconds * 1000 / middle.images * cores
    for name, milliseconds in sorted(middle.cpu_ms.items(), key=lambda item: -item[1]):
        memory = f"   {middle.memory[name]:5.0f} MB" if name in middle.memory else ""
        print(f"    {name:<16} {milliseconds:7.2f}   {milliseconds / whole:5.1%}{memory}")
    others = middle.others_cores * middle.seconds * 1000 / middle.images
    print(f"    {'others':<16} {others:7.2f}   {others / whole:5.1%}   whatever else ran on this machine")
    rest = max(0.0, whole - sum(middle.cpu_ms.values()) - others)
    print(f"    {'idle, disk':<16} {rest:7.2f}   {rest / whole:5.1%}")
    loop = statistics.median(result.processor_ms for result in results)
    print(f"  beside the runs    calibration loop {loop:.1f} CPU-ms, others {middle.others_cores:.2f} cores")
    return {
        "load": asdict(load),
        "images_per_second": rates,
        "services_cpu_ms": cpu,
        "runs": [asdict(r) for r in results],
    }


async def on_s3(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The first load with the buckets on an S3 server, and what the store's own client does there."""
    with store(folder) as (server, settings):
        extra = {**EXTRA, Role.STORAGE_ROUTER: {**EXTRA[Role.STORAGE_ROUTER], **settings}}
        async with local_mesh(folder / "on-s3", extra=extra) as mesh:
            clients = await rich_clients(mesh, arguments.clients)
            load = Load("THROUGHPUT, buckets on an S3 server", arguments.images // 2, arguments.n, arguments.requesters)
            document = report(load, [await Bench(mesh, clients, folder, arguments.workers).run(load)])
            for client in clients:
                await client.__aexit__(None, None, None)
        own = await own_client_rate(server, load.images)
    (rate,) = document["images_per_second"]
    print(
        f"  the store's own client {own:6.1f}   images/s put, copied and removed there; the mesh does {rate / own:.2f}"
    )
    return {**document, "own_client_per_second": own}


async def bench(arguments: argparse.Namespace) -> int:
    """All loads, and the verdict."""
    arguments.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="mesh-", dir=arguments.folder))
    try:
        calibration, write = processor_ms(), durable_write_ms(folder)
        unary, stream = await echo_rates()
        replay = await replay_ms()
        print(
            f"this machine: {os.cpu_count()} cores, calibration loop {calibration:.1f} CPU-ms, "
            f"durable 4 KiB write {write:.1f} ms"
        )
        print(f"bare gRPC echo: {unary:,.0f} unary calls/s, {stream:,.0f} streamed messages/s")
        print(f"an image's messages and bytes between empty servers: {replay:.2f} CPU-ms, both ends together")
        async with local_mesh(folder / "state", extra=EXTRA) as mesh:
            clients = await rich_clients(mesh, arguments.clients)
            running = Bench(mesh, clients, folder, arguments.workers)
            documents = []
            main = Load("THROUGHPUT", arguments.images, arguments.n, arguments.requesters)
            loads = [(main, arguments.runs)]
            if not arguments.only:
                loads += [
                    (Load("THROUGHPUT, one image a generation", arguments.images // 2, 1, arguments.requesters), 1),
                    (
                        Load(
                            "THROUGHPUT, with every image downloaded",
                            arguments.images // 2,
                            arguments.n,
                            arguments.requesters,
                            fetch=True,
                        ),
                        1,
                    ),
                    (Load("LATENCY, one requester, one image at a time", 150, 1, 1), 1),
                ]
            for load, runs in loads:
                documents.append(report(load, [await running.run(load) for _ in range(runs)]))
            for client in clients:
                await client.__aexit__(None, None, None)
        if not arguments.only:
            documents.append(await on_s3(arguments, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"\n{PEERS}")
    rate, cpu = statistics.median(documents[0]["images_per_second"]), documents[0]["services_cpu_ms"]
    good = rate >= TARGET_RATE and cpu <= TARGET_CPU_MS
    print(
        f"\ntarget: {TARGET_RATE} images/s and {TARGET_CPU_MS} CPU-ms per image: "
        f"{'met' if good else 'NOT met'} ({rate:.1f}, {cpu:.2f}); {cpu / replay:.1f} times the replay without logic"
    )
    if arguments.json:
        yardstick = {
            "processor_ms": calibration,
            "durable_write_ms": write,
            "unary_per_second": unary,
            "stream_per_second": stream,
            "replay_cpu_ms": replay,
        }
        arguments.json.write_text(json.dumps({"yardstick": yardstick, "loads": documents}, indent=1))
    return 0 if good or not arguments.strict else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2_000, help="in each run")
    parser.add_argument("--n", type=int, default=4, help="images of a generation")
    parser.add_argument("--requesters", type=int, default=32, help="asking at once")
    parser.add_argument("--clients", type=int, default=4, help="accounts, each with a connection of its own")
    parser.add_argument("--workers", type=int, default=2, help="worker processes, each with 8 painters")
    parser.add_argument("--runs", type=int, default=3, help="of the first load; its median counts")
    parser.add_argument("--only", action="store_true", help="only the first load")
    parser.add_argument("--strict", action="store_true", help="exit status 1 if the target is not met")
    parser.add_argument("--folder", type=Path, default=Path("out", "bench"), help="on whose disk; default: ./out/bench")
    parser.add_argument("--json", type=Path, help="also write everything there")
    return asyncio.run(bench(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
