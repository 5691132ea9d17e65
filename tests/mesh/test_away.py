"""The storage router is away while real agents have painted: what is finished keeps its lease, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.mesh.probing import (
    DONE,
    EXTRA,
    Books,
    assert_done_and_paid,
    books_of,
    rich_account,
    scripted,
    small,
)

from horde.api.generation.v1.generation_pb2 import LeaseState
from horde.cli.local.mesh import LocalMesh, local_mesh
from horde.cli.local.roles import Role
from horde.clients.client import HordeClient

pytestmark = pytest.mark.asyncio(loop_scope="module")

LEASE_SECONDS = 1.0
AWAY_SECONDS = 8.0
"""Several times what a lease lasts without progress, as 120 s are of the usual 60."""
PICTURES = 3


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalMesh]:
    short = {**EXTRA[Role.SCHEDULER], "LEASE_TTL_SECONDS": str(LEASE_SECONDS), "LOAD_ALLOWANCE_SECONDS": "0"}
    folder = tmp_path_factory.mktemp("away")
    async with local_mesh(folder / "state", extra={**EXTRA, Role.SCHEDULER: short}) as running:
        await running.start_worker(scripted("anna", PAINTERS=str(PICTURES)))
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def books(mesh: LocalMesh) -> AsyncIterator[Books]:
    async with books_of(mesh) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def account(mesh: LocalMesh) -> AsyncIterator[HordeClient]:
    async with rich_account(mesh) as client:
        yield client


async def test_finished_pictures_wait_for_storage_and_are_not_painted_again(
    mesh: LocalMesh, books: Books, account: HordeClient
) -> None:
    warm = await account.generations.create(small("warm"))
    await account.generations.finish(warm.generation_id)
    await mesh.processes[Role.STORAGE_ROUTER.value].kill()
    made = await account.generations.create(small("waiting", count=PICTURES))
    waiting: set[int] = set()
    while len(waiting) < PICTURES:
        shown = await account.generations.get(made.generation_id)
        waiting = {image.index for image in shown.images if image.lease_state == LeaseState.LEASE_STATE_UPLOADING}
        await asyncio.sleep(0.05)
    leases = {image.lease_id for image in shown.images}
    await asyncio.sleep(AWAY_SECONDS)
    shown = await account.generations.get(made.generation_id)
    assert {image.lease_id for image in shown.images} == leases
    await mesh.start(Role.STORAGE_ROUTER)
    done = await account.generations.finish(made.generation_id)
    assert [image.ending for image in done.images] == [DONE] * PICTURES
    assert [image.attempt for image in done.images] == [1] * PICTURES
    await assert_done_and_paid(books, done)
    await books.assert_balanced()
