"""Pictures painted a second time on a whole mesh: the real router compares, the real ledger frees and takes."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from tests.mesh.probing import EXTRA, Books, Buckets, books_of, eventually, rich_account, scripted, small

from horde.api.ledger.v1.ledger_pb2 import Entry, EventKind, LedgerAccountKind
from horde.cli.local.mesh import LocalMesh, local_mesh
from horde.cli.local.roles import Role
from horde.clients.client import HordeClient
from horde.internal.ledger.v1.ledger_service_pb2 import GetEntriesRequest
from horde.testkit.waiting import ticks

OWNERS = ("suspect", "one", "other")
LOOKED_AT = {**EXTRA, Role.SCHEDULER: {**EXTRA[Role.SCHEDULER], "CHECKS_PART": "1"}}
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalMesh]:
    """A mesh with three workers of three owners, of whom each is trusted."""
    async with local_mesh(tmp_path_factory.mktemp("mesh") / "state", extra=LOOKED_AT) as running:
        for name in OWNERS:
            async with running.client() as nobody:
                opened = await nobody.accounts.create(name)
            key = tmp_path_factory.mktemp(name) / "key"
            write_key(key, opened.api_key)
            await running.start_worker(scripted(name, API_KEY_FILE=str(key)))
        yield running


def write_key(path: Path, key: str) -> None:
    path.touch(mode=0o600)
    path.write_text(key)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def books(mesh: LocalMesh) -> AsyncIterator[Books]:
    async with books_of(mesh) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def account(mesh: LocalMesh) -> AsyncIterator[HordeClient]:
    async with rich_account(mesh) as client:
        yield client


async def verdict_on(books: Books, job_id: str, kind: str) -> Entry | None:
    event = str(uuid.uuid5(uuid.UUID(job_id), kind))
    outcome = (await books.stub.GetEntries(GetEntriesRequest(event_ids=[event]))).outcomes[0]
    return outcome.entry if outcome.HasField("entry") else None


async def until(found: Callable[[], Awaitable[Entry | None]]) -> Entry:
    for _ in ticks():
        if (entry := await found()) is not None:
            return entry
        await asyncio.sleep(0.05)
    raise AssertionError("it does not happen")


async def workers(account: HordeClient) -> dict[str, str]:
    """Ids by name, once all are here."""
    for _ in ticks():
        found = {worker.name: worker.worker_id async for worker in account.workers.list() if worker.name in OWNERS}
        if len(found) == len(OWNERS):
            return found
        await asyncio.sleep(0.05)
    raise AssertionError("they do not come")


async def painted(account: HordeClient, prompt: str, *, share: bool = False) -> str:
    """A picture by the suspect; its job."""
    suspect = (await workers(account))["suspect"]
    spec = small(prompt, allowed_worker_ids=[suspect], share=share)
    generation = await account.generations.create(spec)
    finished = await account.generations.finish(generation.generation_id)
    (image,) = finished.images
    assert image.worker_id == suspect
    return image.job_id


@pytest.mark.parametrize("share", [False, True])
async def test_an_honest_picture_is_found_right_and_frees_what_waited(
    account: HordeClient, books: Books, mesh: LocalMesh, share: bool
) -> None:
    job_id = await painted(account, f"a fox, shared: {share}", share=share)
    entry = await until(lambda: verdict_on(books, job_id, "verification"))
    assert entry.kind == EventKind.EVENT_KIND_VERIFICATION
    assert sum(line.amount_mkudos for line in entry.transfers) > 0
    spent = await books.balance(LedgerAccountKind.LEDGER_ACCOUNT_KIND_CHECK_SUBSIDY)
    assert spent.posted_mkudos < 0
    assert await verdict_on(books, job_id, "slash") is None


async def test_junk_is_caught_and_paid_back(account: HordeClient, books: Books, mesh: LocalMesh) -> None:
    jobs = [await painted(account, f"a lighthouse {number} [instant@suspect]") for number in range(3)]
    first = await until(lambda: verdict_on(books, jobs[0], "slash"))
    assert first.kind == EventKind.EVENT_KIND_SLASH
    assert first.transfers[0].credit.kind == LedgerAccountKind.LEDGER_ACCOUNT_KIND_SPEND

    def nothing_in_quarantine() -> bool:
        return not [file for file in Buckets(mesh).private if file.name.startswith("quarantine/")]

    await eventually(nothing_in_quarantine, "nothing left of the pictures that it was compared with")
    for _ in ticks():
        if not (await books.balance(LedgerAccountKind.LEDGER_ACCOUNT_KIND_HELD)).posted_mkudos:
            break
        await asyncio.sleep(0.05)
    await books.assert_balanced()
