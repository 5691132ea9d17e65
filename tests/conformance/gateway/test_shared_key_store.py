"""What every identity store must do with shared keys and their budgets: in memory, in SQLite, in PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from horde.gateway.core.allowance import MAX_REVOKED_SHARED_KEYS, MAX_SHARED_KEYS, Bounds, Reservation, SharedKey
from horde.gateway.core.errors import SharedKeyBound, SharedKeyBudgetSpent, TooManyApiKeys
from horde.gateway.core.identities import Account, ApiKey
from horde.gateway.core.requesters import Scope
from horde.gateway.store.memory import MemoryIdentityStore
from horde.gateway.store.port import IdentityStore
from horde.gateway.store.sql import sql_store

NOW = datetime(2026, 11, 22, 1, 2, 3, 456789, tzinfo=UTC)


@pytest_asyncio.fixture(params=["memory", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[IdentityStore]:
    if request.param == "memory":
        opened: IdentityStore = MemoryIdentityStore()
        await _accounts(opened)
        yield opened
        return
    url = f"sqlite:///{tmp_path / 'identity.sqlite'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_url")
    async with sql_store(url) as sql:
        await _accounts(sql)
        yield sql


async def _accounts(store: IdentityStore) -> None:
    for number in (1, 2):
        own = ApiKey(f"key{number}", f"account-{number}", "first", frozenset(Scope), b"\x01" * 32, "abcdef01", NOW)
        await store.create_account(Account(f"account-{number}", f"Number {number}", NOW, request_id=f"r{number}"), own)


def key(number: int, owner: str = "account-1", **fields: object) -> SharedKey:
    made = SharedKey(
        shared_key_id=f"shared{number}",
        account_id=owner,
        label=f"label {number}",
        digest=bytes([number]) * 32,
        pepper_id="abcdef01",
        created_at=NOW + timedelta(seconds=number),
        request_id=f"request {number}",
        asked=b"as asked",
    )
    return replace(made, **fields)  # type: ignore[arg-type]


def reservation(number: int, mkudos: int, stamp: str = "s", owner: str = "shared1") -> Reservation:
    return Reservation(f"generation-{number:02}", owner, mkudos, stamp, NOW + timedelta(seconds=number))


async def test_what_is_kept_is_what_is_read(store: IdentityStore) -> None:
    bounds = Bounds(512 * 512, 30, 4, 10**12, ("paintbox", "other model"), 7)
    kept = key(1, budget_mkudos=10**14, expires_at=NOW + timedelta(days=3000), bounds=bounds)
    assert await store.create_shared_key(kept) == (kept, True)
    await store.create_shared_key(key(2))
    assert await store.shared_key("shared1") == kept
    assert await store.shared_keys("account-1") == [key(2), kept]
    assert await store.shared_key("shared9") is None
    assert list(await store.shared_keys("account-2")) == []


async def test_the_same_request_makes_one_key_of_an_account(store: IdentityStore) -> None:
    await store.create_shared_key(key(1))
    assert await store.create_shared_key(key(2, request_id="request 1")) == (key(1), False)
    assert (await store.create_shared_key(key(3, "account-2", request_id="request 1")))[1]
    assert [shared_key.shared_key_id for shared_key in await store.shared_keys("account-1")] == ["shared1"]


async def test_keys_are_counted_also_when_they_come_at_once_and_revoked_ones_are_forgotten(
    store: IdentityStore,
) -> None:
    answers = await asyncio.gather(
        *(store.create_shared_key(key(n)) for n in range(1, MAX_SHARED_KEYS + 4)), return_exceptions=True
    )
    assert sum(isinstance(answer, TooManyApiKeys) for answer in answers) == 3
    for known in await store.shared_keys("account-1"):
        await store.change_shared_key("account-1", known.shared_key_id, {"revoked": True})
    for number in range(100, 103):
        await store.create_shared_key(key(number))
        await store.change_shared_key("account-1", f"shared{number}", {"revoked": True})
    assert len(await store.shared_keys("account-1")) <= MAX_REVOKED_SHARED_KEYS + 1


async def test_a_key_is_changed_by_its_owner_alone(store: IdentityStore) -> None:
    await store.create_shared_key(key(1, budget_mkudos=5))
    assert await store.change_shared_key("account-2", "shared1", {"label": "mine"}) is None
    assert await store.change_shared_key("account-1", "shared9", {"label": "mine"}) is None
    changes = {"label": "other", "budget_mkudos": None, "bounds": Bounds(max_steps=5), "revoked": True}
    changed = key(1, label="other", bounds=Bounds(max_steps=5), revoked=True)
    assert await store.change_shared_key("account-1", "shared1", changes) == changed
    assert await store.shared_key("shared1") == changed


async def test_the_last_use_never_moves_back(store: IdentityStore) -> None:
    await store.create_shared_key(key(1))
    later, earlier = NOW + timedelta(hours=1), NOW + timedelta(minutes=1)
    await store.touch_keys({"shared1": later})
    await store.touch_keys({"shared1": earlier})
    found = await store.shared_key("shared1")
    assert found is not None
    assert found.last_used_at == later


async def test_of_many_at_once_only_so_many_get_a_part_as_the_budget_has(store: IdentityStore) -> None:
    await store.create_shared_key(key(1, budget_mkudos=35))
    answers = await asyncio.gather(
        *(store.reserve(reservation(number, 10)) for number in range(8)), return_exceptions=True
    )
    assert answers.count(True) == 3
    refused = [answer for answer in answers if isinstance(answer, SharedKeyBudgetSpent)]
    assert [each.metadata for each in refused] == [{"left_mkudos": "5", "needed_mkudos": "10"}] * 5


async def test_what_is_open_is_held_and_what_has_ended_is_spent_once(store: IdentityStore) -> None:
    await store.create_shared_key(key(1, budget_mkudos=30, bounds=Bounds(max_open_generations=2)))
    assert await store.reserve(reservation(1, 10))
    assert await store.reserve(reservation(2, 10))
    with pytest.raises(SharedKeyBound) as caught:
        await store.reserve(reservation(3, 10))
    assert caught.value.metadata == {"bound": "max_open_generations", "limit": "2", "asked": "3"}
    for _ in range(2):
        await store.settle("generation-01", 4)
    found = await store.shared_key("shared1")
    assert found is not None
    assert (found.settled_mkudos, found.held_mkudos, found.open_generations, found.left_mkudos) == (4, 10, 1, 16)
    # The same generation again is no further one; what has ended stays as it is.
    assert not await store.reserve(reservation(1, 99, "t"))
    assert not await store.reserve(reservation(2, 12, "t"))
    assert not await store.reserve(reservation(2, 3, "u"))
    with pytest.raises(SharedKeyBudgetSpent):
        await store.reserve(reservation(2, 27, "v"))
    assert await store.reservation("generation-02") == reservation(2, 12, "u")
    await store.settle("generation-09", 5)


async def test_only_who_reserved_last_gives_back(store: IdentityStore) -> None:
    await store.create_shared_key(key(1, budget_mkudos=10))
    await store.reserve(reservation(1, 10, "a"))
    await store.reserve(reservation(1, 10, "b"))
    await store.release("generation-01", "a")
    assert await store.reservation("generation-01") is not None
    await store.release("generation-01", "b")
    assert await store.reservation("generation-01") is None
    await store.reserve(reservation(1, 10, "c"))
    await store.settle("generation-01", 10)
    await store.release("generation-01", "c")
    assert await store.reservation("generation-01") == replace(reservation(1, 10, "c"), ended=True)


async def test_all_that_is_open_is_come_by_and_a_keys_own_are_paged(store: IdentityStore) -> None:
    await store.create_shared_key(key(1))
    await store.create_shared_key(key(2, "account-2"))
    for number in range(5):
        await store.reserve(reservation(number, 1, owner="shared1" if number % 2 else "shared2"))
    await store.settle("generation-01", 1)
    found = await store.open_reservations("", 2)
    assert [generation.generation_id for generation in found] == ["generation-00", "generation-02"]
    found = await store.open_reservations("generation-02", 9)
    assert [generation.generation_id for generation in found] == ["generation-03", "generation-04"]
    assert [open_reservation.generation_id for open_reservation in await store.open_reservations("", 9, "shared1")] == [
        "generation-03"
    ]
    first = await store.reservations("shared2", 2)
    assert [generation.generation_id for generation in first] == ["generation-04", "generation-02"]
    rest = await store.reservations("shared2", 2, first[-1])
    assert [generation.generation_id for generation in rest] == ["generation-00"]
    await store.forget_reservations(NOW + timedelta(seconds=9))
    assert await store.reservation("generation-01") is None
    assert len(await store.open_reservations("", 9)) == 4


async def test_an_account_is_changed_field_by_field(store: IdentityStore) -> None:
    changed = await store.update_account("account-1", {"display_name": "Änne", "public": True})
    assert changed == Account("account-1", "Änne", NOW, request_id="r1", public=True)
    await store.update_account("account-1", {"contact": "anne@example.org", "asked_name": "Number 1"})
    found = await store.account("account-1")
    assert found == replace(changed, contact="anne@example.org", asked_name="Number 1")
    assert await store.update_account("account-9", {"public": True}) is None
    assert await store.account("account-2") == Account("account-2", "Number 2", NOW, request_id="r2")
