"""Keys that clients draw, what an account says of itself, and everything that is kept about it; over a real socket."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.json_format import Parse

from horde.api.account.v1 import account_service_pb2 as pb
from horde.api.generation.v1 import generation_pb2
from horde.api.generation.v1 import generation_service_pb2 as generation_service
from horde.api.worker.v1 import worker_pb2
from horde.gateway.core.credentials import ALPHABET
from horde.services.errors import AlreadyExists, FailedPrecondition, InvalidArgument
from horde.testkit.gateway import Bench
from horde.testkit.loopback import assert_raises_reason, fields_of

Credentials = list[tuple[str, str]]
Spec = Callable[..., generation_pb2.GenerationSpec]


def drawn() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(22))


def opening(**fields: Any) -> pb.CreateAccountRequest:
    request = {"request_id": str(uuid.uuid4()), "display_name": "Anna", "api_key": drawn(), **fields}
    return pb.CreateAccountRequest(**request)


def bearer(key: str) -> Credentials:
    return [("authorization", f"Bearer {key}")]


async def update(mesh: Bench, who: Credentials, *paths: str, **fields: Any) -> pb.Account:
    request = pb.UpdateAccountRequest(account=pb.Account(**fields))
    request.update_mask.paths.extend(paths)
    answer: pb.UpdateAccountResponse = await mesh.accounts.UpdateAccount(request, metadata=who)
    return answer.account


async def test_a_lost_answer_loses_no_account(mesh: Bench) -> None:
    request = opening()
    first = await mesh.accounts.CreateAccount(request)
    assert await mesh.accounts.CreateAccount(request) == first
    mine = await mesh.accounts.GetAccount(pb.GetAccountRequest(), metadata=bearer(request.api_key))
    assert mine.account.account_id == first.account.account_id
    assert len(first.key.scopes) == 3


@pytest.mark.parametrize("field", ["display_name", "api_key"])
async def test_the_same_request_with_other_content_is_a_conflict(mesh: Bench, field: str) -> None:
    request = opening()
    await mesh.accounts.CreateAccount(request)
    setattr(request, field, drawn())
    with assert_raises_reason(AlreadyExists, "REQUEST_CONFLICT", {"field": field}):
        await mesh.accounts.CreateAccount(request)


async def test_a_key_that_is_somebodys_is_nobody_elses(mesh: Bench) -> None:
    request = opening()
    await mesh.accounts.CreateAccount(request)
    with assert_raises_reason(AlreadyExists, "REQUEST_CONFLICT", {"field": "api_key"}):
        await mesh.accounts.CreateAccount(opening(api_key=request.api_key))
    again = pb.CreateApiKeyRequest(
        request_id=str(uuid.uuid4()), scopes=[pb.API_KEY_SCOPE_WORK], api_key=request.api_key
    )
    shared = pb.CreateSharedKeyRequest(request_id=str(uuid.uuid4()), key=request.api_key)
    for call, other, field in (
        (mesh.accounts.CreateApiKey, again, "api_key"),
        (mesh.accounts.CreateSharedKey, shared, "key"),
    ):
        with assert_raises_reason(AlreadyExists, "REQUEST_CONFLICT", {"field": field}):
            await call(other, metadata=bearer(request.api_key))


@pytest.mark.parametrize("key", ["a" * 22, "short", "x" * 23, "%" * 22])
async def test_a_key_that_is_visibly_not_random_is_refused(mesh: Bench, anna: Credentials, key: str) -> None:
    with assert_raises_reason(InvalidArgument, "INVALID_FIELD") as caught:
        await mesh.accounts.CreateAccount(opening(api_key=key))
    assert fields_of(caught.value) == ["api_key"]
    with assert_raises_reason(InvalidArgument, "INVALID_FIELD") as caught:
        await mesh.accounts.CreateApiKey(pb.CreateApiKeyRequest(api_key=key), metadata=anna)
    assert fields_of(caught.value) == ["request_id", "scopes", "api_key"]


async def test_a_lost_answer_loses_no_further_key(mesh: Bench, anna: Credentials) -> None:
    request = pb.CreateApiKeyRequest(
        request_id=str(uuid.uuid4()), label="rig", scopes=[pb.API_KEY_SCOPE_GENERATE], api_key=drawn()
    )
    first = await mesh.accounts.CreateApiKey(request, metadata=anna)
    assert await mesh.accounts.CreateApiKey(request, metadata=anna) == first
    await mesh.accounts.GetAccount(pb.GetAccountRequest(), metadata=bearer(request.api_key))
    request.api_key = drawn()
    with assert_raises_reason(AlreadyExists, "REQUEST_CONFLICT", {"field": "api_key"}):
        await mesh.accounts.CreateApiKey(request, metadata=anna)


async def test_an_account_changes_what_the_mask_names_and_nothing_else(mesh: Bench) -> None:
    request = opening()
    await mesh.accounts.CreateAccount(request)
    anna = bearer(request.api_key)
    changed = await update(mesh, anna, "display_name", "public", display_name="Änne", public=True, contact="left out")
    assert (changed.display_name, changed.public, changed.contact) == ("Änne", True, "")
    for _ in range(2):
        changed = await update(mesh, anna, "contact", display_name="left out", contact="anne@example.org")
    shown = (await mesh.accounts.GetAccount(pb.GetAccountRequest(), metadata=anna)).account
    assert shown == changed
    assert (shown.display_name, shown.public, shown.contact) == ("Änne", True, "anne@example.org")
    # Another name since makes the repeat of the opening no other request.
    assert (await mesh.accounts.CreateAccount(request)).account.account_id == shown.account_id
    request.display_name = "Änne"
    with assert_raises_reason(AlreadyExists, "REQUEST_CONFLICT", {"field": "display_name"}):
        await mesh.accounts.CreateAccount(request)


@pytest.mark.parametrize(
    ("paths", "fields", "wrong"),
    [
        ([], {}, ["update_mask"]),
        (["roles"], {}, ["update_mask"]),
        (["account.public", "public"], {}, ["update_mask"]),
        (["display_name"], {"display_name": " "}, ["account.display_name"]),
        (["display_name"], {"display_name": "x" * 65}, ["account.display_name"]),
        (
            ["contact", "display_name"],
            {"contact": "a\nb", "display_name": "x\ny"},
            ["account.display_name", "account.contact"],
        ),
        (["contact"], {"contact": "x" * 257}, ["account.contact"]),
    ],
)
async def test_a_bad_change_names_every_field_and_changes_nothing(
    mesh: Bench, anna: Credentials, paths: list[str], fields: dict[str, Any], wrong: list[str]
) -> None:
    before = (await mesh.accounts.GetAccount(pb.GetAccountRequest(), metadata=anna)).account
    with assert_raises_reason(InvalidArgument, "INVALID_FIELD") as caught:
        await update(mesh, anna, *paths, **fields)
    assert fields_of(caught.value) == wrong
    assert (await mesh.accounts.GetAccount(pb.GetAccountRequest(), metadata=anna)).account == before


async def test_an_export_brings_everything_of_the_caller_and_ends_with_its_digest(
    mesh: Bench, anna: Credentials, bert: Credentials, spec: Spec
) -> None:
    shared = pb.CreateSharedKeyRequest(request_id=str(uuid.uuid4()), key=drawn(), label="for Clara")
    await mesh.accounts.CreateSharedKey(shared, metadata=anna)
    for who in (anna, bearer(shared.key), bert):
        request = generation_service.CreateGenerationRequest(request_id=str(uuid.uuid4()), spec=spec())
        await mesh.generations.CreateGeneration(request, metadata=who)
    to = (await mesh.accounts.GetAccount(pb.GetAccountRequest(), metadata=bert)).account.account_id
    gift = pb.GiftKudosRequest(request_id=str(uuid.uuid4()), to_account_id=to, amount_mkudos=1)
    await mesh.accounts.GiftKudos(gift, metadata=anna)
    mine = (await mesh.accounts.GetAccount(pb.GetAccountRequest(), metadata=anna)).account.account_id
    for owner in (mine, to):
        name = str(uuid.uuid4())
        mesh.scheduler.workers[name] = worker_pb2.Worker(worker_id=name, owner_account_id=owner)
    heard = [each async for each in mesh.accounts.ExportAccount(pb.ExportAccountRequest(), metadata=anna)]
    kinds = [message.item.kind for message in heard[:-1]]
    assert kinds == [
        "horde.api.account.v1.Account",
        "horde.api.account.v1.ApiKey",
        "horde.api.account.v1.SharedKey",
        "horde.api.generation.v1.Generation",
        "horde.api.generation.v1.Generation",
        "horde.api.ledger.v1.Entry",
        "horde.api.worker.v1.Worker",
    ]
    text = "".join(message.item.json + "\n" for message in heard[:-1])
    assert heard[-1].end.sha256 == hashlib.sha256(text.encode()).digest()
    assert heard[-1].end.items == 7
    assert heard[-1].end.export_id
    assert Parse(heard[0].item.json, pb.Account()).display_name == "Anna"
    secrets_of = (shared.key, anna[0][1].removeprefix("Bearer "))
    assert not any(secret in text for secret in secrets_of)


async def test_an_input_is_deleted_by_who_put_it_unless_it_is_needed(
    mesh: Bench, anna: Credentials, bert: Credentials
) -> None:
    owner = (await mesh.accounts.GetAccount(pb.GetAccountRequest(), metadata=anna)).account.account_id
    name = str(uuid.uuid4())
    mesh.storage.put(owner, name, 64, 64)
    request = generation_service.DeleteInputRequest(input_id=name)
    await mesh.generations.DeleteInput(request, metadata=bert)
    assert (owner, name) in mesh.storage.inputs
    mesh.storage.in_use.add(name)
    with assert_raises_reason(FailedPrecondition, "INPUT_IN_USE", {"input_id": name}):
        await mesh.generations.DeleteInput(request, metadata=anna)
    mesh.storage.in_use.clear()
    for _ in range(2):
        await mesh.generations.DeleteInput(request, metadata=anna)
    assert not mesh.storage.inputs
    with assert_raises_reason(InvalidArgument, "INVALID_FIELD") as caught:
        await mesh.generations.DeleteInput(generation_service.DeleteInputRequest(input_id="x"), metadata=anna)
    assert fields_of(caught.value) == ["input_id"]
