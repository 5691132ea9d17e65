"""What a worker that was written for AI Horde can do, in the contract's words, and what it is called here."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from horde.web_door.core import names
from horde.web_door.core.bodies import PopBody

MOST_NAME = 64
MOST_MODELS = 256
MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:/@+()\[\]-]{0,127}\Z", re.ASCII)
SCHEDULES = ("NOISE_SCHEDULE_TRAINED", "NOISE_SCHEDULE_KARRAS")


@dataclass(frozen=True)
class Pace:
    """How fast a worker is taken to be that reports nothing until it is done."""

    megapixel_step_seconds: float
    each_job_seconds: float


USUAL = Pace(2.0, 60.0)
"""Slower than most: 512x512 with 30 steps may take 75 seconds."""
SLOW = Pace(8.0, 180.0)
"""Of a worker that says that it is very slow."""


def worker_name(name: str) -> str:
    """The name here: names there are of any characters. What had to be changed is made unique by a digest."""
    stripped = name.strip()
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", stripped)
    if plain == stripped and 1 <= len(plain) <= MOST_NAME:
        return plain
    digest = hashlib.sha256(stripped.encode()).hexdigest()[:8]
    return f"{plain[: MOST_NAME - 9].strip('-') or 'worker'}-{digest}"


def agent_of(text: str) -> str:
    """The program and its version, for people."""
    kept = "".join(character for character in text if character.isprintable())
    return kept[:128]


def offers(body: PopBody) -> list[dict[str, Any]]:
    """The models that are offered, as JSON of ModelOffer; those whose names nobody could ask for are left out."""
    features = ["FEATURE_CLIP_SKIP", "FEATURE_HIRES_FIX", "FEATURE_TILING"]
    if body.allow_img2img:
        features.append("FEATURE_IMAGE_TO_IMAGE")
    if body.allow_img2img and body.allow_painting:
        features.append("FEATURE_INPAINTING")
    if body.allow_post_processing:
        features += ["FEATURE_POST_PROCESSING", "FEATURE_UPSCALING"]
    if body.allow_lora:
        features += ["FEATURE_LORA", "FEATURE_TEXTUAL_INVERSION"]
    image = {
        "max_pixels": body.max_pixels,
        "features": features,
        "samplers": [f"SAMPLER_{name}" for name in names.SAMPLERS.values()],
        "schedules": list(SCHEDULES),
        "size_multiple": 64,
    }
    known = [name for name in dict.fromkeys(body.models) if MODEL_NAME.match(name)]
    return [{"name": name, "image": image} for name in known[:MOST_MODELS]]


def pace_of(body: PopBody) -> Pace:
    """How fast it is taken to be."""
    return SLOW if body.extra_slow_worker else USUAL
