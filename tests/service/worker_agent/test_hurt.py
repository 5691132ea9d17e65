"""Ways to hurt a worker: nothing that was painted is lost, nothing is paid twice, and it goes on by itself.

Kills at every stage are in `test_process.py`, a dead painter in `tests/conformance/test_painter.py`, models that are
damaged, too large or too hungry in `test_studio.py`, broken lines, farewells and full disks in `test_attach.py`.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from horde.api.generation.v1 import generation_pb2
from horde.api.job.v1 import job_pb2
from horde.api.worker.v1 import worker_service_pb2 as pb
from horde.services.errors import Internal, ResourceExhausted, Unknown
from horde.testkit.loopback import ManualClock
from horde.testkit.waiting import until
from horde.testkit.worker_agent import FakeMesh
from horde.worker_agent.agent import Agent
from horde.worker_agent.core.jobs import InputId, Picture
from horde.worker_agent.core.session import SURPLUS
from horde.worker_agent.painters.port import Onlooker, Work
from horde.worker_agent.painters.scripted import ScriptedPainter
from horde.worker_agent.running import working
from horde.worker_agent.settings import WorkerSettings

Settings = Callable[..., WorkerSettings]


class Fragile(ScriptedPainter):
    """Breaks as no painter may."""

    async def paint(
        self, picture: Picture, inputs: Mapping[InputId, bytes], onlooker: Onlooker, cancelled: asyncio.Event
    ) -> Work:
        if picture.prompt == "[raise]":
            raise ZeroDivisionError("\x1b[31mred words\x1b[0m")
        return await super().paint(picture, inputs, onlooker, cancelled)


@dataclass
class Bench:
    """A worker at work, and the mesh that hurts it."""

    mesh: FakeMesh
    agent: Agent
    settings: WorkerSettings
    clock: ManualClock

    async def paid(self, lent: pb.Assignment) -> None:
        """The job was painted, brought and reported, and is settled here, once."""
        await self.mesh.gateway.until(lambda: lent.lease_id in self.results())
        assert self.results()[lent.lease_id] == "painted"
        await until(lambda: not self.agent.owed)

    def results(self) -> dict[str, str | None]:
        return {each.lease_id: each.WhichOneof("result") for each in self.mesh.gateway.outcomes()}

    async def ended(self, lent: pb.Assignment, result: str) -> str:
        """The words with which a job ended in another way."""
        await self.mesh.gateway.until(lambda: lent.lease_id in self.results())
        (outcome,) = [each for each in self.mesh.gateway.outcomes() if each.lease_id == lent.lease_id][:1]
        assert outcome.WhichOneof("result") == result
        return str(getattr(outcome, result).detail)

    async def again(self) -> None:
        """Attached anew, after some waiting."""
        before = len(self.mesh.gateway.restatements())
        while len(self.mesh.gateway.restatements()) == before:
            await self.clock.advance(1)
            await asyncio.sleep(0.005)

    def lend(self, **fields: object) -> pb.Assignment:
        """An assignment of one's own making."""
        spec = job_pb2.JobSpec(model="paintbox", image=job_pb2.ImageSpec(prompt="x", width=64, height=64, steps=2))
        lent = pb.Assignment(lease_id="odd", job_id="odd-job", spec=spec, grant="odd", storage_address=self.mesh.target)
        for name, value in fields.items():
            if isinstance(value, str):
                setattr(lent, name, value)
            else:
                getattr(lent, name).CopyFrom(value)
        self.mesh.gateway.say(assignment=lent)
        return lent


@asynccontextmanager
async def bench(mesh: FakeMesh, settings: WorkerSettings) -> AsyncIterator[Bench]:
    clock = ManualClock()
    async with working(settings, Fragile(name=settings.name), clock) as agent:
        await mesh.gateway.until(mesh.gateway.restatements)
        yield Bench(mesh, agent, settings, clock)


async def paid_twice(at: Bench) -> None:
    at.mesh.gateway.settles = False
    lent = at.mesh.assign()
    await at.mesh.gateway.until(at.mesh.gateway.outcomes)
    for _ in range(3):
        at.mesh.gateway.settle(lent.lease_id, lent.job_id)
    at.mesh.gateway.settles = True


async def settled_before_it_was_painted(at: Bench) -> None:
    lent = at.mesh.assign("[hang]")
    await at.mesh.gateway.until(lambda: at.mesh.gateway.progress(lent.lease_id))
    at.mesh.gateway.settle(lent.lease_id, lent.job_id, pb.DISPOSITION_DUPLICATE)
    await until(lambda: at.agent.idle)


async def words_about_nothing(at: Bench) -> None:
    gateway = at.mesh.gateway
    gateway.settle("none", "none")
    gateway.say(revocation=pb.Revocation(lease_id="none"))
    gateway.say(preview_wish=pb.PreviewWish(lease_id="none", wanted=True))
    gateway.say(idle_report=pb.IdleReport())
    gateway.say(terms=pb.Terms())
    gateway.say()


async def numbers_of_nothing(at: Bench) -> None:
    lent = at.mesh.assign("[hang]")
    await at.mesh.gateway.until(lambda: at.mesh.gateway.progress(lent.lease_id))
    at.mesh.gateway.say(revocation=pb.Revocation(lease_id=lent.lease_id, reason=pb.RevocationReason.ValueType(99)))
    await until(lambda: at.agent.idle)


async def many_resyncs(at: Bench) -> None:
    for epoch in range(50):
        at.mesh.gateway.say(resync=pb.Resync(epoch=epoch))
    await at.mesh.gateway.until(lambda: len(at.mesh.gateway.restatements()) == 51)


async def an_empty_job(at: Bench) -> None:
    await at.ended(at.lend(spec=job_pb2.JobSpec()), "refused")


async def a_job_of_no_size(at: Bench) -> None:
    image = job_pb2.ImageSpec(prompt="x", width=0, height=-8, steps=0)
    words = await at.ended(at.lend(spec=job_pb2.JobSpec(model="paintbox", image=image)), "refused")
    assert "0x-8" in words


async def a_job_for_a_model_that_is_not_here(at: Bench) -> None:
    image = job_pb2.ImageSpec(width=8, height=8, steps=1)
    await at.ended(at.lend(spec=job_pb2.JobSpec(model="x", image=image)), "refused")


async def a_lease_whose_name_is_a_path(at: Bench) -> None:
    await at.paid(at.lend(lease_id="../../etc/passwd", grant="path"))


async def storage_that_is_no_address(at: Bench) -> None:
    lent = at.lend(storage_address="not an address")
    uploading = generation_pb2.LEASE_STATE_UPLOADING
    await at.mesh.gateway.until(lambda: uploading in at.mesh.gateway.states(lent.lease_id))
    # It is kept, and tried, for as long as the mesh wants it; and holds nobody up.
    await at.paid(at.mesh.assign())
    at.mesh.gateway.say(revocation=pb.Revocation(lease_id=lent.lease_id))


async def storage_at_too_many_addresses(at: Bench) -> None:
    for number in range(17):
        at.lend(lease_id=f"many-{number}", storage_address=f"127.0.0.1:{number + 1}")
        at.mesh.gateway.say(revocation=pb.Revocation(lease_id=f"many-{number}"))
    await until(lambda: at.agent.idle)


async def more_than_was_asked_for(at: Bench) -> None:
    at.mesh.gateway.settles = False
    lent = [at.mesh.assign(steps=2) for _ in range(SURPLUS + 20)]
    await at.mesh.gateway.until(lambda: len(at.results()) == len(lent))
    assert set(at.results().values()) <= {"painted", "refused"}
    at.mesh.gateway.settles = True
    for each in lent:
        at.mesh.gateway.settle(each.lease_id, each.job_id, pb.DISPOSITION_DUPLICATE)


async def a_painter_that_raises(at: Bench) -> None:
    words = await at.ended(at.mesh.assign("[raise]"), "failed")
    assert "\x1b" not in words


async def storage_that_is_busy(at: Bench) -> None:
    at.mesh.router.refuse_with = ResourceExhausted("later", retry_after=timedelta(seconds=30))
    await _away_for_a_while(at)


async def storage_that_breaks_inside(at: Bench) -> None:
    at.mesh.router.refuse_with = Internal("a defect")
    await _away_for_a_while(at)


async def _away_for_a_while(at: Bench) -> None:
    lent = at.mesh.assign()
    await at.mesh.gateway.until(lambda: at.mesh.router.opened)
    for _ in range(20):
        await at.clock.advance(5)
    at.mesh.router.refuse_with = None
    while lent.lease_id not in at.results():
        await at.clock.advance(5)
        await asyncio.sleep(0.005)
    await at.paid(lent)


async def a_stream_that_ends_in_every_way(at: Bench) -> None:
    for error in (None, Unknown("who knows")):
        lent = at.mesh.assign("[slow:1]", steps=3)
        at.mesh.gateway.hang_up(error)
        await at.again()
        while lent.lease_id not in at.results():
            await at.clock.advance(1)
            await asyncio.sleep(0.005)


async def a_clock_that_jumps(at: Bench) -> None:
    lent = at.mesh.assign("[slow:1]", steps=4)
    at.clock.jump(3600)
    while lent.lease_id not in at.results():
        at.clock.jump(3600)
        await asyncio.sleep(0.005)
    await at.paid(lent)


async def its_folder_is_deleted(at: Bench) -> None:
    shutil.rmtree(at.settings.home)
    await at.paid(at.mesh.assign())


async def its_folder_is_a_file(at: Bench) -> None:
    shutil.rmtree(at.settings.home)
    at.settings.home.write_text("")
    await at.paid(at.mesh.assign())
    at.settings.home.unlink()


async def the_owner_pauses_in_mid_job(at: Bench) -> None:
    lent = at.mesh.assign("[slow:1]", steps=3)
    at.agent.pause(paused=True)
    while lent.lease_id not in at.results():
        await at.clock.advance(1)
        await asyncio.sleep(0.005)
    await at.paid(lent)
    at.agent.pause(paused=False)


WAYS: dict[str, Callable[[Bench], Awaitable[None]]] = {
    way.__name__: way
    for way in (
        paid_twice,
        settled_before_it_was_painted,
        words_about_nothing,
        numbers_of_nothing,
        many_resyncs,
        an_empty_job,
        a_job_of_no_size,
        a_job_for_a_model_that_is_not_here,
        a_lease_whose_name_is_a_path,
        storage_that_is_no_address,
        storage_at_too_many_addresses,
        more_than_was_asked_for,
        a_painter_that_raises,
        storage_that_is_busy,
        storage_that_breaks_inside,
        a_stream_that_ends_in_every_way,
        a_clock_that_jumps,
        its_folder_is_deleted,
        its_folder_is_a_file,
        the_owner_pauses_in_mid_job,
    )
}


@pytest.mark.parametrize("way", WAYS)
async def test_a_worker_that_is_hurt_loses_nothing_and_goes_on(mesh: FakeMesh, settings: Settings, way: str) -> None:
    async with bench(mesh, settings(prefetch=3)) as at:
        before = at.mesh.assign()
        await at.paid(before)
        await WAYS[way](at)
        after = at.mesh.assign()
        await at.paid(after)
        await until(lambda: at.agent.idle and not at.agent.jobs_at_work)
        painted = {lease for lease, result in at.results().items() if result == "painted"}
        # No lease is paid twice, and every picture that was paid is in storage.
        assert at.agent.tally.accepted + at.agent.tally.unpaid <= len(at.results())
        assert {before.grant, after.grant} <= mesh.router.stored.keys()
        assert len(mesh.router.stored) >= len(painted)
    home = at.settings.home
    assert not home.exists() or not [path for path in home.rglob("*") if path.is_file() and path.parent != home]


JUNK = [b"", b"junk", b"\x00" * 4096, b"{}\n", json.dumps({"lease_id": "x"}).encode() + b"\npicture"]


@pytest.mark.parametrize("junk", JUNK, ids=["empty", "words", "zeros", "no facts", "few facts"])
async def test_what_a_damaged_disk_holds_is_dropped_with_a_word(
    mesh: FakeMesh, settings: Settings, junk: bytes
) -> None:
    mine = settings()
    for folder in ("outcomes", "spool"):
        (mine.home / folder).mkdir(parents=True)
        (mine.home / folder / "damaged").write_bytes(junk)
        (mine.home / folder / "folder").mkdir()
    async with bench(mesh, mine) as at:
        await at.paid(at.mesh.assign())
    assert not list(Path(mine.home / "spool").glob("damaged"))
