"""One pass of a pipeline: over one picture, or over several that differ in words and seed alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from horde.worker_agent.core.jobs import Censored, Deviation, DeviationKind, InputId, Making, Picture
from horde.worker_agent.painters import machine
from horde.worker_agent.painters.arguments import Call, call_for
from horde.worker_agent.painters.enlarging import (
    FIRST,
    at_only_size,
    first_pass,
    in_one_pass,
    only_size,
    second_pass,
    share_of_first,
)
from horde.worker_agent.painters.families import parameters
from horde.worker_agent.painters.inversions import fitting as teachable
from horde.worker_agent.painters.inversions import placed
from horde.worker_agent.painters.judging import check_picture
from horde.worker_agent.painters.loras import applied, fitting
from horde.worker_agent.painters.pipelines import Pipelines
from horde.worker_agent.painters.prompts import can_be_taught, say, together
from horde.worker_agent.painters.samplers import choose_sampler, named
from horde.worker_agent.painters.steps import Steps
from horde.worker_agent.painters.tiling import can_tile, tiled

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class Painting:
    """A picture that is painted and not yet encoded."""

    image: Image
    deviations: tuple[Deviation, ...]
    making: Making


def paint_pass(
    model: Pipelines,
    pictures: Sequence[Picture],
    inputs: Mapping[InputId, bytes],
    steps: Steps,
    substituted: tuple[Deviation, ...],
    unfit: Collection[str],
    device: str,
) -> list[Painting | Censored]:
    """One pass over pictures that are alike, or over one. Raises what stands in the way.

    `unfit` names LoRAs that do not go with the model.
    """
    from PIL.Image import Resampling

    torch: Any = import_module("torch")
    deviations = [list(substituted) for _ in pictures]
    pictures = [in_one_pass(model, picture, deviation) for picture, deviation in zip(pictures, deviations, strict=True)]
    if pictures[0].hires_fix is not None:
        return _twice(model, pictures, steps, substituted, unfit, device, inputs)
    whole = pictures
    if (only := only_size(model, pictures[0])) is not None:
        pictures = [
            at_only_size(picture, only, deviation) for picture, deviation in zip(pictures, deviations, strict=True)
        ]
    changes: list[Deviation] = []
    encoders = can_be_taught(model.text_to_image) if pictures[0].textual_inversions else []
    taught = teachable(encoders, model.source, pictures[0].textual_inversions, changes)
    pictures = [placed(picture, taught, deviation) for picture, deviation in zip(pictures, deviations, strict=True)]
    calls = [
        call_for(model, picture, inputs, deviation) for picture, deviation in zip(pictures, deviations, strict=True)
    ]
    call = calls[0]
    pipeline = call.pipeline
    pipeline.scheduler, substitutes = choose_sampler(model.default_scheduler, pictures[0])
    changes += substitutes
    loras = fitting(pipeline, model.source, pictures[0].loras, unfit, changes)
    for deviation in deviations:
        deviation += changes
    tiles = pictures[0].tiling and can_tile(pipeline)
    with applied(pipeline, model.source, loras), tiled(pipeline, wanted=tiles), torch.inference_mode():
        words = together(
            say(pipeline, one.prompt, one.negative_prompt, one.clip_skip, deviation, taught)
            for one, deviation in zip(calls, deviations, strict=True)
        )
        # On the processor, so that a seed gives the same first noise on every machine, in every batch.
        noises = [torch.Generator("cpu").manual_seed(picture.seed) for picture in pictures]
        generator = noises[0] if len(noises) == 1 else noises
        output = pipeline(generator=generator, **words, **call.arguments, **steps.follow(pipeline))
    steps.look_for_cancels()
    found = getattr(output, "nsfw_content_detected", None) or [False] * len(pictures)
    works: list[Painting | Censored] = []
    for picture, one, image, deviation, censored in zip(whole, calls, output.images, deviations, found, strict=True):
        if censored:
            works.append(Censored("nsfw"))
            continue
        check_picture(image)
        if only is not None:
            finished = image.resize((picture.width, picture.height), Resampling.LANCZOS)
        else:
            finished = _finish(image, picture, one.size, one.source, one.mask, deviation)
        works.append(Painting(finished, tuple(deviation), _making(model, one, steps, device)))
    return works


def _twice(
    model: Pipelines,
    pictures: Sequence[Picture],
    steps: Steps,
    substituted: tuple[Deviation, ...],
    unfit: Collection[str],
    device: str,
    inputs: Mapping[InputId, bytes],
) -> list[Painting | Censored]:
    """Small first, all of them in one pass, then each again from that."""
    share = share_of_first(pictures[0])
    steps.span = (0.0, share)
    small = [first_pass(model, picture) for picture in pictures]
    works: list[Painting | Censored] = []
    firsts = paint_pass(model, small, inputs, steps, substituted, unfit, device)
    for place, (picture, first) in enumerate(zip(pictures, firsts, strict=True)):
        if isinstance(first, Censored):
            works.append(first)
            continue
        again, content = second_pass(picture, first.image)
        steps.span = (share + (1 - share) * place / len(firsts), share + (1 - share) * (place + 1) / len(firsts))
        (second,) = paint_pass(model, [again], {**inputs, FIRST: content}, steps, (), unfit, device)
        if isinstance(second, Painting):
            by_field = {change.field: change for change in (*second.deviations, *first.deviations)}
            second = replace(second, deviations=tuple(by_field.values()), making=first.making)
        works.append(second)
    return works


def _making(model: Pipelines, call: Call, steps: Steps, device: str) -> Making:
    pipeline = call.pipeline
    sampler, schedule = named(pipeline.scheduler)
    default = parameters(pipeline).get("guidance_scale")
    guidance = call.arguments.get("guidance_scale", default.default if default is not None else None)
    return Making(
        sampler,
        schedule,
        None if guidance is None else float(guidance),
        steps.own,
        f"diffusers {import_module('diffusers').__version__}",
        model.precision,
        machine.device_class(device),
        model.weights_sha256,
    )


def _finish(
    image: Image,
    picture: Picture,
    size: tuple[int, int],
    source: Image | None,
    mask: Image | None,
    deviations: list[Deviation],
) -> Image:
    """What was painted, at the size that was asked for."""
    from PIL.Image import Resampling, composite

    if image.size != size:
        asked, done = f"{size[0]}x{size[1]}", f"{image.width}x{image.height}, resized"
        deviations.append(Deviation(DeviationKind.SUBSTITUTED, "width", asked, done))
        image = image.resize(size, Resampling.LANCZOS)
    if source is not None and mask is not None:
        # What was not to be painted anew stays exactly as it was: the VAE would change it.
        image = composite(image, source, mask)
    left, top = (image.width - picture.width) // 2, (image.height - picture.height) // 2
    if left or top or image.size != (picture.width, picture.height):
        image = image.crop((left, top, left + picture.width, top + picture.height))
    return image
