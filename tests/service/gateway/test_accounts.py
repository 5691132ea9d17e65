"""Accounts, keys and kudos, over a real socket."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from horde.api.account.v1 import account_service_pb2 as pb
from horde.api.generation.v1 import generation_service_pb2 as generation_service
from horde.gateway.core.credentials import new_api_key, parse_api_key
from horde.gateway.store.memory import MemoryIdentityStore
from horde.services.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
)
from horde.testkit.gateway import Bench, bench
from horde.testkit.loopback import ManualClock, assert_raises_reason, fields_of
from horde.testkit.waiting import HANG_SECONDS

Credentials = list[tuple[str, str]]
GENERATE, WORK, MANAGE = pb.API_KEY_SCOPE_GENERATE, pb.API_KEY_SCOPE_WORK, pb.API_KEY_SCOPE_MANAGE


async def account_id(mesh: Bench, who: Credentials) -> str:
    answer: pb.GetAccountResponse = await mesh.accounts.GetAccount(pb.GetAccountRequest(), metadata=who)
    return answer.account.account_id


async def new_key(mesh: Bench, who: Credentials, *scopes: Any, label: str = "") -> Credentials:
    key = new_api_key().text()
    request = pb.CreateApiKeyRequest(request_id=str(uuid.uuid4()), scopes=scopes, label=label, api_key=key)
    await mesh.accounts.CreateApiKey(request, metadata=who)
    return [("authorization", f"Bearer {key}")]


async def test_an_account_whose_answer_was_lost_is_opened_again_by_the_same_words(mesh: Bench) -> None:
    key = new_api_key()
    request = pb.CreateAccountRequest(request_id=str(uuid.uuid4()), display_name="Anna", api_key=key.text())
    first = await mesh.accounts.CreateAccount(request)
    # The answer does not arrive; the client has the key all the same.
    again = await mesh.accounts.CreateAccount(request)
    assert again == first
    assert first.key.api_key_id == key.api_key_id
    assert key.text() not in str(first)
    assert await account_id(mesh, [("authorization", f"Bearer {key.text()}")]) == first.account.account_id
    for field, other in (("display_name", "Berta"), ("api_key", new_api_key().text())):
        changed = pb.CreateAccountRequest.FromString(request.SerializeToString())
        setattr(changed, field, other)
        with assert_raises_reason(AlreadyExists, "REQUEST_CONFLICT", {"field": field}):
            await mesh.accounts.CreateAccount(changed)
    request.request_id = str(uuid.uuid4())
    with assert_raises_reason(AlreadyExists, "REQUEST_CONFLICT", {"field": "api_key"}):
        await mesh.accounts.CreateAccount(request)


async def test_a_key_is_good_for_one_account_alone(mesh: Bench, anna: Credentials, bert: Credentials) -> None:
    key = new_api_key().text()
    request = pb.CreateApiKeyRequest(request_id=str(uuid.uuid4()), scopes=[WORK], api_key=key)
    await mesh.accounts.CreateApiKey(request, metadata=anna)
    for who, request_id in ((bert, request.request_id), (anna, str(uuid.uuid4()))):
        request.request_id = request_id
        with assert_raises_reason(AlreadyExists, "REQUEST_CONFLICT", {"field": "api_key"}):
            await mesh.accounts.CreateApiKey(request, metadata=who)


@pytest.mark.parametrize("key", ["", "a" * 22, "password", "0123456" * 3 + "0", "x" * 23, "ä" * 22])
async def test_a_key_that_was_not_drawn_is_refused(mesh: Bench, key: str) -> None:
    request = pb.CreateAccountRequest(request_id=str(uuid.uuid4()), display_name="Anna", api_key=key)
    with assert_raises_reason(InvalidArgument, "INVALID_FIELD") as caught:
        await mesh.accounts.CreateAccount(request)
    assert fields_of(caught.value) == ["api_key"]


async def test_the_ledger_hears_of_every_account_also_when_it_was_away(
    mesh: Bench, register: Callable[[str], Awaitable[Credentials]]
) -> None:
    mesh.ledger.away = True
    anna = await register("Anna")
    mesh.ledger.away = False
    opened = await account_id(mesh, anna)
    async with asyncio.timeout(HANG_SECONDS):
        while opened not in mesh.ledger.opened():
            await asyncio.sleep(0.01)


async def test_an_account_shows_what_it_holds(mesh: Bench, anna: Credentials) -> None:
    answer = await mesh.accounts.GetAccount(pb.GetAccountRequest(), metadata=anna)
    assert answer.account.display_name == "Anna"
    assert answer.spend.posted_mkudos == 50_000
    assert not answer.account.roles


async def test_an_account_is_as_trusted_as_the_ledger_says(mesh: Bench, anna: Credentials) -> None:
    assert not (await mesh.accounts.GetAccount(pb.GetAccountRequest(), metadata=anna)).account.trusted
    mesh.ledger.trusted.add(await account_id(mesh, anna))
    assert (await mesh.accounts.GetAccount(pb.GetAccountRequest(), metadata=anna)).account.trusted


async def test_a_key_can_do_no_more_than_the_one_that_made_it(mesh: Bench, anna: Credentials) -> None:
    small = await new_key(mesh, anna, MANAGE)
    for scope in (GENERATE, WORK):
        with assert_raises_reason(PermissionDenied, "SCOPE_MISSING"):
            await new_key(mesh, small, scope, MANAGE)
    generate = await new_key(mesh, anna, GENERATE)
    with assert_raises_reason(PermissionDenied, "SCOPE_MISSING", {"scope": "MANAGE"}):
        await mesh.accounts.ListApiKeys(pb.ListApiKeysRequest(), metadata=generate)
    with assert_raises_reason(PermissionDenied, "SCOPE_MISSING", {"scope": "GENERATE"}):
        await mesh.generations.ListGenerations(generation_service.ListGenerationsRequest(), metadata=small)


async def test_a_repeated_key_request_answers_the_same(mesh: Bench, anna: Credentials) -> None:
    shown = new_api_key().text()
    request = pb.CreateApiKeyRequest(request_id=str(uuid.uuid4()), scopes=[WORK], label="rig", api_key=shown)
    first = await mesh.accounts.CreateApiKey(request, metadata=anna)
    again = await mesh.accounts.CreateApiKey(request, metadata=anna)
    assert again == first
    assert shown not in str(first)
    listed = await mesh.accounts.ListApiKeys(pb.ListApiKeysRequest(), metadata=anna)
    assert shown not in str(listed)
    request.label = "other"
    with assert_raises_reason(AlreadyExists, "REQUEST_CONFLICT", {"field": "label"}):
        await mesh.accounts.CreateApiKey(request, metadata=anna)


async def test_an_account_has_at_most_32_keys(mesh: Bench, anna: Credentials) -> None:
    for _ in range(31):
        await new_key(mesh, anna, WORK)
    with assert_raises_reason(ResourceExhausted, "TOO_MANY_API_KEYS", {"limit": "32"}):
        await new_key(mesh, anna, WORK)
    assert len((await mesh.accounts.ListApiKeys(pb.ListApiKeysRequest(), metadata=anna)).keys) == 32


async def test_a_revoked_key_is_useless_at_once(mesh: Bench, anna: Credentials, bert: Credentials) -> None:
    spare = await new_key(mesh, anna, GENERATE, label="spare")
    await account_id(mesh, spare)
    keys = (await mesh.accounts.ListApiKeys(pb.ListApiKeysRequest(), metadata=anna)).keys
    (spare_id,) = (key.api_key_id for key in keys if key.label == "spare")
    request = pb.RevokeApiKeyRequest(api_key_id=spare_id)
    with assert_raises_reason(NotFound, "API_KEY_NOT_FOUND", {"api_key_id": spare_id}):
        await mesh.accounts.RevokeApiKey(request, metadata=bert)
    await account_id(mesh, spare)
    for _ in range(2):
        assert (await mesh.accounts.RevokeApiKey(request, metadata=anna)).key.revoked
    with assert_raises_reason(Unauthenticated, "API_KEY_UNKNOWN"):
        await account_id(mesh, spare)


async def test_a_key_revoked_elsewhere_is_useless_within_five_seconds(tmp_path: Path) -> None:
    store, clock = MemoryIdentityStore(), ManualClock()
    async with bench(tmp_path, store=store, clock=clock) as mesh:
        owner = await account_id(mesh, mesh.operator)
        key_id = parse_api_key(mesh.operator[0][1].removeprefix("Bearer ")).api_key_id
        await store.revoke_key(owner, key_id)
        await account_id(mesh, mesh.operator)
        clock.jump(5.01)
        with assert_raises_reason(Unauthenticated, "API_KEY_UNKNOWN"):
            await account_id(mesh, mesh.operator)


async def test_the_operator_key_works_after_a_restart(tmp_path: Path) -> None:
    store = MemoryIdentityStore()
    async with bench(tmp_path, store=store) as mesh:
        first = await account_id(mesh, mesh.operator)
        assert (mesh.settings.state_dir / "operator.key").stat().st_mode & 0o777 == 0o600
    async with bench(tmp_path, store=store) as mesh:
        assert await account_id(mesh, mesh.operator) == first
        (await mesh.accounts.AuditLedger(pb.AuditLedgerRequest(), metadata=mesh.operator))


async def test_gifts_reach_the_ledger_under_an_id_of_their_own(
    mesh: Bench, anna: Credentials, bert: Credentials
) -> None:
    sender, receiver = await account_id(mesh, anna), await account_id(mesh, bert)
    request = pb.GiftKudosRequest(
        request_id=str(uuid.uuid4()), to_account_id=receiver, amount_mkudos=5, message="thanks"
    )
    entry = (await mesh.accounts.GiftKudos(request, metadata=anna)).entry
    assert entry.event_id == str(uuid.uuid5(uuid.UUID(sender), request.request_id))
    gift = mesh.ledger.events[-1].gift
    assert (gift.from_account_id, gift.to_account_id, gift.amount_mkudos) == (sender, receiver, 5)
    statement = await mesh.accounts.ListStatementEntries(pb.ListStatementEntriesRequest(), metadata=anna)
    assert [entry.event_id for entry in statement.entries] == [entry.event_id]
    request.to_account_id = str(uuid.uuid4())
    with assert_raises_reason(NotFound, "ACCOUNT_NOT_FOUND", {"account_id": request.to_account_id}):
        await mesh.accounts.GiftKudos(request, metadata=anna)


class Broke(FailedPrecondition):
    """No kudos."""

    domain = "horde.api.ledger.v1"
    reason = "INSUFFICIENT_KUDOS"


async def test_the_ledgers_refusal_is_told(mesh: Bench, anna: Credentials, bert: Credentials) -> None:
    mesh.ledger.refusal = Broke(metadata={"available_mkudos": "1", "needed_mkudos": "2"})
    request = pb.GiftKudosRequest(
        request_id=str(uuid.uuid4()), to_account_id=await account_id(mesh, bert), amount_mkudos=5
    )
    with assert_raises_reason(FailedPrecondition, "INSUFFICIENT_KUDOS", {"available_mkudos": "1"}):
        await mesh.accounts.GiftKudos(request, metadata=anna)


async def test_only_operators_award_and_audit(mesh: Bench, anna: Credentials, nobody: Credentials) -> None:
    award = pb.AwardKudosRequest(
        request_id=str(uuid.uuid4()), account_id=await account_id(mesh, anna), amount_mkudos=5, reason="why not"
    )
    for call, request in ((mesh.accounts.AwardKudos, award), (mesh.accounts.AuditLedger, pb.AuditLedgerRequest())):
        with assert_raises_reason(PermissionDenied, "ROLE_MISSING", {"role": "OPERATOR"}):
            await call(request, metadata=anna)
        with assert_raises_reason(PermissionDenied, "ACCOUNT_REQUIRED"):
            await call(request, metadata=nobody)
    await mesh.accounts.AwardKudos(award, metadata=mesh.operator)
    assert mesh.ledger.events[-1].award.awarded_by == await account_id(mesh, mesh.operator)
    assert (await mesh.accounts.AuditLedger(pb.AuditLedgerRequest(), metadata=mesh.operator)).blocks == 3


@pytest.mark.parametrize(
    ("authorization", "reason"),
    [
        (None, "CREDENTIALS_MISSING"),
        ("", "CREDENTIALS_MALFORMED"),
        ("Bearer", "CREDENTIALS_MALFORMED"),
        ("Bearer secret", "CREDENTIALS_MALFORMED"),
        ("Bearer horde_abc_def", "CREDENTIALS_MALFORMED"),
        ("Bearer 0123456789abcdefABCDEF", "API_KEY_UNKNOWN"),
        ("Bearer 0123456789abcdefABCDE", "CREDENTIALS_MALFORMED"),
        ("Basic YTpi", "CREDENTIALS_MALFORMED"),
        ("Anonymous", "CREDENTIALS_MALFORMED"),
        ("Anonymous 1234", "CREDENTIALS_MALFORMED"),
        ("Anonymous " + "g" * 32, "CREDENTIALS_MALFORMED"),
        ("Anonymous " + "0" * 33, "CREDENTIALS_MALFORMED"),
        ("Bearer " + "a" * 300, "CREDENTIALS_MALFORMED"),
    ],
)
async def test_bad_credentials_are_told_apart(mesh: Bench, authorization: str | None, reason: str) -> None:
    metadata = [] if authorization is None else [("authorization", authorization)]
    with assert_raises_reason(Unauthenticated, reason) as caught:
        await mesh.generations.ListGenerations(generation_service.ListGenerationsRequest(), metadata=metadata)
    assert caught.value.domain == "horde.api.account.v1"


async def test_a_key_that_differs_by_one_digit_is_unknown(mesh: Bench, anna: Credentials) -> None:
    text = anna[0][1]
    forged = text[:-1] + ("1" if text[-1] != "1" else "2")
    with assert_raises_reason(Unauthenticated, "API_KEY_UNKNOWN"):
        await account_id(mesh, [("authorization", forged)])


async def test_guessing_keys_is_limited_before_they_are_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, clock = MemoryIdentityStore(), ManualClock()
    asked: list[str] = []
    look_up = store.key

    async def key(api_key_id: str) -> Any:
        asked.append(api_key_id)
        return await look_up(api_key_id)

    monkeypatch.setattr(store, "key", key)
    async with bench(tmp_path, store=store, clock=clock, limit_address_failures="3/60s") as mesh:
        fresh = await new_key(mesh, mesh.operator, WORK)
        secret = fresh[0][1].removeprefix("Bearer ")
        wrong = [[("authorization", f"Bearer {each}{secret[1:]}")] for each in "123456" if each != secret[0]]
        asked.clear()
        for each in wrong[:3]:
            with assert_raises_reason(Unauthenticated, "API_KEY_UNKNOWN"):
                await account_id(mesh, each)
        assert len(asked) == 3
        for each in (wrong[3], wrong[4], fresh):
            with assert_raises_reason(ResourceExhausted, "RATE_LIMITED", {"limit": "3/60s"}):
                await account_id(mesh, each)
        assert len(asked) == 3
        # Who was let in before is let in, also when the look has to be taken again.
        clock.jump(5.01)
        await account_id(mesh, mesh.operator)
        clock.jump(60)
        await account_id(mesh, fresh)


async def test_where_registration_is_closed_nobody_registers(tmp_path: Path) -> None:
    async with bench(tmp_path, registration_open=False) as mesh:
        key = new_api_key().text()
        request = pb.CreateAccountRequest(request_id=str(uuid.uuid4()), display_name="Anna", api_key=key)
        with assert_raises_reason(PermissionDenied, "REGISTRATION_CLOSED"):
            await mesh.accounts.CreateAccount(request)


async def test_a_gift_may_name_an_account_by_its_number(mesh: Bench, anna: Credentials, bert: Credentials) -> None:
    to = (await mesh.accounts.GetAccount(pb.GetAccountRequest(), metadata=bert)).account
    assert to.number == int(to.account_id.replace("-", "")[:12], 16)
    gift = pb.GiftKudosRequest(request_id=str(uuid.uuid4()), to_account_id=str(to.number), amount_mkudos=7)
    await mesh.accounts.GiftKudos(gift, metadata=anna)
    assert mesh.ledger.events[-1].gift.to_account_id == to.account_id
    gift.to_account_id = "1"
    with assert_raises_reason(NotFound, "ACCOUNT_NOT_FOUND", {"account_id": "1"}):
        await mesh.accounts.GiftKudos(gift, metadata=anna)
