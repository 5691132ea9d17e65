"""The auditor with what its settings name: two buckets, to look into, and a scheduler to ask."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from horde.auditor.auditor import Auditor, Bounds
from horde.auditor.private_audit import PrivateAudit
from horde.auditor.progress import ProgressFile
from horde.auditor.settings import AuditorSettings
from horde.auditor.shared_audit import SharedAudit
from horde.auditor.truth import SchedulerTruth
from horde.buckets.directory import DirectoryBucket
from horde.buckets.s3 import S3Bucket
from horde.services.channel import dial
from horde.services.clock import Clock
from horde.services.keepalive import LED
from horde.services.telemetry import get_logger

log = get_logger(__name__)

NAME = "auditor"
"""As a caller of the scheduler."""
MAX_MESSAGE = 16 << 20
TIMEOUT = timedelta(seconds=60)


@asynccontextmanager
async def open_auditor(settings: AuditorSettings, clock: Clock) -> AsyncIterator[Auditor]:
    """An auditor that can look."""
    settle = timedelta(seconds=settings.settle_seconds)
    async with (
        _bucket(settings, clock, private=False) as shared,
        _bucket(settings, clock, private=True) as private,
        dial(
            settings.scheduler, neighbour="scheduler", caller=settings.credentials(NAME), tls=settings.tls(),
            timeout=TIMEOUT, max_message_bytes=MAX_MESSAGE, keepalive=LED,
        ) as channel,
    ):  # fmt: skip
        for bucket in (shared, private):
            log.info("bucket", at=bucket.where)
        truth = SchedulerTruth(channel)
        yield Auditor(
            truth,
            SharedAudit(shared, truth, clock.now, settle, settings.sample_per_mille),
            PrivateAudit(private, truth, clock.now, settle),
            ProgressFile(settings.state_dir),
            clock,
            Bounds(settings.new_images, settings.slice_objects, settle),
        )


def _bucket(settings: AuditorSettings, clock: Clock, *, private: bool) -> DirectoryBucket | S3Bucket:
    if not settings.s3_endpoint:
        folder = settings.private_dir if private else settings.shared_dir
        return DirectoryBucket(folder, clock.now, plain=not private)
    assert settings.secret_file is not None
    return S3Bucket(
        settings.s3_endpoint,
        settings.private_bucket if private else settings.shared_bucket,
        settings.access_key,
        settings.secret_file.read_text().strip(),
        settings.s3_region,
        settings.s3_secure,
        read_only=True,
    )
