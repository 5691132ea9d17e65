"""The agent over real sockets: what it says, what it survives, and how it leaves."""

from __future__ import annotations

import asyncio
import hashlib
import io
import random
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from PIL import Image

from horde.api.generation.v1 import generation_pb2
from horde.api.job.v1 import job_pb2
from horde.api.worker.v1 import worker_pb2
from horde.api.worker.v1 import worker_service_pb2 as pb
from horde.services.clock import SystemClock
from horde.services.errors import (
    Aborted,
    AlreadyExists,
    FieldViolation,
    InvalidArgument,
    ResourceExhausted,
    ServiceError,
    Unauthenticated,
    Unavailable,
)
from horde.testkit.loopback import ManualClock
from horde.testkit.waiting import HANG_SECONDS
from horde.testkit.worker_agent import FakeMesh
from horde.worker_agent import running
from horde.worker_agent.agent import Agent
from horde.worker_agent.attach import Dismissed
from horde.worker_agent.core.backoff import Backoff
from horde.worker_agent.core.jobs import InputId, Picture
from horde.worker_agent.doors import storage_doors
from horde.worker_agent.painters.port import Onlooker, Work
from horde.worker_agent.painters.scripted import ScriptedPainter
from horde.worker_agent.running import run_worker, working
from horde.worker_agent.settings import WorkerSettings
from horde.worker_agent.upload import upload

Settings = Callable[..., WorkerSettings]


class WrongDimensions(InvalidArgument):
    """The image has another size than was granted."""

    domain = "horde.api.storage.v1"
    reason = "WRONG_DIMENSIONS"


class ContentConflict(AlreadyExists):
    """The lease has another image."""

    domain = "horde.api.storage.v1"
    reason = "CONTENT_CONFLICT"


@asynccontextmanager
async def at_work(settings: WorkerSettings, mesh: FakeMesh) -> AsyncIterator[Agent]:
    painter = ScriptedPainter(name=settings.name, script=settings.script, places=settings.painters)
    async with working(settings, painter, SystemClock()) as agent:
        await mesh.gateway.until(lambda: mesh.gateway.restatements())
        yield agent


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(HANG_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


def painted(mesh: FakeMesh, lease_id: str) -> list[pb.Outcome]:
    return [
        outcome for outcome in mesh.gateway.outcomes() if outcome.lease_id == lease_id and outcome.HasField("painted")
    ]


async def test_a_worker_says_hello_then_restates_then_paints(mesh: FakeMesh, settings: Settings) -> None:
    async with at_work(settings(), mesh):
        assert [message.WhichOneof("message") for message in mesh.gateway.heard] == ["hello", "restatement"]
        assert mesh.gateway.heard[0].hello.worker_name == "anna"
        assert mesh.gateway.heard[1].restatement.demand.slots == 2
        assert mesh.gateway.credentials == ["Bearer secret"]
        lent = mesh.assign(width=128, height=64)
        await mesh.gateway.until(lambda: painted(mesh, lent.lease_id))
        image = mesh.router.stored[lent.grant]
        assert painted(mesh, lent.lease_id)[0].painted.receipt.startswith(f"receipt:{lent.grant}:")
        with Image.open(io.BytesIO(image)) as opened:
            assert (opened.format, opened.size) == ("WEBP", (128, 64))
            assert not opened.getexif()
        assert mesh.gateway.progress(lent.lease_id)[-1] == 4


async def test_a_stream_that_breaks_in_mid_job_is_taken_up_again_with_the_lease(
    mesh: FakeMesh, settings: Settings
) -> None:
    async with at_work(settings(), mesh):
        lent = mesh.assign("[slow:0.05]", steps=20)
        await mesh.gateway.until(lambda: mesh.gateway.progress(lent.lease_id))
        mesh.gateway.hang_up()
        await mesh.gateway.until(lambda: mesh.gateway.sessions == 2 and len(mesh.gateway.restatements()) == 2)
        held = mesh.gateway.restatements()[1].leases
        assert [(lease.lease_id, lease.job_id) for lease in held] == [(lent.lease_id, lent.job_id)]
        assert held[0].step > 0
        await mesh.gateway.until(lambda: painted(mesh, lent.lease_id))
        assert mesh.router.opened == 1


async def test_a_resync_is_answered_with_its_epoch_and_everything_held(mesh: FakeMesh, settings: Settings) -> None:
    mesh.gateway.settles = False
    async with at_work(settings(), mesh):
        done = mesh.assign()
        await mesh.gateway.until(lambda: painted(mesh, done.lease_id))
        running = mesh.assign("[hang]")
        await mesh.gateway.until(lambda: mesh.gateway.progress(running.lease_id))
        mesh.gateway.say(resync=pb.Resync(epoch=7))
        await mesh.gateway.until(lambda: len(mesh.gateway.restatements()) == 2)
        restated = mesh.gateway.restatements()[1]
        assert restated.epoch == 7
        assert [lease.lease_id for lease in restated.leases] == [running.lease_id]
        assert [outcome.lease_id for outcome in restated.outcomes] == [done.lease_id]


async def test_a_revocation_reaches_the_painter_within_a_step(mesh: FakeMesh, settings: Settings) -> None:
    async with at_work(settings(), mesh):
        lent = mesh.assign("[slow:0.2]", steps=500)
        await mesh.gateway.until(lambda: mesh.gateway.progress(lent.lease_id))
        mesh.gateway.say(revocation=pb.Revocation(lease_id=lent.lease_id, reason=pb.REVOCATION_REASON_CANCELLED))
        await mesh.gateway.until(lambda: mesh.gateway.outcomes())
        (outcome,) = mesh.gateway.outcomes()
        assert outcome.HasField("cancelled")
        assert outcome.cancelled.step <= mesh.gateway.progress(lent.lease_id)[-1] + 1
        assert mesh.router.opened == 0
        another = mesh.assign()
        await mesh.gateway.until(lambda: painted(mesh, another.lease_id))


def assignment(mesh: FakeMesh) -> pb.Assignment:
    spec = job_pb2.JobSpec(model="paintbox", image=job_pb2.ImageSpec(prompt="a cat", width=64, height=64, steps=4))
    return pb.Assignment(lease_id="1-1", job_id="job-1", spec=spec, grant="1-1", storage_address=mesh.target)


async def test_a_job_that_is_revoked_before_it_is_begun_leaves_nothing(mesh: FakeMesh, settings: Settings) -> None:
    async with at_work(settings(), mesh) as agent:
        # Both in one turn of the loop: the job's task has not run yet.
        agent.heard(pb.AttachResponse(assignment=assignment(mesh)))
        agent.heard(pb.AttachResponse(revocation=pb.Revocation(lease_id="1-1")))
        await mesh.gateway.until(mesh.gateway.outcomes)
        assert mesh.gateway.outcomes()[0].cancelled == pb.Cancelled(step=0)
        assert not mesh.gateway.progress("1-1")
        assert agent.idle
        assert agent.jobs_at_work == 0


async def test_a_full_disk_stops_nobody(mesh: FakeMesh, settings: Settings) -> None:
    async with at_work(settings(), mesh):
        home = settings().home
        for folder in (home / "spool", home / "outcomes"):
            folder.rmdir()
        lent = mesh.assign()
        await mesh.gateway.until(lambda: painted(mesh, lent.lease_id))


async def test_an_outcome_is_sent_again_until_it_is_settled_and_then_forgotten(
    mesh: FakeMesh, settings: Settings
) -> None:
    mesh.gateway.settles = False
    async with at_work(settings(), mesh) as agent:
        lent = mesh.assign()
        await mesh.gateway.until(lambda: len(painted(mesh, lent.lease_id)) == 1)
        mesh.gateway.hang_up()
        await mesh.gateway.until(lambda: len(painted(mesh, lent.lease_id)) == 2)
        mesh.gateway.settle(lent.lease_id, lent.job_id)
        mesh.gateway.settle(lent.lease_id, lent.job_id)
        mesh.gateway.say(resync=pb.Resync(epoch=9))
        await mesh.gateway.until(
            lambda: [restatement for restatement in mesh.gateway.restatements() if restatement.epoch == 9]
        )
        assert not mesh.gateway.restatements()[-1].outcomes
        assert (agent.tally.accepted, agent.tally.earned) == (1, 10_830)


async def test_an_assignment_said_twice_is_painted_once(mesh: FakeMesh, settings: Settings) -> None:
    mesh.gateway.settles = False
    async with at_work(settings(), mesh):
        lent = mesh.assign("[slow:0.02]")
        mesh.gateway.say(assignment=lent)
        await mesh.gateway.until(lambda: painted(mesh, lent.lease_id))
        mesh.gateway.say(assignment=lent)
        await mesh.gateway.until(lambda: len(painted(mesh, lent.lease_id)) == 2)
        assert mesh.router.opened == 1


async def test_a_small_image_goes_in_one_message_and_after_a_break_on_from_what_has_arrived(mesh: FakeMesh) -> None:
    """A line that breaks after every 30 kB, as one of 5 kB/s that is cut every six seconds."""
    image = random.Random(0).randbytes(100_000)
    mesh.router.break_after = mesh.router.breaks_every = 30_000
    async with storage_doors() as doors:
        receipt = await upload(
            await doors.at(mesh.target),
            "1-1",
            image,
            hashlib.sha256(image).digest(),
            SystemClock(),
            Backoff(0.01, 0.01, 0.0),
        )
    assert receipt.startswith("receipt:1-1:")
    assert mesh.router.stored["1-1"] == image
    # The first try, in one message, brings nothing; each further one goes on from where the last one broke.
    assert mesh.router.offsets == sorted(set(mesh.router.offsets))
    assert 2 < len(mesh.router.offsets) <= 6


async def test_a_large_upload_that_breaks_goes_on_from_the_byte_that_the_router_names(mesh: FakeMesh) -> None:
    image = random.Random(0).randbytes(700_000)
    mesh.router.break_after = 400_000
    async with storage_doors() as doors:
        receipt = await upload(
            await doors.at(mesh.target),
            "1-1",
            image,
            hashlib.sha256(image).digest(),
            SystemClock(),
            Backoff(0.01, 0.01, 0.0),
        )
    assert receipt.startswith("receipt:1-1:")
    assert mesh.router.stored["1-1"] == image
    assert mesh.router.offsets == [0, 512 * 1024]


@pytest.mark.parametrize(
    ("prompt", "result"),
    [
        ("[fail]", "failed"),
        ("[refuse]", "refused"),
        ("[censor]", "censored"),
        ("[lie]", "painted"),
        ("[fail@bert]", "painted"),
    ],
)
async def test_a_script_decides_the_outcome(mesh: FakeMesh, settings: Settings, prompt: str, result: str) -> None:
    async with at_work(settings(), mesh):
        mesh.assign(prompt)
        await mesh.gateway.until(lambda: mesh.gateway.outcomes())
        assert mesh.gateway.outcomes()[0].WhichOneof("result") == result
        assert mesh.router.opened == (prompt == "[fail@bert]")


async def test_previews_are_made_only_while_somebody_watches(mesh: FakeMesh, settings: Settings) -> None:
    def previews() -> list[pb.LeasePreview]:
        return [message.preview for message in mesh.gateway.heard if message.HasField("preview")]

    async with at_work(settings(painters=2), mesh):
        unwatched = mesh.assign("[slow:0.05]", steps=6)
        watched = mesh.assign("[slow:0.05]", steps=500)
        mesh.gateway.say(preview_wish=pb.PreviewWish(lease_id=watched.lease_id, wanted=True))
        await mesh.gateway.until(lambda: painted(mesh, unwatched.lease_id) and len(previews()) >= 2)
        assert {preview.lease_id for preview in previews()} == {watched.lease_id}
        assert all(len(preview.image) <= 32 * 1024 for preview in previews())
        apart = previews()[1].step - previews()[0].step
        assert apart >= 10, "two previews within a second"


async def test_no_more_is_painted_at_once_than_there_are_painters(mesh: FakeMesh, settings: Settings) -> None:
    async with at_work(settings(painters=1, prefetch=1), mesh):
        first, second = mesh.assign("[hang]"), mesh.assign("[hang]")
        await mesh.gateway.until(lambda: mesh.gateway.progress(first.lease_id))
        mesh.gateway.say(resync=pb.Resync(epoch=1))
        await mesh.gateway.until(lambda: len(mesh.gateway.restatements()) == 2)
        steps = {lease.lease_id: lease.step for lease in mesh.gateway.restatements()[1].leases}
        assert steps[second.lease_id] == 0
        assert steps[first.lease_id] > 0


async def test_a_killed_worker_finishes_its_upload_after_the_restart(mesh: FakeMesh, settings: Settings) -> None:
    mesh.router.break_after = 1
    patient = settings(reconnect_first_seconds=1000, reconnect_limit_seconds=1000)
    async with at_work(patient, mesh):
        lent = mesh.assign()
        await eventually(lambda: mesh.router.break_after is None)
    mesh.gateway.heard.clear()
    mesh.router.refuse_with = Unavailable("not yet")
    async with at_work(settings(), mesh):
        assert [lease.lease_id for lease in mesh.gateway.restatements()[0].leases] == [lent.lease_id]
        mesh.router.refuse_with = None
        await mesh.gateway.until(lambda: painted(mesh, lent.lease_id))
        assert lent.grant in mesh.router.stored


async def test_an_unsettled_outcome_survives_a_restart(mesh: FakeMesh, settings: Settings) -> None:
    mesh.gateway.settles = False
    async with at_work(settings(), mesh):
        lent = mesh.assign("[deviate]")
        await mesh.gateway.until(lambda: painted(mesh, lent.lease_id))
    before = mesh.gateway.outcomes()
    mesh.gateway.heard.clear()
    mesh.gateway.settles = True
    async with at_work(settings(), mesh) as agent:
        assert list(mesh.gateway.restatements()[0].outcomes) == before
        await eventually(lambda: agent.tally.accepted == 1)
    mesh.gateway.heard.clear()
    async with at_work(settings(), mesh):
        assert not mesh.gateway.restatements()[0].outcomes


async def test_a_stopped_worker_drains_gives_back_what_waits_and_leaves(mesh: FakeMesh, settings: Settings) -> None:
    stop = asyncio.Event()
    run = asyncio.create_task(run_worker(settings(), asyncio.create_task(stop.wait())))
    await mesh.gateway.until(lambda: mesh.gateway.restatements())
    painting, waiting = mesh.assign("[slow:0.05]"), mesh.assign("[slow:0.05]")
    await mesh.gateway.until(lambda: mesh.gateway.progress(painting.lease_id))
    stop.set()
    await run
    results = {outcome.lease_id: outcome for outcome in mesh.gateway.outcomes()}
    assert results[painting.lease_id].HasField("painted")
    assert results[waiting.lease_id].refused.reason == pb.REFUSAL_REASON_DRAINING
    demands = [message.demand for message in mesh.gateway.heard if message.HasField("demand")]
    assert [(demand.slots, demand.draining) for demand in demands] == [(0, True)]


async def test_what_does_not_end_within_the_drain_is_given_back(mesh: FakeMesh, settings: Settings) -> None:
    stop = asyncio.Event()
    run = asyncio.create_task(run_worker(settings(drain_seconds=0.1), asyncio.create_task(stop.wait())))
    await mesh.gateway.until(lambda: mesh.gateway.restatements())
    lent = mesh.assign("[hang]")
    await mesh.gateway.until(lambda: mesh.gateway.progress(lent.lease_id))
    stop.set()
    await run
    (outcome,) = mesh.gateway.outcomes()
    assert outcome.refused.reason == pb.REFUSAL_REASON_DRAINING


class NoisyPainter(ScriptedPainter):
    """Keeps the inputs that it was given."""

    given: Mapping[InputId, bytes] = {}

    async def paint(
        self, picture: Picture, inputs: Mapping[InputId, bytes], onlooker: Onlooker, cancelled: asyncio.Event
    ) -> Work:
        self.given = dict(inputs)
        return await super().paint(picture, inputs, onlooker, cancelled)


def with_source(mesh: FakeMesh, content: bytes, sha256: bytes, ticket: str = "ticket") -> pb.Assignment:
    """Lend a job that starts from a picture."""
    mesh.router.inputs |= {"ticket": content, "damaged": content}
    source = job_pb2.InputImage(input_id="photo", sha256=sha256)
    tickets = [pb.InputTicket(input_id="photo", ticket=ticket)] if ticket else []
    return mesh.assign(tickets=tickets, source_image=source)


async def test_inputs_are_fetched_over_a_broken_download_and_checked(mesh: FakeMesh, settings: Settings) -> None:
    content = bytes(range(256)) * 40
    mesh.router.break_download_after = 3000
    painter = NoisyPainter()
    async with working(settings(), painter, SystemClock()):
        await mesh.gateway.until(mesh.gateway.restatements)
        lent = with_source(mesh, content, hashlib.sha256(content).digest())
        await mesh.gateway.until(lambda: painted(mesh, lent.lease_id))
    assert painter.given == {"photo": content}
    assert mesh.router.download_offsets == [0, 3000]


@pytest.mark.parametrize(
    ("sha256", "ticket", "words"),
    [
        (hashlib.sha256(b"photo").digest(), "damaged", "arrived damaged"),
        (hashlib.sha256(b"photo").digest(), "", "no ticket"),
        (hashlib.sha256(b"photo").digest(), "expired", "OBJECT_NOT_FOUND"),
    ],
)
async def test_a_job_whose_input_cannot_be_had_is_given_back(
    mesh: FakeMesh, settings: Settings, sha256: bytes, ticket: str, words: str
) -> None:
    async with at_work(settings(), mesh):
        with_source(mesh, b"photo", sha256, ticket)
        await mesh.gateway.until(mesh.gateway.outcomes)
        (outcome,) = mesh.gateway.outcomes()
        assert outcome.refused.reason == pb.REFUSAL_REASON_INPUT_UNAVAILABLE
        assert words in outcome.refused.detail


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (WrongDimensions("64x64 was granted"), "failed"),
        (Unauthenticated("the grant is forged"), "failed"),
        (ContentConflict("another image"), None),
    ],
)
async def test_what_the_router_refuses_is_not_sent_again(
    mesh: FakeMesh, settings: Settings, error: ServiceError, result: str | None
) -> None:
    mesh.router.refuse_with = error
    async with at_work(settings(), mesh):
        refused = mesh.assign()
        await eventually(lambda: mesh.router.opened == 1)
        mesh.router.refuse_with = None
        other = mesh.assign()
        await mesh.gateway.until(lambda: painted(mesh, other.lease_id))
        assert mesh.router.opened == 2
        results = [
            outcome.WhichOneof("result") for outcome in mesh.gateway.outcomes() if outcome.lease_id == refused.lease_id
        ]
        assert results == ([result] if result else [])
        mesh.gateway.say(resync=pb.Resync(epoch=3))
        await mesh.gateway.until(lambda: len(mesh.gateway.restatements()) == 2)
        assert not mesh.gateway.restatements()[1].leases


async def test_after_a_farewell_the_worker_comes_back_with_what_it_holds(mesh: FakeMesh, settings: Settings) -> None:
    async with at_work(settings(), mesh):
        lent = mesh.assign("[hang]")
        await mesh.gateway.until(lambda: mesh.gateway.progress(lent.lease_id))
        mesh.gateway.say(farewell=pb.Farewell(detail="a release"))
        await mesh.gateway.until(lambda: mesh.gateway.sessions == 2 and len(mesh.gateway.restatements()) == 2)
        assert [lease.lease_id for lease in mesh.gateway.restatements()[1].leases] == [lent.lease_id]


LOOPS = 4
"""Of an agent that is at work, each of which waits for its time: attaching only after it was refused."""


async def test_too_many_sessions_means_wait_as_long_as_they_say(mesh: FakeMesh, settings: Settings) -> None:
    mesh.gateway.refuse_with = ResourceExhausted("too many", retry_after=timedelta(seconds=600))
    clock = ManualClock()
    async with working(settings(), ScriptedPainter(), clock):
        await eventually(lambda: mesh.gateway.refusals == 1 and clock.waiting == LOOPS)
        mesh.gateway.refuse_with = None
        await clock.advance(599)
        assert not mesh.gateway.heard
        await clock.advance(2)
        await mesh.gateway.until(mesh.gateway.restatements)


async def test_the_trace_of_a_job_goes_on_with_its_upload(mesh: FakeMesh, settings: Settings) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with at_work(settings(), mesh):
        lent = mesh.assign(traceparent=trace)
        await mesh.gateway.until(lambda: painted(mesh, lent.lease_id))
        assert mesh.router.traces == [trace]


async def test_what_a_newer_mesh_asks_for_by_an_unknown_number_is_a_deviation(
    mesh: FakeMesh, settings: Settings
) -> None:
    async with at_work(settings(), mesh):
        lent = mesh.assign(sampler=99)
        await mesh.gateway.until(lambda: painted(mesh, lent.lease_id))
        (deviation,) = painted(mesh, lent.lease_id)[0].painted.deviations
        assert (deviation.field, deviation.asked) == ("sampler", "99")


class Superseded(Aborted):
    """A newer session is open."""

    domain = "horde.api.worker.v1"
    reason = "SESSION_SUPERSEDED"


async def dismissal(run: asyncio.Task[None]) -> Dismissed:
    """Why the worker's loop ended."""
    with pytest.raises(ExceptionGroup) as ended:
        await run
    cause = ended.value.exceptions[0].__cause__
    assert isinstance(cause, Dismissed)
    return cause


async def test_two_workers_of_one_name_are_told_what_to_do(mesh: FakeMesh, settings: Settings) -> None:
    run = asyncio.create_task(run_worker(settings(), asyncio.create_task(asyncio.Event().wait())))
    await mesh.gateway.until(lambda: mesh.gateway.restatements())
    mesh.gateway.hang_up(Superseded())
    words = str(await dismissal(run))
    assert re.search(r"worker anna of the same account: stop that one, or give one .* --name", words)


async def test_a_key_that_the_mesh_does_not_know_is_told_before_a_model_is_loaded(
    mesh: FakeMesh, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh.gateway.refuse_calls_with = Unauthenticated("This API key is not known.")

    def loaded(settings: WorkerSettings) -> Any:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(running, "open_painter", loaded)
    with pytest.raises(Dismissed, match=r"does not know the key in .*: This API key is not known\."):
        await run_worker(settings(), asyncio.create_task(asyncio.Event().wait()))
    assert mesh.gateway.sessions == 0


async def test_a_lease_says_that_it_is_prepared_painted_and_on_its_way_also_when_it_is_restated(
    mesh: FakeMesh, settings: Settings
) -> None:
    mesh.router.refuse_with = Unavailable("the router is away")
    async with at_work(settings(reconnect_first_seconds=1000, reconnect_limit_seconds=1000), mesh):
        lent = mesh.assign()
        states = [
            generation_pb2.LEASE_STATE_PREPARING,
            generation_pb2.LEASE_STATE_PAINTING,
            generation_pb2.LEASE_STATE_UPLOADING,
        ]
        await mesh.gateway.until(lambda: mesh.gateway.states(lent.lease_id) == states)
        mesh.gateway.say(resync=pb.Resync(epoch=2))
        await mesh.gateway.until(lambda: len(mesh.gateway.restatements()) == 2)
        (held,) = mesh.gateway.restatements()[1].leases
        assert (held.lease_id, held.state) == (lent.lease_id, generation_pb2.LEASE_STATE_UPLOADING)


async def test_finished_pictures_wait_for_a_router_that_is_away_and_all_are_brought_in(
    mesh: FakeMesh, settings: Settings
) -> None:
    mesh.router.refuse_with = Unavailable("the router is away")
    clock = ManualClock()
    async with working(settings(prefetch=3), ScriptedPainter(), clock):
        await mesh.gateway.until(mesh.gateway.restatements)
        lent = [mesh.assign(f"picture {number}") for number in range(3)]
        uploading = generation_pb2.LEASE_STATE_UPLOADING
        await mesh.gateway.until(lambda: all(uploading in mesh.gateway.states(lease.lease_id) for lease in lent))
        # Five minutes, try after try.
        for _ in range(60):
            await clock.advance(5)
        assert not mesh.gateway.outcomes()
        mesh.router.refuse_with = None
        while len(mesh.router.stored) < 3:
            await clock.advance(1)
            await asyncio.sleep(0.01)
        await mesh.gateway.until(lambda: all(painted(mesh, lease.lease_id) for lease in lent))


async def test_a_paused_worker_asks_why_it_is_idle_and_is_told_so(mesh: FakeMesh, settings: Settings) -> None:
    async with at_work(settings(), mesh) as agent:
        agent.ask_why_idle()
        await mesh.gateway.until(lambda: mesh.gateway.heard[-1].HasField("idle_question"))
        paused = worker_pb2.WorkerHindrance(reason=generation_pb2.INELIGIBLE_REASON_PAUSED, detail="by its owner")
        large = pb.IdleCause(reason=generation_pb2.INELIGIBLE_REASON_SIZE, jobs=3, model="paintbox")
        mesh.gateway.say(idle_report=pb.IdleReport(hindrances=[paused], causes=[large]))
        await eventually(lambda: agent.why_idle is not None)
        assert agent.why_idle == [
            "this worker is paused by its owner",
            "3 jobs wait for others: the size or the steps are more than this worker offers, mostly for paintbox",
        ]


@pytest.mark.parametrize("error", [Superseded(), Unauthenticated("no such key")])
async def test_a_worker_that_is_not_wanted_stops_and_says_why(mesh: FakeMesh, settings: Settings, error: Any) -> None:
    async with asyncio.timeout(HANG_SECONDS):
        run = asyncio.create_task(run_worker(settings(), asyncio.create_task(asyncio.Event().wait())))
        await mesh.gateway.until(lambda: mesh.gateway.restatements())
        mesh.gateway.hang_up(error)
        assert str(error) in str(await dismissal(run))
    assert mesh.gateway.sessions == 1


class InvalidField(InvalidArgument):
    """The message is not valid."""

    domain = "horde.api.worker.v1"
    reason = "INVALID_FIELD"


@pytest.mark.parametrize("by_itself", [False, True])
async def test_an_outcome_that_the_mesh_cannot_read_is_dropped_and_never_the_worker(
    mesh: FakeMesh, settings: Settings, by_itself: bool
) -> None:
    def reject(field: str) -> None:
        mesh.gateway.hang_up(InvalidField(violations=[FieldViolation(field, "must not be so")]))

    mesh.gateway.settles = False
    async with at_work(settings(), mesh):
        good, bad = mesh.assign(), mesh.assign("[fail]")
        await mesh.gateway.until(lambda: len(mesh.gateway.outcomes()) == 2)
        if by_itself:
            # It is not told which: the restatement gives it a place.
            reject("outcome.failed.detail")
        else:
            mesh.gateway.hang_up()
        await mesh.gateway.until(lambda: len(mesh.gateway.restatements()) == 2)
        place = [outcome.lease_id for outcome in mesh.gateway.restatements()[1].outcomes].index(bad.lease_id)
        reject(f"restatement.outcomes[{place}].failed.detail")
        await mesh.gateway.until(lambda: len(mesh.gateway.restatements()) == 3)
        assert [outcome.lease_id for outcome in mesh.gateway.restatements()[2].outcomes] == [good.lease_id]
        another = mesh.assign()
        await mesh.gateway.until(lambda: painted(mesh, another.lease_id))
    mesh.gateway.heard.clear()
    async with at_work(settings(), mesh):
        assert bad.lease_id not in [outcome.lease_id for outcome in mesh.gateway.restatements()[0].outcomes]
