"""Each loop of each service, killed by a defect: the service says so, turns unhealthy first, and ends."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.service.processes import MODULES, environment, started

from horde.services import lifecycle

COURIERS = (
    "Apply",
    "CommitObjects",
    "CompareObjects",
    "DiscardObjects",
    "WithdrawObjects",
    "ClaimInputs",
    "ReleaseInputs",
)
LOOPS = {
    "ledger": ("writer", "statistics", "leadership"),
    "scheduler": ("saver", *(f"courier {name}" for name in COURIERS), "clockwork", "janitor", "leadership"),
    "gateway": (
        "batches",
        "restrictions",
        "filters",
        "key use",
        "accounts",
        "closing",
        "restriction news",
        "shared keys",
        "watching",
        "previews",
        "relay",
        "redrawing",
    ),
    "storage-router": ("batches", "sweeper"),
    "curation": ("batches", "follower", "verdicts", "releases", "estimates", "rewards", "wishes", "leadership"),
    "webhooks": ("sending", "hearing", "following", "log", "leadership"),
    "worker": ("attach", "guest", "models", "idle word"),
}
"""All there are: a service that starts one that is not listed here fails its test."""
INJURED = str(Path(__file__).with_name("injured.py"))


@pytest.mark.parametrize(("service", "loop"), [(service, loop) for service, loops in LOOPS.items() for loop in loops])
async def test_a_loop_that_dies_takes_its_service_down_health_first(
    service: str, loop: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    settings = {}
    if loop == "leadership":
        settings["DATABASE_URL"] = request.getfixturevalue("postgresql_url")
    if service == "ledger":
        settings["STATISTICS_URL"] = f"sqlite:///{tmp_path / 'statistics.db'}"
    told = environment(service, tmp_path, **settings)
    async with started(service, told, INJURED, MODULES[service], loop) as process:
        if service == "worker":
            await process.until(f"LOOP {loop}")
            process.process.send_signal(signal.SIGUSR1)
        else:
            line = json.loads(await process.until('"ports"'))
            async with aio.insecure_channel(f"127.0.0.1:{line['ports'][0]}") as anybody:
                stub: Any = health_pb2_grpc.HealthStub(anybody)
                watching = stub.Watch(health_pb2.HealthCheckRequest())
                assert (await watching.read()).status == health_pb2.HealthCheckResponse.SERVING
                process.process.send_signal(signal.SIGUSR1)
                assert (await watching.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert await process.ended() == lifecycle.FAILED, process.log
    died = [line for line in process.lines if "a loop has died" in line]
    # There is a batcher for each kind of call, and all of them are hurt.
    assert {json.loads(line)["loop"] for line in died} == {loop}
    assert loop == "batches" or len(died) == 1
    assert "Injected" in died[0]
    assert process.lines[-1] == f"ended: the loop {loop!r} has died: Injected()\n"
    assert "by force" not in process.log
    known = set(re.findall(r"^LOOP (.*)$", process.log, re.MULTILINE))
    assert known == {name for name in LOOPS[service] if name != "leadership" or loop == "leadership"}
