"""Looking at a running mesh from behind: the ledger's books, the buckets, and pictures to send in."""

from __future__ import annotations

import asyncio
import io
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

from grpc import aio
from PIL import Image as Pillow
from tests.conftest import BUCKETS

from horde.api.generation.v1.generation_pb2 import Generation, GenerationSpec, Image
from horde.api.job.v1.job_pb2 import JobEnding, Placement
from horde.api.ledger.v1.ledger_pb2 import AccountRef, Balance, Entry, LedgerAccountKind
from horde.buckets.tails import find_tail
from horde.cli.demo.buckets import Stored, list_bucket
from horde.cli.local.mesh import LocalMesh, WorkerPlan
from horde.cli.local.roles import Role
from horde.clients.client import HordeClient
from horde.clients.credentials import ApiKey, read_secret
from horde.clients.specs import generation_spec
from horde.internal.ledger.v1.ledger_service_pb2 import AuditRequest, GetBalancesRequest, GetEntriesRequest
from horde.internal.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from horde.services.channel import dial
from horde.services.identity import Credentials
from horde.testkit.s3 import ThrowawayS3
from horde.testkit.storage_remains import is_sign
from horde.testkit.waiting import HANG_SECONDS

PRIVATE, SHARED = Placement.PLACEMENT_PRIVATE, Placement.PLACEMENT_SHARED
DONE, CANCELLED = JobEnding.JOB_ENDING_DONE, JobEnding.JOB_ENDING_CANCELLED
FAULTED, EXPIRED = JobEnding.JOB_ENDING_FAULTED, JobEnding.JOB_ENDING_EXPIRED
CENSORED = JobEnding.JOB_ENDING_CENSORED

NO_LIMITS: Final = {
    f"LIMIT_{name}": "none"
    for name in (
        "ACCOUNT_CALLS",
        "ACCOUNT_IMAGES",
        "ANONYMOUS_CALLS",
        "ANONYMOUS_IMAGES",
        "ADDRESS_IMAGES",
        "ADDRESS_ACCOUNTS",
        "ADDRESS_CALLS",
        "ADDRESS_INPUTS",
        "ANONYMOUS_INPUTS",
        "ACCOUNT_INPUTS",
        "ADDRESS_FAILURES",
    )
}
"""Tests ask faster than people."""
QUIET: Final = {role: {"LOG_LEVEL": "warning"} for role in Role}
EXTRA: Final[Mapping[Role, Mapping[str, str]]] = {
    **QUIET,
    # Nor is anybody held back here who is refused again and again: the tests of the brake have their own meshes.
    Role.GATEWAY: {**QUIET[Role.GATEWAY], **NO_LIMITS, "BRAKE": "false"},
    # A worker that is gone is given up soon: its jobs go to another. The tests' own workers are no strangers.
    Role.SCHEDULER: {**QUIET[Role.SCHEDULER], "RESUME_GRACE_SECONDS": "2", "PROVEN_IMAGES": "0", "CHECKS_PART": "0"},
}
AWARD_MKUDOS: Final = 1_000_000_000


def small(prompt: str, **options: object) -> GenerationSpec:
    """A spec that costs little time: 64x64, 4 steps."""
    return generation_spec(prompt, **{"width": 64, "height": 64, "steps": 4, **options})  # type: ignore[arg-type]


def png(width: int = 64, height: int = 64, colour: str = "navy") -> bytes:
    """A picture of one colour."""
    buffer = io.BytesIO()
    Pillow.new("RGB", (width, height), colour).save(buffer, "PNG")
    return buffer.getvalue()


def scripted(name: str, **settings: str) -> WorkerPlan:
    """A worker whose painter does what prompts say."""
    quick = {"DRAIN_SECONDS": "2", "RECONNECT_FIRST_SECONDS": "0.1", "RECONNECT_LIMIT_SECONDS": "1"}
    return WorkerPlan(name, "scripted", {**quick, **settings})


@asynccontextmanager
async def rich_account(mesh: LocalMesh, name: str = "rich") -> AsyncIterator[HordeClient]:
    """A client of a new account with plenty of kudos."""
    async with mesh.client() as nobody:
        opened = await nobody.accounts.create(name)
    async with mesh.client(credential=ApiKey(read_secret(mesh.layout.operator_key) or "")) as operator:
        await operator.kudos.award(opened.account.account_id, AWARD_MKUDOS, reason="for a test")
    async with mesh.client(credential=ApiKey(opened.api_key)) as account:
        yield account


@asynccontextmanager
async def internal_channel(mesh: LocalMesh, role: Role, caller: str) -> AsyncIterator[aio.Channel]:
    """A channel to a service, as one of its neighbours: with the key of this run."""
    credentials = Credentials.from_key_file(caller, mesh.layout.key_file)
    async with dial(mesh.layout.address(role), caller=credentials) as channel:
        yield channel


@dataclass
class Books:
    """The ledger, read as the gateway reads it."""

    stub: LedgerServiceStub

    async def settlement_of(self, job_id: str) -> Entry | None:
        """The one entry that settled or released a job."""
        request = GetEntriesRequest(event_ids=[str(uuid.uuid5(uuid.UUID(job_id), "settle"))])
        outcome = (await self.stub.GetEntries(request)).outcomes[0]
        return outcome.entry if outcome.HasField("entry") else None

    async def balance(self, kind: LedgerAccountKind.ValueType, account_id: str = "") -> Balance:
        """One balance."""
        request = GetBalancesRequest(accounts=[AccountRef(kind=kind, account_id=account_id)])
        return (await self.stub.GetBalances(request)).balances[0]

    async def assert_balanced(self) -> None:
        """The sum over all accounts is zero, nothing is held any more, and every hash fits."""
        audit = await self.stub.Audit(AuditRequest())
        assert not audit.HasField("first_finding"), audit.first_finding
        assert audit.sum_of_all_mkudos == 0
        held = await self.balance(LedgerAccountKind.LEDGER_ACCOUNT_KIND_HELD)
        assert held.posted_mkudos == 0


@asynccontextmanager
async def books_of(mesh: LocalMesh) -> AsyncIterator[Books]:
    """The ledger's books."""
    async with internal_channel(mesh, Role.LEDGER, "gateway") as channel:
        yield Books(LedgerServiceStub(channel))


class Found(Protocol):
    """An object in a bucket."""

    @property
    def name(self) -> str: ...
    def read(self) -> bytes: ...
    def holds(self, content: bytes) -> bool: ...


@dataclass
class Buckets:
    """Both buckets, as they are now: folders, or those of the S3 server that the router was told to use."""

    mesh: LocalMesh
    private: Sequence[Found] = field(init=False)
    shared: Sequence[Found] = field(init=False)

    def __post_init__(self) -> None:
        endpoint = self.mesh.beyond(Role.STORAGE_ROUTER).get("S3_ENDPOINT")
        if endpoint is None:
            self.private = [each for each in list_bucket(self.mesh.layout.private_bucket) if not _is_sign(each)]
            self.shared = list_bucket(self.mesh.layout.shared_bucket)
        else:
            private, self.shared = (ThrowawayS3(endpoint).objects(name) for name in BUCKETS[:2])
            self.private = [file for file in private if not is_sign(file.name, file.size)]

    def quarantine(self, job_ids: set[str]) -> list[str]:
        """What lies in quarantine for these jobs."""
        inside = [file.name for file in self.private if file.name.startswith("quarantine/")]
        return [name for name in inside if any(job_id in name for job_id in job_ids)]

    def where(self, content: bytes) -> list[Placement.ValueType]:
        """In which buckets these bytes are, committed or not."""
        found = [PRIVATE for file in self.private if file.holds(content)]
        return found + [SHARED for file in self.shared if file.holds(content)]


def age_journal(mesh: LocalMesh, by: timedelta) -> None:
    """Move all that the shared bucket's journal has into the past: what a release waits for has passed."""

    def past(hour: str) -> str:
        return f"{datetime.fromisoformat(f'{hour}:00') - by:%Y-%m-%dT%H}"

    endpoint = mesh.beyond(Role.STORAGE_ROUTER).get("S3_ENDPOINT")
    if endpoint is None:
        for entry in sorted(mesh.layout.shared_bucket.glob("journal/*/*")):
            aged = entry.parents[1] / past(entry.parent.name) / entry.name
            aged.parent.mkdir(exist_ok=True)
            entry.rename(aged)
        return
    for found in ThrowawayS3(endpoint).objects(BUCKETS[1]):
        folder, _, rest = found.name.partition("/")
        if folder == "journal":
            hour, _, image_id = rest.partition("/")
            found.admin.put_object(BUCKETS[1], f"journal/{past(hour)}/{image_id}", io.BytesIO(b""), 0)
            found.admin.remove_object(BUCKETS[1], found.name)


def _is_sign(found: Stored) -> bool:
    """Whether a file is the sign of a closed lease. What was taken away since it was listed is nothing either."""
    try:
        tail = find_tail(found.read())
    except FileNotFoundError:
        return True
    return tail is not None and is_sign(found.name, tail.size_bytes)


async def eventually(holds: Callable[[], bool], what: str) -> None:
    """Wait for a folder to be as it should: it cannot be watched, and is cleared a moment after the end."""
    try:
        async with asyncio.timeout(HANG_SECONDS):
            while not await asyncio.to_thread(holds):
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not within {HANG_SECONDS} s: {what}") from None


async def assert_done_and_paid(books: Books, generation: Generation) -> None:
    """Every image is done, was paid once as quoted, and says what the ledger says."""
    parts = generation.quote.per_image
    assert generation.finished
    for image in generation.images:
        assert image.ending == DONE, image
        entry = await books.settlement_of(image.job_id)
        assert entry is not None
        assert entry.settlement == image.settlement
        assert image.settlement.earned_mkudos == parts.price_mkudos
        assert image.settlement.tax_mkudos == parts.tax_mkudos
        assert image.settlement.surcharge_mkudos == sum(surcharge.amount_mkudos for surcharge in parts.surcharges)
        divided = image.settlement.to_spend_mkudos + image.settlement.to_escrow_mkudos
        assert divided == parts.price_mkudos


async def assert_in_its_bucket_alone(mesh: LocalMesh, horde: HordeClient, generation: Generation) -> None:
    """The bytes of every image are where its placement says, nowhere else, and not in quarantine any more."""
    for image in generation.images:
        content = await horde.images.fetch_from(generation, image.job_id)
        try:
            await eventually(
                lambda content=content, image=image: Buckets(mesh).where(content) == [image.placement],  # type: ignore[misc]
                f"image {image.index} only in bucket {image.placement}",
            )
        except AssertionError as error:
            buckets = Buckets(mesh)
            found = [each.name for each in (*buckets.private, *buckets.shared) if each.holds(content)]
            raise AssertionError(f"{error}: job {image.job_id}, attempt {image.attempt}, found {found}") from None
    jobs = {image.job_id for image in generation.images}
    await eventually(lambda: Buckets(mesh).quarantine(jobs) == [], "an empty quarantine")


def only(generation: Generation) -> Image:
    """The one image of a generation."""
    (image,) = generation.images
    return image
