"""What every curation store must do: in SQLite, in PostgreSQL. None is ever skipped."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from horde.curation.core.images import SharedImage, Verdict
from horde.curation.store.port import CurationStore
from horde.curation.store.sql import sql_store

NOW = datetime(2026, 11, 26, 10, 2, 3, 456789, tzinfo=UTC)


@pytest_asyncio.fixture(params=["sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[CurationStore]:
    url = f"sqlite:///{tmp_path / 'curation.sqlite'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_url")
    async with sql_store(url) as opened:
        yield opened


def image(number: int) -> SharedImage:
    return SharedImage(
        image_id=f"image-{number}",
        requester=f"{number % 3:064x}",
        prompt=f"a red door, number {number} — ☃",
        negative_prompt="blurry",
        model="paintbox",
        width=512,
        height=768,
        format="WEBP",
        sha256=f"{number:064x}",
        size_bytes=5_000_000_000,
        shared_at=NOW + timedelta(seconds=number),
    )


async def test_what_is_kept_is_what_is_read(store: CurationStore) -> None:
    unsure = replace(image(2), worker_verdict=Verdict.UNSURE, verdict=Verdict.UNSURE)
    await store.add_images([image(1), unsure])
    assert await store.image("image-1") == image(1)
    assert await store.image("image-2") == unsure
    assert await store.image("image-3") is None
    assert await store.known(["image-1", "image-2", "image-3"]) == {"image-1", "image-2"}
    assert await store.known([]) == set()


async def test_an_image_that_is_known_stays_as_it_is(store: CurationStore) -> None:
    await store.add_images([image(1)])
    await store.add_images([replace(image(1), prompt="another"), image(2), image(2)])
    assert await store.image("image-1") == image(1)
    assert await store.image("image-2") == image(2)


async def test_the_first_withdrawal_counts(store: CurationStore) -> None:
    await store.add_images([image(1), image(2)])
    await store.withdraw_images({"image-1": NOW, "image-9": NOW})
    await store.withdraw_images({"image-1": NOW + timedelta(hours=1)})
    await store.withdraw_images({})
    assert await store.image("image-1") == replace(image(1), withdrawn_at=NOW)
    assert await store.image("image-2") == image(2)
    assert await store.image("image-9") is None


async def test_a_place_moves_on(store: CurationStore) -> None:
    assert await store.place("journal") is None
    await store.keep_place("journal", NOW)
    await store.keep_place("withdrawals", NOW + timedelta(hours=2))
    await store.keep_place("journal", NOW + timedelta(hours=1))
    assert await store.place("journal") == NOW + timedelta(hours=1)
    assert await store.place("withdrawals") == NOW + timedelta(hours=2)
