"""The short form of `make rolling`: the only gateway and the only scheduler are restarted while people ask."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from pathlib import Path

from tests.mesh.backends import merged
from tests.mesh.probing import EXTRA, assert_done_and_paid, books_of, rich_account, scripted, small

from horde.api.generation.v1.generation_pb2 import Generation
from horde.cli.local.mesh import STOP_SECONDS, local_mesh
from horde.cli.local.roles import Role
from horde.clients.retrying import Patience
from horde.testkit.waiting import HANG_SECONDS, until

PATIENT = Patience(total=timedelta(seconds=HANG_SECONDS))
# However long a restart takes on a busy machine, it costs nobody a lease.
PATIENT_SCHEDULER = {Role.SCHEDULER: {"RESUME_GRACE_SECONDS": "60", "LEASE_TTL_SECONDS": "240"}}


async def test_who_asks_and_who_paints_does_not_notice_that_a_process_was_restarted(tmp_path: Path) -> None:
    ended: list[Generation] = []
    going_on = True
    async with (
        local_mesh(tmp_path / "state", extra=merged(EXTRA, PATIENT_SCHEDULER)) as mesh,
        rich_account(mesh) as rich,
        mesh.client(credential=rich.credential, patience=PATIENT) as account,
    ):
        await mesh.start_worker(scripted("anna"))

        async def ask() -> None:
            while going_on:
                accepted = await account.generations.create(small("[slow:0.05]"), request_id=str(uuid.uuid4()))
                ended.append(await account.generations.finish(accepted.generation_id))

        asking = [asyncio.create_task(ask()) for _ in range(2)]
        try:
            for role in (Role.GATEWAY, Role.SCHEDULER):
                before = len(ended)
                await until(lambda before=before: len(ended) > before, "a picture before")  # type: ignore[misc]
                assert await mesh.processes[role.value].stop(STOP_SECONDS) == 0
                await mesh.start(role)
                before = len(ended)
                # Of both who ask, for each may have had one that was done already.
                await until(lambda before=before: len(ended) > before + 2, "pictures after")  # type: ignore[misc]
        finally:
            going_on = False
            await asyncio.gather(*asking)
        async with books_of(mesh) as books:
            for generation in ended:
                await assert_done_and_paid(books, generation)
                assert {image.attempt for image in generation.images} == {1}
            await books.assert_balanced()
