"""Several devices behind the port of painters, and what waits before them. The children are played."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from horde.testkit.waiting import until
from horde.worker_agent.core.jobs import (
    Cancelled,
    Capabilities,
    Failed,
    FailureReason,
    ModelOffer,
    Picture,
    RefusalReason,
    Refused,
)
from horde.worker_agent.painters.child import Cancel, Changed, Ended, Gone, Off, Paint, Ready, Serve, Stepped
from horde.worker_agent.painters.diffusers_studio import StudioSettings
from horde.worker_agent.painters.models import ModelSource
from horde.worker_agent.painters.port import CannotLoad, Drying, Finished, Onlooker, Work
from horde.worker_agent.painters.process import ProcessPainter

DONE = Finished(b"a picture")


class PlayedChild:
    """A child that does what a test says, and notes what it is told."""

    def __init__(self, settings: StudioSettings) -> None:
        self.settings = settings
        self.said: asyncio.Queue[Any] = asyncio.Queue()
        self.told: list[Any] = []
        self.ended = False

    def ready(self, *others: str, problem: str = "") -> None:
        if problem:
            self.said.put_nowait(Ended(-1, Failed(FailureReason.BACKEND, problem)))
            return
        names = [model.name for model in self.settings.models]
        self.offer(*names)
        capabilities = self.said.get_nowait().capabilities
        self.said.put_nowait(Ready(capabilities, None, {}, others))

    def offer(self, *names: str, loaded: bool = True) -> None:
        batch = self.settings.batch or 1
        offers = (ModelOffer(name, loaded=loaded, max_pixels=64 * 64, max_batch=batch) for name in names)
        self.said.put_nowait(Changed(Capabilities(tuple(offers))))

    @property
    def passes(self) -> list[tuple[int, ...]]:
        """The numbers of each pass."""
        return [tuple(order.number for order in each.orders) for each in self.told if isinstance(each, Paint)]

    def finish(self, *numbers: int, work: Work = DONE) -> None:
        for number in numbers:
            self.said.put_nowait(Off(number))
        for number in numbers:
            self.said.put_nowait(Ended(number, work))

    def send(self, message: object) -> None:
        self.told.append(message)

    def kill(self) -> None:
        self.said.put_nowait(Gone())

    async def end(self) -> None:
        self.ended = True

    async def how_it_ended(self) -> Failed:
        return Failed(FailureReason.PAINTER_DIED, "killed")


class Notes(Onlooker):
    def __init__(self) -> None:
        self.begins = 0
        self.steps: list[int] = []
        self.stop = asyncio.Event()

    def begun(self) -> None:
        self.begins += 1

    def stepped(self, step: int) -> None:
        self.steps.append(step)

    def wants_preview(self) -> bool:
        return False

    def previewed(self, step: int, image: bytes) -> None: ...


class Place:
    """The painter, its children, and what was given to it."""

    def __init__(self, models: tuple[str, ...], devices: dict[str, frozenset[str]] | None, batch: int) -> None:
        self.children: list[PlayedChild] = []
        sources = tuple(ModelSource(name, "nowhere") for name in models)
        make: Callable[..., Any] = self._child
        self.painter = ProcessPainter(StudioSettings(sources, batch=batch), devices, make_child=make)
        self.notes: list[Notes] = []
        self.tasks: list[asyncio.Task[Work | Drying]] = []

    def _child(self, settings: StudioSettings) -> PlayedChild:
        self.children.append(PlayedChild(settings))
        return self.children[-1]

    async def give(self, *models: str, prompt: str = "a star") -> None:
        for model in models:
            notes = Notes()
            self.notes.append(notes)
            picture = Picture(model, prompt, 64, 64, steps=4, seed=len(self.notes))
            self.tasks.append(asyncio.create_task(self.painter.paint(picture, {}, notes, notes.stop)))
            await asyncio.sleep(0)

    async def work(self, number: int) -> Work:
        work = await self.tasks[number]
        return await work.work if isinstance(work, Drying) else work

    @property
    def begun(self) -> list[int]:
        return [number for number, notes in enumerate(self.notes) if notes.begins]


@asynccontextmanager
async def place(
    *models: str, devices: dict[str, frozenset[str]] | None = None, batch: int = 1, others: tuple[str, ...] = ()
) -> AsyncIterator[Place]:
    made = Place(models, devices, batch)
    opening = asyncio.create_task(made.painter.open())
    await until(lambda: made.children)
    made.children[0].ready(*others)
    await opening
    count = len(devices or {}) or 1 + len(others)
    await until(lambda: len(made.children) == count)
    for child in made.children[1:]:
        child.ready()
    await until(lambda: all(easel.is_free for easel in made.painter._easels))
    try:
        yield made
    finally:
        await made.painter.close()
        await asyncio.gather(*made.tasks, return_exceptions=True)
        assert all(child.ended for child in made.children)


TWO = {"cpu": frozenset[str](), "cpu#1": frozenset[str]()}


async def test_pictures_that_wait_are_painted_together_and_begin_when_they_do() -> None:
    async with place("a", batch=2) as at:
        assert at.painter.places == 2
        await at.give("a", "a", "a", "a")
        # The first found nobody beside it.
        assert at.begun == [0]
        at.children[0].finish(0)
        await until(lambda: at.begun == [0, 1, 2])
        at.children[0].said.put_nowait(Off(1))
        at.children[0].said.put_nowait(Stepped(2, 3))
        await until(lambda: at.notes[2].steps == [3])
        # The pass is not over before all of it is.
        assert at.begun == [0, 1, 2]
        at.children[0].finish(1, 2)
        await until(lambda: at.begun == [0, 1, 2, 3])
        assert at.children[0].passes == [(0,), (1, 2), (3,)]
        assert await at.work(2) == DONE


async def test_one_that_waits_is_dropped_at_once_and_nobody_paints_it() -> None:
    async with place("a") as at:
        await at.give("a", "a", "a")
        at.notes[1].stop.set()
        assert await at.work(1) == Cancelled(0)
        at.tasks[2].cancel()
        with pytest.raises(asyncio.CancelledError):
            await at.tasks[2]
        assert not [each for each in at.children[0].told if isinstance(each, Cancel)]
        at.children[0].finish(0)
        assert await at.work(0) == DONE
        await at.give("a")
        assert at.children[0].passes == [(0,), (3,)]


async def test_one_that_is_painted_is_stopped_in_its_child() -> None:
    async with place("a") as at:
        await at.give("a")
        at.notes[0].stop.set()
        await until(lambda: Cancel(0) in at.children[0].told)
        at.children[0].said.put_nowait(Ended(0, Cancelled(2)))
        assert await at.work(0) == Cancelled(2)


async def test_every_card_paints_and_one_that_dies_costs_its_own_picture_alone() -> None:
    async with place("a", others=("cuda:1",)) as at:
        assert [child.settings.device for child in at.children] == ["", "cuda:1"]
        assert at.painter.places == 2
        await at.give("a", "a", "a")
        assert at.begun == [0, 1]
        at.children[0].kill()
        assert await at.work(0) == Failed(FailureReason.PAINTER_DIED, "killed")
        assert at.painter.capabilities().models[0].loaded
        await until(lambda: len(at.children) == 3)
        assert at.begun == [0, 1]
        at.children[2].ready()
        await until(lambda: at.begun == [0, 1, 2])
        at.children[1].finish(1)
        at.children[2].finish(2)
        assert [await at.work(number) for number in (1, 2)] == [DONE, DONE]


async def test_a_picture_waits_for_the_card_that_has_its_model_while_another_has_work() -> None:
    async with place("a", "b", devices=TWO) as at:
        for child, name in zip(at.children, "ab", strict=True):
            child.said.put_nowait(
                Changed(Capabilities(tuple(ModelOffer(each, loaded=each == name, max_pixels=4096) for each in "ab")))
            )
        await until(lambda: [easel.capabilities.models[0].loaded for easel in at.painter._easels] == [True, False])
        await at.give("b", "a", "b", "a")
        assert [child.passes for child in at.children] == [[(1,)], [(0,)]]
        assert at.begun == [0, 1]
        at.children[0].finish(1)
        await until(lambda: at.begun == [0, 1, 3])
        # Nothing else waits: better to load a model than to do nothing.
        at.children[0].finish(3)
        await until(lambda: len(at.begun) == 4)
        assert at.children[0].passes == [(1,), (3,), (2,)]


async def test_a_device_paints_with_its_own_models_alone() -> None:
    with pytest.raises(CannotLoad, match="cpu is to paint with c, which is not here"):
        Place(("a", "b"), {"cpu": frozenset("c")}, 1)
    async with place("a", "b", devices={"cpu": frozenset("a"), "cpu#1": frozenset("b")}) as at:
        assert [[model.name for model in child.settings.models] for child in at.children] == [["a"], ["b"]]
        assert [child.settings.device for child in at.children] == ["cpu", "cpu"]
        await at.give("b", "a", "b")
        assert [child.passes for child in at.children] == [[(1,)], [(0,)]]


async def test_what_no_device_can_do_is_given_to_one_that_says_why() -> None:
    async with place("a") as at:
        await at.give("absent")
        refused = Refused(RefusalReason.MODEL_UNAVAILABLE, "not here")
        at.children[0].said.put_nowait(Ended(0, refused))
        assert await at.work(0) == refused


async def test_a_second_card_that_does_not_start_is_no_reason_not_to_paint() -> None:
    made = Place(("a",), None, 1)
    opening = asyncio.create_task(made.painter.open())
    await until(lambda: made.children)
    made.children[0].ready("cuda:1")
    await opening
    await until(lambda: len(made.children) == 2)
    made.children[1].ready(problem="the card is broken")
    await made.give("a")
    made.children[0].finish(0)
    assert await made.work(0) == DONE
    await made.painter.close()


async def test_a_model_that_keeps_failing_is_withdrawn_from_the_offer() -> None:
    changes = 0

    def changed() -> None:
        nonlocal changes
        changes += 1

    async with place("a", "b") as at:
        at.painter.on_change(changed)
        for number in range(3):
            assert [model.name for model in at.painter.capabilities().models] == ["a", "b"]
            await at.give("a")
            at.children[0].finish(number, work=Failed(FailureReason.BACKEND, "broken"))
            await at.work(number)
        assert [model.name for model in at.painter.capabilities().models] == ["b"]
        assert changes


async def test_models_come_and_go_while_there_is_work() -> None:
    changes: list[list[str]] = []
    async with place("a", "b", devices={"cpu": frozenset(), "cpu#1": frozenset("b")}) as at:
        at.painter.on_change(lambda: changes.append([model.name for model in at.painter.capabilities().models]))
        await at.give("a", "a")
        models = tuple(ModelSource(name, "nowhere") for name in "bc")
        at.painter.serve(models)
        # Not offered from this moment, though a picture is painted with it still.
        assert changes == [["b"]]
        assert at.children[0].told[-1] == Serve(models)
        assert at.children[1].told[-1] == Serve(models[:1])
        at.children[0].offer("b", "c")
        at.children[0].finish(0)
        assert await at.work(0) == DONE
        await until(lambda: changes[-1] == ["b", "c"])
        # What waited for it is told by the studio that it is gone.
        await until(lambda: at.children[0].passes == [(0,), (1,)])
        # A child that is started anew has the new models.
        at.children[0].kill()
        await until(lambda: len(at.children) == 3)
        assert at.children[2].settings.models == models
        # They change once more before it is ready.
        at.painter.serve(models[1:])
        at.children[2].ready()
        await until(lambda: at.children[2].told == [Serve(models[1:])])
        at.children[0].ended = True  # It was killed.


async def test_what_waits_when_the_painter_is_closed_ends() -> None:
    async with place("a") as at:
        await at.give("a", "a")
        await at.painter.close()
        assert [type(await at.work(number)) for number in (0, 1)] == [Failed, Failed]


async def test_a_defect_in_following_a_child_costs_its_picture_and_the_device_paints_on() -> None:
    async with place("a") as at:
        await at.give("a")
        # Nothing that a child says is like this.
        at.notes[0].stepped = None  # type: ignore[method-assign, assignment]
        at.children[0].said.put_nowait(Stepped(0, 1))
        assert isinstance(await at.work(0), Failed)
        await until(lambda: len(at.children) == 2)
        at.children[1].ready()
        await at.give("a")
        await until(lambda: at.children[1].passes)
        at.children[1].finish(1)
        assert await at.work(1) == DONE
        at.children[0].ended = True  # It was killed.
