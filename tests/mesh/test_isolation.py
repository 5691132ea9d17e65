"""Nobody sees, watches, fetches, cancels or withdraws what is another's, nor calls what is internal without the key."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest
import pytest_asyncio
from tests.mesh.probing import Books, internal_channel, only, png, rich_account, small

from horde.api.generation.v1.generation_pb2 import Generation
from horde.cli.local.mesh import LocalMesh
from horde.cli.local.roles import Role
from horde.clients.client import HordeClient
from horde.clients.errors import GenerationNotFound, InputUnusable, TokenForged, TokenMalformed
from horde.internal.ledger.v1 import ledger_service_pb2 as ledger_pb
from horde.internal.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from horde.internal.scheduler.v1 import scheduler_service_pb2 as scheduler_pb
from horde.internal.scheduler.v1.scheduler_service_pb2_grpc import SchedulerServiceStub
from horde.internal.storage.v1 import object_service_pb2 as object_pb
from horde.internal.storage.v1.object_service_pb2_grpc import ObjectServiceStub
from horde.services.channel import dial
from horde.services.errors import PermissionDenied, ServiceError, Unauthenticated
from horde.services.identity import Credentials

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True)
class Pair:
    """Two requesters of one kind, and a finished generation of the first."""

    first: HordeClient
    second: HordeClient
    generation: Generation


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["anonymous", "accounts"])
async def pair(request: pytest.FixtureRequest, mesh: LocalMesh) -> AsyncIterator[Pair]:
    if request.param == "anonymous":
        async with mesh.client() as first, mesh.client() as second:
            yield await _pair(first, second)
    else:
        async with rich_account(mesh, "first") as first, rich_account(mesh, "second") as second:
            yield await _pair(first, second)


async def _pair(first: HordeClient, second: HordeClient) -> Pair:
    made = await first.generations.create(small("a secret"))
    return Pair(first, second, await first.generations.finish(made.generation_id))


async def test_another_cannot_get_watch_cancel_withdraw_or_list_it(pair: Pair) -> None:
    generation_id, job_id = pair.generation.generation_id, only(pair.generation).job_id
    with pytest.raises(GenerationNotFound):
        await pair.second.generations.get(generation_id)
    with pytest.raises(GenerationNotFound):
        await pair.second.generations.finish(generation_id)
    with pytest.raises(GenerationNotFound):
        await pair.second.generations.cancel(generation_id)
    with pytest.raises(GenerationNotFound):
        await pair.second.images.fetch(generation_id, job_id)
    try:
        outcomes = await pair.second.generations.withdraw(generation_id, [job_id])
        assert isinstance(outcomes[job_id], GenerationNotFound)
    except GenerationNotFound:
        pass
    listed = [generation.generation_id async for generation in pair.second.generations.list()]
    assert generation_id not in listed
    # And the first still has it.
    image = only(await pair.first.generations.get(generation_id))
    assert not image.withdrawn
    assert await pair.first.images.fetch(generation_id, job_id)


async def test_what_is_anothers_is_answered_as_what_does_not_exist(pair: Pair) -> None:
    async def answer(generation_id: str) -> tuple[type[ServiceError], str, set[str]]:
        with pytest.raises(ServiceError) as caught:
            await pair.second.generations.get(generation_id)
        return type(caught.value), caught.value.message.replace(generation_id, ""), set(caught.value.metadata)

    assert await answer(pair.generation.generation_id) == await answer(str(uuid.uuid4()))


async def test_the_same_request_id_of_two_requesters_is_two_generations(pair: Pair) -> None:
    request_id = str(uuid.uuid4())
    one = await pair.first.generations.create(small("one"), request_id=request_id)
    two = await pair.second.generations.create(small("two"), request_id=request_id)
    assert one.generation_id != two.generation_id
    assert {image.job_id for image in one.images}.isdisjoint(image.job_id for image in two.images)
    await pair.first.generations.finish(one.generation_id)
    await pair.second.generations.finish(two.generation_id)


async def test_anothers_input_cannot_be_used(pair: Pair) -> None:
    put = await pair.first.images.put(png())
    with pytest.raises(InputUnusable):
        await pair.second.generations.create(small("theirs", source_image=put))


async def test_the_owner_can_withdraw_and_then_nobody_can_fetch(mesh: LocalMesh) -> None:
    async with mesh.client() as nobody:
        made = await nobody.generations.finish((await nobody.generations.create(small("regret"))).generation_id)
        job_id = only(made).job_id
        assert await nobody.generations.withdraw(made.generation_id, [job_id]) == {job_id: None}
        assert await nobody.generations.withdraw(made.generation_id, [job_id]) == {job_id: None}
        with pytest.raises(ServiceError):
            await nobody.images.fetch(made.generation_id, job_id)
        with pytest.raises(ServiceError):
            # Also with the ticket from before.
            await nobody.images.fetch_from(made, job_id)


Internal = Callable[[LocalMesh, Credentials | None], Awaitable[object]]


async def mint(mesh: LocalMesh, caller: Credentials | None) -> object:
    award = ledger_pb.Award(account_id=str(uuid.uuid4()), amount_mkudos=1, awarded_by="me", reason="greed")
    event = ledger_pb.Event(event_id=str(uuid.uuid4()), award=award)
    async with dial(mesh.layout.address(Role.LEDGER), caller=caller) as channel:
        return await LedgerServiceStub(channel).Apply(ledger_pb.ApplyRequest(events=[event]))


async def settle(mesh: LocalMesh, caller: Credentials | None) -> object:
    event = ledger_pb.Event(event_id=str(uuid.uuid4()), settle=ledger_pb.Settle(job_id=str(uuid.uuid4())))
    async with dial(mesh.layout.address(Role.LEDGER), caller=caller) as channel:
        return await LedgerServiceStub(channel).Apply(ledger_pb.ApplyRequest(events=[event]))


async def commit(mesh: LocalMesh, caller: Credentials | None) -> object:
    order = object_pb.CommitObject(job_id=str(uuid.uuid4()), lease_id="1-1")
    async with dial(mesh.layout.address(Role.STORAGE_ROUTER), caller=caller) as channel:
        return await ObjectServiceStub(channel).CommitObjects(object_pb.CommitObjectsRequest(commits=[order]))


async def submit(mesh: LocalMesh, caller: Credentials | None) -> object:
    async with dial(mesh.layout.address(Role.SCHEDULER), caller=caller) as channel:
        request = scheduler_pb.SubmitGenerationsRequest(submissions=[scheduler_pb.SubmitGeneration()])
        return await SchedulerServiceStub(channel).SubmitGenerations(request)


async def read_balances(mesh: LocalMesh, caller: Credentials | None) -> object:
    async with dial(mesh.layout.address(Role.LEDGER), caller=caller) as channel:
        return await LedgerServiceStub(channel).GetBalances(ledger_pb.GetBalancesRequest())


@pytest.mark.parametrize("call", [mint, settle, commit, submit, read_balances], ids=lambda call: call.__name__)
async def test_without_the_key_nothing_internal_can_be_called(call: Internal, mesh: LocalMesh, books: Books) -> None:
    with pytest.raises((PermissionDenied, Unauthenticated)):
        await call(mesh, None)
    with pytest.raises(Unauthenticated):
        await call(mesh, Credentials.from_key("scheduler", b"\x00" * 32))
    await books.assert_balanced()


async def test_a_service_may_only_call_what_it_needs(mesh: LocalMesh) -> None:
    # The storage router holds the key, too, and still may not move kudos.
    async with internal_channel(mesh, Role.LEDGER, "storage-router") as channel:
        with pytest.raises(PermissionDenied):
            await LedgerServiceStub(channel).Apply(ledger_pb.ApplyRequest())
    async with internal_channel(mesh, Role.STORAGE_ROUTER, "ledger") as channel:
        with pytest.raises(PermissionDenied):
            await ObjectServiceStub(channel).CommitObjects(object_pb.CommitObjectsRequest())


async def test_the_key_file_is_for_its_owner_alone(mesh: LocalMesh) -> None:
    assert mesh.layout.key_file.stat().st_mode & 0o777 == 0o600


async def test_a_forged_ticket_opens_nothing(mesh: LocalMesh, pair: Pair) -> None:
    image = only(pair.generation)
    for ticket in ("", "nonsense", image.download.ticket[:-4] + "AAAA"):
        altered = Generation()
        altered.CopyFrom(pair.generation)
        altered.images[0].download.ticket = ticket
        with pytest.raises((TokenForged, TokenMalformed, Unauthenticated)):
            await pair.second.images.fetch_from(altered, image.job_id)
