"""Who may attach a worker, for how long, and how fast it may speak."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from grpc import aio
from tests.service.gateway.attaching import Credentials, Worker, relay_of

from horde.api.account.v1 import account_service_pb2 as account_pb2
from horde.api.worker.v1 import worker_service_pb2 as pb
from horde.gateway.core.credentials import new_api_key, parse_api_key
from horde.gateway.doors.attach import MESSAGES_AT_ONCE
from horde.gateway.store.memory import MemoryIdentityStore
from horde.services.errors import (
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from horde.testkit.gateway import Bench, bench
from horde.testkit.loopback import ManualClock, assert_raises_reason
from horde.testkit.waiting import until


async def test_attaching_needs_an_account_and_a_key_for_work(
    mesh: Bench, anna: Credentials, nobody: Credentials
) -> None:
    with assert_raises_reason(PermissionDenied, "ACCOUNT_REQUIRED"):
        await Worker(mesh, nobody).attach()
    request = account_pb2.CreateApiKeyRequest(
        request_id=str(uuid.uuid4()), scopes=[account_pb2.API_KEY_SCOPE_GENERATE], label="no work"
    )
    shown = request.api_key = new_api_key().text()
    await mesh.accounts.CreateApiKey(request, metadata=anna)
    with assert_raises_reason(PermissionDenied, "SCOPE_MISSING", {"scope": "WORK"}):
        await Worker(mesh, [("authorization", f"Bearer {shown}")]).attach()


async def test_a_revoked_key_ends_its_streams(mesh: Bench, anna: Credentials, worker: Worker) -> None:
    await relay_of(mesh)
    await worker.attach()
    keys = (await mesh.accounts.ListApiKeys(account_pb2.ListApiKeysRequest(), metadata=anna)).keys
    request = account_pb2.RevokeApiKeyRequest(api_key_id=keys[0].api_key_id)
    await mesh.accounts.RevokeApiKey(request, metadata=anna)
    with assert_raises_reason(Unauthenticated, "API_KEY_UNKNOWN"):
        await worker.stream.read()


async def test_a_key_revoked_at_another_door_ends_its_streams_when_they_speak(tmp_path: Path) -> None:
    store, clock = MemoryIdentityStore(), ManualClock()
    async with bench(tmp_path, store=store, clock=clock) as mesh:
        relay = await relay_of(mesh)
        worker = Worker(mesh, mesh.operator)
        await worker.attach()
        await worker.restate()
        account = (await mesh.accounts.GetAccount(account_pb2.GetAccountRequest(), metadata=mesh.operator)).account
        await store.revoke_key(
            account.account_id, parse_api_key(mesh.operator[0][1].removeprefix("Bearer ")).api_key_id
        )
        await worker.say(demand=pb.Demand(slots=2))
        await until(lambda: relay.kinds(1) == ["opened", "restatement", "demand"])
        clock.jump(5.01)
        await worker.say(demand=pb.Demand(slots=3))
        with assert_raises_reason(Unauthenticated, "API_KEY_UNKNOWN"):
            await worker.stream.read()
        await until(lambda: relay.kinds(1)[-1] == "closed")
        assert relay.kinds(1) == ["opened", "restatement", "demand", "closed"]


async def test_a_flood_is_slowed_down_and_not_sent_away(tmp_path: Path) -> None:
    clock, flood = ManualClock(), MESSAGES_AT_ONCE + 100
    async with bench(tmp_path, clock=clock) as mesh:
        relay = await relay_of(mesh)
        worker = Worker(mesh, mesh.operator)
        await worker.attach()
        for _ in range(flood):
            await worker.say(demand=pb.Demand(slots=2))
        # The one that went over is still passed on; the next is not read.
        heard = 1 + MESSAGES_AT_ONCE + 1
        await until(lambda: len(relay.heard) >= heard)
        assert len(relay.heard) == heard
        for _ in range(100):
            await clock.advance(0.01)
        await until(lambda: len(relay.heard) == 1 + flood)


async def test_a_store_that_is_away_ends_no_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, clock = MemoryIdentityStore(), ManualClock()
    async with bench(tmp_path, store=store, clock=clock) as mesh:
        relay = await relay_of(mesh)
        worker = Worker(mesh, mesh.operator)
        await worker.attach()

        async def away(api_key_id: str) -> None:
            raise Unavailable

        monkeypatch.setattr(store, "key", away)
        clock.jump(5.01)
        await worker.say(demand=pb.Demand(slots=2))
        await until(lambda: relay.kinds(1) == ["opened", "demand"])


async def test_a_farewell_comes_before_the_end(tmp_path: Path) -> None:
    async with bench(tmp_path) as mesh:
        await until(lambda: mesh.gateway.relay.up)
        worker = Worker(mesh, mesh.operator)
        await worker.attach()
        relay = mesh.scheduler.relays[-1]
        await mesh.gateway.farewell()
        await worker.hear("farewell")
        assert await worker.stream.read() is aio.EOF
        await until(lambda: relay.kinds(1)[-1] == "closed")
        # It comes back elsewhere, with its leases: that was no goodbye.
        assert not relay.heard[-1].closed.clean
