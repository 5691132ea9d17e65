"""The kit for tests of data releases: shared images, put in place by the storage router's own code, and a builder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from horde.buckets.directory import DirectoryBucket
from horde.buckets.port import Bucket
from horde.data_releases.builder import Builder
from horde.data_releases.keys import Keys
from horde.data_releases.planning import Order
from horde.data_releases.releases import Finished
from horde.data_releases.shared_side import BucketVerdicts, SharedSide
from horde.storage_router.core.orders import CommitOrder, Publication
from horde.storage_router.core.pictures import ImageFormat
from horde.storage_router.core.placement import Placement, PlacementFacts
from horde.storage_router.core.records import Content
from horde.storage_router.shared_images import SharedImages
from horde.testkit.storage_router import paint

START: Final = datetime(2026, 11, 26, 10, tzinfo=UTC)
KEYS: Final = Keys(Ed25519PrivateKey.from_private_bytes(bytes(32)), bytes(32))
MODELS: Final = ("paintbox", "dreams")
FORMATS: Final = (ImageFormat.WEBP, ImageFormat.PNG, ImageFormat.JPEG)


@dataclass
class Moment:
    """A clock that is set."""

    at: datetime = START

    def now(self) -> datetime:
        return self.at


def job_id(number: int) -> str:
    """The id of the image of this number."""
    return f"9b2d8c1e-0000-5000-8000-{number:012x}"


@dataclass
class Sharing:
    """A shared bucket that is filled as the mesh fills it."""

    bucket: Bucket
    clock: Moment = field(default_factory=Moment)

    @property
    def images(self) -> SharedImages:
        """The router's own holder of the bucket."""
        return SharedImages(self.bucket, self.clock.now)

    async def share(
        self,
        number: int,
        *,
        seed: int | None = None,
        prompt: str = "",
        image: Mapping[str, Any] | None = None,
        anonymous: bool = False,
        size: int = 64,
        picture: bytes | None = None,
        painter: str = "",
    ) -> str:
        """Share a picture, another one for each number unless `seed` says, or a PNG of this size; returns its id."""
        format = FORMATS[number % len(FORMATS)] if seed is None else ImageFormat.PNG
        if picture is not None:
            format = ImageFormat.PNG
        data = picture or paint(
            "JPEG" if format.name == "JPEG" else format.name, size, size, number if seed is None else seed
        )
        content = Content(hashlib.sha256(data).hexdigest(), len(data), format, size, size)
        facts = PlacementFacts(anonymous, not anonymous, has_input=False, consent_text_version="2026-11")
        spec = {
            "prompt": prompt or f"a red door, number {number}",
            "negative_prompt": "blurry" if number % 3 else "",
            "width": size,
            "height": size,
            "steps": 20 + number % 10,
            "seed": str(number),
            "sampler": "SAMPLER_EULER",
            **(image or {}),
        }
        order = CommitOrder(
            job_id=job_id(number),
            lease_id=f"1.{number}",
            requester=f"user-{number % 5}",
            sha256=content.sha256,
            placement=Placement.SHARED,
            facts=facts,
            object_name=f"{number:032x}",
            keep_for=timedelta(0),
            painter=painter,
            accepted_at=self.clock.at - timedelta(minutes=1),
            made={"spec": {"model": MODELS[number % len(MODELS)], "image": spec}, "deviations": []},
        )
        await self.images.place(Publication(order, content, Placement.SHARED), data)
        return order.job_id

    async def change_record(self, image_id: str, **changes: Any) -> None:
        """Make a record say something else, as a defect or a moderator might."""
        key = f"images/{image_id}.json"
        found = await self.bucket.read(key)
        assert found is not None
        record = {**json.loads(found.data), **changes}
        await self.bucket.delete(key)
        await self.bucket.put(key, json.dumps(record).encode())

    async def decide(self, image_id: str, verdict: str) -> None:
        """Moderation's verdict."""
        key = f"moderation/{image_id}.json"
        await self.bucket.delete(key)
        await self.bucket.put(key, json.dumps({"verdict": verdict}).encode())


def plain_folder(path: Path, clock: Moment) -> AbstractAsyncContextManager[DirectoryBucket]:
    """A bucket in a folder, as the shared one and that of releases are."""
    return DirectoryBucket(path, clock.now, plain=True)


def builder(sharing: Sharing, releases: Bucket, state: Path, ratings: Path | None = None) -> Builder:
    """A builder with the kit's keys."""
    shared = SharedSide(sharing.bucket, BucketVerdicts(sharing.bucket))
    return Builder(shared, releases, KEYS, state, sharing.clock.now, ratings)


async def release(
    sharing: Sharing, releases: Bucket, state: Path, order: Order, ratings: Path | None = None
) -> Finished:
    """Make a release eight days after the clock's moment, in parts of 25 unless the order says otherwise."""
    whole = {"samples": 25, **order.others}
    sharing.clock.at += timedelta(days=8)
    as_of = order.as_of or sharing.clock.at
    return await builder(sharing, releases, state, ratings).create(replace(order, as_of=as_of, others=whole))


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by its path."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
