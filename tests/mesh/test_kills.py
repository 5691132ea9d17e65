"""kill -9 of each service at each arrow of the life of a generation, and of a worker in mid-job.

Each service is a process of its own. One is started with a failpoint that kills it the first time it passes a place;
requests of every kind run against the mesh; when it is dead it is started again, without the failpoint. Then every
generation ends as it should, is paid once, lies in its bucket alone, and nothing is left in quarantine or on hold.

`HORDE_KILL_MATRIX=all` (`make test-kills`) runs every place on SQLite and folders, and a representative part of them on
PostgreSQL and S3; without it that part runs on SQLite and folders alone.
"""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import pytest
import pytest_asyncio
from tests.mesh.backends import DEPLOYED, EMBEDDED, backends, merged
from tests.mesh.probing import (
    CANCELLED,
    DONE,
    EXTRA,
    Books,
    Buckets,
    assert_done_and_paid,
    assert_in_its_bucket_alone,
    books_of,
    eventually,
    only,
    png,
    rich_account,
    scripted,
    small,
)

from horde.api.generation.v1.generation_pb2 import Generation
from horde.api.job.v1.job_pb2 import JobState
from horde.cli.local.mesh import LocalMesh, local_mesh
from horde.cli.local.processes import ProcessEnded
from horde.cli.local.roles import Role
from horde.clients.client import HordeClient
from horde.clients.retrying import Patience
from horde.clients.watching import ImageChanged, Progressed, Snapshot
from horde.testkit.waiting import HANG_SECONDS

pytestmark = pytest.mark.asyncio(loop_scope="module")

PLACES: Final[dict[Role, tuple[str, ...]]] = {
    Role.GATEWAY: (
        "gateway.before_submit",
        "gateway.after_submit",
        "gateway.before_answer",
        "gateway.relay.opened",
        "gateway.relay.sending",
        "gateway.relay.attached",
    ),
    Role.SCHEDULER: (
        "scheduler.after_accepting",
        "scheduler.after_claim",
        "scheduler.after_holds",
        "scheduler.before_answer",
        "scheduler.after_match",
        "scheduler.after_assign",
        "scheduler.after_outcome",
        "scheduler.after_settling",
        "scheduler.after_commit_object",
        "scheduler.after_settle",
        "scheduler.before_settled",
        "scheduler.after_release",
    ),
    Role.LEDGER: (
        "ledger.after_begin",
        "ledger.after_inserts",
        "ledger.before_commit",
        "ledger.after_commit",
        "ledger.before_answer",
    ),
    Role.STORAGE_ROUTER: (
        "storage.after_open",
        "storage.after_check",
        "storage.after_put",
        "storage.before_receipt",
        "storage.commit.before_copy",
        "storage.commit.after_copy",
        "storage.commit.after_record",
        "storage.commit.after_image",
        "storage.commit.before_answer",
        "storage.input.after_put",
        "storage.inputs.after_claim",
        "storage.inputs.after_release",
        "storage.withdraw.after_sign",
        "storage.withdraw.before_answer",
        "storage.mid_download",
    ),
}
REPRESENTATIVE: Final = frozenset(
    {
        "gateway.after_submit",
        "gateway.relay.sending",
        "scheduler.after_accepting",
        "scheduler.after_holds",
        "scheduler.after_assign",
        "scheduler.after_settling",
        "scheduler.after_settle",
        "ledger.after_commit",
        "storage.after_put",
        "storage.commit.after_copy",
    }
)
ALL: Final = os.environ.get("HORDE_KILL_MATRIX") == "all"
KINDS: Final = (EMBEDDED, DEPLOYED) if ALL else (EMBEDDED,)
MATRIX: Final = [
    (kind, role, place)
    for kind in KINDS
    for role, places in PLACES.items()
    for place in places
    if place in REPRESENTATIVE or (ALL and kind == EMBEDDED)
]
each_kind: Final = pytest.mark.parametrize("mesh", KINDS, indirect=True, scope="module")
PATIENT: Final = Patience(total=timedelta(seconds=HANG_SECONDS))


@dataclass(frozen=True)
class Users:
    """Who asks: with the patience that the SDK gives everybody, a little more of it."""

    account: HordeClient
    nobody: HordeClient


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalMesh]:
    folder = tmp_path_factory.mktemp("kills")
    with backends(request.param, folder) as kept:
        async with local_mesh(folder / "state", extra=merged(EXTRA, kept)) as running:
            for name in ("anna", "bert"):
                await running.start_worker(scripted(name))
            yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def books(mesh: LocalMesh) -> AsyncIterator[Books]:
    async with books_of(mesh) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def users(mesh: LocalMesh) -> AsyncIterator[Users]:
    async with (
        rich_account(mesh) as rich,
        mesh.client(credential=rich.credential, patience=PATIENT) as account,
        mesh.client(patience=PATIENT) as nobody,
    ):
        yield Users(account, nobody)


@dataclass(frozen=True)
class Ran:
    """What became of one round of requests of every kind."""

    done: list[tuple[HordeClient, Generation]]
    cancelled: Generation


async def every_kind(users: Users) -> Ran:
    """Private, shared, from a picture; one cancelled while it waits; one taken back. To their ends, and fetched."""
    source = await users.account.images.put(png())
    specs = [
        (users.account, small("private", count=2)),
        (users.nobody, small("shared", count=2)),
        (users.account, small("from a picture", source_image=source)),
    ]
    waiting = await users.account.generations.create(small("never", allowed_worker_ids=[str(uuid.uuid4())]))
    made = await asyncio.gather(*(horde.generations.create(spec) for horde, spec in specs))
    await users.account.generations.cancel(waiting.generation_id)
    ended = await asyncio.gather(
        *(
            horde.generations.finish(generation.generation_id)
            for (horde, _), generation in zip(specs, made, strict=True)
        )
    )
    done = [(horde, each) for (horde, _), each in zip(specs, ended, strict=True)]
    for horde, generation in done:
        for image in generation.images:
            if image.ending == DONE:
                await horde.images.fetch_from(generation, image.job_id)
    regret = await users.nobody.generations.finish(
        (await users.nobody.generations.create(small("regret"))).generation_id
    )
    await users.nobody.generations.withdraw(regret.generation_id, [only(regret).job_id])
    return Ran(done, await users.account.generations.finish(waiting.generation_id))


async def check(ran: Ran, mesh: LocalMesh, books: Books) -> None:
    for horde, generation in ran.done:
        await assert_done_and_paid(books, generation)
        await assert_in_its_bucket_alone(mesh, horde, generation)
    assert only(ran.cancelled).ending == CANCELLED
    assert only(ran.cancelled).settlement.charged_mkudos == 0
    await books.assert_balanced()
    await eventually(
        lambda: [file.name for file in Buckets(mesh).private if file.name.startswith("quarantine/")] == [],
        "an empty quarantine",
    )


async def dies_by_kill(mesh: LocalMesh, role: Role, ran: asyncio.Task[Ran]) -> None:
    """Wait for the service's death; fail if the requests end before, or if it ends in another way."""
    death = asyncio.create_task(mesh.processes[role.value].ended())
    await asyncio.wait([death, ran], return_when=asyncio.FIRST_COMPLETED)
    assert death.done(), "the place was never passed"
    assert death.result() == -signal.SIGKILL, mesh.processes[role.value].tail


@pytest.mark.parametrize(
    ("mesh", "role", "place"),
    MATRIX,
    indirect=["mesh"],
    scope="module",
    ids=[f"{kind}-{place}" for kind, _, place in MATRIX],
)
async def test_killed_at(role: Role, place: str, mesh: LocalMesh, users: Users, books: Books) -> None:
    await mesh.processes[role.value].kill()
    await mesh.start(role, {"FAILPOINTS": f"{place}=kill@1"})
    try:
        await mesh.serving(role)
    except ProcessEnded:
        # Passed on the way up: then coming up is what was killed.
        assert mesh.processes[role.value].status == -signal.SIGKILL
    ran = asyncio.create_task(every_kind(users))
    try:
        await dies_by_kill(mesh, role, ran)
        await mesh.start(role)
        await mesh.serving(role)
        await check(await ran, mesh, books)
    finally:
        ran.cancel()
        if mesh.processes[role.value].status is not None:
            await mesh.start(role)
            await mesh.serving(role)


@each_kind
@pytest.mark.parametrize("role", list(PLACES), ids=lambda role: role.value)
async def test_killed_in_the_middle_of_everything(role: Role, mesh: LocalMesh, users: Users, books: Books) -> None:
    spec = small("[slow:0.05]", count=6, steps=10)
    generation = await users.account.generations.create(spec)
    killed = False
    progressed = 0
    async for event in users.account.generations.watch(generation.generation_id):
        progressed += isinstance(event, Progressed)
        if progressed >= 3 and not killed:
            killed = True
            await mesh.processes[role.value].kill()
            await mesh.start(role)
            await mesh.serving(role)
    assert killed
    ended = await users.account.generations.get(generation.generation_id)
    await assert_done_and_paid(books, ended)
    await assert_in_its_bucket_alone(mesh, users.account, ended)
    await books.assert_balanced()


@each_kind
async def test_all_services_killed_at_once(mesh: LocalMesh, users: Users, books: Books) -> None:
    spec = small("[slow:0.05]", count=4, steps=10)
    generation = await users.account.generations.create(spec)
    async for event in users.account.generations.watch(generation.generation_id):
        if isinstance(event, Progressed):
            break
    await asyncio.gather(*(mesh.processes[role.value].kill() for role in PLACES))
    for role in PLACES:
        await mesh.start(role)
    await mesh.serving()
    ended = await users.account.generations.finish(generation.generation_id)
    await assert_done_and_paid(books, ended)
    await assert_in_its_bucket_alone(mesh, users.account, ended)
    await books.assert_balanced()


WORKER_PLACES: Final = (
    "worker.before_painting",
    "worker.before_spooling",
    "worker.before_uploading",
    "worker.after_receipt",
)


async def _leased_to(horde: HordeClient, generation_id: str) -> str:
    """Wait until the one image is lent; gives the lease."""
    async for event in horde.generations.watch(generation_id):
        images = []
        if isinstance(event, Snapshot):
            images = list(event.generation.images)
        elif isinstance(event, ImageChanged):
            images = [event.image]
        for image in images:
            if image.state == JobState.JOB_STATE_LEASED:
                return image.lease_id
    raise AssertionError("it ended without a lease")


@each_kind
async def test_a_worker_killed_in_mid_job_is_replaced_and_only_the_other_is_paid(
    mesh: LocalMesh, users: Users, books: Books
) -> None:
    await mesh.processes["bert"].stop(20)
    generation = await users.account.generations.create(small("[slow:0.1] [vanish@anna]", steps=10))
    anna = mesh.processes["anna"]
    assert await anna.ended() == -signal.SIGKILL
    await mesh.restart_worker("bert")
    ended = await users.account.generations.finish(generation.generation_id)
    assert only(ended).worker_name == "bert"
    assert only(ended).attempt == 2
    await assert_done_and_paid(books, ended)
    await assert_in_its_bucket_alone(mesh, users.account, ended)
    await mesh.restart_worker("anna")
    await books.assert_balanced()


@each_kind
@pytest.mark.parametrize("place", WORKER_PLACES)
async def test_a_worker_killed_at(place: str, mesh: LocalMesh, users: Users, books: Books) -> None:
    await asyncio.gather(mesh.processes["anna"].stop(20), mesh.processes["bert"].stop(20))
    await mesh.start_worker(scripted("anna", FAILPOINTS=f"{place}=kill@1"))
    generation = await users.account.generations.create(small("from whoever is there"))
    assert await mesh.processes["anna"].ended() == -signal.SIGKILL
    # It comes back and restates what it holds, while another stands ready: whoever delivers, one is paid.
    await mesh.start_worker(scripted("anna"))
    await mesh.restart_worker("bert")
    ended = await users.account.generations.finish(generation.generation_id)
    await assert_done_and_paid(books, ended)
    await assert_in_its_bucket_alone(mesh, users.account, ended)
    await books.assert_balanced()
