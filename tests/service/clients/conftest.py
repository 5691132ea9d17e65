"""A fake mesh at the end of a real wire, and a client of it."""

import random
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from horde.cli.conform.fake_mesh import FakeMesh
from horde.clients.client import HordeClient
from horde.clients.credentials import ApiKey
from horde.clients.retrying import Patience
from horde.testkit.loopback import loopback
from horde.testkit.waiting import HANG_SECONDS


@pytest.fixture(autouse=True)
def _same_jitter_every_time() -> None:
    random.seed(0)


@pytest.fixture
async def mesh() -> AsyncIterator[FakeMesh]:
    fake = FakeMesh()  # type: ignore[abstract]  # what no test calls is UNIMPLEMENTED
    async with loopback(fake.registrations(), caller=None) as served:
        fake.address = served.target
        yield fake


@pytest.fixture
async def horde(mesh: FakeMesh, tmp_path: Path) -> AsyncIterator[HordeClient]:
    quick = Patience(timedelta(seconds=HANG_SECONDS), timedelta(milliseconds=1), timedelta(milliseconds=5))
    async with HordeClient(mesh.address, credential=ApiKey("horde_a_b"), patience=quick) as client:
        yield client
