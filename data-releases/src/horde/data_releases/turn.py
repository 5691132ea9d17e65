"""Whose turn it is to build a release: the builder's that began last. An older one that is still alive, on a machine
that was given up, stops before it writes anything more: else it would change what the newer one has finished."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

from horde.buckets.port import Bucket
from horde.data_releases.core import layout


class OtherBuilder(Exception):
    """Another builder has begun after this one."""


class Turn:
    """One builder's."""

    def __init__(self, bucket: Bucket, release_id: str, folder: Path) -> None:
        self._bucket = bucket
        self._key = layout.building(release_id, "builder")
        self._finished = layout.finished(release_id)
        self._path = folder / "builder"
        self._name = secrets.token_hex(16).encode()

    async def take(self) -> None:
        """From now on it is this one's."""
        self._path.write_bytes(self._name)
        await self._bucket.put_file(self._key, self._path)

    async def check(self) -> None:
        """Before each write. Raises OtherBuilder, also where another has finished it."""
        found, finished = await asyncio.gather(self._bucket.read(self._key), self._bucket.head(self._finished))
        if found is None or found.data != self._name or finished is not None:
            raise OtherBuilder("another builder is at work on this release: this one stops")
