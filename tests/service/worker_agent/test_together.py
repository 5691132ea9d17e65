"""Several pictures in one pass: what each seed gives stays what it is alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import ImageChops

from horde.testkit.tiny_models import build
from horde.worker_agent.core import measuring
from horde.worker_agent.core.jobs import Cancelled, Lora, Picture, RefusalReason
from horde.worker_agent.painters import diffusers_studio, one_pass
from horde.worker_agent.painters.diffusers_studio import Studio, StudioSettings
from horde.worker_agent.painters.judging import NoPicture
from horde.worker_agent.painters.models import find_models
from horde.worker_agent.painters.one_pass import Painting
from horde.worker_agent.painters.port import Onlooker

# torch and diffusers warn of what tiny models are not.
pytestmark = [pytest.mark.filterwarnings("ignore")]

SHAPES = ("sd15", "sdxl", "flux-dev", "inpainting")
WORDS = ("a red star", "a blue house by the sea", "(green:1.2) grass")


class Notes(Onlooker):
    """Follows one picture, in a pass or behind the port."""

    def __init__(self, cancel_at: int = 0) -> None:
        self.steps: list[int] = []
        self.begins = 0
        self.cancel_at = cancel_at
        self.stop = asyncio.Event()

    def begun(self) -> None:
        self.begins += 1

    def stepped(self, step: int) -> None:
        self.steps.append(step)

    def wants_preview(self) -> bool:
        return False

    def previewed(self, step: int, image: bytes) -> None: ...

    def cancelled(self) -> bool:
        return 0 < self.cancel_at <= len(self.steps)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    root = tmp_path_factory.mktemp("shapes")
    found = find_models(",".join(f"{shape}={build(shape, root / shape)}" for shape in SHAPES), Path("unused"))
    opened = Studio(StudioSettings(found.models, threads=1, batch=3))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(measuring, "BENCHMARK_SIDE", 64)
        opened.load()
        while opened.has_untried:
            opened.try_next()
    assert not opened.problems
    return opened


def pictures(shape: str) -> list[Picture]:
    return [Picture(shape, words, 64, 64, steps=3, seed=seed) for seed, words in enumerate(WORDS)]


def painted(
    studio: Studio, wanted: Sequence[Picture], watches: Sequence[Notes] | None = None, **named: Any
) -> list[Any]:
    watches = watches or [Notes() for _ in wanted]
    return [work for _, work in studio.paint_all([(picture, {}) for picture in wanted], watches, **named)]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_seed_gives_the_same_picture_alone_and_with_others(studio: Studio, shape: str) -> None:
    passes = CountedPasses(studio)
    with passes as counted:
        together = painted(studio, pictures(shape))
        alone = [painted(studio, [picture])[0] for picture in pictures(shape)]
    # In one pass where the words can be said in one, and never more than one by one.
    assert counted[0] in (3, 1) or shape == "inpainting"
    for one, other in zip(together, alone, strict=True):
        assert one.deviations == other.deviations
        difference = ImageChops.difference(one.image, other.image).getextrema()
        # Sums of another order, which is the last bit of a float and at most the last bit of a colour.
        assert all(band[1] <= 1 for band in difference)  # type: ignore[index]


class CountedPasses:
    """How many pictures each pass had."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._patch = pytest.MonkeyPatch()

    def __enter__(self) -> list[int]:
        counted: list[int] = []
        original = one_pass.paint_pass

        def counting(model: Any, pictures: Sequence[Picture], *rest: Any) -> Any:
            counted.append(len(pictures))
            return original(model, pictures, *rest)

        self._patch.setattr(diffusers_studio, "paint_pass", counting)
        return counted

    def __exit__(self, *error: object) -> None:
        self._patch.undo()


def test_like_pictures_are_one_pass_as_many_as_fit(studio: Studio) -> None:
    plain = [replace(picture, prompt="a star") for picture in pictures("sd15")]
    with CountedPasses(studio) as counted:
        painted(studio, [*plain, *plain])
    assert counted == [3, 3]
    fitting = dict(studio._fitting)
    try:
        studio._fitting["sd15"] = 2 * 64 * 64
        with CountedPasses(studio) as counted:
            painted(studio, plain)
        assert counted == [2, 1]
    finally:
        studio._fitting.update(fitting)


def test_one_that_is_cancelled_leaves_within_a_step_and_the_others_are_painted(studio: Studio) -> None:
    watches = [Notes(), Notes(cancel_at=1), Notes()]
    left: list[tuple[int, int]] = []
    works = painted(studio, pictures("sdxl")[:1] * 3, watches, left=lambda place, step: left.append((place, step)))
    assert left == [(1, 1)]
    assert [type(work) for work in works] == [Painting, Cancelled, Painting]
    assert [watch.steps for watch in watches] == [[1, 2, 3], [1], [1, 2, 3]]


def test_when_all_are_cancelled_the_pass_ends(studio: Studio) -> None:
    watches = [Notes(cancel_at=1) for _ in range(3)]
    assert painted(studio, pictures("sd15")[:1] * 3, watches) == [Cancelled(1)] * 3
    assert [watch.steps for watch in watches] == [[1]] * 3


@pytest.mark.parametrize("error", [NoPicture("one colour"), RuntimeError("DefaultCPUAllocator: can't allocate")])
def test_what_a_pass_does_not_bring_to_an_end_is_painted_one_by_one(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    original = one_pass.paint_pass
    passes = []

    def breaking(model: Any, pictures: Sequence[Picture], *rest: Any) -> Any:
        passes.append(len(pictures))
        if len(pictures) > 1:
            raise error
        return original(model, pictures, *rest)

    monkeypatch.setattr(diffusers_studio, "paint_pass", breaking)
    assert all(isinstance(work, Painting) for work in painted(studio, pictures("sd15")))
    assert passes == [3, 1, 1, 1]


def test_what_is_refused_alone_is_refused_together(studio: Studio) -> None:
    absent = [replace(picture, model="absent") for picture in pictures("sd15")]
    assert {work.reason for work in painted(studio, absent)} == {RefusalReason.MODEL_UNAVAILABLE}
    unfit = [replace(picture, loras=(Lora("absent", 1.0),)) for picture in pictures("sd15")[:2]]
    assert [[deviation.field for deviation in work.deviations] for work in painted(studio, unfit)] == [["loras[0]"]] * 2
