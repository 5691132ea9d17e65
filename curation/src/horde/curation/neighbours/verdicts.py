"""Tells the shared bucket how images stand, for those who read it and not us.

`moderation/<id>.json` has the verdict, which builders of data releases read, and whether the image is withheld, which
the storage router looks at before a download. `moderation/decided/<hour>/<id>` is an empty entry in the hour in which
somebody decided, so that a builder hears of what an earlier release has and should not have.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from horde.buckets.port import Bucket
from horde.curation.core.cases import Standing, to_file

JSON = "application/json"


class Verdicts:
    """Writes below `moderation/`, over what was there."""

    def __init__(self, bucket: Bucket, now: Callable[[], datetime], folder: Path) -> None:
        """`folder` is for files of a moment."""
        self._bucket = bucket
        self._now = now
        self._folder = folder

    async def tell(self, image_id: str, standing: Standing) -> None:
        """Write how an image stands. May be repeated; raises StoreUnavailable."""
        data = json.dumps(to_file(standing)).encode()
        if standing.decided:
            # First: who reads the entry reads the verdict after it.
            await self._put(f"moderation/decided/{self._now().astimezone(UTC):%Y-%m-%dT%H}/{image_id}", b"", "")
        await self._put(f"moderation/{image_id}.json", data, JSON)

    async def _put(self, key: str, data: bytes, media_type: str) -> None:
        path = await asyncio.to_thread(_write, data, self._folder)
        try:
            await self._bucket.put_file(key, path, media_type=media_type)
        finally:
            await asyncio.to_thread(path.unlink, missing_ok=True)


def _write(data: bytes, folder: Path) -> Path:
    with tempfile.NamedTemporaryFile(prefix="verdict-", dir=folder, delete=False) as file:
        file.write(data)
    return Path(file.name)
