"""A gateway over real sockets, between neighbours that remember what they were asked."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio
from tests.service.gateway.attaching import Worker

from horde.api.account.v1 import account_service_pb2 as account_pb2
from horde.api.generation.v1 import generation_pb2
from horde.gateway.core.credentials import new_api_key
from horde.testkit.gateway import Bench, bench

Credentials = list[tuple[str, str]]


@pytest_asyncio.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path) as ready:
        yield ready


@pytest.fixture
def register(mesh: Bench) -> Callable[[str], Awaitable[Credentials]]:
    """Opens an account, and says its credentials."""
    return partial(open_account, mesh)


async def open_account(mesh: Bench, name: str) -> Credentials:
    """Opens an account, and says its credentials."""
    key = new_api_key().text()
    request = account_pb2.CreateAccountRequest(request_id=str(uuid.uuid4()), display_name=name, api_key=key)
    await mesh.accounts.CreateAccount(request)
    return [("authorization", f"Bearer {key}")]


@pytest_asyncio.fixture
async def anna(register: Callable[[str], Awaitable[Credentials]]) -> Credentials:
    return await register("Anna")


@pytest_asyncio.fixture
async def bert(register: Callable[[str], Awaitable[Credentials]]) -> Credentials:
    return await register("Bert")


@pytest.fixture
def nobody() -> Credentials:
    """Anonymous, under one token."""
    return [("authorization", "Anonymous 000102030405060708090a0b0c0d0e0f")]


@pytest.fixture
def spec() -> Callable[..., generation_pb2.GenerationSpec]:
    """What may be asked for; `fields` are those of the generation, `image` those of the image."""

    def make(image: dict[str, object] | None = None, **fields: object) -> generation_pb2.GenerationSpec:
        spec = generation_pb2.GenerationSpec(**{"count": 1, **fields})  # type: ignore[arg-type]
        spec.job.model = "paintbox"
        spec.job.image.prompt, spec.job.image.width, spec.job.image.height, spec.job.image.steps = "a fox", 512, 512, 50
        for name, value in (image or {}).items():
            setattr(spec.job.image, name, value)
        return spec

    return make


@pytest.fixture
def worker(mesh: Bench, anna: Credentials) -> Worker:
    return Worker(mesh, anna)
