"""What an owner, or a moderator, may do with a worker: pause it, and say something of it."""

from __future__ import annotations

import uuid

from google.protobuf.field_mask_pb2 import FieldMask
from tests.service.gateway.attaching import Credentials

from horde.api.account.v1 import account_service_pb2 as account_pb2
from horde.api.worker.v1 import worker_pb2
from horde.api.worker.v1 import worker_service_pb2 as pb
from horde.gateway.core.credentials import new_api_key
from horde.services.errors import (
    NotFound,
    PermissionDenied,
)
from horde.testkit.gateway import Bench
from horde.testkit.loopback import assert_raises_reason


async def test_pausing_is_for_the_owner_and_for_moderators(mesh: Bench, anna: Credentials, bert: Credentials) -> None:
    account = (await mesh.accounts.GetAccount(account_pb2.GetAccountRequest(), metadata=anna)).account
    worker_id = str(uuid.uuid4())
    mesh.scheduler.workers[worker_id] = worker_pb2.Worker(worker_id=worker_id, owner_account_id=account.account_id)
    request = pb.SetWorkerPausedRequest(worker_id=worker_id, paused=True)
    with assert_raises_reason(NotFound, "WORKER_NOT_FOUND", {"worker_id": worker_id}):
        await mesh.workers.SetWorkerPaused(request, metadata=bert)
    for who in (anna, mesh.operator):
        answer = await mesh.workers.SetWorkerPaused(request, metadata=who)
        assert answer.worker.state == worker_pb2.WORKER_STATE_PAUSED
    for scope, whose, allowed in (
        (account_pb2.API_KEY_SCOPE_MANAGE, anna, True),
        (account_pb2.API_KEY_SCOPE_MANAGE, mesh.operator, True),
        (account_pb2.API_KEY_SCOPE_WORK, anna, True),
        # What roles permit needs MANAGE: a key that lies on a worker's machine is not a moderator's.
        (account_pb2.API_KEY_SCOPE_WORK, mesh.operator, False),
    ):
        secret = new_api_key().text()
        await mesh.accounts.CreateApiKey(
            account_pb2.CreateApiKeyRequest(request_id=str(uuid.uuid4()), scopes=[scope], api_key=secret),
            metadata=whose,
        )
        narrow = [("authorization", f"Bearer {secret}")]
        if allowed:
            await mesh.workers.SetWorkerPaused(request, metadata=narrow)
        else:
            with assert_raises_reason(NotFound, "WORKER_NOT_FOUND"):
                await mesh.workers.SetWorkerPaused(request, metadata=narrow)
    mine = await mesh.workers.ListWorkers(pb.ListWorkersRequest(mine=True), metadata=bert)
    assert not mine.workers
    everybodys = await mesh.workers.ListWorkers(pb.ListWorkersRequest(), metadata=bert)
    assert len(everybodys.workers) == 1


async def test_an_owner_says_something_of_a_worker_by_a_key_that_may(
    mesh: Bench, anna: Credentials, bert: Credentials
) -> None:
    account = (await mesh.accounts.GetAccount(account_pb2.GetAccountRequest(), metadata=anna)).account
    worker = worker_pb2.Worker(worker_id=str(uuid.uuid4()), owner_account_id=account.account_id)
    mesh.scheduler.workers[worker.worker_id] = worker
    request = pb.UpdateWorkerRequest(
        worker=worker_pb2.Worker(worker_id=worker.worker_id, description="In the cellar."),
        update_mask=FieldMask(paths=["description"]),
    )
    # Moderators pause workers; what is said of one is its owner's alone.
    for other in (bert, mesh.operator):
        with assert_raises_reason(NotFound, "WORKER_NOT_FOUND", {"worker_id": worker.worker_id}):
            await mesh.workers.UpdateWorker(request, metadata=other)
    secret = new_api_key().text()
    key = account_pb2.CreateApiKeyRequest(
        request_id=str(uuid.uuid4()), scopes=[account_pb2.API_KEY_SCOPE_WORK], api_key=secret
    )
    await mesh.accounts.CreateApiKey(key, metadata=anna)
    with assert_raises_reason(PermissionDenied, "SCOPE_MISSING", {"scope": "MANAGE"}):
        await mesh.workers.UpdateWorker(request, metadata=[("authorization", f"Bearer {secret}")])
    assert (await mesh.workers.UpdateWorker(request, metadata=anna)).worker.description == "In the cellar."
    shown = await mesh.workers.GetWorker(pb.GetWorkerRequest(worker_id=worker.worker_id), metadata=bert)
    assert shown.worker.description == "In the cellar."
