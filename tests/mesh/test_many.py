"""Two of everything behind a real Envoy: nobody misses who is killed, nor a leader that stands still, and a watcher
sees what another gateway's worker paints."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio
from tests.mesh.many import ENVOY, LED, REPLICAS, Many, many_of_everything
from tests.mesh.probing import (
    PRIVATE,
    SHARED,
    assert_done_and_paid,
    assert_in_its_bucket_alone,
    books_of,
    only,
    png,
    rich_account,
    scripted,
    small,
)

from horde.api.generation.v1.generation_pb2 import Generation
from horde.cli.local.roles import Role
from horde.clients.client import HordeClient
from horde.clients.retrying import Patience
from horde.clients.watching import Previewed
from horde.testkit.waiting import HANG_SECONDS, until

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not ENVOY.exists(), reason="no envoy"),
]
PATIENT = Patience(total=timedelta(seconds=HANG_SECONDS))
LONG = small("[slow:0.3]", steps=30)
"""Painted for longer than it takes to replace a leader."""
# A leader that changes costs nobody a lease, however long that takes on a busy machine.
PATIENT_LEADERS = {Role.SCHEDULER: {"RESUME_GRACE_SECONDS": "60", "LEASE_TTL_SECONDS": "240"}}
WORKERS = ("anna", "bert", "cleo", "dora")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Many]:
    async with many_of_everything(tmp_path_factory.mktemp("many"), PATIENT_LEADERS, cables=True) as running:
        for name in WORKERS:
            await running.start_worker(scripted(name))
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def account(mesh: Many) -> AsyncIterator[HordeClient]:
    async with rich_account(mesh) as rich, mesh.client(credential=rich.credential, patience=PATIENT) as patient:
        yield patient


async def test_everything_works_behind_a_proxy(mesh: Many, account: HordeClient) -> None:
    source = await account.images.put(png())
    async with books_of(mesh) as books, mesh.client(patience=PATIENT) as nobody:
        asked = (
            (account, small("private", count=3), PRIVATE),
            (account, small("shared", share=True), SHARED),
            (account, small("from a picture", share=True, source_image=source), PRIVATE),
            (nobody, small("anonymous"), SHARED),
        )
        for horde, spec, placement in asked:
            generation = await horde.generations.finish((await horde.generations.create(spec)).generation_id)
            assert {image.placement for image in generation.images} == {placement}
            await assert_done_and_paid(books, generation)
            await assert_in_its_bucket_alone(mesh, horde, generation)
        await books.assert_balanced()


async def test_a_watcher_sees_the_previews_of_a_worker_at_another_gateway(mesh: Many, account: HordeClient) -> None:
    generation = await account.generations.create(small("[slow:0.2] [preview]", steps=20))
    async with asyncio.timeout(HANG_SECONDS):
        async for event in account.generations.watch(generation.generation_id, previews=True):
            if isinstance(event, Previewed):
                break
        else:
            raise AssertionError("it ended without a preview")
    await account.generations.cancel(generation.generation_id)


class Load:
    """Requesters that ask for one picture after the other, until told to stop."""

    def __init__(self, horde: HordeClient) -> None:
        self._horde = horde
        self.ended: list[Generation] = []
        self._more = asyncio.Condition()
        self._stopping = False

    async def ask(self) -> None:
        while not self._stopping:
            request_id = str(uuid.uuid4())
            generation = await self._horde.generations.create(small("[slow:0.02]", count=2), request_id=request_id)
            self.ended.append(await self._horde.generations.finish(generation.generation_id))
            async with self._more:
                self._more.notify_all()

    async def further(self, count: int) -> None:
        """Wait until so many more have ended."""
        goal = len(self.ended) + count
        async with asyncio.timeout(HANG_SECONDS), self._more:
            await self._more.wait_for(lambda: len(self.ended) >= goal)

    def stop(self) -> None:
        self._stopping = True


@pytest.mark.parametrize("role", LED, ids=[role.value for role in LED])
async def test_a_leader_that_stands_still_is_replaced_under_load(role: Role, mesh: Many, account: HordeClient) -> None:
    load = Load(account)
    slow = asyncio.create_task(account.generations.finish((await account.generations.create(LONG)).generation_id))
    asking = [asyncio.create_task(load.ask()) for _ in range(4)]
    try:
        await load.further(4)
        still, replaced = await mesh.leader(role), len(mesh.replaced)
        os.kill(mesh.processes[still].pid, signal.SIGSTOP)
        try:
            # More than was under way: so it is accepted, lent, paid and told by the other, to whom everybody has gone.
            await load.further(8)
        finally:
            os.kill(mesh.processes[still].pid, signal.SIGCONT)
        # Refused what it still wanted to write, it ends, and stands by from then on.
        await until(lambda: still in mesh.replaced[replaced:], f"{still} is replaced")
        await load.further(4)
    finally:
        load.stop()
        await asyncio.gather(*asking)
    ended = [*load.ended, await slow]
    async with books_of(mesh) as books:
        for generation in ended:
            await assert_done_and_paid(books, generation)
            # Nobody painted anything twice, nor lost what he was painting.
            assert {image.attempt for image in generation.images} == {1}
        await books.assert_balanced()
    assert len({image.job_id for generation in ended for image in generation.images}) == 2 * len(load.ended) + 1


async def test_each_process_is_killed_under_load_and_nobody_misses_it(mesh: Many, account: HordeClient) -> None:
    load = Load(account)
    asking = [asyncio.create_task(load.ask()) for _ in range(4)]
    try:
        await load.further(4)
        # Of two where one leads: the leader, and then the one that has taken over.
        victims: list[str | Role] = [replica.name for replica in REPLICAS if replica.role not in LED]
        for chosen in [*victims, *LED, *LED]:
            victim = await mesh.leader(chosen) if isinstance(chosen, Role) else chosen
            await mesh.processes[victim].kill()
            await load.further(4)
            await mesh.start_replica(victim)
            await load.further(1)
    finally:
        load.stop()
        await asyncio.gather(*asking)
    await mesh.all_serve()
    async with books_of(mesh) as books:
        for generation in load.ended:
            await assert_done_and_paid(books, generation)
        await books.assert_balanced()
    assert len({image.job_id for generation in load.ended for image in generation.images}) == 2 * len(load.ended)
    assert only(await account.generations.finish((await account.generations.create(small("again"))).generation_id))
