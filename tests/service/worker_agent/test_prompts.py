"""Prompts past the window, and weights: what is painted of them, and that a plain one stays diffusers' own."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from horde.testkit.tiny_models import build
from horde.worker_agent.core import emphasis
from horde.worker_agent.core.jobs import Deviation, DeviationKind, Picture
from horde.worker_agent.painters import prompts
from horde.worker_agent.painters.diffusers_studio import Studio, StudioSettings
from horde.worker_agent.painters.models import find_models
from horde.worker_agent.painters.one_pass import Painting

pytestmark = [pytest.mark.filterwarnings("ignore")]

CHUNKED, CUT = ("sd15", "sdxl"), ("sd3", "flux-schnell", "pixart")
PICTURE = Picture("", "a red star", 64, 64, steps=2, seed=7)


class Unwatched:
    def stepped(self, step: int) -> None: ...
    def wants_preview(self) -> bool:
        return False

    def previewed(self, step: int, image: bytes) -> None: ...
    def cancelled(self) -> bool:
        return False


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    root = tmp_path_factory.mktemp("shapes")
    named = ",".join(f"{shape}={build(shape, root / shape)}" for shape in (*CHUNKED, *CUT))
    opened = Studio(StudioSettings(find_models(named, Path("unused")).models, threads=1))
    opened.load()
    while opened.has_untried:
        opened.try_next()
    return opened


def paint(studio: Studio, model: str, prompt: str, negative_prompt: str = "", **fields: Any) -> Painting:
    picture = replace(PICTURE, model=model, prompt=prompt, negative_prompt=negative_prompt, **fields)
    work = studio.paint(picture, {}, Unwatched())
    assert isinstance(work, Painting), work
    return work


@pytest.mark.parametrize("shape", CHUNKED)
@pytest.mark.parametrize("where", ["prompt", "negative_prompt"])
def test_two_prompts_with_other_tails_are_two_pictures_and_no_deviation(studio: Studio, shape: str, where: str) -> None:
    pictures = []
    for tail in ("red", "blue"):
        words = {"prompt": "a star", where: "x" * 400 + tail}
        work = paint(studio, shape, **words)
        assert not work.deviations
        pictures.append(work.image.tobytes())
    assert pictures[0] != pictures[1]


@pytest.mark.parametrize("shape", CUT)
@pytest.mark.parametrize("where", ["prompt", "negative_prompt"])
def test_what_is_past_a_window_that_cannot_be_left_is_told(studio: Studio, shape: str, where: str) -> None:
    work = paint(studio, shape, **{"prompt": "a star", where: "many words " * 70 + "unread"})
    (deviation,) = work.deviations
    window = 300 if shape == "pixart" else 512
    assert (deviation.kind, deviation.field) == (DeviationKind.TRUNCATED, where)
    assert deviation.done.startswith(f"the first {window}, up to: ")
    assert "unread" not in deviation.done


@pytest.mark.parametrize("shape", ["sd3", "flux-schnell"])
def test_a_prompt_within_t5s_longest_window_is_read_whole(studio: Studio, shape: str) -> None:
    pictures = []
    for tail in ("red", "blue"):
        work = paint(studio, shape, "x" * 400 + tail)
        assert not work.deviations
        pictures.append(work.image.tobytes())
    assert pictures[0] != pictures[1]


@pytest.mark.parametrize("shape", CHUNKED)
@pytest.mark.parametrize("clip_skip", [0, 1])
def test_a_chunk_is_encoded_as_the_pipeline_itself_does(studio: Studio, shape: str, clip_skip: int) -> None:
    """What is encoded here are the numbers that diffusers computes, so a longer prompt begins with them."""
    torch: Any = import_module("torch")
    pipeline = studio._shelf.get(shape).text_to_image
    with torch.inference_mode():
        said = prompts._Encoding(pipeline, prompts.readers(pipeline), clip_skip).arguments(
            {"prompt": emphasis.read("a red star"), "negative_prompt": emphasis.read("blue")}
        )
        computed = pipeline.encode_prompt(
            prompt="a red star",
            negative_prompt="blue",
            device="cpu",
            num_images_per_prompt=1,
            do_classifier_free_guidance=True,
            clip_skip=clip_skip or None,
        )
    names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
    for name, value in zip(names, computed, strict=False):
        assert torch.equal(said[name], value), name


@pytest.mark.parametrize("shape", CHUNKED)
def test_weights_count_and_a_weight_of_one_changes_nothing(studio: Studio, shape: str) -> None:
    plain = paint(studio, shape, "a red star").image.tobytes()
    weighted = [paint(studio, shape, f"a (red:{weight}) star") for weight in ("0.5", "1.0", "1.5")]
    assert not any(work.deviations for work in weighted)
    light, even, heavy = (work.image.tobytes() for work in weighted)
    assert even == plain
    assert len({light, plain, heavy}) == 3


@pytest.mark.parametrize("shape", CUT)
def test_weights_that_a_model_has_no_use_for_are_told_and_the_words_are_read(studio: Studio, shape: str) -> None:
    work = paint(studio, shape, "a (red:1.3) star")
    assert work.deviations == (
        Deviation(DeviationKind.REINTERPRETED, "prompt", "(red:1.3)", "the words without their weights"),
    )
    assert work.image.tobytes() == paint(studio, shape, "a red star").image.tobytes()


def test_the_words_that_wake_a_lora_are_added_once(studio: Studio) -> None:
    from horde.worker_agent.core.jobs import Lora

    woken = paint(studio, "sd15", "a red star", loras=(Lora("absent", 1.0, trigger="ink"),))
    assert woken.image.tobytes() == paint(studio, "sd15", "a red star, ink").image.tobytes()
    named = paint(studio, "sd15", "an ink star", loras=(Lora("absent", 1.0, trigger="ink"),))
    assert named.image.tobytes() == paint(studio, "sd15", "an ink star").image.tobytes()
