"""Who moderates and who operates: given and taken by operators, recorded, and soon true everywhere."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from horde.api.account.v1 import account_service_pb2 as pb
from horde.api.standing.v1 import standing_service_pb2 as standing_pb2
from horde.gateway.core.credentials import new_api_key
from horde.gateway.doors import account_operating
from horde.gateway.doors.accounts import OPERATOR_ACCOUNT_ID
from horde.gateway.doors.authentication import CACHE_SECONDS
from horde.gateway.store.memory import MemoryIdentityStore
from horde.services.errors import InvalidArgument, NotFound, PermissionDenied
from horde.testkit.gateway import Bench, bench
from horde.testkit.loopback import ManualClock, assert_raises_reason, fields_of

Credentials = list[tuple[str, str]]
MODERATOR, OPERATOR = pb.ACCOUNT_ROLE_MODERATOR, pb.ACCOUNT_ROLE_OPERATOR


@pytest.fixture
def store() -> MemoryIdentityStore:
    return MemoryIdentityStore()


@pytest_asyncio.fixture
async def mesh(tmp_path: Path, store: MemoryIdentityStore) -> AsyncIterator[Bench]:
    async with bench(tmp_path, store=store) as ready:
        yield ready


async def account_of(mesh: Bench, who: Credentials) -> pb.Account:
    account: pb.Account = (await mesh.accounts.GetAccount(pb.GetAccountRequest(), metadata=who)).account
    return account


async def set_roles(mesh: Bench, account_id: str, *roles: pb.AccountRole.ValueType, by: Credentials = ()) -> pb.Account:  # type: ignore[assignment]
    request = pb.SetRolesRequest(account_id=account_id, roles=roles, reason="She was elected.")
    account: pb.Account = (await mesh.accounts.SetRoles(request, metadata=by or mesh.operator)).account
    return account


async def moderates(mesh: Bench, who: Credentials) -> bool:
    try:
        await mesh.standings.ListRestrictions(standing_pb2.ListRestrictionsRequest(), metadata=who)
    except PermissionDenied:
        return False
    return True


async def test_a_moderator_is_made_and_unmade_at_once_and_it_is_recorded(
    mesh: Bench, store: MemoryIdentityStore, anna: Credentials, bert: Credentials
) -> None:
    account_id = (await account_of(mesh, anna)).account_id
    assert not await moderates(mesh, anna)
    with assert_raises_reason(PermissionDenied, "ROLE_MISSING", {"role": "OPERATOR"}):
        await set_roles(mesh, account_id, MODERATOR, by=anna)
    for _ in range(2):
        assert list((await set_roles(mesh, account_id, MODERATOR)).roles) == [MODERATOR]
        assert await moderates(mesh, anna)
    assert list((await account_of(mesh, anna)).roles) == [MODERATOR]
    assert not await moderates(mesh, bert)
    assert not (await set_roles(mesh, account_id)).roles
    assert not await moderates(mesh, anna)
    recorded = [(kept.by_account_id, kept.action, kept.subject, kept.reason, kept.detail) for kept in store.decisions]
    start = (OPERATOR_ACCOUNT_ID, "set roles", account_id, "She was elected.")
    assert recorded == [(*start, "MODERATOR"), (*start, "none")]


async def test_somebody_always_operates(mesh: Bench, store: MemoryIdentityStore, anna: Credentials) -> None:
    with assert_raises_reason(InvalidArgument, "INVALID_FIELD") as caught:
        await set_roles(mesh, OPERATOR_ACCOUNT_ID, MODERATOR)
    assert fields_of(caught.value) == ["roles"]
    assert list((await set_roles(mesh, OPERATOR_ACCOUNT_ID, OPERATOR)).roles) == [OPERATOR]
    account_id = (await account_of(mesh, anna)).account_id
    await set_roles(mesh, account_id, OPERATOR, MODERATOR)
    await set_roles(mesh, OPERATOR_ACCOUNT_ID, by=anna)
    with assert_raises_reason(PermissionDenied, "ROLE_MISSING", {"role": "OPERATOR"}):
        await set_roles(mesh, account_id)
    with assert_raises_reason(NotFound, "ACCOUNT_NOT_FOUND"):
        await set_roles(mesh, str(uuid.uuid4()), MODERATOR, by=anna)


async def test_roles_hold_at_other_gateways_within_five_seconds(tmp_path: Path, store: MemoryIdentityStore) -> None:
    clock, pepper = ManualClock(), tmp_path / "pepper"
    folders = tmp_path / "one", tmp_path / "two"
    for folder in folders:
        folder.mkdir()
    async with (
        bench(folders[0], store=store, pepper_file=pepper) as one,
        bench(folders[1], store=store, pepper_file=pepper, clock=clock) as two,
    ):
        secret = new_api_key().text()
        request = pb.CreateAccountRequest(request_id=str(uuid.uuid4()), display_name="Anna", api_key=secret)
        account = (await one.accounts.CreateAccount(request)).account
        anna = [("authorization", f"Bearer {secret}")]
        for roles in ([MODERATOR], []):
            before = await moderates(two, anna)
            await set_roles(one, account.account_id, *roles)
            assert await moderates(two, anna) is before
            await clock.advance(CACHE_SECONDS)
            assert await moderates(two, anna) is bool(roles)


async def test_operators_list_accounts_by_page_name_and_role(
    mesh: Bench, monkeypatch: pytest.MonkeyPatch, anna: Credentials
) -> None:
    # So few that a name is looked for in several calls.
    monkeypatch.setattr(account_operating, "MAX_SCANNED", 2)
    ids = {}
    for name in ("Zoë One", "Berta", "ZOË two", "Carl", "Dora"):
        made = pb.CreateAccountRequest(request_id=str(uuid.uuid4()), display_name=name, api_key=new_api_key().text())
        ids[name] = (await mesh.accounts.CreateAccount(made)).account.account_id
    mesh.ledger.trusted.add(ids["Carl"])
    await set_roles(mesh, ids["Dora"], MODERATOR)

    async def listed(**fields: object) -> list[pb.Account]:
        request, found = pb.ListAccountsRequest(**fields), []  # type: ignore[arg-type]
        while True:
            page = await mesh.accounts.ListAccounts(request, metadata=mesh.operator)
            assert len(page.accounts) <= (request.page_size or 50)
            found += page.accounts
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    for size in (0, 1, 3, 7):
        names = [account.display_name for account in await listed(page_size=size)]
        assert names == ["Dora", "Carl", "ZOË two", "Berta", "Zoë One", "Anna", "operator"]
    for size in (0, 1):
        assert [found.display_name for found in await listed(name_contains="zoË", page_size=size)] == [
            "ZOË two",
            "Zoë One",
        ]
    assert {found.display_name for found in await listed(role=MODERATOR)} == {"Dora", "operator"}
    assert [found.display_name for found in await listed(role=OPERATOR)] == ["operator"]
    assert [found.trusted for found in await listed(account_id=ids["Carl"])] == [True]
    assert not await listed(account_id=ids["Carl"], role=MODERATOR)
    assert not await listed(account_id=str(uuid.uuid4()))
    with assert_raises_reason(PermissionDenied, "ROLE_MISSING", {"role": "OPERATOR"}):
        await mesh.accounts.ListAccounts(pb.ListAccountsRequest(), metadata=anna)
