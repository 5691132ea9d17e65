"""An S3 server for a bench, what a router is told to use it, and the yardstick: the store's own client there."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from obstore.store import S3Store

from horde.testkit.s3 import REGION, ThrowawayS3, throwaway_s3
from horde.testkit.storage_remains import BUCKETS
from horde.testkit.storage_soak import router_on

AT_ONCE = 16
"""Calls at once: as many as a router makes."""
BYTES = 50_000


@contextmanager
def store(folder: Path) -> Iterator[tuple[ThrowawayS3, dict[str, str]]]:
    """A server of one's own, and the router's settings for it."""
    with throwaway_s3((*BUCKETS, "horde-releases")) as server:
        yield server, router_on(server, server.endpoint, folder)


async def own_client_rate(server: ThrowawayS3, images: int) -> float:
    """Images a second that are put, copied on the server and removed at their first place, by `obstore` alone."""
    bucket = BUCKETS[0]
    client = S3Store(
        bucket,
        endpoint=f"http://{server.endpoint}",
        access_key_id=server.access_key(bucket),
        secret_access_key=server.secret(bucket),
        region=REGION,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )
    image, left = os.urandom(BYTES), iter(range(images))

    async def working() -> None:
        for number in left:
            await client.put_async(f"yardstick/from/{number}", image, use_multipart=False)
            await client.copy_async(f"yardstick/from/{number}", f"yardstick/to/{number}")
            await client.delete_async(f"yardstick/from/{number}")

    began = time.perf_counter()
    await asyncio.gather(*(working() for _ in range(AT_ONCE)))
    return images / (time.perf_counter() - began)
