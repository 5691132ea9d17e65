"""The model that comes with the worker agent paints what it is asked for, and paints it again when asked again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
np = pytest.importorskip("numpy")
Image = pytest.importorskip("PIL.Image")

MODEL = Path(__file__).parents[3] / "worker-agent/src/horde/worker_agent/models/paintbox"
RED, BLUE, YELLOW = (220, 40, 40), (45, 90, 215), (250, 215, 50)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Bytes depend on the number of threads, and two on a busy machine are slower than one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def text_to_image() -> Any:
    """The model as any program loads it: no custom code."""
    diffusers.logging.set_verbosity_error()
    pipeline = diffusers.DiffusionPipeline.from_pretrained(MODEL, torch_dtype=torch.float32, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def paint(pipeline: Any, prompt: str, *, seed: int = 3, steps: int = 10, **inputs: Any) -> Any:
    """One picture as an array of height, width and RGB from 0 to 255."""
    generator = torch.Generator().manual_seed(seed)
    found = pipeline(
        prompt, num_inference_steps=steps, guidance_scale=3.0, generator=generator, output_type="np", **inputs
    ).images[0]
    return (found * 255).round().astype(np.uint8)


def near(pixels: Any, colour: tuple[int, int, int]) -> float:
    """Share of the pixels that look like the colour."""
    distance = np.sqrt(((pixels.astype(float) - np.array(colour)) ** 2).sum(axis=-1))
    return float((distance < 100).mean())


def border(picture: Any) -> Any:
    """The outermost eighth, where nothing but the ground is painted."""
    edge = picture.shape[0] // 8
    return np.concatenate([picture[:edge].reshape(-1, 3), picture[-edge:].reshape(-1, 3)])


def middle(picture: Any) -> Any:
    """The inner quarter."""
    height, width = picture.shape[:2]
    return picture[height * 3 // 8 : height * 5 // 8, width * 3 // 8 : width * 5 // 8]


def test_the_catalogue_names_every_file_and_its_hash() -> None:
    catalogue = json.loads((MODEL / "catalogue.json").read_text(encoding="utf-8"))
    assert catalogue["name"] == "paintbox"
    for entry in catalogue["files"]:
        content = (MODEL / entry["path"]).read_bytes()
        assert (entry["path"], len(content)) == (entry["path"], entry["bytes"])
        assert (entry["path"], hashlib.sha256(content).hexdigest()) == (entry["path"], entry["sha256"])
    named = {entry["path"] for entry in catalogue["files"]}
    assert {path.relative_to(MODEL).as_posix() for path in MODEL.rglob("*.safetensors")} <= named
    assert catalogue["bytes"] == sum(entry["bytes"] for entry in catalogue["files"]) < 13_000_000


def test_same_seed_same_bytes_and_another_seed_another_picture(text_to_image: Any) -> None:
    first = paint(text_to_image, "a red star on a blue background")
    again = paint(text_to_image, "a red star on a blue background")
    other = paint(text_to_image, "a red star on a blue background", seed=4)
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


@pytest.mark.parametrize(
    ("prompt", "thing", "ground"),
    [
        ("a red star on a blue background", RED, BLUE),
        ("a blue star on a red background", BLUE, RED),
        ("a yellow square on a blue background", YELLOW, BLUE),
    ],
)
def test_colour_words_are_obeyed(
    text_to_image: Any, prompt: str, thing: tuple[int, int, int], ground: tuple[int, int, int]
) -> None:
    picture = paint(text_to_image, prompt, steps=15)
    assert near(border(picture), ground) > 0.8
    assert near(middle(picture), thing) > 0.8


@pytest.mark.parametrize(("width", "height"), [(64, 64), (192, 128), (64, 256), (512, 512)])
def test_any_size_from_64_to_512(text_to_image: Any, width: int, height: int) -> None:
    picture = paint(text_to_image, "a red circle on a blue background", steps=4, width=width, height=height)
    assert picture.shape == (height, width, 3)
    assert near(border(picture), BLUE) > 0.5


def test_a_negative_prompt_changes_the_picture(text_to_image: Any) -> None:
    plain = paint(text_to_image, "a circle", steps=6)
    steered = paint(text_to_image, "a circle", steps=6, negative_prompt="a red background")
    assert plain.tobytes() != steered.tobytes()


def test_image_to_image_follows_the_prompt_and_the_picture(text_to_image: Any) -> None:
    pipeline = diffusers.AutoPipelineForImage2Image.from_pipe(text_to_image)
    pipeline.set_progress_bar_config(disable=True)
    source = Image.new("RGB", (128, 128), BLUE)
    picture = paint(pipeline, "a red square on a blue background", image=source, strength=0.9, steps=15)
    assert near(border(picture), BLUE) > 0.7
    assert near(middle(picture), RED) > 0.7
    # With little strength the source stays what it was, whatever the prompt.
    kept = paint(pipeline, "a red square on a blue background", image=source, strength=0.15, steps=15)
    assert near(middle(kept), BLUE) > 0.9


def test_inpainting_keeps_what_is_not_masked_and_fills_by_the_prompt(text_to_image: Any) -> None:
    pipeline = diffusers.AutoPipelineForInpainting.from_pipe(text_to_image)
    pipeline.set_progress_bar_config(disable=True)
    source = Image.new("RGB", (128, 128), BLUE)
    mask = Image.new("L", (128, 128), 0)
    mask.paste(255, (32, 32, 96, 96))
    picture = paint(
        pipeline,
        "a red square on a blue background",
        image=source,
        mask_image=mask,
        strength=1.0,
        width=128,
        height=128,
        steps=15,
    )
    assert near(border(picture), BLUE) > 0.95
    assert near(middle(picture), RED) > 0.7


@pytest.mark.parametrize(
    "scheduler",
    [
        "EulerDiscreteScheduler",
        "EulerAncestralDiscreteScheduler",
        "DDIMScheduler",
        "HeunDiscreteScheduler",
        "UniPCMultistepScheduler",
    ],
)
def test_the_usual_samplers_agree_on_the_colours(text_to_image: Any, scheduler: str) -> None:
    sampler = getattr(diffusers, scheduler).from_config(text_to_image.scheduler.config)
    pipeline = diffusers.StableDiffusionPipeline(
        **{**text_to_image.components, "scheduler": sampler}, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    picture = paint(pipeline, "a red square on a blue background", steps=12, width=64, height=64)
    assert near(border(picture), BLUE) > 0.7
    assert near(middle(picture), RED) > 0.7
