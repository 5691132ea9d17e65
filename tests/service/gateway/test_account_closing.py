"""Ending an account, deleting generations and workers: only what is the caller's, repeatable, and across crashes."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from horde.api.account.v1 import account_service_pb2 as pb
from horde.api.generation.v1 import generation_pb2
from horde.api.generation.v1 import generation_service_pb2 as generation_service
from horde.api.job.v1 import job_pb2
from horde.api.worker.v1 import worker_pb2
from horde.api.worker.v1 import worker_service_pb2 as worker_service
from horde.gateway.core.credentials import new_api_key
from horde.gateway.store.memory import MemoryIdentityStore
from horde.services import failpoints
from horde.services.errors import FailedPrecondition, InvalidArgument, NotFound, Unauthenticated, Unavailable
from horde.testkit.gateway import Bench, bench
from horde.testkit.loopback import ManualClock, assert_raises_reason, fields_of
from horde.testkit.waiting import ticks

Credentials = list[tuple[str, str]]
Spec = Callable[..., generation_pb2.GenerationSpec]


async def opened(mesh: Bench, key: str = "") -> Credentials:
    """An account's credentials."""
    key = key or new_api_key().text()
    request = pb.CreateAccountRequest(request_id=str(uuid.uuid4()), display_name="Anna", api_key=key)
    await mesh.accounts.CreateAccount(request)
    return [("authorization", f"Bearer {key}")]


async def id_of(mesh: Bench, who: Credentials) -> str:
    shown = await mesh.accounts.GetAccount(pb.GetAccountRequest(), metadata=who)
    return str(shown.account.account_id)


async def exported(mesh: Bench, who: Credentials) -> str:
    """The id of an export that was read to its end."""
    heard = [each async for each in mesh.accounts.ExportAccount(pb.ExportAccountRequest(), metadata=who)]
    return str(heard[-1].end.export_id)


async def asked(mesh: Bench, who: Credentials, spec: generation_pb2.GenerationSpec, *, done: bool = True) -> str:
    """The id of a generation, whose images are done."""
    request = generation_service.CreateGenerationRequest(request_id=str(uuid.uuid4()), spec=spec)
    made = (await mesh.generations.CreateGeneration(request, metadata=who)).generation
    for index in range(spec.count if done else 0):
        mesh.scheduler.end(made.generation_id, index)
    return str(made.generation_id)


async def close(mesh: Bench, who: Credentials, export_id: str, **fields: Any) -> pb.DeleteAccountResponse:
    request = pb.DeleteAccountRequest(export_id=export_id, **fields)
    answer: pb.DeleteAccountResponse = await mesh.accounts.DeleteAccount(request, metadata=who)
    return answer


async def until(true: Callable[[], bool]) -> None:
    for _ in ticks("it does not come"):
        if true():
            return
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("withdraw", [False, True])
async def test_an_account_ends_with_all_that_it_had_and_nobody_elses(
    mesh: Bench, anna: Credentials, bert: Credentials, spec: Spec, withdraw: bool
) -> None:
    mine, his = await id_of(mesh, anna), await id_of(mesh, bert)
    shared_key = new_api_key().text()
    shared = pb.CreateSharedKeyRequest(request_id=str(uuid.uuid4()), key=shared_key)
    await mesh.accounts.CreateSharedKey(shared, metadata=anna)
    holder = [("authorization", f"Bearer {shared_key}")]
    await asked(mesh, anna, spec(count=2))
    await asked(mesh, holder, spec(share=True))
    kept = await asked(mesh, bert, spec())
    for who in (mine, his):
        mesh.storage.put(who, str(uuid.uuid4()), 64, 64)
    export_id = await exported(mesh, anna)
    answer = await close(mesh, anna, export_id, withdraw_shared=withdraw)
    assert (answer.generations, answer.images, answer.images_withdrawn) == (2, 2, int(withdraw))
    assert answer.burned_mkudos == mesh.ledger.available
    await until(lambda: list(mesh.scheduler.generations) == [kept])
    await until(lambda: {owner for owner, _ in mesh.storage.inputs} == {his})
    assert {forget.withdraw_shared for forget in mesh.scheduler.forgets} == {withdraw}
    await until(lambda: len(mesh.curation.forgets) > 1)
    assert {(forget.account_id, forget.withdraw_shared) for forget in mesh.curation.forgets} == {(mine, withdraw)}
    await until(lambda: len(mesh.told_webhooks.forgets) > 1)
    assert set(mesh.told_webhooks.forgets) == {mine}
    for key in (anna, holder):
        with assert_raises_reason(Unauthenticated, "API_KEY_UNKNOWN"):
            await mesh.accounts.GetAccount(pb.GetAccountRequest(), metadata=key)
        with assert_raises_reason(Unauthenticated, "API_KEY_UNKNOWN"):
            await mesh.generations.ListGenerations(generation_service.ListGenerationsRequest(), metadata=key)
    gift = pb.GiftKudosRequest(request_id=str(uuid.uuid4()), to_account_id=mine, amount_mkudos=1_000)
    with assert_raises_reason(NotFound, "ACCOUNT_NOT_FOUND"):
        await mesh.accounts.GiftKudos(gift, metadata=bert)
    # The answer was lost: the same again has it.
    assert await close(mesh, anna, export_id, withdraw_shared=withdraw) == answer
    with assert_raises_reason(FailedPrecondition, "EXPORT_REQUIRED"):
        await close(mesh, anna, "another")
    with assert_raises_reason(Unauthenticated, "API_KEY_UNKNOWN"):
        await close(mesh, holder, export_id)
    assert sum(event.HasField("close_account") for event in mesh.ledger.events) == 1
    assert await id_of(mesh, bert) == his


async def test_an_export_of_the_last_hour_comes_first(tmp_path: Path) -> None:
    clock = ManualClock()
    async with bench(tmp_path, clock=clock) as mesh:
        anna, bert = await opened(mesh), await opened(mesh)
        his = await exported(mesh, bert)
        mine = await exported(mesh, anna)
        forged = mine[:-1] + ("0" if mine[-1] != "0" else "1")
        later = str(int(mine.partition("-")[0]) + 10) + mine[mine.index("-") :]
        for wrong in ("", "x", his, forged, later, "-", f"{10**30}-{'0' * 64}", "é" * 100):
            with assert_raises_reason(FailedPrecondition, "EXPORT_REQUIRED"):
                await close(mesh, anna, wrong)
        await clock.advance(3601.0)
        with assert_raises_reason(FailedPrecondition, "EXPORT_REQUIRED"):
            await close(mesh, anna, mine)
        await close(mesh, anna, await exported(mesh, anna))


async def test_what_has_not_ended_keeps_the_account(mesh: Bench, anna: Credentials, spec: Spec) -> None:
    open_one = await asked(mesh, anna, spec(), done=False)
    mesh.scheduler.open_leases[await id_of(mesh, anna)] = 2
    export_id = await exported(mesh, anna)
    with assert_raises_reason(FailedPrecondition, "ACCOUNT_BUSY", {"generations": "1", "leases": "2"}):
        await close(mesh, anna, export_id)
    assert open_one in mesh.scheduler.generations
    await id_of(mesh, anna)
    mesh.scheduler.open_leases.clear()
    mesh.scheduler.end(open_one, 0)
    assert (await close(mesh, anna, export_id)).generations == 1


@pytest.mark.parametrize("point", ["gateway.after_closing", "gateway.after_burning"])
async def test_a_crash_in_the_middle_loses_neither_the_wish_nor_its_answer(
    tmp_path: Path, spec: Spec, point: str
) -> None:
    store, clock = MemoryIdentityStore(), ManualClock()
    async with bench(tmp_path, store=store, clock=clock) as mesh:
        anna = await opened(mesh)
        mine = await id_of(mesh, anna)
        await asked(mesh, anna, spec())
        generations = mesh.scheduler.generations
        export_id = await exported(mesh, anna)
        failpoints.arm(f"{point}=error@1")
        try:
            with pytest.raises(Unavailable):
                await close(mesh, anna, export_id)
        finally:
            failpoints.arm("")
    assert generations
    async with bench(tmp_path, store=store, clock=clock) as mesh:
        mesh.scheduler.generations = generations
        # Nobody asked again: it goes on by itself.
        await until(lambda: not generations)
        (closed,) = [event.close_account for event in mesh.ledger.events if event.HasField("close_account")]
        assert closed.account_id == mine
        assert (await close(mesh, anna, export_id)).generations == 1
        with assert_raises_reason(Unauthenticated, "API_KEY_UNKNOWN"):
            await id_of(mesh, anna)


async def test_it_goes_on_while_neighbours_are_away_and_nothing_is_kept_after_an_hour(
    tmp_path: Path, spec: Spec
) -> None:
    store, clock = MemoryIdentityStore(), ManualClock()
    async with bench(tmp_path, store=store, clock=clock) as mesh:
        anna = await opened(mesh)
        mine = await id_of(mesh, anna)
        await asked(mesh, anna, spec())
        export_id = await exported(mesh, anna)
        mesh.ledger.away = mesh.storage.away = mesh.curation.away = True
        with pytest.raises(Unavailable):
            await close(mesh, anna, export_id)
        mesh.ledger.away = False
        assert (await close(mesh, anna, export_id)).burned_mkudos == mesh.ledger.available
        kept = await store.closing(mine)
        assert kept is not None
        assert not kept.forgotten
        mesh.storage.away = False
        for _ in range(3):
            await clock.advance(31.0)
        kept = await store.closing(mine)
        assert kept is not None
        assert not kept.forgotten
        mesh.curation.away = False
        for _ in ticks():
            await clock.advance(31.0)
            kept = await store.closing(mine)
            if kept is None or kept.forgotten:
                break
        assert not mesh.scheduler.generations
        await clock.advance(3600.0)
        for _ in ticks():
            await clock.advance(31.0)
            if await store.closing(mine) is None:
                break
        with assert_raises_reason(Unauthenticated, "API_KEY_UNKNOWN"):
            await close(mesh, anna, export_id)


async def test_a_generation_is_deleted_by_who_asked_for_it(
    mesh: Bench, anna: Credentials, bert: Credentials, nobody: Credentials, spec: Spec
) -> None:
    done, waiting = await asked(mesh, anna, spec()), await asked(mesh, anna, spec(), done=False)

    async def delete(generation_id: str, who: Credentials) -> None:
        request = generation_service.DeleteGenerationRequest(generation_id=generation_id)
        await mesh.generations.DeleteGeneration(request, metadata=who)

    for stranger in (bert, nobody):
        await delete(done, stranger)
    assert done in mesh.scheduler.generations
    with assert_raises_reason(FailedPrecondition, "GENERATION_NOT_FINISHED", {"generation_id": waiting}):
        await delete(waiting, anna)
    for _ in range(2):
        await delete(done, anna)
    assert list(mesh.scheduler.generations) == [waiting]
    with assert_raises_reason(InvalidArgument, "INVALID_FIELD") as caught:
        await delete("x", anna)
    assert fields_of(caught.value) == ["generation_id"]


async def test_deleting_brings_no_budget_back(mesh: Bench, anna: Credentials, spec: Spec) -> None:
    key = new_api_key().text()
    shared = pb.CreateSharedKeyRequest(request_id=str(uuid.uuid4()), key=key, budget_mkudos=1_000_000)
    await mesh.accounts.CreateSharedKey(shared, metadata=anna)
    holder = [("authorization", f"Bearer {key}")]

    async def spent() -> int:
        return int((await mesh.accounts.GetSharedKey(pb.GetSharedKeyRequest(), metadata=holder)).key.spent_mkudos)

    made = await asked(mesh, holder, spec(), done=False)
    held = await spent()
    mesh.scheduler.end(made, 0, job_pb2.JOB_ENDING_DONE)
    request = generation_service.DeleteGenerationRequest(generation_id=made)
    for _ in range(2):
        await mesh.generations.DeleteGeneration(request, metadata=holder)
    assert made not in mesh.scheduler.generations
    assert await spent() == held > 0


async def test_a_worker_is_deleted_by_its_owner_while_it_is_away(
    mesh: Bench, anna: Credentials, bert: Credentials
) -> None:
    name, owner = str(uuid.uuid4()), await id_of(mesh, anna)
    mesh.scheduler.workers[name] = worker_pb2.Worker(
        worker_id=name, owner_account_id=owner, state=worker_pb2.WORKER_STATE_READY
    )
    request = worker_service.DeleteWorkerRequest(worker_id=name)
    with assert_raises_reason(FailedPrecondition, "WORKER_BUSY", {"worker_id": name}):
        await mesh.workers.DeleteWorker(request, metadata=anna)
    mesh.scheduler.workers[name].state = worker_pb2.WORKER_STATE_AWAY
    with assert_raises_reason(NotFound, "WORKER_NOT_FOUND", {"worker_id": name}):
        await mesh.workers.DeleteWorker(request, metadata=bert)
    for _ in range(2):
        await mesh.workers.DeleteWorker(request, metadata=anna)
    assert not mesh.scheduler.workers
    with assert_raises_reason(InvalidArgument, "INVALID_FIELD") as caught:
        await mesh.workers.DeleteWorker(worker_service.DeleteWorkerRequest(worker_id="x"), metadata=anna)
    assert fields_of(caught.value) == ["worker_id"]
