"""The worst bug this system can have, looked for: after any sequence of calls, no private byte is in the shared bucket.

A Hypothesis state machine drives the use cases over buckets in memory with honest and dishonest uploads, commits,
withdrawals, discards, expiry and failures at every failpoint, and compares both buckets with a model after each step.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
from collections.abc import Awaitable, Coroutine, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from horde.buckets.memory import MemoryBucket
from horde.internal.storage.v1 import object_service_pb2 as objects
from horde.services import failpoints
from horde.services.errors import ServiceError
from horde.storage_router.arrivals import Arrivals
from horde.storage_router.budget import ByteBudget
from horde.storage_router.commits import Commits
from horde.storage_router.core.orders import Committed
from horde.storage_router.core.partials import Partials
from horde.storage_router.core.pictures import ImageFormat
from horde.storage_router.core.placement import Placement, PlacementFacts, place
from horde.storage_router.core.records import Content, Quarantined
from horde.storage_router.doors import wire
from horde.storage_router.doors.items import Items
from horde.storage_router.expiry import Sweeper
from horde.storage_router.inputs import Inputs
from horde.storage_router.private_images import PrivateImages
from horde.storage_router.quarantine import Quarantine
from horde.storage_router.room import Room
from horde.storage_router.shared_images import SharedImages
from horde.testkit.loopback import ManualClock
from horde.testkit.storage_router import Job, paint

T = TypeVar("T")
ALL_FACTS = [
    PlacementFacts(anonymous, asked, has_input, "2026-11")
    for anonymous, asked, has_input in itertools.product([False, True], repeat=3)
]
JOBS = [
    Job.numbered(number, facts=facts, requester=f"anonymous:{number:064x}" if facts.anonymous else f"account-{number}")
    for number, facts in enumerate(ALL_FACTS * 2)
]
IMAGES = [paint(seed=seed) for seed in range(3)]
POINTS = sorted(name for name in failpoints.declared() if name.startswith(("storage.commit", "storage.withdraw")))


def digest(image: bytes) -> str:
    return hashlib.sha256(image).hexdigest()


class Machine(RuleBasedStateMachine):
    jobs = Bundle("jobs")

    @initialize()
    def begin(self) -> None:
        self.clock = ManualClock()
        self.private, self.shared = MemoryBucket(self.clock.now), MemoryBucket(self.clock.now)
        self.quarantine = Quarantine(self.private)
        inputs = Inputs(self.private, self.clock.now, Room(1 << 30, self.clock.monotonic, timedelta(hours=1)))
        self.commits = Commits(
            self.quarantine,
            Arrivals(0, self.clock.monotonic),
            PrivateImages(self.private, self.clock.now),
            SharedImages(self.shared, self.clock.now),
            ByteBudget("test", 1 << 30),
            Items(4),
        )
        self.sweeper = Sweeper(self.private, inputs, Partials(0, self.clock.monotonic), self.clock)
        self.uploaded: dict[str, bytes] = {}
        self.committed: dict[str, bytes] = {}
        self.withdrawn: set[str] = set()

    def run(self, work: Coroutine[object, object, T]) -> T:
        return asyncio.run(work)

    @rule(target=jobs, number=st.integers(0, len(JOBS) - 1), image=st.sampled_from(IMAGES))
    def upload(self, number: int, image: bytes) -> Job:
        """What the upload does once the bytes have passed."""
        job = JOBS[number]
        content = Content(digest(image), len(image), ImageFormat.WEBP, 64, 64)
        record = Quarantined(content, job.placement, self.clock.now())
        try:
            kept = self.run(self.quarantine.store(job.job_id, job.lease_id, image, record))
        except ServiceError:
            return job
        if kept.content == content:
            self.uploaded[job.job_id] = image
        return job

    @rule(
        job=jobs,
        point=st.sampled_from(["", *POINTS]),
        lie=st.sampled_from(["", "", "", "facts", "placement", "both", "digest", "lease"]),
        other=st.integers(0, len(JOBS) - 1),
        image=st.sampled_from(IMAGES),
    )
    def commit(self, job: Job, point: str, lie: str, other: int, image: bytes) -> None:
        """A commit as it should be, or with a lie in it, or with a failure in the middle."""
        truth = self.uploaded.get(job.job_id, image)
        order = job.commit(image if lie == "digest" else truth)
        wrong = JOBS[other].commit(truth)
        if lie in ("facts", "both"):
            order.facts.CopyFrom(wrong.facts)
            order.facts.anonymous = job.facts.anonymous
        if lie in ("placement", "both"):
            order.placement = wrong.placement
        if lie == "lease":
            order.job_id, order.lease_id = wrong.job_id, wrong.lease_id
        failpoints.arm(f"{point}=error@1" if point else "")
        try:
            request = objects.CommitObjectsRequest(commits=[order])
            (outcome,) = self.run(self.of(self.commits.commit(wire.read_commits(request))))
        finally:
            failpoints.arm("")
        if isinstance(outcome, Committed) and not lie:
            self.committed.setdefault(job.job_id, truth)

    @rule(job=jobs, point=st.sampled_from(["", *POINTS]))
    def withdraw(self, job: Job, point: str) -> None:
        failpoints.arm(f"{point}=error@1" if point else "")
        try:
            request = objects.WithdrawObjectsRequest(withdrawals=[job.withdrawal()])
            order = wire.read_withdrawals(request, shared_alone=False)
            (outcome,) = self.run(self.of(self.commits.withdraw(order)))
        finally:
            failpoints.arm("")
        if outcome is None:
            self.withdrawn.add(job.job_id)

    @rule(job=jobs)
    def discard(self, job: Job) -> None:
        request = objects.DiscardObjectsRequest(
            discards=[objects.DiscardObject(job_id=job.job_id, lease_id=job.lease_id)]
        )
        self.run(self.of(self.commits.discard(wire.read_discards(request))))

    @rule(hours=st.sampled_from([1, 23, 200]))
    def time_passes(self, hours: int) -> None:
        self.clock.jump(timedelta(hours=hours).total_seconds())
        self.run(self.of(self.sweeper.sweep()))

    @staticmethod
    async def of(work: Awaitable[T]) -> T:
        return await work

    @invariant()
    def no_private_byte_is_shared(self) -> None:
        by_id = {job.job_id: job for job in JOBS}
        for key in self.shared.keys():  # noqa: SIM118
            job = by_id[key.rpartition("/")[2].partition(".")[0]]
            assert place(job.facts) is Placement.SHARED, key
            assert not job.facts.has_input

    @invariant()
    def each_shared_image_has_its_consent_record_with_its_digest(self) -> None:
        keys = self.shared.keys()
        for key in keys:
            if key.endswith(".webp"):
                stored = self.run(self.of(self.shared.read(key)))
                record = self.run(self.of(self.shared.read(key.replace(".webp", ".json"))))
                assert stored is not None
                assert record is not None
                assert json.loads(record.data)["image"]["sha256"] == digest(stored.data)
                assert json.loads(record.data)["consent"]["text_version"] == "2026-11"

    @invariant()
    def the_journal_knows_each_shared_image_and_each_withdrawal(self) -> None:
        keys = self.shared.keys()
        for folder, entries in (("images/", "journal/"), ("withdrawn/", "withdrawals/")):
            found = {key.rpartition("/")[2].partition(".")[0] for key in keys if key.startswith(folder)}
            assert found <= {key.rpartition("/")[2] for key in keys if key.startswith(entries)}

    @invariant()
    def what_was_withdrawn_from_the_shared_bucket_stays_away(self) -> None:
        for job_id in self.withdrawn:
            assert f"images/{job_id}.webp" not in self.shared.keys()  # noqa: SIM118

    @invariant()
    def private_images_are_whole_and_of_private_jobs(self) -> None:
        by_name = {job.object_name: job for job in JOBS}
        for key in self.private.keys():  # noqa: SIM118
            folder, _, name = key.partition("/")
            if folder == "images":
                stored = self.run(self.of(self.private.read(key)))
                assert stored is not None
                assert stored.head.metadata["sha256"] == digest(stored.data)
                assert place(by_name[name].facts) is Placement.PRIVATE


def test_the_jobs_of_the_machine_are_of_all_placements() -> None:
    found: Sequence[Placement] = [replace(job).placement for job in JOBS]
    assert set(found) == set(Placement)


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
