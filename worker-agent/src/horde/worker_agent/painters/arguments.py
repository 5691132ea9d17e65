"""What a pipeline is called with to paint a picture; what cannot be said to it becomes a deviation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from inspect import Parameter
from typing import TYPE_CHECKING, Any

from horde.worker_agent.core.jobs import Deviation, DeviationKind, InputId, InputRef, Picture
from horde.worker_agent.painters.controls import NotGuided, guided
from horde.worker_agent.painters.families import can_be_skipped, has_distilled_guidance, parameters
from horde.worker_agent.painters.pipelines import Pipelines
from horde.worker_agent.painters.sources import decode_input, reshaping, resized
from horde.worker_agent.painters.tiling import can_tile

if TYPE_CHECKING:
    from PIL.Image import Image

DEFAULT_STRENGTH = 0.75
"""The contract's default of `denoising_strength`."""
DEFAULT_TRUE_GUIDANCE = 3.5
"""For a negative prompt of a model that has no other use for guidance, where the request names none."""
# Off, so that a picture is painted at the size and from the words that were asked for, and not from what a pipeline
# makes of them.
_PLAIN = {"use_resolution_binning": False, "clean_caption": False}


class BadInput(Exception):
    """A picture that the job names cannot be used."""


class CannotPaint(Exception):
    """This model cannot do what the job is about; the message says what."""


@dataclass(frozen=True, slots=True)
class Call:
    """How a picture is painted: with which pipeline, called how, and at which size."""

    pipeline: Any
    arguments: dict[str, Any]
    """All but the prompts."""
    prompt: str
    negative_prompt: str | None
    """None: there is none, or it cannot be said."""
    clip_skip: int
    size: tuple[int, int]
    """Of what is painted: what was asked for, rounded up to what the model can do."""
    source: Image | None = None
    mask: Image | None = None


def call_for(model: Pipelines, picture: Picture, inputs: Mapping[InputId, bytes], deviations: list[Deviation]) -> Call:
    """How to paint a picture; what cannot be done becomes a deviation. Raises BadInput, CannotPaint."""
    size = _size(model, picture, deviations)
    pipeline = _pipeline(model, picture)
    source, mask = _pictures(picture, inputs, size, deviations)
    known = parameters(pipeline)
    arguments: dict[str, Any] = {"num_inference_steps": picture.steps}
    if picture.controls:
        arguments |= _guiding(picture, inputs, size, known, deviations)
    if source is not None:
        arguments |= {"image": source, "strength": _strength(picture, deviations)}
        if mask is not None:
            arguments["mask_image"] = mask
    if model.by_mask_alone:
        arguments = _under_a_mask(size) | arguments
    if "width" in known:
        arguments |= {"width": size[0], "height": size[1]}
    arguments |= {name: value for name, value in _PLAIN.items() if name in known}
    negative = _guide(model, pipeline, picture, arguments, deviations)
    clip_skip = _clip_skip(pipeline, picture, deviations)
    if clip_skip:
        arguments["clip_skip"] = clip_skip
    if picture.tiling and not can_tile(pipeline):
        deviations.append(_omitted("tiling", "true"))
    return Call(pipeline, arguments, _prompt(picture), negative, clip_skip, size, source, mask)


def _size(model: Pipelines, picture: Picture, deviations: list[Deviation]) -> tuple[int, int]:
    """The size to paint at: the next that the model can do."""
    multiple = model.size_multiple
    width, height = (-(-side // multiple) * multiple for side in (picture.width, picture.height))
    if (width, height) != (picture.width, picture.height):
        field = "width" if width != picture.width else "height"
        done = f"painted at {width}x{height} and cut at the middle"
        asked = f"{picture.width}x{picture.height}"
        deviations.append(Deviation(DeviationKind.SUBSTITUTED, field, asked, done))
    return width, height


def _pipeline(model: Pipelines, picture: Picture) -> Any:
    if picture.controls:
        try:
            return guided(model, picture)
        except NotGuided as error:
            raise CannotPaint(str(error)) from error
    if picture.source_image is None:
        return model.text_to_image
    pipeline = model.image_to_image if picture.mask is None else model.inpainting
    if pipeline is None:
        raise CannotPaint(f"{picture.model} cannot start from a picture{'' if picture.mask is None else ' and a mask'}")
    return pipeline


def _pictures(
    picture: Picture, inputs: Mapping[InputId, bytes], size: tuple[int, int], deviations: list[Deviation]
) -> tuple[Image | None, Image | None]:
    """The source image and the mask, at the size that is painted."""
    if picture.source_image is None:
        return None, None
    given = _decoded(inputs, picture.source_image, "RGB")
    if (change := reshaping(given, size, picture.resize_mode)) is not None:
        deviations.append(change)
    source = resized(given, size, picture.resize_mode)
    if picture.mask is None:
        return source, None
    from PIL import ImageOps

    mask = resized(_decoded(inputs, picture.mask, "L"), size, picture.resize_mode)
    return source, ImageOps.invert(mask) if picture.invert_mask else mask


def _guiding(
    picture: Picture,
    inputs: Mapping[InputId, bytes],
    size: tuple[int, int],
    known: Mapping[str, Parameter],
    deviations: list[Deviation],
) -> dict[str, Any]:
    """The maps, at the size that is painted, and how strictly they are followed."""
    maps = []
    for number, control in enumerate(picture.controls):
        given = _decoded(inputs, control.image, "RGB")
        if (change := reshaping(given, size, picture.resize_mode, f"controls[{number}].image")) is not None:
            deviations.append(change)
        maps.append(resized(given, size, picture.resize_mode))
    strengths = [control.strength for control in picture.controls]
    one = len(maps) == 1
    return {
        "control_image" if "control_image" in known else "image": maps[0] if one else maps,
        "controlnet_conditioning_scale": strengths[0] if one else strengths,
    }


def _under_a_mask(size: tuple[int, int]) -> dict[str, Any]:
    """For a model that paints under a mask alone: all of a grey picture is painted anew."""
    from PIL import Image

    return {"image": Image.new("RGB", size, "gray"), "mask_image": Image.new("L", size, 255), "strength": 1.0}


def _guide(
    model: Pipelines, pipeline: Any, picture: Picture, arguments: dict[str, Any], deviations: list[Deviation]
) -> str | None:
    """Set the guidance; the negative prompt as far as it can have an effect."""
    known = parameters(pipeline)
    guidance = model.source.guidance_scale if picture.guidance_scale is None else picture.guidance_scale
    if "true_cfg_scale" in known and not has_distilled_guidance(pipeline):
        return _guide_truly(pipeline, picture, guidance, arguments, deviations)
    if guidance is not None and "guidance_scale" in known:
        arguments["guidance_scale"] = guidance
    elif picture.guidance_scale is not None:
        deviations.append(_omitted("guidance_scale", picture.guidance_scale))
    if "true_cfg_scale" in known:
        if picture.negative_prompt:
            arguments["true_cfg_scale"] = DEFAULT_TRUE_GUIDANCE
        return picture.negative_prompt or None
    default = known["guidance_scale"].default if "guidance_scale" in known else 0.0
    effective = default if guidance is None else guidance
    if "negative_prompt" in known and effective > 1:
        # None at all is not the same as none of words: SDXL has zeros for it.
        return picture.negative_prompt or None
    if picture.negative_prompt:
        deviations.append(_omitted("negative_prompt", picture.negative_prompt))
    # The pipeline's own default, which is not the same in all of them.
    return None


def _guide_truly(
    pipeline: Any, picture: Picture, guidance: float | None, arguments: dict[str, Any], deviations: list[Deviation]
) -> str | None:
    """Guidance for a model that knows it only as painting twice, away from what a negative prompt says."""
    default = parameters(pipeline)["true_cfg_scale"].default
    usual = default if default > 1 else DEFAULT_TRUE_GUIDANCE
    if picture.negative_prompt:
        arguments["true_cfg_scale"] = usual if guidance is None else guidance
        if arguments["true_cfg_scale"] > 1:
            return picture.negative_prompt
        deviations.append(_omitted("negative_prompt", picture.negative_prompt))
        return None
    if picture.guidance_scale is not None and picture.guidance_scale > 1:
        if default > 1:
            # Made for guidance, which needs something to be drawn away from.
            arguments["true_cfg_scale"] = picture.guidance_scale
            return " "
        # Made without any: it would take twice the time to look worse.
        deviations.append(_omitted("guidance_scale", picture.guidance_scale))
    return None


def _clip_skip(pipeline: Any, picture: Picture, deviations: list[Deviation]) -> int:
    most = can_be_skipped(pipeline)
    if picture.clip_skip and not most:
        deviations.append(_omitted("clip_skip", picture.clip_skip))
    elif picture.clip_skip > most:
        deviations.append(Deviation(DeviationKind.CLAMPED, "clip_skip", str(picture.clip_skip), str(most)))
    return min(picture.clip_skip, most)


def _strength(picture: Picture, deviations: list[Deviation]) -> float:
    asked = DEFAULT_STRENGTH if picture.denoising_strength is None else picture.denoising_strength
    # Below one whole step a pipeline has nothing to do and refuses.
    least = 1 / picture.steps
    if asked < least:
        deviations.append(Deviation(DeviationKind.CLAMPED, "denoising_strength", f"{asked:g}", f"{least:g}"))
        # A hair more, or the product of step count and strength falls below one.
        return min(1.0, least * 1.0001)
    return asked


def _prompt(picture: Picture) -> str:
    """The prompt, with the words that wake its LoRAs."""
    words = [picture.prompt]
    words += [lora.trigger for lora in picture.loras if lora.trigger and lora.trigger not in picture.prompt]
    return ", ".join(words)


def _decoded(inputs: Mapping[InputId, bytes], ref: InputRef, mode: str) -> Image:
    try:
        return decode_input(inputs[ref.input_id], mode)
    except (KeyError, ValueError, OSError) as error:
        raise BadInput(f"input {ref.input_id} is not a picture that can be used: {error}") from error


def _omitted(field: str, asked: object) -> Deviation:
    return Deviation(DeviationKind.OMITTED, field, f"{asked:g}" if isinstance(asked, float) else str(asked))
