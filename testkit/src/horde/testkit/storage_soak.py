"""A mesh that paints images of all kinds while its storage routers are killed and its store is moody; then the auditor
says what it left.

What was asked for and how it ended is known from the requesters' side alone; the buckets are counted by themselves; the
auditor runs as an operator runs it. The three must agree.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

from horde.api.generation.v1.generation_pb2 import Generation, GenerationSpec
from horde.api.job.v1.job_pb2 import JobEnding, Placement
from horde.cli.local.mesh import LocalMesh, WorkerPlan, local_mesh
from horde.cli.local.roles import Role
from horde.clients.client import HordeClient
from horde.clients.credentials import ApiKey, new_anonymous_token, read_secret
from horde.clients.retrying import Patience
from horde.clients.specs import generation_spec
from horde.testkit.moody_server import Mood, MoodyServer, moody_server
from horde.testkit.s3 import ThrowawayS3, throwaway_s3
from horde.testkit.storage_remains import BUCKETS, Remains
from horde.testkit.storage_router import paint
from horde.testkit.waiting import ticks

WORKERS: Final = ("anna", "bert", "cleo")
ASKING: Final = 16
"""Generations that are under way at once."""
WITHDRAW_ONE_IN: Final = 10
PATIENCE: Final = Patience(total=timedelta(seconds=600))
NO_LIMITS: Final = {
    f"LIMIT_{of}": "none"
    for of in (
        "ACCOUNT_CALLS", "ACCOUNT_IMAGES", "ACCOUNT_INPUTS", "ANONYMOUS_CALLS", "ANONYMOUS_IMAGES", "ANONYMOUS_INPUTS",
        "ADDRESS_ACCOUNTS", "ADDRESS_CALLS", "ADDRESS_FAILURES", "ADDRESS_IMAGES", "ADDRESS_INPUTS",
    )
}  # fmt: skip
FOLDER_MOODS: Final = (
    "storage.after_put=delay:0.2,storage.commit.before_copy=delay:0.1",
    "storage.commit.after_record=error@3,storage.commit.before_copy=error@5,storage.after_put=error@7",
    "storage.commit.after_image=kill@4",
    "storage.commit.after_copy=kill@6",
    "storage.withdraw.after_sign=error@1,storage.commit.before_answer=error@9",
)
"""What a store of folders can do to a router: be slow, fail, and lose it in the middle."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Who asks, and for what."""

    name: str
    anonymous: bool
    share: bool
    from_picture: bool

    @property
    def placement(self) -> int:
        """By the table of sharing, written down once more."""
        shared = not self.from_picture and (self.anonymous or self.share)
        return Placement.PLACEMENT_SHARED if shared else Placement.PLACEMENT_PRIVATE


KINDS: Final = (
    Kind("private", anonymous=False, share=False, from_picture=False),
    Kind("shared", anonymous=False, share=True, from_picture=False),
    Kind("anonymous", anonymous=True, share=False, from_picture=False),
    Kind("from a picture", anonymous=False, share=True, from_picture=True),
    Kind("anonymous, from a picture", anonymous=True, share=True, from_picture=True),
)


@dataclass(slots=True)
class Came:
    """What became of all that was asked for, as requesters were told."""

    done: dict[int, set[str]] = field(default_factory=lambda: {1: set(), 2: set()})
    """Jobs by placement, without those withdrawn."""
    withdrawn: set[str] = field(default_factory=set)
    endings: Counter[str] = field(default_factory=Counter)
    disturbed: Counter[str] = field(default_factory=Counter)

    @property
    def jobs(self) -> int:
        return sum(self.endings.values())


class Soak:
    """A running mesh that is treated badly."""

    def __init__(self, mesh: LocalMesh, store: MoodyServer | None, s3: ThrowawayS3 | None, folder: Path) -> None:
        self._mesh = mesh
        self._store = store
        self.remains = Remains(mesh, s3, folder)
        self._random = random.Random(7)
        self.came = Came()

    async def run(
        self,
        jobs: int,
        per_generation: int,
        calm_seconds: float,
        say: Callable[[str], None],
        enough: Callable[[], bool] = lambda: False,
    ) -> None:
        """Ask for so many images of all kinds while everything goes wrong, until each has ended.

        Nothing more is asked for once it is `enough`.
        """
        async with AsyncExitStack() as stack:
            account = await stack.enter_async_context(self._rich_account())
            nobody = await stack.enter_async_context(
                self._mesh.client(credential=new_anonymous_token(), patience=PATIENCE)
            )
            numbers = takewhile(lambda number: not enough(), range(-(-jobs // per_generation)))

            async def ask() -> None:
                for number in numbers:
                    await self._ask(number, per_generation, account, nobody)
                    if number % 50 == 0:
                        say(f"{self.came.jobs} jobs ended")

            disturbing = asyncio.create_task(self._disturb(calm_seconds))
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(ASKING):
                        group.create_task(ask())
            finally:
                disturbing.cancel()
                with suppress(asyncio.CancelledError):
                    await disturbing
                await self._calm()

    async def _ask(self, number: int, count: int, account: HordeClient, nobody: HordeClient) -> None:
        kind = KINDS[number % len(KINDS)]
        horde = nobody if kind.anonymous else account
        generation = await horde.generations.finish((await horde.generations.create(await self._spec(
            horde, kind, number, count
        ))).generation_id)  # fmt: skip
        kept = self.came.done[kind.placement]
        for image in generation.images:
            self.came.endings[JobEnding.Name(image.ending)] += 1
            if image.ending == JobEnding.JOB_ENDING_DONE:
                assert image.placement == kind.placement, (kind.name, image)
                kept.add(image.job_id)
        if number % WITHDRAW_ONE_IN == 1:
            await self._withdraw(horde, generation, kept)

    async def _spec(self, horde: HordeClient, kind: Kind, number: int, count: int) -> GenerationSpec:
        source = await horde.images.put(paint("PNG", 64, 64, number)) if kind.from_picture else None
        return generation_spec(
            f"{kind.name} {number}", count=count, share=kind.share, width=64, height=64, steps=2, source_image=source
        )

    async def _withdraw(self, horde: HordeClient, generation: Generation, kept: set[str]) -> None:
        done = [image.job_id for image in generation.images if image.job_id in kept]
        if done:
            # Answered by image: what could not be done now is asked for again.
            for _ in ticks():
                if (await horde.generations.withdraw(generation.generation_id, done[:1]))[done[0]] is None:
                    break
                await asyncio.sleep(0.5)
            kept.discard(done[0])
            self.came.withdrawn.add(done[0])

    async def _disturb(self, calm_seconds: float) -> None:
        while True:
            await asyncio.sleep(calm_seconds)
            what = self._random.choice(("router", "router", "store", "store", "store", "scheduler"))
            if what == "store" and self._store is not None:
                mood = self._random.choice((Mood.SLOW, Mood.HANGS, Mood.AWAY, Mood.BUSY))
                self.came.disturbed[f"store {mood.value}"] += 1
                self._store.turn(mood)
                await asyncio.sleep(self._random.uniform(1, 3))
                self._store.turn(Mood.WELL)
            elif what == "store":
                failpoints = self._random.choice(FOLDER_MOODS)
                self.came.disturbed[failpoints] += 1
                await self._again(Role.STORAGE_ROUTER, {"FAILPOINTS": failpoints})
                await asyncio.sleep(self._random.uniform(2, 5))
                await self._again(Role.STORAGE_ROUTER, {})
            else:
                role = Role.STORAGE_ROUTER if what == "router" else Role.SCHEDULER
                self.came.disturbed[f"kill -9 of the {role.value}"] += 1
                await self._again(role, {})

    async def _again(self, role: Role, settings: Mapping[str, str]) -> None:
        await self._mesh.processes[role.value].kill()
        await self._mesh.start(role, settings)

    async def _calm(self) -> None:
        if self._store is not None:
            self._store.turn(Mood.WELL)
        for role in (Role.STORAGE_ROUTER, Role.SCHEDULER):
            await self._again(role, {})
        await self._mesh.serving()

    @asynccontextmanager
    async def _rich_account(self) -> AsyncIterator[HordeClient]:
        mesh = self._mesh
        async with mesh.client() as somebody:
            opened = await somebody.accounts.create("soak")
        async with mesh.client(credential=ApiKey(read_secret(mesh.layout.operator_key) or "")) as operator:
            await operator.kudos.award(opened.account.account_id, 10**12, reason="for the soak")
        async with mesh.client(credential=ApiKey(opened.api_key), patience=PATIENCE) as account:
            yield account

    async def found_after_planting(self) -> list[str]:
        """The kinds of what the auditor finds when three faults were planted: it must be PLANTED."""
        self.remains.plant(min(self.came.done[Placement.PLACEMENT_SHARED]))
        return sorted(str(finding["kind"]) for finding in await self.remains.audit())

    async def settled(self) -> list[dict[str, Any]]:
        """What the auditor finds when the last discards were carried out: couriers ask until they are answered."""
        findings: list[dict[str, Any]] = []
        with suppress(AssertionError):  # What is still found then is what is wrong.
            for _ in ticks():
                findings = await self.remains.audit()
                if not findings:
                    break
                await asyncio.sleep(1)
        return findings

    def judge(self, findings: Sequence[Mapping[str, Any]]) -> dict[str, int]:
        """What must be 0."""
        came, left = self.came, self.remains.left()
        shared, private = (came.done[which] for which in (Placement.PLACEMENT_SHARED, Placement.PLACEMENT_PRIVATE))
        return {
            "private images in the shared bucket": len(left.shared & private),
            "strangers in the shared bucket": len(left.shared - shared) + len(left.others),
            "shared and done without their object": len(shared - left.shared),
            "private and done without their object, or orphans": abs(left.private - len(private)),
            "left in quarantine": left.quarantine,
            "jobs that did not end as done": came.jobs - came.endings["JOB_ENDING_DONE"],
            "findings of the auditor": len(findings),
        }


@asynccontextmanager
async def soaking(folder: Path, *, on_s3: bool) -> AsyncIterator[Soak]:
    """A mesh with three workers, on folders or on a throwaway S3 server with moods."""
    async with AsyncExitStack() as stack:
        extra: dict[Role, dict[str, str]] = {role: {"LOG_LEVEL": "error"} for role in Role}
        extra[Role.GATEWAY] |= NO_LIMITS
        extra[Role.SCHEDULER] |= {"RESUME_GRACE_SECONDS": "5", "PROVEN_IMAGES": "0", "MAX_JOBS": "1000000"}
        extra[Role.LEDGER] |= {"ANONYMOUS_BUDGET_PER_DAY_MKUDOS": str(10**15)}
        s3 = store = None
        if on_s3:
            s3 = stack.enter_context(throwaway_s3((*BUCKETS, "horde-releases")))
            store = await stack.enter_async_context(moody_server(s3.endpoint))
            extra[Role.STORAGE_ROUTER] |= router_on(s3, store.endpoint, folder)
        mesh = await stack.enter_async_context(local_mesh(folder / "state", extra=extra))
        for name in WORKERS:
            quick = {"DRAIN_SECONDS": "2", "RECONNECT_FIRST_SECONDS": "0.1", "RECONNECT_LIMIT_SECONDS": "1"}
            await mesh.start_worker(WorkerPlan(name, "scripted", quick))
        yield Soak(mesh, store, s3, folder)


def router_on(s3: ThrowawayS3, endpoint: str, folder: Path) -> dict[str, str]:
    """What a router is told to keep its images there, with an operator's rights. Secrets go into `folder`."""
    settings = {"S3_ENDPOINT": endpoint, "S3_SECURE": "false"}
    for door, user in (("PRIVATE", "router-private"), ("SHARED", "router-promoter")):
        secret = folder / f"{door}.secret"
        secret.write_text(s3.secret(user))
        secret.chmod(0o600)
        settings |= {f"{door}_ACCESS_KEY": s3.access_key(user), f"{door}_SECRET_FILE": str(secret)}
    return settings
