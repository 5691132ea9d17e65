"""Reading what the mesh lends: an assignment in the worker's own words, and what of it this agent does not know."""

from __future__ import annotations

from datetime import timedelta

from horde.api.job.v1 import job_pb2
from horde.api.worker.v1 import worker_service_pb2 as pb
from horde.services.unknown_fields import unknown_fields
from horde.worker_agent.core.jobs import (
    Assignment,
    Control,
    Deviation,
    DeviationKind,
    HiresFix,
    InputId,
    InputRef,
    JobId,
    LeaseId,
    Lora,
    MilliKudos,
    NoiseSchedule,
    Picture,
    ResizeMode,
    Sampler,
    TextualInversion,
)

DEFAULT_TTL = timedelta(minutes=2)
_SAMPLERS = {sampler.value: sampler for sampler in Sampler}
_SCHEDULES = {schedule.value: schedule for schedule in NoiseSchedule}
_RESIZE_MODES = {mode.value: mode for mode in ResizeMode}
_POST_PROCESSORS = {value: name.removeprefix("POST_PROCESSOR_") for name, value in job_pb2.PostProcessor.items()}
_PLACES = {
    job_pb2.TEXTUAL_INVERSION_PLACE_PROMPT: 0,
    job_pb2.TEXTUAL_INVERSION_PLACE_NEGATIVE_PROMPT: 1,
}

MOST_UNHEARD = 4
"""Fields that are named at most."""


def assignment(proto: pb.Assignment) -> Assignment:
    """A job. What is newer than this agent in its spec leaves no picture: it must not be painted in part."""
    unheard = tuple(unknown_fields(proto.spec, "spec"))
    return Assignment(
        lease_id=LeaseId(proto.lease_id),
        job_id=JobId(proto.job_id),
        picture=picture(proto.spec) if proto.spec.WhichOneof("kind") == "image" and not unheard else None,
        unheard=unheard[:MOST_UNHEARD],
        grant=proto.grant,
        storage_address=proto.storage_address,
        tickets={InputId(ticket.input_id): ticket.ticket for ticket in proto.inputs},
        lease_ttl=proto.lease_ttl.ToTimedelta() if proto.HasField("lease_ttl") else DEFAULT_TTL,
        traceparent=proto.traceparent,
        price=MilliKudos(proto.price_mkudos),
    )


def picture(spec: job_pb2.JobSpec) -> Picture:
    image = spec.image
    return Picture(
        model=spec.model,
        prompt=image.prompt,
        width=image.width,
        height=image.height,
        steps=image.steps,
        seed=image.seed,
        negative_prompt=image.negative_prompt,
        guidance_scale=image.guidance_scale if image.HasField("guidance_scale") else None,
        sampler=_SAMPLERS.get(image.sampler, Sampler.DEFAULT),
        schedule=_SCHEDULES.get(image.schedule, NoiseSchedule.DEFAULT),
        clip_skip=image.clip_skip,
        loras=tuple(map(_lora, image.loras)),
        source_image=_input(image.source_image) if image.HasField("source_image") else None,
        mask=_input(image.mask) if image.HasField("mask") else None,
        controls=tuple(map(_control, image.controls)),
        denoising_strength=image.denoising_strength if image.HasField("denoising_strength") else None,
        post_processors=tuple(_POST_PROCESSORS.get(number, str(number)) for number in image.post_processors),
        resize_mode=_RESIZE_MODES.get(image.resize_mode, ResizeMode.DEFAULT),
        invert_mask=image.invert_mask,
        hires_fix=_hires_fix(image.hires_fix) if image.HasField("hires_fix") else None,
        tiling=image.tiling,
        textual_inversions=tuple(map(_textual_inversion, image.textual_inversions)),
        unheard_of=tuple(_unheard_of(image)),
    )


def _lora(proto: job_pb2.Lora) -> Lora:
    return Lora(
        proto.name,
        proto.strength,
        proto.clip_strength if proto.HasField("clip_strength") else None,
        proto.sha256,
        proto.trigger,
        foreign=proto.source != job_pb2.ADDON_SOURCE_UNSPECIFIED,
    )


def _textual_inversion(proto: job_pb2.TextualInversion) -> TextualInversion:
    return TextualInversion(
        proto.name,
        _PLACES.get(proto.place),
        proto.strength if proto.HasField("strength") else 1.0,
        proto.sha256,
        foreign=proto.source != job_pb2.ADDON_SOURCE_UNSPECIFIED,
    )


def _control(proto: job_pb2.Control) -> Control:
    return Control(_input(proto.image), proto.type, proto.strength if proto.HasField("strength") else 1.0)


def _hires_fix(proto: job_pb2.HiresFix) -> HiresFix:
    strength = proto.denoising_strength if proto.HasField("denoising_strength") else None
    return HiresFix(proto.width, proto.height, strength)


def _unheard_of(image: job_pb2.ImageSpec) -> list[Deviation]:
    """What is asked for by a number that this agent does not know."""
    own = "the model's own default"
    found = []
    if image.sampler not in _SAMPLERS:
        found.append(Deviation(DeviationKind.SUBSTITUTED, "sampler", str(image.sampler), own))
    if image.schedule not in _SCHEDULES:
        found.append(Deviation(DeviationKind.SUBSTITUTED, "schedule", str(image.schedule), own))
    if image.resize_mode not in _RESIZE_MODES:
        found.append(Deviation(DeviationKind.SUBSTITUTED, "resize_mode", str(image.resize_mode), "FILL"))
    return found


def _input(proto: job_pb2.InputImage) -> InputRef:
    return InputRef(InputId(proto.input_id), proto.sha256)
