"""Bringing releases home from a mesh that may be anybody's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from horde.api.release.v1 import data_release_service_pb2 as pb
from horde.cli.commands.mesh_releases import pull_chain


class Told:
    """A mesh's releases by what they go on from; notes where they were put."""

    def __init__(self, **previous: str) -> None:
        self.previous = previous
        self.folders: list[Path] = []

    async def get(self, name: str) -> pb.DataRelease:
        return pb.DataRelease(name=name, previous_name=self.previous.get(name, ""))

    async def pull(self, name: str, folder: Path) -> int:
        self.folders.append(folder)
        return 7


async def test_a_release_comes_with_those_that_it_goes_on_from(tmp_path: Path) -> None:
    releases: Any = Told(c="b", b="a.1")
    assert [name async for name, _ in pull_chain(releases, "c", tmp_path, alone=False)] == ["c", "b", "a.1"]
    assert releases.folders == [tmp_path / "c", tmp_path / "b", tmp_path / "a.1"]
    assert [pulled async for pulled in pull_chain(releases, "c", tmp_path, alone=True)] == [("c", 7)]


@pytest.mark.parametrize("previous", ["../../.ssh", "/etc", "..", "C:x", "a\\b", "c"])
async def test_a_mesh_leads_no_copy_out_of_its_folder_and_not_round_and_round(tmp_path: Path, previous: str) -> None:
    releases: Any = Told(c=previous)
    with pytest.raises(ValueError, match="of which nothing is fetched"):
        assert [pulled async for pulled in pull_chain(releases, "c", tmp_path, alone=False)]
    assert releases.folders == [tmp_path / "c"]
