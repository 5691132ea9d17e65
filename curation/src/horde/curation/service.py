"""The service put together: settings in, servicers and loops out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from random import SystemRandom

from horde.api.generation.v1 import generation_service_pb2
from horde.api.generation.v1.generation_service_pb2_grpc import add_GenerationServiceServicer_to_server
from horde.api.moderation.v1 import moderation_service_pb2
from horde.api.moderation.v1.moderation_service_pb2_grpc import add_ModerationServiceServicer_to_server
from horde.api.rating.v1 import rating_service_pb2
from horde.api.rating.v1.rating_service_pb2_grpc import add_RatingServiceServicer_to_server
from horde.api.release.v1 import data_release_service_pb2
from horde.api.release.v1.data_release_service_pb2_grpc import add_DataReleaseServiceServicer_to_server
from horde.buckets.directory import DirectoryBucket
from horde.buckets.port import Bucket
from horde.buckets.s3 import S3Bucket
from horde.curation.core.rating import RULES
from horde.curation.doors.account_servicer import AccountServicer
from horde.curation.doors.moderation_servicer import ModerationServicer
from horde.curation.doors.rating_servicer import RatingServicer
from horde.curation.doors.release_servicer import DataReleaseServicer
from horde.curation.doors.sharing_servicer import SharingServicer
from horde.curation.estimates import Estimates
from horde.curation.exporting import RatingsFile
from horde.curation.following import Follower
from horde.curation.moderation import Moderation
from horde.curation.neighbours.builders import ChildBuilder, OperatorsBuilder
from horde.curation.neighbours.ledger import LedgerPayer, Nobody, Payer
from horde.curation.neighbours.release_bucket import ReleaseBucket
from horde.curation.neighbours.shared_bucket import SharedBucket
from horde.curation.neighbours.storage import StorageRouter
from horde.curation.neighbours.verdicts import Verdicts
from horde.curation.ratings import Ratings
from horde.curation.releases import DataReleases
from horde.curation.settings import CurationSettings
from horde.curation.sharing import Sharing
from horde.curation.store.sql import sql_store
from horde.curation.tickets import Tickets
from horde.internal.curation.v1 import account_service_pb2
from horde.internal.curation.v1.account_service_pb2_grpc import add_AccountServiceServicer_to_server
from horde.services.channel import dial
from horde.services.clock import Clock
from horde.services.identity import AllowList
from horde.services.ids import Ids, RandomIds
from horde.services.keepalive import LED
from horde.services.leadership import in_charge
from horde.services.loops import Loops
from horde.services.server import Registration, Server, serving
from horde.services.telemetry import get_logger
from horde.services.tokens import Signer

log = get_logger(__name__)

NAME = "curation"
LOCK_KEY = 0x686F726465_637572
"""("horde", "cur")."""
GATEWAY = "gateway"

ACCOUNTS = account_service_pb2.DESCRIPTOR.services_by_name["AccountService"].full_name
GENERATION = generation_service_pb2.DESCRIPTOR.services_by_name["GenerationService"].full_name
MODERATION = moderation_service_pb2.DESCRIPTOR.services_by_name["ModerationService"].full_name
RATING = rating_service_pb2.DESCRIPTOR.services_by_name["RatingService"].full_name
RELEASES = data_release_service_pb2.DESCRIPTOR.services_by_name["DataReleaseService"].full_name

ALLOW = AllowList({f"/{service}/*": {GATEWAY} for service in (ACCOUNTS, GENERATION, MODERATION, RATING, RELEASES)})
"""Of GenerationService two methods are answered here, and the gateway asks for no others."""


def open_shared(settings: CurationSettings, now: Callable[[], datetime]) -> AbstractAsyncContextManager[Bucket]:
    """The bucket of shared images."""
    return _open(settings, settings.shared_bucket, settings.shared_dir, now)


def open_releases(settings: CurationSettings, now: Callable[[], datetime]) -> AbstractAsyncContextManager[Bucket]:
    """The bucket of data releases."""
    return _open(settings, settings.releases_bucket, settings.releases_dir, now)


@asynccontextmanager
async def _open(
    settings: CurationSettings, name: str, folder: Path, now: Callable[[], datetime]
) -> AsyncIterator[Bucket]:
    async with AsyncExitStack() as stack:
        if not settings.s3_endpoint:
            kept = await stack.enter_async_context(DirectoryBucket(folder, now, plain=True))
            log.info("bucket", at=kept.where)
            yield kept
            return
        assert settings.secret_file is not None
        # Verdicts alone are written, over what was there: nothing that needs create-if-absent.
        bucket = S3Bucket(
            settings.s3_endpoint,
            name,
            settings.access_key,
            settings.secret_file.read_text().strip(),
            settings.s3_region,
            settings.s3_secure,
            read_only=True,
        )
        await stack.enter_async_context(bucket)
        log.info("bucket", at=bucket.where)
        yield bucket


@asynccontextmanager
async def open_payer(settings: CurationSettings) -> AsyncIterator[Payer]:
    """Who pays for ratings."""
    if not settings.ledger:
        yield Nobody()
        return
    tls = settings.tls() if settings.tls_authorities is not None else None
    dialled = dial(settings.ledger, caller=settings.credentials(NAME), tls=tls, neighbour="ledger", keepalive=LED)
    async with dialled as channel:
        yield LedgerPayer(channel)


@asynccontextmanager
async def open_router(settings: CurationSettings) -> AsyncIterator[StorageRouter]:
    """Who takes shared images away."""
    tls = settings.tls() if settings.tls_authorities is not None else None
    dialled = dial(settings.storage_router, caller=settings.credentials(NAME), tls=tls, neighbour="storage router")
    async with dialled as channel:
        yield StorageRouter(channel)


@asynccontextmanager
async def serve(settings: CurationSettings, clock: Clock, ids: Ids | None = None) -> AsyncIterator[Server]:
    """Serve, and follow the shared bucket, for as long as the block. Ends if a loop of it dies."""
    settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with (
        # One builds, follows and tells; others stand by.
        in_charge(settings.url(), LOCK_KEY, clock),
        sql_store(settings.url()) as store,
        open_shared(settings, clock.now) as shared,
        open_releases(settings, clock.now) as released,
        open_payer(settings) as payer,
        open_router(settings) as router,
        Loops() as loops,
    ):
        bucket = SharedBucket(shared)
        follower = Follower(bucket, store, clock, timedelta(seconds=settings.follow_seconds))
        moderation = Moderation(
            store, bucket, Verdicts(shared, clock.now, settings.state_dir), clock, ids or RandomIds()
        )
        signing_key = settings.signing_key_file or settings.state_dir / "tickets.pem"
        signer = Signer.from_file(signing_key, NAME, settings.public_keys_dir)
        release_bucket = ReleaseBucket(released)
        ratings = Ratings(store, release_bucket, payer, clock, SystemRandom(), RULES)
        tickets = Tickets(signer, clock, settings.storage_address)
        builder = (
            ChildBuilder(settings, RatingsFile(store, settings.state_dir / "builder"))
            if settings.builder == "child"
            else OperatorsBuilder()
        )
        estimates = Estimates(builder, clock)
        releases = DataReleases(store, release_bucket, builder, clock, estimates)
        sharing = Sharing(store, release_bucket, router, clock)
        # What these lack is answered UNIMPLEMENTED by the chassis.
        moderation_door = ModerationServicer(moderation, tickets, clock)  # type: ignore[abstract]
        releases_door = DataReleaseServicer(releases, tickets)
        sharing_door = SharingServicer(sharing)  # type: ignore[abstract]
        rating_door = RatingServicer(ratings, tickets)
        registrations = (
            Registration(add_GenerationServiceServicer_to_server, sharing_door, GENERATION),
            Registration(add_ModerationServiceServicer_to_server, moderation_door, MODERATION),
            Registration(add_RatingServiceServicer_to_server, rating_door, RATING),
            Registration(add_DataReleaseServiceServicer_to_server, releases_door, RELEASES),
            Registration(add_AccountServiceServicer_to_server, AccountServicer(store, clock), ACCOUNTS),
        )
        async with serving(
            settings.listener(),
            registrations,
            name=NAME,
            allow=ALLOW,
            identity=settings.identity(),
            reflection=settings.reflection,
            grace=timedelta(seconds=settings.grace_seconds),
            keepalive=LED,
        ) as server:
            loops.start("follower", follower.run())
            loops.start("verdicts", moderation.run())
            loops.start("releases", releases.run())
            loops.start("estimates", estimates.run())
            loops.start("wishes", sharing.run())
            loops.start("rewards", ratings.run())
            yield server
