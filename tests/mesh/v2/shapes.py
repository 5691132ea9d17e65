"""What answers to AI Horde's clients must look like: as strict as the strictest of those that are known.

Written down from what unmodified clients refuse: a number with a fraction where they want a whole one, a null where
they want a text, a field that is not there.
"""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
)

Number = StrictInt | StrictFloat


def _uuid(text: str) -> str:
    assert str(UUID(text)) == text
    return text


def _uuid4(text: str) -> str:
    assert UUID(text).version == 4
    return _uuid(text)


Id = Annotated[StrictStr, AfterValidator(_uuid)]
RequestId = Annotated[StrictStr, AfterValidator(_uuid4)]


class Shape(BaseModel):
    """Fields that are named must be there and of their type; others may be there."""

    model_config = ConfigDict(extra="allow", strict=True)


class Warned(Shape):
    code: Literal[
        "NoAvailableWorker",
        "ClipSkipMismatch",
        "StepsTooFew",
        "StepsTooMany",
        "CfgScaleMismatch",
        "CfgScaleTooSmall",
        "CfgScaleTooLarge",
        "SamplerMismatch",
        "SchedulerMismatch",
    ]
    message: Annotated[StrictStr, Field(min_length=1)]


class Accepted(Shape):
    id: RequestId
    kudos: Number
    message: StrictStr = "-"
    warnings: list[Warned] = []


class Priced(Shape):
    kudos: Number


class Refused(Shape):
    message: Annotated[StrictStr, Field(min_length=1)]
    rc: Annotated[StrictStr, Field(min_length=1)]
    errors: dict[str, StrictStr] = {}


class Checked(Shape):
    finished: StrictInt
    processing: StrictInt
    restarted: StrictInt
    waiting: StrictInt
    done: StrictBool
    faulted: StrictBool
    wait_time: StrictInt
    queue_position: StrictInt
    kudos: Number
    is_possible: StrictBool


class Metadata(Shape):
    type: Literal["lora", "ti", "censorship", "source_image", "source_mask", "extra_source_images", "batch_index"]
    value: Literal["download_failed", "parse_failed", "baseline_mismatch", "csam", "nsfw", "see_ref"]
    ref: Annotated[StrictStr, Field(max_length=255)] = ""


class Generated(Shape):
    id: Id
    img: Annotated[StrictStr, Field(min_length=1)]
    seed: StrictStr
    censored: StrictBool
    state: Literal["ok", "censored", "faulted", "csam"]
    model: StrictStr
    worker_id: StrictStr
    worker_name: StrictStr
    gen_metadata: list[Metadata]


class Status(Checked):
    generations: list[Generated]
    shared: StrictBool


class Nothing(Shape):
    """A pop that found nothing."""

    id: None
    ids: Annotated[list[Id], Field(max_length=0)]
    payload: Annotated[dict[str, JsonValue], Field(max_length=0)]
    skipped: dict[str, StrictInt]


class Payload(Shape):
    prompt: StrictStr
    ddim_steps: StrictInt
    n_iter: Literal[1]
    width: StrictInt
    height: StrictInt
    seed: StrictStr
    sampler_name: StrictStr
    cfg_scale: Number
    karras: StrictBool
    clip_skip: Annotated[StrictInt, Field(ge=1, le=12)]
    denoising_strength: Annotated[Number, Field(ge=0, le=1)]


class Job(Shape):
    """A pop that found something."""

    id: Id
    ids: Annotated[list[Id], Field(min_length=1)]
    payload: Payload
    skipped: dict[str, StrictInt]
    model: StrictStr
    source_processing: Literal["txt2img", "img2img", "inpainting"]
    source_image: StrictStr | None
    source_mask: StrictStr | None
    r2_upload: StrictStr
    r2_uploads: list[StrictStr]
    ttl: StrictInt


class Rewarded(Shape):
    reward: Number


class User(Shape):
    id: StrictInt
    username: Annotated[StrictStr, Field(pattern=r"^[^#]*#\d+$")]
    kudos: Number
    worker_count: StrictInt
    account_age: StrictInt


class ModelStatus(Shape):
    name: StrictStr
    count: StrictInt
    type: Literal["image"]
    eta: StrictInt
    performance: Number
    queued: Number
    jobs: Number


class WorkerDetails(Shape):
    type: Literal["image"]
    name: StrictStr
    id: Id
    maintenance_mode: StrictBool
    bridge_agent: StrictStr
    models: list[StrictStr]
    online: StrictBool


class Performance(Shape):
    queued_requests: StrictInt
    queued_megapixelsteps: Number
    past_minute_megapixelsteps: Number
    worker_count: StrictInt
    thread_count: StrictInt


class Period(Shape):
    images: StrictInt
    ps: StrictInt


class Totals(Shape):
    minute: Period
    hour: Period
    day: Period
    month: Period
    total: Period
