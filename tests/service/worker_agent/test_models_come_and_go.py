"""A worker that runs takes up models that are added, and lets go those that are removed."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from horde.testkit.worker_agent import FakeMesh
from horde.worker_agent import library
from horde.worker_agent.library import Library
from horde.worker_agent.painters import choice
from horde.worker_agent.running import run_worker
from horde.worker_agent.settings import WorkerSettings

PAINTBOX = Path(library.__file__).parent / "models" / "paintbox"


def offered(mesh: FakeMesh) -> list[str]:
    """The models of the newest offer."""
    models: list[str] = []
    for request in mesh.gateway.heard:
        said = request.hello.capabilities if request.HasField("hello") else request.capabilities
        models = [model.name for model in said.models] or models
    return models


async def test_a_worker_that_runs_takes_up_and_lets_go_models(
    mesh: FakeMesh, settings: Callable[..., WorkerSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "LOOK_SECONDS", 0.02)
    first, second = (shutil.copytree(PAINTBOX, tmp_path / name) for name in ("first", "second"))
    mine = settings(models=f"own={PAINTBOX}")
    models = Library(mine.state_dir / "models")
    models.add("first", str(first))
    # The scripted painter is opened with the settings' models alone, and hears of the others as they change.
    run = asyncio.create_task(run_worker(mine, asyncio.create_task(asyncio.Event().wait())))
    try:
        await mesh.gateway.until(mesh.gateway.restatements)
        models.add("second", str(second))
        await mesh.gateway.until(lambda: offered(mesh) == ["own", "first", "second"])
        models.remove("first")
        await mesh.gateway.until(lambda: offered(mesh) == ["own", "second"])
        # A list that cannot be read changes nothing, and ends nothing.
        listed = mine.state_dir / "models" / library.FILE
        whole = listed.read_text()
        listed.write_text("{")
        lent = mesh.assign("a star")
        await mesh.gateway.until(lambda: mesh.gateway.outcomes())
        assert mesh.gateway.outcomes()[0].lease_id == lent.lease_id
        assert offered(mesh) == ["own", "second"]
        listed.write_text(whole)
        models.remove("second")
        await mesh.gateway.until(lambda: offered(mesh) == ["own"])
        assert mesh.gateway.sessions == 1
    finally:
        run.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await run
