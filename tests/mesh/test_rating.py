"""A shared picture is rated through the whole mesh, as people type it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.mesh.backends import EMBEDDED
from tests.mesh.probing import small
from tests.mesh.test_command_line import Horde

from horde.cli.local.mesh import LocalMesh
from horde.clients.client import HordeClient
from horde.testkit.waiting import POLL_SECONDS, ticks

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.parametrize("mesh", [EMBEDDED], indirect=True, scope="module"),
]


def as_(mesh: LocalMesh, folder: Path, key: Path) -> Horde:
    horde = Horde(mesh.gateway, folder)
    horde.environment["HORDE_API_KEY"] = key.read_text().strip()
    return horde


async def once_it_can(horde: Horde, *arguments: str) -> Any:
    """What a command answers, once the mesh has come so far."""
    for _ in ticks():
        status, _, said = await horde.run(*arguments)
        assert status != 2, said
        if status == 0:
            return await horde.ask(*arguments)
        await asyncio.sleep(POLL_SECONDS)
    raise AssertionError(f"never: {arguments}")


async def test_a_shared_picture_is_shown_rated_and_listed_and_not_to_who_painted_it(
    mesh: LocalMesh, nobody: HordeClient, tmp_path: Path
) -> None:
    async with nobody.generation(small("a red door")) as session:
        painted = {image.job_id: content async for image, content in session.pictures()}
    operator = as_(mesh, tmp_path, mesh.layout.operator_key)
    shown = await once_it_can(operator, "rate")
    image_id = shown["image"]["image_id"]
    saved = tmp_path / "shown.webp"
    told = await operator.ask("rate", "--save", str(saved))
    assert told["image"]["image_id"] == image_id
    assert saved.read_bytes() == painted.get(image_id, saved.read_bytes())
    assert not told["image"].get("ticket")

    rated = await once_it_can(operator, "rate", image_id, "8", "--artifacts", "1")
    assert (rated["rating"]["score"], rated["rating"]["artifacts"]) == (8, 1)
    listed = await operator.ask("ratings", "list")
    assert [(rating["image_id"], rating["score"]) for rating in listed["ratings"]] == [(image_id, 8)]
    standing = (await operator.ask("ratings", "standing"))["standing"]
    assert (int(standing["ratings"]), standing["earning"]) == (1, False)
    assert "compared" in standing["why"]

    painter = as_(mesh, tmp_path, mesh.layout.worker_key)
    await painter.ask("rate", status=5)
    await operator.ask("rate", "nobodys", "5", status=1)
    await operator.ask("rate", image_id, "11", status=2)
