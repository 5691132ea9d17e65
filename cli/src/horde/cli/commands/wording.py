"""Errors in the words of the command line: options instead of fields, kudos instead of milli-kudos."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from horde.cli.commands.output import kudos, while_text
from horde.services.errors import FieldViolation, ServiceError

OPTIONS: Final[Mapping[str, str]] = {
    "prompt": "PROMPT",
    "negative_prompt": "--negative",
    "count": "-n",
    "share": "--share",
    "width": "--width",
    "height": "--height",
    "steps": "--steps",
    "seed": "--seed",
    "guidance_scale": "--guidance",
    "sampler": "--sampler",
    "schedule": "--schedule",
    "resize_mode": "--resize",
    "invert_mask": "--invert-mask",
    "tiling": "--tiling",
    "hires_fix": "--hires",
    "hires_fix.denoising_strength": "--hires-strength",
    "loras": "--lora",
    "textual_inversions": "--embedding",
    "controls": "--control",
    "post_processors": "--post-process",
    "clip_skip": "--clip-skip",
    "source_image": "--image",
    "mask": "--mask",
    "denoising_strength": "--strength",
    "model": "--model",
    "fast_workers_only": "--fast",
    "time_to_live": "--ttl",
    "keep_for": "--keep",
    "request_id": "--request-id",
    "max_total_mkudos": "--max-price",
    "display_name": "NAME",
    "label": "LABEL",
    "scopes": "--scope",
    "to_account_id": "ACCOUNT_ID",
    "account_id": "ACCOUNT_ID",
    "amount_mkudos": "AMOUNT",
    "message": "--message",
    "reason": "--reason",
    "page_size": "--limit",
    "from_block": "--from-block",
    "generation_id": "GENERATION",
    "job_ids": "IMAGES",
    "worker_id": "WORKER",
    "api_key_id": "KEY",
}
"""By the name of a field, in whatever request it stands (or only in one message: `message.field`): what people type."""
_AMOUNTS: Final = {
    "total_mkudos": "it would cost",
    "max_total_mkudos": "--max-price is",
    "available_mkudos": "you can pay",
    "needed_mkudos": "this needs",
}
_SECONDS = re.compile(r"\b(\d+) s\b")
_FIELD = re.compile(r"\b[a-z]+(?:_[a-z]+)+\b")


def option_for(field: str) -> str:
    """What people type for a field, for example `-n` for `spec.count`; the field itself where they type nothing."""
    names = re.sub(r"\[\d*\]", "", field).split(".")
    while names:
        for name in (".".join(names[-2:]), names[-1]):
            if name in OPTIONS:
                return OPTIONS[name]
        names.pop()
    return field


def violation_text(violation: FieldViolation) -> str:
    """What is wrong with one option."""
    in_words = _SECONDS.sub(lambda found: while_text(timedelta(seconds=int(found[1]))), violation.description)
    in_words = _FIELD.sub(lambda found: OPTIONS.get(found[0], found[0]), in_words)
    return f"{option_for(violation.field)}: {in_words}"


def facts_of(error: ServiceError) -> list[str]:
    """What else an error tells, a line each."""
    lines = []
    for key, value in error.metadata.items():
        if key.endswith("_mkudos") and re.fullmatch(r"-?\d+", value):
            name = _AMOUNTS.get(key, key.removesuffix("_mkudos").replace("_", " "))
            lines.append(f"{name} {kudos(int(value))} kudos")
        elif key == "did_you_mean":
            lines += [f"did you mean {value}?"] if value else []
        elif key in ("floor", "back_at"):
            # Told among the ways out.
            continue
        elif key == "field":
            lines.append(f"about {option_for(value)}")
        else:
            lines.append(f"{key.replace('_', ' ')}: {value}")
    if error.reason == "MODEL_UNKNOWN":
        lines.append("--wait-for-model waits for it all the same")
    return lines
