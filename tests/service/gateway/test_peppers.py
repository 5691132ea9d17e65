"""A gateway does not start beside accounts that were made with another pepper: every key would be unknown."""

from __future__ import annotations

from pathlib import Path

import pytest

from horde.gateway.store.memory import MemoryIdentityStore
from horde.services.lifecycle import CannotStart
from horde.testkit.gateway import bench


async def test_another_pepper_beside_accounts_stops_the_start_and_one_more_does_not(tmp_path: Path) -> None:
    store, pepper = MemoryIdentityStore(), tmp_path / "pepper"
    async with bench(tmp_path, store=store):
        old = pepper.read_text()
    pepper.unlink()
    with pytest.raises(CannotStart, match=r"is not the pepper.*HORDE_GATEWAY_PEPPER_FILE.*empty database"):
        async with bench(tmp_path, store=store):
            pass
    # Nothing was made beside the accounts, and with the old pepper behind the new one it starts.
    with pepper.open("a") as file:
        file.write(old)
    async with bench(tmp_path, store=store) as mesh:
        assert len(await mesh.gateway._store.accounts(10)) == 1
