"""With nothing but reflection: the services are listed, each answers its health check, and grpcurl paints a picture."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from horde.cli.local.mesh import LocalMesh
from horde.cli.local.roles import SERVICES, Role

pytestmark = pytest.mark.asyncio(loop_scope="module")

SERVED = {
    Role.GATEWAY: {
        "horde.api.account.v1.AccountService",
        "horde.api.generation.v1.GenerationService",
        "horde.api.mesh.v1.MeshService",
        "horde.api.model.v1.ModelService",
        "horde.api.moderation.v1.ModerationService",
        "horde.api.rating.v1.RatingService",
        "horde.api.release.v1.DataReleaseService",
        "horde.api.standing.v1.StandingService",
        "horde.api.statistics.v1.StatisticsService",
        "horde.api.webhook.v1.WebhookService",
        "horde.api.worker.v1.WorkerService",
    },
    Role.SCHEDULER: {
        "externalscaler.ExternalScaler",
        "horde.internal.scheduler.v1.OwnerService",
        "horde.internal.scheduler.v1.SchedulerService",
    },
    Role.LEDGER: {"horde.internal.ledger.v1.LedgerService"},
    Role.CURATION: {
        "horde.internal.curation.v1.AccountService",
        "horde.api.generation.v1.GenerationService",
        "horde.api.moderation.v1.ModerationService",
        "horde.api.rating.v1.RatingService",
        "horde.api.release.v1.DataReleaseService",
    },
    Role.WEBHOOKS: {"horde.api.webhook.v1.WebhookService", "horde.internal.webhook.v1.NewsService"},
    Role.STORAGE_ROUTER: {"horde.api.storage.v1.StorageService", "horde.internal.storage.v1.ObjectService"},
}
STANDARD = {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}


async def grpcurl(*arguments: str, data: dict[str, Any] | None = None) -> str:
    found = shutil.which("grpcurl", path=f"{Path(sys.executable).parent}:/usr/bin") or shutil.which("grpcurl")
    assert found, "grpcurl comes with the `dev` extra"
    given = ["-d", json.dumps(data)] if data is not None else []
    # Plain, and of loopback. A deadline, so that a watch that never ends fails the test.
    child = await asyncio.create_subprocess_exec(
        found, "-plaintext", "-max-time", "60", *given, *arguments, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await child.communicate()
    assert child.returncode == 0, output.decode()
    return output.decode()


def documents(text: str) -> list[dict[str, Any]]:
    """JSON documents, one after the other, as grpcurl writes a stream."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(text.rstrip()):
        document, at = decoder.raw_decode(text, at)
        found.append(document)
        at += len(text[at:]) - len(text[at:].lstrip())
    return found


@pytest.mark.parametrize("role", SERVICES, ids=lambda role: role.value)
async def test_reflection_lists_the_services(role: Role, mesh: LocalMesh) -> None:
    listed = set((await grpcurl(mesh.layout.address(role), "list")).split())
    assert SERVED[role] <= listed
    assert listed - SERVED[role] <= STANDARD | {"grpc.reflection.v1.ServerReflection"}


@pytest.mark.parametrize("role", SERVICES, ids=lambda role: role.value)
async def test_every_service_answers_the_standard_health_check(role: Role, mesh: LocalMesh) -> None:
    async with aio.insecure_channel(mesh.layout.address(role)) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        for name in ("", *SERVED[role]):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING, name


async def test_grpcurl_quotes_creates_and_watches(mesh: LocalMesh) -> None:
    door = "horde.api.generation.v1.GenerationService"
    who = ("-H", f"authorization: Anonymous {uuid.uuid4().hex}")
    image = {"prompt": "painted by grpcurl", "width": 64, "height": 64, "steps": 4}
    spec = {"job": {"model": "paintbox", "image": image}, "count": 1}

    (quoted,) = documents(await grpcurl(*who, mesh.gateway, f"{door}/QuoteGeneration", data={"spec": spec}))
    assert quoted["quote"]["placement"] == "PLACEMENT_SHARED"
    assert quoted["quote"]["per_image"]["tax_mkudos"] == "1000"

    request = {"requestId": str(uuid.uuid4()), "spec": spec}
    (created,) = documents(await grpcurl(*who, mesh.gateway, f"{door}/CreateGeneration", data=request))
    generation_id = created["generation"]["generation_id"]

    watched = documents(
        await grpcurl(*who, mesh.gateway, f"{door}/WatchGeneration", data={"generationId": generation_id})
    )
    assert "snapshot" in watched[0]
    assert watched[-1]["finished"]["images"][0]["ending"] == "JOB_ENDING_DONE"
