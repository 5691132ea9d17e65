"""A request, a status and a refusal in AI Horde's words and in the contract's. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Final

from horde.cli.conform.over_http import Json, Refusal, Unsaid

INVALID: Final = ("INVALID_ARGUMENT", "INVALID_FIELD")
REASONS: Final[Mapping[str, Sequence[tuple[str, str]]]] = {
    "BadRequest": [INVALID],
    "MissingPrompt": [INVALID],
    "InvalidPromptSize": [INVALID],
    "SourceMaskUnnecessary": [INVALID],
    "TooManyUpscalers": [INVALID],
    "WorkerNotFound": [("NOT_FOUND", "WORKER_NOT_FOUND"), INVALID],
    "NoValidWorkers": [("NOT_FOUND", "MODEL_UNKNOWN")],
    "ModelNotFound": [("NOT_FOUND", "MODEL_NOT_FOUND")],
    "RequestNotFound": [("NOT_FOUND", "GENERATION_NOT_FOUND")],
    "InvalidAPIKey": [("UNAUTHENTICATED", "CREDENTIALS_MALFORMED"), ("UNAUTHENTICATED", "API_KEY_UNKNOWN")],
    "ImageValidationFailed": [("INVALID_ARGUMENT", "NOT_AN_IMAGE"), ("FAILED_PRECONDITION", "INPUT_UNUSABLE")],
    "AnonForbidden": [("PERMISSION_DENIED", "ACCOUNT_REQUIRED")],
    "NotPrivileged": [("PERMISSION_DENIED", "ROLE_MISSING")],
    "UserNotFound": [("NOT_FOUND", "ACCOUNT_NOT_FOUND")],
    "KudosTransferToSelf": [("INVALID_ARGUMENT", "SELF_GIFT")],
    "KudosUpfront": [("FAILED_PRECONDITION", "INSUFFICIENT_KUDOS")],
    "SharedKeyInsufficientKudos": [("FAILED_PRECONDITION", "SHARED_KEY_BUDGET_SPENT")],
}
"""What AI Horde's codes say in the contract's words: code and reason."""
FIELDS: Final[Mapping[str, Sequence[str]]] = {
    "prompt": ["spec.job.image.prompt", "spec.job.image.negative_prompt"],
    "params.cfg_scale": ["spec.job.image.guidance_scale"],
    "params.sampler_name": ["spec.job.image.sampler"],
    "params.post_processing": ["spec.job.image.post_processors"],
    "params.n": ["spec.count"],
    "params": ["spec.job.image"],
    "source_mask": ["spec.job.image.mask"],
    "workers": ["spec.denied_worker_ids"],
    "models": ["spec.job.model"],
    "amount": ["amount_mkudos"],
}
"""What its fields are called in the contract; the longest that fits. A prompt is both, for `###` divides it."""
NAMED: Final[Mapping[str, str]] = {
    "MissingPrompt": "prompt",
    "InvalidPromptSize": "prompt",
    "SourceMaskUnnecessary": "source_mask",
    "TooManyUpscalers": "params.post_processing",
    "WorkerNotFound": "workers",
}
"""The field that a code speaks of by itself."""

PLAIN: Final = {"width": "width", "height": "height", "steps": "steps", "guidance_scale": "cfg_scale"}
MOST_GUIDANCE: Final = 30
WORDLESS: Final[Mapping[str, str]] = {
    "schedule": "there are two schedules, `karras` or not",
    "invert_mask": "a mask is never inverted",
    "resize_mode": "there is one way to resize a picture",
    "hires_fix": "the first pass has no size",
    "time_to_live": "the mesh says how long a request waits",
    "keep_for": "the mesh says how long pictures are kept",
}
"""Parts of a spec that there are no words for, and why."""
NO_PICTURE: Final = base64.b64encode(b"no picture").decode()
POST_PROCESSORS: Final = {3: "GFPGAN"}


def refusal(status: int, told: Json) -> Refusal:
    """A refusal in the contract's words."""
    rc = told.get("rc", "")
    meant = REASONS.get(rc, [(f"HTTP {status}", rc)])
    wrong = [*told.get("errors", {}), *([NAMED[rc]] if rc in NAMED else [])]
    return Refusal(
        {
            "code": meant[0][0],
            "reason": meant[0][1],
            "or": [{"code": code, "reason": reason} for code, reason in meant[1:]],
            "message": told.get("message", ""),
            "violations": [name for path in wrong for name in _named(path)],
        }
    )


def _named(path: str) -> list[str]:
    """What the contract calls a field, or each that it may be."""
    fits = [name for name in FIELDS if path == name or path.startswith((f"{name}.", f"{name}["))]
    if not fits:
        return [path]
    longest = max(fits, key=len)
    return [f"{name}{path[len(longest) :]}" for name in FIELDS[longest]]


def body_of(spec: Json, pictures: Mapping[str, str]) -> Json:
    """A request as AI Horde has it, with its pictures (base64) from those that are kept. Raises Unsaid."""
    job = spec["job"]
    if "image" not in job:
        raise Unsaid("a request is always one for pictures")
    if not job.get("model"):
        raise Unsaid("no model means any")
    image, params = dict(job["image"]), {"n": spec.get("count", 0)}
    for name, reason in WORDLESS.items():
        if name in image or name in spec:
            raise Unsaid(reason)
    guidance = image.get("guidance_scale", 0)
    if isinstance(guidance, int | float) and guidance > MOST_GUIDANCE:
        raise Unsaid("guidance above 30 is taken as 30, and warned of")
    if str(image.get("seed", "")).startswith("-"):
        raise Unsaid("a seed is any text")
    if "denoising_strength" in image and "source_image" not in image:
        raise Unsaid("strength without a picture has no effect: every client sends it")
    params |= {there: image[here] for here, there in PLAIN.items() if here in image}
    if "seed" in image:
        params["seed"] = str(image["seed"])
    if "clip_skip" in image:
        params["clip_skip"] = image["clip_skip"] + 1
    if "sampler" in image:
        params["sampler_name"] = str(image["sampler"])
    if "post_processors" in image:
        params["post_processing"] = [POST_PROCESSORS.get(name, str(name)) for name in image["post_processors"]]
    if "denoising_strength" in image:
        params["denoising_strength"] = image["denoising_strength"]
    if "loras" in image:
        params["loras"] = [_lora(lora) for lora in image["loras"]]
    body: Json = {"prompt": image["prompt"], "models": [job["model"]], "params": params}
    if image.get("negative_prompt"):
        body["prompt"] += f"###{image['negative_prompt']}"
    if "source_image" in image:
        body["source_image"] = _picture(image["source_image"], pictures)
    if "mask" in image:
        body["source_mask"] = pictures.get(image["mask"]["input_id"], "") or NO_PICTURE
    if spec.get("share"):
        body["shared"] = True
    if spec.get("fast_workers_only"):
        body["slow_workers"] = False
    if "denied_worker_ids" in spec:
        body |= {"workers": spec["denied_worker_ids"], "worker_blacklist": True}
    return body


def _picture(named: Json, pictures: Mapping[str, str]) -> str:
    try:
        return pictures[named["input_id"]]
    except KeyError:
        raise Unsaid("pictures go with the request, and have no id") from None


def _lora(lora: Json) -> Json:
    there = {"name": "name", "strength": "model", "clip_strength": "clip"}
    return {there[name]: value for name, value in lora.items()}


def generation_of(request: str, status: Json) -> Json:
    """A status in the contract's words: only images that are done are in it."""
    return {
        "generation_id": request,
        "finished": status["done"],
        "quote": {"placement": "PLACEMENT_SHARED" if status["shared"] else "PLACEMENT_PRIVATE"},
        "cost_mkudos": round(status["kudos"] * 1_000),
        "waiting": status["waiting"],
        "images": [
            {
                "job_id": image["id"],
                "seed": image["seed"],
                "img": image["img"],
                "worker_id": image["worker_id"],
                "ending": "JOB_ENDING_CENSORED" if image["censored"] else "JOB_ENDING_DONE",
            }
            for image in status["generations"]
        ],
    }
