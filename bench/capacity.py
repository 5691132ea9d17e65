"""What an image and an idle worker cost each service, PostgreSQL, Redis and S3: `make bench-capacity`.

Writes cli/src/horde/cli/capacity/measured.json, from which `horde capacity` reckons. The mesh is as operators run it:
on PostgreSQL that is durable, Redis and S3, one process of each service. Workers are real agents that hand out ready
pictures of 50 KB. Processor time, bytes and commits of an image are measured, not how fast it goes: a busy machine does
not spoil them much.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psutil
import psycopg
from grpc import aio
from mesh import EXTRA, SERVICE_NAMES, Bench, Load, rich_clients
from mesh_meter import memory_mb, processor_seconds
from mesh_store import store

from horde.api.worker.v1 import worker_pb2, worker_service_pb2
from horde.api.worker.v1.worker_service_pb2_grpc import WorkerServiceStub
from horde.cli.local.mesh import LocalMesh, local_mesh
from horde.cli.local.roles import Role
from horde.clients.client import HordeClient
from horde.gateway.core.seats import SESSIONS_OF_A_NEWCOMER
from horde.testkit.postgres import DURABLE, ThrowawayPostgres, throwaway_postgres
from horde.testkit.redis import ThrowawayRedis, throwaway_redis

MEASURED: Final = Path(__file__).parents[1] / "cli" / "src" / "horde" / "cli" / "capacity" / "measured.json"
BACKENDS: Final = {"postgres": "postgresql", "weed": "s3", "valkey-server": "redis"}
"""Names of programs, and what they are."""
DATABASES: Final = (Role.LEDGER, Role.SCHEDULER, Role.GATEWAY)
S3_REQUESTS: Final = {"private": 3, "shared": 7}
"""Of an image; tests/service/storage_router/test_requests_to_the_store.py counts them."""


@dataclass
class Backends:
    """The servers that the mesh keeps its state in."""

    postgres: ThrowawayPostgres
    redis: ThrowawayRedis
    urls: Mapping[Role, str]

    def counted(self) -> dict[str, float]:
        """What they have done so far."""
        with psycopg.connect(self.urls[Role.LEDGER], autocommit=True) as connection:
            commits = _one(connection, "SELECT sum(xact_commit) FROM pg_stat_database")
            wal = _one(connection, "SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")
        found = {"commits": commits, "wal": wal, "redis": self._redis("stats", "total_commands_processed")}
        for role, url in self.urls.items():
            with psycopg.connect(url, autocommit=True) as connection:
                found[role.value] = _one(connection, "SELECT pg_database_size(current_database())")
        return found

    def redis_mb(self) -> float:
        """What Redis holds."""
        return self._redis("memory", "used_memory") / 1e6

    def _redis(self, section: str, name: str) -> float:
        lines = self.redis.ask("INFO", section).decode().splitlines()
        return float(next(line.partition(":")[2] for line in lines if line.startswith(f"{name}:")))


def _one(connection: psycopg.Connection[Any], query: str) -> float:
    row = connection.execute(query).fetchone()
    assert row is not None
    return float(row[0])


def pids(mesh: LocalMesh) -> dict[str, int]:
    """All processes that count: services, and the roots of the servers."""
    found = {name: mesh.processes[name].pid for name in SERVICE_NAMES}
    for child in psutil.Process().children():
        if name := BACKENDS.get(child.name()):
            found[name] = child.pid
    return found


async def images(mesh: LocalMesh, backends: Backends, bench: Bench, load: Load) -> dict[str, Any]:
    """What one image costs."""
    # The pool of pictures, every statement and every page that is needed once.
    await bench.run(Load("warm", load.n * 40, load.n, load.requesters, share=load.share))
    before, counted, began = processor_seconds(pids(mesh)), backends.counted(), time.perf_counter()
    result = await bench.run(load)
    seconds = time.perf_counter() - began
    # Each run paints further ones beforehand, which cost the same.
    painted = load.images + 4 * 2 * load.n
    after, done = processor_seconds(pids(mesh)), backends.counted()
    spent = {name: done[name] - counted[name] for name in done}
    print(f"{load.title}: {result.rate:.0f} images/s, in {seconds:.0f} s", file=sys.stderr, flush=True)
    return {
        "cpu_ms": {name: round((after[name] - before[name]) * 1000 / painted, 2) for name in after},
        "commits": round(spent["commits"] / painted, 2),
        "wal_kb": round(spent["wal"] / 1000 / painted, 2),
        "kb": {role.value: round(max(0.0, spent[role.value]) / 1000 / painted, 2) for role in DATABASES},
        "redis_commands": round(spent["redis"] / painted, 2),
    }


@contextlib.asynccontextmanager
async def attached(mesh: LocalMesh, keys: list[str], count: int) -> AsyncIterator[None]:
    """So many workers that offer a model and have nothing to do, for as long as the block."""
    offer = worker_pb2.ModelOffer(name="paintbox", loaded=True)
    offer.image.max_pixels = 1024 * 1024
    welcomed, ready = 0, asyncio.Event()

    async def one(channel: aio.Channel, key: str, number: int) -> None:
        nonlocal welcomed
        attach: Any = WorkerServiceStub(channel).Attach
        stream = attach(metadata=(("authorization", key),))
        hello = worker_service_pb2.Hello(worker_name=f"rig-{number}", agent="bench/1")
        hello.capabilities.models.append(offer)
        await stream.write(worker_service_pb2.AttachRequest(hello=hello))
        while (response := await stream.read()) is not aio.EOF:
            if response.WhichOneof("message") == "welcome":
                # Demands nothing: it would be given jobs.
                await stream.write(worker_service_pb2.AttachRequest(restatement=worker_service_pb2.Restatement()))
                welcomed += 1
                if welcomed == count:
                    ready.set()

    async with aio.insecure_channel(mesh.gateway) as channel, asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(channel, keys[number % len(keys)], number)) for number in range(count)]
        async with asyncio.timeout(300):
            await ready.wait()
        yield
        for task in tasks:
            task.cancel()


async def workers(mesh: LocalMesh, clients: list[HordeClient], count: int, seconds: float) -> dict[str, Any]:
    """What an idle worker costs: memory, and processor time for each second that it is there."""
    keys = [client.credential.authorization for client in clients]
    small = {name: pid for name, pid in pids(mesh).items() if name in SERVICE_NAMES}
    empty, before = memory_mb(small), processor_seconds(small)
    await asyncio.sleep(seconds)
    quiet = {name: at - before[name] for name, at in processor_seconds(small).items()}
    async with attached(mesh, keys, count):
        full, before = memory_mb(small), processor_seconds(small)
        await asyncio.sleep(seconds)
        busy = {name: at - before[name] for name, at in processor_seconds(small).items()}
    return {
        "kb": {name: round(max(0.0, full[name] - empty[name]) * 1000 / count, 1) for name in small},
        "cpu_ms_a_second": {
            name: round(max(0.0, busy[name] - quiet[name]) * 1000 / seconds / count, 3) for name in small
        },
    }


async def run(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        postgres = stack.enter_context(throwaway_postgres(DURABLE))
        redis = stack.enter_context(throwaway_redis())
        _, router = stack.enter_context(store(folder))
        urls = {role: postgres.database() for role in DATABASES}
        backends = Backends(postgres, redis, urls)
        extra = {role: dict(settings) for role, settings in EXTRA.items()}
        for role, url in urls.items():
            extra[role] |= {"DATABASE_URL": url}
        extra[Role.GATEWAY] |= {"REDIS_URL": redis.url}
        extra[Role.STORAGE_ROUTER] |= router
        async with local_mesh(folder / "state", extra=extra) as mesh:
            # Nobody has paid these owners yet, so they may have few workers each.
            clients = await rich_clients(mesh, max(4, -(-arguments.workers // SESSIONS_OF_A_NEWCOMER)))
            idle = memory_mb({name: pid for name, pid in pids(mesh).items() if name in SERVICE_NAMES})
            bench = Bench(mesh, clients[:4], folder, 2)
            costs = {
                name: await images(mesh, backends, bench, Load(name, arguments.images, 4, 16, share=name == "shared"))
                for name in ("private", "shared")
            }
            there = await workers(mesh, clients, arguments.workers, arguments.seconds)
            full = memory_mb({name: pid for name, pid in pids(mesh).items() if name in SERVICE_NAMES})
            redis_mb = backends.redis_mb()
            for client in clients:
                await client.__aexit__(None, None, None)
    return {
        "measured": f"{datetime.now(UTC):%Y-%m-%d}",
        "command": "make bench-capacity",
        "machine": f"{os.cpu_count()} cores, load {os.getloadavg()[1]:.0f}",
        "images": arguments.images,
        "image": {name: {**cost, "s3_requests": S3_REQUESTS[name]} for name, cost in costs.items()},
        "worker": there,
        "memory_mb": {name: round(max(idle[name], full[name])) for name in idle},
        "redis_mb": round(redis_mb, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2_000, help="of each kind")
    parser.add_argument("--workers", type=int, default=500, help="idle ones")
    parser.add_argument("--seconds", type=float, default=20.0, help="to watch idle workers for")
    parser.add_argument("--out", type=Path, default=MEASURED)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        document = asyncio.run(run(arguments, Path(name)))
    arguments.out.write_text(f"{json.dumps(document, indent=1)}\n")
    print(json.dumps(document, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
