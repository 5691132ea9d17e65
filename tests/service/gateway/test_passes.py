"""Who comes with the pass of a generation may do with it what its requester may, and nothing else with anything."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from horde.api.account.v1 import account_service_pb2 as account_pb2
from horde.api.generation.v1 import generation_pb2
from horde.api.generation.v1 import generation_service_pb2 as pb
from horde.api.model.v1 import model_service_pb2 as model_pb2
from horde.api.worker.v1 import worker_service_pb2 as worker_pb2
from horde.gateway.core.credentials import new_api_key
from horde.services.errors import NotFound, PermissionDenied, ResourceExhausted, Unauthenticated
from horde.testkit.gateway import Bench, bench
from horde.testkit.loopback import assert_raises_reason

Spec = Callable[..., generation_pb2.GenerationSpec]
Credentials = list[tuple[str, str]]


def shown(pass_id: str) -> Credentials:
    return [("authorization", f"Pass {pass_id}")]


async def asked(mesh: Bench, spec: Spec, who: Credentials) -> Any:
    request = pb.CreateGenerationRequest(request_id=str(uuid.uuid4()), spec=spec())
    return await mesh.generations.CreateGeneration(request, metadata=who)


@pytest.fixture(params=["account", "anonymous", "shared key"])
async def somebody(request: pytest.FixtureRequest, mesh: Bench, anna: Credentials, nobody: Credentials) -> Credentials:
    if request.param == "account":
        return anna
    if request.param == "anonymous":
        return nobody
    key = new_api_key().text()
    made = account_pb2.CreateSharedKeyRequest(request_id=str(uuid.uuid4()), key=key)
    await mesh.accounts.CreateSharedKey(made, metadata=anna)
    return [("authorization", f"Bearer {key}")]


async def test_it_is_the_same_for_every_repeat_and_another_for_every_generation(
    mesh: Bench, anna: Credentials, spec: Spec
) -> None:
    request = pb.CreateGenerationRequest(request_id=str(uuid.uuid4()), spec=spec())
    first = await mesh.generations.CreateGeneration(request, metadata=anna)
    again = await mesh.generations.CreateGeneration(request, metadata=anna)
    other = await asked(mesh, spec, anna)
    assert first.pass_id == again.pass_id != other.pass_id
    assert first.pass_id != first.generation.generation_id


async def test_it_sees_watches_cancels_and_withdraws(mesh: Bench, somebody: Credentials, spec: Spec) -> None:
    created = await asked(mesh, spec, somebody)
    name, who = created.generation.generation_id, shown(created.pass_id)
    for named in ("", name):
        got = await mesh.generations.GetGeneration(pb.GetGenerationRequest(generation_id=named), metadata=who)
        assert got.generation.generation_id == name
    watch = mesh.generations.WatchGeneration(pb.WatchGenerationRequest(), metadata=who)
    assert (await watch.read()).snapshot.generation_id == name
    watch.cancel()
    cancelled = await mesh.generations.CancelGeneration(pb.CancelGenerationRequest(), metadata=who)
    assert cancelled.generation.finished
    job = cancelled.generation.images[0].job_id
    answer = await mesh.generations.WithdrawImages(pb.WithdrawImagesRequest(job_ids=[job]), metadata=who)
    assert [outcome.code for outcome in answer.outcomes] == [0]


async def test_it_opens_no_other_generation(mesh: Bench, anna: Credentials, spec: Spec) -> None:
    mine, other = await asked(mesh, spec, anna), await asked(mesh, spec, anna)
    name, who = other.generation.generation_id, shown(mine.pass_id)
    for call in (
        mesh.generations.GetGeneration(pb.GetGenerationRequest(generation_id=name), metadata=who),
        mesh.generations.CancelGeneration(pb.CancelGenerationRequest(generation_id=name), metadata=who),
        mesh.generations.WithdrawImages(pb.WithdrawImagesRequest(generation_id=name, job_ids=[name]), metadata=who),
    ):
        with assert_raises_reason(NotFound, "GENERATION_NOT_FOUND", {"generation_id": name}):
            await call
    with assert_raises_reason(NotFound, "GENERATION_NOT_FOUND", {"generation_id": name}):
        await mesh.generations.WatchGeneration(pb.WatchGenerationRequest(generation_id=name), metadata=who).read()


async def test_it_is_good_for_nothing_else(mesh: Bench, anna: Credentials, spec: Spec) -> None:
    created = await asked(mesh, spec, anna)
    who = shown(created.pass_id)
    request = pb.CreateGenerationRequest(request_id=str(uuid.uuid4()), spec=spec())
    for call in (
        mesh.accounts.GetAccount(account_pb2.GetAccountRequest(), metadata=who),
        mesh.accounts.ListApiKeys(account_pb2.ListApiKeysRequest(), metadata=who),
        mesh.accounts.GetSharedKey(account_pb2.GetSharedKeyRequest(), metadata=who),
        mesh.generations.CreateGeneration(request, metadata=who),
        mesh.generations.QuoteGeneration(pb.QuoteGenerationRequest(spec=spec()), metadata=who),
        mesh.generations.ListGenerations(pb.ListGenerationsRequest(), metadata=who),
        mesh.generations.CreateInputTicket(pb.CreateInputTicketRequest(input_id=str(uuid.uuid4())), metadata=who),
        mesh.models.ListModels(model_pb2.ListModelsRequest(), metadata=who),
        mesh.workers.ListWorkers(worker_pb2.ListWorkersRequest(), metadata=who),
    ):
        with assert_raises_reason(PermissionDenied, "ACCOUNT_REQUIRED"):
            await call
    with assert_raises_reason(PermissionDenied, "ACCOUNT_REQUIRED"):
        await mesh.workers.Attach(iter([]), metadata=who).read()


async def test_a_guess_and_a_generations_own_id_open_nothing(mesh: Bench, anna: Credentials, spec: Spec) -> None:
    created = await asked(mesh, spec, anna)
    for guess in (str(uuid.uuid4()), created.generation.generation_id, created.generation.request_id):
        with assert_raises_reason(Unauthenticated, "PASS_UNKNOWN"):
            await mesh.generations.GetGeneration(pb.GetGenerationRequest(), metadata=shown(guess))


async def test_who_guesses_is_soon_told_to_wait(tmp_path: Path) -> None:
    async with bench(tmp_path, limit_address_failures="3/60s") as mesh:
        for _ in range(3):
            with pytest.raises(Unauthenticated):
                await mesh.generations.GetGeneration(pb.GetGenerationRequest(), metadata=shown(str(uuid.uuid4())))
        reads = len(mesh.scheduler.reads)
        with pytest.raises(ResourceExhausted):
            await mesh.generations.GetGeneration(pb.GetGenerationRequest(), metadata=shown(str(uuid.uuid4())))
        assert len(mesh.scheduler.reads) == reads


async def test_polls_with_it_are_counted_for_it_and_for_where_they_come_from(tmp_path: Path, spec: Spec) -> None:
    async with bench(tmp_path, limit_anonymous_calls="3/60s") as mesh:
        token = [("authorization", "Anonymous 000102030405060708090a0b0c0d0e0f")]
        one, other = await asked(mesh, spec, token), await asked(mesh, spec, token)
        for _ in range(3):
            await mesh.generations.GetGeneration(pb.GetGenerationRequest(), metadata=shown(one.pass_id))
        with pytest.raises(ResourceExhausted):
            await mesh.generations.GetGeneration(pb.GetGenerationRequest(), metadata=shown(one.pass_id))
        await mesh.generations.GetGeneration(pb.GetGenerationRequest(), metadata=shown(other.pass_id))


async def test_replicas_that_share_a_key_open_each_others(
    tmp_path: Path, mesh: Bench, anna: Credentials, spec: Spec
) -> None:
    created = await asked(mesh, spec, anna)
    key = mesh.settings.state_dir / "pass.key"
    (tmp_path / "other").mkdir()
    async with bench(tmp_path / "other", pass_key_file=key) as replica:
        replica.scheduler.generations = mesh.scheduler.generations
        got = await replica.generations.GetGeneration(pb.GetGenerationRequest(), metadata=shown(created.pass_id))
        assert got.generation.generation_id == created.generation.generation_id
