"""What a neighbour or the database may do without ending the scheduler, and what ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from tests.service.scheduler.mesh import Gateway, World, scheduler, submission
from tests.service.scheduler.test_life import ended

from horde.api.job.v1 import job_pb2
from horde.internal.ledger.v1 import ledger_service_pb2 as ledger_pb
from horde.internal.storage.v1 import object_service_pb2 as object_pb
from horde.scheduler.core import lending
from horde.scheduler.core.job import GenerationId
from horde.scheduler.core.rows import Stored
from horde.scheduler.store.memory import MemoryStore
from horde.services.clock import SystemClock
from horde.services.errors import Internal, Unavailable
from horde.services.lifecycle import LoopDied
from horde.testkit.waiting import until


def short_once(method: Callable[..., Awaitable[Any]], forget: Callable[[Any], None]) -> Callable[..., Awaitable[Any]]:
    """The method, whose first answer lacks something."""
    asked = 0

    async def answer(request: Any, context: Any) -> Any:
        nonlocal asked
        asked += 1
        response = await method(request, context)
        if asked == 1:
            shortened = type(response)()
            shortened.CopyFrom(response)
            forget(shortened)
            return shortened
        return response

    return answer


def last_outcome(response: ledger_pb.ApplyResponse | object_pb.CommitObjectsResponse) -> None:
    del response.outcomes[-1]


@pytest.mark.parametrize(
    ("neighbour", "method"), [("ledger", "Apply"), ("storage", "CommitObjects"), ("storage", "ClaimInputs")]
)
async def test_a_neighbour_that_answers_one_outcome_too_few_is_asked_again(neighbour: str, method: str) -> None:
    world = World(clock=SystemClock())
    asked = getattr(world, neighbour)
    setattr(asked, method, short_once(getattr(asked, method), last_outcome))
    inputs: dict[str, Any] = {}
    if method == "ClaimInputs":
        digest = bytes(32)
        inputs["source_image"] = job_pb2.InputImage(input_id="one", sha256=digest)
        world.storage.inputs["one"] = digest
    async with scheduler(world) as it, Gateway(it) as gateway:
        painter = await gateway.attach()
        made = submission(**inputs)
        (accepted,) = await it.submit(made)
        assert accepted.WhichOneof("result") == "generation", accepted
        assert world.storage.claims == ({(made.generation_id, "one")} if inputs else set())
        if not inputs:
            await painter.paint(await painter.next("assignment"))
            (image,) = (await ended(it, made.generation_id)).images
            assert image.ending == job_pb2.JOB_ENDING_DONE


class Hiccup(MemoryStore):
    """A store that commits, and then does not answer the next question."""

    fails = 0

    async def find(self, generation_ids: Sequence[GenerationId]) -> list[Stored]:
        if self.fails:
            self.fails -= 1
            raise Unavailable("The database does not answer.")
        return await super().find(generation_ids)


async def test_a_database_that_hiccups_between_commit_and_look_is_asked_again() -> None:
    world = World(clock=SystemClock())
    store = Hiccup(world.memory)
    world.store = lambda: store
    async with scheduler(world) as it:
        made = submission()
        await it.submit(made)
        await it.cancel(made.generation_id)
        await ended(it, made.generation_id)
        await until(lambda: all(generation.closed for generation in it.engine.board.generations.values()))
        await it.engine.saver.saved()
        it.engine.board.generations.clear()
        store.fails = 2
        # The id is taken, by what is over: that is looked up after the commit.
        (again,) = await it.submit(made)
        assert again.WhichOneof("result") == "generation"
        assert not store.fails


async def test_a_defect_in_the_middle_of_matching_ends_the_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it was about to do is lost from memory, and nobody would ask for it again: the next start does."""

    def broken(*_: Any) -> None:
        raise KeyError("a defect")

    with pytest.raises(ExceptionGroup) as caught:
        async with scheduler() as it:
            monkeypatch.setattr(lending, "match", broken)
            with pytest.raises(Internal):
                await it.submit(submission())
            await asyncio.Event().wait()
    assert all(isinstance(died, LoopDied) for died in leaves(caught.value))


async def test_a_timer_that_breaks_ends_the_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise KeyError("a defect")

    with pytest.raises(ExceptionGroup) as caught:
        async with scheduler() as it:
            monkeypatch.setattr(it.engine.reading, "tell_waits", broken)
            await it.world.clock.advance(2)
            await asyncio.Event().wait()
    assert [str(died) for died in leaves(caught.value)] == ["the loop 'clockwork' has died"]


def leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in leaves(part)]
    return [error]
