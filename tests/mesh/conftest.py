"""Whole meshes on loopback, each service a process of its own, with scripted workers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.mesh.backends import EMBEDDED, backends, merged
from tests.mesh.probing import EXTRA, Books, books_of, rich_account, scripted

from horde.cli.local.mesh import LocalMesh, local_mesh
from horde.clients.client import HordeClient


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalMesh]:
    """A mesh with three workers, for all tests of a module; embedded, unless it is asked for by kind."""
    folder = tmp_path_factory.mktemp("mesh")
    with backends(getattr(request, "param", EMBEDDED), folder) as kept:
        async with local_mesh(folder / "state", extra=merged(EXTRA, kept)) as running:
            for name in ("anna", "bert", "cleo"):
                await running.start_worker(scripted(name))
            yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def books(mesh: LocalMesh) -> AsyncIterator[Books]:
    """Its ledger."""
    async with books_of(mesh) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def account(mesh: LocalMesh) -> AsyncIterator[HordeClient]:
    """A registered requester with plenty of kudos."""
    async with rich_account(mesh) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nobody(mesh: LocalMesh) -> AsyncIterator[HordeClient]:
    """An anonymous requester."""
    async with mesh.client() as client:
        yield client
