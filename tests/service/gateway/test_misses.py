"""Whoever looks for what is not there again and again is told so without a look; whose things are there finds them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.service.gateway.conftest import Credentials, open_account

from horde.api.generation.v1 import generation_pb2
from horde.api.generation.v1 import generation_service_pb2 as pb
from horde.api.worker.v1 import worker_service_pb2
from horde.services.errors import NotFound, ResourceExhausted
from horde.testkit.gateway import Bench, bench

Spec = Callable[..., generation_pb2.GenerationSpec]


def fresh() -> Credentials:
    return [("authorization", f"Anonymous {uuid.uuid4().hex}")]


async def get(mesh: Bench, who: Credentials, generation_id: str = "") -> pb.GetGenerationResponse:
    request = pb.GetGenerationRequest(generation_id=generation_id or str(uuid.uuid4()))
    answer: pb.GetGenerationResponse = await mesh.generations.GetGeneration(request, metadata=who)
    return answer


async def create(mesh: Bench, who: Credentials, spec: Spec) -> str:
    request = pb.CreateGenerationRequest(request_id=str(uuid.uuid4()), spec=spec())
    return str((await mesh.generations.CreateGeneration(request, metadata=who)).generation.generation_id)


async def test_beyond_its_budget_a_network_is_refused_without_a_look(tmp_path: Path) -> None:
    async with bench(tmp_path, limit_address_misses="3/60s") as mesh:
        for _ in range(3):
            with pytest.raises(NotFound):
                await get(mesh, fresh())
        looks = sum(mesh.scheduler.reads)
        for _ in range(5):
            with pytest.raises(ResourceExhausted) as refused:
                await get(mesh, fresh())
        assert sum(mesh.scheduler.reads) == looks
        assert refused.value.reason == "RATE_LIMITED"
        assert refused.value.retry_after is not None


@pytest.mark.parametrize("method", ["watch", "cancel", "withdraw", "worker"])
async def test_it_is_the_same_budget_however_somebody_looks(tmp_path: Path, method: str) -> None:
    async with bench(tmp_path, limit_address_misses="1/60s") as mesh:
        name = str(uuid.uuid4())

        async def look() -> None:
            who = fresh()
            if method == "watch":
                async for _ in mesh.generations.WatchGeneration(
                    pb.WatchGenerationRequest(generation_id=name), metadata=who
                ):
                    pass
            elif method == "cancel":
                await mesh.generations.CancelGeneration(pb.CancelGenerationRequest(generation_id=name), metadata=who)
            elif method == "withdraw":
                request = pb.WithdrawImagesRequest(generation_id=name, job_ids=[name])
                await mesh.generations.WithdrawImages(request, metadata=who)
            else:
                await mesh.workers.GetWorker(worker_service_pb2.GetWorkerRequest(worker_id=name), metadata=who)

        with pytest.raises(NotFound):
            await look()
        with pytest.raises(ResourceExhausted):
            await look()
        with pytest.raises(ResourceExhausted):
            await get(mesh, fresh())


async def test_who_has_something_here_finds_it_whatever_the_neighbours_look_for(
    tmp_path: Path, nobody: Credentials, spec: Spec
) -> None:
    async with bench(tmp_path, limit_address_misses="1/60s", limit_anonymous_misses="2/60s") as mesh:
        generation_id = await create(mesh, nobody, spec)
        with pytest.raises(NotFound):
            await get(mesh, fresh())
        with pytest.raises(ResourceExhausted):
            await get(mesh, fresh(), generation_id)
        assert (await get(mesh, nobody, generation_id)).generation.generation_id == generation_id
        for _ in range(2):
            with pytest.raises(NotFound):
                await get(mesh, nobody)
        with pytest.raises(ResourceExhausted):
            await get(mesh, nobody, generation_id)


async def test_an_account_is_counted_for_itself(tmp_path: Path) -> None:
    async with bench(tmp_path, limit_address_misses="1/60s", limit_account_misses="2/60s") as mesh:
        anna, bert = [await open_account(mesh, name) for name in ("Anna", "Bert")]
        for _ in range(2):
            with pytest.raises(NotFound):
                await get(mesh, anna)
        with pytest.raises(ResourceExhausted):
            await get(mesh, anna)
        with pytest.raises(NotFound):
            await get(mesh, bert)


async def test_what_was_not_there_is_found_as_soon_as_it_is(mesh: Bench, nobody: Credentials, spec: Spec) -> None:
    """Nothing remembers that it was missing, whichever gateway it was made through."""
    generation_id = await create(mesh, nobody, spec)
    kept = mesh.scheduler.generations.pop(generation_id)
    with pytest.raises(NotFound):
        await get(mesh, nobody, generation_id)
    mesh.scheduler.generations[generation_id] = kept
    assert (await get(mesh, nobody, generation_id)).generation.generation_id == generation_id
