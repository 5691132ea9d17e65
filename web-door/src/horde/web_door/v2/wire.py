"""The contract's messages from and to the plain values that the core speaks in."""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration

from horde.api.generation.v1 import generation_pb2
from horde.api.job.v1 import job_pb2
from horde.web_door.core.progress import DeviationFacts, ImageFacts
from horde.web_door.core.refusals import Refusal

HINDERED_FOR_NOW = frozenset(
    {
        generation_pb2.INELIGIBLE_REASON_NO_SLOTS,
        generation_pb2.INELIGIBLE_REASON_TRIED_BEFORE,
        generation_pb2.INELIGIBLE_REASON_RESTING,
        generation_pb2.INELIGIBLE_REASON_BACKING_OFF,
        generation_pb2.INELIGIBLE_REASON_REFUSED_MODEL,
    }
)
"""Why a worker that could do something does not do it now: it will again."""
FAILED = frozenset({job_pb2.JOB_ENDING_FAULTED, job_pb2.JOB_ENDING_EXPIRED})
SHOWN = frozenset({job_pb2.JOB_ENDING_DONE, job_pb2.JOB_ENDING_CENSORED})


def spec_of(spec: dict[str, Any]) -> generation_pb2.GenerationSpec:
    """The message; raises Refusal for a number that no field can hold."""
    try:
        return json_format.ParseDict(spec, generation_pb2.GenerationSpec())
    except json_format.ParseError as error:
        raise Refusal(400, "BadRequest", f"Input payload validation failed: {error}"[:300]) from None


def seconds(duration: Duration) -> float:
    """A length of time in seconds."""
    return duration.seconds + duration.nanos / 1e9


def possible(wait: generation_pb2.WaitEstimate) -> bool:
    """Whether a worker that is here can do it, now or when it is free."""
    return wait.eligible_workers > 0 or any(group.reason in HINDERED_FOR_NOW for group in wait.ineligible)


def facts_of(image: generation_pb2.Image, price_mkudos: int) -> ImageFacts:
    """An image, as far as its progress goes."""
    if image.HasField("settlement"):
        cost = image.settlement.charged_mkudos + image.settlement.from_subsidy_mkudos
    else:
        cost = price_mkudos if image.ending == job_pb2.JOB_ENDING_DONE else 0
    wait = image.wait if image.HasField("wait") else None
    return ImageFacts(
        ended=image.state == job_pb2.JOB_STATE_ENDED,
        shown=image.ending in SHOWN,
        failed=image.ending in FAILED,
        working=image.state in (job_pb2.JOB_STATE_LEASED, job_pb2.JOB_STATE_SETTLING),
        attempt=image.attempt,
        ahead=wait.jobs_ahead if wait is not None else 0,
        done_seconds=seconds(wait.done_p50 if wait.HasField("done_p50") else wait.p50) if wait is not None else None,
        possible=wait is None or possible(wait),
        cost_mkudos=cost,
    )


def all_facts(generation: generation_pb2.Generation) -> list[ImageFacts]:
    """Every image of a generation."""
    price = generation.quote.per_image.total_mkudos
    return [facts_of(image, price) for image in generation.images]


def deviations_of(image: generation_pb2.Image) -> list[DeviationFacts]:
    """What its worker did otherwise."""
    return [
        DeviationFacts(
            deviation.field, deviation.asked, deviation.done, deviation.kind == job_pb2.DEVIATION_KIND_OMITTED
        )
        for deviation in image.deviations
    ]
