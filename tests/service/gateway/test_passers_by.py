"""What somebody without an account may see of a mesh, and how many of it at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from horde.api.generation.v1 import generation_service_pb2 as generation_service
from horde.api.model.v1 import model_service_pb2 as model_service
from horde.api.worker.v1 import worker_pb2
from horde.api.worker.v1 import worker_service_pb2 as pb
from horde.services.errors import ResourceExhausted, Unauthenticated
from horde.testkit.gateway import Bench, bench
from horde.testkit.loopback import assert_raises_reason

Credentials = list[tuple[str, str]]
WORKER = "00000000-0000-4000-8000-000000000001"
OWNER = "00000000-0000-4000-8000-000000000002"


@pytest.fixture
def worker(mesh: Bench) -> str:
    """A worker of somebody."""
    shown = worker_pb2.Worker(worker_id=WORKER, name="rig", owner_account_id=OWNER, max_slots=3)
    shown.hindrances.add(detail="it rests")
    mesh.scheduler.workers[WORKER] = shown
    return WORKER


async def seen(mesh: Bench, who: Credentials | None) -> tuple[worker_pb2.Worker, worker_pb2.Worker]:
    """The worker, in the list and by itself."""
    listed = await mesh.workers.ListWorkers(pb.ListWorkersRequest(), metadata=who)
    shown = await mesh.workers.GetWorker(pb.GetWorkerRequest(worker_id=WORKER), metadata=who)
    return listed.workers[0], shown.worker


@pytest.mark.usefixtures("worker")
async def test_whose_a_worker_is_is_for_those_with_an_account(
    mesh: Bench, anna: Credentials, nobody: Credentials
) -> None:
    for who in (None, nobody):
        for shown in await seen(mesh, who):
            assert (shown.owner_account_id, shown.name) == ("", "rig")
            assert not shown.hindrances
    for shown in await seen(mesh, anna):
        assert shown.owner_account_id == OWNER
        # What hinders it is for its owner alone.
        assert not shown.hindrances
        assert not shown.max_slots


async def test_who_shows_a_bad_key_is_told_so_though_none_is_needed(mesh: Bench) -> None:
    bad = [("authorization", "Bearer 0123456789abcdefABCDEF")]
    with assert_raises_reason(Unauthenticated, "API_KEY_UNKNOWN"):
        await mesh.models.ListModels(model_service.ListModelsRequest(), metadata=bad)


async def test_without_authorization_calls_are_counted_by_address(tmp_path: Path) -> None:
    async with bench(tmp_path, limit_address_calls="2/60s") as mesh:
        for _ in range(2):
            await mesh.models.ListModels(model_service.ListModelsRequest())
        with assert_raises_reason(ResourceExhausted, "RATE_LIMITED", {"limit": "2/60s"}):
            await mesh.models.ListModels(model_service.ListModelsRequest())


async def test_a_page_that_is_too_large_is_the_largest(mesh: Bench, anna: Credentials) -> None:
    sizes = []
    original = mesh.gateway.generations._scheduler.list_generations

    async def listed(question: object) -> object:
        sizes.append(question.page_size)  # type: ignore[attr-defined]
        return await original(question)  # type: ignore[arg-type]

    mesh.gateway.generations._scheduler.list_generations = listed  # type: ignore[method-assign, assignment]
    for size in (0, 7, 100, 101, 2**31 - 1):
        await mesh.generations.ListGenerations(generation_service.ListGenerationsRequest(page_size=size), metadata=anna)
    assert sizes == [20, 7, 100, 100, 100]
