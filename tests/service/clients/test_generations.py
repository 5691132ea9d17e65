"""Asking and watching through the SDK, against a mesh that fails on purpose."""

import asyncio
from datetime import timedelta

import pytest

from horde.api.generation.v1.generation_pb2 import Generation, Image
from horde.api.generation.v1.generation_service_pb2 import Progress, WatchGenerationResponse
from horde.api.job.v1.job_pb2 import JobState
from horde.cli.conform.fake_mesh import FakeMesh
from horde.clients.client import HordeClient
from horde.clients.errors import (
    GenerationNotFound,
    InsufficientKudos,
    InvalidField,
    RateLimited,
    RequestConflict,
    ServiceError,
    Unavailable,
)
from horde.clients.specs import generation_spec
from horde.clients.watching import Finished, ImageChanged, Progressed, Snapshot, WatchEvent
from horde.services.errors import FieldViolation

SPEC = generation_spec("a red fox")


def generation(version: int, *, state: JobState.ValueType, finished: bool = False, step: int = 0) -> Generation:
    lease = "1-1" if state == JobState.JOB_STATE_LEASED else ""
    image = Image(job_id="job", state=state, version=version, lease_id=lease, step=step)
    return Generation(generation_id="g", version=version, images=[image], finished=finished)


def snapshot(version: int, state: JobState.ValueType, step: int = 0) -> WatchGenerationResponse:
    return WatchGenerationResponse(snapshot=generation(version, state=state, step=step))


def image(version: int, state: JobState.ValueType) -> WatchGenerationResponse:
    return WatchGenerationResponse(image=generation(version, state=state).images[0])


def finished(version: int) -> WatchGenerationResponse:
    return WatchGenerationResponse(finished=generation(version, state=JobState.JOB_STATE_ENDED, finished=True))


def progress(step: int) -> WatchGenerationResponse:
    return WatchGenerationResponse(progress=Progress(job_id="job", lease_id="1-1", step=step, steps=20))


QUEUED, LEASED = JobState.JOB_STATE_QUEUED, JobState.JOB_STATE_LEASED


async def events(horde: HordeClient) -> list[WatchEvent]:
    return [event async for event in horde.generations.watch("g")]


async def test_a_create_that_fails_is_repeated_with_the_same_request_id(mesh: FakeMesh, horde: HordeClient) -> None:
    mesh.fail("Create", Unavailable(), Unavailable(), RateLimited(retry_after=timedelta(milliseconds=2)))
    made = await horde.generations.create(SPEC)
    asked = mesh.heard("Create")
    assert len(asked) == 4
    assert {request.request_id for request in asked} == {made.request_id}
    assert len(mesh.generations) == 1


async def test_every_call_says_who_asks(mesh: FakeMesh, horde: HordeClient) -> None:
    await horde.generations.quote(SPEC)
    await horde.accounts.show()
    assert {authorization for _, _, authorization in mesh.calls} == {"Bearer horde_a_b"}


async def test_a_wrong_field_is_told_with_its_path_and_not_repeated(mesh: FakeMesh, horde: HordeClient) -> None:
    violation = FieldViolation("spec.job.image.width", "a multiple of 8")
    mesh.fail("Create", InvalidField(violations=[violation]))
    with pytest.raises(InvalidField) as caught:
        await horde.generations.create(SPEC)
    assert caught.value.violations == (violation,)
    assert len(mesh.heard("Create")) == 1


@pytest.mark.parametrize("error", [InsufficientKudos(metadata={"needed_mkudos": "9"}), RequestConflict()])
async def test_a_refusal_arrives_as_itself(mesh: FakeMesh, horde: HordeClient, error: ServiceError) -> None:
    mesh.fail("Create", error)
    with pytest.raises(type(error)) as caught:
        await horde.generations.create(SPEC)
    assert caught.value.metadata == error.metadata


async def test_all_pages_are_read(mesh: FakeMesh, horde: HordeClient) -> None:
    for number in range(5):
        mesh.generations[str(number)] = Generation(generation_id=str(number))
    assert [each.generation_id async for each in horde.generations.list()] == ["0", "1", "2", "3", "4"]
    assert [request.page_token for request in mesh.heard("List")] == ["", "2", "4"]


async def test_a_broken_watch_goes_on_and_nothing_is_told_backwards(mesh: FakeMesh, horde: HordeClient) -> None:
    mesh.watches.extend(
        [
            [snapshot(1, QUEUED), image(2, LEASED), progress(5), Unavailable()],
            # A gateway that is behind: its old snapshot and what follows from it are left out.
            [snapshot(1, QUEUED), image(1, QUEUED)],
            [Unavailable()],
            [snapshot(2, LEASED, step=5), progress(4), progress(6), finished(4)],
        ]
    )
    told = await events(horde)
    kinds = [type(event) for event in told]
    assert kinds == [Snapshot, ImageChanged, Progressed, Snapshot, Progressed, Finished]
    assert [event.step for event in told if isinstance(event, Progressed)] == [5, 6]
    assert len(mesh.heard("Watch")) == 4


async def test_a_watch_of_what_is_not_there_fails_at_once(mesh: FakeMesh, horde: HordeClient) -> None:
    mesh.watches.append([GenerationNotFound()])
    with pytest.raises(GenerationNotFound):
        await events(horde)
    assert len(mesh.heard("Watch")) == 1


async def test_leaving_a_session_early_cancels(mesh: FakeMesh, horde: HordeClient) -> None:
    async with horde.generation(SPEC) as session:
        pass
    assert [request.generation_id for request in mesh.heard("Cancel")] == [session.generation.generation_id]


async def test_a_session_that_is_cancelled_from_outside_still_cancels(mesh: FakeMesh, horde: HordeClient) -> None:
    entered = asyncio.Event()

    async def paint() -> None:
        async with horde.generation(SPEC) as session:
            entered.set()
            await session.finish()

    task = asyncio.create_task(paint())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert mesh.cancelled.is_set()


async def test_a_finished_session_cancels_nothing(mesh: FakeMesh, horde: HordeClient) -> None:
    mesh.watches.append([snapshot(1, QUEUED), finished(2)])
    async with horde.generation(SPEC) as session:
        assert (await session.finish()).finished
    assert mesh.heard("Cancel") == []


async def test_an_error_inside_a_session_is_what_comes_out(mesh: FakeMesh, horde: HordeClient) -> None:
    mesh.fail("Cancel", *[GenerationNotFound()] * 2)
    with pytest.raises(ZeroDivisionError):
        async with horde.generation(SPEC):
            raise ZeroDivisionError
