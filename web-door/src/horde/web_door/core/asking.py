"""What a requester's body asks for, in the contract's words.

What the contract cannot say is refused where the picture would be another one without it, and told as a warning where
it is only a wish. Nothing is left out in silence.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from horde.web_door.core import names
from horde.web_door.core.bodies import GenerateBody, ParamsBody, unknown_fields
from horde.web_door.core.refusals import Refusal

MOST_GUIDANCE = 30.0
MOST_PROMPT = 4_000
MOST_MESSAGE = 4_000
INPAINTING = ("inpainting", "outpainting")
HARMLESS = frozenset(
    {"replacement_filter", "disable_batching", "validated_backends", "extra_slow_workers"}
    | {f"params.{name}" for name in ("use_nsfw_censor", "post_processing_order")}
)
"""Fields that ask for what is so here anyway, or for nothing that concerns a picture."""
FIELDS = {
    "spec.job.image.prompt": "prompt",
    "spec.job.image.negative_prompt": "prompt",
    "spec.job.image.guidance_scale": "params.cfg_scale",
    "spec.job.image.sampler": "params.sampler_name",
    "spec.job.image.post_processors": "params.post_processing",
    "spec.job.image.source_image": "source_image",
    "spec.job.image.mask": "source_mask",
    "spec.job.image.hires_fix": "params.hires_fix",
    "spec.job.image.textual_inversions": "params.tis",
    "spec.job.image": "params",
    "spec.job.model": "models",
    "spec.count": "params.n",
    "spec.denied_worker_ids": "workers",
    "spec.allowed_worker_ids": "workers",
}
"""What the contract's fields are called there."""


@dataclass(frozen=True)
class Warned:
    """One thing that is not done exactly as asked."""

    message: str
    code: str = ""
    """One of those that AI Horde has: a client that knows them all refuses an answer with another. Empty: none fits."""


@dataclass
class Asked:
    """A request, in the contract's words; without a model, and without what was put into storage for it."""

    spec: dict[str, Any]
    """A GenerationSpec as JSON."""
    models: Sequence[str]
    """Any of these; empty: any."""
    control_type: str | None = None
    """Of the source image, where it guides and is not painted over."""
    source: str | None = None
    """The source image, base64."""
    mask: str | None = None
    warnings: list[Warned] = field(default_factory=list)

    @property
    def image(self) -> dict[str, Any]:
        image: dict[str, Any] = self.spec["job"]["image"]
        return image

    def warn(self, code: str, message: str) -> None:
        """Tell of something that there is a code for."""
        self.warnings.append(Warned(message, code))

    def note(self, message: str) -> None:
        """Tell of something that there is no code for."""
        self.warnings.append(Warned(message))

    def told(self) -> dict[str, Any]:
        """What the answer says of all this: every message, and those with a code once more by it."""
        coded = [{"code": warning.code, "message": warning.message} for warning in self.warnings if warning.code]
        body: dict[str, Any] = {"warnings": coded} if coded else {}
        if self.warnings:
            body["message"] = " ".join(warning.message for warning in self.warnings)[:MOST_MESSAGE]
        return body


def asked(body: GenerateBody) -> Asked:
    """The request; raises Refusal."""
    _refuse(body)
    params = body.params
    prompt, _, negative = (body.prompt or "").partition("###")
    if not prompt.strip():
        raise Refusal(400, "MissingPrompt", "You cannot specify an empty prompt.")
    if max(len(prompt), len(negative)) > MOST_PROMPT:
        raise Refusal(400, "InvalidPromptSize", f"A prompt has at most {MOST_PROMPT} characters here.")
    image: dict[str, Any] = {
        "prompt": prompt.strip(),
        "negative_prompt": negative.strip(),
        "width": params.width,
        "height": params.height,
        "steps": params.steps,
        "clip_skip": params.clip_skip - 1,
        "tiling": params.tiling,
    }
    spec: dict[str, Any] = {"job": {"image": image}, "count": params.n, "share": body.shared}
    spec["fast_workers_only"] = not body.slow_workers
    if body.workers:
        spec["denied_worker_ids" if body.worker_blacklist else "allowed_worker_ids"] = _workers(body.workers)
    found = Asked(spec, [name for name in body.models or [] if name])
    _numbers(found, params)
    _sampler(found, params)
    _post_processing(found, params)
    _additions(found, params)
    _source(found, body)
    _wishes(found, body)
    return found


def _refuse(body: GenerateBody) -> None:
    params = body.params
    refused = {
        "proxied_account": (body.proxied_account, 403, "OnlyServiceAccountProxy", "There are no service accounts."),
        "style": (body.style, 404, "StyleNotFound", "There are no styles here."),
        "webhook": (body.webhook, 400, "BadRequest", "This door calls no webhooks; ask for the status instead."),
        "extra_source_images": (body.extra_source_images, 400, "BadRequest", "Only one source image is taken."),
        "params.workflow": (params.workflow, 400, "BadRequest", "There are no workflows here."),
        "params.extra_texts": (params.extra_texts, 400, "BadRequest", "There are no workflows here."),
        "params.special": (params.special, 400, "BadRequest", "There are no special requests here."),
        "params.transparent": (params.transparent, 400, "BadRequest", "Nobody here paints transparency."),
        "params.return_control_map": (params.return_control_map, 400, "BadRequest", "No control maps are returned."),
    }
    for name, (value, status, rc, message) in refused.items():
        if value:
            raise Refusal(status, rc, f"{name}: {message}", {name: message} if status == 400 else {})


def _workers(ids: Sequence[str]) -> list[str]:
    for id_ in ids:
        if not _is_uuid(id_):
            raise Refusal(404, "WorkerNotFound", f"Worker with id '{id_[:64]}' not found.")
    return list(ids)


def _is_uuid(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text) is not None


def _numbers(found: Asked, params: ParamsBody) -> None:
    if params.cfg_scale is not None:
        found.image["guidance_scale"] = min(params.cfg_scale, MOST_GUIDANCE)
        if params.cfg_scale > MOST_GUIDANCE:
            found.warn("CfgScaleTooLarge", f"cfg_scale is at most {MOST_GUIDANCE:g} here and was set to it.")
    if params.seed:
        found.image["seed"] = str(seed_of(params.seed))
    if params.seed_variation not in (None, 1) and params.n > 1:
        found.note("Each image has the seed of the one before, and one more.")
    if params.hires_fix:
        found.image["hires_fix"] = {}
        if params.hires_fix_denoising_strength:
            found.image["hires_fix"]["denoising_strength"] = params.hires_fix_denoising_strength


def seed_of(text: str) -> int:
    """The number that a seed stands for: its own, or for words one of 32 bits that follows from them."""
    stripped = text.strip()
    if re.fullmatch(r"\d{1,19}", stripped, re.ASCII):
        return int(stripped) % 2**63
    return int.from_bytes(hashlib.sha256(stripped.encode()).digest()[:4], "big")


def _sampler(found: Asked, params: ParamsBody) -> None:
    if params.karras is not None:
        found.image["schedule"] = "NOISE_SCHEDULE_KARRAS" if params.karras else "NOISE_SCHEDULE_TRAINED"
    if not params.sampler_name:
        return
    name = params.sampler_name.lower()
    sampler = names.SAMPLERS.get(name)
    if sampler is None:
        sampler = names.NEAR_SAMPLERS.get(name)
        if sampler is None:
            raise Refusal(
                400,
                "BadRequest",
                f"There is no sampler '{params.sampler_name[:64]}'.",
                {"params.sampler_name": f"must be one of {', '.join(sorted(names.SAMPLERS))}"},
            )
        found.warn("SamplerMismatch", f"{name} is not painted here; {names.SAMPLER_NAMES[sampler]} is taken instead.")
    found.image["sampler"] = f"SAMPLER_{sampler}"


def _post_processing(found: Asked, params: ParamsBody) -> None:
    chosen = []
    for name in params.post_processing:
        here = names.POST_PROCESSORS.get(name) or names.NEAR_POST_PROCESSORS.get(name)
        if here is None:
            known = ", ".join([*names.POST_PROCESSORS, *names.NEAR_POST_PROCESSORS])
            wrong = {"params.post_processing": f"must be of {known}"}
            raise Refusal(400, "BadRequest", f"There is no post-processor '{name[:64]}' here.", wrong)
        if name in names.NEAR_POST_PROCESSORS:
            found.note(f"{name} is not had here; {names.POST_PROCESSOR_NAMES[here]} is taken.")
        chosen.append(f"POST_PROCESSOR_{here}")
    if sum("UPSCALE" in name for name in chosen) > 1:
        raise Refusal(400, "TooManyUpscalers", "A picture is enlarged once.")
    found.image["post_processors"] = chosen
    if chosen and params.facefixer_strength not in (None, 1, 0.75):
        found.note("Faces are mended as strongly as the worker does.")


def _additions(found: Asked, params: ParamsBody) -> None:
    if len(params.loras) > 5:
        raise Refusal(400, "TooManyLoras", "A picture has at most 5 LoRAs.")
    if len(params.tis) > 20:
        raise Refusal(400, "TooManyTIs", "A picture has at most 20 textual inversions.")
    found.image["loras"] = loras = []
    for lora in params.loras:
        entry: dict[str, Any] = {"name": lora.name, "strength": lora.model}
        if lora.clip is not None:
            entry["clip_strength"] = lora.clip
        if lora.is_version:
            entry["source"] = "ADDON_SOURCE_CIVITAI"
        if lora.inject_trigger == "any":
            found.note(f"{lora.name}: say which trigger word is to be added to the prompt.")
        elif lora.inject_trigger:
            entry["trigger"] = lora.inject_trigger
        loras.append(entry)
    places = {"prompt": "PROMPT", "negprompt": "NEGATIVE_PROMPT"}
    found.image["textual_inversions"] = inversions = []
    for inversion in params.tis:
        entry = {"name": inversion.name}
        if inversion.inject_ti:
            if inversion.inject_ti not in places:
                raise Refusal(400, "BadRequest", "inject_ti is 'prompt' or 'negprompt'.")
            entry["place"] = f"TEXTUAL_INVERSION_PLACE_{places[inversion.inject_ti]}"
            if inversion.strength is not None:
                entry["strength"] = inversion.strength
        inversions.append(entry)


def _source(found: Asked, body: GenerateBody) -> None:
    params, processing = body.params, (body.source_processing or "img2img").lower()
    if not body.source_image:
        if body.source_mask:
            raise Refusal(400, "SourceMaskUnnecessary", "A mask needs a source image.")
        if params.control_type:
            raise Refusal(400, "ControlNetInvalidPayload", "Guidance by a picture needs a source image.")
        if processing in INPAINTING:
            raise Refusal(400, "InpaintingMissingMask", "There is no source image to paint into.")
        return
    if processing not in ("img2img", "txt2img", *INPAINTING):
        raise Refusal(400, "BadRequest", f"source_processing '{processing[:32]}' is not done here.")
    if processing in INPAINTING and not body.source_mask:
        raise Refusal(400, "InpaintingMissingMask", "Send what is to be painted anew as source_mask.")
    found.source, found.mask = body.source_image, body.source_mask if processing in INPAINTING else None
    if body.source_mask and processing not in INPAINTING:
        found.note("The mask counts only with source_processing inpainting or outpainting.")
    if body.shared:
        found.note("What is painted from a picture stays private.")
    if params.control_type:
        if found.mask:
            raise Refusal(400, "ControlNetInpaintingMismatch", "Guidance and a mask do not go together.")
        if params.control_type not in names.CONTROL_TYPES:
            raise Refusal(400, "ControlNetMismatch", f"There is no control_type '{params.control_type[:32]}'.")
        found.control_type = "" if params.image_is_control else params.control_type
    elif params.denoising_strength:
        found.image["denoising_strength"] = params.denoising_strength


def _wishes(found: Asked, body: GenerateBody) -> None:
    if body.trusted_workers:
        found.note("Workers are not chosen by trust; name those that you want as `workers`.")
    if body.censor_nsfw or body.nsfw is False:
        found.note("Requests are not rated here; what is withheld is the worker's decision.")
    if body.allow_downgrade:
        found.note("What cannot be paid is refused, and not made smaller.")
    for name in unknown_fields(body):
        if name not in HARMLESS:
            found.note(f"{name[:100]} is not known here and has no effect.")


KEPT_AS_TEXT = 1
"""In the last byte of a request's id: its pictures are wanted as base64, and not as links."""


def request_id(random: uuid.UUID, *, base64: bool) -> str:
    """The id of a request, which remembers how its pictures are wanted: nothing else here does."""
    last = KEPT_AS_TEXT if base64 else 0
    return str(uuid.UUID(bytes=random.bytes[:15] + bytes([last])))


def wants_base64(request: str) -> bool:
    """Whether the pictures of this request are wanted as base64."""
    return request.endswith(f"{KEPT_AS_TEXT:02x}")
