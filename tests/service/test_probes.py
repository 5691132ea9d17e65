"""What an orchestrator is told of a process: alive from its first moment, ready when it takes calls; and metrics."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.service.processes import NOBODY, environment, started
from tests.service.test_signals import LOCKS, SERVICES

from horde.auditor.auditor import Auditor, Bounds
from horde.auditor.private_audit import PrivateAudit
from horde.auditor.progress import ProgressFile
from horde.auditor.shared_audit import SharedAudit
from horde.buckets.directory import DirectoryBucket
from horde.cli.local.mesh import free_ports
from horde.services.errors import Unavailable
from horde.services.lifecycle import CANNOT_START
from horde.services.loops import Loops
from horde.services.probes import probed
from horde.testkit.loopback import ManualClock
from horde.testkit.waiting import until
from horde.testkit.worker_agent import fake_mesh

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


def free_address() -> str:
    return f"127.0.0.1:{next(iter(free_ports().values()))}"


async def read(url: str) -> str:
    return str(await asyncio.to_thread(lambda: urllib.request.urlopen(url).read().decode()))


@pytest.mark.parametrize("service", LOCKS)
async def test_a_standby_lives_and_is_fit_and_takes_no_calls_yet(
    service: str, tmp_path: Path, postgresql_url: str
) -> None:
    at = free_address()
    settings = environment(service, tmp_path, DATABASE_URL=postgresql_url, HEALTH_LISTEN=at)
    async with await psycopg.AsyncConnection.connect(postgresql_url, autocommit=True) as leader:
        await leader.execute("SELECT pg_advisory_lock(%s)", (LOCKS[service],))
        async with started(service, settings) as process, aio.insecure_channel(at) as channel:
            await process.until("standing by")
            stub: Any = health_pb2_grpc.HealthStub(channel)

            async def check(name: str) -> Any:
                answer = await stub.Check(health_pb2.HealthCheckRequest(service=name), wait_for_ready=True)
                return answer.status

            async def seen(name: str) -> Any:
                """The first answer but NOT_SERVING."""
                async for answer in stub.Watch(health_pb2.HealthCheckRequest(service=name), wait_for_ready=True):
                    if answer.status == SERVING:
                        return SERVING
                raise AssertionError("the watch ended")

            assert await seen("fit") == SERVING
            assert (await check("live"), await check("")) == (SERVING, NOT_SERVING)
            await leader.execute("SELECT pg_advisory_unlock(%s)", (LOCKS[service],))
            await process.until('"ports"')
            assert (await check("live"), await check("")) == (SERVING, SERVING)
            assert await check("fit") == SERVING


async def status(at: str, name: str, *, until: Any) -> None:
    """Wait until a process says this of itself."""
    async with aio.insecure_channel(at) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        async for answer in stub.Watch(health_pb2.HealthCheckRequest(service=name), wait_for_ready=True):
            if answer.status == until:
                return
        raise AssertionError("the watch ended")


async def test_a_worker_lives_from_its_first_moment_and_is_ready_while_the_mesh_has_it(tmp_path: Path) -> None:
    at, metrics = free_address(), free_address()
    async with AsyncExitStack() as meshes:
        mesh = await meshes.enter_async_context(fake_mesh())
        told = environment("worker", tmp_path, GATEWAY=mesh.target, HEALTH_LISTEN=at, METRICS_LISTEN=metrics)
        async with started("worker", told):
            await status(at, "live", until=SERVING)
            await status(at, "", until=SERVING)
            assert mesh.gateway.attached
            assert "process_cpu_seconds_total" in await read(f"http://{metrics}/metrics")
            await meshes.aclose()
            await status(at, "", until=NOT_SERVING)
            await status(at, "live", until=SERVING)


async def test_an_auditor_is_ready_while_it_reaches_what_it_looks_at(tmp_path: Path) -> None:
    at, clock, settle = free_address(), ManualClock(), timedelta(minutes=5)

    class Scheduler:
        """Nothing was settled, says whoever is there."""

        away = False

        async def ended(self, *since: Any) -> AsyncIterator[Any]:
            if self.away:
                raise Unavailable("the scheduler is away")
            nothing: tuple[Any, ...] = ()
            for image in nothing:
                yield image

        shared = private = ended

        async def jobs(self, job_ids: Sequence[str]) -> dict[str, Any]:
            return {}

    truth: Any = Scheduler()
    async with (
        DirectoryBucket(tmp_path / "shared", clock.now) as shared,
        DirectoryBucket(tmp_path / "private", clock.now) as private,
        probed(at),
    ):
        auditor = Auditor(
            truth,
            SharedAudit(shared, truth, clock.now, settle, 0),
            PrivateAudit(private, truth, clock.now, settle),
            ProgressFile(tmp_path),
            clock,
            Bounds(),
        )
        async with Loops() as loops:
            loops.start("looking", auditor.watch(timedelta(minutes=1)))
            for truth.away, said in ((False, SERVING), (True, NOT_SERVING), (False, SERVING)):
                await until(lambda: clock.waiting)
                await clock.advance(60)
                await status(at, "", until=said)


async def test_an_auditors_process_answers_probes_and_shows_its_metrics(tmp_path: Path) -> None:
    at, metrics = free_address(), free_address()
    kept = environment("scheduler", tmp_path)
    told = {name: value for name, value in kept.items() if not name.startswith("HORDE_")}
    own = {
        "SCHEDULER": NOBODY,
        "KEY_FILE": str(tmp_path / "key"),
        "STATE_DIR": str(tmp_path / "auditor"),
        "SHARED_DIR": str(tmp_path / "shared"),
        "PRIVATE_DIR": str(tmp_path / "private"),
        "HEALTH_LISTEN": at,
        "METRICS_LISTEN": metrics,
    }
    told |= {f"HORDE_AUDITOR_{name}": value for name, value in own.items()}
    async with started("auditor", told, "-m", "horde.auditor", "--watch"):
        await status(at, "live", until=SERVING)
        await status(at, "", until=NOT_SERVING)
        assert "process_cpu_seconds_total" in await read(f"http://{metrics}/metrics")


@pytest.mark.parametrize("service", SERVICES)
async def test_every_service_shows_its_metrics_to_prometheus(service: str, tmp_path: Path) -> None:
    at = free_address()
    async with started(service, environment(service, tmp_path, METRICS_LISTEN=at)) as process:
        await process.until('"ports"')
        text = await read(f"http://{at}/metrics")
    assert "process_cpu_seconds_total" in text
    assert ("horde_scheduler_jobs" in text) == (service == "scheduler")


async def test_a_port_for_probes_that_is_taken_is_named(tmp_path: Path) -> None:
    at = free_address()
    settings = environment("ledger", tmp_path, HEALTH_LISTEN=at)
    async with started("ledger", settings) as process:
        await process.until('"ports"')
        (tmp_path / "b").mkdir()
        async with started("ledger", environment("ledger", tmp_path / "b", HEALTH_LISTEN=at)) as other:
            assert await other.ended() == CANNOT_START
            assert [line for line in other.lines if line.startswith("cannot start") and at in line]
