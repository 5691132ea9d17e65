"""The service put together: buckets and keys in, servicers and the sweeper out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from horde.api.storage.v1 import storage_service_pb2 as storage
from horde.api.storage.v1.storage_service_pb2_grpc import add_StorageServiceServicer_to_server
from horde.buckets.directory import DirectoryBucket
from horde.buckets.port import Bucket
from horde.buckets.s3 import S3Bucket
from horde.internal.storage.v1 import object_service_pb2 as objects
from horde.internal.storage.v1.object_service_pb2_grpc import add_ObjectServiceServicer_to_server
from horde.services.brakes import Brake
from horde.services.clock import Clock
from horde.services.cutting import Cutter
from horde.services.identity import PUBLIC, AllowList
from horde.services.loops import Loops
from horde.services.server import Registration, Server, serving
from horde.services.telemetry import get_logger
from horde.services.tokens import KeyRing, Signer, Verifier
from horde.storage_router.arrivals import Arrivals
from horde.storage_router.budget import ByteBudget
from horde.storage_router.checks import Checks
from horde.storage_router.commits import Commits
from horde.storage_router.comparisons import Comparisons
from horde.storage_router.core.assembly import MinimumRate
from horde.storage_router.core.failures import Failures
from horde.storage_router.core.partials import Partials
from horde.storage_router.core.pictures import Limits
from horde.storage_router.decoding import Decoder, DecoderPool
from horde.storage_router.doors.items import Items
from horde.storage_router.doors.permits import CURATION, GATEWAY, ISSUER, SCHEDULER, Permits, Receipts
from horde.storage_router.doors.servicer import ObjectServicer, StorageServicer
from horde.storage_router.downloads import Downloads
from horde.storage_router.expiry import Sweeper
from horde.storage_router.input_orders import InputOrders
from horde.storage_router.input_uploads import InputUploads
from horde.storage_router.inputs import KEPT as INPUTS_KEPT
from horde.storage_router.inputs import SLACK, Inputs
from horde.storage_router.normalising import Normaliser
from horde.storage_router.private_images import PrivateImages
from horde.storage_router.quarantine import Quarantine
from horde.storage_router.receiving import Receiver
from horde.storage_router.room import Room
from horde.storage_router.settings import StorageRouterSettings, read_secret
from horde.storage_router.shared_images import SharedImages
from horde.storage_router.upload_shares import UploadShares
from horde.storage_router.uploads import Uploads

log = get_logger(__name__)

NAME = "storage-router"
UNREAD_BYTES = 64 * 1024
"""Of each stream, that nobody has read: one that is refused has sent no more. A chunk that is read may be larger."""
ARRIVED_BYTES = 32 * 1024 * 1024
"""Images that came a moment ago and are kept in memory for their commit."""
INPUTS_STAND_BACK = 5
"""How far an input's child stands back behind everything else, and how many times as long it may take."""

_STORAGE = storage.DESCRIPTOR.services_by_name["StorageService"].full_name
_OBJECTS = objects.DESCRIPTOR.services_by_name["ObjectService"].full_name

ALLOW = AllowList(
    {
        f"/{_STORAGE}/*": PUBLIC,
        f"/{_OBJECTS}/*": {SCHEDULER},
        f"/{_OBJECTS}/DescribeInputs": {SCHEDULER, GATEWAY},
        f"/{_OBJECTS}/DeleteInputs": {GATEWAY},
        # Of what is shared alone, see the servicer.
        f"/{_OBJECTS}/WithdrawObjects": {SCHEDULER, CURATION},
        f"/{_OBJECTS}/ForgetRequester": {GATEWAY},
    }
)
"""Who may call what. StorageService is guarded by tokens."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """The two buckets. The shared one goes to SharedImages and nowhere else. Data releases are only read."""

    private: Bucket
    shared: Bucket
    releases: Bucket | None = None


@dataclass(frozen=True, slots=True)
class Router:
    """A storage router that can be served."""

    registrations: tuple[Registration, ...]
    sweeper: Sweeper
    shares: UploadShares
    """Bytes of uploads on their way."""


@asynccontextmanager
async def open_buckets(settings: StorageRouterSettings, clock: Clock) -> AsyncIterator[Buckets]:
    """The buckets that the settings name: folders, or of an S3 server with a credential for each."""
    async with AsyncExitStack() as stack:
        if not settings.s3_endpoint:
            root = settings.state_dir
            folders = [DirectoryBucket(root / "private", clock.now)]
            folders += [
                DirectoryBucket(folder, clock.now, plain=True)
                for folder in (root / "shared", settings.releases_dir)
                if folder is not None
            ]
            for bucket in folders:
                await stack.enter_async_context(bucket)
                log.info("bucket", at=bucket.where)
            yield Buckets(*folders)
            return
        assert settings.private_secret_file is not None
        assert settings.shared_secret_file is not None
        opened = [
            await stack.enter_async_context(
                S3Bucket(
                    settings.s3_endpoint,
                    name,
                    access_key,
                    read_secret(secret).get_secret_value(),
                    settings.s3_region,
                    settings.s3_secure,
                )
            )
            for name, access_key, secret in (
                (settings.private_bucket, settings.private_access_key, settings.private_secret_file),
                (settings.shared_bucket, settings.shared_access_key, settings.shared_secret_file),
            )
        ]
        for opened_one in opened:
            log.info("bucket", at=opened_one.where)
        yield Buckets(*opened)


@dataclass(frozen=True, slots=True)
class Decoders:
    """The children that decode: images and inputs apart, so that neither waits for the other."""

    images: Decoder
    inputs: Normaliser


@asynccontextmanager
async def open_decoders(settings: StorageRouterSettings) -> AsyncIterator[Decoders]:
    """The children, started at first need."""
    pixels, memory, seconds = settings.max_pixels, settings.decoder_memory_bytes, settings.decoder_timeout_seconds
    back = INPUTS_STAND_BACK
    async with (
        DecoderPool(settings.decoders, pixels, memory, seconds) as images,
        DecoderPool(settings.input_decoders, pixels, memory, back * seconds, settings.max_image_bytes, back) as inputs,
    ):
        yield Decoders(images, inputs)


def build(
    settings: StorageRouterSettings,
    buckets: Buckets,
    decoders: Decoders,
    verifier: Verifier,
    signer: Signer,
    clock: Clock,
) -> Router:
    """Put the service together."""
    limits = Limits(settings.max_image_bytes, settings.max_pixels)
    permits = Permits(verifier, signer, clock)
    quarantine = Quarantine(buckets.private)
    # From folders they are read again: it costs next to nothing, and a copy there is a second name of what lies there.
    arrivals = Arrivals(ARRIVED_BYTES if settings.s3_endpoint else 0, clock.monotonic)
    private = PrivateImages(buckets.private, clock.now)
    shared = SharedImages(buckets.shared, clock.now)
    inputs = Inputs(
        buckets.private, clock.now, Room(settings.max_stored_input_bytes, clock.monotonic, INPUTS_KEPT + SLACK)
    )
    partials = Partials(settings.max_partial_bytes, clock.monotonic)
    items = Items(settings.commit_concurrency)
    failures = Failures()
    shares = UploadShares(settings.max_memory_bytes, settings.max_input_memory_bytes, failures)
    receiver = Receiver(clock, MinimumRate(settings.minimum_bytes_per_second))
    uploads = Uploads(
        permits,
        Receipts(signer),
        quarantine,
        Checks(decoders.images, settings.decode_private),
        partials,
        arrivals,
        shares,
        failures,
        limits,
        receiver,
        clock,
    )
    input_uploads = InputUploads(permits, inputs, decoders.inputs, shares, failures, limits, receiver, clock)
    budget = ByteBudget("max_memory_bytes", settings.max_memory_bytes // 2)
    commits = Commits(quarantine, arrivals, private, shared, budget, items)
    # One pair at a time: nobody waits for it, and everybody for the decoders.
    comparisons = Comparisons(quarantine, private, shared, decoders.images, budget, Items(1))
    registrations = (
        Registration(
            add_StorageServiceServicer_to_server,
            StorageServicer(uploads, input_uploads, Downloads(permits, private, shared, inputs, buckets.releases)),  # type: ignore[abstract]
            _STORAGE,
        ),
        Registration(
            add_ObjectServiceServicer_to_server,
            ObjectServicer(commits, comparisons, InputOrders(inputs, items)),
            _OBJECTS,
        ),
    )
    return Router(registrations, Sweeper(buckets.private, inputs, partials, clock), shares)


@asynccontextmanager
async def serve(settings: StorageRouterSettings, clock: Clock) -> AsyncIterator[Server]:
    """Serve, and sweep, for as long as the block. A sweeper that ends by a defect ends the block."""
    settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = settings.signing_key_file or settings.state_dir / "receipts.key"
    signer = Signer.from_file(key, ISSUER, publish=settings.public_keys_dir)
    verifier = Verifier(KeyRing(settings.public_keys_dir, clock.monotonic))
    async with open_buckets(settings, clock) as buckets, open_decoders(settings) as decoders, Loops() as loops:
        router = build(settings, buckets, decoders, verifier, signer, clock)
        async with (
            serving(
                settings.listeners(),
                router.registrations,
                name=NAME,
                allow=ALLOW,
                identity=settings.identity(),
                reflection=settings.reflection,
                grace=timedelta(seconds=settings.grace_seconds),
                brake=Brake(clock, cuts=Cutter()),
                unread_bytes=UNREAD_BYTES,
                proxies=settings.proxies(),
            ) as server,
        ):
            loops.start("sweeper", router.sweeper.run(timedelta(seconds=settings.sweep_seconds)))
            yield server
