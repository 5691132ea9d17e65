"""Whom `horde release` asks: a stranger has an account at a mesh, an operator has a bucket."""

from __future__ import annotations

import pytest

from horde.cli.commands.release import asks_a_mesh

ON_S3 = {"HORDE_DATA_RELEASES_S3_ENDPOINT": "store:9000"}
ON_A_FOLDER = {"HORDE_DATA_RELEASES_RELEASES_DIR": "releases"}


@pytest.mark.parametrize("command", ["list", "show", "pull"])
def test_who_has_no_bucket_asks_the_mesh(command: str) -> None:
    assert asks_a_mesh([command, "2026-12.1"], {}, has_folder=False)
    assert not asks_a_mesh([command], ON_S3, has_folder=False)
    assert not asks_a_mesh([command], ON_A_FOLDER, has_folder=False)
    assert not asks_a_mesh([command], {}, has_folder=True)
    assert asks_a_mesh(["--mesh", command], ON_S3, has_folder=True)


@pytest.mark.parametrize("command", ["cancel", "removals"])
def test_what_only_a_mesh_does_is_asked_of_it(command: str) -> None:
    assert asks_a_mesh([command, "2026-12.1"], ON_S3, has_folder=True)


@pytest.mark.parametrize("words", [[], ["--help"], ["create", "a"], ["verify", "copy"], ["prune-withdrawn", "copy"]])
def test_everything_else_is_done_without_a_mesh(words: list[str]) -> None:
    assert not asks_a_mesh(words, {}, has_folder=False)
