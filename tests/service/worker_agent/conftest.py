"""A worker with a scripted painter, and a mesh that says what it is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from horde.testkit.worker_agent import FakeMesh, fake_mesh
from horde.worker_agent.settings import WorkerSettings


@pytest_asyncio.fixture
async def mesh() -> AsyncIterator[FakeMesh]:
    async with fake_mesh() as mesh:
        yield mesh


@pytest.fixture
def settings(mesh: FakeMesh, tmp_path: Path) -> Callable[..., WorkerSettings]:
    def make(**fields: Any) -> WorkerSettings:
        return WorkerSettings(
            **{
                "gateway": mesh.target,
                "api_key": "secret",
                "name": "anna",
                "painter": "scripted",
                "state_dir": tmp_path / "state",
                "reconnect_first_seconds": 0.02,
                "reconnect_limit_seconds": 0.1,
                **fields,
            }
        )

    return make
