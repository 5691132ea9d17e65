"""One mesh with a web door, for all tests of the contract over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.mesh.probing import rich_account, scripted
from tests.mesh.v1.calling import Caller, caller_of
from tests.mesh.v2.calling import web_mesh

from horde.cli.local.mesh import LocalMesh
from horde.clients.client import HordeClient
from horde.clients.credentials import ApiKey


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalMesh]:
    async with web_mesh(tmp_path_factory.mktemp("mesh"), CORS_ORIGINS="https://page.example") as running:
        await running.start_worker(scripted("anna"))
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def account(mesh: LocalMesh) -> AsyncIterator[HordeClient]:
    async with rich_account(mesh, "Rita") as client:
        yield client


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stranger(mesh: LocalMesh) -> AsyncIterator[Caller]:
    async with caller_of(mesh) as caller:
        while not (await caller.done("GET", "/v1/models")).get("models"):
            await asyncio.sleep(0.1)
        yield caller


@pytest.fixture(scope="session")
def rita(stranger: Caller, account: HordeClient) -> Caller:
    """The door, for somebody with an account."""
    assert isinstance(account.credential, ApiKey)
    return stranger.by(f"Bearer {account.credential.secret}")
