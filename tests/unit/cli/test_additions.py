"""Additions to a model, as they are typed and as the contract has them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import click
import pytest

from horde.api.job.v1.job_pb2 import (
    AddonSource,
    InputImage,
    Lora,
    PostProcessor,
    TextualInversion,
    TextualInversionPlace,
)
from horde.cli.commands.additions import ADDITION, GUIDE, MAX_STRENGTH, Addition, Guide, controls, embeddings, loras
from horde.cli.commands.generate import _spec, generate
from horde.clients.client import HordeClient
from horde.gateway.core import validation


def typed(text: str) -> Addition:
    return ADDITION.convert(text, None, None)


def test_what_is_typed_is_what_is_asked_for() -> None:
    texts = ("ink", "ink=0.8", "hf:someone/inks:ink.safetensors=-1", "civitai:12345")
    assert loras(tuple(map(typed, texts))) == [
        Lora(name="ink", strength=1.0),
        Lora(name="ink", strength=0.8),
        Lora(name="someone/inks:ink.safetensors", strength=-1.0, source=AddonSource.ADDON_SOURCE_HUGGING_FACE),
        Lora(name="12345", strength=1.0, source=AddonSource.ADDON_SOURCE_CIVITAI),
    ]


def test_a_taught_word_is_put_into_its_prompt() -> None:
    assert embeddings((typed("moss"),), (typed("smudge=1.2"),)) == [
        TextualInversion(name="moss", place=TextualInversionPlace.TEXTUAL_INVERSION_PLACE_PROMPT),
        TextualInversion(
            name="smudge", place=TextualInversionPlace.TEXTUAL_INVERSION_PLACE_NEGATIVE_PROMPT, strength=1.2
        ),
    ]


@pytest.mark.parametrize("text", ["", "=1", "hf:", "civitai:=1", "ink=", "ink=strong", "ink=5.1", "ink=nan", "ink=1=1"])
def test_what_is_no_addition_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        typed(text)


async def test_what_is_typed_arrives_in_the_spec() -> None:
    words = ["a fox", "--hires-strength=0.5", "--lora=ink=0.8", "--lora=wash", "--embedding=moss", "--tiling"]
    words += ["--post-process=face_repair", "--post-process=upscale_4x"]
    asked = generate.make_context("generate", words).params
    image = (await _spec(cast("HordeClient", None), **asked)).job.image
    assert image.hires_fix.denoising_strength == 0.5
    assert [lora.name for lora in image.loras] == ["ink", "wash"]
    assert [word.name for word in image.textual_inversions] == ["moss"]
    assert image.tiling
    assert image.post_processors == [PostProcessor.POST_PROCESSOR_FACE_REPAIR, PostProcessor.POST_PROCESSOR_UPSCALE_4X]
    plain = generate.make_context("generate", ["a fox"]).params
    assert not (await _spec(cast("HordeClient", None), **plain)).job.image.HasField("hires_fix")
    small_first = generate.make_context("generate", ["a fox", "--hires"]).params
    hires = (await _spec(cast("HordeClient", None), **small_first)).job.image
    assert hires.HasField("hires_fix")
    assert not hires.hires_fix.HasField("denoising_strength")


def test_strengths_are_bound_as_the_gateway_binds_them() -> None:
    assert validation.MAX_LORA_STRENGTH == MAX_STRENGTH


def test_a_guiding_picture_is_a_file_with_its_type_and_strength(tmp_path: Path) -> None:
    file = tmp_path / "edges.png"
    file.write_bytes(b"picture")
    read = [GUIDE.convert(f"{file}{rest}", None, None) for rest in ("", "=canny", "=canny-map=0.5")]
    assert read == [Guide(file, "", None), Guide(file, "canny", None), Guide(file, "canny-map", 0.5)]
    for wrong in (f"{tmp_path}/none.png", f"{file}=canny=0", f"{file}=canny=2.1", f"{file}=canny=much"):
        with pytest.raises(click.BadParameter):
            GUIDE.convert(wrong, None, None)


async def test_guiding_pictures_are_put_into_storage(tmp_path: Path) -> None:
    file = tmp_path / "edges.png"
    file.write_bytes(b"picture")
    stored: list[bytes] = []

    async def put(content: bytes) -> InputImage:
        stored.append(content)
        return InputImage(input_id=str(len(stored)))

    horde: Any = SimpleNamespace(images=SimpleNamespace(put=put))
    made = await controls(horde, (Guide(file, "canny", None), Guide(file, "", 0.5)))
    assert stored == [b"picture"] * 2
    assert [(control.image.input_id, control.type) for control in made] == [("1", "canny"), ("2", "")]
    assert not made[0].HasField("strength")
    assert made[1].strength == 0.5
