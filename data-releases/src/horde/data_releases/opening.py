"""The buckets and keys that the settings name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime

from horde.buckets.directory import DirectoryBucket
from horde.buckets.port import Bucket
from horde.buckets.s3 import S3Bucket
from horde.data_releases.keys import Keys, load_pseudonym_key, load_signing_key
from horde.data_releases.settings import DataReleaseSettings


@asynccontextmanager
async def open_releases(
    settings: DataReleaseSettings, now: Callable[[], datetime], *, write: bool = False
) -> AsyncIterator[Bucket]:
    """The bucket of releases."""
    async with AsyncExitStack() as stack:
        if settings.s3_endpoint:
            yield await stack.enter_async_context(_s3(settings, settings.releases_bucket, read_only=not write))
        else:
            yield await stack.enter_async_context(DirectoryBucket(settings.releases_dir, now, plain=True))


@asynccontextmanager
async def open_shared(settings: DataReleaseSettings, now: Callable[[], datetime]) -> AsyncIterator[Bucket]:
    """The shared bucket, to read."""
    async with AsyncExitStack() as stack:
        if settings.s3_endpoint:
            yield await stack.enter_async_context(_s3(settings, settings.shared_bucket, read_only=True))
        else:
            yield await stack.enter_async_context(DirectoryBucket(settings.shared_dir, now, plain=True))


def load_keys(settings: DataReleaseSettings) -> Keys:
    """The operator's secrets."""
    return Keys(load_signing_key(settings.signing_key_file), load_pseudonym_key(settings.pseudonym_key_file))


def _s3(settings: DataReleaseSettings, bucket: str, *, read_only: bool) -> S3Bucket:
    assert settings.secret_file is not None
    return S3Bucket(
        settings.s3_endpoint,
        bucket,
        settings.access_key,
        settings.secret_file.read_text().strip(),
        settings.s3_region,
        settings.s3_secure,
        read_only=read_only,
        patient=True,
    )
