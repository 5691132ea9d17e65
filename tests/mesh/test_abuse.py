"""Strangers with free accounts attack a mesh with default settings: every honest job is done, and nothing is won.

The short form of `make abuse`, which measures what is kept of honest work: here counts alone decide, however busy the
machine is. All of its attacks but `slow_leases`, in which a job waits four seconds until somebody else gets it as well:
`tests/unit/scheduler/test_hedging.py` has that on a clock of its own.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from PIL import Image
from tests.mesh.probing import QUIET, Books, books_of, rich_account, small

from horde.api.job.v1.job_pb2 import JobEnding
from horde.cli.local.mesh import LocalMesh, WorkerPlan, local_mesh
from horde.clients.client import HordeClient
from horde.clients.credentials import ApiKey, read_secret
from horde.clients.watching import Finished, Previewed
from horde.internal.ledger.v1.ledger_service_pb2 import AuditRequest

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROGRAM = str(Path(__file__).parents[2] / "bench" / "abuse" / "whole_mesh.py")
ATTACKS = (
    "refusing_strangers",
    "cancelling_strangers",
    "failing_strangers",
    "censoring_strangers",
    "black_pictures",
    "bad_checksums",
    "garbage_previews",
    "silent_inputs",
    "dear_anonymous_requests",
    "queue_stuffing",
    "idle_sessions",
    "idle_watches",
    "tiny_calls",
    "rapid_resets",
)
PROVING_IMAGES = 12
"""The owner of the honest workers is proven by what others paid for."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalMesh]:
    """Default settings, and two honest workers."""
    async with local_mesh(tmp_path_factory.mktemp("abuse") / "state", extra=QUIET) as running:
        for name in ("anna", "bert"):
            await running.start_worker(WorkerPlan(name, "scripted", {"PAINTERS": "2", "SCRIPT": "[instant]"}))
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def account(mesh: LocalMesh) -> AsyncIterator[HordeClient]:
    """A requester who pays, and has paid the honest owner already."""
    async with rich_account(mesh) as client:
        await done(client, PROVING_IMAGES)
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def books(mesh: LocalMesh) -> AsyncIterator[Books]:
    async with books_of(mesh) as opened:
        yield opened


async def done(client: HordeClient, images: int) -> None:
    """Ask for images, and insist that all are painted, and that what is shown meanwhile are pictures."""
    made = await client.generations.create(small("a fox", count=images))
    async for event in client.generations.watch(made.generation_id, previews=True):
        if isinstance(event, Previewed):
            with Image.open(io.BytesIO(event.image), formats=("JPEG",)) as picture:
                picture.load()
        if isinstance(event, Finished):
            endings = {JobEnding.Name(image.ending) for image in event.generation.images}
            assert endings == {"JOB_ENDING_DONE"}


async def worth(mesh: LocalMesh, key: str) -> int:
    """What an account has, in milli-kudos, also what waits."""
    async with mesh.client(credential=ApiKey(key)) as client:
        shown = await client.accounts.show()
    return int(shown.spend.posted_mkudos + shown.escrow.posted_mkudos)


@pytest.mark.parametrize("attack", ATTACKS)
async def test_honest_jobs_are_done_and_nothing_is_won(mesh: LocalMesh, account: HordeClient, attack: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    attacker = await asyncio.create_subprocess_exec(
        sys.executable, PROGRAM, "--attack", attack, mesh.gateway, env=environment, stdout=asyncio.subprocess.PIPE
    )
    assert attacker.stdout is not None
    honest = read_secret(mesh.layout.worker_key) or ""
    earned = await worth(mesh, honest)
    try:
        assert await attacker.stdout.readline() == b"begun\n"
        for _ in range(4):
            await done(account, 4)
        async with mesh.client() as nobody:
            await done(nobody, 1)
    finally:
        attacker.send_signal(signal.SIGINT)
        told = json.loads(await attacker.stdout.read())
        await attacker.wait()
    assert not [answer for answer in told["answers"] if answer.startswith("ended by")], told["answers"]
    # A black picture is a picture, until it was looked at a second time; but nothing pays better than painting.
    assert sum([await worth(mesh, key) for key in told["keys"]]) <= await worth(mesh, honest) - earned


async def test_the_books_are_right_after_all_of_it(mesh: LocalMesh, account: HordeClient, books: Books) -> None:
    await done(account, 4)
    audit = await books.stub.Audit(AuditRequest())
    assert not audit.HasField("first_finding"), audit.first_finding
    assert audit.sum_of_all_mkudos == 0
