"""What the gateway refuses by itself, between neighbours that only answer."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.service.reasons.provoking import (
    ACCOUNT,
    GENERATION,
    MESH,
    MODEL,
    STATISTICS,
    STORAGE,
    WORKER,
    provokes,
    refusal,
)

from horde.api.account.v1 import account_service_pb2 as account
from horde.api.generation.v1 import generation_pb2
from horde.api.generation.v1 import generation_service_pb2 as generation
from horde.api.job.v1 import job_pb2
from horde.api.model.v1 import model_service_pb2 as model
from horde.api.statistics.v1 import statistics_service_pb2 as statistics
from horde.api.worker.v1 import worker_pb2
from horde.api.worker.v1 import worker_service_pb2 as worker
from horde.gateway.core.credentials import new_api_key
from horde.services.errors import ServiceError
from horde.testkit.gateway import Bench, bench
from horde.testkit.loopback import ManualClock

Credentials = list[tuple[str, str]]
NOBODY = [("authorization", "Anonymous 000102030405060708090a0b0c0d0e0f")]
SOMEBODY = str(uuid.UUID(int=7))


def new_id() -> str:
    return str(uuid.uuid4())


def bearer(key: str) -> Credentials:
    return [("authorization", f"Bearer {key}")]


@asynccontextmanager
async def door(folder: Path, **settings: Any) -> AsyncIterator[tuple[Bench, Credentials]]:
    """A gateway, and somebody who has an account there."""
    async with bench(folder, **settings) as mesh:
        key = new_api_key().text()
        request = account.CreateAccountRequest(request_id=new_id(), display_name="Anna", api_key=key)
        await mesh.accounts.CreateAccount(request)
        yield mesh, bearer(key)


def spec(**image: Any) -> generation_pb2.GenerationSpec:
    asked = generation_pb2.GenerationSpec(count=1)
    asked.job.model = "paintbox"
    fields = {"prompt": "a fox", "width": 512, "height": 512, "steps": 20, **image}
    asked.job.image.CopyFrom(job_pb2.ImageSpec(**fields))
    return asked


async def small_key(mesh: Bench, who: Credentials) -> Credentials:
    """A key that may do nothing but work."""
    key = new_api_key().text()
    scopes = [account.API_KEY_SCOPE_WORK]
    request = account.CreateApiKeyRequest(request_id=new_id(), scopes=scopes, api_key=key)
    await mesh.accounts.CreateApiKey(request, metadata=who)
    return bearer(key)


@provokes(ACCOUNT, "CREDENTIALS_MISSING")
async def no_credentials(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, _):
        return await refusal(mesh.accounts.GetAccount(account.GetAccountRequest()))


@provokes(ACCOUNT, "CREDENTIALS_MALFORMED")
async def odd_credentials(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, _):
        odd = [("authorization", "Basic YTpi")]
        return await refusal(mesh.accounts.GetAccount(account.GetAccountRequest(), metadata=odd))


@provokes(ACCOUNT, "API_KEY_UNKNOWN")
async def a_strange_key(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, _):
        key = bearer(new_api_key().text())
        return await refusal(mesh.accounts.GetAccount(account.GetAccountRequest(), metadata=key))


@provokes(ACCOUNT, "PASS_UNKNOWN")
async def a_strange_pass(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, _):
        guess = [("authorization", f"Pass {new_id()}")]
        return await refusal(mesh.generations.GetGeneration(generation.GetGenerationRequest(), metadata=guess))


@provokes(ACCOUNT, "SCOPE_MISSING")
async def a_key_for_less(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, anna):
        key = await small_key(mesh, anna)
        return await refusal(mesh.generations.ListGenerations(generation.ListGenerationsRequest(), metadata=key))


@provokes(ACCOUNT, "ACCOUNT_REQUIRED")
async def no_account(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, _):
        return await refusal(mesh.accounts.GetAccount(account.GetAccountRequest(), metadata=NOBODY))


@provokes(ACCOUNT, "ROLE_MISSING")
async def no_operator(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, anna):
        return await refusal(mesh.accounts.AuditLedger(account.AuditLedgerRequest(), metadata=anna))


@provokes(ACCOUNT, "ACCOUNT_NOT_FOUND")
async def a_gift_to_nobody(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, anna):
        gift = account.GiftKudosRequest(request_id=new_id(), to_account_id=SOMEBODY, amount_mkudos=1_000)
        return await refusal(mesh.accounts.GiftKudos(gift, metadata=anna))


async def export_of(mesh: Bench, who: Credentials) -> str:
    """The id of an export that was read to its end."""
    heard = [each async for each in mesh.accounts.ExportAccount(account.ExportAccountRequest(), metadata=who)]
    return str(heard[-1].end.export_id)


@provokes(ACCOUNT, "EXPORT_REQUIRED")
async def deleted_without_a_copy(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, anna):
        return await refusal(mesh.accounts.DeleteAccount(account.DeleteAccountRequest(), metadata=anna))


@provokes(ACCOUNT, "ACCOUNT_BUSY")
async def deleted_while_it_asks(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, anna):
        request = generation.CreateGenerationRequest(request_id=new_id(), spec=spec())
        await mesh.generations.CreateGeneration(request, metadata=anna)
        wish = account.DeleteAccountRequest(export_id=await export_of(mesh, anna))
        return await refusal(mesh.accounts.DeleteAccount(wish, metadata=anna))


@provokes(GENERATION, "GENERATION_NOT_FINISHED")
async def deleted_before_its_end(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, anna):
        request = generation.CreateGenerationRequest(request_id=new_id(), spec=spec())
        made = (await mesh.generations.CreateGeneration(request, metadata=anna)).generation
        wish = generation.DeleteGenerationRequest(generation_id=made.generation_id)
        return await refusal(mesh.generations.DeleteGeneration(wish, metadata=anna))


@provokes(WORKER, "WORKER_BUSY")
async def a_worker_deleted_at_work(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, anna):
        owner = (await mesh.accounts.GetAccount(account.GetAccountRequest(), metadata=anna)).account.account_id
        state = worker_pb2.WORKER_STATE_READY
        mesh.scheduler.workers[SOMEBODY] = worker_pb2.Worker(worker_id=SOMEBODY, owner_account_id=owner, state=state)
        wish = worker.DeleteWorkerRequest(worker_id=SOMEBODY)
        return await refusal(mesh.workers.DeleteWorker(wish, metadata=anna))


@provokes(ACCOUNT, "API_KEY_NOT_FOUND")
async def a_key_that_is_not_there(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, anna):
        request = account.RevokeApiKeyRequest(api_key_id="x")
        return await refusal(mesh.accounts.RevokeApiKey(request, metadata=anna))


@provokes(ACCOUNT, "INVALID_FIELD")
async def an_account_of_nothing(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, _):
        return await refusal(mesh.accounts.CreateAccount(account.CreateAccountRequest()))


@provokes(ACCOUNT, "REQUEST_CONFLICT")
async def the_same_id_for_another(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, _):
        request = account.CreateAccountRequest(request_id=new_id(), display_name="Bert", api_key=new_api_key().text())
        await mesh.accounts.CreateAccount(request)
        request.display_name = "Berta"
        return await refusal(mesh.accounts.CreateAccount(request))


@provokes(ACCOUNT, "REGISTRATION_CLOSED")
async def a_closed_door(folder: Path) -> ServiceError:
    async with bench(folder, registration_open=False) as mesh:
        return await refusal(mesh.accounts.CreateAccount(account.CreateAccountRequest()))


@provokes(ACCOUNT, "TOO_MANY_API_KEYS")
async def one_key_too_many(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, anna):
        for _ in range(31):
            await small_key(mesh, anna)
        return await refusal(small_key(mesh, anna))


@provokes(GENERATION, "INVALID_FIELD")
async def a_picture_of_nothing(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, anna):
        return await refusal(mesh.generations.QuoteGeneration(generation.QuoteGenerationRequest(), metadata=anna))


@provokes(GENERATION, "PRICE_ABOVE_MAXIMUM")
async def too_dear(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, anna):
        request = generation.CreateGenerationRequest(request_id=new_id(), spec=spec(), max_total_mkudos=1)
        return await refusal(mesh.generations.CreateGeneration(request, metadata=anna))


@provokes(GENERATION, "INPUT_UNUSABLE")
async def an_input_that_was_never_put(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, anna):
        source = job_pb2.InputImage(input_id=new_id(), sha256=bytes(32))
        request = generation.CreateGenerationRequest(request_id=new_id(), spec=spec(source_image=source))
        return await refusal(mesh.generations.CreateGeneration(request, metadata=anna))


@provokes(GENERATION, "RATE_LIMITED")
async def too_often(folder: Path) -> ServiceError:
    async with door(folder, limit_address_calls="1/60s") as (mesh, _):
        await mesh.models.ListModels(model.ListModelsRequest())
        return await refusal(mesh.models.ListModels(model.ListModelsRequest()))


async def attached(mesh: Bench, who: Credentials, *messages: worker.AttachRequest) -> ServiceError:
    """What a worker's stream ends with that says this."""
    call = mesh.workers.Attach(metadata=who)
    for message in messages:
        await call.write(message)

    async def read() -> None:
        while await call.read():
            pass

    return await refusal(read())


HELLO = worker.AttachRequest(hello=worker.Hello(worker_name="rig"))


@provokes(WORKER, "HELLO_EXPECTED")
async def no_hello(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, anna):
        return await attached(mesh, anna, worker.AttachRequest(demand=worker.Demand(slots=1)))


@provokes(WORKER, "INVALID_FIELD")
async def a_hello_of_nothing(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, anna):
        return await attached(mesh, anna, worker.AttachRequest(hello=worker.Hello()))


@provokes(WORKER, "PROTOCOL_VIOLATION")
async def two_hellos(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, anna):
        return await attached(mesh, anna, HELLO, HELLO)


@provokes(WORKER, "TOO_MANY_SESSIONS")
async def one_session_too_many(folder: Path) -> ServiceError:
    async with door(folder, max_sessions=1) as (mesh, anna):
        first = mesh.workers.Attach(metadata=anna)
        await first.write(HELLO)
        await first.read()
        found = await attached(mesh, anna, worker.AttachRequest(hello=worker.Hello(worker_name="other")))
        first.cancel()
        return found


@provokes(MODEL, "MODEL_NOT_FOUND")
async def a_model_that_nobody_has(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, _):
        return await refusal(mesh.models.GetModel(model.GetModelRequest(name="mypaint")))


@provokes(MODEL, "INVALID_FIELD")
async def a_model_without_a_name(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, _):
        return await refusal(mesh.models.GetModel(model.GetModelRequest()))


@provokes(STATISTICS, "INVALID_FIELD")
async def fewer_than_no_models(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, _):
        return await refusal(mesh.statistics.ListModelTotals(statistics.ListModelTotalsRequest(page_size=-1)))


@provokes(MESH, "UNKNOWN_FIELD")
async def something_newer(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, anna):
        request = generation.QuoteGenerationRequest(spec=spec())
        request.spec.job.image.MergeFromString(bytes([0xFA, 0xFF, 0x3F, 1, 0]))
        return await refusal(mesh.generations.QuoteGeneration(request, metadata=anna))


@provokes(MESH, "OVERLOADED")
async def one_watcher_too_many(folder: Path) -> ServiceError:
    async with door(folder, max_watchers=1) as (mesh, anna):
        request = generation.CreateGenerationRequest(request_id=new_id(), spec=spec())
        made = (await mesh.generations.CreateGeneration(request, metadata=anna)).generation
        watch = generation.WatchGenerationRequest(generation_id=made.generation_id)
        first = mesh.generations.WatchGeneration(watch, metadata=anna)
        await first.read()
        found = await refusal(mesh.generations.WatchGeneration(watch, metadata=anna).read())
        first.cancel()
        return found


async def shared_key(mesh: Bench, who: Credentials, **fields: Any) -> Credentials:
    """A key that somebody gave to a friend."""
    key = new_api_key().text()
    request = account.CreateSharedKeyRequest(request_id=new_id(), label="for Clara", key=key, **fields)
    await mesh.accounts.CreateSharedKey(request, metadata=who)
    return bearer(key)


def quote(mesh: Bench, who: Credentials, **image: Any) -> Any:
    return mesh.generations.QuoteGeneration(generation.QuoteGenerationRequest(spec=spec(**image)), metadata=who)


@provokes(ACCOUNT, "SHARED_KEY_NOT_FOUND")
async def a_shared_key_of_nobody(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, anna):
        request = account.RevokeSharedKeyRequest(shared_key_id="0" * 16)
        return await refusal(mesh.accounts.RevokeSharedKey(request, metadata=anna))


@provokes(ACCOUNT, "SHARED_KEY_BOUND")
async def more_steps_than_shared(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, anna):
        return await refusal(quote(mesh, await shared_key(mesh, anna, bounds={"max_steps": 10})))


@provokes(ACCOUNT, "SHARED_KEY_BUDGET_SPENT")
async def dearer_than_shared(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, anna):
        return await refusal(quote(mesh, await shared_key(mesh, anna, budget_mkudos=1)))


@provokes(ACCOUNT, "SHARED_KEY_EXPIRED")
async def a_shared_key_of_yesterday(folder: Path) -> ServiceError:
    clock = ManualClock()
    # The operator, for limits are counted by the clock that is wound on.
    async with bench(folder, clock=clock) as mesh:
        holder = await shared_key(mesh, mesh.operator, lasts={"seconds": 60})
        clock.jump(61)
        return await refusal(quote(mesh, holder))


@provokes(GENERATION, "MODEL_UNKNOWN")
async def a_mistyped_model(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, anna):
        mesh.scheduler.models["watercolour"] = model.Model(name="watercolour")
        return await refusal(quote(mesh, anna))


@provokes(STORAGE, "INPUT_IN_USE")
async def an_input_that_is_needed(folder: Path) -> ServiceError:
    async with door(folder) as (mesh, anna):
        owner = (await mesh.accounts.GetAccount(account.GetAccountRequest(), metadata=anna)).account.account_id
        mesh.storage.put(owner, SOMEBODY, 64, 64)
        mesh.storage.in_use.add(SOMEBODY)
        return await refusal(
            mesh.generations.DeleteInput(generation.DeleteInputRequest(input_id=SOMEBODY), metadata=anna)
        )
