"""The service put together: settings in, servicers and loops out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta

from horde.api.moderation.v1 import moderation_service_pb2
from horde.api.moderation.v1.moderation_service_pb2_grpc import add_ModerationServiceServicer_to_server
from horde.api.rating.v1 import rating_service_pb2
from horde.api.rating.v1.rating_service_pb2_grpc import add_RatingServiceServicer_to_server
from horde.api.release.v1 import data_release_service_pb2
from horde.api.release.v1.data_release_service_pb2_grpc import add_DataReleaseServiceServicer_to_server
from horde.buckets.directory import DirectoryBucket
from horde.buckets.port import Bucket
from horde.buckets.s3 import S3Bucket
from horde.curation.doors.moderation_servicer import ModerationServicer
from horde.curation.doors.rating_servicer import RatingServicer
from horde.curation.doors.release_servicer import DataReleaseServicer
from horde.curation.following import Follower
from horde.curation.moderation import Moderation
from horde.curation.neighbours.shared_bucket import SharedBucket
from horde.curation.neighbours.verdicts import Verdicts
from horde.curation.settings import CurationSettings
from horde.curation.store.sql import sql_store
from horde.curation.tickets import Tickets
from horde.services.clock import Clock
from horde.services.identity import AllowList
from horde.services.ids import Ids, RandomIds
from horde.services.loops import Loops
from horde.services.server import Registration, Server, serving
from horde.services.tokens import Signer

NAME = "curation"
GATEWAY = "gateway"

MODERATION = moderation_service_pb2.DESCRIPTOR.services_by_name["ModerationService"].full_name
RATING = rating_service_pb2.DESCRIPTOR.services_by_name["RatingService"].full_name
RELEASES = data_release_service_pb2.DESCRIPTOR.services_by_name["DataReleaseService"].full_name

ALLOW = AllowList({f"/{service}/*": {GATEWAY} for service in (MODERATION, RATING, RELEASES)})


@asynccontextmanager
async def open_shared(settings: CurationSettings, now: Callable[[], datetime]) -> AsyncIterator[Bucket]:
    """The bucket of shared images."""
    async with AsyncExitStack() as stack:
        if not settings.s3_endpoint:
            yield await stack.enter_async_context(DirectoryBucket(settings.shared_dir, now, plain=True))
            return
        assert settings.secret_file is not None
        # Verdicts alone are written, over what was there: nothing that needs create-if-absent.
        bucket = S3Bucket(
            settings.s3_endpoint,
            settings.shared_bucket,
            settings.access_key,
            settings.secret_file.read_text().strip(),
            settings.s3_region,
            settings.s3_secure,
            read_only=True,
        )
        yield await stack.enter_async_context(bucket)


@asynccontextmanager
async def serve(settings: CurationSettings, clock: Clock, ids: Ids | None = None) -> AsyncIterator[Server]:
    """Serve, and follow the shared bucket, for as long as the block. Ends if a loop of it dies."""
    settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with (
        sql_store(settings.url()) as store,
        open_shared(settings, clock.now) as shared,
        Loops() as loops,
    ):
        bucket = SharedBucket(shared)
        follower = Follower(bucket, store, clock, timedelta(seconds=settings.follow_seconds))
        moderation = Moderation(store, bucket, Verdicts(shared, clock.now), clock, ids or RandomIds())
        signing_key = settings.signing_key_file or settings.state_dir / "tickets.pem"
        signer = Signer.from_file(signing_key, NAME, settings.public_keys_dir)
        tickets = Tickets(signer, clock, settings.storage_address)
        # What these lack is answered UNIMPLEMENTED by the chassis.
        moderation_door = ModerationServicer(moderation, tickets, clock)  # type: ignore[abstract]
        rating_door = RatingServicer()  # type: ignore[abstract]
        releases_door = DataReleaseServicer()  # type: ignore[abstract]
        registrations = (
            Registration(add_ModerationServiceServicer_to_server, moderation_door, MODERATION),
            Registration(add_RatingServiceServicer_to_server, rating_door, RATING),
            Registration(add_DataReleaseServiceServicer_to_server, releases_door, RELEASES),
        )
        async with serving(
            settings.listener(),
            registrations,
            name=NAME,
            allow=ALLOW,
            identity=settings.identity(),
            reflection=settings.reflection,
            grace=timedelta(seconds=settings.grace_seconds),
        ) as server:
            loops.start("follower", follower.run())
            loops.start("verdicts", moderation.run())
            yield server
