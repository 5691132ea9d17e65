"""The port of painters: what each of them must do, the scripted one and diffusers in a process of its own."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image

from horde.worker_agent.core.jobs import (
    Cancelled,
    DeviationKind,
    Failed,
    Feature,
    InputId,
    InputRef,
    NoiseSchedule,
    Picture,
    RefusalReason,
    Refused,
    Sampler,
)
from horde.worker_agent.painters.diffusers_studio import StudioSettings
from horde.worker_agent.painters.models import ModelSource
from horde.worker_agent.painters.port import MAX_PREVIEW_BYTES, Drying, Finished, Onlooker, Painter, Work
from horde.worker_agent.painters.process import ProcessPainter
from horde.worker_agent.painters.scripted import ScriptedPainter

# torch takes seconds to import, on a busy machine many.
pytestmark = [pytest.mark.asyncio(loop_scope="module")]

PICTURE = Picture("paintbox", "a red star", 64, 64, steps=4, seed=7)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["scripted", "diffusers"])
async def painter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Painter]:
    made: Painter
    if request.param == "scripted":
        made = ScriptedPainter(script="[slow:0.001]")
    else:
        # The stand-in, not the trained model: this suite is about the port, and noise is painted faster.
        place = tmp_path_factory.mktemp("models") / "tiny"
        model = ModelSource("paintbox", str(place), stand_in=True)
        diffusers = ProcessPainter(StudioSettings((model,), threads=1))
        await diffusers.open()
        made = diffusers
    yield made
    await made.close()


class Notes(Onlooker):
    """An onlooker who writes down what happens and may cancel at a step."""

    def __init__(self, *, previews: bool = False, cancel_at: int = 0) -> None:
        self.begins = 0
        self.steps: list[int] = []
        self.previews: list[bytes] = []
        self.cancelled = asyncio.Event()
        self._wants = previews
        self._cancel_at = cancel_at

    def begun(self) -> None:
        self.begins += 1

    def stepped(self, step: int) -> None:
        self.steps.append(step)
        if step == self._cancel_at:
            self.cancelled.set()

    def wants_preview(self) -> bool:
        return self._wants

    def previewed(self, step: int, image: bytes) -> None:
        self.previews.append(image)


async def ended(painter: Painter, picture: Picture, inputs: dict[InputId, bytes], notes: Notes) -> Work:
    work = await painter.paint(picture, inputs, notes, notes.cancelled)
    return await work.work if isinstance(work, Drying) else work


async def finished(painter: Painter, picture: Picture, inputs: dict[InputId, bytes] | None = None) -> Finished:
    work = await ended(painter, picture, inputs or {}, Notes())
    assert isinstance(work, Finished), work
    return work


def png(size: tuple[int, int], colour: Any, mode: str = "RGB") -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, colour).save(out, "PNG")
    return out.getvalue()


def ref(content: bytes, name: str = "input") -> InputRef:
    return InputRef(InputId(name), hashlib.sha256(content).digest())


async def test_it_says_what_it_can_do(painter: Painter) -> None:
    offered = painter.capabilities()
    assert [model.name for model in offered.models] == ["paintbox"]
    assert offered.models[0].loaded
    assert offered.max_pixels >= 64 * 64
    assert {Feature.IMAGE_TO_IMAGE, Feature.INPAINTING} <= offered.models[0].features


@pytest.mark.parametrize("size", [(64, 64), (128, 64), (72, 104)])
async def test_a_picture_has_exactly_the_size_and_nothing_but_pixels(painter: Painter, size: tuple[int, int]) -> None:
    work = await finished(painter, replace(PICTURE, width=size[0], height=size[1]))
    with Image.open(io.BytesIO(work.image)) as image:
        image.load()
        assert (image.format, image.size) == ("WEBP", size)
        assert not image.getexif()
        assert not {"exif", "xmp", "icc_profile"} & image.info.keys()
    assert work.deviations == ()


async def test_the_same_seed_paints_the_same_and_another_another(painter: Painter) -> None:
    first = await finished(painter, PICTURE)
    assert (await finished(painter, PICTURE)).image == first.image
    assert (await finished(painter, replace(PICTURE, seed=8))).image != first.image
    assert (await finished(painter, replace(PICTURE, prompt="a blue house"))).image != first.image
    assert (await finished(painter, replace(PICTURE, negative_prompt="red"))).image != first.image


async def test_steps_are_told_in_order_up_to_the_last(painter: Painter) -> None:
    notes = Notes()
    await painter.paint(PICTURE, {}, notes, notes.cancelled)
    assert notes.steps == [1, 2, 3, 4]
    assert not notes.previews


async def test_previews_are_small_pictures_and_made_when_wanted(painter: Painter) -> None:
    notes = Notes(previews=True)
    await painter.paint(replace(PICTURE, steps=12), {}, notes, notes.cancelled)
    assert notes.previews
    for preview in notes.previews:
        assert len(preview) <= MAX_PREVIEW_BYTES
        with Image.open(io.BytesIO(preview)) as image:
            assert image.format == "JPEG"


async def test_a_cancel_stops_within_one_step(painter: Painter) -> None:
    notes = Notes(cancel_at=3)
    work = await painter.paint(replace(PICTURE, steps=400), {}, notes, notes.cancelled)
    assert isinstance(work, Cancelled)
    # The word to stop crosses to another process while its next steps, of milliseconds, go on.
    assert 3 <= work.step <= 40
    assert notes.steps[-1] <= 40
    await finished(painter, PICTURE)


async def test_a_cancel_before_the_beginning_paints_nothing(painter: Painter) -> None:
    notes = Notes()
    notes.cancelled.set()
    assert await painter.paint(PICTURE, {}, notes, notes.cancelled) == Cancelled(0)
    assert notes.steps == []


async def test_a_model_that_is_not_here_is_refused(painter: Painter) -> None:
    notes = Notes()
    work = await painter.paint(replace(PICTURE, model="another"), {}, notes, notes.cancelled)
    assert isinstance(work, Refused)
    assert work.reason is RefusalReason.MODEL_UNAVAILABLE


async def test_image_to_image_and_inpainting_keep_the_size(painter: Painter) -> None:
    source, mask = png((96, 48), "red"), png((96, 48), 255, "L")
    inputs = {InputId("input"): source, InputId("mask"): mask}
    picture = replace(PICTURE, source_image=ref(source), denoising_strength=0.5)
    for each in (picture, replace(picture, mask=ref(mask, "mask"))):
        work = await finished(painter, each, inputs)
        with Image.open(io.BytesIO(work.image)) as image:
            assert image.size == (64, 64)


@pytest.mark.parametrize("sampler", [Sampler.EULER, Sampler.HEUN, Sampler.DPMPP_2M])
async def test_a_sampler_that_is_offered_paints_without_deviation(painter: Painter, sampler: Sampler) -> None:
    assert sampler in painter.capabilities().models[0].samplers
    notes = Notes()
    work = await ended(painter, replace(PICTURE, sampler=sampler, schedule=NoiseSchedule.KARRAS), {}, notes)
    assert isinstance(work, Finished)
    assert work.deviations == ()
    assert notes.steps == [1, 2, 3, 4]


@pytest.mark.parametrize("painter", ["diffusers"], indirect=True, scope="module")
class TestDiffusers:
    """What only a real painter can get wrong."""

    async def test_what_cannot_be_done_is_a_deviation_and_never_silence(self, painter: Painter) -> None:
        picture = replace(
            PICTURE,
            sampler=Sampler.DDIM,
            schedule=NoiseSchedule.KARRAS,
            clip_skip=9,
            guidance_scale=1.0,
            negative_prompt="red",
            post_processors=("STRIP_BACKGROUND",),
        )
        work = await finished(painter, picture)
        assert {(deviation.field, deviation.kind) for deviation in work.deviations} == {
            ("schedule", DeviationKind.OMITTED),
            ("clip_skip", DeviationKind.CLAMPED),
            ("negative_prompt", DeviationKind.OMITTED),
            ("post_processors[0]", DeviationKind.OMITTED),
        }

    async def test_clip_skip_and_guidance_change_the_picture(self, painter: Painter) -> None:
        plain = await finished(painter, PICTURE)
        assert (await finished(painter, replace(PICTURE, clip_skip=1))).image != plain.image
        assert (await finished(painter, replace(PICTURE, guidance_scale=12.0))).image != plain.image

    async def test_what_the_mask_leaves_out_stays_as_it_was(self, painter: Painter) -> None:
        source = png((64, 64), (200, 30, 40))
        mask = Image.new("L", (64, 64), 0)
        mask.paste(255, (32, 0, 64, 64))
        out = io.BytesIO()
        mask.save(out, "PNG")
        inputs = {InputId("input"): source, InputId("mask"): out.getvalue()}
        picture = replace(PICTURE, source_image=ref(source), mask=ref(out.getvalue(), "mask"))
        work = await finished(painter, picture, inputs)
        with Image.open(io.BytesIO(work.image)) as image:
            colour = image.convert("RGB").getpixel((8, 32))
        assert isinstance(colour, tuple)
        assert all(abs(got - was) <= 8 for got, was in zip(colour, (200, 30, 40), strict=True))

    async def test_an_input_that_is_no_picture_is_refused(self, painter: Painter) -> None:
        notes = Notes()
        picture = replace(PICTURE, source_image=ref(b"junk"))
        work = await painter.paint(picture, {InputId("input"): b"junk"}, notes, notes.cancelled)
        assert isinstance(work, Refused)
        assert work.reason is RefusalReason.INPUT_UNAVAILABLE

    async def test_a_strength_below_one_step_is_raised_to_one(self, painter: Painter) -> None:
        source = png((64, 64), "red")
        picture = replace(PICTURE, source_image=ref(source), denoising_strength=0.01)
        work = await finished(painter, picture, {InputId("input"): source})
        assert [(deviation.kind, deviation.field) for deviation in work.deviations] == [
            (DeviationKind.CLAMPED, "denoising_strength")
        ]

    @pytest.mark.slow
    async def test_the_studio_that_is_killed_costs_one_picture(self, painter: Painter) -> None:
        assert isinstance(painter, ProcessPainter)
        notes = Notes()
        painting = asyncio.create_task(painter.paint(replace(PICTURE, steps=400), {}, notes, notes.cancelled))
        while not notes.steps:
            await asyncio.sleep(0.01)
        child = painter._easels[0]._child
        assert child is not None
        child.process.kill()
        work = await painting
        assert isinstance(work, Failed)
        # Nobody asks for a picture, and there is another already.
        changed = asyncio.Event()
        painter.on_change(changed.set)
        while not painter.capabilities().models[0].loaded:
            changed.clear()
            await changed.wait()
        await finished(painter, PICTURE)


@pytest.mark.slow
async def test_models_are_offered_when_they_have_painted_and_then_all_of_them_paint(
    tmp_path: Path,
) -> None:
    names = ("first", "second", "third")
    models = tuple(ModelSource(name, str(tmp_path / "tiny"), stand_in=True) for name in names)
    studio = ProcessPainter(StudioSettings(models, threads=1))
    changed = asyncio.Event()
    studio.on_change(changed.set)
    await studio.open()
    try:
        assert studio.capabilities().models[0].name == "first"
        while len(studio.capabilities().models) < 3:
            changed.clear()
            await changed.wait()
        assert [model.name for model in studio.capabilities().models] == list(names)
        works = [await studio.paint(replace(PICTURE, model=name), {}, Notes(), asyncio.Event()) for name in names]
        # A picture as small as this one may be encoded before anybody looks: then it comes whole.
        images = [await work.work if isinstance(work, Drying) else work for work in works]
        assert all(isinstance(image, Finished) for image in images)
    finally:
        await studio.close()
