"""What is served where, who may call it, health, and reflection."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from horde.gateway.doors.listeners import (
    ACCOUNT,
    ALLOW,
    GENERATION,
    MESH,
    MODEL,
    MODERATION,
    RATING,
    RELEASES,
    STANDING,
    STATISTICS,
    WEBHOOK,
    WORKER,
)
from horde.services.errors import ServiceError
from horde.services.identity import PUBLIC, create_key_file
from horde.testkit.gateway import Bench, bench
from horde.testkit.waiting import HANG_SECONDS

REQUESTERS = [ACCOUNT, GENERATION, MESH, MODEL, MODERATION, RATING, RELEASES, STANDING, STATISTICS, WEBHOOK]
DOORS = {
    "requesters": REQUESTERS,
    "workers": [WORKER],
    "both": [*REQUESTERS, WORKER],
}


@pytest.mark.parametrize("doors", DOORS)
async def test_each_door_serves_its_services(tmp_path: Path, doors: str) -> None:
    async with bench(tmp_path, doors=doors) as mesh:
        checks = health_pb2_grpc.HealthStub(mesh.channel)
        for service in DOORS["both"]:
            check = checks.Check(health_pb2.HealthCheckRequest(service=service))  # type: ignore[attr-defined]
            if service in DOORS[doors]:
                assert (await check).status == health_pb2.HealthCheckResponse.SERVING
            else:
                with pytest.raises(ServiceError):
                    await check


def test_all_services_are_public_and_nothing_else_is() -> None:
    assert ALLOW.methods() == {f"/{service}/*" for service in DOORS["both"]}
    assert all(ALLOW.allowed(method) == PUBLIC for method in ALLOW.methods())


async def grpcurl(*arguments: str) -> str:
    """Run the tool; its output."""
    program = Path(sys.executable).with_name("grpcurl")
    process = await asyncio.create_subprocess_exec(
        program, "-plaintext", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


@pytest.fixture
def has_grpcurl() -> None:
    if not Path(sys.executable).with_name("grpcurl").exists():
        pytest.skip("grpcurl is not installed here")


@pytest.mark.usefixtures("has_grpcurl")
async def test_grpcurl_quotes_creates_and_watches_with_nothing_but_reflection(mesh: Bench) -> None:
    services = (await grpcurl(mesh.target, "list")).split()
    assert set(DOORS["both"]) <= set(services)
    who = ("-H", "authorization: Anonymous 000102030405060708090a0b0c0d0e0f")
    spec = {"job": {"model": "paintbox", "image": {"prompt": "a fox", "width": 512, "height": 512, "steps": 50}}}
    question = json.dumps({"spec": {**spec, "count": 1}})
    answer = json.loads(await grpcurl(*who, "-d", question, mesh.target, f"{GENERATION}/QuoteGeneration"))
    assert re.sub("_", "", json.dumps(answer)).lower().count("11827") >= 1
    request = json.dumps({"request_id": "11111111-2222-4333-8444-555555555555", "spec": {**spec, "count": 1}})
    created = json.loads(await grpcurl(*who, "-d", request, mesh.target, f"{GENERATION}/CreateGeneration"))
    generation = created["generation"]
    generation_id = generation.get("generation_id") or generation["generationId"]
    mesh.scheduler.end(generation_id, 0)
    watch = json.dumps({"generation_id": generation_id})
    told = await grpcurl(*who, "-d", watch, mesh.target, f"{GENERATION}/WatchGeneration")
    assert '"snapshot"' in told
    assert '"finished"' in told


async def test_the_program_opens_the_door_that_it_is_told(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[3]
    key_file = tmp_path / "run.key"
    create_key_file(key_file)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(root / each) for each in ("protos/gen", "services/src", "gateway/src")),
        "HORDE_GATEWAY_STATE_DIR": str(tmp_path / "state"),
        "HORDE_GATEWAY_KEY_FILE": str(key_file),
        "HORDE_GATEWAY_PUBLIC_KEYS_DIR": str(tmp_path / "public-keys"),
        "HORDE_GATEWAY_LISTEN": "127.0.0.1:0",
        "HORDE_GATEWAY_LOG_FORMAT": "json",
    }
    program = (sys.executable, "-m", "horde.gateway", "--doors", "workers")
    process = await asyncio.create_subprocess_exec(*program, env=environment, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    try:
        async with asyncio.timeout(HANG_SECONDS):
            while not (line := await process.stderr.readline()).count(b'"serving"'):
                assert line, "it ended"
    finally:
        process.terminate()
        _, said = await process.communicate()
    assert json.loads(line)["services"] == [WORKER]
    assert process.returncode == 0, said.decode()
