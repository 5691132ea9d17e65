"""Saying what to paint, in Python's words: builds the contract's GenerationSpec.

Nothing is checked here: the gateway checks every field and names all that are wrong, in one answer.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from google.protobuf.duration_pb2 import Duration

from horde.api.generation.v1.generation_pb2 import GenerationSpec
from horde.api.job.v1.job_pb2 import (
    Control,
    HiresFix,
    ImageSpec,
    InputImage,
    JobSpec,
    Lora,
    NoiseSchedule,
    PostProcessor,
    ResizeMode,
    Sampler,
    TextualInversion,
)

DEFAULT_MODEL: Final = "paintbox"
DEFAULT_SIZE: Final = 128
"""Pixels; what the project's own small model paints best."""
DEFAULT_STEPS: Final = 20


def generation_spec(
    prompt: str,
    *,
    model: str = DEFAULT_MODEL,
    count: int = 1,
    share: bool = False,
    negative_prompt: str = "",
    width: int = DEFAULT_SIZE,
    height: int = DEFAULT_SIZE,
    steps: int = DEFAULT_STEPS,
    seed: int | None = None,
    guidance_scale: float | None = None,
    sampler: Sampler.ValueType = Sampler.SAMPLER_UNSPECIFIED,
    schedule: NoiseSchedule.ValueType = NoiseSchedule.NOISE_SCHEDULE_UNSPECIFIED,
    clip_skip: int = 0,
    loras: Iterable[Lora] = (),
    source_image: InputImage | None = None,
    mask: InputImage | None = None,
    invert_mask: bool = False,
    resize_mode: ResizeMode.ValueType = ResizeMode.RESIZE_MODE_UNSPECIFIED,
    controls: Iterable[Control] = (),
    denoising_strength: float | None = None,
    post_processors: Iterable[PostProcessor.ValueType] = (),
    hires_fix: HiresFix | None = None,
    tiling: bool = False,
    textual_inversions: Iterable[TextualInversion] = (),
    fast_workers_only: bool = False,
    denied_worker_ids: Iterable[str] = (),
    allowed_worker_ids: Iterable[str] = (),
    time_to_live: timedelta | None = None,
    keep_for: timedelta | None = None,
    wait_for_model: bool = False,
) -> GenerationSpec:
    """A generation of `count` images. Image i is painted with `seed` + i; without a seed one is drawn at accept."""
    image = ImageSpec(
        prompt=prompt,
        negative_prompt=negative_prompt,
        width=width,
        height=height,
        steps=steps,
        sampler=sampler,
        schedule=schedule,
        clip_skip=clip_skip,
        loras=loras,
        source_image=source_image,
        mask=mask,
        invert_mask=invert_mask,
        resize_mode=resize_mode,
        controls=controls,
        post_processors=post_processors,
        hires_fix=hires_fix,
        tiling=tiling,
        textual_inversions=textual_inversions,
    )
    # Absence differs from zero for these.
    if seed is not None:
        image.seed = seed
    if guidance_scale is not None:
        image.guidance_scale = guidance_scale
    if denoising_strength is not None:
        image.denoising_strength = denoising_strength
    return GenerationSpec(
        job=JobSpec(model=model, image=image),
        count=count,
        share=share,
        fast_workers_only=fast_workers_only,
        denied_worker_ids=denied_worker_ids,
        allowed_worker_ids=allowed_worker_ids,
        time_to_live=_duration(time_to_live),
        keep_for=_duration(keep_for),
        wait_for_model=wait_for_model,
    )


def new_request_id() -> str:
    """An id for one intention: make it before the first call and keep it over retries."""
    return str(uuid.uuid4())


def _duration(value: timedelta | None) -> Duration | None:
    if value is None:
        return None
    message = Duration()
    message.FromTimedelta(value)
    return message
