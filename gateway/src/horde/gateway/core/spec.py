"""What a requester asks for, as plain values: what validation, pricing and placement read.

Only read here: what goes on to the scheduler is the requester's own message, so that the same request repeated is the
same bytes. Nothing in these values is trusted before `validation` has seen them: enum values are the bare numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Sampler(IntEnum):
    """How noise becomes a picture; the numbers of the contract."""

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


class NoiseSchedule(IntEnum):
    """How the noise goes down from step to step; the numbers of the contract."""

    DEFAULT = 0
    TRAINED = 1
    KARRAS = 2
    EXPONENTIAL = 3
    BETA = 4
    SGM_UNIFORM = 5
    SIMPLE = 6


class ResizeMode(IntEnum):
    """How a picture of another shape is brought to a size; the numbers of the contract."""

    DEFAULT = 0
    FIT = 1
    FILL = 2
    STRETCH = 3


class PostProcessor(IntEnum):
    """What changes a finished picture; the numbers of the contract."""

    UPSCALE_2X = 1
    UPSCALE_4X = 2
    FACE_REPAIR = 3
    STRIP_BACKGROUND = 4


UPSCALES = {PostProcessor.UPSCALE_2X: 2, PostProcessor.UPSCALE_4X: 4}
"""How many times a side each upscaler makes of one."""
SAMPLERS = frozenset(int(sampler) for sampler in Sampler)
SCHEDULES = frozenset(int(noise_schedule) for noise_schedule in NoiseSchedule)
RESIZE_MODES = frozenset(int(resize_mode) for resize_mode in ResizeMode)
ADDON_SOURCES = frozenset(range(3))
INVERSION_PLACES = frozenset(range(3))
POST_PROCESSORS = frozenset(int(post_processor) for post_processor in PostProcessor)


@dataclass(frozen=True, slots=True)
class Span:
    """A length of time as the contract writes it: seconds and nanoseconds, not yet known to be sensible."""

    seconds: int
    nanos: int = 0


@dataclass(frozen=True, slots=True)
class InputRef:
    """A picture that was put into storage before."""

    input_id: str
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Lora:
    """A small addition to a model."""

    name: str
    strength: float
    clip_strength: float | None = None
    source: int = 0
    sha256: bytes = b""
    trigger: str = ""


@dataclass(frozen=True, slots=True)
class TextualInversion:
    """A word that a model is taught."""

    name: str
    source: int = 0
    sha256: bytes = b""
    place: int = 0
    strength: float | None = None


@dataclass(frozen=True, slots=True)
class Control:
    """Guidance by the structure of another picture. No image: it was left out, which is wrong."""

    image: InputRef | None
    type: str
    strength: float | None = None


@dataclass(frozen=True, slots=True)
class HiresFix:
    """Paint small first: pixels of the first pass, and how far the second leaves it."""

    width: int = 0
    height: int = 0
    denoising_strength: float | None = None


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """What to paint."""

    prompt: str = ""
    negative_prompt: str = ""
    width: int = 0
    height: int = 0
    steps: int = 0
    guidance_scale: float | None = None
    sampler: int = 0
    schedule: int = 0
    seed: int | None = None
    clip_skip: int = 0
    loras: tuple[Lora, ...] = ()
    source_image: InputRef | None = None
    mask: InputRef | None = None
    controls: tuple[Control, ...] = ()
    denoising_strength: float | None = None
    post_processors: tuple[int, ...] = ()
    resize_mode: int = 0
    invert_mask: bool = False
    hires_fix: HiresFix | None = None
    tiling: bool = False
    textual_inversions: tuple[TextualInversion, ...] = ()

    @property
    def inputs(self) -> tuple[tuple[str, InputRef], ...]:
        """Every picture it uses, by the name of its field."""
        named = (
            ("source_image", self.source_image),
            ("mask", self.mask),
            *((f"controls[{index}].image", control.image) for index, control in enumerate(self.controls)),
        )
        return tuple((name, ref) for name, ref in named if ref is not None)

    @property
    def has_input(self) -> bool:
        """Whether it names any picture, well or badly: one that is asked for badly is still not to be shared."""
        return self.source_image is not None or self.mask is not None or bool(self.controls)


@dataclass(frozen=True, slots=True)
class GenerationSpec:
    """A generation as asked for. No `image`: of a kind of work that is not known here."""

    model: str = ""
    image: ImageSpec | None = None
    count: int = 0
    share: bool = False
    fast_workers_only: bool = False
    denied_worker_ids: tuple[str, ...] = ()
    allowed_worker_ids: tuple[str, ...] = ()
    time_to_live: Span | None = None
    keep_for: Span | None = None
    wait_for_model: bool = False

    @property
    def has_input(self) -> bool:
        """Whether it names any picture."""
        return self.image is not None and self.image.has_input
