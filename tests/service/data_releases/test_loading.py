"""A release loads unmodified in the tools that researchers have, from a folder and over S3, and holds what it may."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from horde.buckets.s3 import S3Bucket
from horde.data_releases import copies
from horde.data_releases.planning import Order
from horde.testkit.data_releases import Moment, Sharing, job_id, release
from horde.testkit.s3 import REGION, ThrowawayS3

IMAGES = int(os.environ.get("HORDE_LOADED_IMAGES", "300"))
"""`make test-loading` asks for 5,000."""
LOADERS = Path(__file__).with_name("loading.py")


def bucket(server: ThrowawayS3, user: str, name: str, *, read_only: bool = False) -> S3Bucket:
    return S3Bucket(
        server.endpoint,
        name,
        server.access_key(user),
        server.secret(user),
        REGION,
        secure=False,
        read_only=read_only,
    )


@pytest.mark.s3
async def test_every_loader_sees_the_same_images_with_the_same_bytes(s3_server: ThrowawayS3, tmp_path: Path) -> None:
    s3_server.empty("horde-shared", "horde-releases")
    # The store's clock is the machine's: eight days later must have come.
    clock = Moment(datetime.now(UTC) - timedelta(days=20))
    async with (
        bucket(s3_server, "router-promoter", "horde-shared") as shared,
        bucket(s3_server, "release-builder", "horde-shared", read_only=True) as read,
        bucket(s3_server, "release-builder", "horde-releases") as releases,
        bucket(s3_server, "researcher", "horde-releases", read_only=True) as researcher,
    ):
        sharing = Sharing(shared, clock)
        await asyncio.gather(*(sharing.share(number, anonymous=number % 3 == 0) for number in range(IMAGES)))
        withdrawn = {job_id(number) for number in range(0, IMAGES, 50)}
        for image_id in withdrawn:
            await sharing.images.withdraw(image_id)
        # As no router would share them: from a picture, with a mask.
        pictured = {job_id(number) for number in range(25, IMAGES, 100)}
        for number, image_id in enumerate(sorted(pictured)):
            named = {"prompt": "x", ("source" if number % 2 else "mask"): {"input_id": "i", "sha256": "s"}}
            await sharing.change_record(image_id, spec={"model": "paintbox", "image": named})
        # What is rare comes late: loaders guess the types of all from the first.
        await sharing.change_record(job_id(290), deviations=[{"kind": "DEVIATION_KIND_CHANGED", "field": "sampler"}])
        await release(Sharing(read, clock), releases, tmp_path / "state", Order("2026-12.1", others={"samples": 100}))
        folder = tmp_path / "2026-12.1"
        await copies.pull(researcher, "2026-12.1", folder)
    expected = dict(
        zip(*(pq.read_table(folder / "metadata.parquet")[name].to_pylist() for name in ("id", "sha256")), strict=True)
    )
    assert set(expected) == {job_id(number) for number in range(IMAGES)} - withdrawn - pictured
    assert copies.verify(folder).faults == []
    credential = (s3_server.access_key("researcher"), s3_server.secret("researcher"))
    arguments = [str(folder), f"http://{s3_server.endpoint}", *credential, "horde-releases/releases/2026-12.1"]
    ran = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-W", "ignore", str(LOADERS), *arguments],
        capture_output=True,
        text=True,
        # Other tests of the same run keep their own process from the hub; `datasets` would take that for all of S3.
        env={name: value for name, value in os.environ.items() if not name.startswith("HF_")},
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    found = json.loads(ran.stdout)
    assert len(found) == 12
    for loader, images in found.items():
        assert images == expected, loader
