"""The studio at work: what it does with models that are damaged, too large, unsafe or of a rare layout."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from horde.testkit.tiny_models import build, control_for, lora_for
from horde.worker_agent.core.jobs import (
    Cancelled,
    Control,
    DeviationKind,
    Failed,
    FailureReason,
    Feature,
    HiresFix,
    InputId,
    InputRef,
    Lora,
    Picture,
    RefusalReason,
    Refused,
    Sampler,
)
from horde.worker_agent.painters.diffusers_studio import Studio, StudioSettings
from horde.worker_agent.painters.models import BadModel, find_models
from horde.worker_agent.painters.one_pass import Painting
from horde.worker_agent.painters.pipelines import Pipelines
from horde.worker_agent.painters.port import CannotLoad
from horde.worker_agent.painters.tiling import tiled

# torch and diffusers warn of what tiny models are not.
pytestmark = [pytest.mark.filterwarnings("ignore")]

PICTURE = Picture("sd15", "a red star", 64, 64, steps=4, seed=7)


class Notes:
    """A watch that writes down the steps and may cancel at one."""

    def __init__(self, cancel_at: int = 0) -> None:
        self.steps: list[int] = []
        self.cancel_at = cancel_at

    def stepped(self, step: int) -> None:
        self.steps.append(step)

    def wants_preview(self) -> bool:
        return False

    def previewed(self, step: int, image: bytes) -> None: ...

    def cancelled(self) -> bool:
        return 0 < self.cancel_at <= len(self.steps)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root = tmp_path_factory.mktemp("shapes")
    return lambda shape: build(shape, root / shape)


@pytest.fixture
def copied(built: Callable[[str], Path], tmp_path: Path) -> Callable[..., Path]:
    """A model's folder of one's own, to be damaged."""

    def copy(shape: str, name: str = "") -> Path:
        return shutil.copytree(built(shape), tmp_path / (name or shape))

    return copy


def opened(folders: Mapping[str, Path], **settings: Any) -> Studio:
    found = find_models(",".join(f"{name}={folder}" for name, folder in folders.items()), Path("unused"))
    studio = Studio(StudioSettings(found.models, threads=1, **settings))
    studio.load()
    while studio.has_untried:
        studio.try_next()
    return studio


def paint(studio: Studio, picture: Picture, inputs: Mapping[InputId, bytes] | None = None) -> Painting:
    work = studio.paint(picture, inputs or {}, Notes())
    assert isinstance(work, Painting), work
    return work


def rewrite(file: Path, change: Callable[[str, Any], Any]) -> None:
    """Change the tensors of a weights file."""
    safetensors: Any = import_module("safetensors.torch")
    safetensors.save_file({name: change(name, value) for name, value in safetensors.load_file(file).items()}, file)


def weights(folder: Path, part: str = "unet") -> Path:
    return folder / part / "diffusion_pytorch_model.safetensors"


def test_a_model_whose_weights_are_no_numbers_is_never_offered(copied: Callable[..., Path]) -> None:
    bad, good = copied("sd15", "bad"), copied("sd15", "good")
    rewrite(weights(bad), lambda name, value: value * float("nan") if "conv_out" in name else value)
    studio = opened({"bad": bad, "good": good})
    assert [model.name for model in studio.capabilities().models] == ["good"]
    assert "no numbers" in studio.problems["bad"]
    work = studio.paint(replace(PICTURE, model="bad"), {}, Notes())
    assert isinstance(work, Refused)
    assert work.reason is RefusalReason.MODEL_UNAVAILABLE


def test_a_model_that_paints_one_colour_is_never_offered(copied: Callable[..., Path]) -> None:
    black = copied("sd15")
    rewrite(weights(black, "vae"), lambda name, value: value * 0 if "decoder.conv_out" in name else value)
    with pytest.raises(CannotLoad, match="one colour"):
        opened({"black": black})


def test_what_turns_bad_while_running_is_a_failure_and_the_model_is_whole_again(built: Callable[[str], Path]) -> None:
    studio = opened({"sd15": built("sd15")})
    before = paint(studio, PICTURE)
    torch: Any = import_module("torch")
    with torch.no_grad():
        studio._shelf.get("sd15").text_to_image.unet.conv_out.bias.fill_(float("nan"))
    work = studio.paint(PICTURE, {}, Notes())
    assert isinstance(work, Failed)
    assert work.reason is FailureReason.BAD_PICTURE
    assert paint(studio, PICTURE).image.tobytes() == before.image.tobytes()


def test_what_was_left_to_the_model_is_told_as_it_was(copied: Callable[..., Path]) -> None:
    folder = copied("sd15")
    making = paint(opened({"sd15": folder}), PICTURE).making
    assert making.sampler is not Sampler.DEFAULT
    assert making.guidance_scale is not None
    assert (making.steps, making.precision) == (4, "float32")
    assert making.engine.startswith("diffusers ")
    # As `sha256sum */*.safetensors | sha256sum` says it in the model's folder.
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*.safetensors"))
    lines = [f"{hashlib.sha256((folder / path).read_bytes()).hexdigest()}  {path}\n" for path in paths]
    assert making.model_sha256 == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_what_overflows_in_half_precision_is_painted_in_a_wider_one(copied: Callable[..., Path]) -> None:
    large = copied("sd15")
    # Past 65,504, which is as far as half precision reaches.
    rewrite(weights(large), lambda name, value: value + 7e4 if name == "conv_norm_out.bias" else value)
    rewrite(weights(large), lambda name, value: value / 1e6 if name.startswith("conv_out.") else value)
    narrow, wide = opened({"sd15": large}, precision="float16"), opened({"sd15": large}, precision="bfloat16")
    assert narrow._shelf.get("sd15").precision == "bfloat16"
    assert paint(narrow, PICTURE).image.tobytes() == paint(wide, PICTURE).image.tobytes()


@pytest.mark.parametrize("name", ["foreign", "junk"])
def test_a_lora_that_does_not_fit_is_a_deviation_and_leaves_the_model_whole(
    copied: Callable[..., Path], built: Callable[[str], Path], name: str
) -> None:
    folder = copied("flux-dev")
    lora_for(built("sdxl"), folder / "loras" / "foreign.safetensors")
    lora_for(built("flux-dev"), folder / "loras" / "own.safetensors")
    (folder / "loras" / "junk.safetensors").write_bytes(b"junk")
    studio = opened({"flux": folder})
    assert Feature.LORA in studio.capabilities().models[0].features
    picture = replace(PICTURE, model="flux")
    before = paint(studio, picture)
    own = paint(studio, replace(picture, loras=(Lora("own", 1.0),)))
    assert not own.deviations
    assert own.image.tobytes() != before.image.tobytes()
    with_it = paint(studio, replace(picture, loras=(Lora(name, 1.0),)))
    assert [(deviation.kind, deviation.field) for deviation in with_it.deviations] == [
        (DeviationKind.OMITTED, "loras[0]")
    ]
    assert "is not made for this model" in with_it.deviations[0].asked
    for after in (with_it, paint(studio, picture)):
        assert after.image.tobytes() == before.image.tobytes()


def test_the_strength_of_a_lora_counts_and_another_file_of_its_name_is_left_out(copied: Callable[..., Path]) -> None:
    folder = copied("sd15")
    lora_for(folder, folder / "loras" / "own.safetensors")
    studio = opened({"sd15": folder})
    plain = paint(studio, PICTURE)
    strong, weak = (paint(studio, replace(PICTURE, loras=(Lora("own", size),))) for size in (1.0, 0.2))
    assert len({plain.image.tobytes(), strong.image.tobytes(), weak.image.tobytes()}) == 3
    other = paint(studio, replace(PICTURE, loras=(Lora("own", 1.0, sha256=b"0" * 32),)))
    assert "is another" in other.deviations[0].asked
    assert other.image.tobytes() == plain.image.tobytes()


def test_a_pipeline_that_calls_nobody_back_tells_its_steps_and_can_be_cancelled(built: Callable[[str], Path]) -> None:
    studio = opened({"pixart": built("pixart")})
    picture = replace(PICTURE, model="pixart", steps=6)
    notes = Notes()
    assert isinstance(studio.paint(picture, {}, notes), Painting)
    assert notes.steps == [1, 2, 3, 4, 5, 6]
    notes = Notes(cancel_at=2)
    assert studio.paint(picture, {}, notes) == Cancelled(2)
    assert notes.steps == [1, 2]


def test_a_sampler_that_computes_no_numbers_gives_way_to_the_models_own(built: Callable[[str], Path]) -> None:
    studio = opened({"pixart": built("pixart")})
    picture = replace(PICTURE, model="pixart", steps=2)
    work = paint(studio, replace(picture, sampler=Sampler.DPM2_ANCESTRAL))
    assert [(deviation.kind, deviation.field) for deviation in work.deviations] == [
        (DeviationKind.SUBSTITUTED, "sampler")
    ]
    assert work.image.tobytes() == paint(studio, picture).image.tobytes()


def test_models_that_do_not_fit_together_take_turns_and_none_fails(built: Callable[[str], Path]) -> None:
    folders = {name: built(name) for name in ("sd15", "sdxl")}
    alone = {name: opened({name: folder})._shelf.get(name).bytes for name, folder in folders.items()}
    studio = opened(folders, memory_bytes=int(max(alone.values()) * 1.3))
    loaded = []
    for name in ("sd15", "sdxl", "sd15"):
        paint(studio, replace(PICTURE, model=name))
        loaded.append([model.name for model in studio.capabilities().models if model.loaded])
    assert loaded == [["sd15"], ["sdxl"], ["sd15"]]
    roomy = opened(folders, memory_bytes=10 * sum(alone.values()))
    assert [model.loaded for model in roomy.capabilities().models] == [True] * 2


def test_too_little_memory_is_one_leaner_try_and_then_the_job_is_given_back(
    built: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = opened({"sd15": built("sd15")})
    before = paint(studio, PICTURE)
    lean: list[Pipelines] = []
    monkeypatch.setattr(Pipelines, "make_lean", lambda model: lean.append(model))
    unet: Any = import_module("diffusers").UNet2DConditionModel
    original = unet.forward
    tight = True

    def forward(self: Any, *arguments: Any, **named: Any) -> Any:
        if tight and len(lean) < 2:
            raise MemoryError("the processor has no more")
        return original(self, *arguments, **named)

    monkeypatch.setattr(unet, "forward", forward)
    work = studio.paint(PICTURE, {}, Notes())
    assert isinstance(work, Refused)
    assert work.reason is RefusalReason.OUT_OF_MEMORY
    assert len(lean) == 1
    tight = False
    assert paint(studio, PICTURE).image.tobytes() == before.image.tobytes()
    # It stays lean whenever it is loaded again.
    studio._shelf.discard("sd15")
    paint(studio, PICTURE)
    assert len(lean) == 3


def test_a_folder_of_the_half_precision_variant_alone_is_loaded(copied: Callable[..., Path]) -> None:
    folder = copied("sdxl")
    before = paint(opened({"sdxl": folder}), replace(PICTURE, model="sdxl"))
    for file in folder.rglob("*.safetensors"):
        file.rename(file.with_suffix(".fp16.safetensors"))
    after = paint(opened({"sdxl": folder}), replace(PICTURE, model="sdxl"))
    assert after.image.tobytes() == before.image.tobytes()


def pickle_all(folder: Path) -> None:
    for file in folder.rglob("*.safetensors"):
        file.rename(file.with_suffix(".bin"))


def cut_one(folder: Path) -> None:
    file = weights(folder)
    file.write_bytes(file.read_bytes()[:-100])


def add_code(folder: Path) -> None:
    (folder / "pipeline.py").write_text("print('hello')")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (pickle_all, "get the model as .safetensors"),
        (cut_one, "is cut off"),
        (add_code, "code of their own are refused"),
        (lambda folder: (folder / "model_index.json").unlink(), "model_index.json"),
        (shutil.rmtree, "no folder here"),
    ],
)
def test_a_model_that_is_not_whole_or_not_safe_is_named_at_the_start_and_the_others_are_served(
    copied: Callable[..., Path], damage: Callable[[Path], Any], words: str
) -> None:
    bad, good = copied("sd15", "bad"), copied("sd15", "good")
    damage(bad)
    found = find_models(f"bad={bad},good={good}", Path("unused"))
    assert [model.name for model in found.models] == ["good"]
    assert words in found.problems[0]
    with pytest.raises(BadModel, match=words):
        find_models(f"bad={bad}", Path("unused"))


@pytest.mark.parametrize("suffix", [".ckpt", ".pt"])
def test_a_pickled_single_file_is_refused_with_a_sentence(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"model{suffix}"
    file.write_bytes(b"\x80\x04")
    with pytest.raises(BadModel, match="can run anything when it is opened"):
        find_models(f"old={file}", Path("unused"))


def test_each_model_says_what_it_can_do_itself(built: Callable[[str], Path]) -> None:
    studio = opened({name: built(name) for name in ("sd15", "sd3", "pixart", "inpainting")})
    offers = {model.name: model for model in studio.capabilities().models}
    assert {name: offer.size_multiple for name, offer in offers.items()} == {
        "sd15": 8,
        "sd3": 16,
        "pixart": 16,
        "inpainting": 8,
    }
    assert all(offer.samplers for offer in offers.values())
    assert len(offers["sd3"].samplers) == 1
    assert Feature.IMAGE_TO_IMAGE not in offers["pixart"].features
    assert {Feature.IMAGE_TO_IMAGE, Feature.INPAINTING} <= offers["inpainting"].features
    assert Feature.RESIZE_MODES in offers["sd15"].features
    assert offers["sd3"].schedules != offers["sd15"].schedules


def test_models_come_and_go_and_what_was_learnt_of_one_goes_with_it(copied: Callable[..., Path]) -> None:
    bad, good = copied("sd15", "bad"), copied("sd15", "good")
    rewrite(weights(bad), lambda name, value: value * float("nan") if "conv_out" in name else value)
    studio = opened({"one": good, "two": bad})
    assert studio.problems.keys() == {"two"}
    before = paint(studio, replace(PICTURE, model="one")).image.tobytes()

    studio.serve(find_models(f"two={good},three={good}", Path("unused")).models)
    assert not studio.capabilities().models
    assert not studio.problems
    gone = studio.paint(replace(PICTURE, model="one"), {}, Notes())
    assert isinstance(gone, Refused)
    assert gone.reason is RefusalReason.MODEL_UNAVAILABLE
    while studio.has_untried:
        studio.try_next()
    assert [model.name for model in studio.capabilities().models] == ["two", "three"]
    assert paint(studio, replace(PICTURE, model="two")).image.tobytes() == before

    # The same again is nothing new.
    studio.serve(find_models(f"two={good},three={good}", Path("unused")).models)
    assert not studio.has_untried
    assert all(model.loaded for model in studio.capabilities().models)


def test_a_large_picture_is_painted_small_and_then_again_as_plain_diffusers_would(built: Callable[[str], Path]) -> None:
    folder = built("sd15")
    notes = Notes()
    large = replace(PICTURE, width=128, height=96, hires_fix=HiresFix(64, 48, 0.5))
    studio = opened({"sd15": folder})
    work = studio.paint(large, {}, notes)
    assert isinstance(work, Painting)
    assert not work.deviations
    # The steps of both passes are those of one picture, and none comes twice.
    assert notes.steps == sorted(set(notes.steps))
    assert notes.steps[-1] == PICTURE.steps

    diffusers, torch = import_module("diffusers"), import_module("torch")
    first = diffusers.StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    again = diffusers.StableDiffusionImg2ImgPipeline.from_pipe(first)
    asked = {"prompt": PICTURE.prompt, "num_inference_steps": PICTURE.steps}

    def seeded() -> Any:
        return torch.Generator("cpu").manual_seed(PICTURE.seed)

    small = first(**asked, width=64, height=48, generator=seeded()).images[0]
    enlarged = small.resize((128, 96), Image.Resampling.LANCZOS)
    plain = again(**asked, image=enlarged, strength=0.5, generator=seeded()).images[0]
    assert work.image.tobytes() == plain.tobytes()

    late = studio.paint(large, {}, Notes(cancel_at=len(notes.steps)))
    assert late == Cancelled(notes.steps[-1])


def test_the_edges_of_a_tile_fit_each_other_and_the_model_is_whole_afterwards(built: Callable[[str], Path]) -> None:
    torch: Any = import_module("torch")
    vae = import_module("diffusers").AutoencoderKL.from_pretrained(built("sd15") / "vae", local_files_only=True)
    pipeline = SimpleNamespace(unet=None, vae=vae)
    latents = torch.randn((1, 4, 8, 8), generator=torch.Generator("cpu").manual_seed(1))

    def moves_with_its_latents() -> bool:
        """Whether what is moved across the edge comes out the same on the other side: then nothing knows the edge."""
        with torch.inference_mode():
            image, moved = vae.decode(latents)[0], vae.decode(latents.roll((1, 2), (2, 3)))[0]
        return bool(torch.allclose(image.roll((8, 16), (2, 3)), moved, atol=1e-4))

    assert not moves_with_its_latents()
    with tiled(pipeline, wanted=True):
        assert moves_with_its_latents()
    assert not moves_with_its_latents()


def test_a_controlnet_of_another_model_costs_its_picture_and_the_offer_of_guidance(
    copied: Callable[..., Path], built: Callable[[str], Path]
) -> None:
    folder = copied("sd15")
    control_for(built("inpainting"), folder / "controlnets" / "edges")
    studio = opened({"sd15": folder})
    (offer,) = studio.capabilities().models
    assert Feature.CONTROL in offer.features
    out = io.BytesIO()
    Image.radial_gradient("L").resize((64, 64)).save(out, "PNG")
    before = paint(studio, PICTURE).image.tobytes()
    guided = replace(PICTURE, controls=(Control(InputRef(InputId("map"), b"")),))
    refused = studio.paint(guided, {InputId("map"): out.getvalue()}, Notes())
    assert isinstance(refused, Refused)
    assert "does not go with it" in refused.detail
    (offer,) = studio.capabilities().models
    assert Feature.CONTROL not in offer.features
    assert paint(studio, PICTURE).image.tobytes() == before


def test_a_file_that_is_damaged_while_others_are_painted_costs_its_own_pictures_until_it_is_mended(
    copied: Callable[..., Path],
) -> None:
    one, other = copied("sd15", "one"), copied("sd15", "other")
    # Room for one: each is loaded anew when it is asked for.
    studio = opened({"one": one, "other": other}, memory_bytes=1)
    before = paint(studio, replace(PICTURE, model="one")).image.tobytes()
    paint(studio, replace(PICTURE, model="other"))
    whole = weights(one).read_bytes()
    weights(one).write_bytes(whole[: len(whole) // 2])
    failed = studio.paint(replace(PICTURE, model="one"), {}, Notes())
    assert isinstance(failed, Failed)
    assert failed.reason is FailureReason.BACKEND
    paint(studio, replace(PICTURE, model="other"))
    weights(one).write_bytes(whole)
    assert paint(studio, replace(PICTURE, model="one")).image.tobytes() == before


def test_a_model_that_paints_one_size_well_paints_that_and_the_picture_is_resized(copied: Callable[..., Path]) -> None:
    folder = copied("sd15")
    (folder / "catalogue.json").write_text(json.dumps({"sizes": {"only": 96}}), "utf-8")
    studio = opened({"sd15": folder})
    best = paint(studio, replace(PICTURE, width=96, height=96))
    assert not best.deviations
    for side in (64, 160):
        work = paint(studio, replace(PICTURE, width=side, height=side))
        assert [(found.kind, found.field) for found in work.deviations] == [(DeviationKind.SUBSTITUTED, "width")]
        assert work.image.tobytes() == best.image.resize((side, side), Image.Resampling.LANCZOS).tobytes()
    assert not paint(studio, replace(PICTURE, width=192, height=64)).deviations
    # What starts from a picture fits to it.
    out = io.BytesIO()
    Image.radial_gradient("L").resize((64, 64)).save(out, "PNG")
    started = replace(PICTURE, source_image=InputRef(InputId("map"), b""), denoising_strength=0.9)
    assert not paint(studio, started, {InputId("map"): out.getvalue()}).deviations
