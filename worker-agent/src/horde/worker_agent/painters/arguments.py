"""What a pipeline is called with to paint a picture; what cannot be said to it becomes a deviation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from horde.worker_agent.core.jobs import Deviation, DeviationKind, InputId, Picture
from horde.worker_agent.painters.pictures import decode_input
from horde.worker_agent.painters.pipelines import Pipelines, parameters

DEFAULT_STRENGTH = 0.75
"""The contract's default of `denoising_strength`."""


class BadInput(Exception):
    """A picture that the job names cannot be used."""


def arguments_for(
    model: Pipelines, picture: Picture, inputs: Mapping[InputId, bytes], deviations: list[Deviation]
) -> tuple[Any, dict[str, Any]]:
    """The pipeline for a picture and what it is called with; what cannot be said to it becomes a deviation."""
    size = (picture.width, picture.height)
    arguments: dict[str, Any] = {"prompt": picture.prompt, "num_inference_steps": picture.steps}
    pipeline = model.text_to_image
    if picture.source_image is not None:
        pipeline = model.image_to_image if picture.mask is None else model.inpainting
        if pipeline is None:
            raise BadInput("this model cannot start from a picture")
        arguments["image"] = _decoded(inputs, picture.source_image.input_id, "RGB", size)
        if picture.mask is not None:
            arguments["mask_image"] = _decoded(inputs, picture.mask.input_id, "L", size)
        arguments["strength"] = _strength(picture, deviations)
    known = parameters(pipeline)
    if "width" in known:
        arguments |= {"width": picture.width, "height": picture.height}
    guidance = model.source.guidance_scale if picture.guidance_scale is None else picture.guidance_scale
    if guidance is not None and "guidance_scale" in known:
        arguments["guidance_scale"] = guidance
    elif picture.guidance_scale is not None:
        deviations.append(_omitted("guidance_scale", picture.guidance_scale))
    if picture.negative_prompt:
        if "negative_prompt" in known and (guidance is None or guidance > 1):
            arguments["negative_prompt"] = picture.negative_prompt
        else:
            deviations.append(_omitted("negative_prompt", picture.negative_prompt[:100]))
    if picture.clip_skip:
        _skip(model, picture, arguments, known, deviations)
    deviations += [_omitted(f"post_processors[{n}]", name) for n, name in enumerate(picture.post_processors)]
    return pipeline, arguments


def _skip(
    model: Pipelines,
    picture: Picture,
    arguments: dict[str, Any],
    known: frozenset[str],
    deviations: list[Deviation],
) -> None:
    encoder = getattr(model.text_to_image, "text_encoder", None)
    if "clip_skip" not in known or encoder is None:
        deviations.append(_omitted("clip_skip", picture.clip_skip))
        return
    most = max(0, int(encoder.config.num_hidden_layers) - 1)
    arguments["clip_skip"] = min(picture.clip_skip, most)
    if picture.clip_skip > most:
        deviations.append(Deviation(DeviationKind.CLAMPED, "clip_skip", str(picture.clip_skip), str(most)))


def _strength(picture: Picture, deviations: list[Deviation]) -> float:
    asked = DEFAULT_STRENGTH if picture.denoising_strength is None else picture.denoising_strength
    # Below one whole step a pipeline has nothing to do and refuses.
    least = 1 / picture.steps
    if asked < least:
        deviations.append(Deviation(DeviationKind.CLAMPED, "denoising_strength", f"{asked:g}", f"{least:g}"))
        # A hair more, or the product of step count and strength falls below one.
        return min(1.0, least * 1.0001)
    return asked


def _decoded(inputs: Mapping[InputId, bytes], input_id: InputId, mode: str, size: tuple[int, int]) -> Any:
    try:
        return decode_input(inputs[input_id], mode, size)
    except (KeyError, ValueError, OSError) as error:
        raise BadInput(f"input {input_id} is not a picture that can be used: {error}") from error


def _omitted(field: str, asked: object) -> Deviation:
    return Deviation(DeviationKind.OMITTED, field, f"{asked:g}" if isinstance(asked, float) else str(asked))
