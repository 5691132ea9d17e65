"""What every identity store must do with accounts that were ended: in memory, in SQLite, in PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from tests.conformance.gateway.test_identity_store import NOW, account, key, store
from tests.conformance.gateway.test_shared_key_store import key as shared
from tests.conformance.gateway.test_shared_key_store import reservation

from horde.gateway.core.closing import Closing
from horde.gateway.store.port import IdentityStore

__all__ = ["store"]


def wish(number: int = 1) -> Closing:
    return Closing(
        account_id=f"account-{number}",
        api_key_id=f"key{number}",
        digest=bytes([number]) * 32,
        pepper_id="abcdef01",
        export_id="an export",
        withdraw_shared=True,
        asked_at=NOW + timedelta(hours=1),
        generations=3,
        images=2,
        images_withdrawn=1,
    )


async def test_an_account_ends_with_its_keys_and_leaves_the_wish(store: IdentityStore) -> None:
    await store.create_account(account(1), key(1))
    await store.create_account(account(2, "r"), key(2, "account-2"))
    await store.create_key(key(3))
    await store.create_shared_key(shared(1))
    await store.reserve(reservation(1, 5))
    assert await store.closing("account-1") is await store.closing_by_key("key1") is None
    closing, gone = await store.close_account(wish())
    assert closing == wish()
    assert sorted(gone) == sorted(["key1", "key3", shared(1).shared_key_id])
    assert await store.account("account-1") is None
    assert await store.key("key1") is None
    assert not await store.keys("account-1")
    assert not await store.shared_keys("account-1")
    assert await store.reservation(reservation(1, 5).generation_id) is None
    assert await store.key("key2") is not None
    assert await store.closing("account-1") == await store.closing_by_key("key1") == wish()
    assert await store.closing_by_key("key3") is None


async def test_the_first_wish_stands_and_only_its_progress_changes(store: IdentityStore) -> None:
    await store.create_account(account(1), key(1))
    await store.close_account(wish())
    other = replace(wish(), export_id="another", withdraw_shared=False)
    assert await store.close_account(other) == (wish(), [])
    await store.change_closing("account-1", {"burned_mkudos": 0})
    await store.change_closing("account-1", {"forgotten": True})
    await store.change_closing("account-2", {"forgotten": True})
    assert await store.closing("account-1") == replace(wish(), burned_mkudos=0, forgotten=True)


async def test_wishes_come_in_pages_until_they_are_forgotten(store: IdentityStore) -> None:
    for number in (1, 2, 3):
        await store.create_account(account(number, f"r{number}"), key(number, f"account-{number}"))
        await store.close_account(wish(number))
    assert await store.closings("", 2) == [wish(1), wish(2)]
    assert await store.closings("account-2", 2) == [wish(3)]
    for _ in range(2):
        await store.forget_closing("account-2")
    assert await store.closings("", 9) == [wish(1), wish(3)]
