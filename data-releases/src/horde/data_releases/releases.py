"""Finished releases in their bucket, for whoever may read it: which there are, and what they say of themselves."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from horde.buckets.port import MAX_PAGE, Bucket
from horde.data_releases.core import layout
from horde.data_releases.core.plan import Plan


class ReleaseNotFound(LookupError):
    """There is no finished release of this name."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished release."""

    plan: Plan
    parts: int
    images: int
    """In this release itself, without the ones before it."""
    bytes: int
    """Of all its files."""
    removed: int
    """Images of earlier releases that were withdrawn."""
    left_out: int
    checksums_sha256: str

    @property
    def release_id(self) -> str:
        return self.plan.release_id

    def to_json(self) -> dict[str, Any]:
        return {
            "plan": self.plan.to_json(),
            "parts": self.parts,
            "images": self.images,
            "bytes": self.bytes,
            "removed": self.removed,
            "left_out": self.left_out,
            "checksums_sha256": self.checksums_sha256,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Finished:
        return cls(**{**data, "plan": Plan.from_json(data["plan"])})


class Releases:
    """The bucket of releases."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def find(self, release_id: str) -> Finished | None:
        """A finished release."""
        found = await self._bucket.read(layout.finished(release_id))
        return None if found is None else Finished.from_json(json.loads(found.data))

    async def get(self, release_id: str) -> Finished:
        """A finished release. Raises ReleaseNotFound."""
        found = await self.find(release_id)
        if found is None:
            raise ReleaseNotFound(release_id)
        return found

    async def all(self) -> list[Finished]:
        """Every finished release, the latest first."""
        found = [await self.get(_id(key)) async for key in self._keys(layout.FINISHED)]
        return sorted(found, key=lambda release: (release.plan.as_of, release.release_id), reverse=True)

    async def latest(self) -> Finished | None:
        """The finished release of the latest moment."""
        return next(iter(await self.all()), None)

    async def read(self, release_id: str, name: str) -> bytes:
        """A file of a release. Raises LookupError where it is lost."""
        found = await self._bucket.read(layout.release(release_id, name))
        if found is None:
            raise LookupError(f"{release_id} has lost {name}")
        return found.data

    async def finish(self, release: Finished, undecided: Sequence[str]) -> None:
        """Say that the release is finished: from now on nothing of it changes."""
        key = f"undecided/{release.release_id}.json"
        await self._bucket.put(key, json.dumps(list(undecided)).encode())
        text = json.dumps(release.to_json(), indent=1, sort_keys=True).encode()
        await self._bucket.put(layout.finished(release.release_id), text, media_type="application/json")

    async def undecided(self, release_id: str) -> list[str]:
        """Images that a release left out because moderation had not decided. For builders only."""
        found = await self._bucket.read(f"undecided/{release_id}.json")
        return [] if found is None else list(json.loads(found.data))

    async def clear_building(self, release_id: str) -> None:
        """Delete what builders noted while they made it."""
        async for key in self._keys(layout.building(release_id, "")):
            await self._bucket.delete(key)

    async def delete_strangers(self, release_id: str, known: set[str]) -> None:
        """Delete files of an unfinished release that are no part of it: of a part that was built again smaller."""
        async for key in self._keys(layout.release(release_id, "")):
            if key.removeprefix(layout.release(release_id, "")) not in known:
                await self._bucket.delete(key)

    async def _keys(self, prefix: str) -> AsyncIterator[str]:
        after = ""
        while page := await self._bucket.page(prefix, after=after):
            for entry in page:
                yield entry.key
            if len(page) < MAX_PAGE:
                return
            after = page[-1].key


def _id(key: str) -> str:
    return key.removeprefix(layout.FINISHED).removesuffix(".json")
