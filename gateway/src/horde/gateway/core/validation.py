"""Whether a request makes sense: every field of it, and all that is wrong with it at once.

A violation names the field by its path in the request, as `spec.job.image.width`. Enum values that this version does
not know and kinds of work that it does not know are refused, never guessed. Nothing is mended: what a requester sends
is what is painted, or nothing is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence

from horde.gateway.core.spec import (
    ADDON_SOURCES,
    INVERSION_PLACES,
    POST_PROCESSORS,
    RESIZE_MODES,
    SAMPLERS,
    SCHEDULES,
    UPSCALES,
    Control,
    GenerationSpec,
    HiresFix,
    ImageSpec,
    InputRef,
    Span,
)
from horde.services.errors import FieldViolation

MAX_COUNT = 20
MAX_PROMPT_CHARACTERS = 4_000
MIN_SIDE, MAX_SIDE, SIDE_STEP = 64, 4_096, 8
MAX_STEPS = 500
MAX_GUIDANCE = 30
MAX_CLIP_SKIP = 12
MAX_LORAS = 8
MAX_LORA_STRENGTH = 5
MAX_POST_PROCESSORS = 4
MAX_CONTROLS = 3
MAX_CONTROL_STRENGTH = 2
MAX_TEXTUAL_INVERSIONS = 20
MAX_TRIGGER_CHARACTERS = 200
MAX_RESULT_SIDE = 8_192
"""Pixels of the finished picture: what storage takes from a grant."""
MAX_WORKER_IDS = 32
MAX_NAME_CHARACTERS = 128
MAX_TIME_TO_LIVE_SECONDS = 24 * 3600
MIN_KEEP_SECONDS, MAX_KEEP_SECONDS = 60, 30 * 24 * 3600
MAX_INT63 = 2**63 - 1
MAX_DISPLAY_NAME_CHARACTERS = 64
MAX_NOTE_CHARACTERS = 500
MAX_PAGE_TOKEN_CHARACTERS = 512
MIN_SECONDS, MAX_SECONDS = -62_135_596_800, 253_402_300_799
MAX_MKUDOS = 10**15
"""A million million kudos: more is a mistake, and less leaves room in 63 bits for any sum."""
MAX_TRANSFER_MKUDOS = 10**12
"""What the ledger moves at once."""

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z", re.ASCII)
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z ._:/@+()\[\]-]*\Z", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_LINE_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Violations:
    """What is wrong so far."""

    def __init__(self) -> None:
        self.found: list[FieldViolation] = []

    def add(self, field: str, description: str) -> None:
        self.found.append(FieldViolation(field, description))

    def within(self, field: str, value: int, low: int, high: int, unit: str = "") -> None:
        """A whole number between bounds, both included."""
        if not low <= value <= high:
            # What is left out comes as 0.
            self.add(field, f"must be {low} to {high}{unit}, and is {value or '0 or missing'}")

    def real(self, field: str, value: float, low: float, high: float) -> None:
        """A number between bounds, both included; neither infinite nor not a number."""
        if not math.isfinite(value) or not low <= value <= high:
            self.add(field, f"must be {low:g} to {high:g}")

    def above_zero(self, field: str, value: float, high: float) -> None:
        """A number above 0 up to a bound."""
        if not math.isfinite(value) or not 0 < value <= high:
            self.add(field, f"must be above 0, and at most {high:g}")

    def digest(self, field: str, value: bytes, *, required: bool = False) -> None:
        """A SHA-256, or none."""
        if len(value) != 32 and (value or required):
            self.add(field, "must be 32 bytes")

    def uuid(self, field: str, value: str) -> None:
        """A UUID in its canonical lower-case form."""
        if not _UUID.match(value):
            self.add(field, "must be a UUID in lower case" if value else "is missing")

    def text(self, field: str, value: str, most: int, *, required: bool = False, one_line: bool = False) -> None:
        """Text for people: bounded, without control characters (tabs and line ends may be where lines may be)."""
        if required and not value.strip():
            self.add(field, "is missing")
        elif len(value) > most:
            self.add(field, f"must have at most {most} characters, and has {len(value)}")
        elif (_LINE_CONTROL if one_line else _CONTROL).search(value):
            self.add(field, "must not contain control characters")

    def name(self, field: str, value: str, most: int = MAX_NAME_CHARACTERS, *, required: bool = True) -> None:
        """A name that programs use."""
        if not value:
            if required:
                self.add(field, "is missing")
        elif len(value) > most or not _NAME.match(value):
            self.add(
                field,
                f"must be 1 to {most} letters, digits and ._:/@+()[]- or spaces, beginning with one of the first two",
            )

    def page(self, size: int, token: str, most: int, usual: int = 0) -> int:
        """The fields of a request for a page; how many it is to hold: `usual` for 0, at most `most`."""
        if size < 0:
            self.add("page_size", f"must not be below 0, and is {size}")
        if len(token) > MAX_PAGE_TOKEN_CHARACTERS or not token.isprintable():
            self.add("page_token", "is not one that was given out")
        return min(size, most) or usual

    def known(self, field: str, value: int, values: Collection[int]) -> None:
        """The number of an enum's value; 0 for none."""
        if value not in values:
            self.add(field, f"{value} is not known")

    def part(self, field: str, value: str, most: int) -> None:
        """Part of a name that is looked for."""
        self.text(field, value, most, one_line=True)

    def moment(self, field: str, seconds: int, nanos: int) -> None:
        """A time between the years 1 and 9999, as seconds since 1970 and what is beyond them."""
        if not MIN_SECONDS <= seconds <= MAX_SECONDS or not 0 <= nanos < 10**9:
            self.add(field, "must be a time between the years 1 and 9999")


def generation_violations(spec: GenerationSpec | None, root: str = "spec") -> list[FieldViolation]:
    """Everything that is wrong with what is asked for. None: the spec was left out."""
    wrong = Violations()
    if spec is None:
        wrong.add(root, "is missing")
        return wrong.found
    wrong.name(f"{root}.job.model", spec.model)
    if spec.image is None:
        wrong.add(f"{root}.job.kind", "must be one that is known here: image")
    else:
        _image(wrong, f"{root}.job.image", spec.image)
    wrong.within(f"{root}.count", spec.count, 1, MAX_COUNT)
    _worker_ids(wrong, f"{root}.denied_worker_ids", spec.denied_worker_ids)
    _worker_ids(wrong, f"{root}.allowed_worker_ids", spec.allowed_worker_ids)
    for index, worker_id in enumerate(spec.allowed_worker_ids[:MAX_WORKER_IDS]):
        if worker_id in spec.denied_worker_ids:
            wrong.add(f"{root}.allowed_worker_ids[{index}]", "is denied, too")
    _span(wrong, f"{root}.time_to_live", spec.time_to_live, 1, MAX_TIME_TO_LIVE_SECONDS)
    _span(wrong, f"{root}.keep_for", spec.keep_for, MIN_KEEP_SECONDS, MAX_KEEP_SECONDS)
    return wrong.found


def _image(wrong: Violations, root: str, image: ImageSpec) -> None:
    wrong.text(f"{root}.prompt", image.prompt, MAX_PROMPT_CHARACTERS, required=True)
    wrong.text(f"{root}.negative_prompt", image.negative_prompt, MAX_PROMPT_CHARACTERS)
    for side, pixels in (("width", image.width), ("height", image.height)):
        if not MIN_SIDE <= pixels <= MAX_SIDE or pixels % SIDE_STEP:
            wrong.add(
                f"{root}.{side}",
                f"must be {MIN_SIDE} to {MAX_SIDE}, a multiple of {SIDE_STEP}, and is {pixels or '0 or missing'}",
            )
    wrong.within(f"{root}.steps", image.steps, 1, MAX_STEPS)
    if image.guidance_scale is not None:
        wrong.real(f"{root}.guidance_scale", image.guidance_scale, 0, MAX_GUIDANCE)
    if image.sampler not in SAMPLERS:
        wrong.add(f"{root}.sampler", f"{image.sampler} is not known")
    if image.seed is not None and image.seed < 0:
        wrong.add(f"{root}.seed", f"must be 0 to {MAX_INT63}")
    if image.schedule not in SCHEDULES:
        wrong.add(f"{root}.schedule", f"{image.schedule} is not known")
    wrong.within(f"{root}.clip_skip", image.clip_skip, 0, MAX_CLIP_SKIP)
    _loras(wrong, root, image)
    _inversions(wrong, root, image)
    _inputs(wrong, root, image)
    if image.hires_fix is not None:
        _hires_fix(wrong, f"{root}.hires_fix", image, image.hires_fix)
    _post_processors(wrong, root, image)


def _post_processors(wrong: Violations, root: str, image: ImageSpec) -> None:
    if len(image.post_processors) > MAX_POST_PROCESSORS:
        wrong.add(f"{root}.post_processors", f"must be at most {MAX_POST_PROCESSORS}")
    scale = 1
    for index, post_processor in enumerate(image.post_processors[: MAX_POST_PROCESSORS + 1]):
        if post_processor not in POST_PROCESSORS:
            wrong.add(
                f"{root}.post_processors[{index}]",
                f"{post_processor} is not known" if post_processor else "is unspecified",
            )
        scale *= UPSCALES.get(post_processor, 1)  # type: ignore[call-overload]
    largest = max(image.width, image.height) * scale
    if scale > 1 and largest > MAX_RESULT_SIDE:
        wrong.add(
            f"{root}.post_processors",
            f"the finished picture must have at most {MAX_RESULT_SIDE} pixels on a side, and has {largest}",
        )


def _hires_fix(wrong: Violations, root: str, image: ImageSpec, hires: HiresFix) -> None:
    if hires.width or hires.height:
        for side, pixels, most in (("width", hires.width, image.width), ("height", hires.height, image.height)):
            if not MIN_SIDE <= pixels <= most or pixels % SIDE_STEP:
                wrong.add(f"{root}.{side}", f"must be {MIN_SIDE} to {most}, a multiple of {SIDE_STEP}, and is {pixels}")
    if hires.denoising_strength is not None:
        wrong.above_zero(f"{root}.denoising_strength", hires.denoising_strength, 1)


def _loras(wrong: Violations, root: str, image: ImageSpec) -> None:
    if len(image.loras) > MAX_LORAS:
        wrong.add(f"{root}.loras", f"must be at most {MAX_LORAS}")
    for index, lora in enumerate(image.loras[: MAX_LORAS + 1]):
        path = f"{root}.loras[{index}]"
        wrong.name(f"{path}.name", lora.name)
        wrong.real(f"{path}.strength", lora.strength, -MAX_LORA_STRENGTH, MAX_LORA_STRENGTH)
        if lora.clip_strength is not None:
            wrong.real(f"{path}.clip_strength", lora.clip_strength, -MAX_LORA_STRENGTH, MAX_LORA_STRENGTH)
        if lora.source not in ADDON_SOURCES:
            wrong.add(f"{path}.source", f"{lora.source} is not known")
        wrong.digest(f"{path}.sha256", lora.sha256)
        wrong.text(f"{path}.trigger", lora.trigger, MAX_TRIGGER_CHARACTERS, one_line=True)


def _inversions(wrong: Violations, root: str, image: ImageSpec) -> None:
    if len(image.textual_inversions) > MAX_TEXTUAL_INVERSIONS:
        wrong.add(f"{root}.textual_inversions", f"must be at most {MAX_TEXTUAL_INVERSIONS}")
    for index, inversion in enumerate(image.textual_inversions[: MAX_TEXTUAL_INVERSIONS + 1]):
        path = f"{root}.textual_inversions[{index}]"
        wrong.name(f"{path}.name", inversion.name)
        if inversion.source not in ADDON_SOURCES:
            wrong.add(f"{path}.source", f"{inversion.source} is not known")
        wrong.digest(f"{path}.sha256", inversion.sha256)
        if inversion.place not in INVERSION_PLACES:
            wrong.add(f"{path}.place", f"{inversion.place} is not known")
        if inversion.strength is not None:
            if not inversion.place:
                wrong.add(f"{path}.strength", "needs a place")
            wrong.real(f"{path}.strength", inversion.strength, -MAX_LORA_STRENGTH, MAX_LORA_STRENGTH)


def _inputs(wrong: Violations, root: str, image: ImageSpec) -> None:
    if image.source_image is not None:
        _input(wrong, f"{root}.source_image", image.source_image)
    if image.mask is not None:
        _input(wrong, f"{root}.mask", image.mask)
        if image.source_image is None:
            wrong.add(f"{root}.mask", "needs a source_image")
    if len(image.controls) > MAX_CONTROLS:
        wrong.add(f"{root}.controls", f"must be at most {MAX_CONTROLS}")
    for index, control in enumerate(image.controls[: MAX_CONTROLS + 1]):
        _control(wrong, f"{root}.controls[{index}]", control)
    if image.resize_mode not in RESIZE_MODES:
        wrong.add(f"{root}.resize_mode", f"{image.resize_mode} is not known")
    elif image.resize_mode and not image.has_input:
        wrong.add(f"{root}.resize_mode", "needs a picture to resize")
    if image.invert_mask and image.mask is None:
        wrong.add(f"{root}.invert_mask", "needs a mask")
    if image.denoising_strength is not None:
        if image.source_image is None:
            wrong.add(f"{root}.denoising_strength", "needs a source_image")
        wrong.above_zero(f"{root}.denoising_strength", image.denoising_strength, 1)


def _control(wrong: Violations, root: str, control: Control) -> None:
    if control.image is None:
        wrong.add(f"{root}.image", "is missing")
    else:
        _input(wrong, f"{root}.image", control.image)
    wrong.name(f"{root}.type", control.type, 64, required=False)
    if control.strength is not None:
        wrong.above_zero(f"{root}.strength", control.strength, MAX_CONTROL_STRENGTH)


def _input(wrong: Violations, root: str, ref: InputRef) -> None:
    wrong.uuid(f"{root}.input_id", ref.input_id)
    wrong.digest(f"{root}.sha256", ref.sha256, required=True)


def _worker_ids(wrong: Violations, root: str, worker_ids: Sequence[str]) -> None:
    if len(worker_ids) > MAX_WORKER_IDS:
        wrong.add(root, f"must be at most {MAX_WORKER_IDS}")
    for index, worker_id in enumerate(worker_ids[: MAX_WORKER_IDS + 1]):
        wrong.uuid(f"{root}[{index}]", worker_id)


def _span(wrong: Violations, root: str, span: Span | None, least: int, most: int) -> None:
    if span is None:
        return
    if not 0 <= span.nanos < 10**9 or not least * 10**9 <= span.seconds * 10**9 + span.nanos <= most * 10**9:
        wrong.add(root, f"must be {least} s to {most} s")
