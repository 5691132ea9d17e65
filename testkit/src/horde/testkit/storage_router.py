"""The kit for tests of the storage router: pictures, tokens, and a worker's and a requester's side of its door."""

from __future__ import annotations

import asyncio
import hashlib
import io
import random
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from grpc import aio
from PIL import Image

from horde.api.job.v1 import job_pb2
from horde.api.storage.v1 import storage_service_pb2 as storage
from horde.api.storage.v1.storage_service_pb2_grpc import StorageServiceStub
from horde.buckets.directory import DirectoryBucket
from horde.buckets.memory import MemoryBucket
from horde.buckets.port import Bucket
from horde.internal.storage.v1 import object_service_pb2 as objects
from horde.internal.storage.v1.object_service_pb2_grpc import ObjectServiceStub
from horde.services.clock import Clock
from horde.services.identity import BadProof, CallerNotAllowed
from horde.services.tokens import Signer, TokenError, Verifier, key_id_of
from horde.storage_router import decoder_child
from horde.storage_router.core import keys
from horde.storage_router.core.errors import ERRORS
from horde.storage_router.core.inspection import inspect
from horde.storage_router.core.pictures import Change, Limits, Picture
from horde.storage_router.core.placement import Placement, PlacementFacts, place
from horde.storage_router.core.records import Content
from horde.storage_router.decoding import Decoder, DecoderPool
from horde.storage_router.doors.permits import AUDIENCE, ISSUER
from horde.storage_router.expiry import Sweeper
from horde.storage_router.normalising import Normalised, Normaliser
from horde.storage_router.router import ALLOW, Buckets, Decoders, build
from horde.storage_router.settings import StorageRouterSettings
from horde.storage_router.upload_shares import UploadShares
from horde.testkit.loopback import loopback

NOT_ASKED = PlacementFacts(anonymous=False, asked=False, has_input=False, consent_text_version="2026-11")
LIFETIME = timedelta(minutes=10)


@lru_cache(maxsize=256)
def paint(format: str = "WEBP", width: int = 64, height: int = 64, seed: int = 0, **options: Any) -> bytes:
    """A picture, another one for each seed."""
    noise = random.Random(seed)
    small = Image.frombytes("RGB", (8, 8), noise.randbytes(192))
    out = io.BytesIO()
    small.resize((width, height)).save(out, format, **options)
    return out.getvalue()


def make_signer(issuer: str, seed: int = 0) -> Signer:
    """A signer with a key that follows from issuer and seed."""
    key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"{issuer} {seed}".encode()).digest())
    return Signer(key_id_of(key.public_key()), key, issuer)


class NoDecoder:
    """Believes every body; counts."""

    def __init__(self) -> None:
        self.decoded = 0

    async def decode(self, data: bytes, picture: Picture, owner: str, *, known: bool) -> None:
        self.decoded += 1

    async def sketch(self, data: bytes, content: Content) -> bytes:
        kind = {"jpg": "JPEG"}.get(content.format.value, content.format.value.upper())
        return decoder_child.sketch(kind, content.width, content.height, data)[1]


class AsSent:
    """Takes every input for a plain file, if its structure is one's."""

    async def normalise(self, data: bytes, format: str, limits: Limits, requester: str) -> Normalised:
        return Normalised(data, inspect(data, limits), Change.NONE)


@dataclass(frozen=True)
class Job:
    """One image on its way through the mesh, with what every party says about it."""

    job_id: str = "9b2d8c1e-0000-5000-8000-000000000001"
    lease_id: str = "1.1"
    object_name: str = "0123456789abcdef0123456789abcdef"
    requester: str = "alice"
    facts: PlacementFacts = NOT_ASKED
    width: int = 64
    height: int = 64
    max_bytes: int = 1 << 20

    @classmethod
    def numbered(cls, number: int, **others: Any) -> Job:
        """A job with ids of its own."""
        return cls(
            job_id=f"9b2d8c1e-0000-5000-8000-{number:012x}",
            lease_id=f"1.{number}",
            object_name=f"{number:032x}",
            **others,
        )

    @property
    def placement(self) -> Placement:
        return place(self.facts)

    def shared(self) -> Job:
        """The same, shared because it was asked for."""
        return replace(self, facts=replace(self.facts, asked=True))

    def grant_claims(self) -> dict[str, Any]:
        return {
            "act": "upload_image",
            "job_id": self.job_id,
            "lease_id": self.lease_id,
            "generation_id": "9b2d8c1e-0000-5000-8000-00000000000f",
            "worker_id": "worker-1",
            "owner": "bob",
            "width": self.width,
            "height": self.height,
            "max_bytes": self.max_bytes,
            "placement": self.placement.value,
            "facts": {
                "anonymous": self.facts.anonymous,
                "asked": self.facts.asked,
                "has_input": self.facts.has_input,
                "consent_text_version": self.facts.consent_text_version,
            },
        }

    def image_ticket_claims(self, image: bytes) -> dict[str, Any]:
        return {
            "act": "get_image",
            "job_id": self.job_id,
            "object_name": self.object_name,
            "placement": self.placement.value,
            "sha256": hashlib.sha256(image).hexdigest(),
            "requester": self.requester,
        }

    def commit(self, image: bytes) -> objects.CommitObject:
        """The scheduler's order."""
        commit = objects.CommitObject(
            job_id=self.job_id,
            lease_id=self.lease_id,
            generation_id="9b2d8c1e-0000-5000-8000-00000000000f",
            requester=requester_message(self.requester),
            sha256=hashlib.sha256(image).digest(),
            placement=job_pb2.Placement.Value(f"PLACEMENT_{self.placement.value}"),
            facts=job_pb2.PlacementFacts(
                anonymous=self.facts.anonymous,
                asked=self.facts.asked,
                has_input=self.facts.has_input,
                consent_text_version=self.facts.consent_text_version,
            ),
            object_name=self.object_name,
            spec=job_pb2.JobSpec(model="paintbox", image=job_pb2.ImageSpec(prompt="a red door", seed=7)),
        )
        commit.keep_for.FromTimedelta(timedelta(days=1))
        commit.accepted_at.FromJsonString("2026-01-01T00:00:00Z")
        return commit

    def withdrawal(self) -> objects.WithdrawObject:
        return objects.WithdrawObject(
            job_id=self.job_id,
            object_name=self.object_name,
            placement=job_pb2.Placement.Value(f"PLACEMENT_{self.placement.value}"),
        )


def requester_message(text: str) -> job_pb2.Requester:
    """A requester identity from its text form."""
    account, _, digest = text.partition(":")
    return job_pb2.Requester(account_id=account, anonymous_digest=bytes.fromhex(digest))


@dataclass
class Kit:
    """A running router and everybody around it."""

    private: Bucket
    shared: Bucket
    clock: Clock
    sweeper: Sweeper
    shares: UploadShares
    decoder: Decoder
    door: StorageServiceStub
    orders: ObjectServiceStub
    channel: aio.Channel
    target: str
    gateway: Signer = field(default_factory=lambda: make_signer("gateway"))
    scheduler: Signer = field(default_factory=lambda: make_signer("scheduler"))
    curation: Signer = field(default_factory=lambda: make_signer("curation"))

    def grant(self, job: Job, **claims: Any) -> str:
        """What a worker gets with its lease."""
        return self.scheduler.sign(AUDIENCE, {**job.grant_claims(), **claims}, LIFETIME, self.clock.now())

    def ticket(self, claims: Mapping[str, Any]) -> str:
        """What the gateway gives a requester."""
        return self.gateway.sign(AUDIENCE, claims, LIFETIME, self.clock.now())

    def input_ticket(self, input_id: str, requester: str = "alice", max_bytes: int = 1 << 20) -> str:
        return self.ticket({"act": "put_input", "input_id": input_id, "requester": requester, "max_bytes": max_bytes})

    async def upload(self, job: Job, image: bytes, grant: str | None = None, chunk: int = 16 * 1024) -> str:
        """Upload as a well-behaved worker does; the receipt."""
        call = self.door.UploadImage()
        await call.write(
            storage.UploadImageRequest(open=storage.UploadImageOpen(grant=self.grant(job) if grant is None else grant))
        )
        answer = await call.read()
        if isinstance(answer, storage.UploadImageResponse) and answer.HasField("resume"):
            for message in cut(image, answer.resume.offset, chunk):
                await call.write(storage.UploadImageRequest(chunk=message))
            await call.write(storage.UploadImageRequest(finish=finish(image)))
            answer = await call.read()
        if not isinstance(answer, storage.UploadImageResponse):
            code = await call.code()
            raise AssertionError(f"the stream ended without a receipt: {code}")
        await call.done_writing()
        return answer.receipt.receipt

    async def put(self, job: Job, image: bytes, grant: str | None = None) -> str:
        """Upload in one message, as a well-behaved worker does with a small image; the receipt."""
        request = storage.PutImageRequest(
            grant=self.grant(job) if grant is None else grant, data=image, sha256=finish(image).sha256
        )
        return (await self.door.PutImage(request)).receipt

    async def received(self, count: int) -> None:
        """Wait until so many bytes of uploads have arrived."""
        while self.shares.images.used + self.shares.inputs.used != count:  # noqa: ASYNC110 - it is what arrives over the wire
            await asyncio.sleep(0.002)

    async def put_input(self, ticket: str, image: bytes) -> storage.StoredInput:
        """Put an input as a well-behaved requester does."""
        answer = await self.door.PutInput(
            iter(
                [
                    storage.PutInputRequest(open=storage.PutInputOpen(ticket=ticket)),
                    *(storage.PutInputRequest(chunk=message) for message in cut(image)),
                    storage.PutInputRequest(finish=finish(image)),
                ]
            )
        )
        return answer.input

    async def download(self, ticket: str, offset: int = 0) -> tuple[storage.DownloadHeader, bytes]:
        """Download; what it is, and the bytes from `offset` on."""
        header, data = storage.DownloadHeader(), b""
        async for part in self.door.Download(storage.DownloadRequest(ticket=ticket, offset=offset)):
            if part.HasField("header"):
                header = part.header
            else:
                assert part.chunk.offset == offset + len(data)
                data += part.chunk.data
        return header, data

    async def commit(self, *commits: objects.CommitObject) -> Sequence[objects.CommitObjectOutcome]:
        return (await self.orders.CommitObjects(objects.CommitObjectsRequest(commits=commits))).outcomes


def cut(image: bytes, start: int = 0, size: int = 16 * 1024) -> Iterator[storage.Chunk]:
    """An image in chunks."""
    for offset in range(start, len(image), size):
        yield storage.Chunk(offset=offset, data=image[offset : offset + size])


def finish(image: bytes) -> storage.UploadFinish:
    """The end of its upload."""
    return storage.UploadFinish(sha256=hashlib.sha256(image).digest(), size_bytes=len(image))


@asynccontextmanager
async def kit(
    clock: Clock,
    *,
    private: Bucket | None = None,
    shared: Bucket | None = None,
    decoder: Decoder | None = None,
    normaliser: Normaliser | None = None,
    caller: str = "scheduler",
    state_dir: Path = Path("unused"),
    releases: Path | None = None,
    **settings: Any,
) -> AsyncIterator[Kit]:
    """A router on a free port, with buckets in memory and keys of its own."""
    private = MemoryBucket(clock.now) if private is None else private
    shared = MemoryBucket(clock.now) if shared is None else shared
    chosen = StorageRouterSettings(state_dir=state_dir, **settings)
    signers = [make_signer(name) for name in ("gateway", "scheduler", ISSUER, "curation")]
    verifier = Verifier({signer.key_id: signer.public_key() for signer in signers})
    released = None if releases is None else DirectoryBucket(releases, clock.now, plain=True)
    decoder = NoDecoder() if decoder is None else decoder
    decoders = Decoders(decoder, AsSent() if normaliser is None else normaliser)
    router = build(chosen, Buckets(private, shared, released), decoders, verifier, signers[2], clock)
    errors = (*ERRORS, *_all(TokenError), BadProof, CallerNotAllowed)
    async with loopback(router.registrations, caller=caller, allow=ALLOW, errors=errors) as loop:
        yield Kit(
            private,
            shared,
            clock,
            router.sweeper,
            router.shares,
            decoder,
            StorageServiceStub(loop.channel),
            ObjectServiceStub(loop.channel),
            loop.channel,
            loop.target,
        )


def _all(base: type[TokenError]) -> list[type[TokenError]]:
    return [kind for child in base.__subclasses__() for kind in (child, *_all(child))]


async def keys_of(bucket: Bucket) -> list[str]:
    """Every key in a bucket, whatever its folder; but not the signs that something is closed or claimed.

    In quarantine the sign is an empty object.
    """
    folders = (keys.QUARANTINE, keys.INPUTS, keys.CLAIMS, keys.IMAGES, keys.WITHDRAWN)
    listed = await asyncio.gather(*(bucket.page(prefix) for prefix in folders))
    found = [entry for page in listed for entry in page]
    return sorted(entry.key for entry in found if entry.size_bytes or not entry.key.startswith(keys.QUARANTINE))


__all__ = ["DecoderPool", "Job", "Kit", "NoDecoder", "cut", "finish", "keys_of", "kit", "make_signer", "paint"]
