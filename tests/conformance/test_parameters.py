"""Every parameter on every shape of model: the same picture as plain diffusers, a typed deviation, or a refusal.

The table in worker-agent/README.md is what this suite finds. With HORDE_WRITE_TABLE=1 it is written anew.
"""

from __future__ import annotations

import inspect
import io
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from horde.testkit.tiny_models import build, control_for, embedding_for, lora_for
from horde.worker_agent.core import measuring
from horde.worker_agent.core.jobs import (
    Control,
    DeviationKind,
    HiresFix,
    InputId,
    InputRef,
    Lora,
    NoiseSchedule,
    Picture,
    Refused,
    ResizeMode,
    TextualInversion,
)
from horde.worker_agent.painters.diffusers_studio import Studio, StudioSettings
from horde.worker_agent.painters.models import find_models
from horde.worker_agent.painters.one_pass import Painting
from horde.worker_agent.painters.samplers import CLASSES

# torch and diffusers warn of what tiny models are not.
pytestmark = [pytest.mark.filterwarnings("ignore")]

SHAPES = ("sd15", "turbo", "sdxl", "sd3", "flux-dev", "flux-schnell", "pixart", "inpainting")
README = Path(__file__).parents[2] / "worker-agent" / "README.md"
BEGIN, END = "<!-- parameters: made by tests/conformance/test_parameters.py -->\n", "<!-- end of parameters -->"
SIDE = 64
BASE = Picture("", "a red star", SIDE, SIDE, steps=3, seed=7)
LONG = " ".join(f"word{number} of many," for number in range(110))
"""More tokens than any window here: letters are tokens of the tiny models."""


class Unwatched:
    def stepped(self, step: int) -> None: ...
    def wants_preview(self) -> bool:
        return False

    def previewed(self, step: int, image: bytes) -> None: ...
    def cancelled(self) -> bool:
        return False


def picture_of(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    """Something with an inside and an outside, so that cutting shows."""
    image = Image.radial_gradient("L").resize(size).convert(mode)
    image.paste(image.getpixel((0, 0)) or 0, (0, 0, size[0] // 3, size[1]))
    return image


def png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


SOURCE, WIDE = picture_of((SIDE, SIDE)), picture_of((2 * SIDE, SIDE))
MASK = Image.new("L", (SIDE, SIDE), 0)
MASK.paste(255, (SIDE // 2, 0, SIDE, SIDE))
INPUTS = {InputId("source"): png(SOURCE), InputId("wide"): png(WIDE), InputId("mask"): png(MASK)}


def ref(name: str) -> InputRef:
    return InputRef(InputId(name), b"")


IMAGE = {"source_image": ref("source")}
LARGE = {"width": 128, "height": 96}
MASKED = {**IMAGE, "mask": ref("mask")}

Plain = Callable[[Any, dict[str, Any]], dict[str, Any] | None]
"""From a pipeline of diffusers and what it is called with, to what it must be called with; None: it cannot say this."""


@dataclass(frozen=True)
class Case:
    """One row: what is asked beyond BASE, and how diffusers is asked for the same."""

    name: str
    asked: Mapping[str, Any] = field(default_factory=dict)
    plain: Plain | None = lambda pipeline, call: call
    """None: plain diffusers has no such thing; then it must change the picture, or be a deviation."""


def with_scheduler(name: str) -> Plain:
    def plain(pipeline: Any, call: dict[str, Any]) -> dict[str, Any]:
        diffusers = import_module("diffusers")
        if type(pipeline.scheduler).__name__ != "FlowMatchEulerDiscreteScheduler":
            options = {"original_inference_steps": 50} if name == "LCMScheduler" else {}
            pipeline.scheduler = getattr(diffusers, name).from_config(pipeline.scheduler.config, **options)
        return call

    return plain


def with_schedule(**options: Any) -> Plain:
    def plain(pipeline: Any, call: dict[str, Any]) -> dict[str, Any]:
        pipeline.scheduler = type(pipeline.scheduler).from_config(pipeline.scheduler.config, **options)
        return call

    return plain


def with_negative(pipeline: Any, call: dict[str, Any]) -> dict[str, Any]:
    if type(pipeline).__name__.startswith("Flux"):
        return {**call, "negative_prompt": "blue", "true_cfg_scale": 3.5}
    return {**call, "negative_prompt": "blue"}


def with_clip_skip(pipeline: Any, call: dict[str, Any]) -> dict[str, Any]:
    return {**call, "clip_skip": 1}


CASES = [
    Case("nothing beyond size, steps and seed"),
    Case("size, a multiple of 8", {"width": 72, "height": 104}),
    Case("size, a multiple of 16", {"width": 96, "height": 48}),
    Case("steps", {"steps": 5}),
    Case("seed", {"seed": 2**63 - 1}),
    Case("guidance_scale", {"guidance_scale": 3.0}, lambda pipeline, call: {**call, "guidance_scale": 3.0}),
    Case("negative_prompt", {"negative_prompt": "blue"}, with_negative),
    Case("negative_prompt at guidance 1", {"negative_prompt": "blue", "guidance_scale": 1.0}, None),
    *(Case(f"sampler {sampler.name}", {"sampler": sampler}, with_scheduler(name)) for sampler, name in CLASSES.items()),
    Case("schedule TRAINED", {"schedule": NoiseSchedule.TRAINED}, with_schedule(use_karras_sigmas=False)),
    Case("schedule KARRAS", {"schedule": NoiseSchedule.KARRAS}, with_schedule(use_karras_sigmas=True)),
    Case("schedule EXPONENTIAL", {"schedule": NoiseSchedule.EXPONENTIAL}, with_schedule(use_exponential_sigmas=True)),
    Case("schedule BETA", {"schedule": NoiseSchedule.BETA}, with_schedule(use_beta_sigmas=True)),
    Case("schedule SGM_UNIFORM", {"schedule": NoiseSchedule.SGM_UNIFORM}, with_schedule(timestep_spacing="trailing")),
    Case("schedule SIMPLE", {"schedule": NoiseSchedule.SIMPLE}, with_schedule(timestep_spacing="trailing")),
    Case("clip_skip", {"clip_skip": 1}, with_clip_skip),
    Case("clip_skip past the layers", {"clip_skip": 12}, None),
    Case("prompt past the window", {"prompt": LONG}, None),
    Case("negative_prompt past the window", {"negative_prompt": LONG}, None),
    Case("prompt with (words:1.3)", {"prompt": "a (red:1.3) star"}, None),
    Case(
        "prompt with ((words))",
        {"prompt": "a ((red)) star"},
        lambda pipeline, call: {**call, "prompt": "a ((red)) star"},
    ),
    Case("source_image", IMAGE),
    Case("source_image of another shape", {"source_image": ref("wide")}, None),
    Case("resize_mode FIT", {"source_image": ref("wide"), "resize_mode": ResizeMode.FIT}, None),
    Case("resize_mode STRETCH", {"source_image": ref("wide"), "resize_mode": ResizeMode.STRETCH}, None),
    Case("denoising_strength", {**IMAGE, "denoising_strength": 0.4}),
    Case("denoising_strength below a step", {**IMAGE, "denoising_strength": 0.01}, None),
    Case("mask", MASKED),
    Case("invert_mask", {**MASKED, "invert_mask": True}),
    Case("lora", {"loras": (Lora("own", 1.0),)}, lambda pipeline, call: with_lora(pipeline, call)),
    Case("lora that is not here", {"loras": (Lora("absent", 1.0),)}, None),
    Case("lora of another model", {"loras": (Lora("foreign", 1.0),)}, None),
    Case("post_processors that enlarge, not here", {"post_processors": ("UPSCALE_2X",)}, None),
    Case("post_processors, others, not here", {"post_processors": ("FACE_REPAIR",)}, None),
    Case("hires_fix", {**LARGE, "hires_fix": HiresFix(SIDE, 48, 0.5)}, None),
    Case("hires_fix of a source_image", {**LARGE, **IMAGE, "hires_fix": HiresFix(SIDE, 48)}, None),
    Case("tiling", {"tiling": True}, lambda pipeline, call: with_tiling(pipeline, call)),
    Case("textual_inversions", {"textual_inversions": (TextualInversion("own", 0),)}, lambda *to: with_inversion(*to)),
    Case("textual_inversions, not here", {"textual_inversions": (TextualInversion("absent", 0),)}, None),
    Case("textual_inversions of another model", {"textual_inversions": (TextualInversion("foreign", 0),)}, None),
    Case("controls", {"controls": (Control(ref("source"), "edges-map"),)}),
    Case("controls with source_image", {**IMAGE, "controls": (Control(ref("mask")),)}),
    Case("controls with mask", {**MASKED, "controls": (Control(ref("source")),)}),
    Case("controls, a map to be made", {"controls": (Control(ref("source"), "edges"),)}, None),
]


def with_tiling(pipeline: Any, call: dict[str, Any]) -> dict[str, Any] | None:
    """The known recipe: every convolution looks round the edge."""
    if not hasattr(pipeline, "unet"):
        return None
    convolution = import_module("torch").nn.Conv2d
    for part in (pipeline.unet, pipeline.vae):
        for layer in part.modules():
            if isinstance(layer, convolution):
                layer.padding_mode = "circular"
    return call


def with_inversion(pipeline: Any, call: dict[str, Any]) -> dict[str, Any] | None:
    """As diffusers teaches it: new words of the tokenizers, `own` and one for each further vector."""
    if not hasattr(pipeline, "load_textual_inversion"):
        return None
    path = Path(pipeline.name_or_path) / "embeddings" / "own.safetensors"
    for name, vectors in import_module("safetensors.torch").load_file(path).items():
        suffix = "_2" if name == "clip_g" else ""
        tokenizer, encoder = (getattr(pipeline, f"{part}{suffix}") for part in ("tokenizer", "text_encoder"))
        pipeline.load_textual_inversion(
            vectors, token=["<own-1>", "<own-2>"], tokenizer=tokenizer, text_encoder=encoder
        )
        for part in encoder.modules():
            if hasattr(part, "eos_token_id"):
                # Configurations with its old number make transformers take the largest of all for the end of the text,
                # and that is then the new word.
                part.eos_token_id = tokenizer.eos_token_id
    return call | {"prompt": f"{call['prompt']}, <own-1> <own-2>"}


def with_lora(pipeline: Any, call: dict[str, Any]) -> dict[str, Any] | None:
    if not hasattr(pipeline, "load_lora_weights"):
        return None
    folder = Path(pipeline.name_or_path) / "loras"
    pipeline.load_lora_weights(str(folder), weight_name="own.safetensors", adapter_name="own")
    return call


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("shapes")
    made = {shape: build(shape, root / shape) for shape in SHAPES}
    for folder in made.values():
        lora_for(folder, folder / "loras" / "own.safetensors")
    for shape in ("sd15", "turbo", "sdxl", "inpainting"):
        embedding_for(made[shape], made[shape] / "embeddings" / "own.safetensors")
    for shape in SHAPES:
        if shape != "pixart":
            # Those that are made for four channels serve its nine too.
            control_for(made["sd15" if shape == "inpainting" else shape], made[shape] / "controlnets" / "edges")
    for shape, folder in made.items():
        other = made["sdxl" if shape != "sdxl" else "sd15"]
        shutil.copy(other / "loras" / "own.safetensors", folder / "loras" / "foreign.safetensors")
        (folder / "embeddings").mkdir(exist_ok=True)
        shutil.copy(other / "embeddings" / "own.safetensors", folder / "embeddings" / "foreign.safetensors")
    return made


@pytest.fixture(scope="module")
def studio(folders: dict[str, Path]) -> Studio:
    found = find_models(",".join(f"{shape}={folder}" for shape, folder in folders.items()), Path("unused"))
    opened = Studio(StudioSettings(found.models, threads=1))
    with pytest.MonkeyPatch.context() as patched:
        # Its first pictures are not what is looked at here.
        patched.setattr(measuring, "BENCHMARK_SIDE", SIDE)
        opened.load()
        while opened.has_untried:
            opened.try_next()
    assert not opened.problems
    return opened


class Diffusers:
    """Plain diffusers, asked directly."""

    def __init__(self, folders: dict[str, Path]) -> None:
        self._folders = folders
        self._loaded: dict[str, Any] = {}
        self._made: dict[tuple[str, str, int], Any] = {}
        self._nets: dict[str, Any] = {}

    def paint(self, shape: str, picture: Picture, plain: Plain) -> Image.Image | None:
        diffusers, torch = import_module("diffusers"), import_module("torch")
        pipeline = self._pipeline(diffusers, shape, picture)
        if pipeline is None:
            return None
        call: dict[str, Any] = {"prompt": picture.prompt, "num_inference_steps": picture.steps}
        if "Img2Img" not in type(pipeline).__name__ or type(pipeline).__name__.startswith(("Flux", "StableDiffusion3")):
            call |= {"width": picture.width, "height": picture.height}
        if shape == "pixart":
            call |= {"use_resolution_binning": False, "clean_caption": False}
        if picture.source_image is not None:
            call |= {"image": SOURCE, "strength": picture.denoising_strength or 0.75}
        if picture.controls:
            maps = [
                {"source": SOURCE, "mask": MASK.convert("RGB")}[control.image.input_id] for control in picture.controls
            ]
            strengths = [control.strength for control in picture.controls]
            name = "control_image" if "control_image" in inspect.signature(pipeline.__call__).parameters else "image"
            one = len(maps) == 1
            call |= {
                name: maps[0] if one else maps,
                "controlnet_conditioning_scale": strengths[0] if one else strengths,
            }
        if picture.mask is not None:
            call["mask_image"] = self._mask(picture)
        elif shape == "inpainting":
            size = (picture.width, picture.height)
            grey, all_of_it = Image.new("RGB", size, "gray"), Image.new("L", size, 255)
            call = {"image": grey, "mask_image": all_of_it, "strength": 1.0} | call
        asked = plain(pipeline, call)
        if asked is None:
            return None
        image: Image.Image = pipeline(**asked, generator=torch.Generator("cpu").manual_seed(picture.seed)).images[0]
        if picture.mask is not None:
            image = Image.composite(image, SOURCE, self._mask(picture))
        return image if image.size == (picture.width, picture.height) else None

    @staticmethod
    def _mask(picture: Picture) -> Image.Image:
        return MASK.point(lambda value: 255 - value) if picture.invert_mask else MASK

    def _pipeline(self, diffusers: Any, shape: str, picture: Picture) -> Any:
        kind = diffusers.AutoPipelineForText2Image
        if picture.mask is not None or shape == "inpainting":
            kind = diffusers.AutoPipelineForInpainting
        elif picture.source_image is not None:
            kind = diffusers.AutoPipelineForImage2Image
        try:
            if picture.loras or picture.tiling or picture.textual_inversions:
                # What that does to a pipeline stays.
                pipeline = self._fresh(kind, shape)
            else:
                pipeline = self._shared(diffusers, kind, shape, len(picture.controls))
        except ValueError:
            return None
        # The shape's own, whatever the last case put in its place.
        own = self._loaded.get(shape, pipeline).scheduler
        pipeline.scheduler = type(own).from_config(own.config)
        return pipeline

    def _shared(self, diffusers: Any, kind: Any, shape: str, nets: int) -> Any:
        """A pipeline with the weights of the shape's first one. Raises ValueError where there is none of the kind."""
        if shape not in self._loaded:
            first = (
                diffusers.AutoPipelineForInpainting if shape == "inpainting" else diffusers.AutoPipelineForText2Image
            )
            self._loaded[shape] = self._fresh(first, shape)
        key = (shape, kind.__name__, nets)
        if key not in self._made:
            net = self._net(diffusers, shape) if nets else None
            guided = {"controlnet": net if nets == 1 else [net] * nets} if nets else {}
            self._made[key] = kind.from_pipe(self._loaded[shape], **guided)
            self._made[key].set_progress_bar_config(disable=True)
        return self._made[key]

    def _fresh(self, kind: Any, shape: str) -> Any:
        pipeline = kind.from_pretrained(self._folders[shape], local_files_only=True)
        encoder = pipeline.text_encoder
        if not hasattr(encoder, "text_model") and hasattr(encoder, "final_layer_norm"):
            # diffusers' clip skip looks for the last norm where transformers 5 has it no more.
            object.__setattr__(encoder, "text_model", SimpleNamespace(final_layer_norm=encoder.final_layer_norm))
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def _net(self, diffusers: Any, shape: str) -> Any:
        if shape not in self._nets:
            folder = self._folders[shape] / "controlnets" / "edges"
            kind = json.loads((folder / "config.json").read_text())["_class_name"]
            self._nets[shape] = getattr(diffusers, kind).from_pretrained(folder, local_files_only=True)
        return self._nets[shape]


def finding(studio: Studio, plainly: Diffusers, shape: str, case: Case, base: dict[str, bytes]) -> str:
    """The cell: what became of a parameter on a shape."""
    picture = replace(BASE, model=shape, **case.asked)
    work = studio.paint(picture, INPUTS, Unwatched())
    if isinstance(work, Refused):
        return f"refused: {work.reason.name}"
    assert isinstance(work, Painting), f"{shape}, {case.name}: {work}"
    assert work.image.size == (picture.width, picture.height)
    if work.deviations:
        return ", ".join(f"{deviation.kind.name} {deviation.field}" for deviation in work.deviations)
    plain = case.plain and plainly.paint(shape, picture, case.plain)
    if plain is not None:
        assert work.image.tobytes() == plain.tobytes(), f"{shape}, {case.name}: another picture than plain diffusers'"
        return "same"
    assert work.image.tobytes() != base[shape], f"{shape}, {case.name}: it changes nothing"
    return "done"


@pytest.fixture(scope="module")
def plainly(folders: dict[str, Path]) -> Diffusers:
    return Diffusers(folders)


@pytest.fixture(scope="module")
def table(studio: Studio, plainly: Diffusers) -> dict[str, dict[str, str]]:
    base = {}
    for shape in SHAPES:
        work = studio.paint(replace(BASE, model=shape), {}, Unwatched())
        assert isinstance(work, Painting)
        base[shape] = work.image.tobytes()
    found: dict[str, dict[str, str]] = {}
    wrong = []
    for case in CASES:
        for shape in SHAPES:
            try:
                found.setdefault(case.name, {})[shape] = finding(studio, plainly, shape, case, base)
            except Exception as error:
                wrong.append(f"{shape}, {case.name}: {error}"[:300])
    assert not wrong, "\n".join(wrong)
    return found


def written(table: dict[str, dict[str, str]]) -> str:
    lines = [f"| | {' | '.join(SHAPES)} |", f"|---|{'---|' * len(SHAPES)}"]
    lines += [f"| {name} | {' | '.join(cells[shape] for shape in SHAPES)} |" for name, cells in table.items()]
    return "\n".join(lines) + "\n"


def test_no_cell_is_blank_and_the_readme_says_what_is_found(table: dict[str, dict[str, str]]) -> None:
    kinds = "|".join(kind.name for kind in DeviationKind)
    for name, cells in table.items():
        for shape, cell in cells.items():
            assert re.fullmatch(rf"same|done|refused: [A-Z_]+|((^|, )({kinds}) [a-z_\[\]0-9]+)+", cell), (name, shape)
    text = README.read_text(encoding="utf-8")
    before, after = text.index(BEGIN) + len(BEGIN), text.index(END)
    if os.environ.get("HORDE_WRITE_TABLE"):
        README.write_text(text[:before] + written(table) + text[after:], encoding="utf-8")
    else:
        assert text[before:after] == written(table)


def test_a_plain_picture_is_that_of_plain_diffusers_on_every_shape(table: dict[str, dict[str, str]]) -> None:
    assert set(table["nothing beyond size, steps and seed"].values()) == {"same"}


def test_two_nets_guide_a_picture_as_plain_diffusers_lets_them(studio: Studio, plainly: Diffusers) -> None:
    two = (Control(ref("source")), Control(ref("mask"), "edges-map", 0.5))
    assert finding(studio, plainly, "sd15", Case("two nets", {"controls": two}), {}) == "same"
