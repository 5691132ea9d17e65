"""What an orchestrator is told of a process: alive from its first moment, ready when it takes calls; and metrics."""

from __future__ import annotations

import asyncio
import urllib.request
from pathlib import Path
from typing import Any

import psycopg
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.service.processes import environment, started
from tests.service.test_signals import LOCKS, SERVICES

from horde.cli.local.mesh import free_ports
from horde.services.lifecycle import CANNOT_START

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


def free_address() -> str:
    return f"127.0.0.1:{next(iter(free_ports().values()))}"


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


@pytest.mark.parametrize("service", SERVICES)
async def test_every_service_shows_its_metrics_to_prometheus(service: str, tmp_path: Path) -> None:
    at = free_address()
    async with started(service, environment(service, tmp_path, METRICS_LISTEN=at)) as process:
        await process.until('"ports"')
        text = await asyncio.to_thread(lambda: urllib.request.urlopen(f"http://{at}/metrics").read().decode())
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
