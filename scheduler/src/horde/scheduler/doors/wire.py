"""Between the contract's messages and the scheduler's values: generations. No decisions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from google.protobuf.message import Message

from horde.api.generation.v1 import generation_pb2
from horde.api.job.v1 import job_pb2
from horde.api.worker.v1 import worker_pb2, worker_service_pb2
from horde.internal.scheduler.v1 import scheduler_service_pb2 as pb
from horde.scheduler.core.estimates import Estimate
from horde.scheduler.core.job import (
    SEED_SPACE,
    AccountId,
    Ending,
    Generation,
    Job,
    JobState,
    Mkudos,
    Price,
    Terms,
    WorkerId,
    requester_text,
)
from horde.scheduler.core.settling import current

DEFAULT_TTL_MS = 20 * 60 * 1000
SAMPLER_BIT = 32
"""A mask's bits: features below, samplers from here on."""
SCHEDULE_BIT = 96
MULTIPLE_BIT = 160
"""From here on the largest of MULTIPLES that divides both sides."""
MULTIPLES = (8, 16, 32, 64)
Names = Callable[[WorkerId], str]
"""Workers' names; empty for who is known no more."""
UPSCALERS = frozenset({job_pb2.POST_PROCESSOR_UPSCALE_2X, job_pb2.POST_PROCESSOR_UPSCALE_4X})


def features_of(spec: job_pb2.JobSpec) -> int:
    """What a worker must be able to do, as a mask."""
    image = spec.image
    addons: list[job_pb2.Lora | job_pb2.TextualInversion] = [*image.loras, *image.textual_inversions]
    mask = 0
    for needed, feature in (
        (image.HasField("source_image"), worker_pb2.FEATURE_IMAGE_TO_IMAGE),
        (image.HasField("mask"), worker_pb2.FEATURE_INPAINTING),
        (bool(image.loras), worker_pb2.FEATURE_LORA),
        (bool(image.controls), worker_pb2.FEATURE_CONTROL),
        (
            any(post_processor not in UPSCALERS for post_processor in image.post_processors),
            worker_pb2.FEATURE_POST_PROCESSING,
        ),
        (any(post_processor in UPSCALERS for post_processor in image.post_processors), worker_pb2.FEATURE_UPSCALING),
        (image.clip_skip > 0, worker_pb2.FEATURE_CLIP_SKIP),
        (image.HasField("hires_fix"), worker_pb2.FEATURE_HIRES_FIX),
        (image.tiling, worker_pb2.FEATURE_TILING),
        (bool(image.textual_inversions), worker_pb2.FEATURE_TEXTUAL_INVERSION),
        (any(addon.source or addon.sha256 for addon in addons), worker_pb2.FEATURE_FOREIGN_ADDONS),
        (
            image.invert_mask or image.resize_mode in (job_pb2.RESIZE_MODE_FIT, job_pb2.RESIZE_MODE_STRETCH),
            worker_pb2.FEATURE_RESIZE_MODES,
        ),
    ):
        if needed:
            mask |= 1 << feature
    if image.sampler:
        mask |= 1 << (SAMPLER_BIT + image.sampler)
    if image.schedule:
        mask |= 1 << (SCHEDULE_BIT + image.schedule)
    sides = image.width | image.height
    multiple = max((index for index, multiple_of in enumerate(MULTIPLES) if not sides % multiple_of), default=0)
    return mask | 1 << (MULTIPLE_BIT + multiple)


def inputs_of(spec: job_pb2.JobSpec) -> list[job_pb2.InputImage]:
    """The pictures that a spec names, each once."""
    image = spec.image
    named = [
        *([image.source_image] if image.HasField("source_image") else []),
        *([image.mask] if image.HasField("mask") else []),
        *(control.image for control in image.controls if control.HasField("image")),
    ]
    return list({input_.input_id: input_ for input_ in named}.values())


def terms_of(spec: generation_pb2.GenerationSpec, quote: generation_pb2.Quote) -> Terms:
    """What the core must know of a spec and its price."""
    image, parts = spec.job.image, quote.per_image
    return Terms(
        model=spec.job.model,
        width=image.width,
        height=image.height,
        steps=max(1, image.steps),
        features=features_of(spec.job),
        price=Price(
            Mkudos(parts.price_mkudos),
            Mkudos(sum(surcharge.amount_mkudos for surcharge in parts.surcharges)),
            Mkudos(parts.tax_mkudos),
        ),
        fast_only=spec.fast_workers_only,
        allowed=frozenset(WorkerId(allowed_worker_id) for allowed_worker_id in spec.allowed_worker_ids),
        denied=frozenset(WorkerId(denied_worker_id) for denied_worker_id in spec.denied_worker_ids),
        input_ids=tuple(reference.input_id for reference in inputs_of(spec.job)),
        placement=quote.placement,
    )


def terms_from_bytes(spec: bytes, quote: bytes) -> Terms:
    """The same, of what was written."""
    return terms_of(generation_pb2.GenerationSpec.FromString(spec), generation_pb2.Quote.FromString(quote))


def ttl_ms_of(spec: generation_pb2.GenerationSpec) -> int:
    """How long the generation may live."""
    if not spec.HasField("time_to_live"):
        return DEFAULT_TTL_MS
    return spec.time_to_live.ToMilliseconds()


def requester_message(generation: Generation) -> job_pb2.Requester:
    return job_pb2.Requester(account_id=generation.account_id, anonymous_digest=generation.digest)


def requester_of(message: job_pb2.Requester) -> tuple[AccountId, bytes]:
    return AccountId(message.account_id), message.anonymous_digest


def text_of(message: job_pb2.Requester) -> str:
    text = requester_text(AccountId(message.account_id), message.anonymous_digest)
    return f"{text}:{message.shared_key_id}" if message.shared_key_id else text


def first_difference(old: Message, new: Message, path: str = "") -> str:
    """The path of the first field, in order of numbers, that differs; empty if none does."""
    fields: list[Any] = sorted(old.DESCRIPTOR.fields, key=lambda one: one.number)
    for field in fields:
        name = f"{path}.{field.name}" if path else field.name
        mine, theirs = getattr(old, field.name), getattr(new, field.name)
        if field.has_presence and old.HasField(field.name) != new.HasField(field.name):
            return name
        if field.message_type is not None and not field.is_repeated:
            if old.HasField(field.name) and (inner := first_difference(mine, theirs, name)):
                return inner
        elif (list(mine) != list(theirs)) if field.is_repeated else mine != theirs:
            return name
    return ""


def job_spec(generation: Generation, index: int) -> job_pb2.JobSpec:
    """What to paint for one image: the spec with its own seed."""
    spec = generation_pb2.GenerationSpec.FromString(generation.spec).job
    spec.image.seed = seed_of(generation, index)
    return spec


def seed_of(generation: Generation, index: int) -> int:
    return (generation.seed + index) % SEED_SPACE


def wait_message(estimate: Estimate) -> generation_pb2.WaitEstimate:
    message = generation_pb2.WaitEstimate(jobs_ahead=estimate.jobs_ahead, eligible_workers=estimate.eligible)
    if estimate.eligible:
        message.p50.FromMilliseconds(int(estimate.p50 * 1000))
        message.p90.FromMilliseconds(int(estimate.p90 * 1000))
        usual, slow = estimate.painting
        message.done_p50.FromMilliseconds(int((estimate.p50 + usual) * 1000))
        message.done_p90.FromMilliseconds(int((estimate.p90 + slow) * 1000))
        message.p90_held_permille = round(1000 * (estimate.held or 0.0))
    for reason, workers in estimate.ineligible:
        message.ineligible.add(reason=reason, workers=workers)
    return message


def fill_image(message: generation_pb2.Image, job: Job, placement: int, names: Names) -> None:
    """One job, as its requester sees it."""
    generation = job.generation
    plain: Any = message
    plain.job_id = job.job_id
    plain.index = job.index
    plain.seed = seed_of(generation, job.index)
    plain.state = int(job.state)
    plain.version = job.version
    plain.attempt = len(job.leases)
    plain.placement = placement
    if job.state is JobState.LEASED:
        lease = current(job)
        if lease is not None:
            plain.lease_id, plain.step, plain.lease_state = lease.lease_id, lease.step, int(lease.stage)
    if job.state is not JobState.ENDED:
        return
    plain.ending = int(job.ending)
    if job.settlement:
        message.settlement.MergeFromString(job.settlement)
    if job.ending in (Ending.FAULTED, Ending.CENSORED):
        plain.ending_detail = job.detail
    if job.ending is Ending.DONE:
        _fill_done(message, job, names)


def _fill_done(message: generation_pb2.Image, job: Job, names: Names) -> None:
    plain: Any = message
    plain.sha256, plain.size_bytes, plain.format = job.sha256, job.size_bytes, job.format
    plain.withdrawn = job.withdrawn
    if job.winner is not None:
        plain.worker_id, plain.worker_name = job.winner.worker_id, names(job.winner.worker_id)
    if job.expires_at_ms:
        message.expires_at.FromMilliseconds(job.expires_at_ms)
    if job.deviations:
        # They were kept as the Painted that they came in, without its receipt.
        painted = worker_service_pb2.Painted.FromString(job.deviations)
        message.deviations.extend(painted.deviations)
        if painted.HasField("making"):
            message.making.CopyFrom(painted.making)


def placement_of(quote: bytes) -> int:
    return generation_pb2.Quote.FromString(quote).placement


def generation_message(generation: Generation, names: Names) -> pb.SchedulerGeneration:
    """A generation as it is now, without waits."""
    message = pb.SchedulerGeneration()
    message.requester.account_id = generation.account_id
    message.requester.anonymous_digest = generation.digest
    shown = message.generation
    shown.generation_id = generation.generation_id
    shown.request_id = generation.request_id
    shown.spec.MergeFromString(generation.spec)
    shown.spec.job.image.seed = generation.seed
    shown.quote.MergeFromString(generation.quote)
    shown.accepted_at.FromMilliseconds(generation.accepted_at_ms)
    shown.deadline.FromMilliseconds(generation.accepted_at_ms + generation.ttl_ms)
    placement = shown.quote.placement
    for job in generation.jobs:
        fill_image(shown.images.add(), job, placement, names)
        message.object_names.append(job.object_name)
    shown.version = generation.version
    shown.finished = generation.finished
    return message


def add_waits(message: pb.SchedulerGeneration, waits: Iterable[tuple[int, Estimate]]) -> None:
    """Put estimates to the images of these indices."""
    for index, estimate in waits:
        message.generation.images[index].wait.CopyFrom(wait_message(estimate))
