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


class PostProcessor(IntEnum):
    """What changes a finished picture; the numbers of the contract."""

    UPSCALE_2X = 1
    UPSCALE_4X = 2
    FACE_REPAIR = 3
    STRIP_BACKGROUND = 4


SAMPLERS = frozenset(int(each) for each in Sampler)
POST_PROCESSORS = frozenset(int(each) for each in PostProcessor)


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


@dataclass(frozen=True, slots=True)
class Control:
    """Guidance by the structure of another picture. No image: it was left out, which is wrong."""

    image: InputRef | None
    type: str


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
    seed: int | None = None
    clip_skip: int = 0
    loras: tuple[Lora, ...] = ()
    source_image: InputRef | None = None
    mask: InputRef | None = None
    control: Control | None = None
    denoising_strength: float | None = None
    post_processors: tuple[int, ...] = ()

    @property
    def inputs(self) -> tuple[tuple[str, InputRef], ...]:
        """Every picture it uses, by the name of its field."""
        named = (
            ("source_image", self.source_image),
            ("mask", self.mask),
            ("control.image", self.control.image if self.control else None),
        )
        return tuple((name, ref) for name, ref in named if ref is not None)

    @property
    def has_input(self) -> bool:
        """Whether it names any picture, well or badly: one that is asked for badly is still not to be shared."""
        return self.source_image is not None or self.mask is not None or self.control is not None


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
