"""What a worker is lent and what it says about it: plain values, in the words of the contract.

Knows nothing of streams, disks, painters or protobuf.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import IntEnum
from typing import NewType

LeaseId = NewType("LeaseId", str)
JobId = NewType("JobId", str)
InputId = NewType("InputId", str)
MilliKudos = NewType("MilliKudos", int)

MAX_DETAIL_CHARACTERS = 500
"""Of the words for people in an outcome."""
MAX_CATEGORY_CHARACTERS = 64
MAX_DEVIATIONS = 32
MAX_DEVIATION_CHARACTERS = 200
"""Of each text in a deviation."""


class Sampler(IntEnum):
    """How noise becomes a picture; numbered as in the contract."""

    DEFAULT = 0
    DDIM = 1
    EULER = 2
    EULER_ANCESTRAL = 3
    HEUN = 4
    DPM2 = 5
    DPM2_ANCESTRAL = 6
    DPMPP_2M = 7
    UNIPC = 8
    DDPM = 9
    DEIS = 10
    LCM = 11


class Feature(IntEnum):
    """What not every painter can do; numbered as in the contract."""

    IMAGE_TO_IMAGE = 1
    INPAINTING = 2
    LORA = 3
    CONTROL = 4
    POST_PROCESSING = 5
    CLIP_SKIP = 6
    UPSCALING = 7
    HIRES_FIX = 8
    TILING = 9
    TEXTUAL_INVERSION = 10
    FOREIGN_ADDONS = 11
    RESIZE_MODES = 12


class DeviationKind(IntEnum):
    """What was done about something that could not be done; numbered as in the contract."""

    OMITTED = 1
    SUBSTITUTED = 2
    CLAMPED = 3
    TRUNCATED = 4
    REINTERPRETED = 5


class NoiseSchedule(IntEnum):
    """How the noise goes down from step to step; numbered as in the contract."""

    DEFAULT = 0
    TRAINED = 1
    KARRAS = 2
    EXPONENTIAL = 3
    BETA = 4
    SGM_UNIFORM = 5
    SIMPLE = 6


class ResizeMode(IntEnum):
    """How a picture of another shape is brought to a size; numbered as in the contract."""

    DEFAULT = 0
    FIT = 1
    FILL = 2
    STRETCH = 3


@dataclass(frozen=True, slots=True)
class Deviation:
    """One thing that was not done exactly as asked."""

    kind: DeviationKind
    field: str
    asked: str
    done: str = ""


@dataclass(frozen=True, slots=True)
class InputRef:
    """A picture in storage that the job names."""

    input_id: InputId
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Lora:
    name: str
    strength: float
    """On the picture model."""
    clip_strength: float | None = None
    """On the text encoder; None: as `strength`."""
    sha256: bytes = b""
    """Present: no other file will do."""
    trigger: str = ""
    """Words that wake it, added to a prompt that has them not."""
    foreign: bool = False
    """Named as another collection knows it, not as the worker's own folder does."""


@dataclass(frozen=True, slots=True)
class TextualInversion:
    """A word that a model is taught."""

    name: str
    place: int | None = None
    """Where it is put: 0 the prompt, 1 the negative one; None: nowhere, they name it already."""
    strength: float = 1.0
    """Of the word where it is put."""
    sha256: bytes = b""
    """Present: no other file will do."""
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class Control:
    """A picture whose structure guides the painting."""

    image: InputRef
    type: str = ""
    """What makes a map of it; with `-map` behind it, it is such a map already; empty: a map, of the only kind here."""
    strength: float = 1.0


@dataclass(frozen=True, slots=True)
class HiresFix:
    """Painted small first, and then again from that."""

    width: int = 0
    """Of the first pass, pixels; with `height` 0: the model's best size."""
    height: int = 0
    denoising_strength: float | None = None
    """How far the second pass leaves the first; None: the contract's default."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What to paint. The fields are those of `ImageSpec`."""

    model: str
    prompt: str
    width: int
    height: int
    steps: int
    seed: int
    negative_prompt: str = ""
    guidance_scale: float | None = None
    sampler: Sampler = Sampler.DEFAULT
    schedule: NoiseSchedule = NoiseSchedule.DEFAULT
    clip_skip: int = 0
    loras: tuple[Lora, ...] = ()
    source_image: InputRef | None = None
    mask: InputRef | None = None
    controls: tuple[Control, ...] = ()
    denoising_strength: float | None = None
    post_processors: tuple[str, ...] = ()
    resize_mode: ResizeMode = ResizeMode.DEFAULT
    invert_mask: bool = False
    hires_fix: HiresFix | None = None
    tiling: bool = False
    textual_inversions: tuple[TextualInversion, ...] = ()
    unheard_of: tuple[Deviation, ...] = ()
    """What the request holds that this agent does not know, and what is done instead."""

    @property
    def inputs(self) -> tuple[InputRef, ...]:
        """Every picture that must be fetched first."""
        maps = (control.image for control in self.controls)
        return tuple(ref for ref in (self.source_image, self.mask, *maps) if ref is not None)


@dataclass(frozen=True, slots=True)
class Assignment:
    """A job lent to this worker."""

    lease_id: LeaseId
    job_id: JobId
    picture: Picture | None
    """None: a kind of work that this agent does not know."""
    grant: str
    storage_address: str
    tickets: dict[InputId, str] = field(default_factory=dict)
    lease_ttl: timedelta = timedelta(minutes=2)
    traceparent: str = ""
    unheard: tuple[str, ...] = ()
    """Fields of the spec that are newer than this agent."""
    price: MilliKudos = MilliKudos(0)


class RefusalReason(IntEnum):
    """Why a job is given back unpainted; numbered as in the contract."""

    MODEL_UNAVAILABLE = 1
    OUT_OF_MEMORY = 2
    CONTENT_DECLINED = 3
    DRAINING = 4
    INPUT_UNAVAILABLE = 5
    SPEC_NOT_UNDERSTOOD = 6
    PAUSED = 7


class FailureReason(IntEnum):
    """What broke; numbered as in the contract."""

    BACKEND = 1
    OUT_OF_MEMORY = 2
    UPLOAD_REFUSED = 3
    TIMEOUT = 4
    BAD_PICTURE = 5
    NETWORK = 6
    PAINTER_DIED = 7


@dataclass(frozen=True, slots=True)
class Making:
    """What a picture was made with where the request left it to the model."""

    sampler: Sampler = Sampler.DEFAULT
    """DEFAULT: one that the contract has no name for."""
    schedule: NoiseSchedule = NoiseSchedule.DEFAULT
    guidance_scale: float | None = None
    steps: int = 0
    """0: not known."""
    engine: str = ""
    precision: str = ""
    device_class: str = ""
    model_sha256: str = ""
    """Of the model's weights, in hex; empty: not known."""


@dataclass(frozen=True, slots=True)
class Painted:
    """The router has the image: its receipt, unchanged."""

    receipt: str
    deviations: tuple[Deviation, ...] = ()
    making: Making | None = None


@dataclass(frozen=True, slots=True)
class Censored:
    category: str


@dataclass(frozen=True, slots=True)
class Refused:
    reason: RefusalReason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    reason: FailureReason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Cancelled:
    step: int


Result = Painted | Censored | Refused | Failed | Cancelled


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a lease ended, from the worker's side."""

    lease_id: LeaseId
    job_id: JobId
    result: Result

    @property
    def most_bytes(self) -> int:
        """No less than it takes on the wire."""
        texts: list[str] = [self.lease_id, self.job_id]
        match self.result:
            case Painted(receipt, deviations, making):
                texts.append(receipt)
                if making is not None:
                    # Its numbers take less than these two texts' worth.
                    texts += (making.engine, making.precision, making.device_class, "", "")
                for deviation in deviations:
                    texts += (deviation.field, deviation.asked, deviation.done)
            case Censored(category):
                texts.append(category)
            case Refused(_, detail) | Failed(_, detail):
                texts.append(detail)
            case Cancelled():
                pass
        # Around a text stand a tag and a length, and around a few of them again; 16 covers both.
        return 32 + sum(len(text.encode(errors="replace")) + 16 for text in texts)


@dataclass(frozen=True, slots=True)
class ModelOffer:
    """What one model can do here."""

    name: str
    loaded: bool
    sha256: bytes = b""
    max_pixels: int = 0
    features: frozenset[Feature] = frozenset()
    samplers: frozenset[Sampler] = frozenset()
    """That can be asked for; the model's own default always can."""
    schedules: frozenset[NoiseSchedule] = frozenset()
    """In the same way."""
    size_multiple: int = 8
    """Of width and height, pixels; other sizes are painted larger and cut, as a deviation."""
    max_batch: int = 1
    """Like pictures that are painted in one pass at most."""

    def now(self, *, loaded: bool) -> ModelOffer:
        """The same, in memory or not."""
        return self if self.loaded is loaded else replace(self, loaded=loaded)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What this worker can do now, model by model."""

    models: tuple[ModelOffer, ...] = ()

    @property
    def max_pixels(self) -> int:
        """Of the model that can paint the largest."""
        return max((model.max_pixels for model in self.models), default=0)
