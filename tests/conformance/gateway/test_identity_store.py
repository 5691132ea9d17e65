"""What every identity store must do: in memory, in SQLite, in PostgreSQL. None is ever skipped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from horde.gateway.core.decisions import Decision
from horde.gateway.core.errors import RoleMissing, TooManyApiKeys
from horde.gateway.core.identities import MAX_API_KEYS, MAX_REVOKED_KEYS, Account, ApiKey, number_of
from horde.gateway.core.requesters import Role, Scope
from horde.gateway.store.memory import MemoryIdentityStore
from horde.gateway.store.port import IdentityStore
from horde.gateway.store.sql import sql_store
from horde.services.sql import open_database

NOW = datetime(2026, 11, 22, 1, 2, 3, 456789, tzinfo=UTC)


@pytest_asyncio.fixture(params=["memory", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[IdentityStore]:
    if request.param == "memory":
        yield MemoryIdentityStore()
        return
    url = f"sqlite:///{tmp_path / 'identity.sqlite'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_url")
    async with sql_store(url) as opened:
        yield opened


def account(number: int, request_id: str = "") -> Account:
    return Account(f"account-{number}", f"Number {number}", NOW + timedelta(seconds=number), frozenset(), request_id)


def key(number: int, owner: str = "account-1", request_id: str = "") -> ApiKey:
    return ApiKey(
        api_key_id=f"key{number}",
        account_id=owner,
        label=f"label {number}",
        scopes=frozenset({Scope.WORK, Scope.GENERATE}),
        digest=bytes([number]) * 32,
        pepper_id="abcdef01",
        created_at=NOW + timedelta(seconds=number),
        request_id=request_id,
    )


def decision(by: str, number: int = 1) -> Decision:
    return Decision(f"decision-{number}", NOW, by, "set roles", "somebody", "Because.")


async def test_roles_are_given_by_operators_alone(store: IdentityStore) -> None:
    operator, moderator = frozenset({Role.OPERATOR}), frozenset({Role.MODERATOR})
    for number in (1, 2, 3):
        await store.create_account(replace(account(number), roles=operator if number < 3 else frozenset()), key(number))
    assert await store.set_roles("account-3", moderator, decision("account-1")) == replace(account(3), roles=moderator)
    assert await store.account("account-3") == replace(account(3), roles=moderator)
    assert await store.set_roles("account-9", moderator, decision("account-1", 2)) is None
    for who in ("account-3", "account-9"):
        with pytest.raises(RoleMissing):
            await store.set_roles("account-1", frozenset(), decision(who, 3))
    # Two who depose each other at once: one of them stays.
    results = await asyncio.gather(
        store.set_roles("account-2", frozenset(), decision("account-1", 4)),
        store.set_roles("account-1", frozenset(), decision("account-2", 5)),
        return_exceptions=True,
    )
    assert [type(result) for result in results].count(RoleMissing) == 1
    assert len(await store.accounts(10, role=Role.OPERATOR)) == 1


async def test_accounts_are_listed_newest_first(store: IdentityStore) -> None:
    made = [replace(account(number), created_at=NOW + timedelta(seconds=number // 2)) for number in range(5)]
    made[3] = replace(made[3], roles=frozenset(Role))
    for number, one in enumerate(made):
        await store.create_account(one, key(number, one.account_id))
    assert await store.accounts(2) == [made[4], made[3]]
    assert await store.accounts(9, (made[3].created_at, made[3].account_id)) == [made[2], made[1], made[0]]
    assert await store.accounts(9, role=Role.MODERATOR) == [made[3]]


async def test_what_is_kept_is_what_is_read(store: IdentityStore) -> None:
    kept = replace(account(1), roles=frozenset(Role))
    assert await store.create_account(kept, key(1)) == (kept, True)
    assert await store.account("account-1") == kept
    assert await store.key("key1") == (key(1), kept)
    assert await store.keys("account-1") == [key(1)]
    assert await store.account("account-2") is None
    assert await store.key("key2") is None
    assert list(await store.keys("account-2")) == []


async def test_an_account_is_found_by_its_number_unless_two_have_it(store: IdentityStore) -> None:
    first, second = "11111111-2222-4333-8444-555555555555", "11111111-2222-4333-8444-666666666666"
    other = "00000000-0001-4333-8444-555555555555"
    for index, name in enumerate((first, other)):
        await store.create_account(replace(account(index), account_id=name), key(index, owner=name))
    found = await store.account_numbered(number_of(first))
    assert found is not None
    assert found.account_id == first
    assert await store.account_numbered(1) is not None
    for nobody in (0, 2, 2**48, 2**63):
        assert await store.account_numbered(nobody) is None
    await store.create_account(replace(account(9), account_id=second), key(9, owner=second))
    assert number_of(second) == number_of(first)
    assert await store.account_numbered(number_of(first)) is None


async def test_the_same_request_opens_one_account(store: IdentityStore) -> None:
    await store.create_account(account(1, "r1"), key(1))
    assert await store.create_account(account(2, "r1"), key(2, "account-2")) == (account(1, "r1"), False)
    assert await store.account("account-2") is None
    assert await store.key("key2") is None
    assert (await store.create_account(account(3, "r3"), key(3, "account-3")))[1]


async def test_the_same_request_at_once_opens_one_account(store: IdentityStore) -> None:
    answers = await asyncio.gather(
        *(store.create_account(account(n, "r1"), key(n, f"account-{n}")) for n in range(1, 6))
    )
    assert sum(created for _, created in answers) == 1
    assert len({kept.account_id for kept, _ in answers}) == 1


async def test_what_is_ensured_is_there_and_what_was_there_stays(store: IdentityStore) -> None:
    for _ in range(2):
        await store.ensure_account(account(1), key(1))
    await store.ensure_account(replace(account(1), display_name="other"), key(2))
    assert await store.account("account-1") == account(1)
    assert await store.keys("account-1") == [key(1), key(2)]


async def test_the_same_request_makes_one_key_of_an_account(store: IdentityStore) -> None:
    await store.create_account(account(1), key(1))
    await store.create_account(account(2), key(2, "account-2"))
    assert await store.create_key(key(3, request_id="r")) == (key(3, request_id="r"), True)
    assert await store.create_key(key(4, request_id="r")) == (key(3, request_id="r"), False)
    assert (await store.create_key(key(5, "account-2", request_id="r")))[1]
    assert [each.api_key_id for each in await store.keys("account-1")] == ["key1", "key3"]


async def test_keys_are_counted_also_when_they_come_at_once(store: IdentityStore) -> None:
    await store.create_account(account(1), key(1))
    answers = await asyncio.gather(
        *(store.create_key(key(n)) for n in range(2, MAX_API_KEYS + 10)), return_exceptions=True
    )
    assert sum(isinstance(answer, TooManyApiKeys) for answer in answers) == 9
    assert len(await store.keys("account-1")) == MAX_API_KEYS


async def test_keys_may_be_changed_for_ever_and_the_last_ones_are_remembered(store: IdentityStore) -> None:
    await store.create_account(account(1), key(1))
    await store.ensure_account(account(1), key(0))
    await store.revoke_key("account-1", "key0")
    last = MAX_API_KEYS + MAX_REVOKED_KEYS + 8
    for number in range(2, last + 1):
        assert (await store.create_key(key(number, request_id=f"r{number}")))[1]
        await store.revoke_key("account-1", f"key{number}")
    kept = await store.keys("account-1")
    assert [each.api_key_id for each in kept if not each.revoked] == ["key1"]
    assert len(kept) == 2 + MAX_REVOKED_KEYS + 1
    # What a file says again at every start stays revoked.
    await store.ensure_account(account(1), key(0))
    assert (await store.keys("account-1"))[0] == replace(key(0), revoked=True)
    assert kept[-1].api_key_id == f"key{last}"
    assert await store.key("key2") is None


async def test_a_key_is_revoked_by_its_owner_alone_and_for_good(store: IdentityStore) -> None:
    await store.create_account(account(1), key(1))
    assert await store.revoke_key("account-2", "key1") is None
    assert await store.revoke_key("account-1", "key9") is None
    for _ in range(2):
        assert await store.revoke_key("account-1", "key1") == replace(key(1), revoked=True)
    found = await store.key("key1")
    assert found is not None
    assert found[0].revoked


async def test_the_last_use_never_moves_back(store: IdentityStore) -> None:
    await store.create_account(account(1), key(1))
    later, earlier = NOW + timedelta(hours=1), NOW + timedelta(minutes=1)
    await store.touch_keys({"key1": later, "unknown": later})
    await store.touch_keys({"key1": earlier})
    assert [each.last_used_at for each in await store.keys("account-1")] == [later]


async def test_accounts_are_unopened_until_they_are_marked(store: IdentityStore) -> None:
    for number in (2, 1, 3):
        await store.create_account(account(number), key(number, f"account-{number}"))
    assert [each.account_id for each in await store.unopened(2)] == ["account-1", "account-2"]
    await store.mark_opened(["account-1", "account-3", "account-9"])
    assert [each.account_id for each in await store.unopened(5)] == ["account-2"]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_the_migrations_make_the_schema_that_the_code_uses(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from horde.gateway.store.tables import metadata

    url = f"sqlite:///{tmp_path / 'x.sqlite'}" if kind == "sqlite" else request.getfixturevalue("postgresql_url")
    for _ in range(2):
        async with sql_store(url):
            pass
    engine = open_database(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": "gateway_schema"})
        differences = [each for each in compare_metadata(context, metadata) if each[0] != "remove_index"]
    engine.dispose()
    assert [difference for difference in differences if "constraint" not in str(difference[0])] == []


async def test_keys_that_only_unknown_peppers_made_are_noticed(store: IdentityStore) -> None:
    assert not await store.only_strange_peppers({"00000000"})
    await store.create_account(account(1), key(1))
    await store.create_key(replace(key(2), pepper_id="abcdef02"))
    assert not await store.only_strange_peppers({"abcdef02", "abcdef03"})
    assert await store.only_strange_peppers({"abcdef03"})
