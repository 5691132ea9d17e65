"""A data release asked for at the gateway, built beside the curation service, brought home with an API key alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.mesh.test_command_line import Horde

from horde.cli.local.mesh import LocalMesh
from horde.testkit.waiting import POLL_SECONDS, ticks

pytestmark = pytest.mark.asyncio(loop_scope="module")


def shell(mesh: LocalMesh, folder: Path, key: Path) -> Horde:
    horde = Horde(mesh.gateway, folder)
    horde.environment["HORDE_API_KEY"] = key.read_text().strip()
    return horde


async def test_an_operator_asks_and_anybody_with_an_account_brings_it_home(mesh: LocalMesh, tmp_path: Path) -> None:
    operator = shell(mesh, tmp_path, mesh.layout.operator_key)
    researcher = shell(mesh, tmp_path, mesh.layout.worker_key)
    await researcher.ask("release", "--mesh", "create", "2026-11.1", status=4)
    await researcher.ask("release", "--mesh", "show", "2026-11.1", status=5)
    begun = await operator.ask("release", "--mesh", "create", "2026-11.1", "--cool-off", "0h")
    assert begun["release"]["name"] == "2026-11.1"
    for _ in ticks():
        shown = await operator.ask("release", "--mesh", "show", "2026-11.1")
        if shown["release"]["state"] != "DATA_RELEASE_STATE_BUILDING":
            break
        await asyncio.sleep(POLL_SECONDS)
    assert shown["release"]["state"] == "DATA_RELEASE_STATE_FINISHED", shown

    home = tmp_path / "home"
    await researcher.ask("release", "--mesh", "pull", "2026-11.1", "--to", str(home))
    again = await researcher.ask("release", "--mesh", "pull", "2026-11.1", "--to", str(home))
    # What is whole stays; of the checksums and their signature nothing says whether they are.
    assert again["fetched"]["2026-11.1"] < 10_000
    status, told, error = await researcher.run("release", "verify", str(home / "2026-11.1"))
    assert status == 0, told + error
    assert (await researcher.ask("release", "--mesh", "removals", "2026-11.1")) == {"removals": []}
    listed = await researcher.ask("release", "--mesh")
    assert [release["name"] for release in listed["releases"]] == ["2026-11.1"]
    status, told, _ = await researcher.run("release", "--mesh", "list")
    assert status == 0
    assert "finished" in told
