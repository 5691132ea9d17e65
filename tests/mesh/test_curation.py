"""What becomes of a shared picture through the whole mesh: reported, looked at, decided, given back, released."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.mesh.backends import DEPLOYED, EMBEDDED
from tests.mesh.probing import age_journal, small
from tests.mesh.test_command_line import SMALL, Horde

from horde.api.moderation.v1 import moderation_service_pb2 as pb
from horde.cli.local.mesh import LocalMesh
from horde.clients.client import HordeClient
from horde.clients.errors import NotFound, ObjectNotFound, RoleMissing
from horde.testkit.waiting import POLL_SECONDS, ticks, until_told

BACKENDS = (EMBEDDED, DEPLOYED)
pytestmark = pytest.mark.asyncio(loop_scope="module")


def kept_in(*kinds: str) -> pytest.MarkDecorator:
    """On what a test runs; on all where somebody asks for it (`make test-kills`)."""
    everywhere = os.environ.get("HORDE_KILL_MATRIX") == "all"
    return pytest.mark.parametrize("mesh", BACKENDS if everywhere else kinds, indirect=True, scope="module")


@pytest.fixture
def moderator(mesh: LocalMesh, tmp_path: Path) -> Horde:
    """The command line with the operator's key, who may decide, too."""
    horde = Horde(mesh.gateway, tmp_path)
    horde.environment["HORDE_API_KEY"] = mesh.layout.operator_key.read_text().strip()
    return horde


async def painted(nobody: HordeClient) -> tuple[str, str, bytes]:
    """A shared picture: its generation, its id, its bytes."""
    async with nobody.generation(small("a red door")) as session:
        async for image, content in session.pictures():
            return session.generation.generation_id, image.job_id, content
    raise AssertionError("nothing was painted")


@kept_in(EMBEDDED)
async def test_child_safety_takes_a_picture_from_everybody_until_somebody_has_looked(
    mesh: LocalMesh, nobody: HordeClient, moderator: Horde, tmp_path: Path
) -> None:
    generation_id, image_id, content = await painted(nobody)
    async with mesh.client() as stranger:
        await stranger.moderation.report(image_id, pb.REPORT_REASON_CHILD_SAFETY, "look")
        with pytest.raises(NotFound):
            await stranger.moderation.report(image_id, pb.REPORT_REASON_OTHER, own=True)
        with pytest.raises(RoleMissing):
            async with mesh.client(credential=None, api_key=(mesh.layout.worker_key.read_text().strip())) as owner:
                _ = [case async for case in owner.moderation.cases()]
    with pytest.raises(ObjectNotFound):
        await nobody.images.fetch(generation_id, image_id)

    listed = await moderator.ask("moderation", "list")
    (case,) = [case for case in listed["cases"] if case["case_id"] == image_id]
    assert (case["urgent"], case["withheld"], case["report_count"]) == (True, True, 1)
    saved = tmp_path / "case.webp"
    shown = await moderator.ask("moderation", "show", image_id, "--save", str(saved))
    assert saved.read_bytes() == content
    assert "ticket" not in {name for name, value in shown["case"].items() if value}

    decided = await moderator.ask("moderation", "decide", image_id, "safe", "--why", "a door")
    assert [decision["why"] for decision in decided["case"]["decisions"]] == ["a door"]
    assert await nobody.images.fetch(generation_id, image_id) == content


@kept_in(EMBEDDED)
async def test_what_is_unsafe_is_not_in_the_queue_any_more_and_stays_its_requesters(
    nobody: HordeClient, moderator: Horde
) -> None:
    generation_id, image_id, content = await painted(nobody)
    reported = await moderator.ask("report", image_id, "--reason", "hateful", "--detail", "a hat")
    assert reported["report_id"]
    status, text, _ = await moderator.run("moderation", "decide", image_id, "unsafe", "--why", "a hat")
    assert status == 0
    assert "decided" in text
    assert "hateful" in text
    listed = await moderator.ask("moderation", "list", "--verdict", "unsafe")
    assert [case["case_id"] for case in listed["cases"]] == [image_id]
    assert await nobody.images.fetch(generation_id, image_id) == content
    assert await moderator.ask("moderation", "show", "nobodys", status=5)


@kept_in(EMBEDDED)
async def test_a_requester_sees_what_they_shared_under_which_text_and_takes_all_of_it_back(
    mesh: LocalMesh, tmp_path: Path
) -> None:
    horde = Horde(mesh.gateway, tmp_path)
    created = await horde.ask("generate", "a red door", "--anonymous", "--out", str(tmp_path), *SMALL)
    generation_id = created["generation"]["generation_id"]
    for _ in ticks():
        status = await horde.ask("generations", "share-status", generation_id, "--texts")
        if status["images"]:
            break
        await asyncio.sleep(POLL_SECONDS)
    (shared,) = status["images"]
    assert (shared["generation_id"], shared["asked"], shared["release_names"]) == (generation_id, False, [])
    assert "research" in status["texts"][shared["consent_text_version"]]
    taken = await horde.ask("generations", "withdraw-all", "--yes")
    assert taken == {"images": 1, "released_images": 0}
    for _ in ticks():
        (shared,) = (await horde.ask("generations", "share-status"))["images"]
        if shared.get("withdrawn_at"):
            break
        await asyncio.sleep(POLL_SECONDS)
    assert shared["withdrawn_at"]
    # Its bytes are gone, whoever asks.
    await horde.ask("fetch", generation_id, "--out", str(tmp_path / "none"), status=5)


async def released(operator: Horde, name: str, *words: str) -> Any:
    """A release, once it is built."""
    release = (await operator.ask("release", "--mesh", "create", name, "--cool-off", "0h", *words))["release"]
    for _ in ticks():
        if release["state"] != "DATA_RELEASE_STATE_BUILDING":
            break
        await asyncio.sleep(POLL_SECONDS)
        release = (await operator.ask("release", "--mesh", "show", name))["release"]
    assert release["state"] == "DATA_RELEASE_STATE_FINISHED", release
    return release


async def names_as_removed(researcher: Horde, name: str, image_id: str) -> bool:
    """Whether a release's list of what is to be taken out of copies names an image."""
    listed = await researcher.ask("release", "--mesh", "removals", name)
    return {removal["image_id"]: removal["release_name"] for removal in listed["removals"]} == {image_id: name}


@kept_in(*BACKENDS)
async def test_an_operator_asks_for_releases_and_anybody_with_an_account_keeps_a_copy_up_to_date(
    mesh: LocalMesh, nobody: HordeClient, moderator: Horde, tmp_path: Path
) -> None:
    researcher = Horde(mesh.gateway, tmp_path)
    researcher.environment["HORDE_API_KEY"] = mesh.layout.worker_key.read_text().strip()
    await researcher.ask("release", "--mesh", "create", "2026-11.1", status=4)
    await researcher.ask("release", "--mesh", "show", "2026-11.1", status=5)
    await painted(nobody)
    generation_id, image_id, _ = await painted(nobody)
    for _ in ticks():
        if [shared async for shared in nobody.generations.shared(generation_id)]:
            break
        await asyncio.sleep(POLL_SECONDS)
    await asyncio.to_thread(age_journal, mesh, timedelta(hours=3))

    told = await moderator.ask("release", "--mesh", "create", "2026-11.1", "--cool-off", "0h", "--dry-run")
    release = await released(moderator, "2026-11.1")
    assert int(told["release"]["images"]) == int(release["images"]) >= 2
    assert told["release"].get("exclusions", []) == release.get("exclusions", [])
    copies = tmp_path / "copies"
    await researcher.ask("release", "--mesh", "pull", "2026-11.1", "--to", str(copies))
    again = await researcher.ask("release", "--mesh", "pull", "2026-11.1", "--to", str(copies))
    # What is whole stays; of the checksums and their signature nothing says whether they are.
    assert again["fetched"]["2026-11.1"] < 10_000
    ids = set(pq.read_table(copies / "2026-11.1" / "metadata.parquet")["id"].to_pylist())
    assert image_id in ids

    assert await nobody.generations.withdraw(generation_id, [image_id]) == {image_id: None}
    # Named as soon as the mesh has heard of it, also between two releases.
    await until_told(lambda: names_as_removed(researcher, "2026-11.1", image_id))
    second = await released(moderator, "2026-11.2", "--incremental")
    assert (int(second.get("images", 0)), second["previous_name"]) == (0, "2026-11.1")
    await researcher.ask("release", "--mesh", "pull", "2026-11.2", "--to", str(copies))
    removed = str(copies / "2026-11.2" / "removed.parquet")
    status, told, error = await researcher.run(
        "release", "prune-withdrawn", str(copies / "2026-11.1"), "--removed", removed
    )
    assert status == 0, told + error
    assert json.loads(told)["faults"] == []
    left = set(pq.read_table(copies / "2026-11.1" / "metadata.parquet")["id"].to_pylist())
    assert ids - left == {image_id}
    listed = await researcher.ask("release", "--mesh")
    assert [release["name"] for release in listed["releases"]] == ["2026-11.2", "2026-11.1"]
