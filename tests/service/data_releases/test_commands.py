"""`horde release` as it is typed, on folders and on S3: the operator's commands and the researcher's."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from horde.buckets.port import Bucket
from horde.buckets.s3 import S3Bucket
from horde.testkit.data_releases import Moment, Sharing, job_id, plain_folder
from horde.testkit.moody_server import Mood, moody_server
from horde.testkit.s3 import REGION, ThrowawayS3
from horde.testkit.waiting import POLL_SECONDS, ticks

PREFIX = "HORDE_DATA_RELEASES_"


@dataclass
class Typing:
    sharing: Sharing
    operator: Mapping[str, str]
    researcher: Mapping[str, str]

    def run(self, who: Mapping[str, str], *words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        settings = {PREFIX + name: value for name, value in who.items()}
        command = [sys.executable, "-m", "horde.cli.commands.main", "release", *words]
        ran = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True)
        assert ran.returncode == status, ran.stdout + ran.stderr
        return ran


@pytest.fixture(params=["folders", pytest.param("s3", marks=pytest.mark.s3)])
async def typing(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Typing]:
    clock = Moment(datetime.now(UTC) - timedelta(days=9))
    keys = {"STATE_DIR": str(tmp_path / "state"), "SIGNING_KEY_FILE": str(tmp_path / "signing.key")}
    keys["PSEUDONYM_KEY_FILE"] = str(tmp_path / "pseudonyms.key")
    async with AsyncExitStack() as stack:
        if request.param == "folders":
            shared: Bucket = await stack.enter_async_context(plain_folder(tmp_path / "shared", clock))
            folders = {"SHARED_DIR": str(tmp_path / "shared"), "RELEASES_DIR": str(tmp_path / "releases")}
            yield Typing(Sharing(shared, clock), {**keys, **folders}, folders)
            return
        server: ThrowawayS3 = request.getfixturevalue("s3_server")
        server.empty("horde-shared", "horde-releases")
        users = {}
        for user in ("release-builder", "researcher"):
            (tmp_path / user).write_text(server.secret(user))
            users[user] = {
                "S3_ENDPOINT": server.endpoint,
                "S3_SECURE": "false",
                "ACCESS_KEY": server.access_key(user),
                "SECRET_FILE": str(tmp_path / user),
            }
        credential = server.access_key("router-promoter"), server.secret("router-promoter")
        bucket = S3Bucket(server.endpoint, "horde-shared", *credential, REGION, secure=False)
        yield Typing(
            Sharing(await stack.enter_async_context(bucket), clock),
            {**keys, **users["release-builder"]},
            users["researcher"],
        )


@pytest.mark.s3
async def test_a_builder_waits_for_a_store_that_is_too_busy(s3_server: ThrowawayS3, tmp_path: Path) -> None:
    s3_server.empty("horde-shared", "horde-releases")
    clock = Moment(datetime.now(UTC) - timedelta(days=9))
    (tmp_path / "secret").write_text(s3_server.secret("release-builder"))
    async with moody_server(s3_server.endpoint) as store, AsyncExitStack() as stack:
        credential = s3_server.access_key("router-promoter"), s3_server.secret("router-promoter")
        bucket = S3Bucket(s3_server.endpoint, "horde-shared", *credential, REGION, secure=False)
        sharing = Sharing(await stack.enter_async_context(bucket), clock)
        for number in range(6):
            await sharing.share(number)
        settings = {
            "S3_ENDPOINT": store.endpoint,
            "S3_SECURE": "false",
            "ACCESS_KEY": s3_server.access_key("release-builder"),
            "SECRET_FILE": str(tmp_path / "secret"),
            "STATE_DIR": str(tmp_path / "state"),
            "SIGNING_KEY_FILE": str(tmp_path / "signing.key"),
            "PSEUDONYM_KEY_FILE": str(tmp_path / "pseudonyms.key"),
        }
        building = asyncio.create_task(
            asyncio.to_thread(Typing(sharing, settings, settings).run, settings, "create", "r1", "--samples", "1")
        )
        for _ in ticks():
            if any("parts/" in found.name for found in s3_server.objects("horde-releases")):
                break
            await asyncio.sleep(POLL_SECONDS)
        store.turn(Mood.BUSY)
        for _ in ticks():
            # More than who is in a hurry would bear.
            if store.refused >= 6:
                break
            await asyncio.sleep(POLL_SECONDS)
        store.turn(Mood.WELL)
        assert json.loads((await building).stdout)["images"] == 6


async def test_an_operator_releases_and_a_researcher_keeps_a_copy(typing: Typing, tmp_path: Path) -> None:
    assert typing.run(typing.researcher, "list").stdout == ""
    for number in range(6):
        await typing.sharing.share(number)
    told = json.loads(typing.run(typing.operator, "create", "%Y-w%V", "--as-of", "2026-01-05", "--dry-run").stdout)
    assert (told["release_id"], told["images"]) == ("2026-w02", 0)
    made = json.loads(typing.run(typing.operator, "create", "r1").stdout)
    assert (made["images"], made["previous"]) == (6, None)
    typing.sharing.clock.at = datetime.now(UTC)
    await typing.sharing.images.withdraw(job_id(2))
    assert json.loads(typing.run(typing.operator, "create", "r2").stdout)["removed"] == 1
    listed = typing.run(typing.researcher, "list").stdout.splitlines()
    assert [json.loads(line)["release_id"] for line in listed] == ["r2", "r1"]
    copies = tmp_path / "copies"
    typing.run(typing.researcher, "pull", "r2", "--to", str(copies))
    checked = json.loads(typing.run(typing.researcher, "prune-withdrawn", str(copies / "r1")).stdout)
    assert (checked["images"], checked["pruned"], checked["faults"]) == (5, 1, [])
    (copies / "r1" / "README.md").write_text("changed")
    typing.run(typing.researcher, "verify", str(copies / "r1"), status=1)
    assert "no finished release" in typing.run(typing.researcher, "show", "r3", status=5).stderr
